"""DDPG against its equations in numpy and float64."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from softq import nets
from softq.algos import ddpg
from softq.types import Batch, Spec, cast_knobs

N = 12
KEY = jax.random.key(7)
SPEC = Spec((3,), "float32", (-1.0, -1.0), (1.0, 1.0))


def config(**changes: Any) -> ddpg.Config:
    return cast_knobs(ddpg.Config(**{"hidden": (8, 8), "lr": 1e-2, **changes}))


@functools.cache
def start(twin: bool = False) -> ddpg.State:
    """Targets that are other networks."""
    cfg = config(twin=twin)
    one, two = (ddpg.init(jax.random.key(k), SPEC, cfg) for k in (0, 1))
    return one._replace(target=two.target, actor_target=two.actor_target)


@functools.cache
def batch() -> Batch:
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.asarray(rng.uniform(-1, 1, (N, 2)), jnp.float32),
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def net(network: Any, x: Any) -> np.ndarray:
    return oracles.mlp(x, [(one.weight, one.bias) for one in network.mlp.layers])


def q(critic: Any, obs: Any, action: Any) -> np.ndarray:
    """Q_i(s, a) of every critic i."""
    both = np.concatenate([obs, action], -1)
    return np.stack([net(one, both)[:, 0] for one in nets.members(critic)])


@pytest.mark.parametrize("twin", [False, True])
def test_the_target_bootstraps_from_both_targets(twin: bool) -> None:
    state, data = start(twin), batch()
    y = ddpg.critic_target(
        state.target, state.actor_target, data, discount=jnp.float32(0.9)
    )
    v = q(state.target, data.next_obs, np.tanh(net(state.actor_target, data.next_obs)))
    assert len(v) == 1 + twin
    v = np.where(data.terminated, 0.0, v.min(0))
    expected = np.float64(data.reward) + 0.9 * v
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("twin", [False, True])
def test_the_losses_are_equations_4_and_6(twin: bool) -> None:
    state, data, y = start(twin), batch(), jnp.linspace(-2.0, 2.0, N)
    loss, _ = ddpg.critic_loss(state.critic, data, y)
    taken = q(state.critic, data.obs, data.action)
    np.testing.assert_allclose(
        loss, ((taken - np.float64(y)) ** 2).mean(1).sum(), rtol=1e-4
    )
    climbed, _ = ddpg.actor_loss(state.actor, state.critic, data)
    best = q(state.critic, data.obs, np.tanh(net(state.actor, data.obs)))
    np.testing.assert_allclose(climbed, -best.min(0).mean(), rtol=1e-4, atol=1e-6)
    told = ddpg.value(state, data.obs, data.action, config())
    np.testing.assert_allclose(told, taken.min(0), rtol=1e-4, atol=1e-5)


def test_both_targets_follow_what_they_are_targets_of() -> None:
    new, _ = ddpg.update(KEY, start(), batch(), config(polyak=0.3))
    for old, now, online in (
        (start().target, new.target, new.critic),
        (start().actor_target, new.actor_target, new.actor),
    ):
        for a, b, c in zip(*map(jax.tree.leaves, (old, now, online)), strict=True):
            np.testing.assert_allclose(b, 0.7 * a + 0.3 * c, rtol=1e-4, atol=1e-6)


def test_the_noise_has_the_stated_deviation_and_stays_in_the_box() -> None:
    state = start()
    many = jnp.broadcast_to(batch().obs[:1], (20_000, 3))
    greedy = ddpg.act(KEY, state, many, config(), False)
    noisy = ddpg.act(KEY, state, many, config(noise=0.05), True)
    np.testing.assert_allclose((noisy - greedy).std(0), 0.05, rtol=0.03)
    loud = ddpg.act(KEY, state, many, config(noise=5.0), True)
    assert float(jnp.abs(loud).max()) == 1.0
