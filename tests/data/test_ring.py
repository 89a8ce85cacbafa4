"""The replay ring against a plain list of the newest rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from softq.data import ring
from softq.types import Batch, Spec

SPEC = Spec(obs_shape=(2,), low=(-1.0,), high=(1.0,))
# How the training loop carries several seeds: rows apart, the counters shared.
SEEDS = ring.Ring(0, None, None)


insert = jax.jit(ring.insert)
sample = jax.jit(ring.sample, static_argnames="n")


def rows(first: int, n: int) -> Batch:
    """Transitions first, first + 1, …: every field tells its number."""
    return numbered(np.arange(first, first + n))


def numbered(numbers: np.ndarray) -> Batch:
    number = numbers.astype(np.float32)
    return Batch(
        obs=jnp.array(np.stack([number, -number], axis=-1)),
        action=jnp.array(number[:, None] / 1000),
        reward=jnp.array(number),
        next_obs=jnp.array(np.stack([number + 0.5, -number], axis=-1)),
        terminated=jnp.array(number % 3 == 0),
    )


def filled(capacity: int, n: int, blocks: int, first: int = 0) -> ring.Ring:
    made = ring.empty(SPEC, capacity)
    for block in range(blocks):
        made = insert(made, rows(first + block * n, n))
    return made


def numbers(batch: Batch) -> list[int]:
    """Which transitions these are, having checked that no field strayed."""
    found = np.asarray(batch.reward).astype(int)
    for ours, column in zip(batch, numbered(found), strict=True):
        np.testing.assert_array_equal(ours, column)
    return found.tolist()


# Writing.


def test_an_empty_ring_is_zeros_of_the_specs_shapes_and_types() -> None:
    made = ring.empty(SPEC, 6)
    assert (int(made.size), int(made.head)) == (0, 0)
    assert made.rows.obs.shape == made.rows.next_obs.shape == (6, 2)
    assert made.rows.action.shape == (6, 1)
    assert made.rows.reward.shape == made.rows.terminated.shape == (6,)
    assert made.rows.terminated.dtype == jnp.bool_
    assert all(not np.any(x) for x in jax.tree.leaves(made))


def test_images_stay_bytes_and_indices_integers() -> None:
    spec = Spec(obs_shape=(8, 8, 3), obs_dtype="uint8", num_actions=4)
    made = ring.empty(spec, 5).rows
    assert (made.obs.dtype, made.obs.shape) == (jnp.uint8, (5, 8, 8, 3))
    assert (made.action.dtype, made.action.shape) == (jnp.int32, (5,))
    total = sum(x.nbytes for x in jax.tree.leaves(made))
    assert ring.row_bytes(spec) * 5 == total
    assert ring.row_bytes(spec) == 2 * 8 * 8 * 3 + 4 + 4 + 1


@pytest.mark.parametrize(("capacity", "n"), [(6, 1), (6, 2), (6, 3), (6, 6)])
def test_the_ring_holds_the_newest_rows_and_overwrites_the_oldest(
    capacity: int, n: int
) -> None:
    made = ring.empty(SPEC, capacity)
    slots: list[int | None] = [None] * capacity
    for block in range(2 * capacity // n + 1):
        made = insert(made, rows(100 + block * n, n))
        for i in range(block * n, block * n + n):
            slots[i % capacity] = 100 + i
        full = [slot for slot in slots if slot is not None]
        assert int(made.size) == len(full)
        assert int(made.head) == (block + 1) * n % capacity
        host = jax.tree.map(np.asarray, made.rows)
        kept = Batch(*(x if x is None else x[: len(full)] for x in host))
        assert numbers(kept) == full
        # What was not written yet is untouched.
        assert not np.any(host.reward[len(full) :])


def test_a_block_is_its_rows_one_by_one() -> None:
    one, block = filled(6, 1, 15), filled(6, 3, 5)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(block), strict=True):
        np.testing.assert_array_equal(a, b)


def test_insert_leaves_the_ring_it_was_given_alone() -> None:
    made = filled(4, 2, 1)
    insert(made, rows(50, 2))
    assert np.asarray(made.rows.reward).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert (int(made.size), int(made.head)) == (2, 2)


# Reading.


def test_samples_have_all_fields_of_one_row() -> None:
    batch = sample(jax.random.key(0), filled(12, 4, 5, first=20), n=3000)
    assert batch.obs.shape == (3000, 2)
    assert set(numbers(batch)) == set(range(28, 40))


@pytest.mark.parametrize(("blocks", "newest"), [(1, 4), (2, 8), (3, 12), (7, 28)])
def test_samples_are_uniform_over_the_filled_rows_and_only_them(
    blocks: int, newest: int
) -> None:
    made = filled(12, 4, blocks, first=1)
    n = 3000
    drawn = np.asarray(sample(jax.random.key(1), made, n=n).reward).astype(int)
    alive = range(max(1, newest - 11), newest + 1)
    assert set(drawn) == set(alive)
    counts = [np.sum(drawn == row) for row in alive]
    assert stats.chisquare(counts).pvalue > 0.01


def test_samples_come_with_replacement_and_by_key() -> None:
    made = filled(12, 4, 3)
    one, same, other = (
        np.asarray(sample(jax.random.key(k), made, n=3000).reward) for k in (2, 2, 3)
    )
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    # Draws do not depend on the one before: repeats are as common as they should be.
    assert np.mean(one[1:] == one[:-1]) == pytest.approx(1 / 12, abs=0.02)


# Several seeds.


def test_a_seeds_axis_is_as_many_rings() -> None:
    firsts, capacity, n = (0, 1000, 2000), 6, 2
    made = ring.empty(SPEC, capacity, (3,))
    assert made.rows.obs.shape == (3, capacity, 2)
    lifted = jax.jit(jax.vmap(ring.insert, in_axes=(SEEDS, 0), out_axes=SEEDS))
    for block in range(4):
        written = [rows(first + block * n, n) for first in firsts]
        made = lifted(made, jax.tree.map(lambda *x: jnp.array(np.stack(x)), *written))
    keys = jax.random.split(jax.random.key(5), 3)
    draw = jax.vmap(lambda key, one: ring.sample(key, one, 32), in_axes=(0, SEEDS))
    drawn = jax.jit(draw)(keys, made)
    assert (int(made.size), int(made.head)) == (6, 2)
    for seed, first in enumerate(firsts):
        alone = filled(capacity, n, 4, first)
        ours = ring.Ring(
            jax.tree.map(lambda x, s=seed: np.asarray(x)[s], made.rows), *made[1:]
        )
        pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(alone), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
        batch = jax.tree.map(lambda x, s=seed: np.asarray(x)[s], drawn)
        expected = sample(keys[seed], alone, n=32)
        assert numbers(batch) == numbers(expected)
