"""SAC's actor descends E[α log π − min Q]

Claim: the actor's gradient is that of E[α log π(a|s) − min_i Q_i(s, a)], a = tanh(μ + σ
ξ), the noise held fixed (Haarnoja et al. 2018, eqs. 7 and 9).

Oracle: the derivative with respect to μ of the quadrature of that expectation, for Q_1
= 2a, Q_2 = −a and two temperatures. A mean over critics, a turned sign of the entropy
or a temperature left out each change it by 0.3 or more.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
POLICY = {"slope": 0.0, "bias": 0.4, "log_std": -0.5}
CRITICS = [[0.0, 2.0, 0.0], [0.0, -1.0, 0.0]]
ALPHAS = (0.2, 1.0)
QUESTIONS = [
    toolbox.sac(policy=POLICY, critics=CRITICS, targets=CRITICS, alpha=alpha)
    for alpha in ALPHAS
]
# A sample's gradient has a standard deviation under 1.3: 0.02 for 4,096; five times.
TOLERANCE = 0.1


def measure(answers: Answers) -> Numbers:
    return [answer["actor_gradient"] for answer in answers]


def oracle() -> Numbers:
    return [slope(alpha, np.min) for alpha in ALPHAS]


def slope(alpha: float, reduce: Any) -> float:
    """d/dμ of the actor's loss, the critics reduced to one by `reduce`."""

    def loss(mean: float) -> float:
        def value(action: Any, logp: Any) -> Any:
            q = [toolbox.q_value(critic, 0.0, action) for critic in CRITICS]
            return alpha * logp - reduce(q, axis=0)

        return toolbox.expect(value, mean, POLICY["log_std"])

    return toolbox.mean_slope(loss, POLICY["bias"])


def mean_of_critics(alpha: float, **question: Any) -> Answer:
    return {"actor_gradient": slope(alpha, np.mean)}


def against_entropy(alpha: float, **question: Any) -> Answer:
    return {"actor_gradient": slope(-alpha, np.min)}


def no_temperature(alpha: float, **question: Any) -> Answer:
    return {"actor_gradient": slope(1.0, np.min)}


BROKEN = {
    "the mean of the critics": mean_of_critics,
    "the entropy's sign turned": against_entropy,
    "no temperature": no_temperature,
}
