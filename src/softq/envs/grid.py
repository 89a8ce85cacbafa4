"""A gridworld from a text map: small enough to be solved exactly on a table.

'#' is a wall, 'S' a start, 'G' a goal, '.' free; beyond the map lies wall. A state
is the index of a cell among those that are not wall, in reading order.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from softq.envs.jax_env import Canvas, Frame, canvas, disc, finish, paint, tile
from softq.types import Key, Scalar, SoftqError, Spec

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left

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


class Layout(NamedTuple):
    """A map as arrays over its S cells: the world without its slips and rewards.

    `cells` holds (row, column); `successor` where each of MOVES leads (against a
    wall: nowhere); `starts` the k first cells, all as likely.
    """

    letters: np.ndarray
    cells: Int[np.ndarray, "s 2"]
    successor: Int[np.ndarray, "s 4"]
    starts: Int[np.ndarray, " k"]
    goal: Bool[np.ndarray, " s"]


def parse(text: str) -> Layout:
    """The arrays of a map. Raises SoftqError where the text is not one."""
    rows = text.split()
    if len({len(row) for row in rows}) != 1:
        raise SoftqError("a grid's map needs rows of one length")
    if strange := sorted(set("".join(rows)) - set(TILES)):
        raise SoftqError(f"a grid's map has {strange}; it is made of # . S G")
    letters = np.array([list(row) for row in rows])
    for letter, name in (("S", "start"), ("G", "goal")):
        if not (letters == letter).any():
            raise SoftqError(f"a grid's map has no {name}: put an {letter} in it")
    cells = np.argwhere(letters != "#").astype(np.int32)
    kinds = letters[tuple(cells.T)]
    starts = np.flatnonzero(kinds == "S").astype(np.int32)
    return Layout(letters, cells, _successor(letters, cells), starts, kinds == "G")


def _successor(letters: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Where each move leads from each cell, (S, 4); the map gets a border of wall."""
    here = np.arange(len(cells), dtype=np.int32)
    index = np.full(np.add(letters.shape, 2), -1, np.int32)
    index[tuple(cells.T + 1)] = here
    row, column = np.moveaxis(cells[:, None] + MOVES + 1, -1, 0)
    there = index[row, column]
    return np.where(there < 0, here[:, None], there)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Walk to a goal: its reward once, a small cost for every other step.

    `slip` is the probability that an action is replaced by one drawn uniformly from
    all four. An episode ends on entering a goal.
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
        other = jax.random.randint(move_key, (), 0, len(MOVES), jnp.int32)
        move = jnp.where(slips, other, action)
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
