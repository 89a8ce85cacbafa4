"""CQL and Cal-QL against their equations: gaps, gradients, backups, the dual."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from softq import nets
from softq.algos import calql, cql, cql_discrete, sac
from softq.ops import proposals, tanh_normal
from softq.types import Batch, Spec, cast_knobs

N, DIM, K = 16, 2, 4
SPEC = Spec((3,), "float32", (-1.0,) * DIM, (1.0,) * DIM)
KEY = jax.random.key(7)
FORMS = ["entropy", "eq1", "eq2", "rho"]
SIZES = {"hidden": (8,), "gap_samples": K}


def config(**changes: Any) -> cql.Config:
    rates = {"lr": 1e-2, "actor_lr": 1e-2, "discount": 0.9, "bc_updates": 2}
    return cast_knobs(cql.Config(**{**SIZES, **rates, **changes}))


def batch(**changes: Any) -> Batch:
    rng = np.random.default_rng(0)
    obs, next_obs = np.float32(rng.normal(size=(2, N, 3)))
    action = np.float32(rng.uniform(-1, 1, (N, DIM)))
    data = Batch(
        jnp.asarray(obs),
        jnp.asarray(action),
        jnp.asarray(np.float32(rng.normal(size=N))),
        jnp.asarray(next_obs),
        jnp.arange(N) % 3 == 0,
    )
    return data._replace(**changes)


init = jax.jit(lambda key, cfg: cql.init(key, SPEC, cfg))
update = jax.jit(cql.update)
calibrated_update = jax.jit(calql.update)
critic_target = jax.jit(cql.critic_target)


@functools.cache
def start() -> cql.State:
    """Past the warm start; the target is not the critic, the twins cross each other."""
    state, other = (init(jax.random.key(seed), config()) for seed in (0, 1))
    twins = {"critic": level(state.critic), "target": level(other.critic)}
    return state._replace(**twins, updates=jnp.int32(2))


def level(critic: Any) -> Any:
    """The critics with a last bias that makes each one's mean over the batch 0."""
    mean = values(critic, batch().obs, batch().action[:, None]).mean((1, 2))
    shifted = critic.mlp.layers[-1].bias - jnp.asarray(mean[:, None], jnp.float32)
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, critic, shifted)


def members(critic: Any) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    layers = [(one.weight, one.bias) for one in critic.mlp.layers]
    return [[(w[i], b[i]) for w, b in layers] for i in range(len(layers[0][0]))]


def values(critic: Any, obs: Any, action: Any) -> np.ndarray:
    """Q_i(s, a_k) in numpy, (critics, states, actions)."""
    action = np.float64(action)
    beside = np.broadcast_to(np.float64(obs)[:, None], (*action.shape[:2], 3))
    x = np.concatenate([beside, action], -1)
    return np.stack([oracles.mlp(x, layers)[..., 0] for layers in members(critic)])


def gaussian(actor: Any, obs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and σ of u in numpy."""
    layers = [(one.weight, one.bias) for one in actor.mlp.layers]
    mean, raw = np.split(oracles.mlp(np.float64(obs), layers), 2, axis=-1)
    upper = 2.0 - np.logaddexp(0.0, 2.0 - raw)
    return mean, np.exp(-10.0 + np.logaddexp(0.0, upper + 10.0))


def log_density(action: Any, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Of (n, k, d) actions under n tanh-Gaussians."""
    a = np.float64(action)
    normal = stats.norm.logpdf(np.arctanh(a), mean[:, None], std[:, None])
    return (normal - np.log1p(-(a**2))).sum(-1)


def with_std(actor: Any, raw: float) -> Any:
    """The actor with another, constant σ."""
    is_std = jnp.arange(2 * DIM) >= DIM
    last = actor.mlp.layers[-1]
    weight = jnp.where(is_std[None], 0.0, last.weight)
    bias = jnp.where(is_std, raw, last.bias)
    actor = eqx.tree_at(lambda net: net.mlp.layers[-1].weight, actor, weight)
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, actor, bias)


@jax.jit
def judged(
    critic: Any, data: Batch, y: Any, action: Any, log_mu: Any, key: Any,
    cfg: cql.Config, factor: Any, floor: Any,
) -> Any:  # fmt: skip
    """((loss, info), gradient) of the critics' loss."""
    return jax.value_and_grad(cql.critic_loss, has_aux=True)(
        critic, cql.Seen(data, y, cql.Proposed(action, log_mu), floor), key, cfg,
        factor=factor,
    )  # fmt: skip


