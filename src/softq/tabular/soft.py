"""Exact maximum-entropy solutions of a table, each with a bound on its true error.

Haarnoja et al. 2017 (arXiv 1702.08165), section 3: soft value iteration, soft policy
iteration (theorems 1 and 2), and with a temperature of 0 the standard ones. Entropies
are in nats; the first reward carries none: Q(s, a) = r + γ E[(1 − terminated) V(s')].

With N = 1/(1 − γ) (at γ = 1 the longest expected episode), one sweep T certifies any
V: ‖V − V*‖ ≤ N ‖TV − V‖. Rounding adds 4 · eps · max|Q| · N, below which no tolerance
is accepted. Everything is float64, in a scope of its own.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softq.ops import soft
from softq.tabular.flow import DENSE, Flow
from softq.tabular.mdp import MDP, continuation
from softq.types import Scalar, SoftqError

CHUNK = 64  # sweeps between two looks at the clock
UNROLLED = 8  # outcomes that are written out one by one
FORCING = 1e-2  # of a large table's evaluation: what is left of the residual
EPS = float(np.finfo(np.float64).eps)


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


class Table(NamedTuple):
    """An MDP as a sweep reads it, on the device: outcomes first, states last."""

    next_state: Array  # (K, A, S)
    weight: Array  # (K, A, S), γ · probability where the episode goes on
    reward: Array  # (A, S)
    log_prior: Array | None  # (A, S)


F = TypeVar("F", bound=Callable[..., Any])


def _float64(fn: F) -> F:
    """Runs `fn` with 64-bit numbers, whatever the caller works with."""

    @functools.wraps(fn)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            return fn(*args, **kwargs)

    return scoped  # type: ignore[return-value]


# One sweep. Actions and outcomes are written out one by one: XLA would reduce over such
# short axes entry by entry, which takes ten times as long on a large table.


def backup(table: Table, v: Float[Array, " s"]) -> list[Float[Array, " s"]]:
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
    table: Table, q: list[Float[Array, " s"]], alpha: Scalar | float
) -> Float[Array, " s"]:
    """V = α log Σ_a prior(a|s) exp(Q/α), with a prior of 1 where there is none."""
    q = _tilted(table, q, alpha)
    cold = alpha <= 0.0  # then every exponent is 0, and α log of their sum too
    inverse = jnp.where(cold, 0.0, 1.0 / jnp.where(cold, 1.0, alpha))
    top = functools.reduce(jnp.maximum, q)
    total = sum(jnp.exp((x - top) * inverse) for x in q)
    return top + alpha * jnp.log(total)


def _tilted(table: Table, q: list[Array], alpha: Scalar | float) -> list[Array]:
    prior = table.log_prior
    return (
        q if prior is None else [x + alpha * p for x, p in zip(q, prior, strict=True)]
    )


def choose(
    table: Table, q: list[Float[Array, " s"]], alpha: Scalar | float
) -> Float[Array, "s a"]:
    """π ∝ prior · exp(Q/α); at α = 0 uniform over the maximisers."""
    return soft.boltzmann(jnp.stack(_tilted(table, q, alpha), -1), alpha)


@jax.jit
def _sweeps(table: Table, v: Array, alpha: Scalar, enough: Scalar) -> Any:
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
def _finish(table: Table, v: Array, alpha: Scalar) -> tuple[Array, Array, Array]:
    """(Q, V, π) one sweep after V."""
    q = backup(table, v)
    return jnp.stack(q, -1), soft_max(table, q, alpha), choose(table, q, alpha)


# Solvers.


@_float64
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
    a = jnp.float64(alpha)
    changes: list[np.ndarray] = []
    enough, error = 0.0, np.inf
    while error > tol:
        v, n, moved = _sweeps(table, v, a, jnp.float64(enough))
        changes.append(np.asarray(moved)[: int(n)])
        lost = rounding(mdp, v, steps)
        refuse_below(lost, tol)
        error = mdp.discount * steps * float(changes[-1][-1]) + lost
        enough = (tol - lost) / max(mdp.discount * steps, EPS)
        if on_sweep is not None:
            on_sweep(sum(len(c) for c in changes), error)
    history = np.concatenate(changes)
    q, v, policy = _host(_finish(table, v, a))
    return Solution(q, v, policy, len(history), error, history)


@_float64
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
    the uniform one. On a large table a few sweeps go before each policy, which cost
    less than its evaluation and carry news further than one improvement does.
    Arguments, errors and certificate as in `soft_value_iteration`.
    """
    check_alpha(alpha)
    table, steps, flow = on_device(mdp, prior), horizon(mdp), Flow(mdp)
    a = jnp.float64(alpha)
    pi = uniform(mdp) if prior is None else check_policy(mdp, prior)
    pi = pi if policy is None else check_policy(mdp, policy)
    v, large = np.zeros(len(pi)), len(pi) > DENSE
    changes: list[float] = []
    while True:
        if policy is not None or changes or not large:
            # As exact as the next policy can use: V is certified, however found.
            v = flow.solve(pi, _earned(mdp, pi, alpha, prior), v, forcing=FORCING)
        if large:
            v = np.asarray(_sweeps(table, jnp.asarray(v), a, jnp.float64(0.0))[0])
        q, new, pi = _host(_finish(table, jnp.asarray(v), a))
        changes.append(float(np.max(np.abs(new - v))))
        lost = rounding(mdp, v, steps)
        refuse_below(lost, tol)
        error = mdp.discount * steps * changes[-1] + lost
        if on_policy is not None:
            on_policy(len(changes), error)
        if error <= tol:
            return Solution(q, new, pi, len(changes), error, np.array(changes))


