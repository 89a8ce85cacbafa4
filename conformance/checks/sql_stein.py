"""Stein particles settle on exp(Q/α), a constant Q on uniform actions

Claim: with the kernel on u and the score ∇_u [Q/α + log(1 − tanh² u)], the particles a
= tanh u of a constant Q spread evenly over [-1, 1] (Haarnoja et al. 2017, eqs. 13 and
14, in u; Liu & Wang 2016).

Oracle: the standard deviation of the uniform law, 1/√3 = 0.577. A form that is often
copied puts the kernel on a and adds the correction there: its fixed point is exp(Q) (1
− a²), with a standard deviation of 1/√5 = 0.447.
"""

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "stein_spread"
QUESTIONS = [{"count": 100, "steps": 200, "size": 0.5}]
TOLERANCE = 0.03  # of 100 particles, whose law is a row of steps


def measure(answers: Answers) -> Numbers:
    return [answer["std"] for answer in answers]


def oracle() -> Numbers:
    return [1.0 / np.sqrt(3.0)]


def flow(count: int, steps: int, size: float, correct: bool) -> Answer:
    """Kernel and correction on a; the chain rule brings the direction to u."""
    u = np.linspace(-2.0, 2.0, count)
    for _ in range(5 * steps):  # a narrower kernel is slower
        a = np.tanh(u)
        apart = a[:, None] - a[None]
        kernel = np.exp(-(apart**2) / 0.05)
        score = -2.0 * a / (1.0 - a**2) if correct else 0.0 * a  # ∇_a log(1 − a²)
        push = np.sum(-apart / 0.025 * kernel, axis=0)
        u = u + size * (kernel.T @ score + push) / count * (1.0 - a**2)
    return {"std": np.std(np.tanh(u))}


def copied(count: int, steps: int, size: float) -> Answer:
    return flow(count, steps, size, True)


def without(count: int, steps: int, size: float) -> Answer:
    return flow(count, steps, size, False)


BROKEN = {"kernel and correction on a": copied, "no correction": without}