@jax.jit
def many_gradients(
    critic: Any, y: Any, action: Any, log_mu: Any, keys: Any, cfg: Any, floor: Any,
) -> Any:  # fmt: skip
    def one(key: Any) -> Any:
        return jax.grad(cql.critic_loss, has_aux=True)(
            critic, cql.Seen(batch(), y, cql.Proposed(action, log_mu), floor), key, cfg,
            factor=jnp.float32(1.0),
        )[0]  # fmt: skip

    return jax.lax.map(one, keys, batch_size=100)


@jax.jit
def pulled(critic: Any, action: Any, weight: Any) -> Any:
    """∇ Σ weight · Q_i(s, a_k): a loss's gradient, by the chain rule from outside."""

    def total(critic: Any) -> Any:
        def one(net: Any) -> Any:
            return jax.vmap(lambda o, a: jax.vmap(lambda x: net(o, x)[0])(a))(
                batch().obs, action
            )

        return jnp.sum(weight * jax.vmap(one)(critic))

    return jax.grad(total)(critic)


@functools.cache
def proposed(form: str = "entropy") -> tuple[Any, Any, int]:
    """Actions and log densities from numpy: some for each source, or the policy's."""
    rng = np.random.default_rng(3)
    uniform = K if form == "entropy" else 0
    k = 3 * K if form == "entropy" else K
    action = np.float32(rng.uniform(-0.98, 0.98, (N, k, DIM)))
    log_mu = np.float32(rng.normal(size=(N, k)))
    return jnp.asarray(action), jnp.asarray(log_mu), uniform


Y = jnp.linspace(-2.0, 2.0, N)


def ask(
    cfg: Any, *, critic: Any = None, factor: float = 1.0, floor: Any = None,
    key: Any = KEY, data: Batch | None = None,
) -> Any:  # fmt: skip
    action, log_mu, _ = proposed(cfg.gap)
    return judged(
        start().critic if critic is None else critic, data or batch(), Y, action,
        log_mu, key, cfg, jnp.float32(factor), floor,
    )  # fmt: skip


def by_hand(
    form: str, weight: float, temp: float = 1.0, floor: Any = None, critic: Any = None
) -> tuple[float, np.ndarray, Any]:
    """(loss, gaps, gradient) of the critics, written out."""
    critic = start().critic if critic is None else critic
    action, log_mu, uniform = proposed(form)
    q_data = values(critic, batch().obs, batch().action[:, None])[..., 0]
    q = values(critic, batch().obs, action)
    free = np.ones(q.shape)
    if floor is not None:
        least = np.float64(floor)[None, :, None]
        free = np.where(np.arange(q.shape[-1]) < uniform, 1.0, q > least)
        q = np.where(free > 0, q, least)
    k = q.shape[-1]
    if form == "entropy":
        scores = q / temp - np.float64(log_mu)[None]
        soft = temp * (special.logsumexp(scores, axis=-1) - math.log(k))
        share = special.softmax(scores, axis=-1)
    elif form == "rho":
        soft = special.logsumexp(q, axis=-1) - math.log(k)
        share = special.softmax(q, axis=-1)
    else:
        soft, share = q.mean(-1), np.full(q.shape, 1.0 / k)
    data = 0.0 if form == "eq1" else 1.0
    gaps = (soft - data * q_data).mean(-1)
    error = q_data - np.float64(Y)
    loss = ((error**2).mean(-1) + weight * gaps).sum()
    at_data = (2.0 * error - weight * data) / N
    every = np.concatenate([at_data[..., None], weight * share * free / N], -1)
    actions = jnp.concatenate([batch().action[:, None], action], axis=1)
    return loss, gaps, pulled(critic, actions, jnp.asarray(every, jnp.float32))


def assert_same(left: Any, right: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def apart(left: Any, right: Any) -> float:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


# The defaults.


def test_the_defaults_are_the_authors() -> None:
    """N 10, weight 5 (no Lagrange), 1e-4 and 3e-4, three layers of 256."""
    cfg = cql.Config()
    assert (cfg.gap_samples, cfg.gap_weight, cfg.gap_target) == (10, 5.0, None)
    assert (cfg.actor_lr, cfg.lr, cfg.hidden) == (1e-4, 3e-4, (256, 256, 256))
    # Which gap, and no departure of softq's own unless it is asked for.
    assert (cfg.gap, cfg.gap_density, cfg.gap_gradient) == ("entropy", "own", "exact")
    assert (cfg.temp, cfg.gap_damping, cfg.bc_updates) == (1.0, 0.0, 0)
    assert (cfg.backup_entropy, cfg.max_backup) == (False, 0)


def test_by_default_actor_and_temperature_step_by_1e_4_and_critics_by_3e_4() -> None:
    """Adam's first step is the rate itself, whatever the gradient."""
    cfg = cast_knobs(cql.Config(**SIZES, bc_updates=2))  # compiled for others too
    state = start()
    after, _ = update(KEY, state, batch(), cfg)
    for part, rate in (("actor", 1e-4), ("critic", 3e-4), ("log_alpha", 1e-4)):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), getattr(after, part), getattr(state, part)
        )
        assert max(jax.tree.leaves(moved)) == pytest.approx(rate, rel=0.01), part
    assert after.log_weight == state.log_weight  # there is none to learn


