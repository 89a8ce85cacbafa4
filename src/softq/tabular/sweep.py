"""Sweeps: V ← α log Σ exp((r + γ E V)/α) over a whole table, or block by block.

Everything is float64, in a scope of its own, and compiled.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Array, Float, Int
from scipy.sparse.csgraph import breadth_first_order

from softq.ops import soft
from softq.tabular.mdp import MDP, continuation
from softq.tabular.policies import check_policy
from softq.types import Scalar

CHUNK = 64  # sweeps between two looks at the clock
UNROLLED = 8  # outcomes that are written out one by one
BLOCKS = 16  # of a large table
ROUND = 16  # sweeps of a block, at most, before the next has its turn
LEFT = 0.1  # of a block's first change, when the next block has its turn

Temperature = Scalar | None  # None is 0: no exponent is computed
F = TypeVar("F", bound=Callable[..., Any])


class Table(NamedTuple):
    """An MDP as a sweep reads it, on the device: outcomes first, states last."""

    next_state: Array  # (K, A, S)
    weight: Array  # (K, A, S), γ · probability where the episode goes on
    reward: Array  # (A, S)
    log_prior: Array | None  # (A, S)


def float64(fn: F) -> F:
    """Runs `fn` with 64-bit numbers, whatever the caller works with."""

    @functools.wraps(fn)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return fn(*args, **kwargs)

    return scoped  # type: ignore[return-value]


def on_device(mdp: MDP, prior: Any = None) -> Table:
    """An MDP as a sweep reads it. Raises SoftqError where the prior is none."""
    weight = mdp.discount * continuation(mdp)
    with np.errstate(divide="ignore"):  # a prior may forbid an action
        log_prior = None if prior is None else np.log(check_policy(mdp, prior)).T
    return Table(
        jnp.asarray(mdp.next_state.T), jnp.asarray(weight.T),
        jnp.asarray(mdp.reward.T),
        None if log_prior is None else jnp.asarray(log_prior),
    )  # fmt: skip


# One sweep. Actions and outcomes are written out one by one: XLA would reduce over such
# short axes entry by entry, which takes ten times as long on a large table.


def backup(table: Table, v: Float[Array, " all"]) -> list[Float[Array, " s"]]:
    """Q = r + γ E[(1 − terminated) V(s')], an array an action."""
    outcomes, actions, _ = table.weight.shape

    def q(a: int) -> Array:
        if outcomes > UNROLLED:
            return table.reward[a] + jnp.sum(
                table.weight[:, a] * v[table.next_state[:, a]], axis=0
            )
        total = table.reward[a]
        for k in range(outcomes):
            there = v.at[table.next_state[k, a]].get(mode="promise_in_bounds")
            total = total + table.weight[k, a] * there
        return total

    return [q(a) for a in range(actions)]


def soft_max(
    table: Table, q: list[Float[Array, " s"]], alpha: Temperature
) -> Float[Array, " s"]:
    """V = α log Σ_a prior(a|s) exp(Q/α), with a prior of 1 where there is none."""
    q = _tilted(table, q, alpha)
    if alpha is None:
        return functools.reduce(jnp.maximum, q)
    cold = alpha <= 0.0  # then every exponent is 0, and α log of their sum too
    inverse = jnp.where(cold, 0.0, 1.0 / jnp.where(cold, 1.0, alpha))
    top = functools.reduce(jnp.maximum, q)
    total = sum(jnp.exp((x - top) * inverse) for x in q)
    return top + alpha * jnp.log(total)


def _tilted(table: Table, q: list[Array], alpha: Temperature) -> list[Array]:
    if table.log_prior is None:
        return q
    warmth = 0.0 if alpha is None else alpha
    # What a prior forbids stays forbidden at temperature 0, where 0 · −∞ is no number.
    return [
        jnp.where(jnp.isneginf(p), p, x + warmth * p)
        for x, p in zip(q, table.log_prior, strict=True)
    ]


def choose(
    table: Table, q: list[Float[Array, " s"]], alpha: Temperature
) -> Float[Array, "s a"]:
    """π ∝ prior · exp(Q/α); at α = 0 uniform over the maximisers."""
    tilted = jnp.stack(_tilted(table, q, alpha), -1)
    return soft.boltzmann(tilted, 0.0 if alpha is None else alpha)


@jax.jit
def sweeps(table: Table, v: Array, alpha: Temperature, enough: Scalar) -> Any:
    """Up to CHUNK sweeps: V, how many, and how far each moved V."""

    def more(carry: Any) -> Any:
        _, i, changes = carry
        return (i < CHUNK) & ((i == 0) | (changes[i - 1] > enough))

    def sweep(carry: Any) -> Any:
        v, i, changes = carry
        new = soft_max(table, backup(table, v), alpha)
        return new, i + 1, changes.at[i].set(jnp.max(jnp.abs(new - v)))

    changes = jnp.full(CHUNK, jnp.inf, v.dtype)
    return jax.lax.while_loop(more, sweep, (v, jnp.int32(0), changes))


@jax.jit
def finish(table: Table, v: Array, alpha: Temperature) -> tuple[Array, Array, Array]:
    """(Q, V, π) one sweep after V."""
    q = backup(table, v)
    return jnp.stack(q, -1), soft_max(table, q, alpha), choose(table, q, alpha)


# Large tables, block by block.


class Blocks(NamedTuple):
    """A table in BLOCKS parts of B states each, those near an episode's end first.

    `table` has a leading axis for the part; `place` (S,) says where a state went.
    """

    table: Table
    place: Int[np.ndarray, " s"]


def nearest_first(mdp: MDP) -> Int[np.ndarray, " s"]:
    """The states by the least number of steps from which an episode can end.

    Those that never come to an end stand last.
    """
    states, ends = len(mdp.reward), mdp.terminated & (mdp.prob > 0)
    last = np.flatnonzero(ends.any((1, 2)))
    possible = mdp.prob > 0
    here, there = np.nonzero(possible)[0], mdp.next_state[possible]
    # Every move backwards, and one more node beyond all the ends to set out from.
    rows = np.concatenate([there, np.full(len(last), states)])
    moves = (np.ones(len(rows), np.int8), (rows, np.concatenate([here, last])))
    graph = sparse.csr_array(moves, (states + 1, states + 1))
    found = breadth_first_order(graph, states, return_predecessors=False)[1:]
    never = np.ones(states, bool)
    never[found] = False
    return np.concatenate([found, np.flatnonzero(never)])


def in_blocks(mdp: MDP, table: Table) -> Blocks:
    """A table cut up; what is missing in the last part is states of no reward."""
    order, states = nearest_first(mdp), len(mdp.reward)
    place = np.empty(states, np.int32)
    place[order] = np.arange(states, dtype=np.int32)
    size = -(-states // BLOCKS)

    def cut(array: Array) -> Array:
        host = np.take(np.asarray(array), order, -1)
        host = np.pad(host, [(0, 0)] * (host.ndim - 1) + [(0, BLOCKS * size - states)])
        return jnp.asarray(
            np.moveaxis(host.reshape(*host.shape[:-1], BLOCKS, size), -2, 0)
        )

    moved = table._replace(next_state=jnp.asarray(place)[table.next_state])
    return Blocks(jax.tree.map(cut, moved), place)


@jax.jit
def settle(
    table: Table, v: Array, alpha: Temperature, enough: Scalar
) -> tuple[Array, Array, Array]:
    """Each block in its turn, swept until little is left of what moves in it.

    What is found at an episode's end travels through the whole table in one pass,
    where a sweep takes it one step. Returns V, the largest first change of a block,
    and the mean number of sweeps.
    """
    blocks, _, size = table.reward.shape

    def one(i: Any, carry: Any) -> Any:
        v, moved, swept = carry

        def more(carry: Any) -> Any:
            _, _, n, last, first = carry
            return (n < ROUND) & (last > jnp.maximum(LEFT * first, enough))

        def sweep(carry: Any) -> Any:
            v, old, n, _, first = carry
            block = jax.tree.map(lambda x: x[i], table)
            new = soft_max(block, backup(block, v), alpha)
            last = jnp.max(jnp.abs(new - old))
            v = jax.lax.dynamic_update_slice(v, new, (i * size,))
            return v, new, n + 1, last, jnp.where(n == 0, last, first)

        # A block's own values go along: to read them out of V would copy V each time.
        old = jax.lax.dynamic_slice(v, (i * size,), (size,))
        begin = v, old, jnp.int32(0), jnp.float64(jnp.inf), jnp.float64(0.0)
        v, _, n, _, first = jax.lax.while_loop(more, sweep, begin)
        return v, jnp.maximum(moved, first), swept + n

    v, moved, swept = jax.lax.fori_loop(
        0, blocks, one, (v, jnp.float64(0), jnp.int32(0))
    )
    return v, moved, swept / blocks
