"""Soft deep Q-learning: discrete actions, one Q-network, no actor.

Haarnoja et al. 2017 (arXiv 1702.08165), section 3, with exact sums over actions in
place of samples; equation numbers are that paper's. The policy is the softmax of Q/α,
to explore and to bootstrap: at α → 0 the target is that of DQN (Mnih et al. 2013), but
nothing explores any more. Departures:
- the target averages by default, where `target_period` > 0 copies it as the paper does;
- `double` (van Hasselt et al. 2016): the policy of the target is the online network's;
- no ½ in front of the squared error of eq. 11, which Adam does not see.
"""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.ops import soft, td
from softq.ops.step import Moments, adam, descend, follow
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["discrete"] = "discrete"
NEEDS: tuple[str, ...] = ()


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which the target follows the network."""
    target_period: int = 0
    """Copy the target every so many updates instead of averaging; 0 averages."""
    alpha: float = 0.1
    """The temperature, in reward units a nat."""
    first_alpha: float | None = None
    """A temperature to start at; None starts at `alpha`."""
    alpha_updates: int = 10_000
    """Updates in which the temperature goes from `first_alpha` to `alpha`."""
    double: bool = False
    """Weigh the target network's values with the online network's policy."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    critic: nets.Net
    target: nets.Net
    moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """A fresh network; the target starts as its copy."""
    critic = nets.Net(key, spec.obs_shape, spec.num_actions, cfg.hidden)
    target = jax.tree.map(jnp.copy, critic)
    return State(critic, target, adam(critic), jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """One gradient step, then the target; nothing is sampled: the key is not used."""
    alpha = temperature(state, cfg)
    y = critic_target(
        state.target, state.critic, batch, alpha=alpha, discount=cfg.discount,
        double=cfg.double,
    )  # fmt: skip
    critic, moments, info = descend(
        critic_loss, state.critic, state.moments, cfg.lr, batch, y, alpha=alpha
    )
    updates = state.updates + 1
    target = follow(state.target, critic, updates, cfg.polyak, cfg.target_period)
    return State(critic, target, moments, updates), {**info, "alpha": alpha}


def critic_target(
    target: nets.Net,
    online: nets.Net,
    batch: Batch,
    *,
    alpha: Scalar,
    discount: Scalar | float,
    double: bool,
) -> Float[Array, " n"]:
    """y = r + γ (1 − terminated) α log Σ_a exp(Q'(s', a)/α)."""
    q = jax.vmap(target)(batch.next_obs)
    if double:
        log_p = soft.log_boltzmann(jax.vmap(online)(batch.next_obs), alpha)
        v = jnp.sum(jnp.exp(log_p) * q, axis=-1) + alpha * soft.entropy(log_p)
    else:
        v = soft.value(q, alpha)  # eq. 3
    return td.target(batch.reward, batch.terminated, v, discount)  # eq. 7


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"], *, alpha: Scalar
) -> tuple[Scalar, Info]:
    """Eq. 11: E[(Q(s, a) − y)²] at the batch's actions."""
    all_q = jax.vmap(critic)(batch.obs)
    q = jnp.take_along_axis(all_q, batch.action[:, None], axis=-1)[:, 0]
    loss = jnp.mean((q - y) ** 2)  # eq. 11
    entropies = soft.entropy(soft.log_boltzmann(all_q, alpha))
    return loss, {"critic_loss": loss, "q": jnp.mean(q), "entropy": jnp.mean(entropies)}


def log_policy(state: State, obs: Observation, cfg: Config) -> Float[Array, "n a"]:
    """log π(·|s) = Q(s, ·)/α − V(s)/α for each observation of a batch (eq. 5)."""
    return soft.log_boltzmann(jax.vmap(state.critic)(obs), temperature(state, cfg))


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Action indices (n,) for observations (n, …): sampled, or those of largest Q."""
    if not explore:
        return jnp.argmax(jax.vmap(state.critic)(obs), axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, log_policy(state, obs, cfg)).astype(jnp.int32)


@runtime_checkable
class Judging(Protocol):
    """Any state with a Q-network of all actions: what `value` needs."""

    @property
    def critic(self) -> nets.Net: ...


def value(
    state: Judging, obs: Observation, action: Action, cfg: object
) -> Float[Array, " n"]:
    """Q(s, a) at the given action indices."""
    q = jax.vmap(state.critic)(obs)
    return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H(π(·|s)) in nats, exactly."""
    return soft.entropy(log_policy(state, obs, cfg))


def temperature(state: State, cfg: Config) -> Scalar:
    """α in reward units a nat; geometric between its two ends."""
    alpha = jnp.float32(cfg.alpha)
    if cfg.first_alpha is None:
        return alpha
    gone = jnp.minimum(state.updates.astype(jnp.float32) / cfg.alpha_updates, 1.0)
    return cfg.first_alpha * (alpha / cfg.first_alpha) ** gone
