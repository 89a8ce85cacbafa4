"""Conservative Q-learning (Kumar et al. 2020, arXiv 2006.04779), continuous actions.

`sac` on a fixed data set, whose critics also pay for the gap between what they promise
and what the data show. Equation numbers are that paper's. Departures:
- the squared error has no ½ (nor in the authors' code): their α is gap_weight/2;
- log Σ exp is normalised by the number of samples, 3N, so that the gap is that of the
  integral over the box; targets of other libraries are shifted by gap_weight · log 3N;
- the next value has no entropy, and the next action is sampled (`backup_entropy`,
  `max_backup` change it); with gap_weight 0 and the entropy this is SAC;
- `gap_damping` keeps a learned weight from swinging; 0 is the authors' form;
- `gap_gradient = "sampled"` scores every action but sends few of them backward: an
  unbiased gradient (with `scoring = "bfloat16"` nearly so), at a third of the cost;
- `gap_density = "mixture"` weighs each action by the mixture of all three sources
  instead of its own: the same integral, with bounded weights.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from softq import nets
from softq.algos import sac
from softq.algos.sac import act, entropy, temperature, value
from softq.ops import conservative, proposals, tanh_normal, td
from softq.ops.step import Moments, adam, descend, follow, in_parts
from softq.types import Batch, Info, Key, Observation, Scalar, Spec, config

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ()
__all__ = [
    "ACTIONS", "NEEDS", "Config", "State", "act", "entropy", "init", "temperature",
    "update", "value",
]  # fmt: skip
Floor = Float[Array, " n"]
Judged = tuple[Float[Array, "c n"], Float[Array, "c n k"], Float[Array, "c n"]]


@config
class Config:
    """Numbers are knobs (sweepable); sizes and flags compile."""

    lr: float = 3e-4
    """Adam's step size, for the critics and the gap's weight."""
    actor_lr: float = 1e-4
    """Adam's step size, for the actor and the temperature."""
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
    target_entropy: float | None = None
    """Nats, in normalised action units; None is −dim(A)."""
    gap: Literal["entropy", "eq1", "eq2", "rho"] = "entropy"
    """Which of the paper's gaps: CQL(H), eq. 1, eq. 2 (both with μ = π), CQL(ρ)."""
    gap_weight: float = 5.0
    """What the gap costs beside the squared error (twice the paper's α)."""
    gap_target: float | None = None
    """Learn a factor α' that holds gap_weight · gap here; None: it is 1."""
    initial_weight: float = 1.0
    """Where a learned α' starts."""
    gap_damping: float = 0.0
    """Friction for a learned α', a unit of gap over its target; 0 is the authors'."""
    gap_samples: int = 10
    """Actions from each source: the box, the policy at s, the policy at s'."""
    gap_gradient: Literal["exact", "sampled"] = "exact"
    """Through every action, or through `gap_draws` drawn by their share in it."""
    gap_draws: int = 1
    """Actions a state that a sampled gradient goes through."""
    gap_density: Literal["own", "mixture"] = "own"
    """Weigh an action by the density it was drawn from, or by that of all sources."""
    scoring: Literal["float32", "bfloat16"] = "float32"
    """Precision in which a sampled gradient scores the actions."""
    temp: float = 1.0
    """T in CQL(H)'s T log Σ exp(Q/T): how soft its maximum is; not the temperature."""
    backup_entropy: bool = False
    """The next value counts the policy's entropy, as SAC's does."""
    max_backup: int = 0
    """The best of so many next actions instead of one; 0 takes one (AntMaze: 10)."""
    bc_updates: int = 0
    """Updates in which the actor first copies the data."""
    hidden: tuple[int, ...] = (256, 256, 256)


class State(NamedTuple):
    actor: nets.Net
    critic: nets.Net  # two, stacked
    target: nets.Net
    log_alpha: Scalar  # idle where the temperature is fixed
    log_weight: Scalar  # of α'; idle where there is no gap_target
    actor_moments: Moments
    critic_moments: Moments
    alpha_moments: Moments
    weight_moments: Moments
    updates: Int[Array, ""]


class Proposed(NamedTuple):
    """k actions for each state, CQL(H)'s first third of them uniform, and log μ."""

    action: Float[Array, "n k d"]
    log_mu: Float[Array, "n k"]


class Seen(NamedTuple):
    """What a critic update looks at, state by state."""

    batch: Batch
    y: Float[Array, " n"]
    proposed: Proposed
    floor: Floor | None


def init(key: Key, spec: Spec, cfg: Config) -> State:
    """Fresh networks; the target starts as a copy of the critic."""
    actor_key, critic_key = jax.random.split(key)
    actor = nets.Net(actor_key, spec.obs_shape, 2 * spec.action_dim, cfg.hidden)
    critic, target = sac.twins(critic_key, spec, cfg.hidden)
    log_alpha = jnp.log(jnp.asarray(cfg.initial_alpha, jnp.float32))
    log_weight = conservative.capped(jnp.log(jnp.float32(cfg.initial_weight)))
    moments = adam(actor), adam(critic), adam(log_alpha), adam(log_weight)
    return State(actor, critic, target, log_alpha, log_weight, *moments, jnp.int32(0))


