"""BC, TD3+BC and IQL against their equations, and where the answer is known."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from softq.algos import bc, bc_discrete, iql, sac, td3_bc
from softq.ops import td
from softq.types import Batch, Spec, cast_knobs

N, DIM = 12, 2
KEY = jax.random.key(7)
SPEC = Spec((3,), "float32", (-1.0,) * DIM, (1.0,) * DIM)
ONE = Spec((1,), "float32", (-1.0,), (1.0,))


@functools.cache
def batch() -> Batch:
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.asarray(rng.uniform(-0.9, 0.9, (N, DIM)), jnp.float32),
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def in_one_state(action: Any, reward: Any = None) -> Batch:
    """Transitions that all start at the same observation, and end."""
    n = len(action)
    obs = jnp.ones((n, 1))
    reward = jnp.zeros(n) if reward is None else jnp.asarray(reward, jnp.float32)
    return Batch(obs, jnp.asarray(action), reward, obs, jnp.ones(n, bool))


def learned(module: Any, cfg: Any, spec: Spec, data: Batch, updates: int) -> Any:
    """The state after so many updates on one batch."""

    @jax.jit
    def run(cfg: Any) -> Any:
        def one(state: Any, key: Any) -> Any:
            return module.update(key, state, data, cfg)[0], None

        keys = jax.random.split(KEY, updates)
        return jax.lax.scan(one, module.init(KEY, spec, cfg), keys)[0]

    return run(cast_knobs(cfg))


def net(network: Any, x: Any) -> np.ndarray:
    return oracles.mlp(x, [(one.weight, one.bias) for one in network.mlp.layers])


def twins(critic: Any, obs: Any, action: Any) -> np.ndarray:
    x = np.concatenate([np.float64(obs), np.float64(action)], -1)
    return np.stack(
        [net(jax.tree.map(lambda w, i=i: w[i], critic), x)[:, 0] for i in range(2)]
    )


def level(critic: Any, obs: Any, action: Any) -> Any:
    """The twins with last biases that make each take turns as the smaller."""
    mean = jnp.asarray(twins(critic, obs, action).mean(1, keepdims=True), jnp.float32)
    last = critic.mlp.layers[-1].bias - mean
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, critic, last)


def assert_same(left: Any, right: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def equal(left: Any, right: Any) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def slopes(moments: Any) -> Any:
    """The gradient that a first Adam step saw."""
    return jax.tree.map(lambda m: m / (1.0 - 0.9), moments.mean)


# Behaviour cloning.


def test_the_likeliest_policy_has_the_datas_mean_and_spread() -> None:
    noise = stats.norm.ppf((np.arange(256) + 0.5) / 256)
    u = np.stack([0.6 + 0.3 * noise, -0.4 + 0.8 * noise[::-1]], -1)
    data = in_one_state(np.float32(np.tanh(u)))
    spec = Spec((1,), "float32", (-1.0,) * 2, (1.0,) * 2)
    state = learned(bc, bc.Config(lr=1e-2, hidden=(8,)), spec, data, 1_000)
    mean, log_std = sac.policy(state.actor, data.obs[:1])
    np.testing.assert_allclose(mean[0], [0.6, -0.4], rtol=0.03)
    np.testing.assert_allclose(np.exp(log_std[0]), [0.3, 0.8], rtol=0.03)
    greedy = bc.act(KEY, state, data.obs[:1], bc.Config(), False)
    np.testing.assert_allclose(greedy[0], np.tanh([0.6, -0.4]), rtol=0.03)


def test_the_likelihood_is_that_of_the_actions_and_not_of_their_atanh() -> None:
    state = jax.jit(lambda key: bc.init(key, SPEC, bc.Config(hidden=(8,))))(KEY)
    mean, raw = np.split(net(state.actor, batch().obs), 2, axis=-1)
    std = np.exp(-10.0 + np.logaddexp(0.0, 12.0 - np.logaddexp(0.0, 2.0 - raw)))
    a = np.float64(batch().action)
    logp = stats.norm.logpdf(np.arctanh(a), mean, std) - np.log1p(-(a**2))
    loss, _ = jax.jit(bc.likelihood_loss)(state.actor, batch())
    np.testing.assert_allclose(loss, -logp.sum(-1).mean(), rtol=1e-4)


def test_the_squared_errors_median_is_the_datas_mean() -> None:
    action = np.float32([[0.9], [0.95], [0.2], [-0.7]])
    cfg = bc.Config(lr=1e-2, loss="mse", hidden=(8,))
    state = learned(bc, cfg, ONE, in_one_state(action), 1_000)
    greedy = bc.act(KEY, state, jnp.ones((1, 1)), cfg, False)
    np.testing.assert_allclose(greedy, [[action.mean()]], atol=2e-3)
    middle = float(np.tanh(np.arctanh(np.float64(action)).mean()))
    assert abs(middle - action.mean()) > 0.1  # the middle in u is another
    slope = jax.grad(bc.squared_loss, has_aux=True)(state.actor, in_one_state(action))
    np.testing.assert_array_equal(slope[0].mlp.layers[-1].bias[1], 0.0)  # of log σ


@pytest.mark.parametrize("loss", ["likelihood", "mse"])
def test_data_at_the_edge_of_the_box_stay_finite(loss: Any) -> None:
    action = np.float32([[1.0], [-1.0], [1.0], [0.3]])
    cfg = bc.Config(lr=1e-2, loss=loss, hidden=(8,))
    data = in_one_state(action)
    state = learned(bc, cfg, ONE, data, 50)
    told = bc.value(state, data.obs, data.action, cfg)
    assert all(np.isfinite(x).all() for x in (*jax.tree.leaves(state), told))


def test_the_likeliest_softmax_has_the_datas_frequencies() -> None:
    action = jnp.asarray([2, 2, 0, 2, 1, 0, 2, 2, 0, 2], jnp.int32)
    spec = Spec((1,), num_actions=4)
    cfg = bc_discrete.Config(lr=2e-2, hidden=(8,))
    data = in_one_state(action)
    state = learned(bc_discrete, cfg, spec, data, 1_500)
    every = jnp.arange(4, dtype=jnp.int32)
    log_p = bc_discrete.value(state, jnp.ones((4, 1)), every, cfg)
    np.testing.assert_allclose(np.exp(log_p), [0.3, 0.1, 0.6, 0.0], atol=0.01)
    assert bc_discrete.act(KEY, state, jnp.ones((1, 1)), cfg, False) == 2
    many = bc_discrete.act(KEY, state, jnp.ones((2_000, 1)), cfg, True)
    shares = np.bincount(many, minlength=4) / 2_000
    np.testing.assert_allclose(shares, [0.3, 0.1, 0.6, 0.0], atol=0.04)


# TD3+BC.


def td3(**changes: Any) -> td3_bc.Config:
    rates = {"lr": 1e-2, "hidden": (8,), "discount": 0.9, "actor_period": 3}
    return cast_knobs(td3_bc.Config(**{**rates, **changes}))


td3_update = jax.jit(td3_bc.update)
td3_target = jax.jit(td3_bc.critic_target)
td3_slope = jax.jit(jax.grad(td3_bc.actor_loss, has_aux=True))
critic_slope = jax.jit(jax.grad(sac.critic_loss, has_aux=True))


@functools.cache
def td3_start() -> td3_bc.State:
    """Targets that are other networks; one of the actions is near its end."""
    init = jax.jit(lambda key: td3_bc.init(key, SPEC, td3()))
    one, two = (init(jax.random.key(k)) for k in (0, 1))
    data, last = batch(), two.actor_target.mlp.layers[-1].bias
    near = eqx.tree_at(
        lambda net: net.mlp.layers[-1].bias, two.actor_target, last.at[0].add(1.5)
    )
    target = jax.tree.map(lambda x: 2.0 * x, two.target)
    return one._replace(
        critic=level(one.critic, data.obs, data.action),
        target=level(target, data.next_obs, data.action),
        actor_target=near,
    )


def smoothed(noise: float, clip: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(noise as clipped, a' before its own clip, Q'(s', a')) in numpy."""
    state, data = td3_start(), batch()
    drawn = np.float64(noise) * np.float64(jax.random.normal(KEY, (N, DIM)))
    added = np.clip(drawn, -clip, clip)
    action = np.tanh(net(state.actor_target, data.next_obs)) + added
    q = twins(state.target, data.next_obs, np.clip(action, -1.0, 1.0))
    return added, action, q


