"""Soft Q-learning with a sampling network (Haarnoja et al. 2017, arXiv 1702.08165).

Algorithm 1 of the paper; equation numbers are the paper's. The sampler is a = tanh(u),
u = ξ + f(ξ; s) with ξ ~ N(0, I): it covers the box before it has learned anything.
Departures:
- the Stein gradient is taken in u, with the score of u's own density ∇_u [Q/α +
  Σ log(1 − tanh² u)]; with a kernel on a and the correction added there, as in code
  that is often copied, a constant Q does not give uniform actions;
- half the particles are fixed and half updated, from different noise; the kernel is a
  mean over several bandwidths (`ops.svgd`), unless `single_bandwidth`;
- the temperature is explicit and the reward is not scaled: the paper's reward scale
  is 1/α;
- proposals of the soft value are drawn for each state: uniform, or a `mixture` around
  the sampler's own particles. There is no target sampler: none is proposed from;
- no ½ in front of the squared error, a mean over particles, and the target averages
  by default where `target_period` > 0 copies it as the paper does;
- `twin` takes the smaller of two critics, as SAC does.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.ops import proposals, soft, svgd, tanh_normal, td
from softq.ops.step import Moments, adam, descend, follow
from softq.types import (
    Action,
    Batch,
    Info,
    Key,
    Observation,
    Scalar,
    SoftqError,
    Spec,
    config,
)

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()
WIDTH = 0.5  # of a proposal around a particle, in u
Energy = Callable[[Observation, Float[Array, " d"]], Scalar]  # Q(s, a) of one action
GREEDY = 16  # samples of which the greedy action is the best


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for the critic and the sampler."""
    discount: float = 0.99
    polyak: float = 0.005
    """Rate at which the target follows the critic."""
    target_period: int = 0
    """Copy the target every so many updates instead of averaging; 0 averages."""
    alpha: float = 0.1
    """The temperature, in reward units a nat: 1 over the paper's reward scale."""
    particles: int = 32
    """Actions a state in the Stein gradient; one half is fixed, the other updated."""
    value_samples: int = 64
    """Proposals a state, K, in the estimate of the soft value."""
    proposal: Literal["uniform", "mixture"] = "uniform"
    """Where they come from: the whole box, or half of them near the sampler's."""
    single_bandwidth: bool = False
    """The paper's kernel: one bandwidth, the median."""
    twin: bool = False
    """Two critics, of which the smaller counts."""
    hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        if self.particles < 4:
            raise SoftqError(
                f"--algo.particles must be 4 or more, for half of them stand still and "
                f"a distance needs two; found {self.particles}"
            )
        if not self.alpha > 0:
            raise SoftqError(
                f"--algo.alpha must be more than zero; found {self.alpha}. "
                "For little entropy try: --algo.alpha 0.01"
            )


class State(NamedTuple):
    sampler: nets.Net
    critic: nets.Net  # one or two, stacked
    target: nets.Net
    sampler_moments: Moments
    critic_moments: Moments
    updates: Int[Array, ""]


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the target starts as a copy of the critic."""
    sampler_key, critic_key = jax.random.split(key)
    shape, dim = spec.obs_shape, spec.action_dim
    sampler = nets.Net(sampler_key, shape, dim, cfg.hidden, dim)
    critic = nets.ensemble(
        critic_key, 1 + cfg.twin, lambda k: nets.Net(k, shape, 1, cfg.hidden, dim)
    )
    target = jax.tree.map(jnp.copy, critic)
    return State(sampler, critic, target, adam(sampler), adam(critic), jnp.int32(0))


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """Algorithm 1's gradient steps: critic, sampler, target."""
    value_key, sampler_key = jax.random.split(key)
    y, effective = critic_target(value_key, state.target, state.sampler, batch, cfg)
    critic, critic_moments, critic_info = descend(
        critic_loss, state.critic, state.critic_moments, cfg.lr, batch, y
    )

    def energy(obs: Observation, action: Float[Array, " d"]) -> Scalar:
        return q_value(critic, obs, action[None])[0]

    sampler, sampler_moments, sampler_info = descend(
        sampler_loss, state.sampler, state.sampler_moments, cfg.lr, energy, batch.obs,
        sampler_key, cfg,
    )  # fmt: skip
    updates = state.updates + 1
    target = follow(state.target, critic, updates, cfg.polyak, cfg.target_period)
    new = State(sampler, critic, target, sampler_moments, critic_moments, updates)
    return new, {**critic_info, **sampler_info, "effective_samples": effective}


def critic_target(
    key: Key, target: nets.Net, sampler: nets.Net, batch: Batch, cfg: Config
) -> tuple[Float[Array, " n"], Scalar]:
    """r + γ (1 − terminated) V(s'), V by importance sampling; the effective samples."""
    alpha = jnp.float32(cfg.alpha)

    def value(key: Key, obs: Observation) -> tuple[Scalar, Scalar]:
        action, log_density = _propose(key, sampler, obs, cfg)
        q = q_value(target, obs, action)
        return (
            soft.sampled_value(q, log_density, alpha),  # eq. 10
            soft.effective_samples(q, log_density, alpha),
        )

    keys = jax.random.split(key, len(batch.reward))
    v, effective = jax.vmap(value)(keys, batch.next_obs)
    y = td.target(batch.reward, batch.terminated, v, cfg.discount)
    return y, jnp.mean(effective)


