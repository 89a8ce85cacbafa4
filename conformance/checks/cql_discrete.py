"""Discrete CQL's gap is an exact log-sum-exp over actions

Claim: the gap is log Σ_a exp Q(s, a) − Q(s, a_data), exact, and finite for any Q.

Oracle: that line in float64, for usual values, for one action far above all and for
values of ±1,000, which overflow where the maximum is not taken out.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "discrete_gap"
CASES = (
    ([0.5, -0.3, 1.2], 1), ([50.0, 0.0, -50.0], 0), ([1000.0, 1000.0, -1000.0], 2),
)  # fmt: skip
QUESTIONS = [{"q": q, "action": action} for q, action in CASES]
TOLERANCE = 1e-3  # float32's rounding of 2,000


def measure(answers: Answers) -> Numbers:
    return [answer["gap"] for answer in answers]


def oracle() -> Numbers:
    return [toolbox.log_sum_exp(np.array(q)) - q[action] for q, action in CASES]


def overflow(q: Any, action: Any) -> Answer:
    with np.errstate(over="ignore"):
        return {"gap": np.log(np.sum(np.exp(np.float32(q)))) - q[action]}


def mean(q: Any, action: Any) -> Answer:
    value = toolbox.log_sum_exp(np.array(q)) - np.log(len(q))
    return {"gap": value - q[action]}


BROKEN = {"exp without its maximum": overflow, "a mean in place of the sum": mean}
