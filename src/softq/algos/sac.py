"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), continuous actions.

Equation numbers are that paper's. Departures:
- twin critics (as in its algorithm box), and no ½ in front of the squared error of
  eq. 5: the gradient doubles, which Adam does not see;
- temperature in log space: the gradient of eq. 18 with respect to log α keeps its
  sign and fixed point (the authors' code does the same);
- σ goes through `tanh_normal.bound_log_std`; initialisation is `nets`' (uniform);
- `target_period` > 0 copies the target every so many updates instead of eq. 6's
  averaging.
"""

import math
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.ops import tanh_normal, td
from softq.ops.step import Moments, adam, descend, follow
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for actor, critics and temperature."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which the target follows the critic (1 − Spinning Up's polyak)."""
    target_period: int = 0
    """Copy the target every so many updates instead of averaging; 0 averages."""
    alpha: float | None = None
    """A fixed temperature; None learns it."""
    initial_alpha: float = 1.0
    """Where a learned temperature starts."""
    target_entropy: float | None = None
    """Nats, in normalised action units; None is −dim(A)."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    critic: nets.Net  # two, stacked
    target: nets.Net
    log_alpha: Scalar  # idle where the temperature is fixed
    actor_moments: Moments
    critic_moments: Moments
    alpha_moments: Moments
    updates: Int[Array, ""]


@runtime_checkable
class Acting(Protocol):
    """Any state with an actor: what `act` and `entropy` need."""

    @property
    def actor(self) -> nets.Net: ...


@runtime_checkable
class Judging(Protocol):
    """Any state with twin critics: what `value` needs."""

    @property
    def critic(self) -> nets.Net: ...


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the target starts as a copy of the critic."""
    actor_key, critic_key = jax.random.split(key)
    actor = nets.Net(actor_key, spec.obs_shape, 2 * spec.action_dim, cfg.hidden)
    critic, target = twins(critic_key, spec, cfg.hidden)
    log_alpha = jnp.log(jnp.asarray(cfg.initial_alpha, jnp.float32))
    moments = adam(actor), adam(critic), adam(log_alpha)
    return State(actor, critic, target, log_alpha, *moments, jnp.int32(0))


def twins(key: Key, spec: Spec, hidden: tuple[int, ...]) -> tuple[nets.Net, nets.Net]:
    """Two critics Q(s, a), stacked, and the target that starts as their copy."""
    critic = nets.ensemble(
        key, 2, lambda k: nets.Net(k, spec.obs_shape, 1, hidden, spec.action_dim)
    )
    return critic, jax.tree.map(jnp.copy, critic)


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Algorithm 1's gradient steps: critics, actor, temperature, target."""
    next_key, actor_key = jax.random.split(key)
    alpha = temperature(state, cfg)
    y = critic_target(
        state.target, state.actor, batch, next_key, alpha=alpha, discount=cfg.discount
    )
    critic, critic_moments, critic_info = descend(
        critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.lr, critic, batch, actor_key,
        alpha=alpha,
    )  # fmt: skip
    log_alpha, alpha_moments = state.log_alpha, state.alpha_moments
    if cfg.alpha is None:
        log_alpha, alpha_moments, _ = descend(
            alpha_loss, log_alpha, alpha_moments, cfg.lr, -actor_info["entropy"],
            target_entropy=target_entropy(batch, cfg.target_entropy),
        )  # fmt: skip
    updates = state.updates + 1
    target = follow(state.target, critic, updates, cfg.polyak, cfg.target_period)
    moments = actor_moments, critic_moments, alpha_moments
    new = State(actor, critic, target, log_alpha, *moments, updates)
    return new, {**critic_info, **actor_info, "alpha": alpha}


def critic_target(
    target: nets.Net,
    actor: nets.Net,
    batch: Batch,
    key: Key,
    *,
    alpha: Scalar,
    discount: Scalar | float,
) -> Float[Array, " n"]:
    """r + γ (1 − terminated) (min_i Q_i'(s', a') − α log π(a'|s')), a' ~ π(·|s')."""
    next_action, _, logp = tanh_normal.sample(key, *policy(actor, batch.next_obs))
    q = q_values(target, batch.next_obs, next_action)
    v = jnp.min(q, axis=0) - alpha * logp  # eq. 3
    return td.target(batch.reward, batch.terminated, v, discount)  # eq. 2


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"]
) -> tuple[Scalar, Info]:
    """Eq. 5, summed over the twins: Σ_i E[(Q_i(s, a) − y)²]."""
    q = q_values(critic, batch.obs, batch.action)
    loss = jnp.sum(jnp.mean((q - y[None]) ** 2, axis=-1))  # eq. 5
    return loss, {"critic_loss": loss, "q": jnp.mean(q)}


def actor_loss(
    actor: nets.Net, critic: nets.Net, batch: Batch, key: Key, *, alpha: Scalar
) -> tuple[Scalar, Info]:
    """Eqs. 7 and 9: E[α log π(a|s) − min_i Q_i(s, a)], a = f(noise; s)."""
    action, _, logp = tanh_normal.sample(key, *policy(actor, batch.obs))
    q = jnp.min(q_values(critic, batch.obs, action), axis=0)
    loss = jnp.mean(alpha * logp - q)  # eq. 7
    return loss, {"actor_loss": loss, "entropy": -jnp.mean(logp)}


def alpha_loss(
    log_alpha: Scalar, logp: Scalar, *, target_entropy: Scalar | float
) -> tuple[Scalar, Info]:
    """Eq. 18 in log space: −log α (log π + H̄); `logp` is the batch's mean."""
    loss = -log_alpha * (logp + target_entropy)  # eq. 18
    return loss, {}


def policy(
    actor: nets.Net, obs: Observation
) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """Mean and log σ of u (before tanh) for each observation of a batch."""
    mean, raw = jnp.split(jax.vmap(actor)(obs), 2, axis=-1)
    return mean, tanh_normal.bound_log_std(raw)


def q_values(
    critic: nets.Net, obs: Observation, action: Float[Array, "n d"]
) -> Float[Array, "c n"]:
    """Q_i(s, a) of every critic i on a batch."""
    return nets.each(lambda net, o, a: net(o, a)[0], critic, obs, action)


def act(
    key: Key, state: Acting, obs: Observation, cfg: object, explore: bool
) -> Float[Array, "n d"]:
    """Actions (n, d) for observations (n, …): sampled, or the greedy median."""
    mean, log_std = policy(state.actor, obs)
    if not explore:
        return tanh_normal.median(mean)
    return tanh_normal.sample(key, mean, log_std)[0]


def value(
    state: Judging, obs: Observation, action: Action, cfg: object
) -> Float[Array, " n"]:
    """min_i Q_i(s, a), what the actor climbs."""
    return jnp.min(q_values(state.critic, obs, action), axis=0)


def entropy(
    key: Key, state: Acting, obs: Observation, cfg: object
) -> Float[Array, " n"]:
    """An unbiased estimate of H(π(·|s)) in nats: −log π at one sample."""
    return -tanh_normal.sample(key, *policy(state.actor, obs))[2]


def temperature(state: Any, cfg: Any) -> Scalar:
    """α in reward units a nat."""
    return jnp.exp(state.log_alpha) if cfg.alpha is None else jnp.float32(cfg.alpha)


def target_entropy(batch: Batch, given: Scalar | float | None) -> Scalar | float:
    """H̄ = −dim(A) unless given (section 6)."""
    if given is not None:
        return given
    return -float(math.prod(batch.action.shape[1:]))
