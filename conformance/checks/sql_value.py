"""The sampled soft value is an integral, whatever the number of samples

Claim: V = α (log Σ_k exp(Q_k/α − log q_k) − log K) estimates α log ∫ exp(Q/α) da
(Haarnoja et al. 2017, eq. 10). Without log K it would grow with every sample.

Oracle: on a grid of actions, of density ½ in one dimension and ¼ in two, the estimate
is a quadrature: α log of 2 α sinh(1/α) for Q = a, in closed form, and twice that in two
dimensions with Q = a_1 + a_2. Found elsewhere: no log K (off by α log K, 3.8 and more),
and a density that is not 2^−d.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sampled_value"
ALPHAS = (0.5, 2.0)
GRID = -1.0 + (np.arange(2000) + 0.5) / 1000.0
COARSE = -1.0 + (np.arange(100) + 0.5) / 50.0
PLANE = np.add.outer(COARSE, COARSE).ravel()
QUESTIONS = [
    {"q": q.tolist(), "log_density": [-dim * float(np.log(2.0))] * len(q), "alpha": a}
    for a in ALPHAS
    for dim, q in ((1, GRID), (2, PLANE))
]
TOLERANCE = 1e-3  # of the grid of 100 × 100


def measure(answers: Answers) -> Numbers:
    return [answer["value"] for answer in answers]


def oracle() -> Numbers:
    lines = [a * np.log(2.0 * a * np.sinh(1.0 / a)) for a in ALPHAS]
    return [times * line for line in lines for times in (1, 2)]


def no_count(q: Any, log_density: Any, alpha: float) -> Answer:
    score = np.array(q) / alpha - np.array(log_density)
    return {"value": alpha * toolbox.log_sum_exp(score)}


def no_density(q: Any, log_density: Any, alpha: float) -> Answer:
    return {"value": alpha * (toolbox.log_sum_exp(np.array(q) / alpha)
                              - np.log(len(q)))}  # fmt: skip


BROKEN = {"no log K": no_count, "no density": no_density}