def evaluate(
    mdp: MDP, policy: Any, alpha: float = 0.0, prior: Any = None
) -> Evaluation:
    """Exact values of any policy (S, A), by a linear solve: V = (I − γ P^π)⁻¹ r^π."""
    check_alpha(alpha)
    pi, flow = check_policy(mdp, policy), Flow(mdp)
    task = flow.solve(pi, (pi * mdp.reward).sum(-1))
    entropy = flow.solve(pi, _nats(pi, prior))
    v = task + alpha * entropy
    q = mdp.reward + mdp.discount * (continuation(mdp) * v[mdp.next_state]).sum(-1)
    return Evaluation(q, v, task, entropy)


def occupancy(mdp: MDP, policy: Any) -> Float[np.ndarray, "s a"]:
    """Expected discounted number of visits to each pair from `mdp.start`.

    Sums to 1/(1 − γ) where nothing terminates; Σ occupancy · r is the task return.
    """
    pi = check_policy(mdp, policy)
    return Flow(mdp).visits(pi, mdp.start)[:, None] * pi


@_float64
def finite_horizon(
    mdp: MDP, alpha: float, steps: int, prior: Any = None
) -> tuple[Float[np.ndarray, "t s a"], Float[np.ndarray, "t s"]]:
    """Q and V with `steps` to go down to one to go, by backward induction.

    Index 0 is the first decision. The last step's V has its entropy, then all is over.
    """
    check_alpha(alpha)
    if steps < 1:
        raise SoftqError(f"a horizon has one step or more; found {steps}")
    table, a = on_device(mdp, prior), jnp.float64(alpha)

    def earlier(v: Array, _: None) -> Any:
        q = backup(table, v)
        v = soft_max(table, q, a)
        return v, (jnp.stack(q, -1), v)

    start = jnp.zeros(len(mdp.reward))
    _, (q, v) = jax.jit(lambda v: jax.lax.scan(earlier, v, None, steps))(start)
    return np.asarray(q)[::-1], np.asarray(v)[::-1]


@_float64
def temperature_path(
    mdp: MDP, alphas: Any, tol: float = 1e-8, prior: Any = None
) -> list[Solution]:
    """Soft value iteration at every temperature, as one program mapped over them."""
    alphas = np.asarray(alphas, np.float64)
    for alpha in alphas:
        check_alpha(float(alpha))
    table, steps = on_device(mdp, prior), horizon(mdp)
    several, last = jax.vmap(_sweeps, (None, 0, 0, 0)), jax.vmap(_finish, (None, 0, 0))
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


