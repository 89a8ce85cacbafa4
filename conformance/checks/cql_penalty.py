"""CQL's learned weight multiplies the penalty

Claim: the critics pay α' gap_weight · gap. Three times the α' is three times the
penalty's gradient; and the loss that α' itself descends, which is minus that penalty,
leaves the critics alone.

Oracle: the ratio of the gradients with respect to the action's weight at α' = 3 and α'
= 1, from the same draws: 3. Where α' never reaches the critics' loss it is 1; where the
dual's loss reaches the critics too, the two cancel.
"""

from typing import Any

from conformance import toolbox
from conformance.checks.cql_dual import CRITICS, ROW
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
FACTORS = (1.0, 3.0)
QUESTIONS = [
    toolbox.cql(critics=CRITICS, rows=[ROW], threshold=1.0, factor=factor)
    for factor in FACTORS
]
TOLERANCE = 0.01  # the same draws; α' takes one step of 1e-4 at most before it is used


def measure(answers: Answers) -> Numbers:
    one, three = (answer["critic_gradient"][0][1] for answer in answers)
    return [three / one if one else float("nan")]


def oracle() -> Numbers:
    return [3.0]


def alone(factor: float, **question: Any) -> Answer:
    return {"critic_gradient": [[0.0, 2.7, 0.0]] * 2}


def cancelled(factor: float, **question: Any) -> Answer:
    return {"critic_gradient": [[0.0, 2.7 * (factor - factor), 0.0]] * 2}


BROKEN = {"α' is not in the critics' loss": alone, "the dual reaches Q": cancelled}
