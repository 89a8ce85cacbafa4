"""Minari's HDF5 datasets: a group an episode, T+1 observations for T steps."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softq.data.hdf5 import library, member, opened, sha256, text
from softq.data.source import (
    Block,
    Layout,
    Refused,
    Source,
    as_action,
    as_flags,
    as_obs,
    layout,
    number,
)
from softq.types import SoftqError

NAME = re.compile(r"[\w./-]*[\w]-v\d+")
PARTS = ("actions", "rewards", "terminations", "truncations")
MOST_PARTS, DEEPEST = 1_000, 16  # of dictionaries of observations


class Episode(NamedTuple):
    """An open episode: its observations' datasets by key, and the other fields."""

    number: int
    obs: dict[str, Any]
    rest: dict[str, Any]


def root() -> Path:
    """Where Minari keeps its datasets."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given) if given else Path.home() / ".minari" / "datasets"


def minari_path(name: str, download: bool = False) -> Path:
    """The file of the dataset called `name`, fetched by the minari package if asked.

    Raises SoftqError where it is not there, or cannot be fetched.
    """
    found = inside(root() / name)
    if found is None and download:
        _download(name)
        found = inside(root() / name)
    if found is None:
        raise SoftqError(
            f"there is no file {name}, and no Minari dataset of that name in {root()}. "
            f'Try: pip install "minari[hdf5]"; minari download {name}'
        )
    return found


def inside(folder: Path) -> Path | None:
    """main_data.hdf5 in a dataset's folder, or in the folder `data` of it."""
    places = (folder / "data" / "main_data.hdf5", folder / "main_data.hdf5")
    return next((path for path in places if path.is_file()), None)


def _download(name: str) -> None:
    try:
        import minari
    except ImportError as error:
        raise SoftqError(
            f"fetching {name} needs a package. Try: pip install "
            f'"minari[hdf5]"; minari download {name}'
        ) from error
    try:
        minari.download_dataset(name)
    except Exception as error:  # whatever its network layer raises
        raise SoftqError(
            f"{name} cannot be fetched: {error}. On a machine with a network: "
            f"minari download {name}; then copy its folder to {root() / name}"
        ) from error


def is_minari(path: Path) -> bool:
    """Whether an HDF5 file has a group an episode."""
    with opened(path) as file:
        return bool(_keys(file))


def minari(path: Path) -> Source:
    """The dataset in a main_data.hdf5. Raises Refused where it is none."""
    with opened(path) as file:
        names, steps = _names(file, path)
        first = _episode(file, names[0], path)
        made, fields, alike = _layout(first, path), _fields(first), _parts(first)
        meta = _metadata(file, path)
    told = meta.get("total_episodes")
    notes: tuple[str, ...] = ()
    if told is not None and told != len(names):
        notes = (f"metadata tells of {told} episodes; there are {len(names)}",)

    def blocks() -> Iterator[Block]:
        row = 0
        with opened(path) as file:
            for name in names:
                episode = _episode(file, name, path)
                if _parts(episode) != alike:
                    raise Refused(
                        f"{path}: {name} has other arrays than {names[0]}: "
                        f"{_parts(episode)}, there {alike}"
                    )
                for block in _steps(episode, made, row, path):
                    yield block
                    row += len(block.row)

    return Source(
        str(path), "minari", _env_id(meta), steps, made, fields, False, notes, blocks,
        partial(sha256, path),
    )  # fmt: skip


def _keys(file: Any) -> list[str]:
    # A damaged name comes as bytes.
    keys = [key for key in file if isinstance(key, str)]
    return [key for key in keys if re.fullmatch(r"episode_\d+", key)]


def _names(file: Any, path: Path) -> tuple[list[str], int]:
    """The names of the episodes that have steps, in order, and all their steps."""
    names, total = [], 0
    for key in sorted(_keys(file), key=lambda key: int(key[8:])):
        group = member(file, key, path)
        rewards = member(group, "rewards", path) if hasattr(group, "keys") else None
        if not isinstance(rewards, library().Dataset):
            raise Refused(f"{path}: {key} has no rewards")
        if steps := int(rewards.size):
            names.append(key)
            total += steps
    if not names:
        raise Refused(f"{path} has no episode with a step in it")
    return names, total


