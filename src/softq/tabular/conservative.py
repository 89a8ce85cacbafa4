"""Conservative Q-learning on a table: its fixed points, and its theorems as numbers.

Kumar et al. 2020 (arXiv 2006.04779). `weight` is `gap_weight`, that of a squared error
without ½: the paper's α is weight/2. Everything is restricted to the behaviour's
support: where π_β(a|s) = 0 the minimiser runs to −∞, so such pairs take no part (their
Q is −inf, and no policy here may choose them).
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp, wrightomega

from softq.tabular.bounds import EPS, horizon, refuse_below, rounding
from softq.tabular.flow import Flow
from softq.tabular.mdp import MDP, Empirical, continuation
from softq.tabular.policies import check_alpha, check_policy
from softq.tabular.soft import Evaluation, evaluate
from softq.types import SoftqError

Pairs = Float[np.ndarray, "s a"]
States = Float[np.ndarray, " s"]
Backup = Literal["max", "soft"] | np.ndarray


class Sides(NamedTuple):
    """Both sides of an inequality `left <= right`, entry by entry, where it applies."""

    left: np.ndarray
    right: np.ndarray
    applies: Bool[np.ndarray, "..."]

    @property
    def slack(self) -> float:
        """The least of right − left; negative where the inequality fails."""
        return float(np.min((self.right - self.left)[self.applies], initial=np.inf))


# Fixed points.


def eq1(mdp: MDP, behaviour: Any, policy: Any, mu: Any, weight: float) -> Evaluation:
    """Eq. 1's fixed point: Q = B^π Q − (weight/2) μ/π_β.

    It is the value of `policy` where the reward is less by the penalty.
    """
    return _penalised(mdp, policy, 0.5 * weight * ratio(mdp, mu, behaviour))


def eq2(mdp: MDP, behaviour: Any, policy: Any, mu: Any, weight: float) -> Evaluation:
    """Eq. 2's fixed point: Q = B^π Q − (weight/2) (μ/π_β − 1)."""
    excess = ratio(mdp, mu, behaviour) - 1.0
    return _penalised(mdp, policy, 0.5 * weight * excess)


def _penalised(mdp: MDP, policy: Any, penalty: Pairs) -> Evaluation:
    return evaluate(mdp._replace(reward=mdp.reward - penalty), policy)


def ratio(mdp: MDP, mu: Any, behaviour: Any) -> Pairs:
    """μ/π_β, and 0 off the support. Raises SoftqError where μ leaves the support."""
    mu, beta = check_policy(mdp, mu), check_policy(mdp, behaviour)
    outside = (mu > 0) & (beta == 0)
    if outside.any():
        s, a = np.argwhere(outside)[0]
        raise SoftqError(
            f"μ chooses action {a} in state {s}, where the data never do: "
            "the penalty μ/π_β has no value there"
        )
    return mu / np.where(beta > 0, beta, 1.0)


def cql(
    mdp: MDP,
    behaviour: Any,
    weight: float,
    *,
    backup: Backup = "max",
    alpha: float = 0.0,
    rho: Any = None,
    tol: float = 1e-8,
) -> tuple[Pairs, int, float]:
    """The fixed point of CQL(H), or of CQL(ρ) given `rho`: (Q, iterations, error).

    Q ← argmin_Q Σ_a π_β (Q − y)² + weight (log Σ_a ρ exp Q − Σ_a π_β Q), y = B Q, with
    ρ = 1 for CQL(H). `backup` is "max", "soft" (at temperature `alpha`) or a fixed
    policy (S, A). A γ-contraction: `error` bounds ‖Q − Q*‖∞ on the support.
    """
    check_alpha(alpha)
    beta = check_policy(mdp, behaviour)
    if isinstance(backup, np.ndarray):
        ratio(mdp, backup, beta)  # refuses a policy that leaves the support
    base = np.ones_like(beta) if rho is None else check_policy(mdp, rho)
    if weight < 0:
        raise SoftqError(f"the gap's weight must be zero or more; found {weight}")
    support, steps = (beta > 0) & (base > 0), horizon(mdp)
    if not support.any(-1).all():
        s = int(np.argmin(support.any(-1)))
        raise SoftqError(f"ρ and the data share no action in state {s}")
    q, i, error = np.where(support, 0.0, -np.inf), 0, np.inf
    flow = mdp.discount * continuation(mdp)
    while error > tol:
        v = _state_value(q, backup, alpha)
        y = mdp.reward + (flow * v[mdp.next_state]).sum(-1)
        new = minimiser(y, beta, weight, base)
        change = np.max(np.abs(new[support] - q[support]))
        lost = rounding(mdp, v, steps)
        refuse_below(lost, tol)
        q, i, error = new, i + 1, mdp.discount * steps * change + lost
    return q, i, float(error)


