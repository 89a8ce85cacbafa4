"""Temporal-difference targets against sums done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.ops import td

REWARD, NEXT_V = np.array([1.0, -2.0, 0.5, 0.0]), np.array([10.0, 4.0, -8.0, 3.0])
ENDS = np.array([False, True, False, True])


def target(discount: float | jax.Array, ends: np.ndarray = ENDS) -> np.ndarray:
    reward, next_v = jnp.array(REWARD, jnp.float32), jnp.array(NEXT_V, jnp.float32)
    return np.asarray(td.target(reward, jnp.array(ends), next_v, discount))


def test_target_adds_the_discounted_value_unless_the_world_ended() -> None:
    np.testing.assert_allclose(target(0.9), [10.0, -2.0, -6.7, 0.0], rtol=1e-6)


def test_termination_alone_decides_whether_the_target_bootstraps() -> None:
    np.testing.assert_array_equal(target(0.9, np.ones(4, bool)), np.float32(REWARD))
    expected = [10.0, 1.6, -6.7, 2.7]
    np.testing.assert_allclose(target(0.9, np.zeros(4, bool)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("discount", "expected"), [(0.0, REWARD), (1.0, [11.0, -2.0, -7.5, 0.0])]
)
def test_discount_of_zero_is_the_reward_and_of_one_the_plain_sum(
    discount: float, expected: np.ndarray
) -> None:
    np.testing.assert_array_equal(target(discount), np.float32(expected))


def test_discount_may_be_an_array_and_is_swept_by_vmap() -> None:
    swept = jax.vmap(lambda d: td.target(*_float32(), d))(jnp.array([0.0, 0.9]))
    np.testing.assert_allclose(swept, [target(0.0), target(0.9)], rtol=1e-6)


def test_target_keeps_the_rewards_precision() -> None:
    assert target(0.99).dtype == np.float32
    with jax.enable_x64(True):
        y = td.target(jnp.array(REWARD), jnp.array(ENDS), jnp.array(NEXT_V), 0.99)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, [10.9, -2.0, -7.42, 0.0], rtol=1e-14)


def test_the_value_of_a_state_in_an_endless_loop_is_the_geometric_series() -> None:
    # One state that pays 1 a step for ever: V = 1 / (1 − γ); with an end it is 1.
    v = jnp.zeros(2)
    for _ in range(200):
        v = td.target(jnp.ones(2), jnp.array([False, True]), v, 0.9)
    np.testing.assert_allclose(v, [10.0, 1.0], rtol=1e-5)


def test_derivative_in_the_next_value_is_the_discount_or_nothing() -> None:
    reward, ends, next_v = _float32()
    slope = jax.grad(lambda v: jnp.sum(td.target(reward, ends, v, 0.9)))(next_v)
    np.testing.assert_allclose(slope, [0.9, 0.0, 0.9, 0.0], rtol=1e-6)


def _float32() -> tuple[jax.Array, jax.Array, jax.Array]:
    return (
        jnp.array(REWARD, jnp.float32),
        jnp.array(ENDS),
        jnp.array(NEXT_V, jnp.float32),
    )