def _episode(file: Any, name: str, path: Path) -> Episode:
    """An episode's datasets, of lengths that fit. Raises Refused otherwise."""
    group = member(file, name, path)
    rest = {part: member(group, part, path) for part in PARTS}
    leaves = itertools.islice(_leaves(group, "observations", path), MOST_PARTS + 1)
    obs = dict(leaves)
    if len(obs) > MOST_PARTS:
        raise Refused(
            f"{path}: {name} has more than {MOST_PARTS} parts of observations"
        )
    missing = [part for part, found in rest.items() if not hasattr(found, "shape")]
    if missing := missing + ([] if obs else ["observations"]):
        raise Refused(
            f"{path}: {name} has no {', '.join(missing)}; softq needs observations, "
            f"{', '.join(PARTS)}, each an array"
        )
    steps = rest["actions"].shape[0] if rest["actions"].shape else 0
    wanted = dict.fromkeys(rest, steps) | dict.fromkeys(obs, steps + 1)
    for part, found in (rest | obs).items():
        if not isinstance(found, library().Dataset):
            raise Refused(f"{path}: {name}/{part} is no array")
        if library().check_vlen_dtype(found.dtype) == np.uint8:
            raise Refused(
                f"{path}: {name}/{part} holds JPEG images, which lose what was seen; "
                "softq reads arrays. Make the dataset with jpeg_encoding=False"
            )
        shape, _ = number(f"{name}/{part}", (found.shape, found.dtype), str(path))
        if shape[0] != wanted[part]:
            raise Refused(
                f"{path}: {name} has {steps:,} actions and {shape[0]:,} rows of {part};"
                f" it needs {wanted[part]:,} (T+1 observations, T of all else)"
            )
    return Episode(int(name[8:]), obs, rest)


def _leaves(group: Any, name: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Observations by name; those of dictionaries in the order of their keys."""
    if name.count("/") > DEEPEST:
        raise Refused(f"{path}: its observations are nested more than {DEEPEST} deep")
    found = member(group, name.rsplit("/", 1)[-1], path)
    if found is None:
        return
    if not hasattr(found, "keys"):
        yield name, found
        return
    for key in sorted((k for k in found if isinstance(k, str)), key=_order):
        yield from _leaves(found, f"{name}/{key}", path)


def _order(key: str) -> tuple[int, str]:
    """Tuples are stored as _index_0, _index_1, …: by number; else by name."""
    found = re.fullmatch(r"_index_(\d+)", key)
    return (int(found[1]), "") if found else (-1, key)


def _layout(first: Episode, path: Path) -> Layout:
    actions = first.rest["actions"]
    act = (actions.shape, actions.dtype)
    parts = [layout(str(path), (x.shape, x.dtype), act) for x in first.obs.values()]
    if len(parts) == 1:
        return parts[0]
    size = sum(int(np.prod(part.obs_shape)) for part in parts)
    return Layout((size,), "float32", parts[0].action_dim)


def _fields(first: Episode) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shapes and dtypes of the first episode's arrays."""
    both = first.obs | first.rest
    return {
        f"episode_{first.number}/{part}": (tuple(x.shape), str(x.dtype))
        for part, x in both.items()
    }


def _parts(episode: Episode) -> dict[str, tuple[int, ...]]:
    """The shape of a row of every observation, and of an action; and whether it is
    whole, for a Discrete action and a Box of one look alike otherwise.
    """
    action = episode.rest["actions"]
    whole = np.dtype(action.dtype).kind in "iub"
    obs = {part: tuple(x.shape[1:]) for part, x in episode.obs.items()}
    return obs | {"index" if whole else "actions": tuple(action.shape[1:])}


def _steps(episode: Episode, made: Layout, row: int, path: Path) -> Iterator[Block]:
    """An episode's steps in blocks; `row` is the number of its first."""
    length, size = episode.rest["actions"].shape[0], made.rows()
    for start in range(0, length, size):
        stop = min(start + size, length)
        n, rows, name = stop - start, slice(start, stop), str(path)
        obs = _observations(episode, slice(start, stop + 1), made)
        flags = [
            as_flags(episode.rest[part][rows], part, row + start, name)
            for part in ("terminations", "truncations")
        ]
        ends = np.zeros(n, np.bool_)
        ends[-1] = stop == length
        yield Block(
            np.arange(row + start, row + stop), obs[:-1],
            as_action(episode.rest["actions"][rows], made),
            episode.rest["rewards"][rows].reshape(n).astype(np.float64), obs[1:],
            flags[0], flags[1], ends, np.ones(n, np.bool_),
        )  # fmt: skip


def _observations(episode: Episode, rows: slice, made: Layout) -> np.ndarray:
    parts = [found[rows] for found in episode.obs.values()]
    wide = parts[0] if len(parts) == 1 else np.concatenate(
        [part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1
    )  # fmt: skip
    return as_obs(wide, made)


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    """metadata.json beside the file; older datasets keep it in HDF5 attributes."""
    beside = path.with_name("metadata.json")
    if not beside.is_file():
        names = ("env_spec", "total_episodes", "algorithm_name")
        return {name: _plain(file.attrs[name]) for name in names if name in file.attrs}
    try:
        found = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{beside} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else text(value)


def _env_id(meta: dict[str, Any]) -> str | None:
    """The id in `env_spec`, which is a dictionary or JSON of one."""
    found = meta.get("env_spec")
    try:
        found = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError):
        return None
    told = found.get("id") if isinstance(found, dict) else None
    return told if isinstance(told, str) else None
