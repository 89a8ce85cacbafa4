"""SAC against its equations, written again in numpy and float64."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from softq.algos import sac
from softq.ops import tanh_normal
from softq.types import Batch, Spec, cast_knobs

N, DIM = 12, 2
SPEC = Spec((3,), "float32", (-1.0,) * DIM, (1.0,) * DIM)
KEY = jax.random.key(7)


def config(**changes):
    return cast_knobs(sac.Config(**{"hidden": (8, 8), "lr": 1e-2, **changes}))


@functools.cache
def batch():
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, N, 3))
    return Batch(
        jnp.asarray(obs, jnp.float32),
        jnp.asarray(rng.uniform(-1, 1, (N, DIM)), jnp.float32),
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(next_obs, jnp.float32),
        jnp.arange(N) % 3 == 0,
    )


def quick(fn, **options):
    """Compiled without optimisation: much to compile here, little to compute."""
    return jax.jit(
        fn, compiler_options={"xla_backend_optimization_level": 0}, **options
    )


init = quick(lambda key, cfg: sac.init(key, SPEC, cfg))
update = quick(sac.update)
critic_target = quick(sac.critic_target)
actor_loss = quick(sac.actor_loss)
critic_gradient = quick(jax.grad(sac.critic_loss, has_aux=True))
actor_gradient = quick(jax.grad(sac.actor_loss, has_aux=True))


@functools.cache
def start():
    """A state whose target is not its critic, and whose twins take turns as smaller."""
    state, other = (init(jax.random.key(seed), config()) for seed in (0, 1))
    return state._replace(critic=level(state.critic), target=level(other.critic))


def level(critic):
    """The twins with a last bias that makes each one's mean over the batch 0."""
    mean = twins(critic, batch().obs, batch().action).mean(1, keepdims=True)
    last = critic.mlp.layers[-1].bias
    shifted = last - jnp.asarray(mean, jnp.float32)
    return eqx.tree_at(lambda net: net.mlp.layers[-1].bias, critic, shifted)


def net(weights, x):
    """The network in numpy: layers with ReLU between them."""
    layers = [
        (np.float64(one.weight), np.float64(one.bias)) for one in weights.mlp.layers
    ]
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0.0)
    return x @ layers[-1][0] + layers[-1][1]


def twins(critic, obs, action):
    x = np.concatenate([np.float64(obs), np.float64(action)], -1)
    members = [jax.tree.map(lambda w, i=i: w[i], critic) for i in range(2)]
    return np.stack([net(member, x)[:, 0] for member in members])


def draw(actor, obs, key):
    """Action and log-density from the noise that the key gives, by scipy."""
    mean, raw = np.split(net(actor, np.float64(obs)), 2, axis=-1)
    upper = 2.0 - np.logaddexp(0.0, 2.0 - raw)
    std = np.exp(-10.0 + np.logaddexp(0.0, upper + 10.0))
    noise = np.float64(jax.random.normal(key, mean.shape, jnp.float32))
    action = np.tanh(mean + std * noise)
    density = stats.norm.logpdf(mean + std * noise, mean, std) - np.log(1 - action**2)
    return action, density.sum(-1)


def by_hand(alpha, discount):
    """(min_i Q'(s', a'), log π(a'|s'), r + γ (1 − terminated)(min Q' − α log π))."""
    state, data = start(), batch()
    action, logp = draw(state.actor, data.next_obs, KEY)
    q = twins(state.target, data.next_obs, action)
    going = 1.0 - np.float64(data.terminated)
    v = q.min(0) - alpha * logp
    return q, logp, np.float64(data.reward) + discount * going * v


def target(alpha, actor=None):
    actor = start().actor if actor is None else actor
    knobs = {"alpha": jnp.float32(alpha), "discount": jnp.float32(0.9)}
    return np.asarray(critic_target(start().target, actor, batch(), KEY, **knobs))


