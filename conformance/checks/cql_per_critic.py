"""Each critic has a gap of its own

Claim: the log-sum-exp is taken for each critic by itself, and the gaps are added.

Oracle: what is added to one critic falls out of its own gap, so that the gap's gradient
with respect to a critic's constant is 0; of Q_1 = 3a and Q_2 = a/2 as well as of any
two. Under one sum over samples and critics together the steeper one has a share of
0.77: gradients of ±0.27 times the gap's weight. The squared error is 0 at the row.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
CRITICS = [[0.0, 3.0, 0.0], [0.0, 0.5, 0.0]]
ROW = toolbox.ROW | {"terminated": True}
QUESTIONS = [toolbox.cql(critics=CRITICS, rows=[ROW])]
TOLERANCE = 1e-3  # exact up to float32's rounding


def measure(answers: Answers) -> Numbers:
    return [critic[2] for critic in answers[0]["critic_gradient"]]


def oracle() -> Numbers:
    return [0.0, 0.0]


def jointly(**question: Any) -> Answer:
    action, log_mu, _ = toolbox.proposals(question, ROW)
    score = np.stack([toolbox.q_value(c, 0.0, action) - log_mu for c in CRITICS])
    share = toolbox.softmax(score.ravel()).reshape(2, -1).sum(axis=1)
    return {
        "critic_gradient": [[0.0, 0.0, question["weight"] * (2.0 * s - 1.0)] for s in
                            share]
    }  # fmt: skip


BROKEN = {"one sum over samples and critics": jointly}
