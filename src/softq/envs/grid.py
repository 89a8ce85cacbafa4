"""A gridworld from a text map (`softq.maps`): `tabular.from_map` is its exact twin."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from softq.envs.jax_env import Canvas, Frame, canvas, disc, finish, paint, tile
from softq.maps import MOVES, Layout, parse
from softq.types import Key, Scalar, Spec

# Symmetric about its diagonal, so that the best policy is not unique.
TWO_WAYS = """
S......
.##.##.
.#...#.
...#...
.#...#.
.##.##.
......G
"""

PAPER, SHADOW, AGENT = (250, 249, 246), (70, 68, 62), (214, 69, 65)
WALL, FREE, START = (62, 70, 84), (233, 231, 224), (206, 217, 232)
GOAL, RING = (167, 214, 187), (63, 143, 106)
TILES = {"#": WALL, ".": FREE, "S": START, "G": GOAL}


@dataclasses.dataclass(frozen=True)
class Grid:
    """Walk to a goal: its reward once, a small cost for every other step.

    `slip` is the probability that an action turns into one of the two at right angles
    to it, either as likely. An episode ends on entering a goal.
    """

    text: str = TWO_WAYS
    slip: float = 0.1
    goal_reward: float = 1.0
    step_cost: float = 0.01
    horizon: int = 100
    fps = 8

    @functools.cached_property
    def layout(self) -> Layout:
        """The map as NumPy arrays."""
        return parse(self.text)

    @property
    def spec(self) -> Spec:
        return Spec((len(self.layout.cells),), num_actions=len(MOVES))

    @property
    def obs_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.0,) * len(self.layout.cells), (1.0,) * len(self.layout.cells)

    def reset(self, key: Key) -> Int[Array, ""]:
        """One of the starts."""
        return jax.random.choice(key, jnp.asarray(self.layout.starts))

    def observe(self, state: Int[Array, ""]) -> Float[Array, " s"]:
        """One-hot of the cell."""
        return jax.nn.one_hot(state, len(self.layout.cells), dtype=jnp.float32)

    def step(
        self, key: Key, state: Int[Array, ""], action: Int[Array, ""]
    ) -> tuple[Int[Array, ""], Scalar, Bool[Array, ""]]:
        """Moves up, right, down or left (0 to 3); into a wall is to stay."""
        slip_key, move_key = jax.random.split(key)
        slips = jax.random.bernoulli(slip_key, jnp.float32(self.slip))
        turn = 2 * jax.random.bernoulli(move_key).astype(jnp.int32) - 1
        move = jnp.where(slips, (action + turn) % len(MOVES), action)
        after = jnp.asarray(self.layout.successor)[state, move]
        reached = jnp.asarray(self.layout.goal)[after]
        rewards = jnp.float32(self.goal_reward), jnp.float32(-self.step_cost)
        return after, jnp.where(reached, *rewards), reached

    def render(self, state: Int[Array, ""]) -> Frame:
        """The map and the walker on it."""
        size = max(self.layout.letters.shape)
        side = max(16, -(-336 // size))
        picture = _tiles(self.layout.letters, size, side)
        goals = self.layout.cells[self.layout.goal]
        for row, column in (goals + 0.5) * side:
            paint(picture, abs(disc(picture, column, row, 0.3 * side)) - 2, RING)
        y, x = (self.layout.cells[int(state)] + 0.5) * side
        paint(picture, disc(picture, x + 2, y + 4, 0.3 * side), SHADOW, 0.4, blur=8.0)
        paint(picture, disc(picture, x, y, 0.3 * side), AGENT)
        return finish(picture)


def _tiles(letters: np.ndarray, size: int, side: int) -> Canvas:
    """The map in cells of `side` pixels, made square with wall."""
    kinds = np.pad(letters, [(0, size - n) for n in letters.shape], constant_values="#")
    ink = np.array([[TILES[kind] for kind in row] for row in kinds], np.float32)
    picture = canvas(side * size, side * size, PAPER)
    shape = np.tile(tile(side), (size, size))
    paint(picture, shape, ink.repeat(side, 0).repeat(side, 1))
    return picture
