"""Soft actor-critic for discrete actions (Christodoulou 2019, arXiv 1910.07207).

Equation numbers are that paper's. Every expectation over actions is an exact sum.
Departures:
- no ½ in front of the squared error of eq. 4, as in `sac`; temperature in log space;
- the target entropy is `target_entropy_ratio` · log|A|. The paper's 0.98 keeps the
  policy nearly uniform, and where the optimal policy is less random than that the
  temperature grows without end; the default is lower, and 0.98 can be had.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos.sac import alpha_loss
from softq.ops import soft, td
from softq.ops.step import Moments, adam, descend, follow
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["discrete"] = "discrete"
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
    target_entropy_ratio: float = 0.5
    """Target entropy as a share of log|A| (the paper: 0.98, which can diverge)."""
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


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the target starts as a copy of the critic."""
    actor_key, critic_key = jax.random.split(key)
    shape, size = spec.obs_shape, spec.num_actions
    actor = nets.Net(actor_key, shape, size, cfg.hidden)
    critic = nets.ensemble(
        critic_key, 2, lambda k: nets.Net(k, shape, size, cfg.hidden)
    )
    log_alpha = jnp.log(jnp.asarray(cfg.initial_alpha, jnp.float32))
    target = jax.tree.map(jnp.copy, critic)
    moments = adam(actor), adam(critic), adam(log_alpha)
    return State(actor, critic, target, log_alpha, *moments, jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Algorithm 1's gradient steps; nothing is sampled, so the key is not used."""
    alpha = temperature(state, cfg)
    y = critic_target(
        state.target, state.actor, batch, alpha=alpha, discount=cfg.discount
    )
    critic, critic_moments, critic_info = descend(
        critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.lr, critic, batch, alpha=alpha
    )
    log_alpha, alpha_moments = state.log_alpha, state.alpha_moments
    if cfg.alpha is None:
        target_entropy = cfg.target_entropy_ratio * math.log(_num_actions(state.actor))
        log_alpha, alpha_moments, _ = descend(
            alpha_loss, log_alpha, alpha_moments, cfg.lr, -actor_info["entropy"],
            target_entropy=target_entropy,
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
    *,
    alpha: Scalar,
    discount: Scalar | float,
) -> Float[Array, " n"]:
    """y = r + γ (1 − terminated) Σ_a π(a|s') (min_i Q_i'(s', a) − α log π(a|s'))."""
    log_p = log_pi(actor, batch.next_obs)
    q = jnp.min(q_values(target, batch.next_obs), axis=0)
    v = jnp.sum(jnp.exp(log_p) * q, axis=-1) + alpha * soft.entropy(log_p)  # eq. 10
    return td.target(batch.reward, batch.terminated, v, discount)


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"]
) -> tuple[Scalar, Info]:
    """Eq. 1, summed over the twins: Σ_i E[(Q_i(s, a) − y)²] at the batch's actions."""
    index = jnp.broadcast_to(batch.action[None, :, None], (2, y.shape[0], 1))
    q = jnp.take_along_axis(q_values(critic, batch.obs), index, axis=-1)[..., 0]
    loss = jnp.sum(jnp.mean((q - y[None]) ** 2, axis=-1))  # eq. 4
    return loss, {"critic_loss": loss, "q": jnp.mean(q)}


def actor_loss(
    actor: nets.Net, critic: nets.Net, batch: Batch, *, alpha: Scalar
) -> tuple[Scalar, Info]:
    """Eq. 12: E[Σ_a π(a|s) (α log π(a|s) − min_i Q_i(s, a))]."""
    log_p = log_pi(actor, batch.obs)
    q = jnp.min(q_values(critic, batch.obs), axis=0)
    entropies = soft.entropy(log_p)
    loss = jnp.mean(-alpha * entropies - jnp.sum(jnp.exp(log_p) * q, axis=-1))  # eq. 12
    return loss, {"actor_loss": loss, "entropy": jnp.mean(entropies)}


def log_pi(actor: nets.Net, obs: Observation) -> Float[Array, "n a"]:
    """log π(·|s) for each observation of a batch."""
    return jax.nn.log_softmax(jax.vmap(actor)(obs), axis=-1)


def log_policy(state: State, obs: Observation, cfg: Config) -> Float[Array, "n a"]:
    """log π(·|s) for each observation of a batch."""
    return log_pi(state.actor, obs)


def q_values(critic: nets.Net, obs: Observation) -> Float[Array, "c n a"]:
    """Q_i(s, ·) of every critic i on a batch."""
    return nets.each(lambda net, o: net(o), critic, obs)


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Action indices (n,) for observations (n, …): sampled, or the most likely."""
    log_p = log_pi(state.actor, obs)
    if not explore:
        return jnp.argmax(log_p, axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, log_p).astype(jnp.int32)


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """min_i Q_i(s, a) at the given action indices."""
    q = jnp.min(q_values(state.critic, obs), axis=0)
    return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H(π(·|s)) in nats, exactly."""
    return soft.entropy(log_pi(state.actor, obs))


def temperature(state: State, cfg: Config) -> Scalar:
    """α in reward units a nat."""
    return jnp.exp(state.log_alpha) if cfg.alpha is None else jnp.float32(cfg.alpha)


def _num_actions(actor: nets.Net) -> int:
    return actor.mlp.layers[-1].bias.shape[0]
