"""The replay ring: transitions in device memory, as pure functions.

A step inserts in place (the caller donates the ring) and samples in another call:
XLA's CPU backend copies the whole ring when both stand in one program with a
network update, so that the cost of a step would grow with the capacity.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from softq.types import Batch, Key, Spec


class Ring(NamedTuple):
    """`rows` has leading axis capacity; the first `size` rows are filled."""

    rows: Batch
    size: Int[Array, ""]
    head: Int[Array, ""]


def row_shapes(spec: Spec) -> Batch:
    """Shape and dtype of one transition, without the leading axis."""
    obs = jax.ShapeDtypeStruct(spec.obs_shape, spec.obs_dtype)
    action = (
        jax.ShapeDtypeStruct((), "int32")
        if spec.num_actions
        else jax.ShapeDtypeStruct((spec.action_dim,), "float32")
    )
    number, flag = jax.ShapeDtypeStruct((), "float32"), jax.ShapeDtypeStruct((), "bool")
    return Batch(obs, action, number, obs, flag)  # type: ignore[arg-type]


def row_bytes(spec: Spec) -> int:
    """Bytes that one transition takes."""
    shapes = jax.tree.leaves(row_shapes(spec))
    return sum(math.prod(s.shape) * np.dtype(s.dtype).itemsize for s in shapes)


def empty(spec: Spec, capacity: int, axes: tuple[int, ...] = ()) -> Ring:
    """A ring of `capacity` rows of zeros; `axes` are leading axes (seeds)."""
    rows = jax.tree.map(
        lambda s: jnp.zeros((*axes, capacity, *s.shape), s.dtype), row_shapes(spec)
    )
    return Ring(rows, jnp.int32(0), jnp.int32(0))


def insert(ring: Ring, rows: Batch) -> Ring:
    """The ring with `rows` (n, …) written at its head, over the oldest.

    The capacity must be a multiple of n, so that a block never wraps.
    """
    n, capacity = rows.reward.shape[0], ring.rows.reward.shape[0]
    written = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, ring.head, 0),
        ring.rows,
        rows,
    )
    head = (ring.head + n) % capacity
    return Ring(written, jnp.minimum(ring.size + n, capacity), head)


def sample(key: Key, ring: Ring, n: int) -> Batch:
    """n transitions, uniform with replacement over the filled rows."""
    return draw(key, ring.rows, ring.size, n)


def draw(key: Key, rows: Batch, size: Int[Array, ""] | int, n: int) -> Batch:
    """n of the first `size` rows, uniform with replacement.

    One draw and a remainder: no row is likelier than another by more than
    size / 2³² (0.02 % in a ring of a million), which a second draw would buy.
    """
    index = jax.random.bits(key, (n,)) % jnp.asarray(size).astype(jnp.uint32)
    return jax.tree.map(lambda x: x[index], rows)
