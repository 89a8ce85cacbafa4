"""The soft value and the Boltzmann policy hold at every scale

Claim: V = α log Σ exp(Q/α), π = softmax(Q/α), for Q of ±1e6 and α down to 1e-6 as well:
the maximum, and the maximisers with equal shares.

Oracle: both in float64 with the maximum taken out. exp((Q − V)/α), which is the same on
paper, loses rows' sums where float32 rounds V: at Q = 1e6 and α = 0.05 the row below
sums to 1.5 in place of 1.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "soft_operators"
CASES = (
    ([1.0, 2.0, 0.5], 0.5), ([1e6, -1e6, 1e6], 1e-6), ([1e6, 1e6, 1e6 - 1], 0.05),
    ([-3.0, 0.0, 3.0], 1e6),
)  # fmt: skip
QUESTIONS = [{"q": q, "alpha": alpha} for q, alpha in CASES]
TOLERANCE = 1e-4  # relative: float32's rounding


def measure(answers: Answers) -> Numbers:
    """Values as a share of their size, and the policies."""
    return np.concatenate([[a["value"] / s, *a["policy"]] for a, s in
                           zip(answers, sizes(), strict=True)])  # fmt: skip


def exact(q: Any, alpha: float) -> Any:
    scaled = np.array(q) / alpha
    return alpha * toolbox.log_sum_exp(scaled), toolbox.softmax(scaled)


def sizes() -> Numbers:
    return [abs(exact(*case)[0]) for case in CASES]


def oracle() -> Numbers:
    made = [exact(*case) for case in CASES]
    return np.concatenate([[v / abs(v), *policy] for v, policy in made])


def plain(q: Any, alpha: float) -> Answer:
    q = np.float32(q)
    with np.errstate(over="ignore", invalid="ignore"):
        value = alpha * np.log(np.sum(np.exp(q / np.float32(alpha))))
        return {"value": value, "policy": np.exp((q - value) / np.float32(alpha))}


def by_value(q: Any, alpha: float) -> Answer:
    value, _ = exact(q, alpha)
    with np.errstate(over="ignore"):
        rows = np.exp((np.float32(q) - np.float32(value)) / np.float32(alpha))
    return {"value": value, "policy": rows}


BROKEN = {"exp without its maximum": plain, "exp((Q − V)/α)": by_value}
