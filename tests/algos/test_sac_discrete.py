"""Discrete SAC against sums over actions, written out in numpy and float64."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.algos import sac_discrete
from softq.types import Batch, Spec, cast_knobs

N = 12
KEY = jax.random.key(7)
ACTIONS = [2, 5]


def config(**changes):
    return cast_knobs(sac_discrete.Config(**{"hidden": (8, 8), "lr": 1e-2, **changes}))


@functools.cache
def batch(actions=5):
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.arange(N, dtype=jnp.int32) % actions,
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def quick(fn, **options):
    """Compiled without optimisation: much to compile here, little to compute."""
    return jax.jit(
        fn, compiler_options={"xla_backend_optimization_level": 0}, **options
    )


init = quick(sac_discrete.init, static_argnums=1)
update = quick(sac_discrete.update)
critic_target = quick(sac_discrete.critic_target)
actor_loss = quick(sac_discrete.actor_loss)
actor_gradient = quick(jax.grad(sac_discrete.actor_loss, has_aux=True))


@functools.cache
def start(actions=5):
    """A target that is not the critic, twins that take turns, a policy with a view."""
    spec = Spec((3,), "float32", num_actions=actions)
    state, other = (init(jax.random.key(seed), spec, config()) for seed in (0, 1))
    return state._replace(
        critic=level(state.critic, actions),
        target=level(other.critic, actions),
        actor=jax.tree.map(lambda w: 3.0 * w, state.actor),
    )


def level(critic, actions):
    """The twins with last biases that make each action's mean over the batch 0."""
    mean = jnp.asarray(twins(critic, batch(actions).obs).mean(1), jnp.float32)
    shifted = critic.mlp.layers[-1].bias - mean
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, critic, shifted)


def net(weights, x):
    """The network in numpy: layers with ReLU between them."""
    x = np.float64(x)
    layers = [
        (np.float64(one.weight), np.float64(one.bias)) for one in weights.mlp.layers
    ]
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0.0)
    return x @ layers[-1][0] + layers[-1][1]


def twins(critic, obs):
    members = [jax.tree.map(lambda w, i=i: w[i], critic) for i in range(2)]
    return np.stack([net(member, obs) for member in members])


def probabilities(actor, obs):
    logits = net(actor, obs)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def target(actions, alpha, actor=None):
    state, knobs = start(actions), {"discount": jnp.float32(0.9)}
    actor, knobs["alpha"] = state.actor if actor is None else actor, jnp.float32(alpha)
    return np.asarray(critic_target(state.target, actor, batch(actions), **knobs))


def equal(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def saturated(logits):
    """An actor that says `logits` everywhere."""
    actor = jax.tree.map(jnp.zeros_like, start(len(logits)).actor)
    bias = jnp.asarray(logits, jnp.float32)
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, actor, bias)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("actions", ACTIONS)
def test_the_critic_target_sums_over_the_next_actions(actions, alpha):
    state, data = start(actions), batch(actions)
    p = probabilities(state.actor, data.next_obs)
    q = twins(state.target, data.next_obs)
    assert set(q.argmin(0).ravel()) == {0, 1}
    expected = np.float64(data.reward)
    for row in range(N):
        v = 0.0
        for a in range(actions):
            v += p[row, a] * (q[:, row, a].min() - alpha * math.log(p[row, a]))
        expected[row] += 0.0 if data.terminated[row] else 0.9 * v
    np.testing.assert_allclose(target(actions, alpha), expected, rtol=1e-4, atol=1e-5)


def test_a_terminated_row_has_its_reward_alone_as_target():
    data, y = batch(), target(5, 0.7)
    ended = np.asarray(data.terminated)
    np.testing.assert_array_equal(y[ended], data.reward[ended])
    assert (np.abs(y[~ended] - data.reward[~ended]) > 1e-4).all()


