"""Offline data: a file or arrays in, one checked Batch out.

D4RL HDF5, Minari HDF5, OGBench npz and dictionaries of arrays, read with NumPy and
h5py alone. Actions come out in [-1, 1], strictly inside: at ±1 a squashed Gaussian
has no log-density.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from softq.data import minari
from softq.data.hdf5 import d4rl
from softq.data.memory import arrays
from softq.data.ogbench import ogbench
from softq.data.source import Block, Format, Refused, Source, transitions
from softq.machine import free_memory
from softq.types import Batch, SoftqError, Spec

Data = str | Path | Mapping[str, Any]
EDGE = np.float32(1 - 1e-6)
MOST_ACTIONS = 2**16
SLACK = np.float32(1e-5)  # rounding beyond ±1 that is no action outside the bounds
NAMES = {
    "obs": "observations", "next_obs": "next_observations", "action": "actions",
    "reward": "rewards",
}  # fmt: skip


class About(NamedTuple):
    """Where a dataset comes from, what it holds, and what was done to it."""

    path: str
    format: Format
    env_id: str | None
    sha256: str
    episodes: int
    transitions: int
    warnings: tuple[str, ...]


class Dataset(NamedTuple):
    """Transitions as NumPy arrays in their order; `ends` marks each episode's last.

    Actions are float32 in ±(1 − 1e-6), or int32 indices.
    """

    batch: Batch
    ends: Bool[np.ndarray, " n"]
    spec: Spec
    about: About


def source(data: Data) -> Source:
    """The recorded steps of a file, a Minari folder or name, or a dict of arrays.

    Raises SoftqError where there is none, Refused where it cannot be used.
    """
    if isinstance(data, Mapping):
        return arrays(data)
    path = Path(data)
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise SoftqError(f"cannot read {path}: {error}") from error
    if path.is_dir():
        found = minari.inside(path)
        if found is None:
            raise SoftqError(f"there is no main_data.hdf5 in {path} or {path / 'data'}")
        return minari.minari(found)
    if not path.is_file():
        if minari.NAME.fullmatch(str(data)):
            return minari.minari(minari.minari_path(str(data)))
        raise SoftqError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise SoftqError(f"{path} cannot be read: {error.strerror}") from error
    if start == b"PK":
        return ogbench(path)
    return minari.minari(path) if minari.is_minari(path) else d4rl(path)


def read(
    data: Data,
    *,
    spec: Spec | None = None,
    env_name: str = "the environment",
    reward_scale: float = 1.0,
    reward_shift: float = 0.0,
    strict: bool = False,
    memory: int | None = None,
) -> Dataset:
    """All transitions of a file (path or Minari name) or of a dict of arrays.

    `spec` is the evaluation environment's, called `env_name` in errors: its bounds
    normalise the actions, and its shapes must be the file's. Without it actions are
    taken to lie in [-1, 1], or as indices where they are whole numbers. The reward is
    r · reward_scale + reward_shift. Actions outside the bounds are clipped, with a
    line in `about.warnings`; refused where `strict`. `memory` is the limit in bytes
    (default: what is free). Raises SoftqError for data that cannot be used.
    """
    found = source(data)
    _fits(found, memory)
    if spec is not None:
        agrees(found, spec, env_name)
    columns, ends = _gather(found)
    chosen = spec or assumed(found, columns["action"])
    columns["action"], told = _actions(found.name, columns["action"], chosen, strict)
    with np.errstate(over="ignore"):
        scaled = columns["reward"] * reward_scale + reward_shift
        columns["reward"] = scaled.astype(np.float32)
    _finite(found.name, "reward", columns["reward"], None)
    warnings = (*found.notes, *told, *_suspicions(columns, ends))
    about = About(
        found.name, found.format, found.env_id, found.sha256(), int(ends.sum()),
        len(ends), warnings,
    )  # fmt: skip
    return Dataset(Batch(**columns), ends, chosen, about)


def _fits(found: Source, limit: int | None) -> None:
    need = found.steps * found.layout.bytes()
    have = free_memory() if limit is None else limit
    if need > have:
        raise SoftqError(
            f"{found.name} needs {_size(need)} of memory ({found.steps:,} transitions "
            f"of {found.layout.bytes():,} bytes); {_size(have)} are free. Train on a "
            "part of it, or on a machine with more; `softq data info`, `doctor` and "
            "`convert` work without holding it"
        )


def _size(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.3f} MB"


def agrees(found: Source, spec: Spec, name: str) -> None:
    """Raises SoftqError unless the file's shapes are the environment's."""
    made = found.layout
    if (made.obs_shape, made.obs_dtype) != (spec.obs_shape, spec.obs_dtype):
        raise SoftqError(
            f"{found.name} has observations of {_told(made.obs_shape, made.obs_dtype)},"
            f" {name} has {_told(spec.obs_shape, spec.obs_dtype, short=True)}. "
            "Give the environment that the data is of"
        )
    theirs = f"{made.action_dim} numbers" if made.action_dim else "whole numbers"
    ours = f"Discrete({spec.num_actions})" if spec.num_actions else str(spec.action_dim)
    if made.action_dim != (0 if spec.num_actions else spec.action_dim):
        raise SoftqError(
            f"{found.name} has actions of {theirs}, {name} has {ours}. "
            "Give the environment that the data is of"
        )


def _told(shape: tuple[int, ...], dtype: str, short: bool = False) -> str:
    if dtype == "uint8":
        return f"images {list(shape)}"
    return str(shape[0]) if short else f"{shape[0]} numbers"


def assumed(found: Source, action: np.ndarray) -> Spec:
    """The Spec of data alone: bounds ±1, or as many actions as indices are used."""
    made, dim = found.layout, found.layout.action_dim
    if dim:
        return Spec(made.obs_shape, made.obs_dtype, (-1.0,) * dim, (1.0,) * dim)
    low, high = int(action.min()), int(action.max())
    if low < 0 or high >= MOST_ACTIONS:
        raise Refused(
            f"{found.name} has actions from {low} to {high}; softq reads 0, 1, … below "
            f"{MOST_ACTIONS:,}. Store them so, or give the environment: --eval-env ID"
        )
    return Spec(made.obs_shape, made.obs_dtype, num_actions=high + 1)


def _gather(found: Source) -> tuple[dict[str, Any], np.ndarray]:
    """The fields of a Batch as recorded, and the episodes' ends."""
    made, n = found.layout, found.steps
    action: tuple[Any, Any] = ((n, made.action_dim), np.float32)
    columns: dict[str, Any] = {
        "obs": np.empty((n, *made.obs_shape), made.obs_dtype),
        "action": np.empty(*(action if made.action_dim else ((n,), np.int64))),
        "reward": np.empty(n, np.float64),
        "next_obs": np.empty((n, *made.obs_shape), made.obs_dtype),
        "terminated": np.empty(n, np.bool_),
    }
    ends, filled = np.empty(n, np.bool_), 0
    for block in transitions(found):
        check_finite(found.name, block)
        rows = slice(filled, filled + len(block.row))
        for field, column in columns.items():
            column[rows] = getattr(block, field)
        ends[rows] = block.ends
        filled = rows.stop
    if not filled:
        raise Refused(
            f"{found.name} has no transition left: no step of its {n:,} has a next "
            "observation. It needs next_observations, or longer episodes"
        )
    return {field: column[:filled] for field, column in columns.items()}, ends[:filled]


