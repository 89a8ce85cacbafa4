"""CQL's gaps against quadrature, their gradients, the dual and Cal-QL's floor."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from softq.ops import conservative
from softq.ops.step import adam

KEY = jax.random.key(0)
SIZES, DRAWS = (10, 100, 1_000), 200
# (mean of π(·|s), mean of π(·|s'), σ of both), before tanh. The bump is at 0.3.
POLICIES = {
    "narrow": (0.3, 0.1, 0.1),
    "narrow off the bulk": (-1.2, -0.9, 0.1),
    "medium": (0.4, -0.3, 0.7),
    "wide": (0.2, -0.5, 1.2),
}
Function = Callable[[np.ndarray], np.ndarray]

sampled_gap = jax.jit(conservative.sampled_gap)
expected_gap = jax.jit(conservative.expected_gap)
rho_gap = jax.jit(conservative.rho_gap)
rho_value = jax.jit(conservative.rho_value)
log_mixture = jax.jit(conservative.log_mixture)
calibrated = jax.jit(conservative.calibrated)
draw = jax.jit(conservative.draw, static_argnums=2)


def slope(fn: Callable[..., jax.Array], *x: Any) -> Any:
    """Gradient of the sum of fn in its first argument."""
    return jax.jit(jax.grad(lambda *x: fn(*x).sum()))(*x)


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.float32(np.random.default_rng(seed).normal(0, scale, shape))


# The problem, in numpy: two shapes of Q, three families of actions, quadrature.


def bump(action: np.ndarray) -> np.ndarray:
    return np.exp(-2.0 * ((action - 0.3) ** 2).sum(-1))


def waves(action: np.ndarray) -> np.ndarray:
    first, last = action[..., 0], action[..., -1]
    return np.sin(3.0 * first + 0.5) + 0.7 * np.cos(4.0 * last - 1.0)


def critics(dim: int) -> list[tuple[str, float, Function]]:
    """(name, range, Q) of both shapes over [-1, 1]^dim, with ranges of 5 and 30."""
    nodes, _ = oracles.box_grid(dim, 20, 8)
    out: list[tuple[str, float, Function]] = []
    for shape in (bump, waves):
        unit = np.ptp(shape(nodes))
        for spread in (5.0, 30.0):
            q = functools.partial(scaled, shape, float(spread / unit))
            out.append((f"{shape.__name__}, {dim}-D, range {spread:.0f}", spread, q))
    return out


def scaled(shape: Function, scale: float, action: np.ndarray) -> np.ndarray:
    return scale * shape(action)


def soft_maximum(q: Function, dim: int, temp: float = 1.0) -> float:
    """temp · log ∫ exp(Q/temp) over the box."""
    nodes, weights = oracles.box_grid(dim, 20, 8)
    return float(temp * special.logsumexp(q(nodes) / temp, b=weights))


def around(q: Function, dim: int, mean: float, std: float) -> tuple[float, float]:
    """(E[Q], log E[exp Q]) of a tanh-Gaussian, on a grid of its noise."""
    nodes, weights = oracles.box_grid(dim, 40, 6)
    noise, weights = 8.0 * nodes, 8.0**dim * weights
    weights = weights * np.exp(-0.5 * (noise**2).sum(-1)) / (2 * math.pi) ** (dim / 2)
    value = q(np.tanh(mean + std * noise))
    return float(weights @ value), float(special.logsumexp(value, b=weights))


def log_density(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    size = np.abs(u)
    slope = math.log(4.0) - 2.0 * size - 2.0 * np.log1p(np.exp(-2.0 * size))
    normal = -0.5 * ((u - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))
    return (normal - slope).sum(-1)


@functools.cache
def samples(dim: int, policy: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions (3 families, n, dim), their own log densities and their mixture's."""
    rng = np.random.default_rng(dim)
    mean, next_mean, std = POLICIES[policy]
    shape = (DRAWS * SIZES[-1], dim)
    noise = rng.standard_normal((2, *shape), np.float32) * np.float32(std)
    noise += np.float32([mean, next_mean])[:, None, None]
    uniform = np.arctanh(0.9999999 * (2.0 * rng.random(shape, np.float32) - 1.0))
    u = np.concatenate([np.float32(uniform)[None], noise])
    flat = np.full(u.shape[:-1], conservative.log_uniform(dim), np.float32)
    every = [flat, *(log_density(u, m, std) for m in (mean, next_mean))]
    own = np.stack([density[i] for i, density in enumerate(every)])
    return np.tanh(u), own, np.asarray(log_mixture(*every))


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    samples.cache_clear()


