"""CQL(ρ)'s weights are not differentiated

Claim: the paper prints E_μ[Q] with μ ∝ ρ exp Q; its gradient is that of log E_ρ[exp Q]
where those weights are held fixed: each sample gets its share (Kumar et al. 2020,
appendix A).

Oracle: softmax(Q). Differentiating the weights as well adds μ_k (Q_k − E_μ[Q]), here up
to 0.31, and turns the sign of some.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "rho_gradient"
Q = [0.3, -1.0, 2.0, 1.1]
QUESTIONS = [{"q": Q}]
TOLERANCE = 1e-5  # exact up to float32's rounding


def measure(answers: Answers) -> Numbers:
    return [answer["gradient"] for answer in answers]


def oracle() -> Numbers:
    return toolbox.softmax(np.array(Q))


def through_weights(q: Any) -> Answer:
    share = toolbox.softmax(np.array(q))
    return {"gradient": share * (1.0 + np.array(q) - np.sum(share * q))}


BROKEN = {"the weights are differentiated": through_weights}
