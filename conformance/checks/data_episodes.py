"""No transition leads from one episode into the next

Claim: in columns without next observations (D4RL's layout) the row after belongs to the
transition only where the episode goes on. Where a time limit cut it, the step has no
known successor and is left out (or carries the true one); after a terminal it has no
value, and its next observation counts for nothing.

Oracle: two episodes, 0 1 2 cut by a time limit and 10 11 12 ended by the world. Right
are 0→1, 1→2, 10→11, 11→12 and 12 as terminal. What is measured: how many transitions
that bootstrap cross the border, how many ends are marked where there is none, how many
of the four and of the one terminal are missing. Row by row, 2→10 crosses; where the
time limit counts as an end, the step of 2 is marked.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "transitions"
OBS = (0.0, 1.0, 2.0, 10.0, 11.0, 12.0)
QUESTIONS = [
    {"obs": OBS, "terminated": [0, 0, 0, 0, 0, 1], "truncated": [0, 0, 1, 0, 0, 0]}
]
TOLERANCE = 0.0  # these are counts
RIGHT = {(0.0, 1.0), (1.0, 2.0), (10.0, 11.0), (11.0, 12.0)}


def measure(answers: Answers) -> Numbers:
    rows = answers[0]["rows"]  # obs, next_obs, terminated
    going = [(s, after) for s, after, end in rows if not end]
    ends = [s for s, _, end in rows if end]
    crossing = sum(pair not in RIGHT for pair in going)
    return [crossing, sum(s != 12.0 for s in ends), len(RIGHT - set(going)),
            12.0 not in ends]  # fmt: skip


def oracle() -> Numbers:
    return [0, 0, 0, 0]


def row_by_row(obs: Any, terminated: Any, truncated: Any) -> Answer:
    after = np.roll(obs, -1)
    return {"rows": list(zip(obs, after.tolist(), terminated, strict=True))}


def limit_is_end(obs: Any, terminated: Any, truncated: Any) -> Answer:
    ends = np.logical_or(terminated, truncated).tolist()
    return {"rows": list(zip(obs, np.roll(obs, -1).tolist(), ends, strict=True))}


BROKEN = {"row by row": row_by_row, "a time limit as an end": limit_is_end}
