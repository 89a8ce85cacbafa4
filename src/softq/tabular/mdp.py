"""Markov decision processes as tables, in successor-list form.

Row (s, a) has K possible outcomes: with probability `prob[s, a, k]` the world moves to
`next_state[s, a, k]`, and ends there where `terminated[s, a, k]`. Shorter rows are
padded with probability 0. `reward[s, a]` is the expected reward of the step.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from softq import maps
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


# Where tables come from.


def from_gymnasium(env: Any, discount: float) -> MDP:
    """The table of an environment that has one: FrozenLake, CliffWalking, Taxi.

    `env` is an id or an environment. Raises SoftqError where it has no `P`.
    """
    if isinstance(env, str):
        import gymnasium

        try:
            env = gymnasium.make(env)
        except gymnasium.error.Error as error:
            raise SoftqError(f"{env} cannot be made: {error}") from error
    inner = env.unwrapped
    if not hasattr(inner, "P"):
        raise SoftqError(
            f"{type(inner).__name__} has no table of transitions (`P`). "
            "FrozenLake-v1, CliffWalking-v1 and Taxi-v4 have"
        )
    states, actions = len(inner.P), len(inner.P[0])
    rows = [_merged(inner.P[s][a]) for s in range(states) for a in range(actions)]
    width = max(len(row) for row, _ in rows)
    padded = np.zeros((states * actions, width, 3))
    for filled, (row, _) in zip(padded, rows, strict=True):
        filled[: len(row)] = row
    next_state, prob, terminated = np.moveaxis(
        padded.reshape(states, actions, width, 3), -1, 0
    )
    reward = np.array([r for _, r in rows]).reshape(states, actions)
    start = getattr(inner, "initial_state_distrib", None)
    letters, cells = _drawn(inner, states)
    return table(
        next_state.astype(np.int32), prob, terminated, reward, discount, start,
        letters, cells,
    )  # fmt: skip


def _merged(outcomes: Sequence[Any]) -> tuple[list[tuple[int, float, bool]], float]:
    """A row of `P` with equal outcomes added up, and its expected reward."""
    sums: dict[tuple[int, bool], float] = {}
    for prob, state, _, ended in outcomes:
        sums[int(state), bool(ended)] = sums.get((int(state), bool(ended)), 0.0) + prob
    row = [(state, prob, ended) for (state, ended), prob in sums.items()]
    return row, float(sum(prob * reward for prob, _, reward, _ in outcomes))


def _drawn(env: Any, states: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The map of an environment whose states are the cells of a rectangle."""
    letters = getattr(env, "desc", None)
    letters = None if letters is None else np.asarray(letters).astype("U1")
    if letters is None and isinstance(getattr(env, "shape", None), tuple):
        letters = np.full(env.shape, ".")
    if letters is None or letters.size != states:
        return None, None
    return letters, np.argwhere(np.ones(letters.shape, bool))


def from_map(
    text: str,
    discount: float,
    *,
    slip: float = 0.0,
    stay: bool = False,
    goals: dict[str, float] | None = None,
    step_cost: float = 0.01,
) -> MDP:
    """A gridworld: '#' wall, 'S' start, '.' free, and letters of `goals`.

    Actions are up, right, down, left, and then to stay where `stay`. With probability
    `slip` a move turns into one of the two at right angles to it. Entering a goal pays
    its value (default: G 1) and ends the episode; every other step costs `step_cost`.
    """
    goals = {"G": 1.0} if goals is None else goals
    if not 0 <= slip <= 1:
        raise SoftqError(f"slip is a probability; found {slip}")
    layout = maps.parse(text, "".join(goals))
    states = len(layout.cells)
    actions, width = 4 + stay, 1 if slip == 0 else 3
    _refuse_large(states, actions, width)
    kinds = layout.letters[tuple(layout.cells.T)]
    value = np.full(states, -step_cost)
    for letter, worth in goals.items():
        value[kinds == letter] = worth
    next_state, prob = _moves(layout.successor, (states, actions, width), slip)
    reward = (prob * value[next_state]).sum(-1)
    start = np.isin(np.arange(states), layout.starts) / len(layout.starts)
    return table(
        next_state, prob, layout.goal[next_state], reward, discount, start,
        layout.letters, layout.cells,
    )  # fmt: skip