# The limit.


def test_without_the_gap_and_with_the_entropy_three_updates_are_sacs() -> None:
    """So that naive offline SAC is CQL with weight 0."""
    cfg = config(gap_weight=0.0, backup_entropy=True, bc_updates=0)
    plain = cast_knobs(sac.Config(lr=1e-2, discount=0.9, hidden=(8,)))
    conservative = init(KEY, cfg)
    naive = jax.jit(lambda key: sac.init(key, SPEC, plain))(KEY)
    sac_update = jax.jit(sac.update)
    first = conservative
    for step in range(3):
        key = jax.random.key(step)
        conservative, _ = update(key, conservative, batch(), cfg)
        naive, _ = sac_update(key, naive, batch(), plain)
    for part in ("actor", "critic", "target", "log_alpha"):
        one, two = getattr(conservative, part), getattr(naive, part)
        assert_same(one, two, atol=1e-4)
        assert apart(getattr(first, part), one) > 2e-4, part


# The loss and its gradient.


@pytest.mark.parametrize(
    ("form", "temp"), [*((f, 1.0) for f in FORMS), ("entropy", 0.4)]
)
def test_the_loss_is_squared_error_plus_weighted_gap_of_each_critic_without_a_half(
    form: str, temp: float
) -> None:
    (loss, info), gradient = ask(config(gap=form, gap_weight=3.0, temp=temp))
    expected, gaps, slope = by_hand(form, 3.0, temp)
    assert abs(gaps[0] - gaps[1]) > 1e-3
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(info["gap"], gaps.mean(), rtol=1e-4, atol=1e-6)
    assert_same(gradient, slope)


@pytest.mark.parametrize(
    ("form", "temp"), [*((f, 1.0) for f in FORMS), ("entropy", 0.4)]
)
def test_the_expectation_and_effective_samples_told_are_those_of_the_gaps_weights(
    form: str, temp: float
) -> None:
    """E_μ[Q] with μ ∝ ρ exp Q for CQL(ρ), and 1/Σw², from 1 to all k of them."""
    (_, info), _ = ask(config(gap=form, gap_weight=3.0, temp=temp))
    action, log_mu, _ = proposed(form)
    q = values(start().critic, batch().obs, action)
    weighed = {"entropy": q / temp - np.float64(log_mu)[None], "rho": q}
    share = special.softmax(weighed.get(form, 0.0 * q), axis=-1)
    effective = 1.0 / (share**2).sum(-1)
    np.testing.assert_allclose(info["effective_samples"], effective.mean(), rtol=1e-4)
    expected = (share * q).sum(-1).mean()
    np.testing.assert_allclose(info["q_mu"], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("form", "draws"), [*((f, 1) for f in FORMS), ("entropy", 2)])
def test_a_sampled_gradient_leaves_the_loss_as_it_is(form: str, draws: int) -> None:
    shape = {"gap": form, "gap_weight": 3.0, "temp": 0.7 if form == "entropy" else 1.0}
    (exact, told), slope = ask(config(**shape))
    cfg = config(**shape, gap_gradient="sampled", gap_draws=draws)
    (loss, info), gradient = ask(cfg)
    np.testing.assert_allclose(loss, exact, rtol=1e-5)
    assert info.keys() == told.keys()
    assert_same(info, told)
    assert apart(gradient, slope) > 1e-2  # though its gradient is another


@functools.cache
def crowd() -> Any:
    """Many critics, so that z of a block hangs on many independent numbers."""
    make = jax.jit(
        lambda key: nets.ensemble(key, 32, lambda k: nets.Net(k, (3,), 1, (8,), DIM))
    )
    return jax.tree.map(lambda x: 2.0 * x, make(jax.random.key(5)))


CASES = [*((f, False) for f in FORMS), ("entropy", True)]


