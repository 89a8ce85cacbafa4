"""Text maps: walls, starts and goals as arrays, for the gridworld and for tables.

'#' is a wall, 'S' a start, '.' free, and a letter of `goals` a goal; beyond the map
lies wall. A state is the index of a cell among those that are not wall, in reading
order.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from softq.types import SoftqError

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left


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


def parse(text: str, goals: str = "G") -> Layout:
    """The arrays of a map. Raises SoftqError where the text is not one."""
    rows = text.split()
    if len({len(row) for row in rows}) != 1:
        raise SoftqError("a grid's map needs rows of one length")
    letters = np.array(rows, f"U{len(rows[0])}").view("U1").reshape(len(rows), -1)
    found = set(np.unique(letters).tolist())
    if strange := sorted(found - set("#.S" + goals)):
        made_of = " ".join("#.S" + goals)
        raise SoftqError(f"a grid's map has {strange}; it is made of {made_of}")
    if "S" not in found:
        raise SoftqError("a grid's map has no start: put an S in it")
    if not found & set(goals):
        raise SoftqError(f"a grid's map has no goal: put a {goals[0]} in it")
    cells = np.argwhere(letters != "#").astype(np.int32)
    kinds = letters[tuple(cells.T)]
    starts = np.flatnonzero(kinds == "S").astype(np.int32)
    goal = np.isin(kinds, list(goals))
    return Layout(letters, cells, _successor(letters, cells), starts, goal)


def _successor(letters: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Where each move leads from each cell, (S, 4); the map gets a border of wall."""
    here = np.arange(len(cells), dtype=np.int32)
    index = np.full(np.add(letters.shape, 2), -1, np.int32)
    index[tuple(cells.T + 1)] = here
    row, column = np.moveaxis(cells[:, None] + MOVES + 1, -1, 0)
    there = index[row, column]
    return np.where(there < 0, here[:, None], there)
