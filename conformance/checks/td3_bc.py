"""TD3+BC's λ is a number, not a function of the actor

Claim: the actor descends E[−λ Q(s, μ(s)) + (μ(s) − a)²] with λ = weight/E|Q| held fixed
(Fujimoto & Gu 2021, eqs. 3 and 5).

Oracle: the derivative with respect to u of the one row's loss, μ = tanh u, Q = 2μ + 3:
(1 − μ²) (2 (μ − a) − 2 λ). Where λ is differentiated too, λ Q is the number `weight`
for every μ, and nothing pulls upwards any more.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "td3_bc_gradient"
CASES = ((0.3, 0.8), (-0.6, 0.1))
QUESTIONS = [
    {"bias": u, "action": action, "critic": [0.0, 2.0, 3.0], "weight": 2.5}
    for u, action in CASES
]
TOLERANCE = 1e-4  # exact up to float32's rounding


def measure(answers: Answers) -> Numbers:
    return [answer["actor_gradient"] for answer in answers]


def slope(u: float, action: Any, held: bool) -> float:
    mean = np.tanh(u)
    pull = 2.0 * 2.5 / abs(2.0 * mean + 3.0) if held else 0.0
    return (1.0 - mean**2) * (2.0 * (mean - action) - pull)


def oracle() -> Numbers:
    return [slope(u, action, True) for u, action in CASES]


def differentiated(bias: float, action: Any, **question: Any) -> Answer:
    return {"actor_gradient": slope(bias, action, False)}


def unscaled(bias: float, action: Any, **question: Any) -> Answer:
    mean = np.tanh(bias)
    return {"actor_gradient": (1.0 - mean**2) * (2.0 * (mean - action) - 5.0)}


BROKEN = {"λ is differentiated": differentiated, "Q is not normalised": unscaled}
