"""Several seeds as one program: a leading axis, mapped over by `vmap`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from softq.ops import threefry


class Seeds(NamedTuple):
    """Seeds first, first + 1, …; a single one carries no axis and costs nothing."""

    first: int
    number: int = 1

    @property
    def all(self) -> range:
        return range(self.first, self.first + self.number)

    @property
    def axes(self) -> tuple[int, ...]:
        """The leading axes that arrays of this run carry."""
        return () if self.number == 1 else (self.number,)

    def roots(self) -> Array:
        """The root key of every seed: one key, or an array of them."""
        keys = [threefry.key(seed) for seed in self.all]
        return jax.numpy.stack(keys) if self.axes else keys[0]

    def lift(self, fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Any:
        """`fn` of one seed as a function of all of them."""
        return jax.vmap(fn, in_axes, out_axes) if self.axes else fn

    def join(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """One array a seed to the array that lifted functions take."""
        return np.stack(rows) if self.axes else rows[0]

    def split(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `join`: leading axis = seeds, also for a single one."""
        return array if self.axes else array[None]

    def pick(self, tree: Any, k: int) -> Any:
        """The k-th seed's part of a state."""
        return jax.tree.map(lambda x: x[k], tree) if self.axes else tree
