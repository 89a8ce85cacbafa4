"""Statistics over seeds: worked out by hand, and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from softq.statistics import (
    improvement,
    improvement_interval,
    interval,
    iqm,
    profile,
    profile_band,
)  # fmt: skip

SCORES = np.array([3.0, -1.0, 4.0, 1.5, 9.0, 2.6, 5.3, 5.8])


def mean(scores: np.ndarray) -> float:
    return float(np.mean(scores))


@pytest.mark.parametrize(
    ("scores", "middle"),
    [
        ([7.0], 7.0),
        ([2.0, 4.0], 3.0),
        ([8.0, 0.0, 2.0], (0.25 * 0 + 2 + 0.25 * 8) / 1.5),
        ([100.0, 1.0, 2.0, -100.0], 1.5),
        ([0.0, 1.0, 2.0, 10.0, 50.0], (0.75 * 1 + 2 + 0.75 * 10) / 2.5),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0], 3.5),
        ([[1.0, 2.0], [-100.0, 100.0]], 1.5),  # tasks' scores are pooled
    ],
)
def test_the_interquartile_mean_by_hand(scores: list[float], middle: float) -> None:
    assert iqm(scores) == pytest.approx(middle, rel=1e-12)


@pytest.mark.parametrize("n", [4, 8, 20])
def test_it_is_a_quarter_trimmed_mean_where_a_quarter_is_whole(n: int) -> None:
    scores = np.random.default_rng(n).standard_cauchy(n)
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25), rel=1e-12)


@pytest.mark.parametrize("n", range(1, 10))
def test_what_it_must_be_for_any_number_of_seeds(n: int) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    found = iqm(scores)
    assert scores.min() <= found <= scores.max()
    assert iqm(scores[::-1]) == pytest.approx(found)
    assert iqm(3 * scores - 2) == pytest.approx(3 * found - 2)
    assert iqm(np.repeat(scores, 4)) == pytest.approx(
        stats.trim_mean(np.repeat(scores, 4), 0.25)
    )  # every number four times: the same middle half, now whole
    assert iqm(np.repeat(scores, 4)) == pytest.approx(found)


def test_a_percentile_bootstrap_as_scipys() -> None:
    found = interval(SCORES, mean, draws=5_000)
    theirs = stats.bootstrap(
        (SCORES,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    error = SCORES.std() / np.sqrt(len(SCORES))
    assert np.allclose(found, theirs, rtol=0, atol=0.15 * error)
    narrow = interval(SCORES, mean, level=0.5, draws=5_000)
    assert found[0] < narrow[0] < mean(SCORES) < narrow[1] < found[1]


def test_two_scores_by_hand() -> None:
    """Means of two draws of {0, 1}: 0, ½ and 1 with odds of 1, 2 and 1."""
    assert interval([0.0, 1.0], mean, draws=1_000) == (0.0, 1.0)
    assert interval([0.0, 1.0], mean, level=0.4, draws=1_000) == (0.5, 0.5)


def test_equal_scores_have_no_width_and_one_seed_no_interval() -> None:
    assert interval([3.0, 3.0, 3.0], draws=50) == (3.0, 3.0)
    assert np.isnan(interval([3.0])).all()
    assert np.isnan(interval([[3.0, 4.0]])).all()


def test_seeds_are_drawn_within_each_task() -> None:
    # Were numbers drawn from the whole table, its mean would not stay.
    apart = np.array([[0.0, 1000.0], [0.0, 1000.0], [0.0, 1000.0]])
    assert interval(apart, mean, draws=200) == (500.0, 500.0)
    # Were whole rows drawn, it would stay here: every row's mean is ½.
    crossed = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert interval(crossed, mean, draws=1_000) == (0.0, 1.0)


def test_one_column_is_one_task_and_the_stream_is_fixed() -> None:
    found = interval(SCORES, draws=300)
    assert interval(SCORES, draws=300) == found
    assert interval(SCORES[:, None], draws=300) == found
    np.random.default_rng(3).normal()  # what others draw is of no concern
    assert interval(list(SCORES), draws=300) == found


def test_the_quick_way_is_the_plain_one() -> None:
    """`iqm` of all draws at once, and of one after the other."""
    for table in (SCORES[:5], SCORES.reshape(4, 2)):
        plain = interval(table, lambda scores: iqm(scores), draws=300)
        assert np.allclose(interval(table, draws=300), plain, rtol=1e-12)


OTHERS = np.array([2.6, 0.0, 7.0, 1.5, -3.0])  # two of them tie with SCORES


def mann_whitney(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """U/(n m), as SciPy's: another program than ours."""
    found = stats.mannwhitneyu(x, y, axis=axis).statistic
    return found / (x.shape[axis] * y.shape[axis])


def test_tasks_of_different_numbers_of_seeds() -> None:
    ragged = [np.array([0.0, 0.0]), np.array([6.0, 6.0, 6.0])]
    assert iqm(np.concatenate(ragged)) == pytest.approx((0.75 * 0 + 6 + 0.75 * 6) / 2.5)
    assert interval(ragged, draws=50) == pytest.approx((4.2, 4.2))
    assert np.isnan(interval([np.array([1.0]), np.array([1.0, 2.0])])).all()
    table = SCORES.reshape(4, 2)
    assert interval(list(table.T), draws=300) == interval(table, draws=300)


