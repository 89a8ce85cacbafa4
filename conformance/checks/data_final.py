"""While collecting, a step leads to its own episode's observation

Claim: the step that ends an episode leads to that episode's last observation; what the
reset shows belongs to the next one. A time limit is not stored as an end.

Oracle: episodes of two steps, 0.7 → 0.5 → 0.3. What is measured, for episodes that a
time limit cuts and for such that the world ends: how many stored transitions that
bootstrap are neither, how many are marked as ends where there is none, and whether the
true end is missing. After an automatic reset 0.5 → 0.7 would be stored. A library may
leave out the last step before a time limit.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "collected"
ENDINGS = ("truncated", "terminated")
QUESTIONS = [{"ending": ending, "length": 2} for ending in ENDINGS]
TOLERANCE = 0.0  # these are counts
RIGHT = ((0.7, 0.5), (0.5, 0.3))


def measure(answers: Answers) -> Numbers:
    return mistakes(answers, RIGHT)


def mistakes(answers: Answers, right: Any) -> Numbers:
    """Wrong transitions, false ends, and a missing one; of each answer."""
    last, counts = right[-1][0], []
    for ending, answer in zip(ENDINGS, answers, strict=True):
        going = [row[:2] for row in answer["rows"] if not row[2]]
        ends = [row[0] for row in answer["rows"] if row[2]]
        wrong = sum(not any(np.allclose(r, pair) for pair in right) for r in going)
        false = sum(ending == "truncated" or not np.isclose(s, last) for s in ends)
        counts += [wrong, false, ending == "terminated" and not ends]
    return counts


def oracle() -> Numbers:
    return [0, 0, 0, 0, 0, 0]


def reset_shown(ending: str, length: int) -> Answer:
    end = ending == "terminated"
    return {"rows": [(0.7, 0.5, False), (0.5, 0.7, end)]}


def limit_is_end(ending: str, length: int) -> Answer:
    return {"rows": [(0.7, 0.5, False), (0.5, 0.3, True)]}


BROKEN = {"the reset's observation": reset_shown, "a limit as an end": limit_is_end}
