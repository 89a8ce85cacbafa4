"""A time limit is not an end: it bootstraps

Claim: y = r + γ (1 − terminated) V(s'). Where a time limit cut the episode (truncated,
not terminated), the world goes on and V(s') counts; only a true end takes it away.

Oracle: with Q' = 3 everywhere and a temperature near 0, y is r + γ 3 = 3.2 for a step
inside an episode and for a truncated one, and r = 0.5 for a terminated one. A mask of
`done`, either of the two, gives 0.5 for all that is truncated, and teaches the agent
that the world ends at the time limit.
"""

from typing import Any

from conformance import toolbox
from conformance.checks.sac_target import answer, target_of
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
CRITICS = [[0.0, 0.0, 0.0], [0.0, 0.0, 10.0]]
ENDS = ((False, False), (False, True), (True, False))
QUESTIONS = [
    toolbox.sac(
        critics=CRITICS, targets=[[0.0, 0.0, 3.0]] * 2, alpha=1e-6,
        row=toolbox.ROW | {"reward": 0.5, "terminated": end, "truncated": limit},
    )
    for end, limit in ENDS
]  # fmt: skip
TOLERANCE = 1e-3  # all is constant; float32 rounds at 1e-6, α log π is under 1e-4


def measure(answers: Answers) -> Numbers:
    return [target_of(each["critic_gradient"]) for each in answers]


def oracle() -> Numbers:
    return [0.5 + 0.9 * 3.0, 0.5 + 0.9 * 3.0, 0.5]


def done(row: Any, **question: Any) -> Answer:
    ended = row["terminated"] or row["truncated"]
    return answer(0.5 if ended else 3.2)


def never(row: Any, **question: Any) -> Answer:
    return answer(3.2)


BROKEN = {"a mask of done": done, "no mask": never}
