"""CQL's learned weight grows while the gap is above its target

Claim: α' descends −α' (gap_weight · gap − gap_target), so that log α' has the gradient
−α' (gap_weight · gap − gap_target) (the Lagrange form of Kumar et al. 2020, as in the
authors' code): it rises where the gap is too large, and falls where it is small enough.

Oracle: that line, for the gap that the library itself has computed, with targets above
and below and two values of α'. Known variant: the target inside the weight, −α'
gap_weight (gap − τ); τ = gap_target/gap_weight says the same.
"""

from typing import Any

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
CRITICS = [[0.0, 2.0, 0.0], [0.0, 2.0, 0.0]]
ROW = toolbox.ROW | {"terminated": True}
CASES = ((-4.0, 1.0), (90.0, 1.0), (-4.0, 3.0))
QUESTIONS = [
    toolbox.cql(critics=CRITICS, rows=[ROW], threshold=target, factor=factor)
    for target, factor in CASES
]
# Where the gap is read from another draw of the proposals: 0.03 a gap, times 5 and 3.
TOLERANCE = 0.5
WEIGHT = QUESTIONS[0]["weight"]


def measure(answers: Answers) -> Numbers:
    return [
        answer["factor_gradient"] + factor * WEIGHT * answer["gap"] / 2.0
        for (_, factor), answer in zip(CASES, answers, strict=True)
    ]


def oracle() -> Numbers:
    return [factor * target for target, factor in CASES]


def inside() -> Numbers:
    return [factor * WEIGHT * target for target, factor in CASES]


VARIANTS = {"the target inside the weight": inside}


def learned(threshold: float, factor: float, sign: float) -> Answer:
    gap = 2.0
    slope = -factor * (WEIGHT * gap / 2.0 - threshold)
    return {"gap": gap, "factor_gradient": sign * slope}


def turned(threshold: float, factor: float, **question: Any) -> Answer:
    return learned(threshold, factor, -1.0)


def unscaled(threshold: float, factor: float, **question: Any) -> Answer:
    return learned(threshold, factor, 1.0 / factor)


BROKEN = {"the sign turned": turned, "not of the logarithm": unscaled}
