"""The temperature rises below the target entropy, at a rate free of itself

Claim: the loss is −log α (log π + H̄), the logarithm of α being what is learned; its
gradient with respect to log α is H − H̄ whatever α (Haarnoja et al. 2018, eq. 18, in
the form of the authors' code). With gradient descent α then rises where the entropy H
is below its target H̄ = −dim(A), and falls above.

Oracle: H by quadrature, H̄ = −1, at α = 1 and 0.2. A turned sign shows at once. The
paper's own form, −α (log π + H̄) with the same α = exp(log α), has α times this
gradient: the same sign and fixed point, another speed. It is a known variant.
"""

from typing import Any

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "sac_update"
POLICY = {"slope": 0.5, "bias": 0.0, "log_std": -0.5}
ALPHAS = (1.0, 0.2)
ROW = toolbox.ROW | {"obs": 0.4}
QUESTIONS = [
    toolbox.sac(policy=POLICY, row=ROW, alpha=alpha, learn_alpha=True)
    for alpha in ALPHAS
]
# log π has a standard deviation of 0.8: 0.013 for a mean of 4,096; four times.
TOLERANCE = 0.05


def measure(answers: Answers) -> Numbers:
    return [answer["log_alpha_gradient"] for answer in answers]


def oracle() -> Numbers:
    return [toolbox.entropy(0.2, POLICY["log_std"]) + 1.0 for _ in ALPHAS]


def papers_form() -> Numbers:
    return [alpha * (toolbox.entropy(0.2, POLICY["log_std"]) + 1.0) for alpha in ALPHAS]


VARIANTS = {"not in the logarithm": papers_form}


def turned(**question: Any) -> Answer:
    return {"log_alpha_gradient": -oracle()[0]}


def wrong_target(**question: Any) -> Answer:
    return {"log_alpha_gradient": oracle()[0] - 2.0}


BROKEN = {"the sign turned": turned, "H̄ = +dim(A)": wrong_target}