@pytest.mark.parametrize(
    ("x", "y", "chance"),
    [
        ([1.0, 3.0], [0.0, 2.0, 4.0], 3 / 6),  # beats 0; beats 0 and 2
        ([5.0], [5.0], 0.5),
        ([2.0, 2.0], [1.0, 2.0], 3 / 4),  # two wins, two ties
        ([[1.0, 9.0], [1.0, 9.0]], [[2.0, 0.0]], 0.5),  # never on one task, always
        ([9.0], [float("-inf"), 10.0], 0.5),
    ],
)
def test_the_probability_of_improvement_by_hand(
    x: list[float], y: list[float], chance: float
) -> None:
    assert improvement(x, y) == pytest.approx(chance, rel=1e-12)
    assert improvement(y, x) == pytest.approx(1 - chance, rel=1e-12)


def test_it_is_mann_whitneys_statistic() -> None:
    assert improvement(SCORES, OTHERS) == pytest.approx(mann_whitney(SCORES, OTHERS))


def test_its_interval_is_scipys_of_two_samples() -> None:
    theirs = stats.bootstrap(
        (SCORES, OTHERS), mann_whitney, n_resamples=4_000, method="percentile", rng=1,
        vectorized=True,
    )  # fmt: skip
    found = improvement_interval(SCORES, OTHERS)
    want, error = theirs.confidence_interval, theirs.standard_error
    assert np.allclose(found, want, rtol=0, atol=0.15 * error)
    half = improvement_interval(SCORES, OTHERS, level=0.5)
    assert found[0] < half[0] < improvement(SCORES, OTHERS) < half[1] < found[1]


def test_its_interval_by_hand() -> None:
    """Two of {0, 2} against {1, 1}: 0, ½ and 1 with odds of 1, 2 and 1."""
    x, y = np.array([0.0, 2.0]), np.array([1.0, 1.0])
    assert improvement_interval(x, y, draws=1_000) == (0.0, 1.0)
    assert improvement_interval(x, y, level=0.4, draws=1_000) == (0.5, 0.5)
    assert np.isnan(improvement_interval([1.0], y)).all()
    assert np.isnan(improvement_interval(x, [1.0])).all()


def test_its_seeds_are_drawn_within_each_task() -> None:
    # Scores from the other task would win here, where none ever does.
    x, y = np.array([[0.0, 10.0]] * 3), np.array([[5.0, 15.0]] * 4)
    assert improvement_interval(x, y, draws=200) == (0.0, 0.0)
    # Tasks are drawn apart: the two do not move together, as whole rows would.
    crossed, ones = np.array([[0.0, 2.0], [2.0, 0.0]]), np.ones((2, 2))
    assert improvement_interval(crossed, ones, draws=1_000) == (0.0, 1.0)
    ragged = [np.array([0.0, 2.0]), np.array([3.0, 3.0, 3.0])]
    assert improvement(ragged, [np.ones(4), np.ones(2)]) == 0.75
    low, high = improvement_interval(ragged, [np.ones(4), np.ones(2)], draws=500)
    assert (low, high) == pytest.approx((0.5, 1.0))


def test_a_profile_by_hand() -> None:
    taus = np.array([-1.0, 0.0, 1.5, 3.0])
    found = profile([0.0, 1.0, 2.0, 2.0], taus)
    np.testing.assert_allclose(found, [1.0, 0.75, 0.5, 0.0])  # above, not at
    pair = [np.array([0.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])]
    np.testing.assert_allclose(profile(pair, taus), [1.0, 0.75, 0.5, 0.0])


def test_a_profile_falls_and_its_area_is_the_mean() -> None:
    taus = np.linspace(-2.0, 10.0, 12_001)
    found = profile(SCORES, taus)
    assert (np.diff(found) <= 0).all()
    assert -2 + np.trapezoid(found, taus) == pytest.approx(SCORES.mean(), abs=1e-3)


def test_the_band_is_scipys_at_every_threshold() -> None:
    taus = np.array([2.0, 5.0, 20.0])
    low, high = profile_band(SCORES, taus)
    for k, tau in enumerate(taus[:2]):
        theirs = stats.bootstrap(
            ((tau < SCORES).astype(float),), np.mean, n_resamples=4_000,
            method="percentile", rng=1,
        ).confidence_interval  # fmt: skip
        assert np.allclose((low[k], high[k]), theirs, rtol=0, atol=1 / 16)
    assert (low[2], high[2]) == (0.0, 0.0)
    assert np.isnan(profile_band([1.0], taus)).all()
    narrow = profile_band(SCORES, taus, level=0.3)
    assert low[1] < narrow[0][1] <= narrow[1][1] < high[1]


def test_the_band_draws_within_each_task() -> None:
    apart = np.array([[0.0, 1000.0]] * 3)
    low, high = profile_band(apart, np.array([500.0]), draws=200)
    assert (low[0], high[0]) == (0.5, 0.5)