@pytest.mark.parametrize("actions", ACTIONS)
def test_the_critic_loss_looks_at_the_batchs_actions_only(actions):
    state, data, y = start(actions), batch(actions), jnp.linspace(-2.0, 2.0, N)
    loss, info = sac_discrete.critic_loss(state.critic, data, y)
    taken = twins(state.critic, data.obs)[:, np.arange(N), np.asarray(data.action)]
    expected = ((taken - np.float64(y)) ** 2).mean(1).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(info["q"], taken.mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("actions", ACTIONS)
def test_the_actor_loss_is_equation_12_summed_by_hand(actions, alpha):
    state, data = start(actions), batch(actions)
    p, q = probabilities(state.actor, data.obs), twins(state.critic, data.obs)
    assert set(q.argmin(0).ravel()) == {0, 1}
    expected = np.mean(
        [
            sum(
                p[n, a] * (alpha * math.log(p[n, a]) - q[:, n, a].min())
                for a in range(actions)
            )
            for n in range(N)
        ]
    )
    loss, info = actor_loss(state.actor, state.critic, data, alpha=jnp.float32(alpha))
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)
    entropy = -(p * np.log(p)).sum(-1).mean()
    np.testing.assert_allclose(info["entropy"], entropy, rtol=1e-4)


@pytest.mark.parametrize(
    "logits", [(1e4, -1e4, 0.0), (-1e4, -1e4, 1e4), (1e4, 1e4, -1e4)]
)
def test_saturated_logits_give_finite_losses_gradients_and_entropies(logits):
    actor, state, data = saturated(logits), start(3), batch(3)
    alpha, cfg = jnp.float32(0.5), config(alpha=0.5)
    loss, info = actor_loss(actor, state.critic, data, alpha=alpha)
    grads, _ = actor_gradient(actor, state.critic, data, alpha=alpha)
    ties = sum(logit == max(logits) for logit in logits)
    np.testing.assert_allclose(info["entropy"], math.log(ties), rtol=1e-5)
    q = np.float64(twins(state.critic, data.obs).min(0))
    chosen = np.asarray(logits) == max(logits)
    expected = np.mean(-0.5 * math.log(ties) - q[:, chosen].mean(-1))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert np.isfinite(target(3, 0.5, actor)).all()
    new, _ = update(KEY, state._replace(actor=actor), data, cfg)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))


def test_the_actors_gradient_is_exact_where_probabilities_underflow():
    """d/dz_b of Σ p (α log p − q) is p_b (α log p_b − q_b − Σ p (α log p − q))."""
    state, data = start(3), batch(3)
    logits = jnp.asarray([0.0, 1.0, -200.0])
    grads, _ = actor_gradient(
        saturated(logits), state.critic, data, alpha=jnp.float32(0.5)
    )
    q = twins(state.critic, data.obs).min(0)
    log_p = np.float64(logits) - np.logaddexp.reduce(np.float64(logits))
    p = np.exp(log_p)
    cost = 0.5 * log_p - q
    by_hand = (p * (cost - (p * cost).sum(-1, keepdims=True))).mean(0)
    np.testing.assert_allclose(grads.mlp.layers[-1].bias, by_hand, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("ratio", "step"), [(0.01, -1e-2), (2.0, 1e-2)])
