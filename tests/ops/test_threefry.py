"""The same numbers as JAX's own, from every function that draws."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.ops import threefry

DRAWS: dict[str, Callable[[Any], Any]] = {
    "uniform": lambda k: jax.random.uniform(k, (3, 5)),
    "normal": lambda k: jax.random.normal(k, (7,)),
    "integers": lambda k: jax.random.randint(k, (4,), 0, 1_000),
    "bytes": lambda k: jax.random.bits(k, (9,), jnp.uint8),
    "halves": lambda k: jax.random.bits(k, (9,), jnp.uint16),
    "categories": lambda k: jax.random.categorical(k, jnp.zeros((3, 4))),
    "permutation": lambda k: jax.random.permutation(k, 10),
    "nothing": lambda k: jax.random.uniform(k, (0,)),
}


@pytest.mark.parametrize("seed", [0, 1, 123_456_789, 2**32 - 1, -1])
def test_keys_are_jaxs(seed: int) -> None:
    theirs, ours = jax.random.key(seed), threefry.key(seed)
    for change in (
        lambda k: k,
        lambda k: jax.random.split(k, 5),
        lambda k: jax.random.split(k, (2, 3)),
        lambda k: jax.random.fold_in(k, 77),
        lambda k: jax.random.fold_in(k, 2**32 - 1),
    ):
        data = [jax.random.key_data(change(k)) for k in (theirs, ours)]
        np.testing.assert_array_equal(*data)


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_jaxs(name: str) -> None:
    for seed in (3, 2**31):
        theirs, ours = (DRAWS[name](k(seed)) for k in (jax.random.key, threefry.key))
        np.testing.assert_array_equal(theirs, ours)
        assert theirs.dtype == ours.dtype


def test_keys_map_and_scan() -> None:
    keys = jax.random.split(threefry.key(0), 6)
    drawn = jax.vmap(jax.random.normal)(keys)
    _, again = jax.lax.scan(lambda c, k: (c, jax.random.normal(k)), 0, keys)
    np.testing.assert_array_equal(drawn, again)
    assert len(np.unique(drawn)) == 6


def test_wide_words_are_jaxs() -> None:
    with jax.enable_x64(True):
        for draw in (
            lambda k: jax.random.bits(k, (5,), jnp.uint64),
            lambda k: jax.random.normal(k, (5,), jnp.float64),
            lambda k: jax.random.key_data(k),
        ):
            pair = [draw(k(2**40 + 3)) for k in (jax.random.key, threefry.key)]
            np.testing.assert_array_equal(*pair)
