"""Exact maximum-entropy solutions of a table, each with a bound on its true error.

Haarnoja et al. 2017 (arXiv 1702.08165), section 3: soft value iteration, soft policy
iteration (theorems 1 and 2), and with a temperature of 0 the standard ones. Entropies
are in nats; the first reward carries none: Q(s, a) = r + γ E[(1 − terminated) V(s')].

With N = 1/(1 − γ) (at γ = 1 the longest expected episode), one sweep T certifies any
V: ‖V − V*‖ ≤ N ‖TV − V‖. Rounding adds 4 · eps · max|Q| · N, below which no tolerance
is accepted. Everything is float64, in a scope of its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softq.tabular.bounds import EPS, horizon, refuse_below, rounding
from softq.tabular.flow import DENSE, Flow
from softq.tabular.mdp import MDP, continuation
from softq.tabular.policies import check_alpha, check_policy, earned, nats, uniform
from softq.tabular.sweep import (
    ROUND,
    Blocks,
    Table,
    Temperature,
    backup,
    finish,
    float64,
    in_blocks,
    on_device,
    settle,
    soft_max,
    sweeps,
)  # fmt: skip
from softq.types import SoftqError

FORCING = 1e-2  # of a large table's evaluation: what is left of the residual


class Solution(NamedTuple):
    """What a solver returns, as NumPy float64.

    `error` bounds ‖Q − Q*‖∞ and ‖V − V*‖∞, rounding included. `changes` holds
    ‖TV − V‖∞ of every sweep, or of every policy.
    """

    q: Float[np.ndarray, "s a"]
    v: Float[np.ndarray, " s"]
    policy: Float[np.ndarray, "s a"]
    iterations: int
    error: float
    changes: Float[np.ndarray, " i"]


class Evaluation(NamedTuple):
    """A policy's values: soft `q` and `v` = `task` + α · `entropy`, from each state.

    `task` is the discounted return of the reward, `entropy` that of H(π(·|s)) in nats
    (minus the relative entropy to a prior, where there is one).
    """

    q: Float[np.ndarray, "s a"]
    v: Float[np.ndarray, " s"]
    task: Float[np.ndarray, " s"]
    entropy: Float[np.ndarray, " s"]


# Solvers.


@float64
def soft_value_iteration(
    mdp: MDP,
    alpha: float,
    tol: float = 1e-8,
    *,
    prior: Any = None,
    on_sweep: Callable[[int, float], None] | None = None,
) -> Solution:
    """Sweeps V ← α log Σ exp(Q/α) from V = 0 until the true error is at most `tol`.

    ‖Q_k − Q*‖∞ ≤ γ N ‖V_k − V_{k−1}‖∞. `alpha` is in reward units a nat, `tol` in
    reward units. `prior` (S, A) gives relative entropy instead of entropy.
    `on_sweep(sweeps, error bound)` is called now and then. Raises SoftqError for a
    negative temperature, and for a tolerance that float64 cannot certify.
    """
    check_alpha(alpha)
    table, steps = on_device(mdp, prior), horizon(mdp)
    v: Any = jnp.zeros(len(mdp.reward))
    a = _temperature(alpha)
    changes: list[np.ndarray] = []
    enough, error = 0.0, np.inf
    while error > tol:
        v, n, moved = sweeps(table, v, a, jnp.float64(enough))
        changes.append(np.asarray(moved)[: int(n)])
        lost = rounding(mdp, v, steps)
        refuse_below(lost, tol)
        error = mdp.discount * steps * float(changes[-1][-1]) + lost
        enough = (tol - lost) / max(mdp.discount * steps, EPS)
        if on_sweep is not None:
            on_sweep(sum(len(c) for c in changes), error)
    history = np.concatenate(changes)
    q, v, policy = _host(finish(table, v, a))
    return Solution(q, v, policy, len(history), error, history)


@float64
def soft_policy_iteration(
    mdp: MDP,
    alpha: float,
    tol: float = 1e-8,
    *,
    prior: Any = None,
    policy: Any = None,
    on_policy: Callable[[int, float], None] | None = None,
) -> Solution:
    """Evaluates a policy, takes π ∝ exp(Q^π/α), and again (theorems 1, 2).

    Newton's method on the soft Bellman equation: a handful of policies where value
    iteration needs N · log(1/tol) sweeps. Starts from `policy`, else the prior, else
    the uniform one. On a large table cheap passes over its blocks go before each
    policy. Arguments, errors and certificate as in `soft_value_iteration`.
    """
    check_alpha(alpha)
    table, steps, a = on_device(mdp, prior), horizon(mdp), _temperature(alpha)
    pi = _first(mdp, prior, policy)
    large, flow = len(pi) > DENSE, None
    blocks = in_blocks(mdp, table) if large else None
    v = np.full(len(pi), _lowest(table, a, steps))
    enough = 0.25 * tol / max(mdp.discount * steps, EPS)
    changes: list[float] = []
    while True:
        if policy is not None or changes or not large:
            flow = flow or Flow(mdp)
            # As exact as the next policy can use: V is certified, however found.
            v = flow.solve(pi, earned(mdp, pi, alpha, prior), v, forcing=FORCING)
        if blocks is not None:
            v = _approach(blocks, v, a, enough)
        q, new, pi = _host(finish(table, jnp.asarray(v), a))
        changes.append(float(np.max(np.abs(new - v))))
        lost = rounding(mdp, v, steps)
        refuse_below(lost, tol)
        error = mdp.discount * steps * changes[-1] + lost
        if on_policy is not None:
            on_policy(len(changes), error)
        if error <= tol:
            return Solution(q, new, pi, len(changes), error, np.array(changes))


def _first(mdp: MDP, prior: Any, policy: Any) -> Float[np.ndarray, "s a"]:
    """The policy to begin with: the one given, else the prior, else the uniform one."""
    given = prior if policy is None else policy
    return uniform(mdp) if given is None else check_policy(mdp, given)


def _lowest(table: Table, alpha: Temperature, steps: float) -> float:
    """A value that V* is nowhere below; from it sweeps only climb.

    So no state ever hopes for what lies beyond it, still unknown.
    """
    low = float(jnp.min(soft_max(table, list(table.reward), alpha)))
    return min(low, low * steps)


def _approach(
    blocks: Blocks, v: np.ndarray, alpha: Temperature, enough: float
) -> Float[np.ndarray, " s"]:
    """V after passes over the blocks, as long as they are cheap or get far."""
    size = blocks.table.reward.shape[0] * blocks.table.reward.shape[2]
    there: Any = jnp.zeros(size).at[blocks.place].set(v)
    before, moved = 0.0, np.inf
    for _ in range(ROUND):
        price = 0.0
        while moved > enough and price < ROUND:
            there, far, swept = settle(blocks.table, there, alpha, jnp.float64(enough))
            moved, price = float(far), price + float(swept)
        everywhere = float(swept) > ROUND / 2  # and not in a few blocks only
        if moved <= enough or (everywhere and moved > 0.5 * before):
            break
        before = moved
    return np.asarray(there)[blocks.place]


def evaluate(
    mdp: MDP, policy: Any, alpha: float = 0.0, prior: Any = None
) -> Evaluation:
    """Exact values of any policy (S, A), by a linear solve: V = (I − γ P^π)⁻¹ r^π."""
    check_alpha(alpha)
    pi, flow = check_policy(mdp, policy), Flow(mdp)
    task = flow.solve(pi, (pi * mdp.reward).sum(-1))
    entropy = flow.solve(pi, nats(pi, prior))
    v = task + alpha * entropy
    q = mdp.reward + mdp.discount * (continuation(mdp) * v[mdp.next_state]).sum(-1)
    return Evaluation(q, v, task, entropy)


def occupancy(mdp: MDP, policy: Any) -> Float[np.ndarray, "s a"]:
    """Expected discounted number of visits to each pair from `mdp.start`.

    Sums to 1/(1 − γ) where nothing terminates; Σ occupancy · r is the task return.
    """
    pi = check_policy(mdp, policy)
    return Flow(mdp).visits(pi, mdp.start)[:, None] * pi


@float64
def finite_horizon(
    mdp: MDP, alpha: float, steps: int, prior: Any = None
) -> tuple[Float[np.ndarray, "t s a"], Float[np.ndarray, "t s"]]:
    """Q and V with `steps` to go down to one to go, by backward induction.

    Index 0 is the first decision. The last step's V has its entropy, then all is over.
    """
    check_alpha(alpha)
    if steps < 1:
        raise SoftqError(f"a horizon has one step or more; found {steps}")
    table, a = on_device(mdp, prior), _temperature(alpha)

    def earlier(v: Array, _: None) -> Any:
        q = backup(table, v)
        v = soft_max(table, q, a)
        return v, (jnp.stack(q, -1), v)

    start = jnp.zeros(len(mdp.reward))
    _, (q, v) = jax.jit(lambda v: jax.lax.scan(earlier, v, None, steps))(start)
    return np.asarray(q)[::-1], np.asarray(v)[::-1]


@float64
def temperature_path(
    mdp: MDP, alphas: Any, tol: float = 1e-8, prior: Any = None
) -> list[Solution]:
    """Soft value iteration at every temperature, as one program mapped over them."""
    alphas = np.asarray(alphas, np.float64)
    for alpha in alphas:
        check_alpha(float(alpha))
    table, steps = on_device(mdp, prior), horizon(mdp)
    several, last = jax.vmap(sweeps, (None, 0, 0, 0)), jax.vmap(finish, (None, 0, 0))
    v: Any = jnp.zeros((len(alphas), len(mdp.reward)))
    enough: Any = jnp.zeros(len(alphas))
    changes: list[list[np.ndarray]] = [[] for _ in alphas]
    errors = np.full(len(alphas), np.inf)
    while (errors > tol).any():
        v, counts, moved = several(table, v, jnp.asarray(alphas), enough)
        lost = np.array([rounding(mdp, row, steps) for row in v])
        refuse_below(float(lost.max()), tol)
        for k, n in enumerate(np.asarray(counts)):
            changes[k].append(np.asarray(moved[k])[:n])
            errors[k] = mdp.discount * steps * changes[k][-1][-1] + lost[k]
        enough = jnp.asarray((tol - lost) / max(mdp.discount * steps, EPS))
    q, v, policy = _host(last(table, v, jnp.asarray(alphas)))
    out = []
    for k, error in enumerate(errors.tolist()):
        history = np.concatenate(changes[k])
        out.append(Solution(q[k], v[k], policy[k], len(history), error, history))
    return out


def _temperature(alpha: float) -> Temperature:
    return jnp.float64(alpha) if alpha > 0 else None


def _host(arrays: tuple[Array, Array, Array]) -> Any:
    """Arrays of the device as NumPy's."""
    return tuple(np.asarray(x) for x in arrays)
