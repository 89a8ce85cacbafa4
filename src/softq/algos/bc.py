"""Behaviour cloning: do what the data did, whatever it was worth.

Of the actions' likelihood under a squashed Gaussian (`loss = "likelihood"`, stochastic)
or of the squared error of its median (`"mse"`, the deterministic form).
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos import sac
from softq.algos.sac import act, entropy
from softq.ops import tanh_normal
from softq.ops.step import Moments, adam, descend
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()
FROM_DATA = True  # an environment has nothing to imitate
__all__ = [
    "ACTIONS", "FROM_DATA", "NEEDS", "Config", "State", "act", "entropy", "init",
    "temperature", "update", "value",
]  # fmt: skip


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size."""
    loss: Literal["likelihood", "mse"] = "likelihood"
    """What is fitted: the actions' density, or their middle."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """A fresh network."""
    actor = nets.Net(key, spec.obs_shape, 2 * spec.action_dim, cfg.hidden)
    return State(actor, adam(actor), jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """One gradient step; nothing is sampled, so the key is not used."""
    loss = likelihood_loss if cfg.loss == "likelihood" else squared_loss
    actor, moments, info = descend(loss, state.actor, state.moments, cfg.lr, batch)
    return State(actor, moments, state.updates + 1), info


def likelihood_loss(actor: nets.Net, batch: Batch) -> tuple[Scalar, Info]:
    """−E[log π(a|s)], in nats."""
    logp = tanh_normal.log_density(batch.action, *sac.policy(actor, batch.obs))
    loss = -jnp.mean(logp)
    return loss, {"actor_loss": loss}


def squared_loss(actor: nets.Net, batch: Batch) -> tuple[Scalar, Info]:
    """E[‖a − tanh(mean)‖²]; σ is not learned."""
    median = tanh_normal.median(sac.policy(actor, batch.obs)[0])
    loss = jnp.mean(jnp.sum((batch.action - median) ** 2, axis=-1))
    return loss, {"actor_loss": loss}


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """log π(a|s): how much the action looks like the data's. No Q is learned."""
    return tanh_normal.log_density(action, *sac.policy(state.actor, obs))


def temperature(state: State, cfg: Config) -> Scalar:
    """No entropy is paid for."""
    return jnp.float32(0.0)