def assert_same(left, right, rtol=1e-5, atol=1e-6):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def equal(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_the_critic_target_is_equation_2_by_hand(alpha):
    q, _, y = by_hand(alpha, 0.9)
    assert set(q.argmin(0)) == {0, 1}  # each twin is the smaller one somewhere
    np.testing.assert_allclose(target(alpha), y, rtol=1e-4, atol=1e-5)


def test_a_terminated_row_has_its_reward_alone_as_target():
    data = batch()
    ended = np.asarray(data.terminated)
    assert 0 < ended.sum() < N
    np.testing.assert_array_equal(target(0.7)[ended], data.reward[ended])
    assert (np.abs(target(0.7)[~ended] - data.reward[~ended]) > 1e-4).all()


def test_the_targets_entropy_term_is_alpha_times_minus_the_log_density():
    _, logp, _ = by_hand(0.7, 0.9)
    bonus = target(0.7) - target(0.0)
    going = 1.0 - np.float64(batch().terminated)
    np.testing.assert_allclose(bonus, -0.9 * 0.7 * going * logp, rtol=1e-3, atol=1e-5)


def test_without_temperature_and_noise_the_target_is_td3s():
    state, data = start(), batch()
    is_std = jnp.arange(2 * DIM) >= DIM
    bias = jnp.where(is_std, -1e3, state.actor.mlp.layers[-1].bias)
    actor = eqx.tree_at(lambda net: net.mlp.layers[-1].bias, state.actor, bias)
    mean = np.split(net(state.actor, np.float64(data.next_obs)), 2, axis=-1)[0]
    q = twins(state.target, data.next_obs, np.tanh(mean)).min(0)
    y = np.float64(data.reward) + 0.9 * (1.0 - np.float64(data.terminated)) * q
    np.testing.assert_allclose(target(0.0, actor=actor), y, atol=3e-4)
    assert np.abs(target(0.0) - y).max() > 3e-3  # with noise it is another


def test_the_critic_loss_sums_both_twins_mean_squared_errors():
    state, data = start(), batch()
    y = jnp.linspace(-2.0, 2.0, N)
    loss, info = quick(sac.critic_loss)(state.critic, data, y)
    q = twins(state.critic, data.obs, data.action)
    expected = ((q - np.float64(y)) ** 2).mean(1).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(info["q"], q.mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_the_actor_loss_is_equation_7_by_hand(alpha):
    state, data = start(), batch()
    action, logp = draw(state.actor, data.obs, KEY)
    q = twins(state.critic, data.obs, action)
    assert set(q.argmin(0)) == {0, 1}
    loss, info = actor_loss(
        state.actor, state.critic, data, KEY, alpha=jnp.float32(alpha)
    )
    np.testing.assert_allclose(loss, (alpha * logp - q.min(0)).mean(), rtol=1e-4)
    np.testing.assert_allclose(info["entropy"], -logp.mean(), rtol=1e-4)


@pytest.mark.parametrize(("entropy", "sign"), [(0.5, 1.0), (-3.0, -1.0)])
def test_the_temperatures_gradient_is_entropy_minus_its_target(entropy, sign):
    def loss(log_alpha):
        value, _ = sac.alpha_loss(
            log_alpha, -jnp.float32(entropy), target_entropy=jnp.float32(-2.0)
        )
        return value

    gradient = jax.grad(loss)(jnp.float32(-1.3))
    np.testing.assert_allclose(gradient, entropy - -2.0, rtol=1e-6)
    assert np.sign(gradient) == sign  # too random: alpha must fall, and the reverse


@pytest.mark.parametrize(("wanted", "factor"), [(-50.0, -1.0), (50.0, 1.0)])
def test_alpha_falls_while_the_policy_is_too_random_and_rises_while_too_sure(
    wanted, factor
):
    cfg = config(target_entropy=wanted)
    new, info = update(KEY, start(), batch(), cfg)
    moved = float(new.log_alpha - start().log_alpha)
    np.testing.assert_allclose(moved, factor * 1e-2, rtol=1e-3)  # Adam's first step
    np.testing.assert_allclose(info["alpha"], 1.0)
    np.testing.assert_allclose(sac.temperature(new, cfg), math.exp(moved), rtol=1e-6)


def test_the_target_entropy_is_minus_the_number_of_action_dimensions():
    default, _ = update(KEY, start(), batch(), config())
    given, _ = update(KEY, start(), batch(), config(target_entropy=-float(DIM)))
    assert_same(default, given, rtol=1e-6, atol=1e-7)
    gradient = np.asarray(jax.tree.leaves(default.alpha_moments)[1]) / 0.1
    _, logp = draw(start().actor, batch().obs, jax.random.split(KEY)[1])
    np.testing.assert_allclose(gradient, -logp.mean() + DIM, rtol=1e-4)


def test_a_temperature_of_zero_leaves_the_state_finite():
    state = init(jax.random.key(0), config(alpha=0.0))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_a_fixed_alpha_never_changes():
    cfg = config(alpha=0.2)
    state = init(jax.random.key(0), cfg)
    first = state.log_alpha
    for step in range(5):
        state, info = update(jax.random.key(step), state, batch(), cfg)
        assert info["alpha"] == np.float32(0.2)
    assert state.log_alpha == first
    assert sac.temperature(state, cfg) == np.float32(0.2)


def first_adam_step(grads, lr=1e-2):
    """−lr g/(|g| + 1e-8): what Adam does from empty moments."""
    return jax.tree.map(lambda g: -lr * g / (jnp.abs(g) + 1e-8), grads)


def test_an_update_steps_the_critic_then_the_actor_against_the_new_critic():
    state, data, alpha = start(), batch(), jnp.float32(0.2)
    next_key, actor_key = jax.random.split(KEY)
    discount = jnp.float32(0.9)
    y = critic_target(
        state.target, state.actor, data, next_key, alpha=alpha, discount=discount
    )
    grads = critic_gradient(state.critic, data, y)[0]
    critic = jax.tree.map(jnp.add, state.critic, first_adam_step(grads))
    grads = actor_gradient(state.actor, critic, data, actor_key, alpha=alpha)[0]
    actor = jax.tree.map(jnp.add, state.actor, first_adam_step(grads))
    new, _ = update(KEY, state, data, config(alpha=0.2, discount=0.9))
    # Adam's first step is the gradient's sign: a tiny gradient's may be rounding.
    assert_same(new.critic, critic, atol=1e-4)
    assert_same(new.actor, actor, atol=1e-4)
    assert not equal(new.critic, state.critic)
    assert not equal(new.actor, state.actor)


def test_no_actor_and_no_alpha_reaches_a_critics_step_on_ended_rows():
    state, ended = start(), batch()._replace(terminated=jnp.ones(N, bool))
    elsewhere = state._replace(actor=init(jax.random.key(5), config()).actor)
    one, _ = update(KEY, state, ended, config(alpha=0.2))
    for other, alpha in ((elsewhere, 0.2), (state, 50.0)):
        two, _ = update(KEY, other, ended, config(alpha=alpha))
        assert equal(one.critic, two.critic)
        assert equal(one.critic_moments, two.critic_moments)
        assert not equal(one.actor, two.actor)


def test_a_critic_that_meets_its_target_stays_while_the_actor_moves():
    """The actor's loss has a gradient in the critic (−1 in a last bias): unused."""
    state, data = start(), batch()
    flat = jax.tree.map(jnp.zeros_like, state.critic)
    still = state._replace(critic=flat, target=flat)
    calm = data._replace(reward=jnp.zeros(N), terminated=jnp.ones(N, bool))
    new, info = update(KEY, still, calm, config(alpha=0.2))
    assert equal(new.critic, flat)  # the target is met, so that nothing moves
    assert info["critic_loss"] == 0.0
    assert not equal(new.actor, state.actor)


def test_averaging_moves_the_target_by_the_rate_towards_the_new_critic():
    new, _ = update(KEY, start(), batch(), config(polyak=0.3))
    expected = jax.tree.map(lambda t, c: 0.7 * t + 0.3 * c, start().target, new.critic)
    assert_same(new.target, expected, rtol=1e-5, atol=1e-6)


def test_a_target_period_copies_exactly_at_its_multiples_and_nowhere_else():
    cfg, state = config(target_period=3, polyak=0.3), start()
    for step in range(1, 8):
        new, _ = update(jax.random.key(step), state, batch(), cfg)
        assert equal(new.target, new.critic if step % 3 == 0 else state.target)
        assert not equal(new.target, new.critic) or step % 3 == 0
        state = new
    assert int(state.updates) == 7


def test_the_greedy_action_is_the_tanh_of_the_mean_and_a_draw_its_noise():
    state, obs, cfg = start(), batch().obs, config()
    mean = np.split(net(state.actor, np.float64(obs)), 2, axis=-1)[0]
    greedy = sac.act(KEY, state, obs, cfg, False)
    np.testing.assert_allclose(greedy, np.tanh(mean), rtol=1e-4, atol=1e-6)
    action, logp = draw(state.actor, obs, KEY)
    drawn = sac.act(KEY, state, obs, cfg, True)
    np.testing.assert_allclose(drawn, action, rtol=1e-4, atol=1e-6)
    entropy = sac.entropy(KEY, state, obs, cfg)
    np.testing.assert_allclose(entropy, -logp, rtol=1e-3, atol=1e-5)


def test_the_value_is_the_smaller_of_the_critics_and_not_of_the_targets():
    state, data = start(), batch()
    value = sac.value(state, data.obs, data.action, config())
    q = twins(state.critic, data.obs, data.action)
    assert set(q.argmin(0)) == {0, 1}
    np.testing.assert_allclose(value, q.min(0), rtol=1e-4, atol=1e-6)


@functools.cache
def test_the_entropy_is_minus_the_log_density_of_what_it_draws():
    """Two estimates of one number from 20,000 draws each, of sd about 1."""
    state = start()
    obs = jnp.broadcast_to(batch().obs[:1], (20_000, 3))
    keys = jax.random.split(jax.random.key(7))
    found = sac.entropy(keys[0], state, obs, config()).mean()
    drawn = sac.act(keys[1], state, obs, config(), True)
    logp = tanh_normal.log_density(drawn, *sac.policy(state.actor, obs)).mean()
    assert abs(float(found)) > 0.1  # so that its sign is seen
    assert float(found) == pytest.approx(-float(logp), abs=0.05)


def bandit(alpha, target_entropy, updates=2500):
    """SAC on one state with reward −4 (a − 0.3)², every step an end."""
    spec = Spec((1,), "float32", (-1.0,), (1.0,))
    cfg = cast_knobs(
        sac.Config(
            lr=3e-3,
            hidden=(64, 64),
            alpha=alpha,
            initial_alpha=0.1,
            target_entropy=target_entropy,
        )
    )
    obs = jnp.ones((128, 1))

    def one(state, key):
        action_key, update_key = jax.random.split(key)
        action = jax.random.uniform(action_key, (128, 1), minval=-1.0, maxval=1.0)
        reward = -4.0 * (action[:, 0] - 0.3) ** 2
        data = Batch(obs, action, reward, obs, jnp.ones(128, bool))
        state, info = sac.update(update_key, state, data, cfg)
        return state, (info["entropy"], info["alpha"])

    state = quick(lambda key: sac.init(key, spec, cfg))(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), updates)
    state, (entropy, temperatures) = jax.jit(lambda s: jax.lax.scan(one, s, keys))(
        state
    )
    mean, log_std = sac.policy(state.actor, obs[:1])
    last = updates // 5
    return (
        float(entropy[-last:].mean()),
        float(temperatures[-last:].mean()),
        float(jnp.tanh(mean)[0, 0]),
        float(jnp.exp(log_std)[0, 0]),
    )


@pytest.mark.parametrize("wanted", [-0.5, -1.5])
def test_a_learned_alpha_brings_the_policy_to_its_target_entropy(wanted):
    entropy, alpha, greedy, _ = bandit(None, wanted)
    np.testing.assert_allclose(entropy, wanted, atol=0.05)
    np.testing.assert_allclose(greedy, 0.3, atol=0.05)
    # π ∝ exp(−4 (a − 0.3)²/α) is nearly a Gaussian of variance α/8.
    variance = math.exp(2.0 * wanted) / (2.0 * math.pi * math.e)
    np.testing.assert_allclose(alpha, 8.0 * variance, rtol=0.3)


def test_a_fixed_alpha_gives_the_boltzmann_policys_width():
    entropy, alpha, greedy, std = bandit(0.08, None)
    assert alpha == pytest.approx(0.08)
    np.testing.assert_allclose(greedy, 0.3, atol=0.05)
    np.testing.assert_allclose(std * (1.0 - greedy**2), 0.1, rtol=0.15)
    np.testing.assert_allclose(
        entropy, 0.5 * math.log(2 * math.pi * math.e * 0.01), atol=0.15
    )
