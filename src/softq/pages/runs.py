"""The runs of a report, read from folders that may be damaged or made to harm.

What is read here is checked here: beyond this file every number is finite or NaN and of
a sane size, and every text is short and printable (escaping is `markup`'s).
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from softq import plan
from softq.plan import Plan
from softq.records import Records
from softq.types import SoftqError

MOST_BYTES = 256 * 2**20  # of a file of records; a config's is a 256th of it
MOST_SETTING = 2_000  # letters of a setting's name, by which it is told from others
LARGEST = 1e100  # what is beyond is told as not finite
RETURNS = ("return", "return_std", "entropy", "soft", "length")
WATCHED = ("q_data", "q_policy", "q_uniform", "gap", "gap_factor")


class Run(NamedTuple):
    """A run's plan, the whole of its config, and its records; `told` are oddities."""

    name: str
    path: Path
    plan: Plan
    config: dict[str, Any]
    evals: Records
    metrics: Records
    told: tuple[str, ...]

    @property
    def togo(self) -> float:
        """The mean discounted return of the data; NaN where it is not known."""
        return number(self.config.get("mc_return"))


def read(path: Path) -> Run:
    """The run in a folder. Raises SoftqError, naming what is damaged or missing."""
    try:
        if (path / "config.json").stat().st_size > MOST_BYTES // 256:
            raise SoftqError(f"{path / 'config.json'} is too large to be a config")
    except FileNotFoundError:
        pass  # which plan.read tells
    except (OSError, ValueError) as error:
        raise SoftqError(f"cannot read {path}: {error}") from error
    made, _, config = plan.read(path)
    told: list[str] = []
    evals = list(_records(path / "evals.jsonl", _evaluation, told))
    if not evals:
        raise SoftqError(f"{path} has no evaluations yet")
    try:
        watched = list(_records(path / "metrics.jsonl", _metric, told))
    except SoftqError as error:  # the returns are whole
        told.append(clean(f"no monitor of Q: {error}", 400))
        watched = []
    if trouble := _trouble(path):
        told.append(f"the run ended early: {trouble}")
    if (last := max(record["step"] for record in evals)) < made.steps:
        told.append(f"evaluated up to step {last:,} of {made.steps:,}")
    return Run(
        clean(path.name),
        path,
        made,
        config,
        evals,
        [r for r in watched if r],
        tuple(told),
    )


def _records(
    path: Path, kind: Callable[[dict[str, Any]], dict[str, Any]], told: list[str]
) -> Iterator[dict[str, Any]]:
    """The lines of a file; the last may be half-written, for a run may still go on."""
    try:
        if not path.is_file():
            return
        if path.stat().st_size > MOST_BYTES:
            raise SoftqError(f"{path} is larger than {MOST_BYTES // 2**20} MiB")
        with path.open("rb") as file:
            for count, line in enumerate(file, 1):
                try:
                    yield kind(_record(line))
                except (ValueError, RecursionError) as error:
                    if not line.endswith(b"\n"):
                        told.append(f"{path.name} ends in half a line, left out")
                        return
                    raise SoftqError(
                        f"{path}, line {count} is damaged: {error}"
                    ) from error
    except OSError as error:
        raise SoftqError(f"cannot read {path}: {error}") from error


def _record(line: bytes) -> dict[str, Any]:
    """A record with whose it is. Raises ValueError for anything else."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("it is no record")
    for name in ("step", "seed"):
        if type(found.get(name)) is not int or not 0 <= found[name] < 2**53:
            raise ValueError(f"its {name} is {clean(repr(found.get(name)), 40)}")
    found["setting"] = clean(str(found.get("setting", "")), MOST_SETTING)
    return found


def _evaluation(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: record[name] for name in ("step", "seed", "setting")}
    for kind in ("greedy", "sampled"):
        found = record.get(kind)
        if not isinstance(found, dict):
            raise ValueError(f"it lacks the {kind} returns")
        kept[kind] = {name: number(found.get(name)) for name in RETURNS}
    return kept


def _metric(record: dict[str, Any]) -> dict[str, Any]:
    """What the monitor of conservatism shows of a record; nothing without a Q."""
    if "q_data" not in record:
        return {}
    kept = {name: record[name] for name in ("step", "seed", "setting")}
    return kept | {name: number(record[name]) for name in WATCHED if name in record}


def _trouble(path: Path) -> str:
    """Why a run ended before its time, in its own words; empty where it did not."""
    try:
        if not (path / "ended.json").is_file():  # a pipe would be waited for
            return ""
        with (path / "ended.json").open("rb") as file:
            found = json.loads(file.read(2**16))
        return clean(str(found.get("trouble") or ""), 400)
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def number(value: Any) -> float:
    """The number; NaN for what is none, or beyond all measure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    # Compared before it is made a float, for an int may be too large to be one.
    return float(value) if -LARGEST < value < LARGEST else math.nan


def clean(text: str, most: int = 120) -> str:
    """Text without what cannot be printed, no longer than `most`."""
    kept = text[: most + 1]
    printable = (" " if unicodedata.category(c)[0] in "CZ" else c for c in kept)
    short = "".join(printable)
    return short if len(text) <= most else short[: most - 1] + "…"
