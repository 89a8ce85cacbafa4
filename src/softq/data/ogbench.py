"""OGBench's npz files, read in blocks and without ever opening a pickle."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softq.data import flat
from softq.data.hdf5 import sha256
from softq.data.source import Refused, Source, number

HEADERS = {
    (1, 0): (np.lib.format.read_array_header_1_0, 2),
    (2, 0): (np.lib.format.read_array_header_2_0, 4),
}
LONGEST = 10_000  # bytes of a header


def _header(stream: Any, field: str, name: str) -> tuple[Any, bool, Any]:
    """(shape, by columns, dtype) as an npy file tells them; else raises Refused."""
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise Refused(f"{name}: {field} is of npy format {version}; softq reads 1, 2")
    read, width = HEADERS[version]
    start = stream.tell()
    length = int.from_bytes(stream.read(width), "little")
    if length > LONGEST:
        raise Refused(
            f"{name}: {field} has a header of {length:,} bytes: it is damaged"
        )
    stream.seek(start)
    try:
        return read(stream)
    except Exception as error:  # NumPy parses it as Python, and fails in as many ways
        raise Refused(f"{name}: {field} has a damaged header: {error}") from error


class Member:
    """One array of an npz file; `[a:b]` reads only those rows, best in order."""

    def __init__(self, stream: Any, size: int, field: str, name: str):
        self.shape, fortran, self.dtype = _header(stream, field, name)
        number(field, (self.shape, self.dtype), name)
        if fortran and len(self.shape) > 1:
            raise Refused(
                f"{name}: {field} is stored by columns. Save it again after "
                "numpy.ascontiguousarray"
            )
        self._stream, self._start = stream, stream.tell()
        self._row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object))
        if size != self._start + self._row * self.shape[0]:
            raise Refused(
                f"{name}: {field} should have {self.shape[0]:,} rows of {self._row} "
                f"bytes; it has {size - self._start:,} bytes in all. Fetch it again"
            )

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        self._stream.seek(self._start + start * self._row)
        content = self._stream.read((stop - start) * self._row)
        flat = np.frombuffer(content, self.dtype)
        return flat.reshape(stop - start, *self.shape[1:])


def ogbench(path: Path) -> Source:
    """A single-task file. Raises Refused for a raw one: it has no rewards."""
    return flat.source(
        str(path), "ogbench", partial(_columns, path), None, partial(sha256, path)
    )


@contextmanager
def _columns(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(path))
            found: dict[str, Any] = {}
            for info in archive.infolist():
                field = info.filename.removesuffix(".npy")
                if field in flat.FIELDS and field not in found:
                    stream = stack.enter_context(archive.open(info))
                    found[field] = Member(stream, info.file_size, field, str(path))
            yield found
    except (
        zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError,
        NotImplementedError, MemoryError, lzma.LZMAError,
    ) as error:  # fmt: skip
        raise Refused(
            f"{path} is damaged or cut off: {error}. Fetch it again"
        ) from error
