"""Temporal-difference targets."""

from jaxtyping import Array, Bool, Float

from softq.types import Scalar


def target(
    reward: Float[Array, " n"],
    terminated: Bool[Array, " n"],
    next_v: Float[Array, " n"],
    discount: Scalar | float,
) -> Float[Array, " n"]:
    """y = r + γ (1 − terminated) V(s'). A time limit bootstraps: it is no end."""
    return reward + discount * (1.0 - terminated.astype(reward.dtype)) * next_v
