"""The target starts as a copy and follows the critic as it is after its step

Claim: θ' = θ at the beginning; after every update θ' ← θ' + ρ (θ − θ') with the θ that
the step has just made, and ρ = 0.1 the rate of the new, not of the old.

Oracle: that line, on the weights of two real updates. A target made from a seed of its
own differs by about 0.5 before the first update; one that follows the critic before its
step, or keeps 10 % in place of 90 %, is off by the size of a step or of the weights.
"""

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
ROW = toolbox.ROW | {"obs": 1.0, "action": 0.5, "reward": 3.0, "next_obs": 0.5}
QUESTIONS = [toolbox.sac(row=ROW, critics=None, targets=None, lr=0.05, steps=2)]
TOLERANCE = 1e-5  # float32 rounding of weights of size 1; a step is 0.05


def measure(answers: Answers) -> Numbers:
    (first, copied), *later = [
        (np.asarray(c), np.asarray(t)) for c, t in answers[0]["trail"]
    ]
    gaps, target = [np.max(np.abs(copied - first))], copied
    for critic, followed in later:
        gaps.append(np.max(np.abs(followed - (target + 0.1 * (critic - target)))))
        target = followed
    return gaps


def oracle() -> Numbers:
    return [0.0, 0.0, 0.0]


def trail(rate: float, copy: bool = True, late: bool = True) -> Answer:
    critics = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 6))
    critics = critics[0] + 0.05 * np.arange(3)[:, None] * np.sign(critics[1])
    target = critics[0] if copy else -critics[0]
    made = [(critics[0], target)]
    for step in (1, 2):
        target = target + rate * (critics[step if late else step - 1] - target)
        made.append((critics[step], target))
    return {"trail": made}


BROKEN = {
    "a target of its own": lambda **question: trail(0.1, copy=False),
    "the critic before its step": lambda **question: trail(0.1, late=False),
    "the rate of the old": lambda **question: trail(0.9),
}