def grouped(x: np.ndarray, n: int) -> np.ndarray:
    """(families, draws·n) to (draws, families·n): n of each family in every draw."""
    parts = x.reshape(len(x), -1, n).swapaxes(0, 1)
    return np.ascontiguousarray(parts.reshape(len(parts), -1), np.float32)


def gaps(
    q: Function, dim: int, policy: str, kind: str, temp: float = 1.0, sizes: Any = SIZES
) -> tuple[dict[int, np.ndarray], float]:
    """Every draw's gap by N, and the value at the data action."""
    action, own, mixture = samples(dim, policy)
    level, at_data = q(action), float(q(np.full(dim, 0.1)))
    out = {}
    for n in sizes:
        q_any, log_mu = (
            grouped(x, n) for x in (level, own if kind == "own" else mixture)
        )
        q_data = np.full(len(q_any), at_data, np.float32)
        out[n] = np.float64(sampled_gap(q_any, log_mu, q_data, temp=temp))
    return out, at_data


def told(errors: dict[int, np.ndarray]) -> str:
    """Bias and RMS by N, in percent of Q's range."""
    return "; ".join(
        f"N = {n}: bias {100 * e.mean():+.2f} %, RMS {100 * root(e):.2f} %"
        for n, e in errors.items()
    )


def root(x: Any) -> float:
    return float(np.sqrt((np.asarray(x, np.float64) ** 2).mean()))


# CQL(H), sampled.


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("dim", [1, 2])
def test_weighed_by_the_mixture_the_gap_is_quadratures(dim: int, policy: str) -> None:
    bound = 0.03 if "narrow" in policy else 0.015
    for name, spread, q in critics(dim):
        found, at_data = gaps(q, dim, policy, "mixture")
        truth = soft_maximum(q, dim) - at_data
        errors = {n: (gap - truth) / spread for n, gap in found.items()}
        assert root(errors[1_000]) <= bound, f"{name}, {policy}: {told(errors)}"
        assert root(errors[1_000]) < root(errors[10]), f"{name}: {told(errors)}"


@pytest.mark.parametrize("dim", [1, 2])
def test_weighed_by_own_densities_the_exponential_is_unbiased(dim: int) -> None:
    """E[exp(gap + q_data)] = ∫ exp Q, whatever the number of samples."""
    for name, _, q in critics(dim):
        truth = soft_maximum(q, dim)
        found, at_data = gaps(q, dim, "wide", "own")
        for n, gap in found.items():
            ratio = np.exp(gap + at_data - truth)
            error = ratio.std() / math.sqrt(len(ratio))
            note = f"{name}, N = {n}: {ratio.mean():.4f} ± {error:.4f}"
            assert error < 0.05, note
            assert abs(ratio.mean() - 1.0) < 4.0 * error, note


@pytest.mark.parametrize("dim", [1, 2])
def test_own_densities_of_a_narrow_policy_off_the_bulk_lose_log_3(dim: int) -> None:
    """A third of the samples carries the whole integral: why the mixture exists."""
    for name, _, q in critics(dim)[:2]:
        found, at_data = gaps(q, dim, "narrow off the bulk", "own", sizes=[1_000])
        lost = float(np.median(found[1_000])) + at_data - soft_maximum(q, dim)
        assert -1.25 < lost < -0.75, f"{name}: {lost:.2f} nats"