def update(
    key: Key, state: State, batch: Batch, cfg: Config, floor: Floor | None = None
) -> tuple[State, Info]:
    """Algorithm 1's gradient steps: α', critics, actor, temperature, target.

    `floor` is Cal-QL's: below it the policy's actions are not pushed.
    """
    next_key, actor_key = jax.random.split(key)
    gap_key, draw_key = jax.random.split(jax.random.fold_in(key, 2))
    alpha = temperature(state, cfg)
    factor = conservative.factor(state.log_weight, cfg.gap_target)
    y = critic_target(state.target, state.actor, batch, next_key, alpha, cfg)
    proposed = propose(gap_key, state.actor, batch, cfg)
    seen = Seen(batch, y, proposed, floor)
    critic, critic_moments, critic_info = descend(
        in_parts(critic_loss, _parts(proposed, cfg)), state.critic,
        state.critic_moments, cfg.lr, seen, draw_key, cfg, factor=factor,
    )  # fmt: skip
    log_weight, weight_moments = conservative.hold(
        state.log_weight, state.weight_moments, cfg.lr, critic_info["gap"],
        gap_weight=cfg.gap_weight, gap_target=cfg.gap_target,
    )  # fmt: skip
    actor, actor_moments, actor_info = descend(
        actor_loss, state.actor, state.actor_moments, cfg.actor_lr, critic, batch,
        actor_key, alpha=alpha,
        cloning=state.updates < cfg.bc_updates if cfg.bc_updates else None,
    )  # fmt: skip
    log_alpha, alpha_moments = state.log_alpha, state.alpha_moments
    if cfg.alpha is None:
        log_alpha, alpha_moments, _ = descend(
            sac.alpha_loss, log_alpha, alpha_moments, cfg.actor_lr,
            -actor_info["entropy"],
            target_entropy=sac.target_entropy(batch, cfg.target_entropy),
        )  # fmt: skip
    updates = state.updates + 1
    target = follow(state.target, critic, updates, cfg.polyak, cfg.target_period)
    moments = actor_moments, critic_moments, alpha_moments, weight_moments
    new = State(actor, critic, target, log_alpha, log_weight, *moments, updates)
    info = {**critic_info, **actor_info, "alpha": alpha}
    return new, info | conservative.weighed(factor, cfg.gap_target)


def critic_target(
    target: nets.Net, actor: nets.Net, batch: Batch, key: Key, alpha: Scalar,
    cfg: Config,
) -> Float[Array, " n"]:  # fmt: skip
    """r + γ (1 − terminated) V(s'): eq. 1's backup, in the form that cfg names."""
    if cfg.backup_entropy:
        return sac.critic_target(
            target, actor, batch, key, alpha=alpha, discount=cfg.discount
        )
    dist = sac.policy(actor, batch.next_obs)
    action, _ = proposals.of_policy(key, *dist, max(cfg.max_backup, 1))
    q = _many(target, batch.next_obs, action)
    v = jnp.max(jnp.min(q, axis=0), axis=-1)  # over critics, then over actions
    return td.target(batch.reward, batch.terminated, v, cfg.discount)


def propose(key: Key, actor: nets.Net, batch: Batch, cfg: Config) -> Proposed:
    """Actions that the gap looks at: CQL(H)'s three sources, or the policy's alone."""
    here = sac.policy(actor, batch.obs)
    if cfg.gap != "entropy":
        return Proposed(*proposals.of_policy(key, *here, cfg.gap_samples))
    after = sac.policy(actor, batch.next_obs)
    mixed = cfg.gap_density == "mixture"
    drawn = proposals.three_sources(key, here, after, cfg.gap_samples, mixed)
    return Proposed(*drawn)


def _uniform(cfg: Config) -> int:
    """How many of the actions are uniform: they come first."""
    return cfg.gap_samples if cfg.gap == "entropy" else 0


def _parts(proposed: Proposed, cfg: Config) -> int:
    """Into how many parts an exact gradient is cut: of about 2,000 rows each."""
    n, k, _ = proposed.action.shape
    most = 1 if cfg.gap_gradient == "sampled" else max(round(n * (k + 1) / 2_000), 1)
    return next(parts for parts in range(most, 0, -1) if n % parts == 0)


