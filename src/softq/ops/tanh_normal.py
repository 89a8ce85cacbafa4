"""The squashed Gaussian a = tanh(u), u ~ N(mean, diag(exp(log_std))²).

Haarnoja et al. 2018 (arXiv 1812.05905), appendix C. Units: a in [-1, 1]^d, log
densities and entropies in nats. The pre-tanh u travels beside a, because atanh
near ±1 loses everything that float32 holds.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.types import Key

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
EDGE = 1.0 - 1e-6  # beyond it float32 knows no atanh
# Where the first of the two softplus bends must level off for the second to end at 2.
_TOP = LOG_STD_MAX + math.log(-math.expm1(LOG_STD_MIN - LOG_STD_MAX))


def bound_log_std(raw: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """A smooth map of any number into [-10, 2], near the identity in between.

    Unlike a clip its gradient never vanishes, so that no σ is stuck at an end.
    """
    upper = _TOP - jax.nn.softplus(_TOP - raw)
    return LOG_STD_MIN + jax.nn.softplus(upper - LOG_STD_MIN)


def log_det_tanh(u: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    """Σ log(1 − tanh² u) = Σ 2 (log 2 − u − softplus(−2u)); finite for every u."""
    return jnp.sum(2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u)), axis=-1)


def log_prob(
    u: Float[Array, "*n d"], mean: Float[Array, "*n d"], log_std: Float[Array, "*n d"]
) -> Float[Array, "*n"]:
    """log π(tanh u) in nats: log N(u; mean, σ) − Σ log(1 − tanh² u) (eq. 26)."""
    return _log_normal((u - mean) * jnp.exp(-log_std), log_std) - log_det_tanh(u)


def sample(
    key: Key, mean: Float[Array, "*n d"], log_std: Float[Array, "*n d"]
) -> tuple[Float[Array, "*n d"], Float[Array, "*n d"], Float[Array, "*n"]]:
    """Reparameterised draw: (action tanh u, u, log π(action)).

    The density is taken at the noise itself, so that its gradient with respect to
    the mean is exactly that of the Jacobian term.
    """
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    u = mean + jnp.exp(log_std) * noise
    return jnp.tanh(u), u, _log_normal(noise, log_std) - log_det_tanh(u)


def log_density(
    action: Float[Array, "*n d"],
    mean: Float[Array, "*n d"],
    log_std: Float[Array, "*n d"],
) -> Float[Array, "*n"]:
    """log π(action) in nats of actions that came without their u, as data do."""
    return log_prob(inverse(action), mean, log_std)


def inverse(action: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """u = atanh(action); what lies beyond ±(1 − 1e-6) counts as there."""
    return jnp.arctanh(jnp.clip(action, -EDGE, EDGE))


def median(mean: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """The greedy action tanh(mean): the median, not the mode."""
    return jnp.tanh(mean)


def _log_normal(
    noise: Float[Array, "*n d"], log_std: Float[Array, "*n d"]
) -> Float[Array, "*n"]:
    constant = 0.5 * math.log(2.0 * math.pi)
    return jnp.sum(-0.5 * noise**2 - log_std - constant, axis=-1)
