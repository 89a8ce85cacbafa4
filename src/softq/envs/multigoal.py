"""A point in the plane and four goals around it (Haarnoja et al. 2017, section 5.1).

The authors published two versions, and they differ. That of 2018 starts near the
middle and pays for where a move ends; that of 2017 (`early`) starts exactly there and
pays for where it begins, so that a goal is noticed one step late. Units: metres, and
metres a step.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from softq.envs.jax_env import Frame, canvas, disc, finish, paint, rod
from softq.types import Key, Scalar, Spec

GOALS = np.array([(5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0)], np.float32)
REACH, BONUS, EFFORT = 1.0, 10.0, 30.0  # metres; reward; reward a (metre a step)²
BORDER = 7.0
START = 0.1  # standard deviation of the first position

SIDE = 320
PAPER, RING, GOAL = (250, 249, 246), (226, 224, 217), (63, 143, 106)
POINT, LAST = (214, 69, 65), (45, 52, 64)


class State(NamedTuple):
    """Where the point is, and where it was."""

    position: Float[Array, "2"]
    before: Float[Array, "2"]


@dataclasses.dataclass(frozen=True)
class MultiGoal:
    """Reach any of four goals, which are all as good."""

    early: bool = False
    horizon: int = 30

    spec = Spec((2,), low=(-1.0, -1.0), high=(1.0, 1.0))
    obs_bounds = (-BORDER, -BORDER), (BORDER, BORDER)
    fps = 10

    def reset(self, key: Key) -> State:
        """N(0, 0.1² I), or the middle itself in the early version."""
        noise = 0.0 if self.early else START
        start = jnp.clip(noise * jax.random.normal(key, (2,)), -BORDER, BORDER)
        return State(start, start)

    def observe(self, state: State) -> Float[Array, "2"]:
        """The position."""
        return state.position

    def step(
        self, key: Key, state: State, action: Float[Array, "2"]
    ) -> tuple[State, Scalar, Bool[Array, ""]]:
        """A move, and −30 |a|² − min_g |x − g|², with 10 more where a goal is near."""
        here, velocity = state.position, jnp.clip(action, -1.0, 1.0)
        there = jnp.clip(here + velocity, -BORDER, BORDER)
        paid = here if self.early else there
        square = jnp.min(jnp.sum((paid[None] - jnp.asarray(GOALS)) ** 2, axis=-1))
        arrived = square < REACH**2
        reward = (
            -EFFORT * jnp.sum(velocity**2) - square + jnp.where(arrived, BONUS, 0.0)
        )
        return State(there, here), reward, arrived

    def render(self, state: State) -> Frame:
        """The goals, and the point with the move that brought it there."""
        picture, scale = canvas(SIDE, SIDE, PAPER), SIDE / (2.2 * BORDER)
        middle = SIDE / 2

        def pixel(x: Array | np.ndarray) -> tuple[float, float]:
            return middle + scale * float(x[0]), middle - scale * float(x[1])

        for far in (2.0, 4.0, 6.0):
            paint(
                picture, abs(disc(picture, SIDE / 2, SIDE / 2, scale * far)) - 1, RING
            )
        for goal in GOALS:
            paint(picture, disc(picture, *pixel(goal), scale * REACH), GOAL, 0.35)
            paint(picture, disc(picture, *pixel(goal), 3.0), GOAL)
        moved = float(jnp.sum((state.position - state.before) ** 2)) > 0
        if moved:
            move = pixel(state.before), pixel(state.position)
            paint(picture, rod(picture, *move, 3.0), LAST, 0.5)
        paint(picture, disc(picture, *pixel(state.position), 7.0), POINT)
        return finish(picture)
