"""Samples held against a density, on the cells of a grid over [-1, 1]^d.

What can be said exactly of a sampler in one and two dimensions.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq.types import Scalar

SIDES = {1: 64, 2: 16}  # cells a side, by dimension
PARTS = 4  # of a cell's side, whose middles stand for its integral


def middles(dim: int) -> Float[Array, "m {dim}"]:
    """The points at which a density is asked for: PARTS^d in each cell."""
    count = SIDES[dim] * PARTS
    line = (jnp.arange(count, dtype=jnp.float32) + 0.5) / count * 2 - 1
    grid = jnp.meshgrid(*[line] * dim, indexing="ij")
    return jnp.stack(grid, -1).reshape(-1, dim)


def misfit(
    drawn: Float[Array, "k d"], density: Float[Array, " m"]
) -> tuple[Scalar, Scalar]:
    """Total variation and KL(drawn ‖ exact) in nats, over cells.

    `density` is that of `middles`, up to a constant factor.
    """
    k, dim = drawn.shape
    exact = _shares(middles(dim), density / jnp.sum(density))
    found = _shares(drawn, jnp.full(k, 1.0 / k))
    ratio = jnp.log(jnp.maximum(found, 1e-30) / jnp.maximum(exact, 1e-30))
    return jnp.sum(jnp.abs(found - exact)) / 2, jnp.sum(found * ratio)


def _shares(
    points: Float[Array, "n d"], mass: Float[Array, " n"]
) -> Float[Array, " cells"]:
    """The mass in each cell."""
    dim = points.shape[-1]
    side = SIDES[dim]
    along = jnp.clip(((points + 1) / 2 * side).astype(jnp.int32), 0, side - 1)
    cell: Int[Array, " n"] = along @ (side ** jnp.arange(dim))
    return jnp.zeros(side**dim).at[cell].add(mass)
