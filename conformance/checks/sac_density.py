"""The density of a squashed Gaussian holds near the bounds too

Claim: an action a = tanh u carries log π(a) = log N(u; μ, σ) − log(1 − tanh² u), also
where a is so near 1 that float32 rounds 1 − a² to nothing (Haarnoja et al. 2018,
appendix C). Asked for through a library's own samples, −log π on average is the
entropy.

Oracle: the entropy by quadrature over u. With σ = 1 it is −21.2 nats at μ = 12. A small
number ε inside the logarithm, log(1 − a² + ε), cannot fall below log ε: 1e-6 gives
−12.4 there. Two sizes of ε are known variants: 1e-6, the original implementation's, and
float32's smallest step, 1.2e-7.
"""

import numpy as np

from conformance import toolbox
from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "tanh_samples"
MEANS = (0.0, 2.0, 6.0, 12.0)
QUESTIONS = [{"mean": m, "log_std": 0.0, "count": 20_000, "seed": 0} for m in MEANS]
# −log π has a standard deviation of 2.1 at most: 0.015 for a mean of 20,000; six times.
TOLERANCE = 0.1


def measure(answers: Answers) -> Numbers:
    return [-np.mean(answer["logp"]) for answer in answers]


def oracle() -> Numbers:
    return [toolbox.entropy(mean, 0.0) for mean in MEANS]


def epsilon(size: float) -> Numbers:
    """−E[log π] with ε inside the logarithm."""
    normal = 0.5 * np.log(2.0 * np.pi * np.e)
    u = [mean + toolbox.NODES for mean in MEANS]
    slopes = [np.log(np.exp(toolbox.log_slope(x)) + size) for x in u]
    return [normal + np.sum(toolbox.WEIGHTS * slope) for slope in slopes]


VARIANTS = {
    "1e-6 inside the logarithm": lambda: epsilon(1e-6),
    "float32's step inside the logarithm": lambda: epsilon(np.finfo(np.float32).eps),
}


def padded(mean: float, log_std: float, count: int, seed: int) -> Answer:
    rng = np.random.default_rng(seed)
    action, logp = toolbox.draw(rng, mean, log_std, (count,))
    slope = np.log(1.0 - action.astype(np.float32) ** 2 + np.float32(1e-6))
    return {"logp": logp + toolbox.log_slope(np.arctanh(action)) - slope}


def unsquashed(mean: float, log_std: float, count: int, seed: int) -> Answer:
    noise = np.random.default_rng(seed).standard_normal(count)
    return {"logp": -0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi)}


BROKEN = {"1e-6 inside the logarithm": padded, "no Jacobian of tanh": unsquashed}
