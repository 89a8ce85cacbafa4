"""Soft operators over a finite set of actions (the last axis).

Haarnoja et al. 2017 (arXiv 1702.08165), eqs. 2 to 6. The temperature alpha may be
0, where every operator is its limit: max, and the uniform choice of maximisers.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.types import Scalar


def value(q: Float[Array, "*n a"], alpha: Scalar | float) -> Float[Array, "*n"]:
    """V = α log Σ_a exp(Q_a / α); the maximum where α = 0. Units of q."""
    top = jnp.max(q, axis=-1)
    return top + alpha * jax.nn.logsumexp(_scaled(q, alpha), axis=-1)


def log_boltzmann(
    q: Float[Array, "*n a"], alpha: Scalar | float
) -> Float[Array, "*n a"]:
    """log π, with π = softmax((Q − max Q)/α); −inf where a probability is 0."""
    return jax.nn.log_softmax(_scaled(q, alpha), axis=-1)


def boltzmann(q: Float[Array, "*n a"], alpha: Scalar | float) -> Float[Array, "*n a"]:
    """π = softmax((Q − max Q)/α); rows sum to 1."""
    return jax.nn.softmax(_scaled(q, alpha), axis=-1)


def entropy(log_p: Float[Array, "*n a"]) -> Float[Array, "*n"]:
    """H = −Σ p log p in nats; 0 · log 0 counts as 0, in value and gradient."""
    finite = jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)
    return -jnp.sum(jnp.exp(log_p) * finite, axis=-1)


def _scaled(q: Float[Array, "*n a"], alpha: Scalar | float) -> Float[Array, "*n a"]:
    """(Q − max Q)/α ≤ 0, so that nothing overflows; 0 or −inf where α = 0."""
    gap = q - jnp.max(q, axis=-1, keepdims=True)
    cold = jnp.asarray(alpha, q.dtype) <= 0.0
    hard = jnp.where(gap < 0.0, -jnp.inf, 0.0)
    return jnp.where(
        cold, hard, gap / jnp.where(cold, 1.0, jnp.asarray(alpha, q.dtype))
    )


# Over samples, where the actions cannot be counted (the same paper, eq. 10).


def sampled_value(
    q: Float[Array, "*n k"], log_density: Float[Array, "*n k"], alpha: Scalar | float
) -> Float[Array, "*n"]:
    """V ≈ α (log Σ_k exp(Q_k/α − log q_k) − log K), for actions drawn from density q.

    Biased low, the more so the wider Q/α spreads beneath the proposals; α above 0.
    """
    weights = q / alpha - log_density
    return alpha * (jax.nn.logsumexp(weights, axis=-1) - jnp.log(q.shape[-1]))


def effective_samples(
    q: Float[Array, "*n k"], log_density: Float[Array, "*n k"], alpha: Scalar | float
) -> Float[Array, "*n"]:
    """(Σ w)²/Σ w², 1 to K: how many of the samples carry `sampled_value`."""
    share = jax.nn.softmax(q / alpha - log_density, axis=-1)
    return 1.0 / jnp.sum(share**2, axis=-1)
