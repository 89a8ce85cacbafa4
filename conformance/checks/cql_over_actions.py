"""CQL's log-sum-exp runs over one state's actions, not over states

Claim: every state has its own soft maximum; the batch is averaged afterwards.

Oracle: two states, obs 0 and 1, with Q = 20 obs + 2a. What is added to all actions of a
state falls out of its gap: the gap's gradient with respect to the weight of obs is 0.
Under one sum over the whole batch the second state takes all the weight, and the
gradient is (1 − ½) times the gap's weight. The squared error is 0 at both rows.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
CRITICS = [[20.0, 2.0, 0.0], [20.0, 2.0, 0.0]]
ROWS = [
    toolbox.ROW | {"obs": s, "next_obs": s, "reward": 20.0 * s, "terminated": True}
    for s in (0.0, 1.0)
]
QUESTIONS = [toolbox.cql(critics=CRITICS, rows=ROWS, count=512)]
TOLERANCE = 1e-2  # exact up to rounding: 0.002 by float32's of Q = 20, squared errors


def measure(answers: Answers) -> Numbers:
    return [critic[0] for critic in answers[0]["critic_gradient"]]


def oracle() -> Numbers:
    return [0.0, 0.0]


def whole_batch(**question: Any) -> Answer:
    drawn = [toolbox.proposals(question, row) for row in ROWS]
    score = [20.0 * s + 2.0 * action - log_mu for action, log_mu, s in drawn]
    share = toolbox.softmax(np.concatenate(score))
    asked = np.sum(share * np.concatenate([s for _, _, s in drawn]))
    return {"critic_gradient": [[question["weight"] * (asked - 0.5), 0.0, 0.0]] * 2}


BROKEN = {"one sum over the batch": whole_batch}