def check_finite(name: str, block: Block) -> None:
    """Raises Refused where a number is NaN or infinite, naming field and row."""
    for field in NAMES:
        _finite(name, field, getattr(block, field), block.row)


def _finite(name: str, field: str, values: np.ndarray, row: np.ndarray | None) -> None:
    if values.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)  # as which they are learned from
    if np.isfinite(values).all():
        return
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    at = int(bad.argmax())
    raise Refused(
        f"{name}: {NAMES[field]} has NaN or infinity, first in row "
        f"{at if row is None else int(row[at]):,}. See: softq data doctor FILE"
    )


def _actions(
    name: str, action: np.ndarray, spec: Spec, strict: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Actions inside the library's bounds, and what had to be done for it."""
    if spec.num_actions:
        index = action - spec.action_start
        wrong = (index < 0) | (index >= spec.num_actions)
        if wrong.any():
            raise Refused(
                f"{name}: row {int(wrong.argmax()):,} has action "
                f"{action[wrong.argmax()]}; there are {spec.num_actions} actions from "
                f"{spec.action_start}"
            )
        return index.astype(np.int32), ()
    inside = spec.from_env(action)
    outside = (np.abs(inside) > 1 + SLACK).any(axis=1)
    told = ""
    if outside.any():
        told = (
            f"{int(outside.sum()):,} of {len(action):,} actions lie outside the bounds "
            f"{bounds(spec)}: they go from {action.min():.3g} to {action.max():.3g}"
        )
    if told and strict:
        raise Refused(f"{name}: {told}. Without --strict they are clipped")
    clipped = np.clip(inside, -EDGE, EDGE)
    if told:
        return clipped, (f"{told}; clipped",)
    edge = int((np.abs(inside) > (1 + EDGE) / 2).any(axis=1).sum())
    at = f"{edge:,} of {len(action):,} actions lie at the bounds {bounds(spec)}"
    return clipped, (f"{at}; clipped to 1 - 1e-6 of them",) if edge else ()


def bounds(spec: Spec) -> str:
    """A Box's bounds in a few characters."""
    pairs = sorted({*zip(spec.low, spec.high, strict=True)})
    told = ", ".join(f"[{low:g}, {high:g}]" for low, high in pairs[:3])
    return f"{told}, …" if len(pairs) > 3 else told


def _suspicions(columns: dict[str, Any], ends: np.ndarray) -> list[str]:
    """What is no error, and yet makes learning unlikely."""
    told, reward = [], columns["reward"]
    if len(reward) > 1 and reward.min() == reward.max():
        left = "there is nothing to learn from"
        if reward[0]:
            left = "only where episodes terminate is there anything to learn"
        told.append(f"every reward is {reward[0]:g}: {left}")
    if len(ends) > 1 and ends.sum() == 1 and not columns["terminated"].any():
        told.append("no episode boundary: all rows are taken as one episode")
    return told


def monte_carlo(data: Dataset, discount: float) -> Float[np.ndarray, " n"]:
    """Discounted return to go of every transition: Gₜ = rₜ + γ Gₜ₊₁.

    Where a time limit or the file's end cuts an episode, what was still to come is not
    known: it counts as the mean of the episode's own G, which is then v = E[A + γᵏ v]
    with A the return up to the cut, k steps away. So an episode of the same reward r
    throughout returns r/(1 − γ), whatever its length. Without discount it is −∞.
    """
    reward = np.asarray(data.batch.reward)
    terminated = np.asarray(data.batch.terminated)
    over = terminated | data.ends
    known, weight = np.empty(len(reward)), np.empty(len(reward))  # A and γᵏ
    value = share = 0.0
    rewards, lasts = reward.tolist(), over.tolist()  # of Python's, ten times as fast
    for i in range(len(rewards) - 1, -1, -1):
        if lasts[i]:
            value, share = 0.0, float(not terminated[i])
        known[i] = value = rewards[i] + discount * value
        weight[i] = share = discount * share
    first = np.append(0, np.flatnonzero(over)[:-1] + 1)
    length = np.diff(np.append(first, len(reward)))
    a, b = (np.add.reduceat(x, first) / length for x in (known, weight))
    mean = np.divide(a, 1.0 - b, out=np.full(len(a), -np.inf), where=b < 1.0)
    return (known + weight * np.repeat(mean, length)).astype(np.float32)
