"""Running statistics against numpy's over all the data at once."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softq.data import normalize

DATA = (
    np.random.default_rng(0).normal(size=(56, 3)) * [1.0, 5.0, 0.01] + [0.0, -20.0, 0.3]
).astype(np.float32)


fold = jax.jit(normalize.fold)


def folded(data: np.ndarray, cuts: Sequence[int] = ()) -> normalize.Stats:
    """The statistics of `data`, given in the blocks that these row numbers part."""
    stats = normalize.empty(data.shape[1:])
    for block in np.split(data, sorted(set(cuts))):
        stats = fold(stats, jnp.array(block))
    return stats


def check(stats: normalize.Stats, data: np.ndarray, rtol: float = 1e-4) -> None:
    data = data.astype(np.float64)
    assert float(stats.seen) == len(data)
    np.testing.assert_allclose(stats.mean, data.mean(0), rtol=1e-5, atol=1e-6)
    variance = np.asarray(stats.deviation) / len(data)
    np.testing.assert_allclose(variance, data.var(0), rtol=rtol, atol=1e-9)


# Statistics.


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([1, 2, 3, 7]), min_size=1, max_size=8))
def test_any_split_of_the_data_gives_its_mean_and_variance(sizes: list[int]) -> None:
    # Few sizes, as each of them compiles; any order and number of them.
    data = DATA[: sum(sizes)]
    check(folded(data, np.cumsum(sizes)[:-1]), data)


def test_one_block_and_single_rows_agree() -> None:
    check(folded(DATA), DATA)
    check(folded(DATA, range(1, 56)), DATA)


def test_blocks_with_different_means_keep_the_variance_between_them() -> None:
    data = np.repeat(np.float32([[0.0], [10.0], [-4.0]]), 4, axis=0)
    check(folded(data, [4, 8]), data)


def test_a_large_mean_does_not_drown_the_variance() -> None:
    # Mean of squares minus square of mean would be off by 6 in float32.
    noise = np.random.default_rng(1).normal(size=(400, 1))
    data = (noise + 10_000.0).astype(np.float32)
    check(folded(data, range(8, 400, 8)), data, rtol=0.01)


def test_images_of_statistics_have_the_observations_shape() -> None:
    data = np.random.default_rng(2).normal(size=(10, 2, 3)).astype(np.float32)
    stats = folded(data, [4])
    assert stats.mean.shape == stats.deviation.shape == (2, 3)
    check(stats, data)


def test_several_seeds_are_folded_by_vmap() -> None:
    two = jnp.array(np.stack([DATA, np.float32(2) * DATA + np.float32(1)]))
    blank = jax.tree.map(lambda x: jnp.array(np.stack([x, x])), normalize.empty((3,)))
    stats = jax.jit(jax.vmap(normalize.fold))(blank, two)
    for seed in range(2):
        one = jax.tree.map(lambda x, s=seed: np.asarray(x)[s], stats)
        check(one, np.asarray(two[seed]))


# Normalising.


def test_observations_are_centred_and_scaled_to_one() -> None:
    shown = np.asarray(normalize.apply(folded(DATA, [7]), jnp.array(DATA)))
    assert shown.dtype == np.float32
    exact = DATA.astype(np.float64)
    expected = (exact - exact.mean(0)) / exact.std(0)
    np.testing.assert_allclose(shown, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shown.mean(0), 0.0, atol=1e-3)
    np.testing.assert_allclose(shown.std(0), 1.0, atol=1e-3)


def test_observations_are_clipped_at_ten_standard_deviations() -> None:
    # Mean 0 and variance 4 exactly.
    stats = folded(np.float32([[2.0], [-2.0], [2.0], [-2.0]]))
    obs = jnp.array([[19.0], [21.0], [1e6], [-19.0], [-21.0], [-1e6], [0.5]])
    shown = np.asarray(normalize.apply(stats, obs))[:, 0]
    expected = [9.5, 10.0, 10.0, -9.5, -10.0, -10.0, 0.25]
    np.testing.assert_allclose(shown, expected, rtol=1e-6)


def test_without_statistics_observations_pass_untouched() -> None:
    pixels = jnp.arange(12, dtype=jnp.uint8).reshape(1, 2, 2, 3)
    assert normalize.apply(None, pixels) is pixels


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_a_dimension_that_never_moves_becomes_zero(value: float) -> None:
    data = np.full((8, 1), value, np.float32)
    shown = normalize.apply(folded(data, [3]), jnp.array(data))
    np.testing.assert_allclose(shown, 0.0, atol=1e-3)


def test_before_any_data_the_result_is_finite_and_within_the_clip() -> None:
    shown = normalize.apply(normalize.empty((3,)), jnp.array(DATA))
    assert np.all(np.isfinite(shown))
    assert np.abs(shown).max() <= 10.0