@pytest.mark.parametrize(("noise", "clip"), [(0.0, 0.5), (0.4, 0.5), (1e4, 0.3)])
def test_the_smoothed_target_is_the_smaller_twin_at_a_clipped_action(
    noise: float, clip: float
) -> None:
    """Noise within ±clip, the action within ±1; the last: nothing but ±clip."""
    state, data = td3_start(), batch()
    added, action, q = smoothed(noise, clip)
    assert set(q.argmin(0)) == {0, 1}
    if noise > 0.0:
        assert (np.abs(added) == clip).any()
        assert (np.abs(action) > 1.0).any()
    going = 0.9 * (1.0 - np.float64(data.terminated))
    expected = np.float64(data.reward) + going * q.min(0)
    cfg = td3(target_noise=noise, target_clip=clip)
    y = np.asarray(td3_target(state.target, state.actor_target, data, KEY, cfg))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    ended = np.asarray(data.terminated)
    np.testing.assert_array_equal(y[ended], np.asarray(data.reward)[ended])
    other = td3_target(state.target, state.actor_target, data, jax.random.key(1), cfg)
    assert (np.abs(other - y)[~ended] > 1e-4).any() == (noise > 0.0)


def test_q_counts_by_its_size_which_is_not_differentiated() -> None:
    """λ = q_weight/mean|Q_1|, a number; the distance is a mean over dimensions too."""
    actor, data = td3_start().actor, batch()
    action = np.tanh(net(actor, data.obs))
    critic = level(td3_start().critic, data.obs, action)
    up = jnp.float32(0.7 * twins(critic, data.obs, action)[0].std())
    critic = eqx.tree_at(
        lambda net: net.mlp.layers[-1].bias, critic, replace_fn=up.__add__
    )

    def parts(actor: Any) -> Any:
        action = jnp.tanh(jax.vmap(actor)(data.obs))
        first = jax.tree.map(lambda w: w[0], critic)
        q = jax.vmap(lambda o, a: first(o, a)[0])(data.obs, action)
        return jnp.sum((action - data.action) ** 2) / (N * DIM), q

    def by_hand(actor: Any, scale: Any) -> Any:
        distance, q = parts(actor)
        return distance - scale * jnp.mean(q)

    def trap(actor: Any) -> Any:
        distance, q = parts(actor)
        return distance - 2.0 * jnp.mean(q) / jnp.mean(jnp.abs(q))

    q = twins(critic, data.obs, action)[0]
    assert 0.0 < (q > 0).mean() < 1.0  # where mean|Q| is not |mean Q|
    scale = jnp.float32(2.0 / np.abs(q).mean())
    found, info = td3_slope(actor, critic, data, q_weight=jnp.float32(2.0))
    assert_same(found, jax.jit(jax.grad(by_hand))(actor, scale))
    wrong = jax.tree.leaves(jax.jit(jax.grad(trap))(actor))
    pairs = zip(jax.tree.leaves(found), wrong, strict=True)
    assert max(float(np.abs(a - b).max()) for a, b in pairs) > 1e-2
    distance = ((action - np.float64(data.action)) ** 2).mean()
    np.testing.assert_allclose(info["distance"], distance, rtol=1e-4)
    loss = distance - float(scale) * q.mean()
    np.testing.assert_allclose(info["actor_loss"], loss, rtol=1e-4, atol=1e-5)


