"""Statistics over seeds: worked out by hand, and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from softq.statistics import interval, iqm

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