@pytest.mark.parametrize(("form", "floored"), CASES)
def test_a_sampled_gradient_is_the_exact_one_on_average(
    form: str, floored: bool
) -> None:
    keys, temp = 2_000, 0.7 if form == "entropy" else 1.0
    draws = 2 if form == "rho" else 1
    cfg = config(
        gap=form, gap_weight=3.0, temp=temp, gap_gradient="sampled", gap_draws=draws
    )
    action, log_mu, _ = proposed(form)
    floor = None
    if floored:  # above half of the policy's actions, and of the uniform ones
        middle = np.median(values(crowd(), batch().obs, action), axis=(0, 2))
        floor = jnp.asarray(middle, jnp.float32)
    drawn = many_gradients(
        crowd(), Y, action, log_mu, jax.random.split(KEY, keys), cfg, floor,
    )  # fmt: skip
    exact = by_hand(form, 3.0, temp, floor, crowd())[2]
    sizes, beyond, random = [], [], []
    for each, truth in zip(jax.tree.leaves(drawn), jax.tree.leaves(exact), strict=True):
        g, truth = np.float64(each), np.float64(truth)
        std = g.std(0)
        still = std < 1e-5  # a last bias takes +1 and −1, whatever is drawn
        np.testing.assert_allclose(g.mean(0)[still], truth[still], rtol=1e-4, atol=1e-5)
        random.append(float((~still).mean()))
        if not still.all():
            z = ((g.mean(0) - truth)[~still]) / (std[~still] / math.sqrt(keys))
            sizes.append(float(np.sqrt((z**2).mean())))
            beyond.extend(np.abs(z) > 3.0)
    assert min(random[:3]) > 0.5, random
    assert all(0.7 <= size <= 1.3 for size in sizes), sizes
    assert np.mean(beyond) < 0.01, sizes


@functools.cache
def wide() -> Any:
    """Critics with a layer in the middle, for whose product the precision is."""
    make = jax.jit(
        lambda key: nets.ensemble(key, 2, lambda k: nets.Net(k, (3,), 1, (64, 64), DIM))
    )
    return jax.tree.map(lambda x: 2.0 * x, make(jax.random.key(5)))


def test_scoring_in_bfloat16_is_close_and_leaves_the_squared_error_alone() -> None:
    """Only the gap is rounded: without its weight the gradient is the exact one."""
    half = {"gap_gradient": "sampled", "scoring": "bfloat16"}
    (_, told), _ = ask(config(), critic=wide())
    (_, info), _ = ask(config(**half), critic=wide())
    spread = np.ptp(values(wide(), batch().obs, proposed()[0]))
    assert abs(float(info["gap"] - told["gap"])) / spread < 2e-3
    np.testing.assert_allclose(info["critic_loss"], told["critic_loss"], rtol=1e-6)
    np.testing.assert_allclose(info["q"], told["q"], rtol=1e-5)
    _, exact = ask(config(gap_weight=0.0), critic=wide())
    _, found = ask(config(**half, gap_weight=0.0), critic=wide())
    assert_same(found, exact)


def test_the_gap_of_bfloat16_scores_is_float32s() -> None:
    """What rounding takes from log Σ exp is given back, to first order."""
    critic = jax.tree.map(lambda x: 3.0 * x, wide())
    (_, told), _ = ask(config(), critic=critic)
    half = config(gap_gradient="sampled", scoring="bfloat16", gap_draws=4)
    (_, info), _ = ask(half, critic=critic)
    action, log_mu, _ = proposed()
    rough = np.stack([
        nets.many(one, batch().obs, action, "bfloat16")[..., 0]
        for one in nets.members(critic)
    ])  # fmt: skip
    scores = np.float64(rough) - np.float64(log_mu)
    level = special.logsumexp(scores, axis=-1) - math.log(scores.shape[-1])
    data = values(critic, batch().obs, batch().action[:, None])[..., 0]
    uncorrected = (level - data).mean()
    missed = abs(uncorrected - float(told["gap"]))
    assert missed > 1e-3
    assert abs(float(info["gap"] - told["gap"])) < 0.2 * missed


def test_actions_are_judged_where_the_data_were_and_not_where_they_led() -> None:
    elsewhere = batch(next_obs=batch().next_obs + 1.0, reward=batch().reward + 1.0)
    for gradient in ("exact", "sampled"):
        cfg = config(gap_gradient=gradient)
        (one, _), here = ask(cfg)
        (two, _), there = ask(cfg, data=elsewhere)
        assert one == two
        assert apart(here, there) == 0.0
        moved = batch(obs=batch().obs + 1.0)
        assert abs(float(ask(cfg, data=moved)[0][1]["gap"] - one)) > 1e-3