def test_actor_and_targets_move_at_every_third_update_and_adam_with_them() -> None:
    cfg, state = td3(polyak=0.3, q_weight=1.5), td3_start()
    delayed = ("actor", "actor_moments", "actor_target", "target")
    for step in range(1, 7):
        new, _ = td3_update(jax.random.key(step), state, batch(), cfg)
        assert not equal(new.critic, state.critic)
        for part in delayed:
            moved = not equal(getattr(new, part), getattr(state, part))
            assert moved == (step % 3 == 0), (step, part)
        if step == 3:  # against the newest critic, and towards the newest nets
            weight = jnp.float32(1.5)
            found, _ = td3_slope(state.actor, new.critic, batch(), q_weight=weight)
            assert_same(slopes(new.actor_moments), found)
            for name, online in (("actor_target", new.actor), ("target", new.critic)):
                expected = jax.tree.map(
                    lambda t, o: 0.7 * t + 0.3 * o, getattr(state, name), online
                )
                assert_same(getattr(new, name), expected)
        state = new
    assert int(state.actor_moments.steps) == 2
    assert int(state.critic_moments.steps) == int(state.updates) == 6


def test_the_critics_meet_the_target_of_both_targets() -> None:
    state, cfg = td3_start(), td3()
    new, _ = td3_update(KEY, state, batch(), cfg)
    y = td3_target(state.target, state.actor_target, batch(), KEY, cfg)
    found = critic_slope(state.critic, batch(), y)
    assert_same(slopes(new.critic_moments), found[0])