def _state_value(q: Pairs, backup: Backup, alpha: float) -> States:
    """What a backup makes of Q at the next state; −inf takes no part."""
    if isinstance(backup, np.ndarray):
        return (backup * np.where(backup > 0, q, 0.0)).sum(-1)
    if backup == "max" or alpha == 0.0:
        return q.max(-1)
    return alpha * logsumexp(q / alpha, axis=-1)


def minimiser(y: Pairs, behaviour: Pairs, weight: float, rho: Pairs) -> Pairs:
    """argmin_Q Σ_a π_β (Q − y)² + weight (log Σ_a ρ exp Q − Σ_a π_β Q), each state.

    Optimal where Q = y − (weight/2)(p/π_β − 1) with p ∝ ρ exp Q. Given c = log Σ ρ
    exp Q each entry is Q = b − ω(log κρ + b − c), κ = weight/2π_β, b = y + weight/2 and
    ω Wright's function; Σ p = 1 is then one convex, falling equation in c, for which
    Newton's method from the left never overshoots.
    """
    support = (behaviour > 0) & (rho > 0)
    if weight == 0.0:
        return np.where(support, y, -np.inf)
    kappa = 0.5 * weight / np.where(support, behaviour, 1.0)
    b = y + 0.5 * weight
    log_rho = np.log(np.where(support, rho, 1.0))
    z = np.where(support, np.log(kappa) + log_rho + b, -np.inf)
    c = np.max(np.where(support, log_rho + b - kappa, -np.inf), axis=-1)
    for _ in range(200):
        omega = wrightomega(z - c[:, None])
        excess = (omega / kappa).sum(-1) - 1.0
        step = excess / (omega / (1.0 + omega) / kappa).sum(-1)
        c = c + step
        if (np.abs(step) <= 4 * EPS * (1.0 + np.abs(c))).all():
            break
    return np.where(support, b - wrightomega(z - c[:, None]), -np.inf)


# Sampling error.


def operator_bound(data: Empirical, delta: float, top: float) -> Pairs:
    """What |B̂ Q − B Q| exceeds nowhere, with probability ≥ 1 − δ, for |V| ≤ top/(1−γ).

    Weissman's bound on ‖T̂ − T‖₁ over all S A pairs, rewards known: C_T R_max/((1 − γ)
    √n) with C_T = γ √(2 (S log 2 + log(2 S A/δ))). Unseen pairs get the trivial bound.
    """
    states, actions = data.counts.shape
    log_term = states * np.log(2.0) + np.log(2.0 * states * actions / delta)
    far = np.sqrt(2.0 * log_term / np.maximum(data.counts, 1))
    distance = np.where(data.seen, np.minimum(far, 2.0), 2.0)
    discount = data.mdp.discount
    bound = discount * distance * top / (1.0 - discount)
    return np.where(data.seen, bound, bound + 2.0 * top)


def resolvent(mdp: MDP, policy: Any, values: Pairs) -> Pairs:
    """(I − γ P^π)⁻¹ values, over pairs: what `values` amount to as a reward."""
    return evaluate(mdp._replace(reward=values), policy).q


# The theorems.


def theorem_31(
    data: Empirical,
    truth: MDP,
    policy: Any,
    mu: Any,
    weight: float,
    delta: float | None = 0.1,
    *,
    scale: float = 1.0,
    kernel: Literal["empirical", "true"] = "empirical",
) -> Sides:
    """Q̂^π ≤ Q^π − (weight/2)(I − γP̂^π)⁻¹ μ/π̂_β + (I − γP̂^π)⁻¹ bound, on seen pairs.

    `delta` None leaves the sampling error out. Controls: `scale` multiplies the bound,
    `kernel` "true" takes P instead of P̂ in both resolvents, as the paper prints it.
    """
    penalty = ratio(truth, mu, data.behaviour)
    world = data.mdp if kernel == "empirical" else truth
    left = eq1(data.mdp, data.behaviour, policy, mu, weight).q
    right = evaluate(truth, policy).q
    right = right - 0.5 * weight * resolvent(world, policy, penalty)
    if delta is not None:
        bound = scale * operator_bound(data, delta, _top(truth))
        right = right + resolvent(world, policy, bound)
    return Sides(left, right, data.seen)


