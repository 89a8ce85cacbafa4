"""The squashed Gaussian against its definition, at the bounds above all."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from softq.ops import tanh_normal

# Up to |u| = 20, where tanh is 1 in both precisions and only u knows how far out it is.
U = np.array([-20.0, -9.0, -3.0, -0.7, -1e-3, 0.0, 0.2, 1.5, 5.0, 12.0, 20.0])[:, None]


# Compiled once a shape: most of these tests share one.
log_prob = jax.jit(tanh_normal.log_prob)
log_det_tanh = jax.jit(tanh_normal.log_det_tanh)
bound_log_std = jax.jit(tanh_normal.bound_log_std)
sample = jax.jit(tanh_normal.sample)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[np.dtype]:
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def density(a: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    """softq's density of actions (n, d), in float64."""
    rows = [np.broadcast_to(row, a.shape) for row in (mean, np.log(std))]
    return np.exp(log_prob(jnp.array(np.arctanh(a)), *map(jnp.array, rows)))


def tiled(row: Sequence[float] | np.ndarray, n: int) -> jax.Array:
    return jnp.array(np.tile(np.float32(row), (n, 1)))


def gradient_of_one(fn: Callable[..., jax.Array], x: jax.Array) -> np.ndarray:
    """d fn(x)_i / d x_i of a function that treats its rows alike."""
    return np.asarray(jax.jit(jax.grad(lambda y: jnp.sum(fn(y))))(x))


# The density.


@pytest.mark.parametrize(
    ("mean", "std"), [(0.0, 1.0), (0.8, 0.5), (-1.2, 0.2), (0.3, 0.05), (0.0, 0.75)]
)
@pytest.mark.usefixtures("double")
def test_density_integrates_to_one_in_one_dimension(mean: float, std: float) -> None:
    nodes, weights = oracles.box_grid(dim=1, panels=200, order=16)
    mass = np.sum(weights * density(nodes, [mean], [std]))
    assert mass == pytest.approx(1.0, abs=1e-6)


@pytest.mark.usefixtures("double")
def test_density_integrates_to_one_in_two_dimensions() -> None:
    nodes, weights = oracles.box_grid(dim=2, panels=15, order=12)
    mass = np.sum(weights * density(nodes, [0.4, -0.6], [0.6, 0.3]))
    assert mass == pytest.approx(1.0, abs=1e-5)


@pytest.mark.usefixtures("double")
def test_probability_of_an_interval_is_that_of_its_preimage() -> None:
    # Integrating to one would also hold for a density pushed to the wrong side.
    nodes, weights = oracles.box_grid(dim=1, panels=200, order=16)
    mass = density(nodes, [0.5], [0.7]) * weights
    for bound in (-0.8, 0.0, 0.1, 0.9):
        expected = stats.norm.cdf(np.arctanh(bound), loc=0.5, scale=0.7)
        assert np.sum(mass[nodes[:, 0] < bound]) == pytest.approx(expected, abs=1e-6)


def test_log_prob_is_the_change_of_variables(dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    u = np.tile(U, (1, 3)).astype(dtype)
    mean = rng.normal(size=u.shape).astype(dtype)
    log_std = rng.uniform(-1.0, 1.5, size=u.shape).astype(dtype)
    ours = log_prob(jnp.array(u), jnp.array(mean), jnp.array(log_std))
    assert ours.dtype == dtype
    expected = oracles.tanh_normal_log_prob(u, mean, log_std)
    np.testing.assert_allclose(ours, expected, rtol=20 * np.finfo(dtype).eps)


def test_log_det_is_the_log_derivative_of_tanh(dtype: np.dtype) -> None:
    u = U.astype(dtype)
    ours = log_det_tanh(jnp.array(u))
    # Three terms of size |u| or less, hence a rounding error in units of 1 + |u|.
    error = np.abs(ours - oracles.log_sech2(u)[:, 0]) / (1.0 + np.abs(u[:, 0]))
    assert np.max(error) < 4 * np.finfo(dtype).eps


def test_log_prob_sums_dimensions_and_keeps_leading_axes() -> None:
    u, mean, log_std = (
        jnp.array(np.random.default_rng(i).normal(size=(2, 3, 4)), jnp.float32)
        for i in range(3)
    )
    joint = log_prob(u, mean, log_std)
    assert joint.shape == (2, 3)
    parts = [
        log_prob(u[..., i, None], mean[..., i, None], log_std[..., i, None])
        for i in range(4)
    ]
    np.testing.assert_allclose(joint, sum(parts), rtol=1e-5, atol=1e-5)


# The bounds.


@pytest.mark.parametrize("far", [-20.0, 20.0, -300.0, 300.0])
def test_value_and_gradients_are_finite_and_right_far_out(
    dtype: np.dtype, far: float
) -> None:
    u, mean, log_std = jnp.full((1, 1), far, dtype), *jnp.zeros((2, 1, 1), dtype)
    value = log_prob(u, mean, log_std)
    # 1 − tanh² u is 4 exp(−2|u|) here.
    expected = stats.norm.logpdf(far) - np.log(4.0) + 2.0 * abs(far)
    np.testing.assert_allclose(value, [expected], rtol=1e-5)

    def total(*args: jax.Array) -> jax.Array:
        return jnp.sum(log_prob(*args))

    slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2)))
    du, dmean, dlog_std = slopes(u, mean, log_std)
    np.testing.assert_allclose(du, [[-far + 2.0 * np.sign(far)]], rtol=1e-6)
    np.testing.assert_allclose(dmean, [[far]], rtol=1e-6)
    np.testing.assert_allclose(dlog_std, [[far**2 - 1.0]], rtol=1e-6)