def test_td3_bc_wants_its_observations_normalised() -> None:
    assert td3_bc.NORMALIZES is True


# IQL.


def test_the_expectile_loss_weighs_either_side_by_hand() -> None:
    error = jnp.asarray([2.0, -2.0, 0.5, 0.0, -1.0])
    for tau in (0.5, 0.7, 0.9):
        expected = [4 * tau, 4 * (1 - tau), 0.25 * tau, 0.0, 1 - tau]
        found = td.expectile_loss(error, jnp.float32(tau))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.95])
def test_the_expectile_loss_is_least_at_the_expectile(tau: float) -> None:
    sample = np.random.default_rng(0).gamma(2.0, size=200)
    least = stats.expectile(sample, alpha=tau)
    assert tau == 0.5 or least - sample.mean() > 0.3

    def loss(v: Any) -> Any:
        return jnp.mean(td.expectile_loss(jnp.asarray(sample, jnp.float32) - v, tau))

    slope = jax.jit(jax.grad(loss))
    np.testing.assert_allclose(slope(jnp.float32(least)), 0.0, atol=1e-5)
    assert slope(jnp.float32(least - 0.01)) < -1e-3
    assert slope(jnp.float32(least + 0.01)) > 1e-3


def implicit(**changes: Any) -> iql.Config:
    rates = {"lr": 1e-2, "hidden": (8,), "discount": 0.9, "expectile": 0.8}
    return cast_knobs(iql.Config(**{**rates, **changes}))


iql_init = jax.jit(lambda key: iql.init(key, SPEC, implicit()))
iql_update = jax.jit(iql.update)


@functools.cache
def iql_start() -> iql.State:
    one, two = (iql_init(jax.random.key(k)) for k in (0, 1))
    data = batch()
    target = level(jax.tree.map(lambda x: 2.0 * x, two.target), data.obs, data.action)
    return one._replace(critic=level(one.critic, data.obs, data.action), target=target)


def likelihood(actor: Any, data: Batch) -> Any:
    """log π(a|s), written out in JAX."""
    mean, raw = jnp.split(jax.vmap(actor)(data.obs), 2, axis=-1)
    log_std = -10.0 + jnp.logaddexp(0.0, 12.0 - jnp.logaddexp(0.0, 2.0 - raw))
    z = (jnp.arctanh(data.action) - mean) / jnp.exp(log_std)
    each = -0.5 * z**2 - log_std - jnp.log1p(-(data.action**2))
    return jnp.sum(each - 0.5 * math.log(2.0 * math.pi), axis=-1)


@jax.jit
def weighed(actor: Any, weight: Any) -> Any:
    """(loss, gradient) of −E[weight · log π(a|s)]."""
    loss = lambda net: -jnp.mean(weight * likelihood(net, batch()))  # noqa: E731
    return jax.value_and_grad(loss)(actor)


def test_a_transition_counts_as_its_advantage_says_but_at_most_100() -> None:
    actor = iql_start().actor
    advantage = np.linspace(-1.0, 3.0, N)
    advantage[-1] = 1e4  # whose exponential is infinite
    weight = np.exp(np.minimum(2.0 * advantage, 10.0)).clip(max=100.0)
    assert (weight == 100.0).sum() > 1
    assert (weight < 100.0).sum() > 1
    (loss, _), slope = jax.jit(jax.value_and_grad(iql.actor_loss, has_aux=True))(
        actor, batch(), jnp.asarray(advantage, jnp.float32), sharpness=jnp.float32(2.0)
    )
    expected, gradient = weighed(actor, jnp.asarray(weight, jnp.float32))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert_same(slope, gradient, atol=1e-3)


