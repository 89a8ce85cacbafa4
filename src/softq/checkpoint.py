"""Checkpoints: atomic, hashed, without pickle.

A checkpoint is a directory `checkpoints/<step>/` with `state.safetensors`,
`replay.safetensors` (the ring's filled rows), `host.safetensors` (the actions given
to each environment since its reset) and `manifest.json`, which holds the sha256 of
each. It is written under a temporary name, synced and renamed, so that it is there
whole or not at all. A file from elsewhere is hostile until its hash, names, shapes
and dtypes are checked.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from softq.data.ring import Ring
from softq.types import SoftqError

FORMAT = 1
KEEP_REPLAY = 2  # how many checkpoints keep their replay


class Broken(SoftqError):
    """A checkpoint that cannot be trusted; says which file and why."""


def named(tree: Any) -> dict[str, Any]:
    """A pytree's leaves by their path, like `.agent.actor.mlp.layers[0].weight`."""
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def save(
    run: Path, step: int, train: Any, host: list[np.ndarray], record: dict[str, Any]
) -> None:
    """Writes checkpoint `step` of a run: all of it, or nothing.

    `train` is a loop's state, whose `rows` is the replay ring; `record` goes to the
    manifest. Raises OSError (a full disk, say) with nothing half-written.
    """
    small = train._replace(rows=train.rows._replace(rows=()))
    # Seeds share `size`; with several, the filled rows are the second axis.
    size, several = int(train.rows.size), train.rows.rows.reward.ndim == 2
    rows = jax.tree.map(lambda x: x[:, :size] if several else x[:size], train.rows.rows)
    files = {
        "state.safetensors": named(small),
        "replay.safetensors": named(rows),
        "host.safetensors": {str(i): actions for i, actions in enumerate(host)},
    }
    final, working = _folder(run, step), _folder(run, step).with_name(f".{step}.tmp")
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        hashes = {name: _write_tensors(working / name, x) for name, x in files.items()}
        manifest = {"format": FORMAT, "step": step, "files": hashes, **record}
        write(working / "manifest.json", json.dumps(manifest, indent=1).encode())
        shutil.rmtree(final, ignore_errors=True)
        working.rename(final)
        _sync_folder(final.parent)
    except OSError:
        shutil.rmtree(working, ignore_errors=True)
        raise


def write(path: Path, content: bytes) -> None:
    """Writes and syncs a file, atomically: under another name, then renamed."""
    working = path.with_name(f".{path.name}.tmp")
    try:
        with working.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        working.rename(path)
    except OSError:
        working.unlink(missing_ok=True)
        raise


def _write_tensors(path: Path, leaves: dict[str, Any]) -> str:
    arrays = {
        name: np.asarray(jax.device_get(x), order="C") for name, x in leaves.items()
    }
    content = save_tensors(arrays)
    write(path, content)
    return hashlib.sha256(content).hexdigest()


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / str(step)


def steps(run: Path) -> list[int]:
    """The steps at which checkpoints lie, newest first."""
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = (int(name) for name in names if name.isascii() and name.isdigit())
    return sorted(numbers, reverse=True)


def prune(run: Path, best: int | None) -> None:
    """Keeps the newest checkpoints whole, and the best one without its replay."""
    for step in steps(run)[KEEP_REPLAY:]:
        if step == best:
            (_folder(run, step) / "replay.safetensors").unlink(missing_ok=True)
        else:
            shutil.rmtree(_folder(run, step), ignore_errors=True)


def manifest(run: Path, step: int) -> dict[str, Any]:
    """The manifest of a checkpoint; raises Broken where it cannot be read."""
    path = _folder(run, step) / "manifest.json"
    try:
        found = json.loads(path.read_bytes())
        if found["format"] != FORMAT or found["step"] != step:
            raise Broken(f"{path} is of format {found['format']}, step {found['step']}")
        if not found["files"].keys() <= {"state.safetensors", "replay.safetensors",
                                         "host.safetensors"}:  # fmt: skip
            raise Broken(f"{path} names files that no checkpoint has")
        return dict(found)
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise Broken(f"{path} cannot be read: {error}") from error


def load(run: Path, step: int, template: Any, replay: bool) -> Any:
    """The state saved at `step`, in the shape of `template` (arrays or ShapeDtype).

    Without `replay` the ring's rows are left out (None). Raises Broken where a hash,
    a name, a shape or a dtype is not what it must be.
    """
    hashes = manifest(run, step).get("files", {})
    small = template._replace(rows=template.rows._replace(rows=()))
    folder = _folder(run, step)
    found = _read(folder / "state.safetensors", hashes)
    state = restore(small, found, str(folder / "state.safetensors"))
    if not replay:
        return state._replace(rows=None)
    path = folder / "replay.safetensors"
    rows = _fill(template.rows, _read(path, hashes), int(state.rows.size), path)
    return state._replace(rows=state.rows._replace(rows=rows))


def host_actions(run: Path, step: int) -> list[np.ndarray]:
    """The actions given to each environment since its last reset."""
    path = _folder(run, step) / "host.safetensors"
    found = _read(path, manifest(run, step).get("files", {}))
    return [found[str(i)] for i in range(len(found))]


def restore(template: Any, found: dict[str, np.ndarray], source: str) -> Any:
    """`found` as a pytree like `template`; raises Broken where they differ."""
    wanted = named(template)
    if missing := sorted(wanted.keys() - found.keys()):
        raise Broken(
            f"{source} has no {missing[0]}: it is of another algorithm or config"
        )
    if extra := sorted(found.keys() - wanted.keys()):
        raise Broken(
            f"{source} has {extra[0]} too: it is of another algorithm or config"
        )
    for name, leaf in wanted.items():
        have = found[name]
        if have.shape != leaf.shape or have.dtype != leaf.dtype:
            raise Broken(
                f"{source}: {name} is {have.dtype}{list(have.shape)}; "
                f"this run's is {leaf.dtype}{list(leaf.shape)}"
            )
    leaves = [jnp.asarray(found[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _fill(ring: Ring, found: dict[str, np.ndarray], size: int, path: Path) -> Any:
    """The ring's rows again at full capacity, from its filled rows."""
    several = len(ring.rows.reward.shape) == 2
    cut = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(
            (s.shape[0], size, *s.shape[2:]) if several else (size, *s.shape[1:]),
            s.dtype,
        ),
        ring.rows,
    )
    filled = restore(cut, found, str(path))
    return jax.tree.map(
        lambda s, x: jnp.zeros(s.shape, s.dtype).at[_front(several, size)].set(x),
        ring.rows,
        filled,
    )


def _front(several: bool, size: int) -> Any:
    return np.s_[:, :size] if several else np.s_[:size]


def _read(path: Path, hashes: dict[str, str]) -> dict[str, np.ndarray]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Broken(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != hashes.get(path.name):
        raise Broken(f"{path} is damaged: its sha256 is not the manifest's")
    try:
        return dict(load_tensors(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise Broken(f"{path} is no safetensors file: {error}") from error


def newest(run: Path, replay: bool = True) -> Iterator[int]:
    """Steps whose files are all there and whole, newest first; says what it skips."""
    for step in steps(run):
        try:
            hashes = manifest(run, step).get("files", {})
            for name in hashes:
                if replay or name != "replay.safetensors":
                    _read(_folder(run, step) / name, hashes)
        except Broken as error:
            print(f"skipping a checkpoint: {error}")
            continue
        yield step
