"""Several seeds, and several settings of each, as one program: lanes under `vmap`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from softq.ops import threefry
from softq.types import cast_knobs


class Seeds(NamedTuple):
    """Seeds first, first + 1, …, for each of `settings`, which vary slowest.

    One lane a pair; a single one carries no axis and costs nothing.
    """

    first: int
    number: int = 1
    settings: int = 1

    @property
    def all(self) -> list[int]:
        """The seed of every lane."""
        own = range(self.first, self.first + self.number)
        return [seed for _ in range(self.settings) for seed in own]

    @property
    def lanes(self) -> int:
        return self.number * self.settings

    @property
    def axes(self) -> tuple[int, ...]:
        """The leading axes that arrays of this run carry."""
        return () if self.lanes == 1 else (self.lanes,)

    def roots(self) -> Array:
        """The root key of every lane: one key, or an array of them."""
        keys = [threefry.key(seed) for seed in self.all]
        return jnp.stack(keys) if self.axes else keys[0]

    @property
    def varying(self) -> int | None:
        """Where lifted functions find the lanes of `knobs(cfg)`."""
        return None if self.settings == 1 else 0

    def knobs(self, cfg: Any) -> Any:
        """A config's numbers as arrays; of several settings, one a lane."""
        if self.settings == 1:
            return cast_knobs(cfg)

        def spread(knob: Any) -> Array:
            each = jnp.broadcast_to(jnp.asarray(knob, jnp.float32), (self.settings,))
            return jnp.repeat(each, self.number)

        return jax.tree.map(spread, cfg)

    def lift(self, fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Any:
        """`fn` of one lane as a function of all of them."""
        return jax.vmap(fn, in_axes, out_axes) if self.axes else fn

    def join(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """One array a lane to the array that lifted functions take."""
        return np.stack(rows) if self.axes else rows[0]

    def split(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `join`: leading axis = lanes, also for a single one."""
        return array if self.axes else array[None]

    def pick(self, tree: Any, k: int) -> Any:
        """The k-th lane's part of a state."""
        return jax.tree.map(lambda x: x[k], tree) if self.axes else tree