# What the gap looks at.


@functools.partial(jax.jit, static_argnames=("k", "mixed"))
def three(key: Any, actor: Any, k: int, mixed: bool) -> Any:
    here, after = (sac.policy(actor, o) for o in (batch().obs, batch().next_obs))
    return proposals.three_sources(key, here, after, k, mixed)


@jax.jit
def offered(key: Any, actor: Any, cfg: Any) -> Any:
    return tuple(cql.propose(key, actor, batch(), cfg))


def test_each_third_has_the_density_of_what_it_was_drawn_from() -> None:
    """The last that of π(a'|s'), though Q is asked for at s."""
    actor = start().actor
    action, log_mu = (np.float64(x) for x in offered(KEY, actor, config())[:2])
    assert action.shape == (N, 3 * K, DIM)
    here, after = (gaussian(actor, o) for o in (batch().obs, batch().next_obs))
    np.testing.assert_allclose(log_mu[:, :K], -DIM * math.log(2.0), rtol=1e-6)
    own = log_density(action[:, K : 2 * K], *here)
    other = log_density(action[:, 2 * K :], *after)
    np.testing.assert_allclose(log_mu[:, K : 2 * K], own, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(log_mu[:, 2 * K :], other, rtol=1e-3, atol=1e-3)
    wrong = log_density(action[:, 2 * K :], *here)
    assert np.abs(wrong - other).max() > 0.05


def test_the_thirds_are_the_box_the_policy_here_and_the_policy_after() -> None:
    """A policy without noise shows where it was asked for."""
    actor = with_std(start().actor, -1e3)
    action = np.float64(offered(KEY, actor, config())[0])
    for part, obs in ((1, batch().obs), (2, batch().next_obs)):
        chosen = np.tanh(gaussian(actor, obs)[0])[:, None]
        third = action[:, part * K : (part + 1) * K]
        np.testing.assert_allclose(
            third, np.broadcast_to(chosen, third.shape), atol=1e-3
        )
    box = np.float64(three(KEY, actor, 200, False)[0])[:, :200]
    for dim in range(DIM):
        flat = box[..., dim].ravel()
        assert stats.kstest(flat, "uniform", args=(-1.0, 2.0)).pvalue > 1e-3
    assert len(np.unique(box)) > 0.99 * box.size  # every state draws its own


def test_the_policys_thirds_are_draws_and_not_its_middle() -> None:
    actor = start().actor
    action = np.float64(three(KEY, actor, 200, False)[0])
    for part, obs in ((1, batch().obs), (2, batch().next_obs)):
        mean, std = gaussian(actor, obs)
        third = action[:, part * 200 : (part + 1) * 200]
        noise = (np.arctanh(third) - mean[:, None]) / std[:, None]
        assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3


def test_a_mixture_gives_every_action_the_density_of_all_three() -> None:
    actor = start().actor
    mixed = config(gap_density="mixture")
    action, log_mu = (np.float64(x) for x in offered(KEY, actor, mixed)[:2])
    np.testing.assert_array_equal(action, offered(KEY, actor, config())[0])
    here, after = (gaussian(actor, o) for o in (batch().obs, batch().next_obs))
    parts = [log_density(action, *here), log_density(action, *after)]
    flat = np.full(parts[0].shape, -DIM * math.log(2.0))
    expected = special.logsumexp([flat, *parts], axis=0) - math.log(3.0)
    np.testing.assert_allclose(log_mu, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["eq2", "rho"])
def test_the_other_gaps_look_at_the_policys_own_actions_alone(form: str) -> None:
    actor = with_std(start().actor, -1e3)
    action, _ = offered(KEY, actor, config(gap=form))
    assert action.shape == (N, K, DIM)
    assert offered(KEY, actor, config())[0].shape == (N, 3 * K, DIM)
    chosen = np.tanh(gaussian(actor, batch().obs)[0])[:, None]
    expected = np.broadcast_to(chosen, action.shape)
    np.testing.assert_allclose(action, expected, atol=1e-3)


# The backup.


def target(key: Any = KEY, alpha: float = 0.5, actor: Any = None, **cfg: Any) -> Any:
    state = start()
    actor = state.actor if actor is None else actor
    knobs = jnp.float32(alpha), config(**cfg)
    return np.asarray(critic_target(state.target, actor, batch(), key, *knobs))


def backup(noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """Q'_i(s', a'_k) in numpy for noise (n, k, d), and r + γ(1 − d) max_k min_i."""
    mean, std = gaussian(start().actor, batch().next_obs)
    action = np.tanh(mean[:, None] + std[:, None] * np.float64(noise))
    q = values(start().target, batch().next_obs, action)
    going = 0.9 * (1.0 - np.float64(batch().terminated))
    return q, np.float64(batch().reward) + going * q.min(0).max(-1)


def test_the_next_value_has_no_entropy_unless_it_is_asked_for() -> None:
    np.testing.assert_array_equal(target(alpha=0.0), target(alpha=5.0))
    going = ~np.asarray(batch().terminated)
    with_it = [target(alpha=x, backup_entropy=True) for x in (0.0, 5.0)]
    assert (np.abs(with_it[0] - with_it[1])[going] > 1e-3).all()
    np.testing.assert_allclose(with_it[0], target(), rtol=1e-4, atol=1e-5)


def test_the_next_action_is_a_draw_at_which_the_smaller_target_counts() -> None:
    q, y = backup(jax.random.normal(KEY, (N, 1, DIM)))
    assert set(q.argmin(0).ravel()) == {0, 1}
    np.testing.assert_allclose(target(), y, rtol=1e-4, atol=1e-5)
    middle = backup(np.zeros((N, 1, DIM)))[1]
    going = ~np.asarray(batch().terminated)
    assert (np.abs(middle - target())[going] > 1e-4).all()
    assert (np.abs(target(jax.random.key(1)) - target())[going] > 1e-4).all()


def test_a_max_backup_takes_the_smaller_critic_and_then_the_best_action() -> None:
    q, y = backup(jax.random.normal(KEY, (N, 5, DIM)))
    found = target(max_backup=5)
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)
    going = 0.9 * (1.0 - np.float64(batch().terminated))
    wrong = np.float64(batch().reward) + going * q.max(-1).min(0)
    assert np.abs(wrong - found).max() > 1e-3  # the other order is another number


@pytest.mark.parametrize("max_backup", [0, 5])
def test_an_end_leaves_the_reward_alone_and_nothing_else_does(max_backup: int) -> None:
    """A time limit never appears in a batch: what did not terminate bootstraps."""
    found, data = target(max_backup=max_backup), batch()
    ended = np.asarray(data.terminated)
    np.testing.assert_array_equal(found[ended], data.reward[ended])
    assert (np.abs(found - data.reward)[~ended] > 1e-4).all()
    assert Batch._fields[3:] == ("next_obs", "terminated", "mc_return")


# Cal-QL.


def test_calql_without_known_returns_is_cql_and_with_them_it_is_floored() -> None:
    plain, told = update(KEY, start(), batch(), config())
    unknown, low, high = (
        calibrated_update(KEY, start(), batch(mc_return=jnp.full(N, x)), config())
        for x in (-jnp.inf, 200.0, 203.0)
    )
    assert_same(unknown, (plain, told))
    # All below the floor: it is what counts, and its height moves no critic.
    np.testing.assert_allclose(high[1]["gap"] - low[1]["gap"], 3.0, atol=1e-3)
    assert low[1]["gap"] > 150.0
    assert_same(low[0].critic_moments, high[0].critic_moments)
    assert apart(low[0].critic_moments.mean, plain.critic_moments.mean) > 1e-3
    assert calql.NEEDS == ("mc_return",)


@pytest.mark.parametrize("gradient", ["exact", "sampled"])
def test_a_floor_of_minus_infinity_leaves_loss_and_gradient(gradient: str) -> None:
    cfg = config(gap_gradient=gradient)
    assert_same(ask(cfg, floor=jnp.full(N, -jnp.inf)), ask(cfg))


@pytest.mark.parametrize("temp", [1.0, 0.5])
def test_below_the_floor_no_policy_action_is_pushed_and_uniform_ones_always(
    temp: float,
) -> None:
    """Both families of the policy; the floor comes before the densities."""
    action, _, uniform = proposed()
    q = values(start().critic, batch().obs, action)
    middle = np.median(q, axis=(0, 2))
    below = q < middle[None, :, None]
    for part in range(3):  # every family has actions on both sides
        assert 0.1 < below[..., part * K : (part + 1) * K].mean() < 0.9
    assert uniform == K
    floor = jnp.asarray(middle, jnp.float32)
    (loss, info), gradient = ask(config(gap_weight=3.0, temp=temp), floor=floor)
    expected, gaps, slope = by_hand("entropy", 3.0, temp, floor)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(info["gap"], gaps.mean(), rtol=1e-4)
    assert_same(gradient, slope)
    assert apart(slope, by_hand("entropy", 3.0, temp)[2]) > 1e-3


def test_below_the_floor_a_sampled_gradient_pushes_nothing_whatever_is_drawn() -> None:
    cfg = config(gap_weight=3.0, gap_gradient="sampled")
    floor = jnp.full(N, 200.0)  # whose share is then all there is
    slope = by_hand("entropy", 3.0, floor=floor)[2]
    for key in jax.random.split(KEY, 3):
        (_, info), gradient = ask(cfg, floor=floor, key=key)
        assert info["gap"] > 150.0
        assert_same(gradient, slope)


# The dual.


def test_the_weight_grows_above_its_target_and_shrinks_below_it() -> None:
    """By gap_weight · gap, not by the gap; Adam's first step is its rate."""
    shape = {"gap_weight": 2.0, "initial_weight": 1.5}
    gap = float(update(KEY, start(), batch(), config(**shape))[1]["gap"])
    state = start()._replace(log_weight=jnp.float32(math.log(1.5)))
    for aside, sign in ((-0.05, 1.0), (0.05, -1.0)):
        cfg = config(**shape, gap_target=2.0 * gap + aside)
        new, info = update(KEY, state, batch(), cfg)
        np.testing.assert_allclose(info["gap_factor"], 1.5, rtol=1e-5)
        moved = float(new.log_weight - state.log_weight)
        np.testing.assert_allclose(moved, sign * 1e-2, rtol=1e-2)
        first = new.weight_moments.mean / 0.1  # −α' (gap_weight · gap − target)
        np.testing.assert_allclose(first, 1.5 * aside, rtol=1e-2)
    assert abs(gap) > 0.1


def test_the_discrete_weight_grows_above_its_target_and_shrinks_below_it() -> None:
    shape = {"hidden": (8,), "lr": 1e-2, "gap_weight": 2.0, "initial_weight": 1.5}
    spec = Spec((3,), num_actions=4)
    data = batch(action=jnp.arange(N, dtype=jnp.int32) % 4)
    state = cql_discrete.init(KEY, spec, cql_discrete.Config(**shape))
    one = jax.jit(cql_discrete.update)
    wanted = cast_knobs(cql_discrete.Config(**shape, gap_target=0.0))
    gap = float(one(KEY, state, data, wanted)[1]["gap"])
    for aside, sign in ((-0.05, 1.0), (0.05, -1.0)):
        cfg = cast_knobs(cql_discrete.Config(**shape, gap_target=2.0 * gap + aside))
        new, info = one(KEY, state, data, cfg)
        np.testing.assert_allclose(info["gap_factor"], 1.5, rtol=1e-5)
        moved = float(new.log_weight - state.log_weight)
        np.testing.assert_allclose(moved, sign * 1e-2, rtol=1e-2)
        first = new.weight_moments.mean / 0.1  # −α' (gap_weight · gap − target)
        np.testing.assert_allclose(first, 1.5 * aside, rtol=1e-2)
    assert gap > 0.1


def test_a_weight_that_is_not_learned_stays() -> None:
    new, info = update(KEY, start(), batch(), config())
    assert new.log_weight == start().log_weight
    assert info["gap_factor"] == 1.0
    state = init(KEY, config(initial_weight=3.0))
    np.testing.assert_allclose(state.log_weight, math.log(3.0), rtol=1e-6)


def test_the_critics_pay_the_learned_weight_times_the_gap_and_no_target() -> None:
    state = start()._replace(log_weight=jnp.log(jnp.float32(2.5)))
    fixed, _ = update(KEY, state, batch(), config(gap_weight=3.0))
    for wanted in (-20.0, 20.0):
        cfg = config(gap_weight=1.2, gap_target=wanted)
        new, _ = update(KEY, state, batch(), cfg)
        assert_same(new.critic_moments, fixed.critic_moments)
    unpaid, _ = update(KEY, state, batch(), config(gap_weight=1.2))
    assert apart(unpaid.critic_moments.mean, fixed.critic_moments.mean) > 1e-3


@pytest.mark.parametrize("aside", [-0.4, 0.4])
def test_with_friction_they_pay_for_what_is_over_the_target_too(aside: float) -> None:
    """Twins that are alike have one gap, so that a fixed weight can say the same."""
    alike = jax.tree.map(lambda x: jnp.stack([x[0]] * 2), start().critic)
    state = start()._replace(critic=alike, log_weight=jnp.log(jnp.float32(2.5)))
    _, info = update(KEY, state, batch(), config(gap_weight=1.2))
    target = 1.2 * float(info["gap"]) - aside
    new, info = update(
        KEY, state, batch(), config(gap_weight=1.2, gap_target=target, gap_damping=0.5)
    )
    np.testing.assert_allclose(info["gap_factor"], 2.5, rtol=1e-6)
    paid = 1.2 * (2.5 + 0.5 * aside)
    fixed, _ = update(KEY, state, batch(), config(gap_weight=paid))
    assert_same(new.critic_moments, fixed.critic_moments)


@pytest.mark.parametrize(("wanted", "moved"), [(-50.0, 5e-3), (50.0, -1e-2)])
def test_the_learned_weight_stops_at_a_million_and_comes_down_from_there(
    wanted: float, moved: float
) -> None:
    """Adam's step would be 1e-2: up it is cut at the cap, down it is whole."""
    most = math.log(1e6)
    first = most - max(moved, 0.0)
    state = start()._replace(log_weight=jnp.float32(first))
    cfg = config(gap_target=wanted)
    new, info = update(KEY, state, batch(), cfg)
    np.testing.assert_allclose(info["gap_factor"], math.exp(first), rtol=1e-4)
    assert info["gap_target"] == wanted
    np.testing.assert_allclose(new.log_weight - first, moved, atol=1e-5)
    _, info = update(KEY, new, batch(), cfg)
    assert info["gap_factor"] < 1.0001e6
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(new))


