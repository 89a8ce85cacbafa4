"""Neither the actor's nor the temperature's loss moves the critics

Claim: a critic's step follows its own loss alone. The actor's loss depends on the
critics too, and its gradient with respect to them must be dropped.

Oracle: critics that are zero, and whose target is zero (a terminal row of reward 0), do
not move at all: two full updates at a step size of 0.1 leave every weight at 0. Where
the actor's gradient is added, or is left over for the next step, Adam moves them by
0.1.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
POLICY = {"slope": 0.0, "bias": 0.5, "log_std": 0.0}
ROW = toolbox.ROW | {"obs": 1.0, "action": 0.5, "next_obs": 1.0, "terminated": True}
QUESTIONS = [toolbox.sac(policy=POLICY, row=ROW, learn_alpha=True, lr=0.1, steps=2)]
TOLERANCE = 1e-6  # nothing may move; Adam turns any gradient at all into 0.1


def measure(answers: Answers) -> Numbers:
    weights = [np.asarray(critics) for critics, _ in answers[0]["trail"]]
    return [np.max(np.abs(after - weights[0])) for after in weights[1:]]


def oracle() -> Numbers:
    return [0.0, 0.0]


def left_over(**question: Any) -> Answer:
    zero = np.zeros(6)
    return {"trail": [(zero, zero), (zero, zero), (zero + 0.1, zero)]}


BROKEN = {"the actor's gradient is not cleared": left_over}
