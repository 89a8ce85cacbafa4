"""Proposals and the sampled soft value against quadrature."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special

from softq.algos.sql import WIDTH
from softq.ops import proposals, soft

KEYS = jax.random.split(jax.random.key(0), 1_000)


def energy(action: Any) -> Any:
    """Two bumps and a slope, for d = 1 and 2."""
    near = ((action - 0.5) ** 2).sum(-1), ((action + 0.4) ** 2).sum(-1)
    return 2.0 * np.exp(-4.0 * near[0]) + np.exp(-9.0 * near[1]) + 0.3 * action[..., 0]


def exact(dim: int, alpha: float) -> tuple[float, float]:
    """(soft value, range of Q) by quadrature."""
    nodes, weights = oracles.box_grid(dim, 20, 8)
    q = energy(nodes)
    top = q.max()
    value = top + alpha * math.log((weights * np.exp((q - top) / alpha)).sum())
    return value, float(np.ptp(q))


def test_uniform_proposals_fill_the_box() -> None:
    action, log_density = proposals.uniform(KEYS[0], 4_000, 2)
    assert action.min() < -0.99
    assert action.max() > 0.99
    np.testing.assert_allclose(action.mean(0), 0.0, atol=0.05)
    assert (log_density == np.float32(-2 * math.log(2))).all()


def test_every_action_of_a_mixture_has_the_mixtures_density() -> None:
    """∫ q = 1 by importance: mean over draws of (1/q) · 1/volume is 1."""
    centres = jnp.asarray([[0.5, -1.0], [-2.0, 0.3], [0.0, 0.1]])
    action, log_density = proposals.mixture(KEYS[0], centres, 200_000, 0.4)
    assert float(jnp.mean(jnp.exp(-log_density))) == pytest.approx(4.0, rel=0.01)
    u = np.arctanh(np.float64(action))
    around = [
        oracles.tanh_normal_log_prob(u[:500], c, np.log([0.4, 0.4])) for c in centres
    ]
    near = np.exp(around).mean(0)
    np.testing.assert_allclose(
        log_density[:500], np.log(0.5 * 0.25 + 0.5 * near), rtol=1e-3, atol=1e-3
    )
    rest = np.exp([
        oracles.tanh_normal_log_prob(u[-500:], c, np.log([0.4, 0.4])) for c in centres
    ]).mean(0)  # fmt: skip
    np.testing.assert_allclose(
        log_density[-500:], np.log(0.5 * 0.25 + 0.5 * rest), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("kind", ["uniform", "mixture"])
def test_the_sampled_value_is_quadratures(dim: int, alpha: float, kind: str) -> None:
    truth, spread = exact(dim, alpha)
    centres = jnp.full((4, dim), 0.5) + 0.2 * jax.random.normal(KEYS[0], (4, dim))

    def one(key: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        if kind == "uniform":
            action, log_density = proposals.uniform(key, k, dim)
        else:
            action, log_density = proposals.mixture(key, centres, k, 0.5)
        near = [jnp.sum((action - c) ** 2, -1) for c in (0.5, -0.4)]
        q = 2.0 * jnp.exp(-4.0 * near[0]) + jnp.exp(-9.0 * near[1]) + 0.3 * action[:, 0]
        return (
            soft.sampled_value(q, log_density, alpha),
            soft.effective_samples(q, log_density, alpha),
        )

    bias = {}
    for k in (64, 1_024):
        v, count = jax.jit(jax.vmap(lambda key, k=k: one(key, k)))(KEYS)
        bias[k] = abs(float(v.mean()) - truth) / spread
        assert float(count.min()) >= 1.0
        assert float(count.max()) <= k + 1e-2
    assert bias[1_024] <= 0.02
    assert bias[1_024] <= bias[64] + 0.002


@pytest.mark.parametrize("k", [1, 3, 5, 64])
def test_a_mixture_covers_the_box_whatever_its_parts_are(k: int) -> None:
    """The mean of 1/q is the box's volume, 2; of an odd k the parts are unequal."""
    centres = jnp.array([[0.8], [-0.3]])

    def covered(key: jax.Array) -> jax.Array:
        return jnp.mean(jnp.exp(-proposals.mixture(key, centres, k, 1.2)[1]))

    keys = jax.random.split(jax.random.key(3), 200_000 // k)
    found = np.asarray(jax.jit(jax.vmap(covered))(keys), float)
    assert abs(found.mean() - 2.0) < 5 * found.std() / math.sqrt(len(found)) + 1e-3


@pytest.mark.parametrize(("mean", "slope"), [(7.0, 5.0), (9.0, 5.0), (9.0, 30.0)])
def test_a_saturated_policys_actions_weigh_what_they_must(
    mean: float, slope: float
) -> None:
    """Where float32 knows tanh u as 1 its own actions would count as uniform ones."""
    dist = (jnp.full((200, 1), mean), jnp.full((200, 1), math.log(0.1)))
    draw = jax.jit(lambda key: proposals.three_sources(key, dist, dist, 300, True))
    action, log_density = (np.asarray(x, float) for x in draw(KEYS[0]))
    scores = slope * action[..., 0] - log_density
    found = special.logsumexp(scores, axis=-1) - math.log(900)
    truth = math.log(2.0 * math.sinh(slope) / slope)
    # In units of Q's range; a third of the actions carries the whole integral.
    assert math.sqrt(((found - truth) ** 2).mean()) / (2.0 * slope) < 0.03


@pytest.mark.parametrize("slope", [25.0, 12.5])
def test_in_six_dimensions_a_mixture_finds_what_uniform_proposals_miss(
    slope: float,
) -> None:
    """At K = 64 and a range of 300 the error falls from several nats to 0.3.

    Q/α is a sum over dimensions, whose integrals multiply: a line that rises by
    2 · 25, or half as steep a one and a parabola below it.
    """
    grid = np.linspace(-1.0, 1.0, 20_001)
    bend = 12.5 - slope / 2

    def level(a: Any) -> Any:
        return slope * a - bend * (1.0 - a) ** 2

    assert 6 * np.ptp(level(grid)) == pytest.approx(300.0)
    mass = np.exp(level(grid) - level(1.0))
    truth = 6 * (level(1.0) + math.log(np.trapezoid(mass, grid)))
    # Sixteen particles a state where exp(Q/α) lives, as the sampler's would.
    share = np.cumsum(mass) / mass.sum()
    places = np.random.default_rng(0).random((300, 16, 6))
    centres = np.arctanh(np.interp(places, share, grid).clip(-1 + 1e-6, 1 - 1e-6))

    def value(action: jax.Array, log_density: jax.Array) -> jax.Array:
        return soft.sampled_value(level(action).sum(-1), log_density, 1.0)

    @jax.jit
    @jax.vmap
    def errors(key: jax.Array, centres: jax.Array) -> Any:
        flat = value(*proposals.uniform(key, 64, 6))
        near = value(*proposals.mixture(key, centres, 64, WIDTH))
        return flat - truth, near - truth

    found = errors(KEYS[:300], jnp.asarray(centres, jnp.float32))
    flat, near = (float(jnp.sqrt(jnp.mean(e**2))) for e in found)
    assert flat > 5.0
    assert near < 0.6


def test_equal_weights_all_count_and_one_alone_counts_once() -> None:
    level = jnp.zeros(8)
    assert float(soft.effective_samples(level, level, 0.5)) == pytest.approx(8.0)
    one = level.at[3].set(50.0)
    assert float(soft.effective_samples(one, level, 0.5)) == pytest.approx(1.0)
    # Drawn from exp(Q/α) itself each carries as much; twice as dense, half as much.
    rising = jnp.linspace(0.0, 3.0, 8)
    assert float(soft.effective_samples(0.5 * rising, rising, 0.5)) == pytest.approx(
        8.0
    )
    dense = jnp.log(jnp.array([1.0, 2.0]))
    assert float(soft.effective_samples(0 * dense, dense, 0.5)) == pytest.approx(1.8)
    assert float(soft.sampled_value(level, level, 0.5)) == pytest.approx(0.0, abs=1e-6)
