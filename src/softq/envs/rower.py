"""A boat with one oar: in open water, where any way pays, or in a canal.

A small stand-in for the quadruped of Haarnoja et al. 2017, section 5.3: trained first
for its speed, whichever way, then put into canals where only progress pays. The oar
swings in the plane; what it moves while its blade is in the water pushes the boat the
other way. So one has to row, in with the stroke and out on the way back, and neither
random moves nor a constant one lead anywhere. Units: metres and metres a step.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from softq.envs.jax_env import Frame, canvas, disc, finish, paint, rod
from softq.envs.line import along
from softq.types import Key, Scalar, Spec

KEEP = 0.8  # of the velocity, from step to step
THRUST = 0.4  # velocity for the oar's whole reach
STRIDE = 0.5  # metres a step at velocity 1, about what steady rowing gives
SIGHT = 5.0  # metres that are 1 in an observation
BOUNDS = (20.0, 20.0, 4.0, 4.0, 1.0, 1.0)  # of what can be observed in 50 steps
START = 0.1  # standard deviation of the first position


class Canal(NamedTuple):
    """Water as rectangles (left, bottom, right, top), and the line to follow."""

    water: tuple[tuple[float, float, float, float], ...]
    line: tuple[tuple[float, float], ...]


CANALS = {
    "east": Canal(((-1.0, -1.0, 25.0, 1.0),), ((0.0, 0.0), (25.0, 0.0))),
    "north": Canal(((-0.5, -0.5, 0.5, 25.0),), ((0.0, 0.0), (0.0, 25.0))),
    "u": Canal(
        ((-1.0, -1.0, 5.0, 1.0), (3.0, -1.0, 5.0, 5.0), (-15.0, 3.0, 5.0, 5.0)),
        ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (-15.0, 4.0)),
    ),
}
SIDE = 320
WATER, LAND, BOAT, OAR = (206, 222, 232), (233, 231, 224), (214, 69, 65), (45, 52, 64)


class State(NamedTuple):
    """Position, velocity, and the oar's end, in a disc of radius 1 about the boat."""

    position: Float[Array, "2"]
    velocity: Float[Array, "2"]
    oar: Float[Array, "2"]


@dataclasses.dataclass(frozen=True)
class Rower:
    """Row; in a canal, along it."""

    canal: Literal["open", "east", "north", "u"] = "open"
    horizon: int = 50

    spec = Spec((6,), low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 1.0))
    obs_bounds = tuple(-b for b in BOUNDS), BOUNDS
    fps = 10

    def reset(self, key: Key) -> State:
        """N(0, 0.1² I) from the start; at rest in a canal, in the open at any speed."""
        keys = jax.random.split(key, 4)
        here = START * jnp.clip(jax.random.normal(keys[0], (2,)), -3.0, 3.0)
        if self.canal != "open":
            return State(here, jnp.zeros(2), jnp.zeros(2))
        return State(here, _in_disc(keys[1]), _in_disc(keys[2]))

    def observe(self, state: State) -> Float[Array, "6"]:
        """Position in units of five metres, velocity, oar."""
        return jnp.concatenate([state.position / SIGHT, state.velocity, state.oar])

    def step(
        self, key: Key, state: State, action: Float[Array, "3"]
    ) -> tuple[State, Scalar, Bool[Array, ""]]:
        """The oar's move (two numbers) and the blade's depth (−1 out, 1 in).

        Pays the speed; in a canal the metres along its line, over STRIDE. A bank
        takes the velocity towards it; nothing ends before its time.
        """
        oar = state.oar + action[:2]
        oar = oar / jnp.maximum(_length(oar), 1.0)
        depth = (action[2] + 1.0) / 2.0
        velocity = KEEP * state.velocity - THRUST * depth * (oar - state.oar)
        here = state.position
        for axis in (0, 1):
            there = here.at[axis].add(STRIDE * velocity[axis])
            free = self._afloat(there)
            here = jnp.where(free, there, here)
            velocity = velocity.at[axis].multiply(jnp.where(free, 1.0, 0.0))
        reward = _length(velocity)
        if self.canal != "open":
            gone = self.along(here) - self.along(state.position)
            reward = gone / STRIDE
        return State(here, velocity, oar), reward, jnp.zeros((), bool)

    def along(self, point: Float[Array, "2"]) -> Scalar:
        """Metres along the canal's line to the place of it that is nearest."""
        return along(np.array(CANALS[self.canal].line), point)

    def _afloat(self, point: Float[Array, "2"]) -> Bool[Array, ""]:
        if self.canal == "open":
            return jnp.ones((), bool)
        boxes = jnp.asarray(CANALS[self.canal].water)
        inside = (point[None] >= boxes[:, :2]) & (point[None] <= boxes[:, 2:])
        return jnp.any(jnp.all(inside, axis=-1))

    def render(self, state: State) -> Frame:
        """Water and banks, the boat and its oar."""
        boxes = np.array(((-12.0, -12.0, 12.0, 12.0),))
        if self.canal != "open":
            boxes = np.array(CANALS[self.canal].water)
        middle = (boxes[:, :2].min(0) + boxes[:, 2:].max(0)) / 2
        width = float((boxes[:, 2:].max(0) - boxes[:, :2].min(0)).max()) + 1.0
        picture, scale = canvas(SIDE, SIDE, LAND), SIDE / width

        def pixel(x: np.ndarray | Array) -> tuple[float, float]:
            right, up = (np.asarray(x) - middle) * scale
            return SIDE / 2 + float(right), SIDE / 2 - float(up)

        for box in boxes:
            (left, low), (right, high) = pixel(box[:2]), pixel(box[2:])
            picture[round(high) : round(low), round(left) : round(right)] = WATER
        at = pixel(state.position)
        if float(_length(state.oar)) > 1e-3:
            end = pixel(state.position + state.oar)
            paint(picture, rod(picture, at, end, 2.0), OAR)
        paint(picture, disc(picture, *at, 6.0), BOAT)
        return finish(picture)


def _length(x: Float[Array, "2"]) -> Scalar:
    return jnp.sqrt(jnp.sum(x**2) + 1e-12)


def _in_disc(key: Key) -> Float[Array, "2"]:
    angle_key, size_key = jax.random.split(key)
    angle = jax.random.uniform(angle_key, (), maxval=2 * jnp.pi)
    size = jnp.sqrt(jax.random.uniform(size_key))
    return size * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