def _propose(
    key: Key, sampler: nets.Net, obs: Observation, cfg: Config
) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    dim = _dim(sampler)
    if cfg.proposal == "uniform":
        return proposals.uniform(key, cfg.value_samples, dim)
    noise_key, draw_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, (cfg.particles // 2, dim))
    centres = jax.vmap(particle, (None, None, 0))(sampler, obs, noise)
    return proposals.mixture(draw_key, centres, cfg.value_samples, WIDTH)


def critic_loss(
    critic: nets.Net, batch: Batch, y: Float[Array, " n"]
) -> tuple[Scalar, Info]:
    """Eq. 11: E[(Q(s, a) − y)²], summed over critics."""
    q = nets.each(lambda net, o, a: net(o, a)[0], critic, batch.obs, batch.action)
    loss = jnp.sum(jnp.mean((q - y[None]) ** 2, axis=-1))  # eq. 11
    return loss, {"critic_loss": loss, "q": jnp.mean(q)}


def sampler_loss(
    sampler: nets.Net, energy: Energy, obs: Observation, key: Key, cfg: Config
) -> tuple[Scalar, Info]:
    """Eqs. 13 and 14: a number whose gradient is −mean_j ∂u_j/∂φ · Δ_j."""
    half, alpha, dim = cfg.particles // 2, jnp.float32(cfg.alpha), _dim(sampler)

    def one(key: Key, obs: Observation) -> tuple[Scalar, Scalar]:
        noise = jax.random.normal(key, (2, half, dim))
        draw = jax.vmap(particle, (None, None, 0))
        fixed = jax.lax.stop_gradient(draw(sampler, obs, noise[0]))
        updated = draw(sampler, obs, noise[1])

        def log_density(u: Float[Array, " d"]) -> Scalar:  # of u, up to a constant
            return energy(obs, jnp.tanh(u)) / alpha + tanh_normal.log_det_tanh(u)

        score = jax.vmap(jax.grad(log_density))(fixed)
        still = jax.lax.stop_gradient(updated)
        h = svgd.median_bandwidth(fixed, still) if cfg.single_bandwidth else None
        move = svgd.direction(fixed, score, still, h)  # eq. 13
        return -jnp.sum(move * updated) / half, jnp.mean(jnp.sum(move**2, axis=-1))

    loss, length = jax.vmap(one)(jax.random.split(key, len(obs)), obs)
    return jnp.mean(loss), {"stein": jnp.sqrt(jnp.mean(length))}  # eq. 14


def particle(
    sampler: nets.Net, obs: Observation, noise: Float[Array, " d"]
) -> Float[Array, " d"]:
    """u = ξ + f(ξ; s), before the tanh."""
    return noise + sampler(obs, noise)


def q_value(
    critic: nets.Net, obs: Observation, actions: Float[Array, "k d"]
) -> Float[Array, " k"]:
    """min_i Q_i(s, ·) of several actions in one state."""
    one = jax.vmap(lambda net, a: net(obs, a)[0], (None, 0))
    return jnp.min(jax.vmap(one, (0, None))(critic, actions), axis=0)


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Actions (n, d) for observations (n, …): a sample each, or the best of GREEDY."""
    dim = _dim(state.sampler)
    if explore:
        noise = jax.random.normal(key, (len(obs), 1, dim))
    else:  # the same draws for every observation, whatever its neighbours
        noise = jax.random.normal(jax.random.key(0), (GREEDY, dim))
        noise = jnp.broadcast_to(noise[None], (len(obs), GREEDY, dim))

    def one(obs: Observation, noise: Float[Array, "k d"]) -> Float[Array, " d"]:
        draw = jax.vmap(particle, (None, None, 0))
        action = jnp.tanh(draw(state.sampler, obs, noise))
        best = 0 if explore else jnp.argmax(q_value(state.critic, obs, action))
        return action[best]

    return jax.vmap(one)(obs, noise)


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """Q(s, a), the smaller one of twins."""
    one = jax.vmap(lambda o, a: q_value(state.critic, o, a[None])[0])
    return one(obs, action)


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H of exp(Q/α)/Z in nats, what the sampler stands for: its own is not known.

    By the proposals of the soft value: log Z − E[Q]/α, both weighted.
    """
    alpha = jnp.float32(cfg.alpha)

    def one(key: Key, obs: Observation) -> Scalar:
        action, log_density = _propose(key, state.sampler, obs, cfg)
        q = q_value(state.critic, obs, action)
        weight = jax.nn.softmax(q / alpha - log_density)
        v = soft.sampled_value(q, log_density, alpha)
        return (v - jnp.sum(weight * q)) / alpha

    return jax.vmap(one)(jax.random.split(key, len(obs)), obs)


def temperature(state: State, cfg: Config) -> Scalar:
    """α in reward units a nat."""
    return jnp.float32(cfg.alpha)


def _dim(sampler: nets.Net) -> int:
    return sampler.mlp.layers[-1].bias.shape[0]
