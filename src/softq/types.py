"""The data that travels between layers: batches, specs, progress, configs."""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

Key = PRNGKeyArray
Scalar = Float[Array, ""]
Info = dict[str, Scalar]
Observation = Float[Array, "*n"] | UInt8[Array, "*n"]
Action = Float[Array, "n d"] | Int[Array, " n"]


class Batch(NamedTuple):
    """Transitions, leading axis n. Actions are normalised to [-1, 1] (or indices).

    `terminated` says that the world ended; a time limit never appears here.
    `mc_return` is the discounted return from here on, −inf where it is not known;
    only algorithms that need it get it.
    """

    obs: Observation
    action: Action
    reward: Float[Array, " n"]
    next_obs: Observation
    terminated: Bool[Array, " n"]
    mc_return: Float[Array, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class Spec:
    """What an algorithm must know of an environment: shapes and units.

    Exactly one of `low`/`high` (bounds of a Box, one number a dimension) and
    `num_actions` (a Discrete space) is set.
    """

    obs_shape: tuple[int, ...]
    obs_dtype: Literal["float32", "uint8"] = "float32"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    num_actions: int = 0
    action_start: int = 0

    def __str__(self) -> str:
        shape = " × ".join(map(str, self.obs_shape))
        if self.num_actions:
            first = f" from {self.action_start}" if self.action_start else ""
            return f"observations of {shape}, {self.num_actions} actions{first}"
        alike = len({*self.low}) == len({*self.high}) == 1
        low, high = (b[:1] if alike else b for b in (self.low, self.high))
        bounds = " to ".join(", ".join(f"{x:g}" for x in b) for b in (low, high))
        each = "each " if alike and self.action_dim > 1 else ""
        return f"observations of {shape}, actions of {self.action_dim} ({each}{bounds})"

    @property
    def actions(self) -> Literal["continuous", "discrete"]:
        return "discrete" if self.num_actions else "continuous"

    @property
    def action_dim(self) -> int:
        return len(self.low)

    def to_env(self, action: Any) -> Any:
        """Normalised actions (..., d) to the Box's units; indices to its labels."""
        if self.num_actions:
            return action.astype(np.int64) + self.action_start
        low, high = self._bounds()
        scaled = low + (np.float32(0.5) * (action + np.float32(1))) * (high - low)
        return np.clip(scaled, low, high)

    def from_env(self, action: Any) -> Any:
        """The inverse of `to_env`: actions in the Box's units to [-1, 1]."""
        if self.num_actions:
            return (np.asarray(action) - self.action_start).astype(np.int32)
        low, high = self._bounds()
        return np.float32(2) * (action.astype(np.float32) - low) / (high - low) - 1

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)


class Episode(NamedTuple):
    """A finished training episode: its seed, its return, its length.

    `lane` counts a run's pairs of setting and seed; seeds vary fastest.
    """

    seed: int
    ret: float
    length: int
    lane: int = 0


class Progress(NamedTuple):
    """What a loop yields. `train` lives until the next item is asked for.

    `info` holds device scalars of the newest update (a leading seed axis where
    there are several seeds); reading them waits for the device.
    """

    step: int
    train: Any
    info: dict[str, Any]
    episodes: list[Episode]


class SoftqError(Exception):
    """A user's mistake, told in the user's words; the command line exits with 2."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """A frozen dataclass that is a pytree: float fields are leaves, others static.

    So that a sweep over numeric knobs is a vmap, and only structure recompiles.
    """
    made: Any = dataclasses.dataclass(frozen=True)(cls)
    hints = typing.get_type_hints(cls)
    knobs = [f.name for f in dataclasses.fields(made) if _is_knob(hints[f.name])]
    static = [f.name for f in dataclasses.fields(made) if f.name not in knobs]

    def flatten(cfg: T) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [
            (jax.tree_util.GetAttrKey(name), getattr(cfg, name)) for name in knobs
        ]
        return leaves, tuple(getattr(cfg, name) for name in static)

    def unflatten(structure: tuple[Any, ...], leaves: Iterable[Any]) -> T:
        # Not through __init__, whose types are the user's: a leaf may be an array.
        cfg: T = object.__new__(made)
        for name, value in zip([*knobs, *static], [*leaves, *structure], strict=True):
            object.__setattr__(cfg, name, value)
        return cfg

    jax.tree_util.register_pytree_with_keys(made, flatten, unflatten)
    return made


def _is_knob(hint: Any) -> bool:
    return hint is float or set(typing.get_args(hint)) == {float, type(None)}


def cast_knobs(cfg: T) -> T:
    """Every numeric knob as a float32 array, so that values never recompile."""
    return jax.tree.map(lambda knob: jnp.asarray(knob, jnp.float32), cfg)
