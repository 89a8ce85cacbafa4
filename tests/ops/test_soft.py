"""Soft operators over a finite set: identities, limits, extremes, gradients."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softq.ops import soft

ALPHAS = [1e-6, 1e-2, 1.0, 30.0, 1e6]
# Ties at the top, one action far below (its probability underflows), a plain row.
ROWS = np.array(
    [[3.0, 3.0, 1.0, -2.0], [0.0, -1e4, 0.5, 0.25], [1.0, -1.0, 0.3, 0.9]], np.float64
)
# The same functions must also hold where float32 is coarse.
HUGE = np.array(
    [[1e6, -1e6, 999_999.0, 0.0], [-1e6] * 4, [0.0, 1.0, 1e6, 2.0]], np.float64
)

cheap = settings(max_examples=40, deadline=None, derandomize=True)
actions = st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4)
temperatures = st.floats(-6.0, 6.0).map(lambda power: 10.0**power)


# Compiled once a shape, whatever the temperature.
value, boltzmann, log_boltzmann, entropy = map(
    jax.jit, (soft.value, soft.boltzmann, soft.log_boltzmann, soft.entropy)
)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[np.dtype]:
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def size(q: jax.Array, alpha: float) -> np.ndarray:
    """The largest number in V's sum: what its rounding error is relative to."""
    q = np.asarray(q, np.float64)
    return np.abs(q).max(-1) + alpha * np.log(q.shape[-1])


# Values.


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rows", [ROWS, HUGE], ids=["plain", "huge"])
def test_value_policy_and_entropy_are_scipys(
    dtype: np.dtype, rows: np.ndarray, alpha: float
) -> None:
    q, eps = jnp.array(rows, dtype), np.finfo(dtype).eps
    v, p = value(q, alpha), boltzmann(q, alpha)
    log_p = log_boltzmann(q, alpha)
    assert {v.dtype, p.dtype, log_p.dtype, entropy(log_p).dtype} == {dtype}
    error = np.abs(v - oracles.soft_value(rows, alpha))
    assert np.all(error <= 8 * eps * size(q, alpha))
    expected = oracles.boltzmann(rows, alpha)
    # (Q − max Q)/α is rounded once: a relative error of p, large only where p is small.
    np.testing.assert_allclose(p, expected, rtol=0, atol=8 * eps)
    np.testing.assert_allclose(np.exp(log_p), expected, rtol=0, atol=8 * eps)
    np.testing.assert_allclose(
        entropy(log_p), oracles.entropy(expected), rtol=0, atol=32 * eps
    )


@pytest.mark.parametrize("alpha", [0.0, *ALPHAS])
@pytest.mark.parametrize("rows", [ROWS, HUGE], ids=["plain", "huge"])
def test_value_is_expected_q_plus_alpha_entropy(
    dtype: np.dtype, rows: np.ndarray, alpha: float
) -> None:
    q = jnp.array(rows, dtype)
    p, h = (
        np.asarray(x) for x in (boltzmann(q, alpha), entropy(log_boltzmann(q, alpha)))
    )
    error = np.abs(value(q, alpha) - (np.sum(p * rows, axis=-1) + alpha * h))
    assert np.all(error <= 8 * np.finfo(dtype).eps * size(q, alpha))


def test_a_temperature_may_be_an_array() -> None:
    q = jnp.array(ROWS, jnp.float32)
    for fn in (value, boltzmann, log_boltzmann):
        np.testing.assert_allclose(fn(q, jnp.float32(0.3)), fn(q, 0.3), rtol=1e-6)
    # And traced, the zero included: one compiled program for every temperature.
    swept = jax.jit(jax.vmap(value, in_axes=(None, 0)))(q, jnp.array([0.0, 0.3]))
    np.testing.assert_array_equal(swept[0], np.max(q, axis=-1))
    np.testing.assert_allclose(swept[1], value(q, 0.3), rtol=1e-6)


@cheap
@given(actions, temperatures)
def test_value_lies_between_the_maximum_and_alpha_log_n_above_it(
    row: list[float], alpha: float
) -> None:
    q = jnp.array(row, jnp.float32)
    v, slack = float(value(q, alpha)), 4e-7 * size(q, alpha)
    assert np.max(row) <= v <= np.max(row) + alpha * np.log(4.0) + slack
    assert abs(v - oracles.soft_value(np.array(row), alpha)) <= 2 * slack


