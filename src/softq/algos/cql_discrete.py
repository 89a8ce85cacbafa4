"""Conservative Q-learning with actions that can be counted (arXiv 2006.04779).

One Q-network; the gap is exact, log Σ_a exp Q(s, a) − Q(s, a_data). The backup is
max_a Q'(s', a), as in the paper's Atari runs and in `tabular.cql(backup="max")`, or
`soft_dqn`'s at temperature `alpha`. No ½ in front of the squared error: the paper's α
is gap_weight/2.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos import soft_dqn
from softq.algos.soft_dqn import value
from softq.ops import conservative, soft
from softq.ops.step import Moments, adam, descend, follow
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["discrete"] = "discrete"
NEEDS: tuple[str, ...] = ()
__all__ = [
    "ACTIONS", "NEEDS", "Config", "State", "act", "entropy", "init", "log_policy",
    "temperature", "update", "value",
]  # fmt: skip


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for the network and the gap's weight."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which the target follows the network."""
    target_period: int = 0
    """Copy the target every so many updates instead of averaging; 0 averages."""
    backup: Literal["max", "soft"] = "max"
    """What the next state is worth: its best action, or its soft value."""
    alpha: float = 0.1
    """The policy's temperature, and that of a soft backup, in reward units a nat."""
    gap_weight: float = 1.0
    """What the gap costs beside the squared error (twice the paper's α)."""
    gap_target: float | None = None
    """Learn a factor α' that holds gap_weight · gap here; None: it is 1."""
    initial_weight: float = 1.0
    """Where a learned α' starts."""
    gap_damping: float = 0.0
    """Friction for a learned α', a unit of gap over its target; 0 is the authors'."""
    double: bool = False
    """Weigh the target network's values with the online network's policy."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    critic: nets.Net
    target: nets.Net
    log_weight: Scalar  # of α'; idle where there is no gap_target
    moments: Moments
    weight_moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """A fresh network; the target starts as its copy."""
    critic = nets.Net(key, spec.obs_shape, spec.num_actions, cfg.hidden)
    target = jax.tree.map(jnp.copy, critic)
    log_weight = conservative.capped(jnp.log(jnp.float32(cfg.initial_weight)))
    moments = adam(critic), adam(log_weight)
    return State(critic, target, log_weight, *moments, jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """One gradient step, then the target; nothing is sampled: the key is not used."""
    y = soft_dqn.critic_target(
        state.target, state.critic, batch, discount=cfg.discount, double=cfg.double,
        alpha=jnp.float32(0.0) if cfg.backup == "max" else temperature(state, cfg),
    )  # fmt: skip
    factor = conservative.factor(state.log_weight, cfg.gap_target)
    critic, moments, info = descend(
        critic_loss, state.critic, state.moments, cfg.lr, batch, y, cfg, factor=factor
    )  # fmt: skip
    log_weight, weight_moments = conservative.hold(
        state.log_weight, state.weight_moments, cfg.lr, info["gap"],
        gap_weight=cfg.gap_weight, gap_target=cfg.gap_target,
    )  # fmt: skip
    updates = state.updates + 1
    target = follow(state.target, critic, updates, cfg.polyak, cfg.target_period)
    new = State(critic, target, log_weight, moments, weight_moments, updates)
    return new, info | conservative.weighed(factor, cfg.gap_target)


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"], cfg: Config, *,
    factor: Scalar,
) -> tuple[Scalar, Info]:  # fmt: skip
    """E[(Q(s, a) − y)²] + α' gap_weight E[log Σ_a' exp Q(s, a') − Q(s, a)] (eq. 4)."""
    every = jax.vmap(critic)(batch.obs)
    q = jnp.take_along_axis(every, batch.action[:, None], axis=-1)[:, 0]
    error = jnp.mean((q - y) ** 2)
    gap = jnp.mean(soft.value(every, 1.0) - q)
    paid, held = cfg.gap_weight * gap, (cfg.gap_target, cfg.gap_damping)
    loss = error + conservative.penalty(factor, paid, *held)
    return loss, {"critic_loss": error, "q": jnp.mean(q), "gap": gap}


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Action indices (n,) for observations (n, …): sampled, or those of largest Q."""
    if not explore:
        return jnp.argmax(jax.vmap(state.critic)(obs), axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, log_policy(state, obs, cfg)).astype(jnp.int32)


def log_policy(state: State, obs: Observation, cfg: Config) -> Float[Array, "n a"]:
    """log π(·|s) = Q(s, ·)/α − V(s)/α for each observation of a batch."""
    return soft.log_boltzmann(jax.vmap(state.critic)(obs), temperature(state, cfg))


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H(π(·|s)) in nats, exactly."""
    return soft.entropy(log_policy(state, obs, cfg))


def temperature(state: State, cfg: Config) -> Scalar:
    """α in reward units a nat."""
    return jnp.float32(cfg.alpha)
