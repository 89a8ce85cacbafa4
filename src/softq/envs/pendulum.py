"""The pendulum to swing up: Gymnasium's Pendulum-v1, on the device, in float32.

Angles in radians from upright, positive anticlockwise; torques in N m; steps of
0.05 s. Source: gymnasium.envs.classic_control.pendulum, held against it by a test.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from softq.envs.jax_env import Frame, canvas, disc, finish, paint, rod
from softq.types import Key, Scalar, Spec

GRAVITY, MASS, LENGTH, DT = 10.0, 1.0, 1.0, 0.05
MAX_SPEED, MAX_TORQUE = 8.0, 2.0

SIDE, ARM = 320, 112.0
PAPER, RING, BOB = (250, 249, 246), (226, 224, 217), (214, 69, 65)
ROD, SHADOW, GOAL = (45, 52, 64), (120, 116, 108), (63, 143, 106)


class State(NamedTuple):
    """Angle (not wrapped, radians) and angular velocity (radians a second)."""

    theta: Scalar
    theta_dot: Scalar


@dataclasses.dataclass(frozen=True)
class Pendulum:
    """Keep a pendulum upright with a motor too weak to lift it in one go."""

    horizon: int = 200

    spec = Spec((3,), low=(-MAX_TORQUE,), high=(MAX_TORQUE,))
    obs_bounds = (-1.0, -1.0, -MAX_SPEED), (1.0, 1.0, MAX_SPEED)
    fps = 30

    def reset(self, key: Key) -> State:
        """θ uniform in ±π, θ̇ uniform in ±1."""
        draw = jax.random.uniform(key, (2,), jnp.float32, -1.0, 1.0)
        return State(math.pi * draw[0], draw[1])

    def observe(self, state: State) -> Float[Array, "3"]:
        """(cos θ, sin θ, θ̇)."""
        theta, theta_dot = state
        return jnp.stack([jnp.cos(theta), jnp.sin(theta), theta_dot])

    def step(
        self, key: Key, state: State, action: Float[Array, "1"]
    ) -> tuple[State, Scalar, Bool[Array, ""]]:
        """Semi-implicit Euler; −(θ² + 0.1 θ̇² + 0.001 u²) of the state before it."""
        theta, theta_dot = state
        u = MAX_TORQUE * jnp.clip(action[0], -1.0, 1.0)
        wrapped = (theta + math.pi) % (2 * math.pi) - math.pi
        reward = -(wrapped**2 + 0.1 * theta_dot**2 + 0.001 * u**2)
        pull = 3 * GRAVITY / (2 * LENGTH) * jnp.sin(theta)
        push = 3 / (MASS * LENGTH**2) * u
        theta_dot = jnp.clip(theta_dot + (pull + push) * DT, -MAX_SPEED, MAX_SPEED)
        after = State(theta + theta_dot * DT, theta_dot)
        return after, reward, jnp.zeros((), bool)

    def render(self, state: State) -> Frame:
        """The rod, a mark where it should stand, and a trail as long as it is fast."""
        theta, theta_dot = float(state.theta), float(state.theta_dot)
        picture = canvas(SIDE, SIDE, PAPER)
        middle = SIDE / 2
        paint(picture, abs(disc(picture, middle, middle, ARM)) - 1, RING)
        paint(picture, abs(disc(picture, middle, middle - ARM, 22.0)) - 1.5, GOAL, 0.8)
        for k in range(12, 0, -1):
            x, y = _bob(theta - k / 5 * DT * theta_dot)
            paint(picture, disc(picture, x, y, 16.0), BOB, (13 - k) / 150)
        x, y = _bob(theta)
        below = rod(picture, (middle + 3, middle + 5), (x + 3, y + 5), 7.0)
        paint(picture, below, SHADOW, 0.35, blur=10.0)
        paint(picture, disc(picture, x + 3, y + 5, 16.0), SHADOW, 0.35, blur=10.0)
        paint(picture, rod(picture, (middle, middle), (x, y), 6.0), ROD)
        paint(picture, disc(picture, x, y, 16.0), BOB)
        paint(picture, disc(picture, middle, middle, 9.0), ROD)
        paint(picture, disc(picture, middle, middle, 3.5), PAPER)
        return finish(picture)


def _bob(theta: float) -> tuple[float, float]:
    """Where the rod ends, in pixels."""
    return SIDE / 2 - ARM * math.sin(theta), SIDE / 2 - ARM * math.cos(theta)
