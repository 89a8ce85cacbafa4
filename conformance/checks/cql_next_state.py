"""CQL's third family, drawn at s', is scored at s

Claim: the actions a' ~ π(·|s') stand for more of the box at s: what is asked for is
Q(s, a'), never Q(s', a') (Kumar et al. 2020; the authors' code).

Oracle: Q = 20 obs + 2a, s = 0 and s' = 1. As all is scored at s, the gap's gradient
with respect to the weight of obs is 0. Where the third family is scored at s', its Q is
20 higher and takes all the weight: the gradient is the gap's weight times 1, and the
gap itself 20 too large.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "cql_update"
CRITICS = [[20.0, 2.0, 0.0], [20.0, 2.0, 0.0]]
ROW = toolbox.ROW | {"next_obs": 1.0, "terminated": True}
QUESTIONS = [toolbox.cql(critics=CRITICS, rows=[ROW])]
TOLERANCE = 1e-3  # exact: the state's observation is 0


def measure(answers: Answers) -> Numbers:
    return [critic[0] for critic in answers[0]["critic_gradient"]]


def oracle() -> Numbers:
    return [0.0, 0.0]


def scored_there(**question: Any) -> Answer:
    action, log_mu, state = toolbox.proposals(question, ROW)
    state[-question["samples"] :] = ROW["next_obs"]
    share = toolbox.softmax(20.0 * state + 2.0 * action - log_mu)
    return {"critic_gradient": [[question["weight"] * np.sum(share * state)] * 3] * 2}


BROKEN = {"scored at s'": scored_there}
