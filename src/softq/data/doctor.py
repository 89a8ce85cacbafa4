"""`softq data doctor` and `info`: what a file holds, and what is wrong with it."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from softq.data.offline import SLACK, Data, agrees, bounds, source
from softq.data.source import Block, Refused, Source, ahead
from softq.data.tally import Breaks, Copies, Ending, Episodes, Ranges
from softq.types import Spec

Severity = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """What is wrong, with its numbers, and what training would do about it.

    An error makes training refuse the file, or learn nothing or something else than
    it should; a warning may; a note is only to be known.
    """

    severity: Severity
    what: str
    found: str
    training: str


class Report(NamedTuple):
    """The findings on a file, the most severe first."""

    path: str
    findings: tuple[Finding, ...]

    @property
    def severe(self) -> bool:
        """Whether there is an error among them."""
        return any(finding.severity == "error" for finding in self.findings)


class _Outside:
    """Actions outside a Box's bounds, or a Discrete space's indices."""

    def __init__(self, spec: Spec):
        self.spec, self.count, self.steps = spec, 0, 0

    def see(self, block: Block, after: Block | None) -> None:
        self.steps += len(block.row)
        if self.spec.num_actions:
            index = block.action - self.spec.action_start
            wrong = (index < 0) | (index >= self.spec.num_actions)
        else:
            wrong = (np.abs(self.spec.from_env(block.action)) > 1 + SLACK).any(axis=1)
        self.count += int(wrong.sum())


def examine(
    data: Data, spec: Spec | None = None, env_name: str = "the environment"
) -> Report:
    """Reads all of a file, in blocks, and tells what is wrong with it.

    `spec` is the evaluation environment's; without it actions belong in [-1, 1].
    Raises SoftqError where there is no file.
    """
    try:
        found = source(data)
        findings = _findings(found, spec, env_name)
    except Refused as error:
        name = str(data) if isinstance(data, str | Path) else "the dict of arrays"
        bad = Finding("error", "unreadable", str(error), "refuses the file")
        return Report(name, (bad,))
    order = ("error", "warning", "note")
    ranked = sorted(findings, key=lambda finding: order.index(finding.severity))
    return Report(found.name, tuple(ranked))


def _findings(found: Source, spec: Spec | None, env_name: str) -> list[Finding]:
    if spec is not None:
        agrees(found, spec, env_name)
    ranges, episodes, copies, breaks = Ranges(), Episodes(), Copies(), Breaks()
    outside = _Outside(spec or _free(found))
    tallies: list[Any] = [ranges, episodes, copies, outside]
    if found.links:  # elsewhere the next observation is the row after by itself
        tallies.append(breaks)
    for block, after in ahead(found.blocks()):
        for tally in tallies:
            tally.see(block, after)
    told = [Finding("warning", "time limits", note, "takes it so") for note in
            found.notes]  # fmt: skip
    told += _broken_numbers(ranges) + _actions(outside, ranges, spec is None)
    told += _rewards(ranges, sum(e.length for e in episodes.found))
    told += _ends(found, episodes) + _limits(episodes.found)
    return told + _breaks(breaks) + _copies(copies, episodes)


def _free(found: Source) -> Spec:
    made, dim = found.layout, found.layout.action_dim
    low, high = (-1.0,) * dim, (1.0,) * dim
    endless = 0 if dim else np.iinfo(np.int32).max
    return Spec(made.obs_shape, made.obs_dtype, low, high, endless)


def _broken_numbers(ranges: Ranges) -> list[Finding]:
    return [
        Finding(
            "error", "NaN or infinity",
            f"{name}: {rows:,} rows, first in row {ranges.first[name]:,}",
            "refuses the file",
        )
        for name, rows in ranges.broken.items() if rows
    ]  # fmt: skip


def _actions(outside: _Outside, ranges: Ranges, assumed: bool) -> list[Finding]:
    if not outside.count:
        return []
    low, high = ranges.low["actions"], ranges.high["actions"]
    found = f"{outside.count:,} of {outside.steps:,} steps; actions go from "
    if outside.spec.num_actions:
        return [
            Finding(
                "error", "actions that do not exist", f"{found}{low:g} to {high:g}",
                "refuses the file",
            )
        ]  # fmt: skip
    return [
        Finding(
            "warning", "actions outside the bounds",
            f"{found}{low:.3g} to {high:.3g}, the bounds are {bounds(outside.spec)}"
            + " (assumed: give the environment for its own)" * assumed,
            "clips them to the bounds, or refuses with --strict",
        )
    ]  # fmt: skip


def _rewards(ranges: Ranges, steps: int) -> list[Finding]:
    low, high = ranges.low["rewards"], ranges.high["rewards"]
    if low != high or steps < 2:
        return []
    if low == 0.0:
        return [Finding("error", "rewards all zero", f"{steps:,} steps",
                        "learns nothing: every value is 0")]  # fmt: skip
    return [
        Finding(
            "warning", "constant reward", f"{low:g} in all of {steps:,} steps",
            "learns only from where episodes terminate",
        )
    ]  # fmt: skip


def _ends(found: Source, episodes: Episodes) -> list[Finding]:
    told, ends = [], episodes.found
    flags = any(end.terminated or end.truncated for end in ends)
    if len(ends) == 1 and not flags and ends[0].length > 1:
        told.append(
            Finding(
                "warning" if found.links else "error", "no episode boundary",
                f"{ends[0].length:,} steps without a terminal or a timeout",
                "takes all as one episode, whose resets look like transitions"
                if not found.links else "takes all as one episode",
            )
        )  # fmt: skip
    if episodes.both:
        told.append(
            Finding(
                "warning", "terminal and timeout at once",
                f"{episodes.both:,} steps have both flags",
                "takes the world to have ended: the value after it is 0",
            )
        )  # fmt: skip
    return told


def _limits(ends: list[Ending]) -> list[Finding]:
    """Several episodes that are terminated at exactly the greatest length."""
    longest = max((end.length for end in ends), default=0)
    there = [end for end in ends if end.length == longest]
    ended = sum(end.terminated and not end.truncated for end in there)
    if ended < 2 or ended < len(there) or longest < 2:
        return []
    return [
        Finding(
            "warning", "terminals that look like time limits",
            f"{ended:,} of {len(ends):,} episodes are terminated at exactly "
            f"{longest:,} steps, the greatest length",
            "takes the value after them to be 0; at a time limit it is not. "
            "Make them timeouts",
        )
    ]  # fmt: skip


def _breaks(breaks: Breaks) -> list[Finding]:
    if not breaks.count:
        return []
    return [
        Finding(
            "warning", "broken episode boundaries",
            f"{breaks.count:,} of {breaks.inside:,} steps inside an episode do not "
            f"lead to the next row's observation, first row {breaks.first:,}",
            "uses next_observations as they are; returns to go sum over the break",
        )
    ]  # fmt: skip


def _copies(copies: Copies, episodes: Episodes) -> list[Finding]:
    told, total = [], sum(end.length for end in episodes.found)
    if again := copies.episodes():
        told.append(
            Finding(
                "warning", "duplicate episodes",
                f"{again:,} of {len(episodes.found):,} repeat another",
                "counts them as often as they are there",
            )
        )  # fmt: skip
    if again := copies.steps():
        told.append(
            Finding(
                "note", "duplicate transitions", f"{again:,} of {total:,}",
                "counts them as often as they are there",
            )
        )  # fmt: skip
    return told


def info(data: Data) -> dict[str, Any]:
    """What a file holds: shapes, ranges, episodes, returns and lengths, env id, hash.

    Reads all of it, in blocks. Raises SoftqError where it cannot be used.
    """
    found, ranges, episodes = source(data), Ranges(), Episodes()
    for block, after in ahead(found.blocks()):
        ranges.see(block, after)
        episodes.see(block, after)
    ends = episodes.found
    return {
        "path": found.name, "format": found.format, "env_id": found.env_id,
        "sha256": found.sha256(), "steps": sum(end.length for end in ends),
        "episodes": len(ends), "terminated": sum(end.terminated for end in ends),
        "returns": _spread([end.ret for end in ends]),
        "lengths": _spread([float(end.length) for end in ends]),
        "fields": {
            name: {"shape": list(shape), "dtype": dtype}
            for name, (shape, dtype) in found.fields.items()
        },
        "ranges": {
            name: [low, ranges.high[name]]
            for name, low in ranges.low.items()
            if low <= ranges.high[name]
        },
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)), "min": min(values), "max": max(values),
    }  # fmt: skip
