"""What a run has written down: its metrics and its evaluations, read back."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from softq.types import SoftqError

Records = list[dict[str, Any]]


def evaluations(run: Path) -> Records:
    """The records of `evals.jsonl`; none where there is no such file.

    Raises SoftqError where a line is damaged, naming it.
    """
    path = run / "evals.jsonl"
    records = _lines(path) if path.is_file() else []
    for number, record in enumerate(records, 1):
        try:
            np.isfinite([record[kind]["return"] for kind in ("greedy", "sampled")])
        except (LookupError, TypeError) as error:
            raise SoftqError(f"{path}, line {number} lacks a return") from error
    return records


def metrics(run: Path) -> Records:
    """The records of `metrics.jsonl`."""
    return _lines(run / "metrics.jsonl")


def reached(run: Path) -> int:
    """The last step that a run's files tell of, whatever else they hold; else 0."""
    steps = [0]
    for path in (run / "metrics.jsonl", run / "evals.jsonl"):
        for line in path.read_bytes().splitlines() if path.is_file() else []:
            with contextlib.suppress(
                ValueError, LookupError, TypeError, RecursionError
            ):
                steps.append(int(json.loads(line)["step"]))
    return max(steps)


def _lines(path: Path) -> Records:
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
            record["step"] + record["seed"]  # whose it is, in numbers
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise SoftqError(f"{path}, line {number} is damaged: {error}") from error
        records.append(record)
    return records


def best_step(records: Records) -> int | None:
    """The step whose greedy return, averaged over seeds, is the highest."""
    if not records:
        return None
    steps = sorted({r["step"] for r in records})
    return max(steps, key=lambda step: finite(float(np.mean(greedies(records, step)))))


def greedies(records: Records, step: int | None) -> np.ndarray:
    return np.array([r["greedy"]["return"] for r in records if r["step"] == step])


def by_seed(
    records: Records, name: str = "greedy"
) -> tuple[list[int], Float[np.ndarray, "steps seeds"]]:
    """Steps, and the returns of every seed at each; of one setting."""
    steps = sorted({r["step"] for r in records})
    rows = [[r[name]["return"] for r in records if r["step"] == s] for s in steps]
    return steps, np.array(rows)


def lane_of(record: dict[str, Any]) -> tuple[str, int]:
    return record.get("setting", ""), record["seed"]


def lanes_of(records: Records) -> list[tuple[str, int]]:
    """Settings and seeds, in the order in which they were recorded."""
    return list(dict.fromkeys(lane_of(r) for r in records))


def settings_of(records: Records) -> list[str]:
    return list(dict.fromkeys(r.get("setting", "") for r in records))


def finite(number: float) -> float:
    """The number, or −∞ where a policy had no action left."""
    return number if np.isfinite(number) else -np.inf