def _moves(
    successor: np.ndarray, shape: tuple[int, int, int], slip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Next states and probabilities of the four moves, and of staying where asked."""
    next_state, prob = np.empty(shape, np.int32), np.zeros(shape)
    turns = ((0, 1.0 - slip), (1, 0.5 * slip), (3, 0.5 * slip))[: shape[2]]
    for a in range(4):
        for k, (turn, chance) in enumerate(turns):
            next_state[:, a, k] = successor[:, (a + turn) % 4]
            prob[:, a, k] = chance
    if shape[1] == 5:
        next_state[:, 4] = np.arange(shape[0])[:, None]
        prob[:, 4, 0] = 1.0
    return next_state, prob


def chain(states: int, discount: float, slip: float = 0.0) -> MDP:
    """A corridor: left or right, and 1 for stepping out of its right end.

    With probability `slip` a step goes the other way; left of the first state is it.
    """
    _refuse_large(states, 2, 2)
    here = np.arange(states, dtype=np.int32)
    ways = np.stack([np.maximum(here - 1, 0), np.minimum(here + 1, states - 1)], -1)
    next_state = np.stack([ways, ways[:, ::-1]], 1)  # (S, action, went as meant or not)
    prob = np.broadcast_to([1.0 - slip, slip], next_state.shape)
    right = np.broadcast_to([[False, True], [True, False]], next_state.shape)
    terminated = right & (here == states - 1)[:, None, None]
    start = (here == 0).astype(float)
    reward = (prob * terminated).sum(-1)
    return table(next_state, prob, terminated, reward, discount, start)


def garnet(
    seed: int,
    states: int,
    actions: int,
    outcomes: int,
    discount: float,
    termination: float = 0.0,
) -> MDP:
    """A random MDP (Archibald et al. 1995): K distinct successors a row.

    Probabilities are uniform on the simplex, rewards standard normal, and an outcome
    terminates with probability `termination`.
    """
    if not 1 <= outcomes <= states:
        raise SoftqError(f"{states} states cannot have {outcomes} successors a row")
    _refuse_large(states, actions, outcomes)
    random = np.random.default_rng(seed)
    shape = states, actions, outcomes
    rows = [random.choice(states, outcomes, False) for _ in range(states * actions)]
    prob = random.dirichlet(np.ones(outcomes), shape[:2])
    return table(
        np.reshape(rows, shape), prob, random.random(shape) < termination,
        random.standard_normal(shape[:2]), discount,
    )  # fmt: skip


def from_dense(
    prob: Any, reward: Any, discount: float, terminated: Any = None, start: Any = None
) -> MDP:
    """From P of shape (S, A, S) and r of shape (S, A) or (S, A, S).

    `terminated`, of P's shape, says which transitions end the episode.
    """
    prob, reward = np.asarray(prob, np.float64), np.asarray(reward, np.float64)
    if prob.ndim != 3 or prob.shape[0] != prob.shape[2]:
        raise SoftqError(f"P needs shape (S, A, S); found {prob.shape}")
    if reward.shape == prob.shape:
        reward = (prob * reward).sum(-1)
    ends = np.zeros(prob.shape, bool) if terminated is None else np.asarray(terminated)
    order = np.argsort(prob == 0, axis=-1, kind="stable")  # outcomes first
    order = order[..., : max(int((prob != 0).sum(-1).max()), 1)]
    prob, ends = (np.take_along_axis(x, order, -1) for x in (prob, ends))
    return table(order, prob, ends, reward, discount, start)


def from_sparse(
    matrices: Sequence[Any], reward: Any, discount: float, start: Any = None
) -> MDP:
    """From one SciPy sparse matrix (S, S) an action, and r of shape (S, A)."""
    rows = [m.tocsr() for m in matrices]
    states, actions = rows[0].shape[0], len(rows)
    lengths = np.stack([np.diff(m.indptr) for m in rows], -1)
    shape = states, actions, max(int(lengths.max()), 1)
    _refuse_large(*shape)
    next_state, prob = np.zeros(shape, np.int32), np.zeros(shape)
    for a, matrix in enumerate(rows):
        if matrix.shape != (states, states):
            raise SoftqError(f"action {a}'s matrix has shape {matrix.shape}")
        row = np.repeat(np.arange(states), lengths[:, a])
        k = np.arange(len(row)) - np.repeat(matrix.indptr[:-1], lengths[:, a])
        next_state[row, a, k], prob[row, a, k] = matrix.indices, matrix.data
    return table(next_state, prob, np.zeros(shape, bool), reward, discount, start)


def from_data(
    state: Any,
    action: Any,
    reward: Any,
    next_state: Any,
    terminated: Any,
    *,
    states: int,
    actions: int,
    discount: float,
) -> Empirical:
    """The empirical MDP of n transitions, given as five arrays of length n."""
    s, a, t, r, d = (
        np.asarray(x) for x in (state, action, next_state, reward, terminated)
    )
    if s.size == 0:
        raise SoftqError("the dataset is empty: a table needs at least one transition")
    _check_data(s, a, t, states, actions)
    pair = s.astype(np.int64) * actions + a
    triple, where = np.unique(
        np.stack([pair, t, d], -1), axis=0, return_inverse=True
    )  # every outcome once
    often = np.bincount(where.ravel())
    counts = np.bincount(pair, minlength=states * actions)
    first = np.searchsorted(triple[:, 0], triple[:, 0])
    k = np.arange(len(triple)) - first  # which outcome of its pair
    shape = states * actions, int(k.max()) + 1
    next_, prob, ends = np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape)
    next_[triple[:, 0], k], ends[triple[:, 0], k] = triple[:, 1], triple[:, 2]
    prob[triple[:, 0], k] = often / counts[triple[:, 0]]
    unseen = counts == 0
    prob[unseen, 0], ends[unseen, 0] = 1.0, 1.0
    mean = np.bincount(pair, r, states * actions) / np.maximum(counts, 1)
    shape_ = states, actions, -1
    made = table(
        next_.reshape(shape_), prob.reshape(shape_), ends.reshape(shape_),
        mean.reshape(states, actions), discount,
    )  # fmt: skip
    return _empirical(made, counts.reshape(states, actions))


def _empirical(mdp: MDP, counts: np.ndarray) -> Empirical:
    """The table with its counts, and the behaviour that they show."""
    visits = counts.sum(-1, keepdims=True)
    level = 1.0 / counts.shape[1]
    behaviour = np.where(visits > 0, counts / np.maximum(visits, 1), level)
    return Empirical(mdp, counts, behaviour, counts > 0)


def _check_data(
    s: np.ndarray, a: np.ndarray, t: np.ndarray, states: int, actions: int
) -> None:
    for name, values, size in (
        ("state", s, states), ("action", a, actions), ("next state", t, states),
    ):  # fmt: skip
        wrong = (values < 0) | (values >= size)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise SoftqError(
                f"transition {i} has {name} {values[i]}; the table has {size} "
                f"{name.split()[-1]}s, 0 to {size - 1}"
            )


def _refuse_large(states: int, actions: int, outcomes: int) -> None:
    """Raises SoftqError where a table would not fit into free memory."""
    if states < 1 or actions < 1:
        raise SoftqError(f"a table needs states and actions; found {states}, {actions}")
    needed, free = states * actions * (outcomes * 13 + 8), free_memory()
    if needed > 0.8 * free:
        raise SoftqError(
            f"a table of {states:,} states, {actions} actions and {outcomes} outcomes "
            f"needs {needed / 2**30:,.1f} GiB; {free / 2**30:,.1f} GiB are free"
        )


# Files.


def save(mdp: MDP, path: str | Path) -> None:
    """Writes a table as `.npz`: arrays by the names of MDP's fields, no pickle."""
    fields = {k: v for k, v in mdp._asdict().items() if v is not None}
    np.savez_compressed(path, **fields)


def load(path: str | Path) -> MDP:
    """Reads and checks a table. Raises SoftqError where the file holds none."""
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SoftqError(f"{path} holds no table: {error}") from error
    wanted = MDP._fields[:6]
    if missing := [name for name in wanted if name not in found]:
        raise SoftqError(f"{path} holds no table: {', '.join(missing)} missing")
    if strange := sorted(set(found) - set(MDP._fields)):
        raise SoftqError(f"{path} holds no table: what is {', '.join(strange)}?")
    if found["discount"].shape != ():
        raise SoftqError(f"{path}: the discount has shape {found['discount'].shape}")
    return table(**{**found, "discount": float(found["discount"])})
