"""HDF5 files, opened with suspicion, and D4RL's layout of them.

A dataset must lie in the file itself: a link or a virtual dataset could name any other
file of the machine, so none is followed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from softq.data import flat
from softq.data.source import Refused, Source
from softq.types import SoftqError

CLAIMED, MOST_DEFLATED = 2**28, 1_100  # gzip saves no more than that


def library() -> Any:
    """The package h5py. Raises SoftqError where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise SoftqError(
            'reading HDF5 needs a package: pip install "softq[offline]"'
        ) from error
    return h5py


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open for reading. Raises Refused where it is no whole HDF5 file."""
    h5py = library()
    if not h5py.is_hdf5(path):
        raise Refused(
            f"{path} is neither HDF5 nor npz, or its beginning is missing. softq "
            "reads D4RL and Minari HDF5 and OGBench npz; it opens no pickle"
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (
        OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError,
        MemoryError,
    ) as error:  # fmt: skip
        raise Refused(
            f"{path} is damaged or cut off: {error}. Fetch it again"
        ) from error


def member(group: Any, name: str, path: Path) -> Any:
    """What `group` holds under `name`, a name without a slash; None where nothing.

    Raises Refused where it is a link, or data that lies outside the file.
    """
    h5py = library()
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise Refused(
            f"{path}: {name} is a link to {link.path}; softq follows none. "
            "Copy the data into the file"
        )
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise Refused(
            f"{path}: {name} takes its values from another file; softq follows no "
            "virtual or external dataset. Copy the data into the file"
        )
    if getattr(found, "shape", ()) is None:
        raise Refused(f"{path}: {name} is a dataset without values")
    if isinstance(found, h5py.Dataset):
        stored = found.id.get_storage_size()
        if found.nbytes > CLAIMED and found.nbytes > MOST_DEFLATED * stored:
            raise Refused(
                f"{path}: {name} claims {found.nbytes:,} bytes, of which {stored:,} "
                "are stored: it is damaged, or was never filled"
            )
    return found


def text(found: Any) -> str | None:
    """A dataset's or an attribute's text; None where it is none."""
    value = found[()] if getattr(found, "shape", None) == () else found
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value[:10_000_000] if isinstance(value, str) else None


def sha256(path: Path) -> str:
    """The hash of a file's bytes, without holding them."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def d4rl(path: Path) -> Source:
    """A file of flat columns. Raises Refused where it is none."""
    with opened(path) as file:
        env_id = _env_id(file, path)
    return flat.source(
        str(path), "d4rl", partial(_columns, path), env_id, partial(sha256, path)
    )


@contextmanager
def _columns(path: Path) -> Iterator[dict[str, Any]]:
    h5py = library()
    with opened(path) as file:
        found = {field: member(file, field, path) for field in flat.FIELDS}
        yield {k: v for k, v in found.items() if isinstance(v, h5py.Dataset)}


def _env_id(file: Any, path: Path) -> str | None:
    """`metadata/env_id`, as a dataset or an attribute."""
    group = member(file, "metadata", path)
    if group is None or not hasattr(group, "keys"):
        return text(file.attrs.get("env_id"))
    inside = member(group, "env_id", path)
    return text(group.attrs.get("env_id") if inside is None else inside)