@pytest.mark.parametrize("far", [-1e30, -1e4, -50.0, 50.0, 1e4, 1e30])
def test_log_det_and_its_gradient_are_finite_everywhere(far: float) -> None:
    u = jnp.full((1,), far)
    expected = np.log(4.0) - 2.0 * abs(far)
    np.testing.assert_allclose(log_det_tanh(u), expected, rtol=1e-6)
    slope = gradient_of_one(log_det_tanh, u)
    np.testing.assert_allclose(slope, [-2.0 * np.sign(far)], rtol=1e-6)


def test_log_det_gradient_is_minus_two_tanh(dtype: np.dtype) -> None:
    u = jnp.array(U, dtype)
    slope = gradient_of_one(log_det_tanh, u)
    np.testing.assert_allclose(
        slope, -2.0 * np.tanh(U), rtol=0, atol=32 * np.finfo(dtype).eps
    )


def test_the_common_naive_form_is_wrong_near_the_bounds_where_ours_is_right() -> None:
    def naive(u: jax.Array) -> jax.Array:
        return jnp.sum(jnp.log(1.0 - jnp.tanh(u) ** 2 + 1e-6), axis=-1)

    u = jnp.array([[8.0], [10.0], [20.0], [-20.0]])
    truth = oracles.log_sech2(np.asarray(u))[:, 0]
    assert np.all(np.abs(naive(u) - truth) > [0.5, 4.0, 20.0, 20.0])
    np.testing.assert_allclose(log_det_tanh(u), truth, rtol=1e-6)
    # It also forgets which way leads back from the bound.
    assert np.all(np.abs(gradient_of_one(naive, u)[1:]) < 1.0)
    assert np.all(np.abs(gradient_of_one(log_det_tanh, u)) > 1.99)


# Gradients.


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_gradients_of_log_prob_are_finite_differences_of_the_oracle(
    argument: int,
) -> None:
    rng = np.random.default_rng(1)
    args = [rng.normal(size=(4, 2)) for _ in range(3)]
    args[0] = 3.0 * args[0]

    def total(x: np.ndarray) -> float:
        moved = [x if i == argument else arg for i, arg in enumerate(args)]
        return float(oracles.tanh_normal_log_prob(*moved).sum())

    slope = jax.jit(jax.grad(lambda *a: jnp.sum(log_prob(*a)), argnums=argument))
    ours = slope(*map(jnp.array, args))
    expected = oracles.numeric_gradient(total, args[argument])
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("output", ["action", "u", "logp"])
def test_reparameterised_gradients_are_finite_differences(output: str) -> None:
    key, start = jax.random.key(2), np.array([0.3, -1.1, 0.2, -0.5])

    @jax.jit
    def total(both: jax.Array) -> jax.Array:
        drawn = sample(key, both[:2], both[2:])
        chosen = dict(zip(("action", "u", "logp"), drawn, strict=True))[output]
        return jnp.sum(chosen)

    expected = oracles.numeric_gradient(lambda x: float(total(jnp.array(x))), start)
    ours = jax.jit(jax.grad(total))(jnp.array(start))
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-8)


def test_gradient_of_a_samples_logp_in_the_mean_is_the_jacobian_term_alone() -> None:
    # Through (u − mean)/σ it would pick up rounding noise of size 1/σ.
    mean, log_std = jnp.array([5.0, -2.0]), jnp.full((2,), -10.0)
    key = jax.random.key(0)
    _, u, _ = sample(key, mean, log_std)
    slope = jax.jit(jax.grad(lambda m: sample(key, m, log_std)[2]))(mean)
    np.testing.assert_allclose(slope, 2.0 * np.tanh(np.asarray(u)), rtol=1e-6)


# Sampling.


def test_samples_logp_is_log_prob_of_its_u(dtype: np.dtype) -> None:
    rng = np.random.default_rng(3)
    mean = jnp.array(rng.normal(size=(500, 3)), dtype)
    log_std = jnp.array(rng.uniform(-2.0, 1.0, size=(500, 3)), dtype)
    action, u, logp = sample(jax.random.key(4), mean, log_std)
    assert {action.dtype, u.dtype, logp.dtype} == {dtype}
    np.testing.assert_array_equal(action, jnp.tanh(u))
    again = log_prob(u, mean, log_std)
    np.testing.assert_allclose(logp, again, rtol=0, atol=200 * np.finfo(dtype).eps)
    expected = oracles.tanh_normal_log_prob(u[:50], mean[:50], log_std[:50])
    np.testing.assert_allclose(
        logp[:50], expected, rtol=0, atol=200 * np.finfo(dtype).eps
    )


