"""Markov decision processes as tables, in successor-list form.

Row (s, a) has K possible outcomes: with probability `prob[s, a, k]` the world moves to
`next_state[s, a, k]`, and ends there where `terminated[s, a, k]`. Shorter rows are
padded with probability 0. `reward[s, a]` is the expected reward of the step.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from softq.machine import free_memory
from softq.types import SoftqError

SUM = 1e-9  # how far a row of probabilities may be from 1


class MDP(NamedTuple):
    """A table of S states, A actions and K outcomes, float64; made by this module.

    `start` is the distribution of the first state. `letters` and `cells` (a row and
    column for each state) are there where the table came from a map, for pictures.
    """

    next_state: Int[np.ndarray, "s a k"]
    prob: Float[np.ndarray, "s a k"]
    terminated: Bool[np.ndarray, "s a k"]
    reward: Float[np.ndarray, "s a"]
    discount: float
    start: Float[np.ndarray, " s"]
    letters: np.ndarray | None = None
    cells: Int[np.ndarray, "s 2"] | None = None


class Empirical(NamedTuple):
    """The table that data describe: frequencies instead of probabilities.

    A pair that was never `seen` ends the episode with reward 0; `behaviour` is 0
    there, and uniform in states that were never visited.
    """

    mdp: MDP
    counts: Int[np.ndarray, "s a"]
    behaviour: Float[np.ndarray, "s a"]
    seen: Bool[np.ndarray, "s a"]


def table(
    next_state: Any,
    prob: Any,
    terminated: Any,
    reward: Any,
    discount: float,
    start: Any = None,
    letters: np.ndarray | None = None,
    cells: np.ndarray | None = None,
) -> MDP:
    """A checked MDP from arrays of shapes (S, A, K) three times, and (S, A).

    `start` (S,) defaults to uniform. Raises SoftqError for anything that is no MDP,
    naming the first state and action where it goes wrong.
    """
    reward = np.asarray(reward, np.float64)
    _check_shapes(np.shape(next_state), np.shape(prob), np.shape(terminated), reward)
    states = len(reward)
    if start is None:
        start = np.full(states, 1.0 / states)
    made = MDP(
        _index(next_state, states), np.asarray(prob, np.float64),
        np.asarray(terminated, bool), reward, float(discount),
        np.asarray(start, np.float64), letters, cells,
    )  # fmt: skip
    _check_numbers(made)
    _check_discount(made)
    _check_drawing(made)
    return made


def _check_shapes(*found: Any) -> None:
    next_state, prob, terminated, reward = found[0], found[1], found[2], found[3].shape
    good = len(prob) == 3 and next_state == prob == terminated and reward == prob[:2]
    if not good or 0 in prob:
        raise SoftqError(
            "a table needs next_state, prob and terminated of shape (S, A, K) and "
            f"reward of shape (S, A); found {next_state}, {prob}, {terminated} and "
            f"{reward}"
        )


def _index(values: Any, states: int) -> np.ndarray:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise SoftqError(f"next_state must hold integers; found {array.dtype}")
    wrong = (array < 0) | (array >= states)
    if wrong.any():
        s, a, k = np.argwhere(wrong)[0]
        raise SoftqError(
            f"state {s}, action {a} leads to state {array[s, a, k]}; "
            f"the table has states 0 to {states - 1}"
        )
    return array.astype(np.int32)


def _check_numbers(mdp: MDP) -> None:
    """Probabilities are, and sum to 1; rewards are finite."""
    if not (mdp.prob >= 0).all():  # NaN is not either
        s, a, k = np.argwhere(~(mdp.prob >= 0))[0]
        raise SoftqError(
            f"state {s}, action {a} has an outcome of probability {mdp.prob[s, a, k]}"
        )
    sums = mdp.prob.sum(-1)
    if (abs(sums - 1) > SUM).any():
        s, a = np.argwhere(abs(sums - 1) > SUM)[0]
        raise SoftqError(
            f"the probabilities of state {s}, action {a} sum to {sums[s, a]:.9g}, not 1"
        )
    if not np.isfinite(mdp.reward).all():
        s, a = np.argwhere(~np.isfinite(mdp.reward))[0]
        raise SoftqError(f"state {s}, action {a} has reward {mdp.reward[s, a]}")
    start = mdp.start
    if start.shape != (len(sums),) or not (start >= 0).all():
        raise SoftqError(
            f"start needs {len(sums)} probabilities; found shape {start.shape}"
        )
    if abs(start.sum() - 1) > SUM:
        raise SoftqError(f"the probabilities of start sum to {start.sum():.9g}, not 1")


def _check_discount(mdp: MDP) -> None:
    if not 0 <= mdp.discount <= 1:
        raise SoftqError(f"the discount must be in [0, 1]; found {mdp.discount}")
    if mdp.discount == 1 and len(lasting := endless(mdp)):
        raise SoftqError(
            f"a discount of 1 needs every policy to terminate, but from state "
            f"{lasting[0]} one can go on for ever. Try a discount of 0.99"
        )


def _check_drawing(mdp: MDP) -> None:
    """The map, where there is one, has a cell for every state."""
    letters, cells = mdp.letters, mdp.cells
    if letters is None and cells is None:
        return
    drawn, placed = np.asarray(letters), np.asarray(cells)
    good = (
        drawn.dtype == np.dtype("U1")
        and drawn.ndim == 2
        and placed.shape == (len(mdp.reward), 2)
        and np.issubdtype(placed.dtype, np.integer)
    )
    if not good or not ((placed >= 0) & (placed < drawn.shape)).all():
        raise SoftqError(
            "the map of a table needs letters (rows, columns), and cells (S, 2) inside "
            f"it; found {drawn.dtype} {drawn.shape} and {placed.dtype} {placed.shape}"
        )


def endless(mdp: MDP) -> Int[np.ndarray, " n"]:
    """The states from which some policy never terminates, with certainty.

    The largest set in which each state has an action that surely stays inside: where
    it is empty, every policy terminates with probability 1.
    """
    possible = mdp.prob > 0
    ends = (possible & mdp.terminated).any(-1)
    inside = np.ones(len(ends), bool)
    while True:
        stays = ~ends & (inside[mdp.next_state] | ~possible).all(-1)
        smaller = inside & stays.any(-1)
        if (smaller == inside).all():
            return np.flatnonzero(inside)
        inside = smaller


def continuation(mdp: MDP) -> Float[np.ndarray, "s a k"]:
    """Probability of each outcome where the episode goes on, else 0."""
    return np.where(mdp.terminated, 0.0, mdp.prob)


# Files.


def save(mdp: MDP, path: str | Path) -> None:
    """Writes a table as `.npz`: arrays by the names of MDP's fields, no pickle."""
    fields = {k: v for k, v in mdp._asdict().items() if v is not None}
    np.savez_compressed(path, **fields)


def load(path: str | Path) -> MDP:
    """Reads and checks a table. Raises SoftqError where the file holds none."""
    try:
        with zipfile.ZipFile(path) as archive:
            needed = sum(member.file_size for member in archive.infolist())
        if needed > 0.8 * (free := free_memory()):
            raise SoftqError(
                f"{path} unpacks to {needed / 2**30:,.1f} GiB; "
                f"{free / 2**30:,.1f} GiB are free"
            )
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise SoftqError(f"{path} holds no table: {error}") from error
    wanted = MDP._fields[:6]
    if missing := [name for name in wanted if name not in found]:
        raise SoftqError(f"{path} holds no table: {', '.join(missing)} missing")
    if strange := sorted(set(found) - set(MDP._fields)):
        raise SoftqError(f"{path} holds no table: what is {', '.join(strange)}?")
    for name, array in found.items():
        if array.dtype.kind not in ("U" if name == "letters" else "biuf"):
            raise SoftqError(f"{path} holds no table: {name} is {array.dtype}")
    if found["discount"].shape != ():
        raise SoftqError(f"{path}: the discount has shape {found['discount'].shape}")
    return table(**{**found, "discount": float(found["discount"])})
