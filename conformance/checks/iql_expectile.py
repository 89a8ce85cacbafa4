"""IQL's value is an upper expectile

Claim: V descends |τ − 1(Q − V < 0)| (Q − V)²: with τ = 0.9 what lies above V pulls nine
times as hard as what lies below (Kostrikov et al. 2021, eq. 5).

Oracle: its derivative with respect to V, −2 |τ − 1(Q − V < 0)| (Q − V), on both sides.
With the sign of the error turned it is a lower expectile, and the factors change
places.
"""

from typing import Any

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "iql_value_gradient"
CASES = ((2.0, 0.5), (0.5, 2.0))
QUESTIONS = [{"q": q, "v": v, "expectile": 0.9} for q, v in CASES]
TOLERANCE = 1e-4  # exact up to float32's rounding


def measure(answers: Answers) -> Numbers:
    return [answer["gradient"] for answer in answers]


def slope(q: Any, v: float, expectile: float) -> float:
    return -2.0 * abs(expectile - (q < v)) * (q - v)


def oracle() -> Numbers:
    return [slope(q, v, 0.9) for q, v in CASES]


def lower(q: Any, v: float, expectile: float) -> Answer:
    return {"gradient": slope(q, v, 1.0 - expectile)}


def mean(q: Any, v: float, expectile: float) -> Answer:
    return {"gradient": -2.0 * (q - v)}


BROKEN = {"the lower expectile": lower, "the mean": mean}
