"""Running mean and variance of observations (Welford, in batches)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.types import Observation, Scalar

CLIP = 10.0  # standard deviations


class Stats(NamedTuple):
    """Count, mean and sum of squared deviations of all observations seen."""

    count: Scalar
    mean: Float[Array, "*n"]
    deviation: Float[Array, "*n"]


def empty(obs_shape: tuple[int, ...]) -> Stats:
    return Stats(jnp.float32(0), jnp.zeros(obs_shape), jnp.zeros(obs_shape))


def fold(stats: Stats, obs: Float[Array, "n ..."]) -> Stats:
    """The statistics with n more observations (Chan et al. 1979)."""
    n = jnp.float32(obs.shape[0])
    count = stats.count + n
    mean = jnp.mean(obs, axis=0)
    delta = mean - stats.mean
    within = jnp.sum((obs - mean[None]) ** 2, axis=0)
    between = delta**2 * (stats.count * n / count)
    deviation = stats.deviation + within + between
    return Stats(count, stats.mean + delta * (n / count), deviation)


def apply(stats: Stats | None, obs: Observation) -> Observation:
    """(obs − mean)/std, clipped at ±10; the observations themselves without stats."""
    if stats is None:
        return obs
    std = jnp.sqrt(stats.deviation / jnp.maximum(stats.count, 1.0) + 1e-8)
    return jnp.clip((obs - stats.mean[None]) / std[None], -CLIP, CLIP)
