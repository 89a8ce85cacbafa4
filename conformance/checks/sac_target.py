"""SAC's target is r + γ (min Q' − α log π) at the next state

Claim: y = r + γ E_{a' ~ π(·|s')}[min_i Q_i'(s', a') − α log π(a'|s')]: the smaller
critic action by action, the entropy of the next state, none with the first reward
(Haarnoja et al. 2018, eqs. 2 and 3).

Oracle: quadrature. The online critics are the constants 0 and 10, so that the gradients
of their two constants, k (0 − y) and k (10 − y), tell y whatever the factor k of a
library's squared error. Q' = ±2a + …: a mean over critics in place of their minimum is
off by 0.9 E|2a|, no entropy by 0.6, an entropy with the first reward too by 0.7.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
POLICY = {"slope": 0.5, "bias": 0.1, "log_std": 0.0}
ROW = toolbox.ROW | {"obs": -1.0, "reward": 0.7, "next_obs": 0.4}
QUESTIONS = [
    toolbox.sac(
        policy=POLICY, row=ROW, alpha=1.0, critics=[[0.0, 0.0, 0.0], [0.0, 0.0, 10.0]],
        targets=[[0.5, 2.0, 1.0], [0.5, -2.0, 1.0]],
    )
]  # fmt: skip
# What is averaged over 4,096 actions has a standard deviation of 1.1: 0.017; six times.
TOLERANCE = 0.1


def measure(answers: Answers) -> Numbers:
    return [target_of(answer["critic_gradient"]) for answer in answers]


def target_of(gradient: Any) -> float:
    """y, from the gradients of two constant critics, 0 and 10."""
    first, second = (critic[2] for critic in gradient)
    return -10.0 * first / (second - first)


def oracle() -> Numbers:
    def value(action: Any, logp: Any) -> Any:
        q = [toolbox.q_value(c, 0.4, action) for c in QUESTIONS[0]["targets"]]
        return np.min(q, axis=0) - logp

    return [0.7 + 0.9 * toolbox.expect(value, 0.3, 0.0)]


def answer(y: float) -> Answer:
    return {"critic_gradient": [[0.0, 0.0, 0.0 - y], [0.0, 0.0, 10.0 - y]]}


def mean_of_critics(**question: Any) -> Answer:
    return answer(0.7 + 0.9 * (0.2 + 1.0 + toolbox.entropy(0.3, 0.0)))


def no_entropy(**question: Any) -> Answer:
    worst = toolbox.expect(lambda a, logp: -2.0 * np.abs(a), 0.3, 0.0)
    return answer(0.7 + 0.9 * (0.2 + 1.0 + worst))


def first_entropy(**question: Any) -> Answer:
    return answer(oracle()[0] + toolbox.entropy(-0.4, 0.0))


BROKEN = {
    "the mean of the critics": mean_of_critics,
    "no entropy": no_entropy,
    "an entropy with the first reward": first_entropy,
}
