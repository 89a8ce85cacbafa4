"""Actions to estimate a soft value with, each with its log density.

Written for one state, and vmapped: every state draws its own. Densities are those of
the action a in [-1, 1]^d.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.ops import conservative, tanh_normal
from softq.types import Key

Gaussian = tuple[Float[Array, "n d"], Float[Array, "n d"]]  # mean and log σ of u


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
    ½ 2^−d + ½ mean_m N(u; u_m, width²)/Π(1 − a²); of an odd k the parts' own
    shares. The centres are the sampler's particles; its own density is not known, for
    it is not one-to-one.
    """
    m, dim = centres.shape
    flat_key, which_key, noise_key = jax.random.split(key, 3)
    flat, _ = uniform(flat_key, k // 2, dim)
    which = jax.random.randint(which_key, (k - k // 2,), 0, m)
    noise = jax.random.normal(noise_key, (k - k // 2, dim))
    near = centres[which] + width * noise
    u = jnp.concatenate([tanh_normal.inverse(flat), near])
    action = jnp.concatenate([flat, jnp.tanh(near)])
    scale = jnp.full(dim, math.log(width))
    one = jax.vmap(tanh_normal.log_prob, in_axes=(None, 0, None))
    around = jax.vmap(one, in_axes=(0, None, None))(u, centres, scale)
    close = jax.nn.logsumexp(around, axis=-1) - math.log(m)
    more = [math.log(2 * n / k) if n else -math.inf for n in (k // 2, k - k // 2)]
    both = jnp.logaddexp(-dim * math.log(2.0) + more[0], close + more[1])
    return action, both - math.log(2.0)


def of_policy(
    key: Key, mean: Float[Array, "n d"], log_std: Float[Array, "n d"], k: int
) -> tuple[Float[Array, "n {k} d"], Float[Array, "n {k}"]]:
    """k actions of each state's squashed Gaussian, and their log densities."""
    action, _, logp = tanh_normal.sample(key, *_each((mean, log_std), k))
    return action, logp


def three_sources(
    key: Key, here: Gaussian, after: Gaussian, k: int, mixed: bool
) -> tuple[Float[Array, "n 3*{k} d"], Float[Array, "n 3*{k}"]]:
    """CQL(H)'s actions: k uniform, k of π(·|s), k of π(·|s'), in this order.

    All are asked for at s, also the last, whose density is π(a'|s') all the same: that
    of what it was drawn from. With `mixed` every action carries the density of the
    mixture of the three instead: a narrow policy's weights are then bounded.
    """
    flat_key, here_key, after_key = jax.random.split(key, 3)
    n, dim = here[0].shape
    flat = jax.random.uniform(flat_key, (n, k, dim), minval=-1.0, maxval=1.0)
    own, own_u, log_own = tanh_normal.sample(here_key, *_each(here, k))
    other, other_u, log_other = tanh_normal.sample(after_key, *_each(after, k))
    action = jnp.concatenate([flat, own, other], axis=1)
    log_flat = jnp.full((n, k), conservative.log_uniform(dim))
    if not mixed:
        return action, jnp.concatenate([log_flat, log_own, log_other], axis=1)
    # An action of float32 does not know its u any more where a policy is saturated.
    u = jnp.concatenate([tanh_normal.inverse(flat), own_u, other_u], axis=1)
    near = (tanh_normal.log_prob(u, *_each(dist, 3 * k)) for dist in (here, after))
    return action, conservative.log_mixture(jnp.tile(log_flat, 3), *near)


def _each(dist: Gaussian, k: int) -> tuple[Array, Array]:
    """Mean and log σ of n states, repeated for k actions."""
    n, d = dist[0].shape
    mean, log_std = (jnp.broadcast_to(x[:, None], (n, k, d)) for x in dist)
    return mean, log_std
