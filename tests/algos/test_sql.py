"""Soft Q-learning against quadrature, and against Stein directions taken apart."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special

from softq.algos import sql
from softq.ops import cells, svgd, tanh_normal
from softq.types import Batch, SoftqError, Spec, cast_knobs

N = 6
KEY = jax.random.key(7)


def config(**changes: Any) -> sql.Config:
    return cast_knobs(sql.Config(**{"hidden": (8, 8), "alpha": 0.5, **changes}))


@functools.cache
def start(dim: int = 1, twin: bool = False) -> sql.State:
    """Critics that are far from flat, and a target that is another one."""
    spec, cfg = Spec((3,), "float32", (-1.0,) * dim, (1.0,) * dim), config(twin=twin)
    one, two = (sql.init(jax.random.key(k), spec, cfg) for k in (0, 1))
    louder = jax.tree.map(lambda w: 2.5 * w, (one.critic, two.critic))
    return one._replace(critic=louder[0], target=louder[1])


@functools.cache
def batch(dim: int = 1) -> Batch:
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.asarray(rng.uniform(-1, 1, (N, dim)), jnp.float32),
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def q_by_hand(critic: Any, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """min_i Q_i(s, a) of one state and several actions, in float64."""
    members = len(critic.mlp.layers[0].bias)
    x = np.concatenate([np.tile(np.float64(obs), (len(actions), 1)), actions], -1)
    every = [
        oracles.mlp(x, [(one.weight[i], one.bias[i]) for one in critic.mlp.layers])
        for i in range(members)
    ]
    return np.min(every, axis=0)[:, 0]


def particle(sampler: Any, obs: jax.Array, noise: jax.Array) -> jax.Array:
    """One u, by the network as it is called for a single example."""
    return noise + sampler(obs, noise)


def soft_values(critic: Any, obs: Any, dim: int, alpha: float) -> np.ndarray:
    nodes, weights = oracles.box_grid(dim, 24, 6)
    out = []
    for one in np.asarray(obs):
        q = q_by_hand(critic, one, nodes)
        out.append(q.max() + alpha * np.log(weights @ np.exp((q - q.max()) / alpha)))
    return np.array(out)


def test_by_default_64_proposals_five_bandwidths_and_one_critic() -> None:
    """Correctness: K in section 2, the kernel and the critic in section 6."""
    cfg = sql.Config()
    assert (cfg.value_samples, cfg.proposal) == (64, "uniform")
    assert not cfg.single_bandwidth
    assert svgd.SCALES == (1.0, 0.3, 0.1, 0.03, 0.01)
    assert not cfg.twin
    spec = Spec((3,), "float32", (-1.0,), (1.0,))

    def shapes(obs: jax.Array) -> Any:
        state = sql.init(KEY, spec, cfg)
        return state.critic, sql.propose(KEY, state.sampler, obs, cfg)

    critic, (actions, log_density) = jax.eval_shape(shapes, batch().obs)
    assert {len(leaf.shape) and leaf.shape[0] for leaf in jax.tree.leaves(critic)} == {
        1
    }
    assert (actions.shape, log_density.shape) == ((N, 64, 1), (N, 64))


@pytest.mark.parametrize("proposal", ["uniform", "mixture"])
@pytest.mark.parametrize(("dim", "twin"), [(1, False), (2, True)])
def test_the_target_bootstraps_from_the_soft_value(
    dim: int, twin: bool, proposal: Any
) -> None:
    state, data = start(dim, twin), batch(dim)
    cfg = config(value_samples=8_192, proposal=proposal, discount=0.9, twin=twin)
    y, effective = sql.critic_target(KEY, state.target, state.sampler, data, cfg)
    v = soft_values(state.target, data.next_obs, dim, 0.5)
    expected = np.float64(data.reward) + np.where(data.terminated, 0.0, 0.9 * v)
    np.testing.assert_allclose(y, expected, atol=0.02)
    np.testing.assert_array_equal(y[data.terminated], data.reward[data.terminated])
    assert 1.0 < float(effective) <= 8_192.0


def test_an_update_tells_the_effective_samples_of_its_own_target() -> None:
    """(Σ w)²/Σ w² with w = exp(Q'/α)/q, averaged over states."""
    state, data = start(), batch()
    cfg = config(value_samples=16, particles=8, proposal="mixture")
    told = jax.jit(lambda *x: sql.update(*x)[1]["effective_samples"])
    key = jax.random.split(KEY)[0]  # the value's; the other is the sampler's
    action, log_q = jax.jit(sql.propose)(key, state.sampler, data.next_obs, cfg)
    found = []
    for obs, a, log_density in zip(data.next_obs, action, log_q, strict=True):
        q = q_by_hand(state.target, np.asarray(obs), np.float64(a))
        w = np.exp(q / 0.5 - np.float64(log_density))
        found.append(w.sum() ** 2 / (w**2).sum())
    assert 1.0 < min(found) < max(found) < 15.0
    effective = told(KEY, state, data, cfg)
    np.testing.assert_allclose(effective, np.mean(found), rtol=1e-3)


def test_the_papers_reward_scale_is_1_over_the_temperature() -> None:
    """30 (HalfCheetah's) there is α = 1/30 here.

    There r and Q are 30 times ours, α is 1 and V(s') = log Σ_k exp Q(s', a_k) − log K +
    d log 2; here the reward is untouched.
    """
    scale, state, data = 30.0, start(), batch()
    cfg = config(alpha=1 / scale, value_samples=16, discount=0.9)
    y, _ = sql.critic_target(KEY, state.target, state.sampler, data, cfg)
    action, _ = sql.propose(KEY, state.sampler, data.next_obs, cfg)
    q = scale * np.float64(sql.q_values(state.target, data.next_obs, action))
    v = special.logsumexp(q, axis=-1) - np.log(16) + np.log(2)
    theirs = scale * data.reward + np.where(data.terminated, 0.0, 0.9 * v)
    np.testing.assert_allclose(scale * y, theirs, rtol=1e-4, atol=1e-4)


def test_every_state_draws_proposals_of_its_own() -> None:
    state, data = start(), batch()
    alike = data._replace(
        next_obs=jnp.broadcast_to(data.next_obs[:1], data.next_obs.shape),
        reward=jnp.zeros(N), terminated=jnp.zeros(N, bool),
    )  # fmt: skip
    y, _ = sql.critic_target(
        KEY, state.target, state.sampler, alike, config(value_samples=4)
    )
    assert len(np.unique(y)) == N


def test_the_critic_loss_is_the_squared_error() -> None:
    state, data, y = start(2, True), batch(2), jnp.linspace(-2.0, 2.0, N)
    loss, info = sql.critic_loss(state.critic, data, y)
    total = 0.0
    for i in range(2):
        member = jax.tree.map(lambda w, i=i: w[i : i + 1], state.critic)
        q = [
            q_by_hand(member, o, np.float64(a)[None])[0]
            for o, a in zip(np.asarray(data.obs), np.asarray(data.action), strict=True)
        ]
        total += ((np.array(q) - np.float64(y)) ** 2).mean()
    np.testing.assert_allclose(loss, total, rtol=1e-4)
    assert np.isfinite(info["q"])


@pytest.mark.parametrize("single", [False, True])
def test_the_samplers_gradient_is_the_stein_direction(single: bool) -> None:
    """Minus the mean over states and updated particles of ∂u_j/∂φ · Δ_j."""
    state, data, dim = start(2), batch(2), 2
    cfg = config(particles=8, single_bandwidth=single)

    energy = functools.partial(sql.q_values, state.critic)
    found, info = jax.grad(sql.sampler_loss, has_aux=True)(
        state.sampler, energy, data.obs, KEY, cfg
    )
    total = jax.tree.map(jnp.zeros_like, state.sampler)
    noises = jax.random.normal(KEY, (2, N, 4, dim))
    assert not np.array_equal(noises[0], noises[1])
    misfits = []
    for noise, obs in zip(jnp.moveaxis(noises, 1, 0), data.obs, strict=True):
        fixed = jnp.stack([particle(state.sampler, obs, x) for x in noise[0]])
        updated = jnp.stack([particle(state.sampler, obs, x) for x in noise[1]])

        def log_p(u: jax.Array, obs: jax.Array = obs) -> jax.Array:
            a = jnp.tanh(u)
            one = jax.tree.map(lambda w: w[0], state.critic)
            # Q/α, and the density of u instead of that of a.
            return one(obs, a)[0] / 0.5 + tanh_normal.log_det_tanh(u)

        score = jnp.stack([jax.grad(log_p)(u) for u in fixed])
        h = svgd.median_bandwidth(fixed, updated)
        misfits.append(svgd.stein_discrepancy(fixed, score, h))
        move = svgd.direction(fixed, score, updated, h if single else None)
        for x, delta in zip(noise[1], move, strict=True):
            _, back = jax.vjp(
                lambda net, obs=obs, x=x: particle(net, obs, x), state.sampler
            )
            total = jax.tree.map(lambda t, g: t - g / (4 * N), total, back(delta)[0])
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(info["stein_discrepancy"], np.mean(misfits), rtol=1e-3)


def test_an_untrained_sampler_covers_the_box() -> None:
    state = start(2)
    many = jnp.broadcast_to(batch(2).obs[:1], (4_000, 3))
    action = sql.act(KEY, state, many, config(), True)
    share = ((np.asarray(action) > 0) * [1, 2]).sum(-1)
    assert (np.bincount(share, minlength=4) / 4_000 > 0.1).all()
    assert 0.7 < float(jnp.arctanh(action).std()) < 1.4


def test_a_greedy_action_is_the_best_of_the_same_draws() -> None:
    state, data = start(2), batch(2)
    action = np.float64(sql.act(KEY, state, data.obs, config(), False))
    noise = jax.random.normal(jax.random.key(0), (sql.BEST_OF, 2))
    for obs, chosen in zip(data.obs, action, strict=True):
        u = jnp.stack([particle(state.sampler, obs, x) for x in noise])
        all_ = np.tanh(np.float64(u))
        q = q_by_hand(state.critic, np.asarray(obs), all_)
        np.testing.assert_allclose(chosen, all_[q.argmax()], atol=1e-5)


def test_the_entropy_is_that_of_the_boltzmann_policy() -> None:
    state, data = start(), batch()
    found = sql.entropy(KEY, state, data.obs, config(value_samples=16_384))
    nodes, weights = oracles.box_grid(1, 24, 6)
    for obs, nats in zip(np.asarray(data.obs), found, strict=True):
        q = q_by_hand(state.critic, obs, nodes) / 0.5
        p = np.exp(q) / (weights @ np.exp(q))
        assert float(nats) == pytest.approx(-(weights * p) @ np.log(p), abs=0.02)


def test_a_sampler_of_a_constant_energy_becomes_uniform() -> None:
    """Trained alone, against a Q of 0: a standard deviation of 1/√3."""
    cfg = config(hidden=(32, 32), particles=32)
    spec = Spec((3,), "float32", (-1.0,), (1.0,))
    sampler = sql.init(KEY, spec, cfg).sampler
    obs = batch().obs

    def flat(obs: jax.Array, action: jax.Array) -> jax.Array:
        return 0.0 * action[..., 0]

    def step(carry: Any, inputs: Any) -> Any:
        net, moments = carry
        key, rate = inputs
        net, moments, _ = sql.descend(
            sql.sampler_loss, net, moments, rate, flat, obs, key, cfg
        )
        return (net, moments), None

    keys = jax.random.split(KEY, 3_000)
    rates = jnp.linspace(3e-3, 0.0, 3_000)  # the step decays
    (net, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, (keys, rates)))(
        (sampler, sql.adam(sampler))
    )
    noise = jax.random.normal(KEY, (1, 100_000, 1))
    u = sql.particles(net, obs[:1], noise)
    assert float(jnp.tanh(u).std()) == pytest.approx(0.577, abs=0.015)


