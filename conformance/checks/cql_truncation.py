"""A time limit is not an end in CQL either

Claim: as in `sac_truncation`: y = r + γ (1 − terminated) V(s').

Oracle: the same, with Q' = 3 everywhere: 3.2 inside an episode and where a time limit
cut it, 0.5 at a true end. The policy's temperature is near 0.
"""

from typing import Any

from conformance import toolbox
from conformance.checks import sac_truncation
from conformance.toolbox import Answer

QUANTITY = "cql_update"
QUESTIONS = [
    toolbox.cql(
        critics=sac_truncation.CRITICS, targets=[[0.0, 0.0, 3.0]] * 2, alpha=1e-6,
        rows=[toolbox.ROW | {"reward": 0.5, "terminated": end, "truncated": limit}],
    )
    for end, limit in sac_truncation.ENDS
]  # fmt: skip
TOLERANCE = 1e-2  # all is constant; the gap's own gradient rounds at 1e-4 of its weight
measure, oracle = sac_truncation.measure, sac_truncation.oracle


def done(rows: Any, **question: Any) -> Answer:
    return sac_truncation.done(row=rows[0])


BROKEN = {"a mask of done": done, "no mask": lambda **q: sac_truncation.never(None)}