def critic_loss(
    critic: nets.Net, seen: Seen, key: Key, cfg: Config, *, factor: Scalar
) -> tuple[Scalar, Info]:
    """Σ_i E[(Q_i(s, a) − y)²] + α' (gap_weight · gap_i − gap_target) (eqs. 2 to 4)."""
    judge = _exact if cfg.gap_gradient == "exact" else _sampled
    q_data, q_any, gap = judge(critic, seen, key, cfg)
    error = jnp.mean((q_data - seen.y[None]) ** 2, axis=-1)
    gaps = jnp.mean(gap, axis=-1)
    paid, held = cfg.gap_weight * gaps, (cfg.gap_target, cfg.gap_damping)
    loss = jnp.sum(error + conservative.penalty(factor, paid, *held))
    log_mu = seen.proposed.log_mu[None]
    scores = conservative.scores(cfg.gap, q_any, log_mu, cfg.temp)
    share = jax.nn.softmax(scores, axis=-1)
    info = {
        "critic_loss": jnp.sum(error),
        "q": jnp.mean(q_data),
        "gap": jnp.mean(gaps),
        "q_mu": jnp.mean(jnp.sum(share * q_any, axis=-1)),
        "effective_samples": jnp.mean(1.0 / jnp.sum(share**2, axis=-1)),
    }
    return loss, info


def _exact(critic: nets.Net, seen: Seen, key: Key, cfg: Config) -> Judged:
    """Q at the data, Q at every action, and the gap, all with their gradients."""
    batch, _, proposed, floor = seen
    action = jnp.concatenate([batch.action[:, None], proposed.action], axis=1)
    q = _many(critic, batch.obs, action)
    q_data, q_any = q[..., 0], _floored(q[..., 1:], floor, _uniform(cfg))
    log_mu = proposed.log_mu[None]
    return q_data, q_any, conservative.gap(cfg.gap, q_any, log_mu, q_data, cfg.temp)


def _sampled(critic: nets.Net, seen: Seen, key: Key, cfg: Config) -> Judged:
    """The same numbers, with a gradient through `gap_draws` actions of each critic."""
    batch, _, proposed, floor = seen
    still, log_mu = jax.lax.stop_gradient(critic), proposed.log_mu[None]
    scored = _many(still, batch.obs, proposed.action, cfg.scoring)
    q_any = _floored(scored, floor, _uniform(cfg))
    scores = conservative.scores(cfg.gap, q_any, log_mu, cfg.temp)
    index = conservative.draw(key, scores, cfg.gap_draws)

    def of_one(net: nets.Net, at: Int[Array, "n m"]) -> Float[Array, "n m+1"]:
        chosen = jnp.take_along_axis(proposed.action, at[..., None], axis=1)
        both = jnp.concatenate([batch.action[:, None], chosen], axis=1)
        return nets.many(net, batch.obs, both)[..., 0]

    pairs = zip(nets.members(critic), index, strict=True)
    q = jnp.stack([of_one(net, at) for net, at in pairs])
    q_data, q_chosen = q[..., 0], q[..., 1:]
    if floor is not None:
        lifted = conservative.calibrated(q_chosen, floor[None])
        q_chosen = jnp.where(index < _uniform(cfg), q_chosen, lifted)
    slope = jnp.mean(q_chosen, axis=-1) - (0.0 if cfg.gap == "eq1" else q_data)
    value = conservative.gap(cfg.gap, q_any, log_mu, q_data, cfg.temp)
    if cfg.scoring != "float32":  # what rounding took from it, to first order
        rounded = jnp.take_along_axis(q_any, index, axis=-1)
        value = value + jnp.mean(q_chosen - rounded, axis=-1)
    # The value of the whole sum, the slope of the few.
    return q_data, q_any, slope + jax.lax.stop_gradient(value - slope)


def _floored(
    q_any: Float[Array, "c n k"], floor: Floor | None, uniform: int
) -> Float[Array, "c n k"]:
    """Cal-QL's floor under the policy's actions; uniform ones, the first, have none."""
    if floor is None:
        return q_any
    own = conservative.calibrated(q_any[..., uniform:], floor[None])
    return jnp.concatenate([q_any[..., :uniform], own], axis=-1)


def actor_loss(
    actor: nets.Net, critic: nets.Net, batch: Batch, key: Key, *, alpha: Scalar,
    cloning: Bool[Array, ""] | None,
) -> tuple[Scalar, Info]:  # fmt: skip
    """SAC's, E[α log π − min_i Q_i]; while cloning, E[α log π − log π(a_data|s)]."""
    loss, info = sac.actor_loss(actor, critic, batch, key, alpha=alpha)
    if cloning is None:
        return loss, info
    likelihood = tanh_normal.log_density(batch.action, *sac.policy(actor, batch.obs))
    copy = -alpha * info["entropy"] - jnp.mean(likelihood)
    return jnp.where(cloning, copy, loss), info


def _many(
    critic: nets.Net, obs: Observation, action: Float[Array, "n k d"],
    precision: nets.Precision = "float32",
) -> Float[Array, "c n k"]:  # fmt: skip
    """Q_i(s, ·) of several actions in each state, by every critic."""
    every = [nets.many(one, obs, action, precision) for one in nets.members(critic)]
    return jnp.stack(every)[..., 0]