@cheap
@given(actions, temperatures)
def test_probabilities_sum_to_one_and_follow_the_order_of_q(
    row: list[float], alpha: float
) -> None:
    p = np.asarray(boltzmann(jnp.array(row, jnp.float32), alpha))
    assert np.all(p >= 0.0)
    assert abs(p.sum(dtype=np.float64) - 1.0) <= 4e-7
    assert np.all(np.diff(p[np.argsort(row, kind="stable")]) >= 0.0)


@cheap
@given(actions, temperatures, st.permutations(range(4)))
def test_identity_and_symmetry_hold_for_any_row(
    row: list[float], alpha: float, order: list[int]
) -> None:
    q = jnp.array(row, jnp.float32)
    v, slack = value(q, alpha), 1e-6 * size(q, alpha)
    h = entropy(log_boltzmann(q, alpha))
    assert 0.0 <= float(h) <= np.log(4.0) + 1e-6
    expected_q = np.asarray(boltzmann(q, alpha), np.float64) @ np.array(row)
    assert abs(float(v) - expected_q - alpha * float(h)) <= slack
    again = value(jnp.array(np.float32(row)[order]), alpha)
    assert abs(float(v) - float(again)) <= slack


@cheap
@given(actions, actions, temperatures)
def test_value_is_non_expansive_in_the_maximum_norm(
    one: list[float], two: list[float], alpha: float
) -> None:
    # What makes the soft Bellman operator a contraction.
    a, b = jnp.array(one, jnp.float32), jnp.array(two, jnp.float32)
    moved = abs(float(value(a, alpha)) - float(value(b, alpha)))
    slack = 1e-6 * (size(a, alpha) + size(b, alpha))
    assert moved <= np.abs(np.subtract(one, two)).max() + slack


# Limits and extremes.


