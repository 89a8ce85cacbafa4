"""Running mean and variance of observations (Welford, in batches)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from softq.types import Observation

CLIP = 10.0  # standard deviations


class Stats(NamedTuple):
    """Count, mean and sum of squared deviations of all observations seen."""

    seen: Int[Array, ""]
    mean: Float[Array, "*n"]
    deviation: Float[Array, "*n"]


def empty(obs_shape: tuple[int, ...]) -> Stats:
    return Stats(jnp.int32(0), jnp.zeros(obs_shape), jnp.zeros(obs_shape))


def of(obs: Float[np.ndarray, "n ..."]) -> Stats:
    """The statistics of all of a data set's observations, summed in float64."""
    mean = obs.mean(axis=0, dtype=np.float64)
    deviation = obs.var(axis=0, dtype=np.float64) * len(obs)
    numbers = (jnp.asarray(x, jnp.float32) for x in (mean, deviation))
    return Stats(jnp.int32(len(obs)), *numbers)


def fold(stats: Stats, obs: Float[Array, "n ..."]) -> Stats:
    """The statistics with n more observations (Chan et al. 1979)."""
    count = stats.seen + obs.shape[0]  # an integer: float32 stops at 2²⁴
    share = obs.shape[0] / count.astype(jnp.float32)
    mean = jnp.mean(obs, axis=0)
    delta = mean - stats.mean
    within = jnp.sum((obs - mean[None]) ** 2, axis=0)
    between = delta**2 * (stats.seen.astype(jnp.float32) * share)
    deviation = stats.deviation + within + between
    return Stats(count, stats.mean + delta * share, deviation)


def apply(stats: Stats | None, obs: Observation) -> Observation:
    """(obs − mean)/std, clipped at ±10; the observations themselves without stats."""
    if stats is None:
        return obs
    count = jnp.maximum(stats.seen, 1).astype(jnp.float32)
    std = jnp.sqrt(stats.deviation / count + 1e-8)
    return jnp.clip((obs - stats.mean[None]) / std[None], -CLIP, CLIP)
