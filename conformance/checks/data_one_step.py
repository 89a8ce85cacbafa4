"""Episodes of a single step are collected as such

Claim: as in `data_final`, also where the first step is the last: a bandit, or an
environment that fails at once.

Oracle: episodes of one step, 0.7 → 0.5. Where such episodes run into each other, 0.7 →
0.7 is stored: a transition that the world does not have.
"""

from conformance.checks import data_final
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "collected"
QUESTIONS = [{"ending": ending, "length": 1} for ending in data_final.ENDINGS]
TOLERANCE = 0.0  # these are counts
RIGHT = ((0.7, 0.5),)
oracle = data_final.oracle


def measure(answers: Answers) -> Numbers:
    return data_final.mistakes(answers, RIGHT)


def joined(ending: str, length: int) -> Answer:
    return {"rows": [(0.7, 0.7, False), (0.7, 0.5, ending == "terminated")]}


def limit_is_end(ending: str, length: int) -> Answer:
    return {"rows": [(0.7, 0.5, True)]}


BROKEN = {"episodes run together": joined, "a limit as an end": limit_is_end}