@pytest.mark.parametrize("wanted", [4.5, 6.5])
def test_a_learned_weight_brings_the_gap_to_its_target(wanted: float) -> None:
    """Data all over the box, so that the gap is log 2 at the least, 1.7 unpaid for."""
    rates = {"lr": 3e-3, "actor_lr": 3e-3, "hidden": (32,), "gap_density": "mixture"}
    cfg = config(**rates, gap_weight=5.0, initial_weight=0.2, gap_target=wanted)
    gap, factor = settled(cfg)
    assert 0.05 < factor < 1.0
    np.testing.assert_allclose(gap, wanted, rtol=0.05)


@jax.jit
def settled(cfg: Any) -> Any:
    """gap_weight · gap and α' after 1,500 updates on one batch of 1-D actions."""
    spec = Spec((3,), "float32", (-1.0,), (1.0,))
    obs = jnp.repeat(batch().obs[:2], 16, axis=0)
    action = jnp.tile(jnp.linspace(-1.0, 1.0, 16), 2)
    reward = jnp.repeat(jnp.asarray([3.0, -2.0]), 16) * action
    data = Batch(obs, action[:, None], reward, obs, jnp.ones(32, bool))

    def one(state: Any, key: Any) -> Any:
        state, info = cql.update(key, state, data, cfg)
        return state, (cfg.gap_weight * info["gap"], info["gap_factor"])

    state = cql.init(jax.random.key(0), spec, cfg)
    keys = jax.random.split(KEY, 1_500)
    _, (gap, factor) = jax.lax.scan(one, state, keys)
    return gap[-300:].mean(), factor[-1]


