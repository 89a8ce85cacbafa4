"""CQL(H)'s log-sum-exp is log ∫ exp Q da

Claim: with 3N importance-weighted actions, log Σ_k exp(Q_k − log μ_k) − log 3N tends to
log ∫ exp Q(s, a) da, the soft maximum that the paper's eq. 4 asks for; the gap is that
minus Q at the data's action. The densities are −log 2 for a uniform action and log π
for the policy's.

Oracle: ∫ exp(2a) da over [-1, 1] = sinh 2, in closed form; Q = 2a is 0 at the data's
action. Summed over two critics the gap is 2 log sinh 2 = 2.58. Actions in [0, 1] or a
missing weight change it by 0.45 and more, and so do N sums over three actions each in
place of one over all 3N: the logarithm of a mean of three is too low.

Known variant: without log 3N (the authors' code). The gradient is the same and under a
fixed weight nothing else matters; under a learned one the gap's target has to be moved
by log 3N = 4.6.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
CRITICS = [[0.0, 2.0, 0.0], [0.0, 2.0, 0.0]]
ROW = toolbox.ROW | {"terminated": True}
QUESTIONS = [toolbox.cql(critics=CRITICS, rows=[ROW])]
# A weight has a relative standard deviation of about 1: a bias of −½/96 for either
# critic, and noise of a tenth of it over 1,024 rows; three times.
TOLERANCE = 0.03


def measure(answers: Answers) -> Numbers:
    return [answer["gap"] for answer in answers]


def oracle() -> Numbers:
    return [2.0 * np.log(np.sinh(2.0))]


def unnormalised() -> Numbers:
    return [2.0 * (np.log(np.sinh(2.0)) + np.log(3 * QUESTIONS[0]["samples"]))]


VARIANTS = {"without log 3N": unnormalised}


def estimate(
    question: Any, weigh: bool = True, low: float = -1.0, groups: int = 1
) -> Answer:
    """The sum over critics, the 3N actions of a state in so many groups."""
    gaps = []
    for seed in range(question["count"]):
        action, log_mu, _ = toolbox.proposals(question | {"seed": seed}, ROW)
        n = question["samples"]
        action[:n] = low + (1.0 - low) * (action[:n] + 1.0) / 2.0
        score = 2.0 * action - (log_mu if weigh else 0.0)
        parts = score.reshape(-1, groups).T
        gaps.append(np.mean(toolbox.log_sum_exp(parts) - np.log(parts.shape[1])))
    return {"gap": 2.0 * np.mean(gaps)}


BROKEN = {
    "no importance weights": lambda **question: estimate(question, weigh=False),
    "uniform actions in [0, 1]": lambda **question: estimate(question, low=0.0),
    "a sum over three": lambda **q: estimate(q, groups=q["samples"]),
}
