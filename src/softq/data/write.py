"""Writers of D4RL and Minari HDF5: appended to in blocks, there whole or not at all.

Columns have D4RL's names: `observations`, `actions`, `rewards`, `terminals`,
`timeouts` and `next_observations`, all with leading axis n and actions in the
environment's units. An episode ends at a terminal or a timeout.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from softq.data.hdf5 import library
from softq.data.source import Block
from softq.types import SoftqError, Spec

Columns = Mapping[str, Any]
Append = Callable[[Columns], None]
COLUMNS = (
    "observations", "actions", "rewards", "terminals", "timeouts", "next_observations",
)  # fmt: skip
CHUNK_BYTES = 2**18
MINARI = "0.5.0"  # the layout's version: what a reader must understand


@contextmanager
def d4rl_writer(path: Path, meta: Mapping[str, str]) -> Iterator[Append]:
    """Gives a function that appends columns to a new file; `meta` goes to metadata/.

    The file appears when the block is left, and not at all after an error. Raises
    SoftqError where it exists already or cannot be written.
    """
    with _atomic(path) as working, _hdf5(working) as file:
        for key, value in meta.items():
            file[f"metadata/{key}"] = value

        def append(columns: Columns) -> None:
            for name, rows in _checked(columns).items():
                _grow(file, name, rows)

        yield append


def write_d4rl(
    path: Path, columns: Columns | Iterable[Columns], meta: Mapping[str, str]
) -> None:
    """Writes a D4RL file of columns, or of an iterable of blocks of them."""
    with d4rl_writer(path, meta) as append:
        for part in [columns] if isinstance(columns, Mapping) else columns:
            append(part)


@contextmanager
def minari_writer(
    folder: Path, spec: Spec, meta: Mapping[str, str]
) -> Iterator[Append]:
    """Gives a function that appends columns to a new Minari dataset in `folder`.

    `spec` describes the spaces. `meta` may have env_id, env_spec (Gymnasium's JSON of
    it), dataset_id, algorithm_name, code_permalink, author. Raises SoftqError where
    the folder exists already, or where an observation does not follow from the row
    before: T+1 observations an episode cannot hold that.
    """
    with _atomic(folder) as working:
        data = working / "data"
        data.mkdir(parents=True)
        with _hdf5(data / "main_data.hdf5") as file:
            episodes = _Episodes(file)
            yield episodes.append
            episodes.close()
        content = _metadata(folder, spec, meta) | {
            "total_episodes": episodes.count, "total_steps": episodes.steps,
        }  # fmt: skip
        (data / "metadata.json").write_text(json.dumps(content, indent=1))


def write_minari(
    folder: Path,
    columns: Columns | Iterable[Columns],
    spec: Spec,
    meta: Mapping[str, str],
) -> None:
    """Writes a Minari dataset of columns, or of an iterable of blocks of them."""
    with minari_writer(folder, spec, meta) as append:
        for part in [columns] if isinstance(columns, Mapping) else columns:
            append(part)


def columns_of(block: Block) -> dict[str, np.ndarray]:
    """A block of transitions as columns; an episode that is cut has a timeout."""
    return {
        "observations": block.obs, "actions": block.action,
        "rewards": block.reward.astype(np.float32), "terminals": block.terminated,
        "timeouts": block.ends & ~block.terminated,
        "next_observations": block.next_obs,
    }  # fmt: skip


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """Another name to write to, which becomes `path` where no error is raised.

    It lies in a folder of its own, so that two who write the same do not meet.
    """
    try:
        _free(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".softq-", dir=path.parent))
        try:
            working = folder / path.name
            yield working
            for file in [working] if working.is_file() else working.rglob("*.*"):
                _sync(file)
            _free(path)  # it may have come while this was written
            working.rename(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise SoftqError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    """A new HDF5 file. Raises OSError where the disk did not take all of it."""
    with path.open("w+b", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with library().File(disk, "w") as file:
                yield file
        finally:  # the cause of whatever HDF5 may say of it
            if disk.error is not None:
                raise disk.error


class _Disk:
    """A file that goes on as if nothing were, once its disk is full.

    HDF5 does not survive an error while it closes: it would end the process. The first
    one is kept, for whoever looks.
    """

    def __init__(self, raw: Any):
        self.raw = raw
        self.error: OSError | None = None
        self.seek, self.tell, self.read = raw.seek, raw.tell, raw.read

    def readinto(self, buffer: Any) -> int:
        got = self.raw.readinto(buffer)
        rest = memoryview(buffer).cast("B")[got:]
        rest[:] = bytes(len(rest))
        return got + len(rest)

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        try:
            while len(left) and self.error is None:
                left = left[self.raw.write(left) :]
        except OSError as error:
            self.error = error
        return len(content)

    def truncate(self, size: int) -> int:
        try:
            self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        """Nothing waits: the file is not buffered."""


def _free(path: Path) -> None:
    if path.exists():
        raise SoftqError(f"{path} is there already. Remove it, or give another --out")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checked(columns: Columns) -> dict[str, np.ndarray]:
    """The columns as arrays of one length, in a fixed order; else raises."""
    if missing := [name for name in COLUMNS if name not in columns]:
        raise SoftqError(f"the columns to write lack {', '.join(missing)}")
    arrays = {name: np.asarray(columns[name]) for name in COLUMNS}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len({*lengths.values()}) != 1:
        raise SoftqError(f"the columns to write differ in length: {lengths}")
    return arrays


def _grow(group: Any, name: str, rows: np.ndarray) -> None:
    """Appends rows (n, …) to a dataset, which is made where there is none."""
    if name not in group:
        one = max(1, rows[:1].nbytes)
        chunk = (max(1, min(len(rows), CHUNK_BYTES // one)), *rows.shape[1:])
        group.create_dataset(
            name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=chunk,
            compression="gzip", shuffle=True,
        )  # fmt: skip
        return
    found = group[name]
    if found.shape[1:] != rows.shape[1:] or found.dtype != rows.dtype:
        raise SoftqError(
            f"{name} began as {found.dtype}{list(found.shape[1:])} a row; now it is "
            f"{rows.dtype}{list(rows.shape[1:])}"
        )
    found.resize(found.shape[0] + len(rows), axis=0)
    found[-len(rows) :] = rows


class _Episodes:
    """The groups of a Minari file; the last may still be open."""

    def __init__(self, file: Any):
        self.file, self.count, self.steps = file, 0, 0
        self.group: Any = None
        self.led: np.ndarray | None = None  # where the open episode's last step led

    def append(self, columns: Columns) -> None:
        arrays = _checked(columns)
        ends = arrays["terminals"].astype(bool) | arrays["timeouts"].astype(bool)
        stops = [*(np.flatnonzero(ends) + 1), len(ends)]
        for start, stop in zip([0, *stops], stops, strict=False):
            if stop > start:
                self._segment({k: x[start:stop] for k, x in arrays.items()})
                if ends[stop - 1]:
                    self.close()

    def _segment(self, part: dict[str, np.ndarray]) -> None:
        """Rows of one episode."""
        obs, led = part["observations"], part["next_observations"]
        before = obs[:1] if self.led is None else self.led
        if not np.array_equal(obs, np.concatenate([before, led[:-1]])):
            raise SoftqError(
                f"episode {self.count} breaks: a row's observation is not where the "
                "row before led, which Minari's T+1 observations cannot hold. "
                "Write --format d4rl, and see: softq data doctor FILE"
            )
        if self.group is None:
            self.group = self.file.create_group(f"episode_{self.count}")
        for name, rows in (
            ("observations", obs), ("actions", part["actions"]),
            ("rewards", part["rewards"]), ("terminations", part["terminals"]),
            ("truncations", part["timeouts"]),
        ):  # fmt: skip
            _grow(self.group, name, rows)
        self.led = led[-1:]

    def close(self) -> None:
        """Ends the open episode; where no flag did, it is truncated."""
        if self.group is None:
            return
        _grow(self.group, "observations", self.led)  # type: ignore[arg-type]
        if not self.group["terminations"][-1]:
            self.group["truncations"][-1] = True
        steps = self.group["rewards"].shape[0]
        self.group.attrs.update({"id": self.count, "total_steps": steps})
        self.count, self.steps = self.count + 1, self.steps + steps
        self.group = self.led = None


def _metadata(folder: Path, spec: Spec, meta: Mapping[str, str]) -> dict[str, Any]:
    """What Minari wants to know, its spaces as the JSON that it writes itself."""
    byte = spec.obs_dtype == "uint8"
    obs = _box(
        spec.obs_shape, spec.obs_dtype, *((0, 255) if byte else (-np.inf, np.inf))
    )
    act: dict[str, Any] = {
        "type": "Box", "dtype": "float32", "shape": [spec.action_dim],
        "low": list(spec.low), "high": list(spec.high),
    }  # fmt: skip
    if spec.num_actions:
        act = {"type": "Discrete", "dtype": "int64", "start": spec.action_start,
               "n": spec.num_actions}  # fmt: skip
    made: dict[str, Any] = {
        "dataset_id": meta.get("dataset_id", folder.name), "data_format": "hdf5",
        "minari_version": MINARI, "jpeg_encoding": False,
        "algorithm_name": meta.get("algorithm_name", ""),
        "code_permalink": meta.get("code_permalink", ""),
        "author": [meta["author"]] if "author" in meta else [],
        "observation_space": json.dumps(obs), "action_space": json.dumps(act),
    }  # fmt: skip
    if env_id := meta.get("env_id"):
        least = {"id": env_id, "kwargs": {}, "additional_wrappers": []}
        made["env_spec"] = meta.get("env_spec", json.dumps(least))
    return made


def _box(shape: tuple[int, ...], dtype: str, low: float, high: float) -> dict[str, Any]:
    return {
        "type": "Box", "dtype": dtype, "shape": list(shape),
        "low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist(),
    }  # fmt: skip
