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
- `twin` takes the smaller of two critics, as SAC does;
- the step size is constant, as the paper's; `compose.fit_sampler`'s decays;
- `acting` by Langevin steps asks Q itself for an action, and no network.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from softq import nets
from softq.ops import cells, proposals, soft, svgd, tanh_normal, td
from softq.ops.langevin import mala
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
# Q(s, ·) of several actions in each state.
Energy = Callable[[Observation, Float[Array, "n k d"]], Float[Array, "n k"]]
WATCHED = 16  # states of a batch whose particles' Stein discrepancy is logged
BEST_OF = 16  # samples of which the greedy action is the best
DRAWS = 16_384  # samples that are held against the density


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for the critic and the sampler."""
    discount: float = 0.99
    """What a reward one step later is worth now (γ)."""
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
    acting: Literal["sampler", "langevin"] = "sampler"
    """What draws actions of exp(Q/α): the network, or Langevin steps on Q."""
    langevin_steps: int = 50
    """Steps an action, from a uniform one."""
    langevin_size: float = 0.05
    """Their size, in units of u²."""
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
    sampler, sampler_moments, sampler_info = descend(
        sampler_loss, state.sampler, state.sampler_moments, cfg.lr,
        partial(q_values, critic), batch.obs, sampler_key, cfg,
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
    action, log_density = propose(key, sampler, batch.next_obs, cfg)
    q = q_values(target, batch.next_obs, action)
    v = soft.sampled_value(q, log_density, alpha)  # eq. 10
    effective = soft.effective_samples(q, log_density, alpha)
    y = td.target(batch.reward, batch.terminated, v, cfg.discount)
    return y, jnp.mean(effective)


def propose(
    key: Key, sampler: nets.Net, obs: Observation, cfg: Config
) -> tuple[Float[Array, "n k d"], Float[Array, "n k"]]:
    """K actions for each state, of its own, with their log densities."""
    dim, noise_key, draw_key = _dim(sampler), *jax.random.split(key)
    keys = jax.random.split(draw_key, len(obs))
    if cfg.proposal == "uniform":
        return jax.vmap(lambda k: proposals.uniform(k, cfg.value_samples, dim))(keys)
    noise = jax.random.normal(noise_key, (len(obs), cfg.particles // 2, dim))
    near = partial(proposals.mixture, k=cfg.value_samples, width=WIDTH)
    return jax.vmap(near)(keys, particles(sampler, obs, noise))


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
    half = cfg.particles // 2
    noise = jax.random.normal(key, (2, len(obs), half, _dim(sampler)))
    fixed = jax.lax.stop_gradient(particles(sampler, obs, noise[0]))
    updated = particles(sampler, obs, noise[1])
    score = jax.grad(lambda u: jnp.sum(log_p(energy, obs, u, cfg)))(fixed)
    still = jax.lax.stop_gradient(updated)
    h = jax.vmap(svgd.median_bandwidth)(fixed, still)
    scales = (1.0,) if cfg.single_bandwidth else svgd.SCALES
    several = h[:, None] * jnp.asarray(scales)[None]
    move = jax.vmap(svgd.direction)(fixed, score, still, several)  # eq. 13
    loss = -jnp.mean(jnp.sum(move * updated, axis=(-2, -1))) / half  # eq. 14
    few = jax.tree.map(lambda x: x[:WATCHED], (fixed, score, h))
    misfit = jnp.mean(jax.vmap(svgd.stein_discrepancy)(*few))
    return loss, {"stein_discrepancy": misfit}


def log_p(
    energy: Energy, obs: Observation, u: Float[Array, "n k d"], cfg: Config
) -> Float[Array, "n k"]:
    """log p(u|s) of actions tanh(u) of density exp(Q/α)/Z, up to a constant of s."""
    return energy(obs, jnp.tanh(u)) / cfg.alpha + tanh_normal.log_det_tanh(u)


def particles(
    sampler: nets.Net, obs: Observation, noise: Float[Array, "n k d"]
) -> Float[Array, "n k d"]:
    """u = ξ + f(ξ; s) of several ξ in each state, before the tanh."""
    return noise + nets.many(sampler, obs, noise)


def q_values(
    critic: nets.Net, obs: Observation, actions: Float[Array, "n k d"]
) -> Float[Array, "n k"]:
    """min_i Q_i(s, ·) of several actions in each state."""
    every = jax.vmap(nets.many, (0, None, None))(critic, obs, actions)
    return jnp.min(every[..., 0], axis=0)


def act(key: Key, state: State, obs: Observation, cfg: Config, explore: bool) -> Action:
    """Actions (n, d) for observations (n, …): a sample each, or the best of BEST_OF."""
    if explore:
        return draw(key, state, obs, cfg, 1)[:, 0]
    # The same draws for every observation, whatever its neighbours.
    if cfg.acting == "sampler":
        with jax.ensure_compile_time_eval():  # numbers, to whoever exports this
            shape = BEST_OF, _dim(state.sampler)
            noise = jax.random.normal(jax.random.key(0), shape)
        noise = jnp.broadcast_to(noise[None], (obs.shape[0], *shape))
        action = jnp.tanh(particles(state.sampler, obs, noise))
    else:
        alone = partial(draw, jax.random.key(0), state, cfg=cfg, k=BEST_OF)
        action = jax.vmap(lambda o: alone(o[None])[0])(obs)
    best = jnp.argmax(q_values(state.critic, obs, action), axis=-1)
    return jnp.take_along_axis(action, best[:, None, None], axis=1)[:, 0]


def draw(
    key: Key, state: State, obs: Observation, cfg: Config, k: int
) -> Float[Array, "n {k} d"]:
    """k actions in each state, by the sampler or by Langevin steps."""
    shape = len(obs), k, _dim(state.sampler)
    if cfg.acting == "sampler":
        noise = jax.random.normal(key, shape)
        return jnp.tanh(particles(state.sampler, obs, noise))
    start_key, key = jax.random.split(key)
    start = jax.random.uniform(start_key, shape, minval=-1.0, maxval=1.0)

    def chain(key: Key, start: Float[Array, " d"], obs: Observation) -> Array:
        def level(u: Float[Array, " d"]) -> Scalar:
            energy = partial(q_values, state.critic)
            return log_p(energy, obs[None], u[None, None], cfg)[0, 0]

        u = jnp.arctanh(start * tanh_normal.EDGE)
        return mala(key, level, u, cfg.langevin_steps, cfg.langevin_size)[0]

    chains = jax.vmap(jax.vmap(chain, (0, 0, None)))
    return jnp.tanh(chains(jax.random.split(key, shape[:2]), start, obs))


def quality(key: Key, state: State, obs: Observation, cfg: Config) -> Info:
    """How far the actions drawn are from exp(Q/α)/Z, on average over observations.

    Total variation and KL(drawn ‖ exact), in one and two dimensions.
    """
    dim = _dim(state.sampler)
    if dim not in cells.SIDES:
        return {}
    grid = cells.middles(dim)
    every = jnp.broadcast_to(grid[None], (len(obs), *grid.shape))
    density = jax.nn.softmax(q_values(state.critic, obs, every) / cfg.alpha, axis=-1)
    action = draw(key, state, obs, cfg, DRAWS)
    variation, kl = jax.vmap(cells.misfit)(action, density)
    return {"total_variation": jnp.mean(variation), "kl": jnp.mean(kl)}


def value(
    state: State, obs: Observation, action: Action, cfg: Config
) -> Float[Array, " n"]:
    """Q(s, a), the smaller one of twins."""
    return q_values(state.critic, obs, action[:, None])[:, 0]


def entropy(
    key: Key, state: State, obs: Observation, cfg: Config
) -> Float[Array, " n"]:
    """H of exp(Q/α)/Z in nats, what the sampler stands for: its own is not known.

    By the proposals of the soft value: log Z − E[Q]/α, both weighted.
    """
    alpha = jnp.float32(cfg.alpha)
    action, log_density = propose(key, state.sampler, obs, cfg)
    q = q_values(state.critic, obs, action)
    weight = jax.nn.softmax(q / alpha - log_density, axis=-1)
    v = soft.sampled_value(q, log_density, alpha)
    return (v - jnp.sum(weight * q, axis=-1)) / alpha


def temperature(state: State, cfg: Config) -> Scalar:
    """α in reward units a nat."""
    return jnp.float32(cfg.alpha)


def _dim(sampler: nets.Net) -> int:
    return sampler.mlp.layers[-1].bias.shape[0]
