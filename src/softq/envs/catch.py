"""Catch (Mnih et al. 2014, arXiv 1406.6247): the smallest game seen as an image.

A fruit falls from the top, one row a step; the basket at the bottom moves by one
column. Each fruit caught pays 1; five fall in the time of an episode.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt8

from softq.envs.jax_env import Frame
from softq.types import Key, Scalar, Spec

SIZE, REACH, FRUITS = 12, 1, 5  # pixels; columns beside the basket's; an episode
FALL = SIZE - 1  # steps a fruit
ZOOM = 20  # pixels of a film for each


class State(NamedTuple):
    """The fruit's row and column, and the basket's column."""

    row: Int[Array, ""]
    column: Int[Array, ""]
    basket: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class Catch:
    """Catch what falls; actions are left, stay, right."""

    horizon: int = FALL * FRUITS

    spec = Spec((SIZE, SIZE, 1), "uint8", num_actions=3)
    obs_bounds = (0.0,) * SIZE**2, (255.0,) * SIZE**2
    fps = 10

    def reset(self, key: Key) -> State:
        """A fruit in any column, the basket in any other."""
        column, basket = jax.random.randint(key, (2,), 0, SIZE)
        return State(jnp.int32(0), column, basket)

    def observe(self, state: State) -> UInt8[Array, "12 12 1"]:
        """The fruit and the basket in white."""
        rows, columns = jnp.arange(SIZE)[:, None], jnp.arange(SIZE)[None]
        fruit = (rows == state.row) & (columns == state.column)
        under = jnp.abs(columns - state.basket) <= REACH
        picture = fruit | ((rows == SIZE - 1) & under)
        return jnp.where(picture, 255, 0).astype(jnp.uint8)[..., None]

    def step(
        self, key: Key, state: State, action: Int[Array, ""]
    ) -> tuple[State, Scalar, Bool[Array, ""]]:
        """One row down; at the bottom 1 where the basket is beneath, then the next."""
        basket = jnp.clip(state.basket + action - 1, 0, SIZE - 1).astype(jnp.int32)
        row = state.row + 1
        landed = row == FALL
        caught = landed & (jnp.abs(state.column - basket) <= REACH)
        again = jax.random.randint(key, (), 0, SIZE)
        after = State(
            jnp.where(landed, 0, row),
            jnp.where(landed, again, state.column),
            basket,
        )
        return after, caught.astype(jnp.float32), jnp.zeros((), bool)

    def render(self, state: State) -> Frame:
        """What is seen, larger."""
        small = np.asarray(self.observe(state))
        return np.kron(small, np.ones((ZOOM, ZOOM, 3), np.uint8))
