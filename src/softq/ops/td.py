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
