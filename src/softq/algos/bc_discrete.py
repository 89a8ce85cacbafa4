"""Behaviour cloning with actions that can be counted: −E[log π(a|s)], a softmax."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos import sac_discrete
from softq.ops import soft
from softq.ops.step import Moments, adam, descend
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["discrete"] = "discrete"
NEEDS: tuple[str, ...] = ()
FROM_DATA = True  # an environment has nothing to imitate


@config
class Config:
    """Numbers are knobs (sweepable); sizes compile."""

    lr: float = 3e-4
    """Adam's step size."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """A fresh network."""
    actor = nets.Net(key, spec.obs_shape, spec.num_actions, cfg.hidden)
    return State(actor, adam(actor), jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """One gradient step; nothing is sampled, so the key is not used."""
    actor, moments, info = descend(
        actor_loss, state.actor, state.moments, cfg.lr, batch
    )
    return State(actor, moments, state.updates + 1), info


def actor_loss(actor: nets.Net, batch: Batch) -> tuple[Scalar, Info]:
    """−E[log π(a|s)], in nats."""
    loss = -jnp.mean(_of(sac_discrete.log_pi(actor, batch.obs), batch.action))
    return loss, {"actor_loss": loss}


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Action indices (n,) for observations (n, …): sampled, or the most likely."""
    log_p = sac_discrete.log_pi(state.actor, obs)
    if not explore:
        return jnp.argmax(log_p, axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, log_p).astype(jnp.int32)


def log_policy(state: State, obs: Observation, cfg: Config) -> Float[Array, "n a"]:
    """log π(·|s) for each observation of a batch."""
    return sac_discrete.log_pi(state.actor, obs)


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """log π(a|s): how much the action looks like the data's. No Q is learned."""
    return _of(sac_discrete.log_pi(state.actor, obs), action)


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H(π(·|s)) in nats, exactly."""
    return soft.entropy(sac_discrete.log_pi(state.actor, obs))


def temperature(state: State, cfg: Config) -> Scalar:
    """No entropy is paid for."""
    return jnp.float32(0.0)


def _of(table: Float[Array, "n a"], action: Int[Array, " n"]) -> Float[Array, " n"]:
    """The entry of each row at its action."""
    return jnp.take_along_axis(table, action[:, None], axis=-1)[:, 0]
