"""Numbers gathered over the blocks of a file: ranges, episodes, repetitions.

Each is fed with every block and the one after it, and never holds the data: a hash of
eight bytes a step is the most that is kept.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from softq.data.source import Block

FIELDS = {
    "observations": "obs", "actions": "action", "rewards": "reward",
    "next_observations": "next_obs",
}  # fmt: skip


class Ranges:
    """Smallest and largest finite number of every field, and where there is none."""

    def __init__(self) -> None:
        self.low = dict.fromkeys(FIELDS, float("inf"))
        self.high = dict.fromkeys(FIELDS, float("-inf"))
        self.broken = dict.fromkeys(FIELDS, 0)  # rows with NaN or infinity
        self.first: dict[str, int] = {}

    def see(self, block: Block, after: Block | None) -> None:
        for name, field in FIELDS.items():
            values = getattr(block, field).reshape(len(block.row), -1)
            fine = np.isfinite(values)
            if not fine.all():
                rows = ~fine.all(axis=1)
                self.broken[name] += int(rows.sum())
                self.first.setdefault(name, int(block.row[rows.argmax()]))
                values = values[fine]
            if values.size:
                self.low[name] = min(self.low[name], float(values.min()))
                self.high[name] = max(self.high[name], float(values.max()))


class Ending(NamedTuple):
    """An episode: steps, undiscounted return, and the flags of its last step."""

    length: int
    ret: float
    terminated: bool
    truncated: bool


class Episodes:
    """Every recorded episode, in order."""

    def __init__(self) -> None:
        self.found: list[Ending] = []
        self.both = 0  # steps with both flags
        self._length, self._return = 0, 0.0

    def see(self, block: Block, after: Block | None) -> None:
        self.both += int((block.terminated & block.truncated).sum())
        stops = [*(np.flatnonzero(block.ends) + 1).tolist(), len(block.row)]
        start = 0
        for stop in stops:
            self._length += stop - start
            self._return += float(block.reward[start:stop].sum())
            if stop > start and block.ends[stop - 1]:
                flags = (
                    bool(block.terminated[stop - 1]),
                    bool(block.truncated[stop - 1]),
                )
                self.found.append(Ending(self._length, self._return, *flags))
                self._length, self._return = 0, 0.0
            start = stop


class Breaks:
    """Steps inside an episode that do not lead to the row after."""

    def __init__(self) -> None:
        self.count, self.inside, self.first = 0, 0, -1

    def see(self, block: Block, after: Block | None) -> None:
        n = len(block.row)
        first = block.obs[-1:] if after is None else after.obs[:1]
        following = np.concatenate([block.obs[1:], first])
        led = block.next_obs
        near = np.isclose(led, following, rtol=1e-5, atol=1e-5, equal_nan=True)
        inside = ~block.ends & ~block.terminated
        inside[-1] &= after is not None
        broken = inside & ~near.reshape(n, -1).all(axis=1)
        if broken.any() and not self.count:
            self.first = int(block.row[broken.argmax()])
        self.count += int(broken.sum())
        self.inside += int(inside.sum())


class Copies:
    """Steps, and whole episodes, that are there more than once."""

    def __init__(self) -> None:
        self._steps: list[np.ndarray] = []
        self._episodes: dict[bytes, int] = {}
        self._open = hashlib.blake2b(digest_size=16)

    def see(self, block: Block, after: Block | None) -> None:
        fields = (block.obs, block.action, block.reward, block.next_obs)
        hashes = sum(_hashes(x, seed) for seed, x in enumerate(fields))
        self._steps.append(np.asarray(hashes, np.uint64))
        start = 0
        for end in np.flatnonzero(block.ends).tolist():
            self._open.update(self._steps[-1][start : end + 1].tobytes())
            key = self._open.digest()
            self._episodes[key] = self._episodes.get(key, 0) + 1
            self._open, start = hashlib.blake2b(digest_size=16), end + 1
        self._open.update(self._steps[-1][start:].tobytes())

    def steps(self) -> int:
        """How many steps repeat one before."""
        hashes = np.concatenate(self._steps)
        return len(hashes) - len(np.unique(hashes))

    def episodes(self) -> int:
        """How many episodes repeat one before."""
        return sum(self._episodes.values()) - len(self._episodes)


def _hashes(values: np.ndarray, seed: int) -> UInt64[np.ndarray, " n"]:
    """A number for every row: its bytes in fours, times odd random weights, added."""
    wide = values.reshape(len(values), -1)
    if wide.dtype.itemsize == 1:
        wide = wide.astype(np.uint32)
    words: Any = np.ascontiguousarray(wide).view(np.uint32).astype(np.uint64)
    random = np.random.default_rng(seed)
    weights = random.integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
    return (words * weights).sum(axis=1, dtype=np.uint64)
