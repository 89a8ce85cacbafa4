"""Honest statistics over seeds: interquartile means, bootstrap intervals.

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
    stream. Of a single seed nothing is known: (nan, nan).
    """
    table = np.asarray(scores, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    seeds, tasks = table.shape
    if seeds < 2:
        return float("nan"), float("nan")
    again = np.random.default_rng(0).integers(0, seeds, (draws, seeds, tasks))
    drawn = np.take_along_axis(table[None], again, axis=1)
    if statistic is iqm:
        found = _middle(drawn.reshape(draws, -1))
    else:
        found = np.array([statistic(one) for one in drawn])
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