@pytest.mark.parametrize("kind", ["own", "mixture"])
@pytest.mark.parametrize("temp", [0.3, 3.0])
def test_temp_divides_q_and_leaves_the_density_alone(temp: float, kind: str) -> None:
    """temp·logsumexp(Q/temp − log μ) is temp·log ∫ exp(Q/temp)."""
    for dim in (1, 2):
        for name, spread, q in critics(dim)[::2]:
            found, at_data = gaps(q, dim, "wide", kind, temp, sizes=[1_000])
            truth = soft_maximum(q, dim, temp) - at_data
            errors = {n: (gap - truth) / spread for n, gap in found.items()}
            assert root(errors[1_000]) <= 0.02, f"{name}: {told(errors)}"


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_the_gap_is_its_formula_for_any_leading_axes(lead: tuple[int, ...]) -> None:
    q_any, log_mu = normal(*lead, 6, scale=10.0), normal(*lead, 6, seed=1)
    q_data = normal(*lead, seed=2)
    for temp in (1.0, 0.1, 4.0):
        scores = np.float64(q_any) / temp - log_mu
        soft = special.logsumexp(scores, axis=-1) - math.log(6)
        gap = sampled_gap(q_any, log_mu, q_data, temp=np.float32(temp))
        assert gap.shape == lead
        assert gap.dtype == np.float32
        np.testing.assert_allclose(gap, temp * soft - q_data, rtol=1e-5, atol=1e-4)


def test_temp_is_one_unless_it_is_said() -> None:
    q_any, log_mu, q_data = normal(2, 6), normal(2, 6, seed=1), normal(2, seed=2)
    said = sampled_gap(q_any, log_mu, q_data, temp=1.0)
    np.testing.assert_allclose(sampled_gap(q_any, log_mu, q_data), said, rtol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 17])
def test_the_uniform_density_is_one_over_the_boxs_volume(dim: int) -> None:
    assert float(conservative.log_uniform(dim)) == pytest.approx(-dim * math.log(2))


@pytest.mark.parametrize("k", [1, 30, 3_000])
def test_a_constant_q_has_no_gap_but_the_log_volume(k: int) -> None:
    """However many samples: log k is taken off. (log ∫ exp c = c + d log 2.)"""
    q_any, q_data = (
        np.full((2, 4, k), 7.0, np.float32),
        np.full((2, 4), 7.0, np.float32),
    )
    for temp in (1.0, 0.5):
        for dim in (0, 3):
            log_mu = np.full((2, 4, k), conservative.log_uniform(dim), np.float32)
            gap = sampled_gap(q_any, log_mu, q_data, temp=temp)
            np.testing.assert_allclose(gap, temp * dim * math.log(2), rtol=0, atol=2e-5)


def test_the_gaps_do_not_overflow() -> None:
    q_any = np.float32([[1e6, 0.0], [-1e6, -1e6]])
    for gap in (
        sampled_gap(q_any, 0.0 * q_any, np.zeros(2, np.float32)),
        rho_gap(q_any, np.zeros(2, np.float32)),
    ):
        np.testing.assert_allclose(gap, [1e6, -1e6], rtol=1e-6)


