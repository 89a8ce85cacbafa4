"""TD3+BC (Fujimoto & Gu 2021, arXiv 2106.06860): climb Q, and stay near the data.

Equation numbers are that paper's; the twin critics, the smoothed target and the delayed
actor are TD3's (arXiv 1802.09477). Observations are normalised by the data's mean and
standard deviation, as in the paper (`NORMALIZES`). The greedy action is the policy; for
what is sampled, `noise` is added to it.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from softq import nets
from softq.algos import ddpg, sac
from softq.algos.ddpg import act, entropy, temperature
from softq.algos.sac import value
from softq.ops import td
from softq.ops.step import Moments, adam, descend, polyak
from softq.types import Batch, Info, Key, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()
NORMALIZES = True
__all__ = [
    "ACTIONS", "NEEDS", "NORMALIZES", "Config", "State", "act", "entropy", "init",
    "temperature", "update", "value",
]  # fmt: skip


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for actor and critics."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which the targets follow, at every actor update."""
    q_weight: float = 2.5
    """What Q counts beside the distance to the data (the paper's α)."""
    noise: float = 0.1
    """Standard deviation of the exploration noise, in normalised action units."""
    target_noise: float = 0.2
    """Standard deviation of the noise that smooths the target."""
    target_clip: float = 0.5
    """Where that noise is clipped."""
    actor_period: int = 2
    """Critic updates an actor update."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    critic: nets.Net  # two, stacked
    actor_target: nets.Net
    target: nets.Net
    actor_moments: Moments
    critic_moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the targets start as copies."""
    actor_key, critic_key = jax.random.split(key)
    actor = nets.Net(actor_key, spec.obs_shape, spec.action_dim, cfg.hidden)
    critic, target = sac.twins(critic_key, spec, cfg.hidden)
    actor_target = jax.tree.map(jnp.copy, actor)
    moments = adam(actor), adam(critic)
    return State(actor, critic, actor_target, target, *moments, jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Critics at every update; actor and targets at every `actor_period`-th."""
    y = critic_target(state.target, state.actor_target, batch, key, cfg)
    critic, critic_moments, critic_info = descend(
        sac.critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.lr, critic, batch,
        q_weight=cfg.q_weight,
    )  # fmt: skip
    updates = state.updates + 1
    followed = polyak((state.actor_target, state.target), (actor, critic), cfg.polyak)
    due = updates % cfg.actor_period == 0
    before = state.actor, state.actor_moments, (state.actor_target, state.target)
    actor, actor_moments, (actor_target, target) = _pick(
        due, (actor, actor_moments, followed), before
    )
    moments = actor_moments, critic_moments
    new = State(actor, critic, actor_target, target, *moments, updates)
    return new, {**critic_info, **actor_info}


def critic_target(
    target: nets.Net, actor_target: nets.Net, batch: Batch, key: Key, cfg: Config
) -> Float[Array, " n"]:
    """r + γ (1 − terminated) min_i Q_i'(s', clip(μ'(s') + clipped noise))."""
    action = ddpg.policy(actor_target, batch.next_obs)
    noise = cfg.target_noise * jax.random.normal(key, action.shape)
    smooth = action + jnp.clip(noise, -cfg.target_clip, cfg.target_clip)
    q = sac.q_values(target, batch.next_obs, jnp.clip(smooth, -1.0, 1.0))
    v = jnp.min(q, axis=0)
    return td.target(batch.reward, batch.terminated, v, cfg.discount)


def actor_loss(
    actor: nets.Net, critic: nets.Net, batch: Batch, *, q_weight: Scalar | float
) -> tuple[Scalar, Info]:
    """Eq. 3: E[−λ Q_1(s, μ(s)) + (μ(s) − a)²], λ = q_weight / E|Q_1|, held fixed."""
    action = ddpg.policy(actor, batch.obs)
    q = sac.q_values(critic, batch.obs, action)[0]
    scale = q_weight / jax.lax.stop_gradient(jnp.mean(jnp.abs(q)) + 1e-6)  # eq. 5
    distance = jnp.mean((action - batch.action) ** 2)
    loss = distance - scale * jnp.mean(q)  # eq. 3
    return loss, {"actor_loss": loss, "distance": distance}


def _pick(flag: Bool[Array, ""], new: object, old: object) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)