# Bounds.


def horizon(mdp: MDP) -> float:
    """N: 1/(1 − γ), or at γ = 1 the longest expected episode of any policy."""
    if mdp.discount < 1:
        return 1.0 / (1.0 - mdp.discount)
    flow, v, pi = Flow(mdp), np.zeros(len(mdp.reward)), uniform(mdp)
    ones = np.ones(len(v))
    while True:  # policy iteration on the number of steps; every policy is proper
        longer = flow.solve(pi, ones, v)
        if (longer <= v * (1 + 1e-12)).all():
            return float(v.max()) * (1 + 1e-9)
        v = np.maximum(longer, v)
        steps = (continuation(mdp) * v[mdp.next_state]).sum(-1)
        pi = np.eye(steps.shape[1])[steps.argmax(-1)]


def value_bound(mdp: MDP, alpha: float) -> float:
    """What no soft value exceeds, with c = max r + α log|A|.

    c/(1 − γ) where nothing terminates, max(c, c/(1 − γ)) where something does.
    """
    c = float(mdp.reward.max()) + alpha * np.log(mdp.reward.shape[1])
    bound = c * horizon(mdp)
    ends = (mdp.terminated & (mdp.prob > 0)).any()
    return max(c, bound) if ends else bound


def rounding(mdp: MDP, v: Any, steps: float) -> float:
    """4 · eps · max|Q| · N: what float64 may lose of a certified error."""
    top = float(np.max(np.abs(mdp.reward))) + float(np.max(np.abs(v)))
    return 4.0 * EPS * top * steps


def refuse_below(lost: float, tol: float) -> None:
    """Raises SoftqError where rounding alone exceeds the tolerance."""
    if not lost < tol:
        raise SoftqError(
            f"a true error of {tol:.1e} cannot be certified in float64: rounding alone "
            f"may cost {lost:.1e} here. Try a tol of {10 * lost:.0e}"
        )


# Borders.


def _host(arrays: tuple[Array, Array, Array]) -> Any:
    """Arrays of the device as NumPy's."""
    return tuple(np.asarray(x) for x in arrays)


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


def check_alpha(alpha: float) -> None:
    """Raises SoftqError unless a temperature is a number of zero or more."""
    if not 0 <= alpha < np.inf:
        raise SoftqError(f"a temperature must be zero or more; found {alpha}")


def check_policy(mdp: MDP, policy: Any) -> Float[np.ndarray, "s a"]:
    """A policy or prior as float64; raises SoftqError where its rows are none."""
    pi, shape = np.asarray(policy, np.float64), mdp.reward.shape
    if pi.shape != shape:
        raise SoftqError(f"a policy of this table has shape {shape}; found {pi.shape}")
    sums = pi.sum(-1)
    bad = (abs(sums - 1) > 1e-6) | ~(pi >= 0).all(-1)
    if bad.any():
        s = int(np.argmax(bad))
        raise SoftqError(f"the policy's row of state {s} is no distribution: {pi[s]}")
    return pi


def uniform(mdp: MDP) -> Float[np.ndarray, "s a"]:
    """The policy that knows nothing."""
    return np.full(mdp.reward.shape, 1.0 / mdp.reward.shape[1])


def _earned(mdp: MDP, pi: np.ndarray, alpha: float, prior: Any) -> np.ndarray:
    """Expected reward plus α · entropy of a step in each state."""
    return (pi * mdp.reward).sum(-1) + alpha * _nats(pi, prior)


def _nats(pi: np.ndarray, prior: Any) -> np.ndarray:
    """H(π(·|s)), or −KL(π ‖ prior); 0 log 0 counts as 0."""
    base = np.ones_like(pi) if prior is None else np.asarray(prior, np.float64)
    if ((pi > 0) & (base == 0)).any():
        s, a = np.argwhere((pi > 0) & (base == 0))[0]
        raise SoftqError(f"the policy takes action {a} in state {s}; the prior never")
    ratio = np.where(pi > 0, pi, 1.0) / np.where(pi > 0, base, 1.0)
    return -(pi * np.log(ratio)).sum(-1)
