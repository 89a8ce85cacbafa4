"""Implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169).

No action outside the data is ever asked for: V is an upper expectile of Q over the
data's actions, and the policy is fitted to those that turned out better than V.
Equation numbers are that paper's. Departures: the policy is a squashed Gaussian whose
σ depends on the state (theirs: a Gaussian with a tanh mean and one σ); its step size is
constant (theirs falls along a cosine); no ½ anywhere.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos import sac
from softq.algos.sac import act, entropy, value
from softq.ops import tanh_normal, td
from softq.ops.step import Moments, adam, descend, polyak
from softq.types import Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()
__all__ = [
    "ACTIONS", "NEEDS", "Config", "State", "act", "entropy", "init", "temperature",
    "update", "value",
]  # fmt: skip
MOST = 100.0  # the largest weight of a transition, as in the authors' code


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for actor, critics and value."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which the target follows the critic."""
    expectile: float = 0.7
    """Which expectile of Q over the data's actions V is; ½ is their mean (τ)."""
    sharpness: float = 3.0
    """How sharply the policy prefers better actions: weights exp(sharpness · A) (β)."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    critic: nets.Net  # two, stacked
    v: nets.Net
    target: nets.Net
    actor_moments: Moments
    critic_moments: Moments
    v_moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the target starts as a copy of the critic."""
    actor_key, critic_key, v_key = jax.random.split(key, 3)
    shape = spec.obs_shape
    actor = nets.Net(actor_key, shape, 2 * spec.action_dim, cfg.hidden)
    critic, target = sac.twins(critic_key, spec, cfg.hidden)
    v = nets.Net(v_key, shape, 1, cfg.hidden)
    moments = adam(actor), adam(critic), adam(v)
    return State(actor, critic, v, target, *moments, jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Value, actor, critics, target; nothing is sampled, so the key is not used."""
    q = jnp.min(sac.q_values(state.target, batch.obs, batch.action), axis=0)
    v, v_moments, v_info = descend(
        v_loss, state.v, state.v_moments, cfg.lr, batch, q, expectile=cfg.expectile
    )
    advantage = q - v_values(v, batch.obs)
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.lr, batch, advantage,
        sharpness=cfg.sharpness,
    )  # fmt: skip
    after = v_values(v, batch.next_obs)
    y = td.target(batch.reward, batch.terminated, after, cfg.discount)
    critic, critic_moments, critic_info = descend(
        sac.critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )  # eq. 6
    target = polyak(state.target, critic, cfg.polyak)
    moments = actor_moments, critic_moments, v_moments
    new = State(actor, critic, v, target, *moments, state.updates + 1)
    return new, {**v_info, **actor_info, **critic_info}


def v_loss(
    v: nets.Net, batch: Batch, q: Float[Array, " n"], *, expectile: Scalar | float
) -> tuple[Scalar, Info]:
    """Eq. 5: the expectile loss of Q'(s, a) − V(s)."""
    loss = jnp.mean(td.expectile_loss(q - v_values(v, batch.obs), expectile))
    return loss, {"v_loss": loss}


def actor_loss(
    actor: nets.Net,
    batch: Batch,
    advantage: Float[Array, " n"],
    *,
    sharpness: Scalar | float,
) -> tuple[Scalar, Info]:
    """Eq. 7: −E[exp(sharpness · (Q' − V)) log π(a|s)], weights at most 100."""
    weight = jnp.minimum(jnp.exp(sharpness * advantage), MOST)
    logp = tanh_normal.log_density(batch.action, *sac.policy(actor, batch.obs))
    loss = -jnp.mean(weight * logp)  # eq. 7
    return loss, {"actor_loss": loss, "advantage": jnp.mean(advantage)}


def v_values(v: nets.Net, obs: Observation) -> Float[Array, " n"]:
    """V(s) on a batch."""
    return jax.vmap(lambda o: v(o)[0])(obs)


def temperature(state: State, cfg: Config) -> Scalar:
    """No entropy is paid for."""
    return jnp.float32(0.0)
