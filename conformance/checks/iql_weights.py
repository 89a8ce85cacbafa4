"""IQL's policy counts an action by exp(β A), at most 100 times

Claim: the actor descends −min(exp(β (Q − V)), 100) log π(a|s) (Kostrikov et al. 2021,
eq. 7, and the cap of the authors' code).

Oracle: the ratios of the gradient at advantages −1, 1 and 4 to that at 0, with β = 3:
exp(−3), exp(3) and 100, whatever the policy's density is made of. Without the cap the
last one is 162,755.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "iql_actor_gradient"
ADVANTAGES = (0.0, -1.0, 1.0, 4.0)
QUESTIONS = [{"q": 0.5 + a, "v": 0.5, "sharpness": 3.0} for a in ADVANTAGES]
TOLERANCE = 0.02  # float32's rounding of 100, through exp


def measure(answers: Answers) -> Numbers:
    first, *others = (answer["gradient"] for answer in answers)
    return [other / first for other in others]


def oracle() -> Numbers:
    return [np.exp(-3.0), np.exp(3.0), 100.0]


def uncapped(q: Any, v: float, sharpness: float) -> Answer:
    return {"gradient": np.exp(sharpness * (q - v))}


def divided(q: Any, v: float, sharpness: float) -> Answer:
    return {"gradient": min(np.exp((q - v) / sharpness), 100.0)}


BROKEN = {"no cap": uncapped, "divided by β": divided}
