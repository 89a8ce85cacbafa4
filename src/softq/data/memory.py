"""Arrays in memory, by D4RL's names of the columns."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from softq.data import flat
from softq.data.source import Refused, Source

NAME = "the dict of arrays"


def arrays(given: Mapping[str, Any]) -> Source:
    """The recorded steps of a dict; other keys than D4RL's are left alone.

    Raises Refused where arrays are missing or do not fit.
    """
    columns = {k: _array(k, given[k]) for k in flat.FIELDS[:6] if k in given}

    @contextmanager
    def opened() -> Iterator[dict[str, Any]]:
        yield columns

    return flat.source(NAME, "arrays", opened, None, lambda: _hash(columns))


def _array(field: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise Refused(f"{NAME}: {field} is no array: {error}") from error


def _hash(columns: dict[str, np.ndarray]) -> str:
    """Of names, dtypes, shapes and values."""
    made = hashlib.sha256()
    for name, column in sorted(columns.items()):
        made.update(f"{name} {column.dtype.str} {column.shape};".encode())
        made.update(np.ascontiguousarray(column).data.cast("B"))
    return made.hexdigest()
