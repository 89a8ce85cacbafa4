"""Metropolis-adjusted Langevin sampling (Roberts & Tweedie 1996) of an energy.

The second way to act from exp(Q/α): no network, several gradients of Q an action.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.types import Key, Scalar


def mala(
    key: Key,
    log_density: Callable[[Float[Array, " d"]], Scalar],
    start: Float[Array, " d"],
    steps: int,
    size: Scalar | float,
) -> tuple[Float[Array, " d"], Scalar]:
    """One chain: where it is after `steps` proposals, and the share it accepted.

    Proposes u + size ∇ log p(u) + √(2 size) ξ, ξ ~ N(0, I), and accepts as Metropolis
    and Hastings do: exp(log_density) is kept exactly, whatever the size. A proposal
    whose density is no number is rejected.
    """
    both = jax.value_and_grad(log_density)

    def step(carry: Any, key: Key) -> Any:
        here, level, gradient = carry
        noise_key, accept_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, here.shape, here.dtype)
        there = here + size * gradient + jnp.sqrt(2.0 * size) * noise
        new_level, new_gradient = both(there)
        ratio = (
            new_level
            - level
            + _log_proposal(here, there, new_gradient, size)
            - _log_proposal(there, here, gradient, size)
        )
        accepted = jnp.log(jax.random.uniform(accept_key)) < ratio  # never where NaN
        moved = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old),
            (there, new_level, new_gradient),
            carry,
        )
        return moved, accepted

    begin = start, *both(start)
    (end, _, _), accepted = jax.lax.scan(step, begin, jax.random.split(key, steps))
    return end, jnp.mean(accepted.astype(start.dtype))


def _log_proposal(
    there: Array, here: Array, gradient: Array, size: Scalar | float
) -> Scalar:
    """Of proposing `there` from `here`, up to a constant."""
    return -jnp.sum((there - here - size * gradient) ** 2) / (4.0 * size)
