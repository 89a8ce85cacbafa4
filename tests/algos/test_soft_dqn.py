"""Soft DQN against sums over actions, written out in numpy and float64."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from softq.algos import soft_dqn
from softq.types import Batch, Spec, cast_knobs

N, ACTIONS = 12, 4
KEY = jax.random.key(7)
SPEC = Spec((3,), "float32", num_actions=ACTIONS)


def config(**changes: Any) -> soft_dqn.Config:
    return cast_knobs(soft_dqn.Config(**{"hidden": (8, 8), "lr": 1e-2, **changes}))


@functools.cache
def start() -> soft_dqn.State:
    """A target that is not the network."""
    one, two = (soft_dqn.init(jax.random.key(k), SPEC, config()) for k in (0, 1))
    return one._replace(target=two.target)


@functools.cache
def batch() -> Batch:
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.arange(N, dtype=jnp.int32) % ACTIONS,
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def net(network: Any, obs: Any) -> np.ndarray:
    return oracles.mlp(obs, [(one.weight, one.bias) for one in network.mlp.layers])


def found(alpha: float, *, double: bool, state: Any = None) -> np.ndarray:
    state = start() if state is None else state
    y = soft_dqn.critic_target(
        state.target, state.critic, batch(), alpha=jnp.float32(alpha),
        discount=jnp.float32(0.9), double=double,
    )  # fmt: skip
    return np.asarray(y)


def bootstrapped(v: np.ndarray) -> np.ndarray:
    data = batch()
    return np.float64(data.reward) + np.where(data.terminated, 0.0, 0.9 * v)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
def test_the_target_is_the_soft_value_of_the_target_network(alpha: float) -> None:
    q = net(start().target, batch().next_obs)
    v = alpha * np.log(np.exp(q / alpha).sum(-1))
    np.testing.assert_allclose(
        found(alpha, double=False), bootstrapped(v), rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_double_weighs_the_target_with_the_online_policy(alpha: float) -> None:
    data, state = batch(), start()
    p = oracles.boltzmann(net(state.critic, data.next_obs), alpha)
    q = net(state.target, data.next_obs)
    v = (p * (q - alpha * np.log(p))).sum(-1)
    y = found(alpha, double=True)
    np.testing.assert_allclose(y, bootstrapped(v), rtol=2e-5, atol=2e-5)
    assert np.abs(y - found(alpha, double=False)).max() > 1e-3
    # With one network for both there is nothing to choose between the two.
    same = state._replace(critic=state.target)
    one, two = (found(alpha, double=d, state=same) for d in (True, False))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_without_a_temperature_the_target_is_dqns() -> None:
    data, state = batch(), start()
    q = net(state.target, data.next_obs)
    greedy = net(state.critic, data.next_obs).argmax(-1)
    plain, double = q.max(-1), q[np.arange(N), greedy]
    for alpha in (0.0, 1e-6):
        for is_double, v in ((False, plain), (True, double)):
            np.testing.assert_allclose(
                found(alpha, double=is_double), bootstrapped(v), rtol=1e-5, atol=1e-5
            )


def test_the_loss_looks_at_the_batchs_actions_only() -> None:
    data, y = batch(), jnp.linspace(-2.0, 2.0, N)
    loss, info = soft_dqn.critic_loss(start().critic, data, y, alpha=jnp.float32(0.5))
    q = net(start().critic, data.obs)
    taken = q[np.arange(N), np.asarray(data.action)]
    np.testing.assert_allclose(loss, ((taken - np.float64(y)) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(info["q"], taken.mean(), rtol=1e-4, atol=1e-6)
    nats = oracles.entropy(oracles.boltzmann(q, 0.5)).mean()
    np.testing.assert_allclose(info["entropy"], nats, rtol=1e-4)


def test_the_target_averages_or_is_copied() -> None:
    new, _ = soft_dqn.update(KEY, start(), batch(), config(polyak=0.3))
    for old, now, online in zip(
        *map(jax.tree.leaves, (start().target, new.target, new.critic)), strict=True
    ):
        np.testing.assert_allclose(now, 0.7 * old + 0.3 * online, rtol=1e-5, atol=1e-6)
    state, cfg = start(), config(target_period=2)
    for step in range(1, 6):
        new, _ = soft_dqn.update(KEY, state, batch(), cfg)
        expected = new.critic if step % 2 == 0 else state.target
        pairs = zip(jax.tree.leaves(new.target), jax.tree.leaves(expected), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
        state = new


def test_the_temperature_stands_or_falls_geometrically() -> None:
    cfg = config(alpha=0.01, first_alpha=1.0, alpha_updates=4)
    state, seen = start(), []
    for _ in range(7):
        state, info = soft_dqn.update(KEY, state, batch(), cfg)
        seen.append(float(info["alpha"]))
    expected = [1.0, 10**-0.5, 0.1, 10**-1.5, 0.01, 0.01, 0.01]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    assert soft_dqn.temperature(state, config(alpha=0.3)) == np.float32(0.3)


def test_actions_have_the_policys_probabilities() -> None:
    state, cfg = start(), config(alpha=0.2)
    q = net(state.critic, batch().obs)
    p = oracles.boltzmann(q, 0.2)
    shown = soft_dqn.log_policy(state, batch().obs, cfg)
    np.testing.assert_allclose(shown, np.log(p), rtol=1e-3, atol=1e-3)
    greedy = soft_dqn.act(KEY, state, batch().obs, cfg, False)
    np.testing.assert_array_equal(greedy, q.argmax(-1))
    row = int(np.abs(p.max(-1) - 0.6).argmin())  # neither uniform nor sure
    many = jnp.broadcast_to(batch().obs[row], (20_000, 3))
    drawn = soft_dqn.act(KEY, state, many, cfg, True)
    share = np.bincount(drawn, minlength=ACTIONS) / len(drawn)
    np.testing.assert_allclose(share, p[row], atol=0.02)
    entropy = soft_dqn.entropy(KEY, state, batch().obs, cfg)
    np.testing.assert_allclose(entropy, oracles.entropy(p), rtol=1e-3, atol=1e-6)
    value = soft_dqn.value(state, batch().obs, batch().action, cfg)
    taken = q[np.arange(N), np.asarray(batch().action)]
    np.testing.assert_allclose(value, taken, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_on_a_bandit_q_becomes_the_reward(alpha: float) -> None:
    reward = (0.2, -0.5, 1.0)
    obs = jnp.ones((3, 1))
    data = Batch(
        obs, jnp.arange(3, dtype=jnp.int32), jnp.asarray(reward), obs, jnp.ones(3, bool)
    )
    cfg = cast_knobs(soft_dqn.Config(lr=3e-3, hidden=(16,), alpha=alpha))
    state = soft_dqn.init(KEY, Spec((1,), "float32", num_actions=3), cfg)
    keys = jax.random.split(KEY, 1000)
    state = jax.jit(
        lambda s: jax.lax.scan(
            lambda s, k: (soft_dqn.update(k, s, data, cfg)[0], None), s, keys
        )[0]
    )(state)
    p = np.exp(np.float64(reward) / alpha)
    policy = np.exp(soft_dqn.log_policy(state, obs[:1], cfg)[0])
    np.testing.assert_allclose(policy, p / p.sum(), atol=2e-3)
    nats = float(soft_dqn.entropy(KEY, state, obs[:1], cfg)[0])
    assert nats == pytest.approx(-(p / p.sum() * np.log(p / p.sum())).sum(), abs=2e-3)
    assert 0.0 < nats < math.log(3)
