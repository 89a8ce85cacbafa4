"""What every reader of files offers: recorded steps in blocks, in one shape.

A file is hostile until its shapes, dtypes and lengths are checked. Only blocks of it
are ever held here, so that a file larger than memory can still be examined.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from softq.types import SoftqError

BLOCK_ROWS = 65_536
BLOCK_BYTES = 2**25  # of one field: rows may be images
Format = Literal["d4rl", "minari", "ogbench", "arrays"]
T = TypeVar("T")


class Refused(SoftqError):
    """Data that cannot be used; says which and why."""


class Block(NamedTuple):
    """Recorded steps in their order, leading axis n; actions in the file's units.

    `row` counts the file's rows. `known` is False where the step's next observation
    was not recorded; such a step always ends an episode, and is nothing to train on.
    """

    row: Int[np.ndarray, " n"]
    obs: Shaped[np.ndarray, "n *o"]
    action: Shaped[np.ndarray, "n *a"]
    reward: Float[np.ndarray, " n"]
    next_obs: Shaped[np.ndarray, "n *o"]
    terminated: Bool[np.ndarray, " n"]
    truncated: Bool[np.ndarray, " n"]
    ends: Bool[np.ndarray, " n"]
    known: Bool[np.ndarray, " n"]


class Layout(NamedTuple):
    """Shape of one observation, and of one action (`action_dim` 0: an index)."""

    obs_shape: tuple[int, ...]
    obs_dtype: Literal["float32", "uint8"]
    action_dim: int

    def rows(self) -> int:
        """How many rows a block has."""
        obs = math.prod(self.obs_shape) * np.dtype(self.obs_dtype).itemsize
        return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, obs, 4 * self.action_dim)))

    def bytes(self) -> int:
        """Bytes that one transition takes in a Batch, with its episode end."""
        obs = math.prod(self.obs_shape) * np.dtype(self.obs_dtype).itemsize
        return 2 * obs + 4 * max(1, self.action_dim) + 4 + 1 + 1


class Source(NamedTuple):
    """A file (or arrays) whose layout is checked; `blocks()` reads it anew.

    `steps` is the number of recorded rows, `fields` what lies in the file: shape and
    dtype by name. `links` says that next observations were recorded beside the
    observations, so that they can be compared. `sha256()` is of the file's bytes.
    """

    name: str
    format: Format
    env_id: str | None
    steps: int
    layout: Layout
    fields: dict[str, tuple[tuple[int, ...], str]]
    links: bool
    notes: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
    sha256: Callable[[], str]


def ahead(items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    """Every item with the one after it; None after the last."""
    stream = iter(items)
    for now in stream:
        for after in stream:
            yield now, after
            now = after
        yield now, None


def transitions(source: Source) -> Iterator[Block]:
    """The blocks without the steps whose next observation is unknown.

    An episode whose last step is left out ends one step earlier.
    """
    for now, after in ahead(source.blocks()):
        first = bool(after is not None and not after.known[0])
        ends = now.ends | np.append(~now.known[1:], first)
        yield take(now._replace(ends=ends), now.known)


def take(block: Block, keep: Bool[np.ndarray, " n"]) -> Block:
    """The rows of a block where `keep` is set."""
    return block if keep.all() else Block(*(field[keep] for field in block))


def layout(
    name: str,
    obs: tuple[tuple[int, ...], Any],
    action: tuple[tuple[int, ...], Any],
) -> Layout:
    """The layout of observations and actions, each (shape with leading axis, dtype).

    Raises Refused where softq has no use for them.
    """
    shape, dtype = number("observations", obs, name)
    if dtype.kind in "iub" and len(shape) == 1:
        raise Refused(
            f"{name} has whole numbers of shape {list(shape)} as observations (a "
            "Discrete space?). Store them as vectors, one-hot for example"
        )
    if image := len(shape) == 4 and dtype == np.uint8:
        obs_shape = shape[1:]
    else:
        obs_shape = (math.prod(shape[1:]),)
    dim = _action_dim(name, *number("actions", action, name))
    return Layout(obs_shape, "uint8" if image else "float32", dim)


def number(field: str, found: tuple[Any, Any], name: str) -> tuple[Any, np.dtype]:
    """(shape, dtype) of a field, if its values are real numbers; else raises."""
    shape, dtype = tuple(found[0]), np.dtype(found[1])
    if dtype.hasobject:
        raise Refused(
            f"{name}: {field} holds Python objects, which only a pickle can carry; "
            "softq opens none. Save it as numbers"
        )
    if dtype.kind not in "fiub":
        raise Refused(f"{name}: {field} is of type {dtype}; it must be numbers")
    if not shape or min(shape) < 1:
        raise Refused(f"{name}: {field} is empty, of shape {list(shape)}")
    return shape, dtype


def _action_dim(name: str, shape: tuple[int, ...], dtype: np.dtype) -> int:
    if dtype.kind in "iub":
        if math.prod(shape[1:]) == 1:
            return 0
        raise Refused(
            f"{name} has actions of {dtype}{list(shape)}; softq reads vectors of "
            "floats, or one whole number a step"
        )
    if len(shape) > 2:
        raise Refused(f"{name} has actions of shape {list(shape)}; softq needs vectors")
    return shape[1] if len(shape) == 2 else 1


def as_obs(raw: np.ndarray, made: Layout) -> Shaped[np.ndarray, "n *o"]:
    """Observations (n, *obs_shape) as float32 or bytes."""
    with np.errstate(over="ignore"):  # an infinity is found where values are checked
        return raw.reshape(len(raw), *made.obs_shape).astype(made.obs_dtype)


def as_action(raw: np.ndarray, made: Layout) -> Shaped[np.ndarray, "n *a"]:
    """Actions (n, d) as float32, or indices (n,) as int64."""
    if not made.action_dim:
        return raw.reshape(len(raw)).astype(np.int64)
    with np.errstate(over="ignore"):
        return raw.reshape(len(raw), made.action_dim).astype(np.float32)


def as_flags(
    raw: np.ndarray, field: str, start: int, name: str
) -> Bool[np.ndarray, " n"]:
    """Flags (n,) from booleans, or numbers that are 0 or 1; else raises Refused."""
    flat = raw.reshape(len(raw))
    wrong = (flat != 0) & (flat != 1)
    if wrong.any():
        at = int(wrong.argmax())
        raise Refused(
            f"{name}: {field} must be 0 or 1; row {start + at:,} has {flat[at]}"
        )
    return flat != 0


def shapes(**columns: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every column."""
    return {name: (tuple(c.shape), str(c.dtype)) for name, c in columns.items()}