def theorem_32(
    data: Empirical,
    truth: MDP,
    policy: Any,
    weight: float,
    delta: float | None = 0.1,
    *,
    scale: float = 1.0,
    kernel: Literal["empirical", "true"] = "empirical",
) -> Sides:
    """V̂^π ≤ V^π − (weight/2)(I − γP̂^π)⁻¹ χ²(π‖π̂_β) + (I − γP̂^π)⁻¹ bound, seen states.

    Eq. 2 with μ = π. Arguments as in `theorem_31`.
    """
    pi = check_policy(truth, policy)
    excess = (pi * (ratio(truth, pi, data.behaviour) - 1.0)).sum(-1)
    world = data.mdp if kernel == "empirical" else truth
    flow = Flow(world)
    left = eq2(data.mdp, data.behaviour, pi, pi, weight).v
    right = evaluate(truth, pi).v - 0.5 * weight * flow.solve(pi, excess)
    if delta is not None:
        bound = scale * operator_bound(data, delta, _top(truth))
        right = right + flow.solve(pi, (pi * bound).sum(-1))
    return Sides(left, right, np.asarray(data.seen.any(-1)))


def theorem_33(
    mdp: MDP, behaviour: Any, q: Pairs, weight: float, policy: Any, v: States
) -> Sides:
    """E_π[Q̂^{k+1}] ≤ E_π[B Q̂^k]; it applies where the theorem's condition holds.

    Q̂^{k+1} is eq. 2's step from `q` with μ = π_Q ∝ π_β-supported exp Q; `v` (S,) is the
    value that B bootstraps from. The condition, with ε = TV(π, π_Q):
    E_{π_Q}[π_Q/π_β − 1] ≥ ε max_a π_Q/π_β.
    """
    beta, pi = check_policy(mdp, behaviour), check_policy(mdp, policy)
    mu = np.where(beta > 0, np.exp(q - q.max(-1, keepdims=True)), 0.0)
    mu = mu / mu.sum(-1, keepdims=True)
    times = ratio(mdp, mu, beta)
    after = _backed_up(mdp, v)
    stepped = after - 0.5 * weight * (times - 1.0)
    epsilon = 0.5 * np.abs(pi - mu).sum(-1)
    holds: Any = (mu * (times - 1.0)).sum(-1) >= epsilon * times.max(-1)
    left, right = ((pi * x).sum(-1) for x in (stepped, after))
    return Sides(left, right, holds)


def theorem_34(
    mdp: MDP, behaviour: Any, mu: Any, weight: float, v: States, q_true: Pairs
) -> tuple[Sides, States]:
    """The gap grows: E_β[Q^k] − E_μ[Q^k] ≤ E_β[Q̂^k] − E_μ[Q̂^k], for a large weight.

    Q̂^k is eq. 2's step from the conservative V̂^{k−1} = `v`, Q^k = `q_true` the plain
    iterate. Returns both sides where μ ≠ π_β, and the least weight of each state.
    """
    beta, mu = check_policy(mdp, behaviour), check_policy(mdp, mu)
    times = ratio(mdp, mu, beta)
    after = _backed_up(mdp, v)
    spread = (mu * (times - 1.0)).sum(-1)  # χ²(μ ‖ π_β)
    differs = spread > 1e-12
    stepped = after - 0.5 * weight * (times - 1.0)
    left, right = (((beta - mu) * x).sum(-1) for x in (q_true, stepped))
    lack = ((beta - mu) * (q_true - after)).sum(-1)
    least = np.where(differs, 2.0 * lack / np.where(differs, spread, 1.0), np.inf)
    return Sides(left, right, differs), least


def _backed_up(mdp: MDP, v: States) -> Pairs:
    """B: r + γ E[(1 − terminated) V(s')]."""
    flow = mdp.discount * continuation(mdp)
    return mdp.reward + (flow * np.asarray(v)[mdp.next_state]).sum(-1)


def _top(mdp: MDP) -> float:
    """R_max."""
    return float(np.abs(mdp.reward).max())