def test_samples_are_normal_before_tanh_and_independent() -> None:
    mean, std = np.array([0.5, -1.0]), np.array([0.3, 1.5])
    rows = [tiled(x, 20_000) for x in (mean, np.log(std))]
    _, u, _ = sample(jax.random.key(5), *rows)
    z = (np.asarray(u, np.float64) - mean) / std
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    # Standard error of a correlation: 1/√n = 0.007.
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.025


@pytest.mark.parametrize(
    ("mean", "log_std"), [((0.0, 0.0), (0.0, 0.0)), ((1.0, -2.0), (-1.5, 0.7))]
)
def test_entropy_by_monte_carlo_is_that_by_quadrature(
    mean: tuple[float, ...], log_std: tuple[float, ...]
) -> None:
    n = 50_000
    rows = [tiled(x, n) for x in (mean, log_std)]
    _, _, logp = sample(jax.random.key(6), *rows)
    surprise = -np.asarray(logp, np.float64)
    error = surprise.mean() - oracles.tanh_normal_entropy(mean, log_std)
    assert abs(error) < 4.0 * surprise.std() / np.sqrt(n)


# The greedy action.


def test_median_is_tanh_of_the_mean_and_splits_the_samples_in_half() -> None:
    mean, n = jnp.array([-1.0, 0.2, 1.5]), 40_000
    middle = tanh_normal.median(mean)
    np.testing.assert_allclose(middle, np.tanh([-1.0, 0.2, 1.5]), rtol=1e-6)
    rows = tiled([-1.0, 0.2, 1.5], n), tiled([0.3, 0.3, 0.3], n)
    action, _, _ = sample(jax.random.key(7), *rows)
    below = np.mean(np.asarray(action) < np.asarray(middle), axis=0)
    np.testing.assert_allclose(below, 0.5, atol=4.0 * 0.5 / np.sqrt(n))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("variance", "is_mode"), [(0.45, True), (0.55, False)])
def test_median_stops_being_the_mode_at_a_variance_of_one_half(
    variance: float, is_mode: bool
) -> None:
    actions = np.linspace(-0.9, 0.9, 181)[:, None]
    heights = density(actions, [0.0], [np.sqrt(variance)])
    assert (np.argmax(heights) == 90) == is_mode
    assert (heights[90] > heights[85]) == is_mode


# The bounded log standard deviation.


def test_bound_log_std_stays_within_its_ends() -> None:
    far = [-3e38, -1e6, -100.0, 100.0, 1e6, 3e38]
    raw = jnp.concatenate([jnp.linspace(-50.0, 50.0, 2001), jnp.array(far)])
    bounded = np.asarray(bound_log_std(raw))
    assert (tanh_normal.LOG_STD_MIN, tanh_normal.LOG_STD_MAX) == (-10.0, 2.0)
    assert bounded.min() >= -10.0
    assert bounded.max() <= 2.0
    # And reaches them, so that the stated range is the range.
    np.testing.assert_allclose(bounded[[-6, -1]], [-10.0, 2.0], atol=1e-5)


def test_bound_log_std_is_monotone(dtype: np.dtype) -> None:
    raw = jnp.linspace(-50.0, 50.0, 4001, dtype=dtype)
    step = np.diff(np.asarray(bound_log_std(raw)))
    # Flat at an end is rounding; backwards would be a fault, up to one rounding.
    assert step.min() >= -16 * np.finfo(dtype).eps
    inner = (np.asarray(raw)[1:] > -15.0) & (np.asarray(raw)[1:] < 8.0)
    assert step[inner].min() > 0.0


def test_bound_log_std_is_near_the_identity_in_the_middle() -> None:
    raw = jnp.linspace(-7.0, -1.0, 101)
    np.testing.assert_allclose(bound_log_std(raw), raw, atol=0.05)
    slope = gradient_of_one(bound_log_std, raw)
    np.testing.assert_allclose(slope, 1.0, atol=0.05)


def test_bound_log_std_never_loses_its_gradient(dtype: np.dtype) -> None:
    # The two sigmoids of the smooth map are above 1e-21 here: float32 has room.
    raw = jnp.linspace(-50.0, 50.0, 1001, dtype=dtype)
    slope = gradient_of_one(bound_log_std, raw)
    stuck = np.asarray(raw)[slope <= 0.0]
    assert stuck.size == 0, f"no gradient from {stuck.min()} to {stuck.max()}"


@pytest.mark.usefixtures("double")
def test_bound_log_std_gradient_is_its_finite_difference() -> None:
    raw = np.linspace(-14.0, 8.0, 23)
    expected = oracles.numeric_gradient(
        lambda x: float(jnp.sum(bound_log_std(jnp.array(x)))), raw
    )
    slope = gradient_of_one(bound_log_std, jnp.array(raw))
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-8)