def test_alpha_follows_the_share_of_the_largest_entropy(ratio, step):
    cfg = config(target_entropy_ratio=ratio)
    new, info = update(KEY, start(), batch(), cfg)
    np.testing.assert_allclose(new.log_alpha - start().log_alpha, step, rtol=1e-3)
    gradient = np.asarray(jax.tree.leaves(new.alpha_moments)[1]) / 0.1
    expected = float(info["entropy"]) - ratio * math.log(5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def test_a_fixed_alpha_never_changes():
    cfg, state = config(alpha=0.2), start()
    for step in range(3):
        state, info = update(jax.random.key(step), state, batch(), cfg)
        assert info["alpha"] == np.float32(0.2)
    assert state.log_alpha == start().log_alpha
    assert sac_discrete.temperature(state, cfg) == np.float32(0.2)


def test_updates_do_not_depend_on_the_key():
    one, _ = update(jax.random.key(0), start(), batch(), config())
    two, _ = update(jax.random.key(1), start(), batch(), config())
    assert equal(one, two)


def test_no_actor_and_no_alpha_reaches_a_critics_step_on_ended_rows():
    ended = batch()._replace(terminated=jnp.ones(N, bool))
    elsewhere = start()._replace(actor=saturated((1.0, 2.0, 3.0, 4.0, 5.0)))
    one, _ = update(KEY, start(), ended, config(alpha=0.2))
    two, _ = update(KEY, elsewhere, ended, config(alpha=50.0))
    assert equal(one.critic, two.critic)
    assert not equal(one.actor, two.actor)


def test_averaging_and_periodic_copies_follow_the_new_critic():
    new, _ = update(KEY, start(), batch(), config(polyak=0.3))
    expected = jax.tree.map(lambda t, c: 0.7 * t + 0.3 * c, start().target, new.critic)
    for a, b in zip(
        jax.tree.leaves(new.target), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    state, cfg = start(), config(target_period=2)
    for step in range(1, 6):
        new, _ = update(jax.random.key(step), state, batch(), cfg)
        assert equal(new.target, new.critic if step % 2 == 0 else state.target)
        state = new


@pytest.mark.parametrize("actions", ACTIONS)
def test_actions_are_the_likeliest_or_drawn_with_the_policys_probabilities(actions):
    state, cfg = start(actions), config()
    p = probabilities(state.actor, batch(actions).obs)
    greedy = sac_discrete.act(KEY, state, batch(actions).obs, cfg, False)
    np.testing.assert_array_equal(greedy, p.argmax(-1))
    row = int(np.abs(p.max(-1) - 0.6).argmin())  # neither uniform nor sure
    many = jnp.broadcast_to(batch(actions).obs[row], (20_000, 3))
    drawn = sac_discrete.act(KEY, state, many, cfg, True)
    share = np.bincount(drawn, minlength=actions) / len(drawn)
    assert 0.3 < p[row].max() < 0.95
    np.testing.assert_allclose(share, p[row], atol=0.02)
    entropy = sac_discrete.entropy(KEY, state, batch(actions).obs, cfg)
    # A nearly sure row's entropy is a rounding error of float32 or two.
    wanted = -(p * np.log(p)).sum(-1)
    np.testing.assert_allclose(entropy, wanted, rtol=1e-4, atol=2e-7)


def test_the_value_is_the_smaller_critic_at_the_given_action():
    state, data = start(), batch()
    value = sac_discrete.value(state, data.obs, data.action, config())
    q = twins(state.critic, data.obs).min(0)[np.arange(N), np.asarray(data.action)]
    np.testing.assert_allclose(value, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("reward", "alpha"), [((0.0, 1.0), 1.0), ((0.0, 1.0), 0.3), ((0.2, -0.5, 1.0), 0.5)]
)
def test_on_a_bandit_the_policy_becomes_the_softmax_of_reward_over_alpha(reward, alpha):
    k = len(reward)
    cfg = cast_knobs(sac_discrete.Config(lr=3e-3, hidden=(16,), alpha=alpha))
    obs = jnp.ones((k, 1))
    data = Batch(
        obs, jnp.arange(k, dtype=jnp.int32), jnp.asarray(reward), obs, jnp.ones(k, bool)
    )
    spec = Spec((1,), "float32", num_actions=k)
    state = init(jax.random.key(0), spec, cfg)

    def one(state, key):
        return sac_discrete.update(key, state, data, cfg)[0], None

    keys = jax.random.split(KEY, 2000)
    state = jax.jit(lambda s: jax.lax.scan(one, s, keys)[0])(state)
    policy = np.exp(sac_discrete.log_policy(state, obs[:1], cfg)[0])
    weights = np.exp(np.float64(reward) / alpha)
    np.testing.assert_allclose(policy, weights / weights.sum(), atol=2e-3)
    value = sac_discrete.value(state, obs, data.action, cfg)
    np.testing.assert_allclose(value, reward, atol=2e-3)