def test_an_update_fits_value_then_policy_and_critics_to_the_newest_value() -> None:
    """V to the smaller target at the data's actions; the critics to r + γ V(s')."""
    state, data = iql_start(), batch()
    new, _ = iql_update(KEY, state, data, implicit(sharpness=2.0, polyak=0.3))
    both = twins(state.target, data.obs, data.action)
    assert set(both.argmin(0)) == {0, 1}
    q = both.min(0)

    def squares(v: Any) -> Any:
        error = jnp.asarray(q, jnp.float32) - jax.vmap(v)(data.obs)[:, 0]
        return jnp.mean(jnp.where(error > 0, 0.8, 0.2) * error**2)

    assert_same(slopes(new.v_moments), jax.jit(jax.grad(squares))(state.v))
    advantage = q - net(new.v, data.obs)[:, 0]
    weight = jnp.asarray(np.exp(2.0 * advantage).clip(max=100.0), jnp.float32)
    assert_same(slopes(new.actor_moments), weighed(state.actor, weight)[1], atol=1e-4)
    going = 0.9 * (1.0 - np.float64(data.terminated))
    y = np.float64(data.reward) + going * net(new.v, data.next_obs)[:, 0]
    found, _ = critic_slope(state.critic, data, jnp.asarray(y, jnp.float32))
    assert_same(slopes(new.critic_moments), found)
    followed = jax.tree.map(lambda t, c: 0.7 * t + 0.3 * c, state.target, new.critic)
    assert_same(new.target, followed)


def test_no_policy_and_no_draw_reaches_what_is_learned_of_value() -> None:
    state, cfg = iql_start(), implicit()
    other = state._replace(actor=iql_init(jax.random.key(5)).actor)
    one, _ = iql_update(KEY, state, batch(), cfg)
    two, _ = iql_update(jax.random.key(1), other, batch(), cfg)
    for part in ("critic", "critic_moments", "v", "v_moments", "target"):
        assert equal(getattr(one, part), getattr(two, part))
    assert not equal(one.actor, two.actor)


def test_what_follows_counts_for_the_critics_alone_and_not_after_an_end() -> None:
    state, data, cfg = iql_start(), batch(), implicit()
    one, _ = iql_update(KEY, state, data, cfg)
    for rows, same in ((data.terminated, True), (~data.terminated, False)):
        moved = jnp.where(rows[:, None], data.next_obs + 1.0, data.next_obs)
        two, _ = iql_update(KEY, state, data._replace(next_obs=moved), cfg)
        assert equal(one.critic_moments, two.critic_moments) == same
        assert equal(one.actor, two.actor)
        assert equal(one.v, two.v)


def test_on_a_bandit_v_is_the_expectile_and_the_policy_the_weighted_likelihoods() -> (
    None
):
    action = np.repeat([-0.6, 0.1, 0.7], [4, 3, 1])
    reward = np.repeat([0.0, 0.5, 1.0], [4, 3, 1])
    data = in_one_state(np.float32(action[:, None]), reward)
    cfg = iql.Config(lr=3e-3, hidden=(32,), expectile=0.8, sharpness=3.0, polyak=0.05)
    state = learned(iql, cfg, ONE, data, 2_500)
    q = iql.value(state, data.obs, data.action, cfg)
    np.testing.assert_allclose(q, reward, atol=0.02)
    v = stats.expectile(reward, alpha=0.8)
    assert v - reward.mean() > 0.1
    np.testing.assert_allclose(net(state.v, data.obs)[:, 0], v, atol=0.02)
    weight, u = np.exp(3.0 * (reward - v)), np.arctanh(action)
    mean = np.average(u, weights=weight)
    std = math.sqrt(np.average((u - mean) ** 2, weights=weight))
    greedy = iql.act(KEY, state, data.obs[:1], cfg, False)
    np.testing.assert_allclose(greedy, np.tanh([[mean]]), atol=0.03)
    _, log_std = sac.policy(state.actor, data.obs[:1])
    np.testing.assert_allclose(np.exp(log_std), std, rtol=0.05)
    assert abs(np.tanh(mean) - np.tanh(u.mean())) > 0.1  # the likeliest without weights
