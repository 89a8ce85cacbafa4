"""Temporal-difference targets."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from softq.types import Scalar


def target(
    reward: Float[Array, " n"],
    terminated: Bool[Array, " n"],
    next_v: Float[Array, " n"],
    discount: Scalar | float,
) -> Float[Array, " n"]:
    """y = r + γ (1 − terminated) V(s'). A time limit bootstraps: it is no end."""
    return reward + discount * jnp.where(terminated, 0.0, next_v)


def expectile_loss(
    error: Float[Array, " n"], expectile: Scalar | float
) -> Float[Array, " n"]:
    """|τ − 1(error < 0)| error²: on average least at the τ-expectile (½: the mean)."""
    return jnp.abs(expectile - (error < 0.0).astype(error.dtype)) * error**2
