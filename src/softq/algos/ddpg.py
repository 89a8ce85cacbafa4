"""Deep deterministic policy gradient (Lillicrap et al. 2016, arXiv 1509.02971).

What soft Q-learning is compared with: no entropy anywhere, one deterministic action a
state. Equation numbers are that paper's. Departures:
- exploration adds independent Gaussian noise, of `noise` in normalised units, where the
  paper's is correlated in time (Ornstein and Uhlenbeck's);
- one network size for both, no batch normalisation and no weight decay;
- `twin` takes the smaller of two critics, as SAC does: what is left of SAC without its
  entropy, to compare with it.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.algos import sac
from softq.algos.sac import Acting
from softq.ops import td
from softq.ops.step import Moments, adam, descend, follow
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for actor and critic."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
    polyak: float = 0.005
    """Rate at which both targets follow."""
    target_period: int = 0
    """Copy the targets every so many updates instead of averaging; 0 averages."""
    noise: float = 0.1
    """Standard deviation of the exploration noise, in normalised action units."""
    twin: bool = False
    """The smaller of two critics instead of one."""
    hidden: tuple[int, ...] = (256, 256)


class State(NamedTuple):
    actor: nets.Net
    critic: nets.Net  # one or two, stacked
    actor_target: nets.Net
    target: nets.Net
    actor_moments: Moments
    critic_moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the targets start as copies."""
    actor_key, critic_key = jax.random.split(key)
    shape, dim = spec.obs_shape, spec.action_dim
    actor = nets.Net(actor_key, shape, dim, cfg.hidden)
    critic = nets.ensemble(
        critic_key, 1 + cfg.twin, lambda k: nets.Net(k, shape, 1, cfg.hidden, dim)
    )
    actor_target, target = jax.tree.map(jnp.copy, (actor, critic))
    moments = adam(actor), adam(critic)
    return State(actor, critic, actor_target, target, *moments, jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Algorithm 1's gradient steps; nothing is sampled, so the key is not used."""
    y = critic_target(state.target, state.actor_target, batch, discount=cfg.discount)
    critic, critic_moments, critic_info = descend(
        critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.lr, critic, batch
    )
    updates = state.updates + 1
    actor_target, target = follow(
        (state.actor_target, state.target), (actor, critic), updates, cfg.polyak,
        cfg.target_period,
    )  # fmt: skip
    moments = actor_moments, critic_moments
    new = State(actor, critic, actor_target, target, *moments, updates)
    return new, {**critic_info, **actor_info}


def critic_target(
    target: nets.Net,
    actor_target: nets.Net,
    batch: Batch,
    *,
    discount: Scalar | float,
) -> Float[Array, " n"]:
    """y = r + γ (1 − terminated) min_i Q_i'(s', μ'(s'))."""
    v = least(target, batch.next_obs, policy(actor_target, batch.next_obs))
    return td.target(batch.reward, batch.terminated, v, discount)  # eq. 5


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"]
) -> tuple[Scalar, Info]:
    """Eq. 4, summed over the critics: Σ_i E[(Q_i(s, a) − y)²]."""
    q = sac.q_values(critic, batch.obs, batch.action)
    loss = jnp.sum(jnp.mean((q - y[None]) ** 2, axis=-1))  # eq. 4
    return loss, {"critic_loss": loss, "q": jnp.mean(q)}


def actor_loss(actor: nets.Net, critic: nets.Net, batch: Batch) -> tuple[Scalar, Info]:
    """Eq. 6: −E[min_i Q_i(s, μ(s))]."""
    loss = -jnp.mean(least(critic, batch.obs, policy(actor, batch.obs)))  # eq. 6
    return loss, {"actor_loss": loss}


def policy(actor: nets.Net, obs: Observation) -> Float[Array, "n d"]:
    """μ(s), through tanh."""
    return jnp.tanh(jax.vmap(actor)(obs))


def least(
    critic: nets.Net, obs: Observation, action: Float[Array, "n d"]
) -> Float[Array, " n"]:
    """min_i Q_i(s, a) on a batch."""
    return jnp.min(sac.q_values(critic, obs, action), axis=0)


def act(
    key: Key, state: Acting, obs: Observation, cfg: Any, explore: bool
) -> Float[Array, "n d"]:
    """Actions (n, d) for observations (n, …), with noise where they explore."""
    action = policy(state.actor, obs)
    if not explore:
        return action
    noise = cfg.noise * jax.random.normal(key, action.shape)
    return jnp.clip(action + noise, -1.0, 1.0)


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """Q(s, a), the smaller one of twins."""
    return least(state.critic, obs, action)


def entropy(
    key: Key, state: object, obs: Observation, cfg: object
) -> Float[Array, " n"]:
    """Nothing: what is learned is one action, and the noise is not part of it."""
    return jnp.zeros(len(obs))


def temperature(state: object, cfg: object) -> Scalar:
    """No entropy is paid for."""
    return jnp.float32(0.0)
