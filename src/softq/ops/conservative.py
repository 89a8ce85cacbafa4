"""CQL's gaps, their weight's dual, and Cal-QL's floor, over samples of actions.

Kumar et al. 2020 (arXiv 2006.04779); the last axis is the samples of one state, and of
one critic. Units are those of Q; densities are those of actions in [-1, 1]^d.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq.ops import soft
from softq.ops.step import Moments, descend
from softq.types import Info, Key, Scalar

Form = Literal["entropy", "eq1", "eq2", "rho"]
MOST = 1e6  # the largest weight that the dual may reach


def sampled_gap(
    q_any: Float[Array, "*n k"],
    log_mu: Float[Array, "*n k"],
    q_data: Float[Array, "*n"],
    temp: Scalar | float = 1.0,
) -> Float[Array, "*n"]:
    """CQL(H): T (log Σ_k exp(Q_k/T − log μ_k) − log K) − Q(s, a), a_k drawn from μ_k.

    The weights 1/μ are not divided by T: at every T the sum estimates an integral over
    the box. `log K` is what makes the gap's size mean something (to a Lagrange target).
    """
    return soft.sampled_value(q_any, log_mu, temp) - q_data


def expected_gap(
    q_any: Float[Array, "*n k"], q_data: Float[Array, "*n"] | None = None
) -> Float[Array, "*n"]:
    """Eq. 2: E_μ[Q] − Q(s, a); eq. 1, E_μ[Q] alone, where no `q_data` is given."""
    mean = jnp.mean(q_any, axis=-1)
    return mean if q_data is None else mean - q_data


def rho_gap(
    q_any: Float[Array, "*n k"], q_data: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """CQL(ρ): log E_ρ[exp Q] − Q(s, a), actions drawn from ρ (appendix A)."""
    return sampled_gap(q_any, jnp.zeros_like(q_any), q_data)


def rho_value(q_any: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """E_μ[Q] with μ ∝ ρ exp Q, the weights held fixed: what the paper prints.

    Its gradient is `rho_gap`'s; differentiating the weights too is the trap.
    """
    weight = jax.lax.stop_gradient(jax.nn.softmax(q_any, axis=-1))
    return jnp.sum(weight * q_any, axis=-1)


def gap(
    form: Form,
    q_any: Float[Array, "*n k"],
    log_mu: Float[Array, "*m k"],
    q_data: Float[Array, "*n"],
    temp: Scalar | float = 1.0,
) -> Float[Array, "*n"]:
    """One of the paper's four gaps; `log_mu` is that of states, or of each critic's."""
    if form == "entropy":
        same = jnp.broadcast_to(log_mu, q_any.shape)
        return sampled_gap(q_any, same, q_data, temp)
    if form == "rho":
        return rho_gap(q_any, q_data)
    return expected_gap(q_any, None if form == "eq1" else q_data)


def scores(
    form: Form,
    q_any: Float[Array, "*n k"],
    log_mu: Float[Array, "*m k"],
    temp: Scalar | float = 1.0,
) -> Float[Array, "*n k"]:
    """Whose softmax is each action's share in the gap's gradient."""
    if form == "entropy":
        return q_any / temp - log_mu
    return q_any if form == "rho" else jnp.zeros_like(q_any)


def log_uniform(dim: int) -> float:
    """−d log 2: the log density of a uniform action in [-1, 1]^d."""
    return -dim * math.log(2.0)


def log_mixture(*log_densities: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """The log density of an equal mixture of the given ones."""
    stacked = jnp.stack(log_densities, axis=-1)
    return jax.nn.logsumexp(stacked, axis=-1) - math.log(len(log_densities))


def draw(
    key: Key, scores: Float[Array, "*n k"], draws: int
) -> Int[Array, "*n {draws}"]:
    """Indices ~ softmax(scores), for every state and critic by itself.

    ∇ log Σ exp = E[∇ score_i], i so drawn: an unbiased gradient from a few samples.
    """
    total = jnp.cumsum(jax.nn.softmax(scores, axis=-1), axis=-1)
    u = jax.random.uniform(key, (*scores.shape[:-1], draws)) * total[..., -1:]
    below = (total[..., None, :] <= u[..., :, None]).sum(-1)
    return jnp.minimum(below, scores.shape[-1] - 1).astype(jnp.int32)


def capped(log_weight: Scalar) -> Scalar:
    """log α' after a step, at most log 1e6: clipped there, so that it can come down."""
    return jnp.minimum(log_weight, math.log(MOST))


def dual_loss(
    log_weight: Scalar,
    gap: Scalar,
    *,
    gap_weight: Scalar | float,
    gap_target: Scalar | float,
) -> tuple[Scalar, Info]:
    """−α' (gap_weight · gap − gap_target): α' grows while the gap is above its target.

    The authors' form. `gap` is a number here, so that nothing reaches Q from it.
    """
    return -jnp.exp(log_weight) * (gap_weight * gap - gap_target), {}


def hold(
    log_weight: Scalar,
    moments: Moments,
    lr: Scalar | float,
    gap: Scalar,
    *,
    gap_weight: Scalar | float,
    gap_target: Scalar | float | None,
) -> tuple[Scalar, Moments]:
    """One step of log α' towards the gap's target; nothing moves where it has none."""
    if gap_target is None:
        return log_weight, moments
    log_weight, moments, _ = descend(
        dual_loss, log_weight, moments, lr, gap, gap_weight=gap_weight,
        gap_target=gap_target,
    )  # fmt: skip
    return capped(log_weight), moments


def factor(log_weight: Scalar, gap_target: Scalar | float | None) -> Scalar:
    """α', a number to the critics; 1 where it is not learned."""
    return jnp.float32(1.0) if gap_target is None else jnp.exp(log_weight)


def weighed(factor: Scalar, gap_target: Scalar | float | None) -> Info:
    """What to log of a gap's weight: α', and the target that it holds, if any."""
    info = {"gap_factor": factor}
    if gap_target is not None:
        info["gap_target"] = jnp.asarray(gap_target, jnp.float32)
    return info


def damped(
    factor: Scalar, over: Float[Array, "*c"], damping: Scalar | float
) -> Float[Array, "*c"]:
    """max(α' + damping · (gap_weight · gap − gap_target), 0), a number to the critics.

    α' alone swings around its target, for Q follows it late. What is over the target
    paid for at once is friction: the modified differential method of multipliers
    (Platt & Barr 1987). At the target it is α'; a negative price is none.
    """
    return jnp.maximum(factor + damping * jax.lax.stop_gradient(over), 0.0)


def penalty(
    factor: Scalar,
    paid: Float[Array, "*c"],
    gap_target: Scalar | float | None,
    damping: Scalar | float,
) -> Float[Array, "*c"]:
    """α' (paid − gap_target), without a target α' paid; paid is gap_weight · gap."""
    if gap_target is None:
        return factor * paid
    over = paid - gap_target
    return damped(factor, over, damping) * over


def calibrated(
    q_policy: Float[Array, "*n k"], floor: Float[Array, "*m"]
) -> Float[Array, "*n k"]:
    """Cal-QL (Nakamoto et al. 2023, arXiv 2303.05479): max(Q(s, a), floor), a ~ π.

    No gradient where the floor holds; a floor of −inf is none. Floors are a state's.
    """
    return jnp.maximum(q_policy, floor[..., None])