def test_langevin_steps_draw_from_the_boltzmann_policy() -> None:
    """The untrained network is far from exp(Q/α)/Z, and the chains are not."""
    state, obs = start(), batch().obs[:2]
    cfg = config(alpha=0.05, acting="langevin", langevin_steps=200)
    chains = sql.quality(KEY, state, obs, cfg)
    network = sql.quality(KEY, state, obs, config(alpha=0.05))
    assert float(chains["total_variation"]) < 0.06 < float(network["total_variation"])
    assert float(chains["kl"]) < 0.02 < float(network["kl"])


@pytest.mark.parametrize("dim", [1, 2])
def test_the_quality_is_measured_against_the_density_on_cells(dim: int) -> None:
    """Total variation and KL by hand, from the same draws, in float64."""
    state, data, cfg = start(dim), batch(dim), config()
    obs = data.obs[:2]
    found = sql.quality(KEY, state, obs, cfg)
    action = np.float64(sql.draw(KEY, state, obs, cfg, sql.DRAWS))
    side = cells.SIDES[dim]
    fine = (np.arange(side * 4) + 0.5) / (side * 4) * 2 - 1
    nodes = np.stack(np.meshgrid(*[fine] * dim, indexing="ij"), -1).reshape(-1, dim)
    edges = [np.linspace(-1, 1, side + 1)] * dim
    variation, kl = [], []
    for one, drawn in zip(np.asarray(obs), action, strict=True):
        q = q_by_hand(state.critic, one, nodes) / 0.5
        p, _ = np.histogramdd(nodes, edges, weights=np.exp(q - q.max()))
        p = p / p.sum()
        share = np.histogramdd(drawn, edges)[0] / len(drawn)
        variation.append(abs(share - p).sum() / 2)
        seen = share > 0
        kl.append((share[seen] * np.log(share[seen] / p[seen])).sum())
    assert float(found["total_variation"]) == pytest.approx(
        np.mean(variation), abs=2e-3
    )
    assert float(found["kl"]) == pytest.approx(np.mean(kl), abs=2e-3)


def test_no_grid_is_laid_over_three_dimensions() -> None:
    assert sql.quality(KEY, start(3), batch(3).obs, config()) == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"particles": 1}, "4 or more"), ({"alpha": 0.0}, "more than zero")],
)
def test_what_cannot_be_meant_is_refused(changes: Any, says: str) -> None:
    with pytest.raises(SoftqError, match=says):
        sql.Config(**changes)