# The warm start.


@jax.jit
def copying(actor: Any, alpha: Any, key: Any) -> Any:
    """∇ E[α log π(a|s) − log π(a_data|s)]."""

    def loss(actor: Any) -> Any:
        dist = sac.policy(actor, batch().obs)
        own = tanh_normal.sample(key, *dist)[2]
        shown = tanh_normal.log_prob(jnp.arctanh(batch().action), *dist)
        return jnp.mean(alpha * own - shown)

    return jax.grad(loss)(actor)


climbing = jax.jit(jax.grad(sac.actor_loss, has_aux=True))


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_in_the_warm_start_the_actor_copies_the_data_and_then_climbs(done: int) -> None:
    cfg, log_alpha = config(), jnp.log(jnp.float32(0.3))
    state = start()._replace(updates=jnp.int32(done), log_alpha=log_alpha)
    new, _ = update(KEY, state, batch(), cfg)
    gradient = jax.tree.map(lambda m: m / 0.1, new.actor_moments.mean)
    actor_key, alpha = jax.random.split(KEY)[1], jnp.float32(0.3)
    copied = copying(state.actor, alpha, actor_key)
    climbed, _ = climbing(state.actor, new.critic, batch(), actor_key, alpha=alpha)
    assert apart(copied, climbed) > 1e-2
    assert_same(gradient, copied if done < 2 else climbed)
    other, _ = update(KEY, state._replace(critic=state.target), batch(), cfg)
    reached = apart(new.actor_moments.mean, other.actor_moments.mean)
    assert (reached > 1e-4) == (done >= 2)  # whether Q reaches the actor
    if done < 2:
        assert reached == 0.0