FORMS: dict[str, Callable[..., jax.Array]] = {
    "entropy": lambda q, d: conservative.sampled_gap(q, jnp.zeros_like(q), d),
    "eq2": conservative.expected_gap,
    "rho": conservative.rho_gap,
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_critic_and_state_has_a_gap_of_its_own(form: str) -> None:
    """Neither over the batch nor over critics jointly: over samples only."""
    gap = jax.jit(FORMS[form])
    q_any, q_data = normal(2, 3, 5, scale=3.0), normal(2, 3, seed=1)
    found = np.asarray(gap(q_any, q_data))
    assert found.shape == (2, 3)
    apart = [[gap(*x) for x in zip(*c, strict=True)] for c in
             zip(q_any, q_data, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found, apart, rtol=1e-5, atol=1e-6)
    raised = q_any.copy()
    raised[0, 1] += 100.0
    up = np.zeros((2, 3))
    up[0, 1] = 100.0
    np.testing.assert_allclose(gap(raised, q_data) - found, up, atol=1e-4)
    by_any, by_data = jax.jit(jax.grad(lambda *x: gap(*x).sum(), (0, 1)))(q_any, q_data)
    np.testing.assert_allclose(np.asarray(by_any).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(by_data, -np.ones((2, 3), np.float32))


def test_the_gaps_gradient_is_the_softmax_of_its_scores() -> None:
    q_any, log_mu = normal(2, 3, 5, scale=2.0), normal(2, 3, 5, seed=1)
    q_data = normal(2, 3, seed=2)
    for temp in (1.0, 0.4):
        found = slope(conservative.sampled_gap, q_any, log_mu, q_data, np.float32(temp))
        expected = special.softmax(np.float64(q_any) / temp - log_mu, axis=-1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


# The mixture's density.


def test_a_mixture_is_the_mean_of_its_densities() -> None:
    parts = normal(3, 2, 4, 5, scale=3.0)
    expected = special.logsumexp(np.float64(parts), axis=0) - math.log(3)
    np.testing.assert_allclose(log_mixture(*parts), expected, rtol=1e-5, atol=1e-5)
    for count in (1, 2, 5):
        same = log_mixture(*[parts[0]] * count)
        np.testing.assert_allclose(same, parts[0], rtol=1e-6, atol=1e-6)


def test_a_mixture_survives_densities_that_vanish_or_explode() -> None:
    parts = np.float32([[-2e4, 0.0, 2e4], [-2e4] * 3, [-np.inf] * 3])
    exact = [-2e4 + math.log(2 / 3), -math.log(3), 2e4 - math.log(3)]
    np.testing.assert_allclose(log_mixture(*parts), exact, rtol=1e-6, atol=1e-6)


# Equations 1 and 2, and CQL(ρ).


def test_eq_1_is_eq_2_without_the_data_term() -> None:
    q_any, q_data = normal(2, 3, 5), normal(2, 3, seed=1)
    first, second = expected_gap(q_any, None), expected_gap(q_any, q_data)
    np.testing.assert_allclose(first, q_any.mean(-1), atol=1e-6)
    np.testing.assert_allclose(first - second, q_data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("dim", [1, 2])
def test_eq_2_and_rho_are_quadratures_under_the_policy(dim: int, policy: str) -> None:
    mean, _, std = POLICIES[policy]
    action = samples(dim, policy)[0][1:2]
    for name, spread, q in critics(dim):
        level, at_data = q(action), float(q(np.full(dim, 0.1)))
        truths = around(q, dim, mean, std)
        by_mean: dict[int, np.ndarray] = {}
        by_rho: dict[int, np.ndarray] = {}
        for n in SIZES:
            q_any = grouped(level, n)
            q_data = np.full(len(q_any), at_data, np.float32)
            for errors, gap, truth in zip(
                (by_mean, by_rho), (expected_gap, rho_gap), truths, strict=True
            ):
                found = np.float64(gap(q_any, q_data))
                errors[n] = (found - (truth - at_data)) / spread
        assert root(by_mean[1_000]) <= 0.015, f"eq. 2, {name}: {told(by_mean)}"
        assert abs(by_mean[10].mean()) <= 0.003, f"eq. 2, {name}: {told(by_mean)}"
        assert root(by_rho[1_000]) <= 0.04, f"ρ, {name}, {policy}: {told(by_rho)}"
        assert root(by_rho[1_000]) < root(by_rho[10]), f"ρ, {name}: {told(by_rho)}"


def test_the_gradient_of_rho_is_that_with_its_weights_held() -> None:
    q_any, q_data = normal(2, 3, 5, scale=2.0), normal(2, 3, seed=1)
    held = special.softmax(np.float64(q_any), axis=-1)
    found = slope(conservative.rho_gap, q_any, q_data)
    np.testing.assert_allclose(found, held, rtol=1e-4, atol=1e-6)
    of_value = slope(conservative.rho_value, q_any)
    np.testing.assert_allclose(of_value, found, rtol=1e-4, atol=1e-6)


def test_the_value_under_rho_is_weighed_by_weights_not_differentiated() -> None:
    q_any = np.float64(normal(2, 3, 5, scale=2.0))
    held = special.softmax(q_any, axis=-1)
    value = (held * q_any).sum(-1)
    np.testing.assert_allclose(
        rho_value(np.float32(q_any)), value, rtol=1e-5, atol=1e-6
    )
    found = slope(conservative.rho_value, np.float32(q_any))
    np.testing.assert_allclose(found, held, rtol=1e-4, atol=1e-6)
    trap = held * (1.0 + q_any - value[..., None])  # of E_μ[Q] with its weights
    assert np.abs(found - trap).max() > 0.1
    assert float(rho_value(np.float32([1e6, -1e6]))) == pytest.approx(1e6)


# The four by name.


@pytest.mark.parametrize("form", ["entropy", "eq1", "eq2", "rho"])
def test_a_forms_gradient_is_the_softmax_of_the_scores_it_is_drawn_by(
    form: Any,
) -> None:
    """Its value is that of its equation, and the density matters to CQL(H) alone."""
    q_any, q_data = normal(2, 3, 5, scale=2.0), normal(2, 3, seed=2)
    log_mu = normal(2, 3, 5, seed=1)

    def gap(q: jax.Array) -> jax.Array:
        return conservative.gap(form, q, jnp.asarray(log_mu), jnp.asarray(q_data))

    q = np.float64(q_any)
    expected = {
        "entropy": special.logsumexp(q - log_mu, axis=-1) - math.log(5) - q_data,
        "eq1": q.mean(-1),
        "eq2": q.mean(-1) - q_data,
        "rho": special.logsumexp(q, axis=-1) - math.log(5) - q_data,
    }[form]
    np.testing.assert_allclose(jax.jit(gap)(q_any), expected, rtol=1e-5, atol=1e-5)
    scores = jax.jit(functools.partial(conservative.scores, form))(q_any, log_mu)
    chance = special.softmax(np.float64(scores), axis=-1)
    np.testing.assert_allclose(slope(gap, q_any), chance, rtol=1e-4, atol=1e-6)


# The Lagrange multiplier.


@jax.jit
def dual(log_weight: Any, gap: Any, gap_weight: Any, gap_target: Any) -> Any:
    """((loss, info), derivative in log α')."""

    def loss(log_weight: jax.Array) -> Any:
        return conservative.dual_loss(
            log_weight, gap, gap_weight=gap_weight, gap_target=gap_target
        )

    return jax.value_and_grad(loss, has_aux=True)(log_weight)


@pytest.mark.parametrize(("gap_weight", "gap_target"), [(2.0, 1.0), (5.0, -13.0)])
def test_the_dual_is_minus_the_weighted_excess(
    gap_weight: float, gap_target: float
) -> None:
    """The weight multiplies the gap alone, and the target is left as it is."""
    for log_weight in (-3.0, 0.0, 2.0, math.log(9e5)):
        for gap in (4.0, gap_target / gap_weight, -4.0):
            args = (log_weight, gap, gap_weight, gap_target)
            (loss, info), slope = dual(*map(np.float32, args))
            excess = gap_weight * gap - gap_target
            expected = -math.exp(log_weight) * excess
            near = 1e-6 * math.exp(log_weight)
            assert float(loss) == pytest.approx(expected, rel=1e-5, abs=near)
            assert float(slope) == pytest.approx(expected, rel=1e-5, abs=near)
            assert all(np.shape(x) == () and np.isfinite(x) for x in info.values())
            if abs(excess) > 0.1:  # descent raises α' exactly when in excess
                assert (float(slope) < 0) == (excess > 0)


def test_the_knobs_of_the_dual_may_be_plain_numbers() -> None:
    args = jnp.float32(2.0), jnp.float32(4.0)
    loss, info = conservative.dual_loss(*args, gap_weight=2.0, gap_target=1.0)
    assert float(loss) == pytest.approx(-7.0 * math.exp(2.0), rel=1e-5)
    assert isinstance(info, dict)


def test_descending_the_dual_settles_where_the_gap_meets_its_target() -> None:
    """A gap of 3 − log α' meets 2 gap = 1 at log α' = 2.5."""

    def step(log_weight: jax.Array, _: None) -> Any:
        slope = dual(log_weight, 3.0 - log_weight, jnp.float32(2.0), jnp.float32(1.0))[
            1
        ]
        return log_weight - 0.01 * slope, None

    run = jax.jit(lambda start: jax.lax.scan(step, start, None, 500)[0])
    for start in (-1.0, 3.0):
        assert float(run(jnp.float32(start))) == pytest.approx(2.5, abs=1e-3)


@pytest.mark.parametrize("start", [math.log(1e6), 15.0, 200.0])
def test_the_multiplier_stops_at_a_million_and_comes_down_again(start: float) -> None:
    """Also from where its exponential is infinite in float32."""
    knobs = {"gap_weight": 2.0, "gap_target": 1.0}
    top = conservative.capped(jnp.float32(start))
    for gap, expected in ((3.0, math.log(1e6)), (-3.0, math.log(1e6) - 0.1)):
        held, moments = conservative.hold(
            top, adam(top), 0.1, jnp.float32(gap), **knobs
        )
        assert float(held) == pytest.approx(expected, abs=1e-5)
        assert int(moments.steps) == 1


def test_without_a_target_nothing_is_held_and_the_factor_is_one() -> None:
    log_weight = jnp.float32(2.0)
    moments = adam(log_weight)
    held = conservative.hold(
        log_weight, moments, 0.1, jnp.float32(3.0), gap_weight=2.0, gap_target=None
    )
    assert held == (log_weight, moments)
    assert float(conservative.factor(log_weight, None)) == 1.0
    assert float(conservative.factor(log_weight, 1.0)) == pytest.approx(math.exp(2))


# Cal-QL.


def test_the_floor_lifts_values_and_stops_their_gradient() -> None:
    q = np.float32([[[1.0, 5.0, -2.0], [0.0, 7.0, 3.0]]])
    floor = np.float32([[2.0, 1.0]])
    expected = [[[2.0, 5.0, 2.0], [1.0, 7.0, 3.0]]]
    np.testing.assert_array_equal(calibrated(q, floor), expected)
    found = slope(conservative.calibrated, q, floor)
    np.testing.assert_array_equal(found, [[[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]])


def test_a_floor_of_minus_infinity_changes_nothing() -> None:
    q, floor = normal(1, 2, 3), np.full((1, 2), -np.inf, np.float32)
    np.testing.assert_array_equal(calibrated(q, floor), q)
    found = slope(conservative.calibrated, q, floor)
    np.testing.assert_array_equal(found, np.ones((1, 2, 3), np.float32))


def test_floored_samples_keep_their_weight_in_the_gap_but_no_gradient() -> None:
    q, lifted = np.float32([0.0, 2.0, -1.0]), [1.0, 2.0, 1.0]

    def gap(q: jax.Array) -> jax.Array:
        values = conservative.calibrated(q, jnp.float32(1.0))
        return conservative.sampled_gap(values, jnp.zeros(3), jnp.float32(0.0))

    value = math.log(np.exp(lifted).mean())
    assert float(jax.jit(gap)(q)) == pytest.approx(value, rel=1e-5)
    expected = special.softmax(lifted) * [0.0, 1.0, 0.0]
    np.testing.assert_allclose(slope(gap, q), expected, rtol=1e-5, atol=1e-7)


# The sampled gradient.

# More critics than two, because the parameters of one move together: the z of a
# block would hang on a few independent numbers.
CRITICS, STATES, SAMPLES, INPUTS, WIDTH, TEMP = 8, 8, 9, 4, 12, 0.8


def value(params: Any, x: jax.Array) -> jax.Array:
    """(critics, states, any number, inputs) to (critics, states, any number)."""
    before = jnp.einsum("csix,cxh->csih", x, params["inner"])
    hidden = jnp.tanh(before + params["bias"][:, None, None, :])
    return jnp.einsum("csih,ch->csi", hidden, params["outer"])


PARAMS = {
    "inner": normal(CRITICS, INPUTS, WIDTH, seed=1),
    "bias": normal(CRITICS, WIDTH, seed=2),
    "outer": normal(CRITICS, WIDTH, scale=0.3, seed=3),
}
X = np.stack([normal(STATES, SAMPLES, INPUTS, seed=4)] * CRITICS)
LOG_MU = normal(CRITICS, STATES, SAMPLES, scale=0.5, seed=5)


@jax.jit
def gradients(floored: jax.Array, shared: jax.Array) -> tuple[Any, Any]:
    """The exact gradient of the gaps, and 10,000 sampled ones of 2 indices each.

    `floored`: Cal-QL's floor holds for about half the samples.
    `shared`: the first critic's indices are taken for all.
    """
    least = jnp.where(floored, value(PARAMS, X).mean(-1), -jnp.inf)

    def lifted(params: Any, x: jax.Array) -> jax.Array:
        return conservative.calibrated(value(params, x), least)

    def exact(params: Any) -> jax.Array:
        scores = lifted(params, X) / TEMP - LOG_MU
        return TEMP * jax.nn.logsumexp(scores, axis=-1).sum()

    def surrogate(params: Any, key: jax.Array) -> jax.Array:
        index = conservative.draw(key, scores, 2)
        index = jnp.where(shared, jnp.broadcast_to(index[:1], index.shape), index)
        drawn = jnp.take_along_axis(X, index[..., None], axis=2)
        return lifted(params, drawn).mean(-1).sum()

    scores = lifted(PARAMS, X) / TEMP - LOG_MU
    keys = jax.random.split(KEY, (10, 1_000))
    some = jax.vmap(jax.grad(surrogate), (None, 0))
    drawn = jax.lax.map(lambda keys: some(PARAMS, keys), keys)
    return jax.grad(exact)(PARAMS), drawn


def errors(floored: bool = False, shared: bool = False) -> dict[str, np.ndarray]:
    """(mean over keys − exact)/standard error, by block of parameters."""
    truth, drawn = gradients(jnp.asarray(floored), jnp.asarray(shared))
    out = {}
    for block, exact in truth.items():
        g = np.float64(drawn[block]).reshape(10_000, *exact.shape)
        out[block] = (g.mean(0) - np.float64(exact)) / (g.std(0) / 100.0)
    return out


@pytest.mark.parametrize("floored", [False, True])
def test_the_sampled_gradient_is_the_exact_one_on_average(floored: bool) -> None:
    """With Cal-QL's floor too, whose samples are drawn and have no gradient."""
    z = errors(floored)
    sizes = {block: round(root(x), 2) for block, x in z.items()}
    assert all(0.7 <= size <= 1.3 for size in sizes.values()), sizes
    beyond = np.abs(np.concatenate([x.ravel() for x in z.values()])) > 3.0
    assert beyond.mean() < 0.01, sizes


def test_indices_that_critics_share_are_biased() -> None:
    z = errors(shared=True)
    first = {block: root(x[0]) for block, x in z.items()}
    others = {block: root(x[1:]) for block, x in z.items()}
    assert all(size < 2.0 for size in first.values()), first
    assert all(size > 5.0 for size in others.values()), others


# The indices themselves.


def fits(counts: np.ndarray, chance: np.ndarray) -> float:
    """p of a chi-squared test; nothing may fall where the chance is nought."""
    possible = chance > 0
    assert not counts[~possible].any()
    expected = chance[possible] * counts.sum()
    return float(stats.chisquare(counts[possible], expected).pvalue)


def test_indices_are_drawn_from_the_softmax_of_their_own_scores() -> None:
    scores = normal(2, 3, 5, scale=1.5)
    scores[0, 0] += 1e3
    scores[1, 1] -= 1e3
    scores[0, 1, 0] = scores[1, 2, -1] = -np.inf
    scores[0, 2, 1:3] = -np.inf
    index = np.asarray(draw(KEY, scores, 20_000))
    assert index.shape == (2, 3, 20_000)
    assert np.issubdtype(index.dtype, np.integer)
    for place in np.ndindex(2, 3):
        counts = np.bincount(index[place], minlength=5)
        assert len(counts) == 5
        assert fits(counts, special.softmax(np.float64(scores[place]))) > 1e-3, place


def test_indices_are_independent_over_critics_states_and_draws() -> None:
    """Equal scores everywhere, so that shared noise would draw equal indices."""
    row = np.float32([0.3, -1.0, 1.2, 0.0])
    chance = special.softmax(np.float64(row))
    index = np.asarray(draw(KEY, np.tile(row, (2, 10_000, 1)), 2))
    pairs = {
        "critics": (index[0], index[1]),
        "states": (index[:, ::2], index[:, 1::2]),
        "draws": (index[..., 0], index[..., 1]),
    }
    for name, (first, second) in pairs.items():
        counts = np.bincount(4 * first.ravel() + second.ravel(), minlength=16)
        assert fits(counts, np.outer(chance, chance).ravel()) > 1e-3, name


def test_only_samples_that_have_a_chance_are_drawn() -> None:
    """At either end of the axis too, where an inverse cdf slips."""
    scores = np.full((4, 500, 6), -np.inf, np.float32)
    scores[0, :, 0], scores[1, :, 5], scores[2, :, 3] = -1e4, 1e4, 0.0
    scores[3, :, 1:-1] = 0.0
    index = np.asarray(draw(KEY, scores, 20))
    expected = np.broadcast_to(np.array([0, 5, 3])[:, None, None], (3, 500, 20))
    np.testing.assert_array_equal(index[:3], expected)
    assert set(np.unique(index[3])) == {1, 2, 3, 4}


def test_indices_are_the_keys() -> None:
    scores = normal(4, 500, 6)
    first, again = draw(KEY, scores, 20), draw(KEY, scores, 20)
    other = draw(jax.random.key(1), scores, 20)
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).mean() > 0.3


def test_friction_charges_at_once_what_is_over_the_target_and_never_pays() -> None:
    over = jnp.asarray([-3.0, -0.5, 0.0, 2.0])
    paid = conservative.damped(jnp.float32(1.5), over, 0.7)
    np.testing.assert_allclose(paid, [0.0, 1.15, 1.5, 2.9], rtol=1e-6)
    np.testing.assert_array_equal(conservative.damped(jnp.float32(1.5), over, 0.0), 1.5)
    slope = jax.grad(lambda x: conservative.damped(jnp.float32(1.5), x, 0.7).sum())
    np.testing.assert_array_equal(slope(over), 0.0)  # a price, not a loss


def test_a_penalty_is_the_price_of_what_is_over_the_target() -> None:
    paid, price = jnp.asarray([5.0, 1.0]), jnp.float32(1.5)
    alone = conservative.penalty(price, paid, None, 0.7)
    np.testing.assert_allclose(alone, 1.5 * paid)
    held = conservative.penalty(price, paid, 2.0, 0.5)
    np.testing.assert_allclose(held, [3.0 * 3.0, 1.0 * -1.0])


def test_friction_ends_the_swinging_of_a_gap_that_follows_late() -> None:
    """A gap that moves by what is paid beyond 1: a pendulum without friction."""

    @jax.jit
    def swing(damping: Any) -> Any:
        def one(at: Any, _: None) -> Any:
            log_weight, gap = at
            price = conservative.damped(jnp.exp(log_weight), gap - 2.0, damping)
            at = log_weight + 0.01 * (gap - 2.0), gap - 0.01 * (price - 1.0)
            return at, jnp.abs(gap - 2.0)

        start = jnp.float32(0.0), jnp.float32(3.0)
        return jax.lax.scan(one, start, None, 4_000)[1][-700:].max()

    assert swing(jnp.float32(0.0)) > 0.5
    assert swing(jnp.float32(0.5)) < 0.01
