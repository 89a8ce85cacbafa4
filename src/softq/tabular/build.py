"""Where tables come from: Gymnasium, maps, closed forms, matrices, data."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from softq import maps
from softq.machine import free_memory
from softq.tabular.mdp import MDP, Empirical, table
from softq.types import SoftqError


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
