"""A point that is to come to a line: two tasks whose lines cross, and the crossing.

In small, the pusher of Haarnoja et al. 2018 (arXiv 1803.06773), whose agents learn one
coordinate of a goal each. Units: metres, and metres a step.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from softq.envs.jax_env import Frame, canvas, disc, finish, paint, rod
from softq.types import Key, Scalar, Spec

GOAL, BORDER, STEP, EFFORT = -1.0, 2.0, 0.2, 0.1
AXES = {"x": (0,), "y": (1,), "both": (0, 1)}
SIDE = 240
PAPER, LINE, POINT = (250, 249, 246), (63, 143, 106), (214, 69, 65)


@dataclasses.dataclass(frozen=True)
class Reach:
    """Come to x = −1, to y = −1, or to where they cross."""

    axis: Literal["x", "y", "both"] = "both"
    horizon: int = 30

    spec = Spec((2,), low=(-1.0, -1.0), high=(1.0, 1.0))
    obs_bounds = (-BORDER, -BORDER), (BORDER, BORDER)
    fps = 15

    def reset(self, key: Key) -> Float[Array, "2"]:
        """Anywhere."""
        return jax.random.uniform(key, (2,), minval=-BORDER, maxval=BORDER)

    def observe(self, state: Float[Array, "2"]) -> Float[Array, "2"]:
        """The position."""
        return state

    def step(
        self, key: Key, state: Float[Array, "2"], action: Float[Array, "2"]
    ) -> tuple[Float[Array, "2"], Scalar, Bool[Array, ""]]:
        """A move of 0.2 m at most each way; −Σ|distance| − 0.1 |a|² for its axes."""
        there = jnp.clip(state + STEP * jnp.clip(action, -1.0, 1.0), -BORDER, BORDER)
        reward = jnp.zeros(())
        for axis in AXES[self.axis]:
            reward = reward - jnp.abs(there[axis] - GOAL) - EFFORT * action[axis] ** 2
        return there, reward, jnp.zeros((), bool)

    def render(self, state: Float[Array, "2"]) -> Frame:
        """The lines and the point."""
        picture, scale = canvas(SIDE, SIDE, PAPER), SIDE / (2 * BORDER)
        at = (GOAL + BORDER) * scale
        if 0 in AXES[self.axis]:
            paint(picture, rod(picture, (at, 0.0), (at, float(SIDE)), 1.5), LINE)
        if 1 in AXES[self.axis]:
            ends = (0.0, SIDE - at), (float(SIDE), SIDE - at)
            paint(picture, rod(picture, *ends, 1.5), LINE)
        x, y = (np.asarray(state) + BORDER) * scale
        paint(picture, disc(picture, float(x), SIDE - float(y), 6.0), POINT)
        return finish(picture)
