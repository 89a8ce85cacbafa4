"""Actions to estimate a soft value with, each with its log density.

Written for one state, and vmapped: every state draws its own. Densities are those of
the action a in [-1, 1]^d.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.ops import tanh_normal
from softq.types import Key

EDGE = 1.0 - 1e-6  # beyond it float32 knows no atanh


def uniform(
    key: Key, k: int, dim: int
) -> tuple[Float[Array, "{k} {dim}"], Float[Array, " {k}"]]:
    """k actions of density 2^−d, and its log."""
    action = jax.random.uniform(key, (k, dim), minval=-1.0, maxval=1.0)
    return action, jnp.full(k, -dim * math.log(2.0))


def mixture(
    key: Key, centres: Float[Array, "m d"], k: int, width: float
) -> tuple[Float[Array, "{k} d"], Float[Array, " {k}"]]:
    """k actions, half of them uniform, half tanh of N(u_m, width²) around `centres`.

    Every action carries the density of the whole mixture, whichever half drew it:
    ½ 2^−d + ½ mean_m N(u; u_m, width²)/Π(1 − a²). The centres are the sampler's
    particles; its own density is not known, for it is not one-to-one.
    """
    m, dim = centres.shape
    flat_key, which_key, noise_key = jax.random.split(key, 3)
    flat, _ = uniform(flat_key, k // 2, dim)
    which = jax.random.randint(which_key, (k - k // 2,), 0, m)
    noise = jax.random.normal(noise_key, (k - k // 2, dim))
    near = centres[which] + width * noise
    u = jnp.concatenate([jnp.arctanh(jnp.clip(flat, -EDGE, EDGE)), near])
    action = jnp.concatenate([flat, jnp.tanh(near)])
    scale = jnp.full(dim, math.log(width))
    one = jax.vmap(tanh_normal.log_prob, in_axes=(None, 0, None))
    around = jax.vmap(one, in_axes=(0, None, None))(u, centres, scale)
    close = jax.nn.logsumexp(around, axis=-1) - math.log(m)
    log_density = jnp.logaddexp(-dim * math.log(2.0), close) - math.log(2.0)
    return action, log_density