@pytest.mark.parametrize("alpha", [0.0, 1e-30, 1e-12, 1e-6])
def test_a_vanishing_temperature_gives_the_maximum_and_its_uniform_choice(
    dtype: np.dtype, alpha: float
) -> None:
    q = jnp.array([[2.0, 5.0, 5.0, -1.0], [0.0, 1.0, -7.0, 0.5]], dtype)
    p = np.array([[0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(value(q, alpha), [5.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(boltzmann(q, alpha), p, rtol=0, atol=1e-7)
    log_p = log_boltzmann(q, alpha)
    np.testing.assert_allclose(np.exp(log_p), p, rtol=0, atol=1e-7)
    np.testing.assert_allclose(entropy(log_p), [np.log(2.0), 0.0], rtol=1e-6, atol=1e-7)


def test_zero_temperature_is_exactly_the_maximum(dtype: np.dtype) -> None:
    q = jnp.array(np.random.default_rng(0).normal(size=(20, 5)), dtype)
    np.testing.assert_array_equal(value(q, 0.0), np.max(q, axis=-1))
    greedy = np.eye(5)[np.argmax(q, axis=-1)]
    np.testing.assert_array_equal(boltzmann(q, 0.0), greedy)


def test_an_infinite_temperature_gives_the_uniform_policy(dtype: np.dtype) -> None:
    q = jnp.array(ROWS, dtype)
    for alpha in (1e12, 1e30):
        p, log_p = boltzmann(q, alpha), log_boltzmann(q, alpha)
        np.testing.assert_allclose(p, 0.25, rtol=1e-6)
        np.testing.assert_allclose(entropy(log_p), np.log(4.0), rtol=1e-6)
        np.testing.assert_allclose(value(q, alpha), alpha * np.log(4.0), rtol=1e-6)


def test_nothing_overflows_at_the_extremes() -> None:
    q = jnp.array(HUGE, jnp.float32)
    gradients = [
        jax.jit(jax.grad(lambda x, a: jnp.sum(value(x, a)))),
        jax.jit(jax.grad(lambda x, a: jnp.sum(boltzmann(x, a)[:, 0]))),
    ]
    for alpha in (1e-6, 1e-3, 1e6):
        both = value(q, alpha), boltzmann(q, alpha)
        slopes = [slope(q, alpha) for slope in gradients]
        assert all(np.all(np.isfinite(x)) for x in (*both, *slopes))
    np.testing.assert_array_equal(value(q, 1e-6), np.float32([1e6, -1e6, 1e6]))


def test_rows_sum_to_one_in_float32_where_the_exponential_of_q_minus_v_does_not() -> (
    None
):
    q = jnp.array([[1e6 + 0.25, 1e6, 1e6 - 0.5]], jnp.float32)
    alpha = 0.02
    sums = np.sum(np.asarray(boltzmann(q, alpha)), axis=-1, dtype=np.float64)
    np.testing.assert_allclose(sums, 1.0, atol=2e-7)
    rng = np.random.default_rng(1)
    many = jnp.array(-1e4 + 0.003 * rng.normal(size=(200, 6)), jnp.float32)
    sums = np.sum(np.asarray(boltzmann(many, 1e-3)), axis=-1, dtype=np.float64)
    np.testing.assert_allclose(sums, 1.0, atol=4e-7)
    v = np.asarray(value(many, 1e-3))[:, None]
    naive = np.exp((np.asarray(many) - v) / np.float32(1e-3))
    assert np.max(np.abs(np.sum(naive, axis=-1) - 1.0)) > 0.01


# Entropy where a probability is zero.


@pytest.mark.parametrize(
    "log_p",
    [[0.0, -np.inf, -np.inf], [np.log(0.5), np.log(0.5), -np.inf], [0.0, -200.0, -1e4]],
)
def test_entropy_counts_nothing_for_a_probability_of_zero(
    dtype: np.dtype, log_p: list[float]
) -> None:
    row = jnp.array(log_p, dtype)
    h, slope = jax.jit(jax.value_and_grad(entropy))(row)
    p = np.exp(np.array(log_p))
    np.testing.assert_allclose(h, oracles.entropy(p), rtol=1e-6, atol=1e-30)
    assert float(h) >= 0.0
    # d(−e^l l)/dl = −e^l (l + 1), whose limit at l = −∞ is 0.
    expected = -p * (np.where(p > 0.0, log_p, 0.0) + 1.0)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-3, 1.0])
def test_entropy_of_a_policy_that_underflows_has_finite_gradients(alpha: float) -> None:
    q = jnp.array([[0.0, -1e6, 5.0, 4.999], [7.0, 7.0, -300.0, 7.0]], jnp.float32)

    def total(x: jax.Array, a: jax.Array) -> jax.Array:
        return jnp.sum(entropy(log_boltzmann(x, a)))

    h, slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(
        q, jnp.float32(alpha)
    )
    assert float(h) >= 0.0
    assert all(np.all(np.isfinite(s)) for s in slopes)


# Gradients.


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_gradient_of_the_value_is_the_policy(alpha: float) -> None:
    rows = np.array([[1.0, 2.0, 0.5, 1.9], [3.0, 3.0, 3.0, -1.0]])
    slope = jax.jit(jax.grad(lambda q: jnp.sum(value(q, alpha))))(jnp.array(rows))
    expected = oracles.numeric_gradient(
        lambda q: float(oracles.soft_value(q, alpha).sum()), rows
    )
    np.testing.assert_allclose(expected, oracles.boltzmann(rows, alpha), atol=1e-8)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-8)


@pytest.mark.usefixtures("double")
def test_gradient_of_the_value_in_the_temperature_is_the_entropy() -> None:
    q = jnp.array([[1.0, 2.0, 0.5, 1.9]])
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(value(q, a))))
    for alpha in (0.2, 1.0, 4.0):
        slope = gradient(alpha)
        expected = oracles.entropy(oracles.boltzmann(np.asarray(q), alpha))[0]
        assert float(slope) == pytest.approx(expected, rel=1e-10)


@pytest.mark.usefixtures("double")
def test_gradients_of_policy_and_entropy_are_finite_differences() -> None:
    row, alpha = np.array([1.0, 2.0, 0.5, 1.9]), 0.7
    weights = np.array([0.3, -1.0, 2.0, 0.1])

    def policy(q: jax.Array) -> jax.Array:
        return jnp.sum(boltzmann(q, alpha) * jnp.array(weights))

    def log_policy(q: jax.Array) -> jax.Array:
        return jnp.sum(log_boltzmann(q, alpha) * jnp.array(weights))

    def spread(q: jax.Array) -> jax.Array:
        return entropy(log_boltzmann(q, alpha))

    truths = [
        (policy, lambda q: oracles.boltzmann(q, alpha) @ weights),
        (log_policy, lambda q: np.log(oracles.boltzmann(q, alpha)) @ weights),
        (spread, lambda q: oracles.entropy(oracles.boltzmann(q, alpha))),
    ]
    for ours, truth in truths:
        slope = jax.jit(jax.grad(ours))(jnp.array(row))
        expected = oracles.numeric_gradient(lambda q, f=truth: float(f(q)), row)
        np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-8)


def test_at_zero_temperature_the_gradient_of_the_value_is_the_greedy_choice() -> None:
    slope = jax.jit(jax.grad(lambda q: value(q, 0.0)))(jnp.array([1.0, 3.0, 2.0]))
    np.testing.assert_array_equal(slope, [0.0, 1.0, 0.0])
