"""Honest statistics over seeds: interquartile means, bootstrap intervals, profiles.

Agarwal et al. 2021 (arXiv 2108.13264). A score is one seed's; episodes of one agent are
averaged before they come here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

DRAWS = 10_000
Scores = Float[np.ndarray, "seeds"] | Float[np.ndarray, "seeds tasks"]


def iqm(scores: Any) -> float:
    """The mean of the middle half: a quarter of the numbers cut at each end.

    Numbers on the edge count by the share of them that lies inside (with 3 or 5 seeds
    nothing else is a quarter), so that it is exact for any number of them.
    """
    return float(_middle(np.ravel(np.asarray(scores, np.float64))[None])[0])


def _middle(rows: Float[np.ndarray, "k n"]) -> Float[np.ndarray, " k"]:
    """The interquartile mean of every row."""
    n = rows.shape[1]
    edge, place = n / 4, np.arange(n)
    inside = np.minimum(place + 1, n - edge) - np.maximum(place, edge)
    return np.average(np.sort(rows), axis=1, weights=np.maximum(inside, 0.0))


def interval(
    scores: Any,
    statistic: Callable[[Any], float] = iqm,
    level: float = 0.95,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """A percentile bootstrap interval of a statistic of (seeds,) or (seeds, tasks).

    Seeds are drawn again with replacement within each task (stratified), from a fixed
    stream. A list of one array a task, of different numbers of seeds, has an
    interquartile mean only. Of a single seed nothing is known: (nan, nan).
    """
    tasks, rng = by_task(scores), np.random.default_rng(0)
    if min(map(len, tasks)) < 2:
        return float("nan"), float("nan")
    drawn = [t[rng.integers(0, len(t), (draws, len(t)))] for t in tasks]
    if statistic is iqm:
        found = _middle(np.concatenate(drawn, axis=1))
    else:
        found = np.array([statistic(one) for one in np.stack(drawn, axis=2)])
    low, high = np.quantile(found, _tails(level))
    return float(low), float(high)


def by_task(scores: Any) -> list[Float[np.ndarray, " seeds"]]:
    """Scores (seeds,), (seeds, tasks) or a list of an array a task, as such a list."""
    if isinstance(scores, list) and scores and isinstance(scores[0], np.ndarray):
        return [np.asarray(task, np.float64) for task in scores]
    table = np.asarray(scores, np.float64)
    return list(table[:, None].T if table.ndim == 1 else table.T)


def improvement(x: Any, y: Any) -> float:
    """P(X > Y): how often a run of `x` scores above one of `y`, ties counted half.

    U/(n m) of Mann and Whitney, averaged over tasks (Agarwal et al., sec. 4.3). It
    needs no common scale of the tasks, which both have in the same order.
    """
    pairs = zip(by_task(x), by_task(y), strict=True)
    return float(np.mean([_wins(ours, theirs).mean() for ours, theirs in pairs]))


def improvement_interval(
    x: Any, y: Any, level: float = 0.95, draws: int = DRAWS
) -> tuple[float, float]:
    """A percentile bootstrap interval of `improvement`; seeds of both are drawn again.

    (nan, nan) where either has a single seed on a task.
    """
    pairs = list(zip(by_task(x), by_task(y), strict=True))
    if min(len(scores) for pair in pairs for scores in pair) < 2:
        return float("nan"), float("nan")
    rng, found = np.random.default_rng(0), np.zeros(draws)
    for ours, theirs in pairs:
        beaten = _shares(rng, len(ours), draws) @ _wins(ours, theirs)
        found += np.sum(beaten * _shares(rng, len(theirs), draws), axis=1) / len(pairs)
    low, high = np.quantile(found, _tails(level))
    return float(low), float(high)


def profile(
    scores: Any, thresholds: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """The share of runs that score above each threshold, averaged over tasks.

    The performance profile of Agarwal et al., sec. 4.2 (run-score distribution).
    """
    return np.mean([_above(t, thresholds).mean(axis=0) for t in by_task(scores)], 0)


def profile_band(
    scores: Any, thresholds: Float[np.ndarray, " k"], level: float = 0.95,
    draws: int = DRAWS,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:  # fmt: skip
    """The pointwise percentile bootstrap band of `profile`; NaN of a single seed."""
    tasks, rng = by_task(scores), np.random.default_rng(0)
    if min(map(len, tasks)) < 2:
        return (np.full(len(thresholds), np.nan),) * 2
    drawn = (_shares(rng, len(t), draws) @ _above(t, thresholds) for t in tasks)
    low, high = np.quantile(sum(drawn) / len(tasks), _tails(level), axis=0)
    return low, high


def _wins(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    """1 where a score of x is above one of y, ½ where they are equal."""
    return (x[:, None] > y) + 0.5 * (x[:, None] == y)


def _above(
    scores: Float[np.ndarray, " n"], thresholds: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "n k"]:
    return (scores[:, None] > thresholds).astype(np.float64)


def _shares(
    rng: np.random.Generator, n: int, draws: int
) -> Float[np.ndarray, "draws n"]:
    """What share of each draw of n from n, with replacement, every one has."""
    return rng.multinomial(n, np.full(n, 1 / n), draws) / n


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
