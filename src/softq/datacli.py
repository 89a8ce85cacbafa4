"""`softq data info|doctor|convert`: what a file holds, and another format for it."""

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional

from softq import reference
from softq.data import doctor
from softq.data.offline import SLACK, agrees, assumed, bounds, check_finite, source
from softq.data.source import Block, Source, transitions
from softq.data.write import columns_of, write_d4rl, write_minari
from softq.types import SoftqError, Spec

USAGE = """softq data: files of recorded steps (D4RL and Minari HDF5, OGBench npz)

  softq data info FILE        shapes, ranges, episodes, returns, hash
  softq data doctor FILE      what is wrong, and what training would do about it
  softq data convert FILE     write it as D4RL or Minari HDF5

FILE is a path, a Minari dataset's folder, or its name. Options: softq data info --help
"""
COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


@dataclasses.dataclass(frozen=True)
class InfoOptions:
    """What a file holds."""

    file: Positional[str]
    json: bool = False
    """Print one JSON line instead of tables."""


@dataclasses.dataclass(frozen=True)
class DoctorOptions:
    """What is wrong with a file. Exit code 1 where there is an error."""

    file: Positional[str]
    env: str | None = None
    """The environment to evaluate in, whose bounds and shapes count."""
    strict: bool = False
    """Take warnings for errors."""
    json: bool = False
    """Print one JSON line instead of a table."""


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """Write the transitions of a file in another format."""

    file: Positional[str]
    out: Path
    """The file (d4rl) or folder (minari) to write."""
    format: Literal["d4rl", "minari"] = "d4rl"
    env: str | None = None
    """The environment's id to write into the file, whose shapes must fit."""
    strict: bool = False
    """Refuse actions outside the bounds instead of keeping them as they are."""
    json: bool = False
    """Print one JSON line."""


def main(args: list[str]) -> int:
    """Runs `softq data …`; returns the exit code. Raises SoftqError for a mistake."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if args[0] not in COMMANDS:
        near = difflib.get_close_matches(args[0], COMMANDS, 1, 0.4)
        hint = f"Did you mean {near[0]}?" if near else "See: softq data --help"
        raise SoftqError(f"softq data has no command {args[0]}. {hint}")
    kind, command = COMMANDS[args[0]]
    given = tyro.cli(kind, args=args[1:], prog=f"softq data {args[0]}")
    return command(given)


def info(file: str) -> dict[str, Any]:
    """`doctor.info`, and the mean return's score where the environment has one."""
    told = doctor.info(file)
    found = reference.score(told["env_id"] or "", told["returns"]["mean"])
    return told | {"score": found._asdict() if found else None}


def _info(given: InfoOptions) -> int:
    told = info(given.file)
    if given.json:
        print(json.dumps(told))
        return 0
    console = Console()
    console.print(_summary(told))
    out = _table("fields", "field", "shape", "type", "smallest", "largest")
    for name, field in told["fields"].items():
        low, high = told["ranges"].get(_plain(name), ("", ""))
        out.add_row(
            escape(name), str(field["shape"]), field["dtype"], _short(low), _short(high)
        )
    console.print(out)
    return 0


def _plain(name: str) -> str:
    """`observations` of `episode_0/observations`."""
    return name.split("/")[1] if "/" in name else name


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else ""


def _summary(told: dict[str, Any]) -> Table:
    out = Table(title=escape(told["path"]), title_justify="left", show_header=False)
    rows = [
        ("format", told["format"]),
        ("environment", escape(told["env_id"] or "not told")),
        ("steps", f"{told['steps']:,}"),
        ("episodes", f"{told['episodes']:,} ({told['terminated']:,} terminated)"),
        ("return", _spread(told["returns"])), ("length", _spread(told["lengths"])),
        ("sha256", told["sha256"]),
    ]  # fmt: skip
    out.add_column()
    out.add_column(overflow="fold")  # a hash is of use only whole
    if found := told["score"]:
        how = ", by convention" if found["convention"] else ""
        rows.insert(5, (f"score ({found['scale']}{how})", f"{found['value']:.1f}"))
    for row in rows:
        out.add_row(*row)
    return out


def _spread(told: dict[str, float]) -> str:
    return f"{told['mean']:,.1f} (from {told['min']:,.1f} to {told['max']:,.1f})"


def _table(title: str, *columns: str) -> Table:
    out = Table(title=escape(title), title_justify="left")
    for name in columns:
        out.add_column(name)
    return out


def _doctor(given: DoctorOptions) -> int:
    report = doctor.examine(given.file, _spec(given.env), given.env or "")
    severe = report.severe or (given.strict and _warned(report))
    if given.json:
        findings = [finding._asdict() for finding in report.findings]
        print(json.dumps({"path": report.path, "findings": findings}))
        return int(severe)
    if not report.findings:
        print(f"{report.path}: nothing is wrong")
        return 0
    out = _table(report.path, "severity", "what", "found", "training")
    for finding in report.findings:
        colour = COLOURS[finding.severity]
        told = map(escape, finding[1:])
        out.add_row(f"[{colour}]{finding.severity}[/]", *told)
    Console().print(out)
    return int(severe)


def _warned(report: doctor.Report) -> bool:
    return any(finding.severity == "warning" for finding in report.findings)


def _spec(env: str | None) -> Spec | None:
    if env is None:
        return None
    from softq.envs import make, spec_of

    made = make(env)
    found = spec_of(made)
    made.close()
    return found


def _convert(given: ConvertOptions) -> int:
    found, spec = source(given.file), _spec(given.env)
    for note in found.notes:
        print(f"softq: {found.name}: {note}", file=sys.stderr)
    if spec is not None:
        agrees(found, spec, given.env or "")
    chosen = spec or _assumed(found)
    meta = {"source": Path(found.name).name, "source_sha256": found.sha256()}
    if env_id := given.env or found.env_id:
        meta["env_id"] = env_id
    counted = _Counted(_sound(found, chosen, given.strict))
    columns = (columns_of(block) for block in counted)
    if given.format == "d4rl":
        write_d4rl(given.out, columns, meta)
    else:
        write_minari(given.out, columns, chosen, meta | _env_spec(meta))
    told = {"out": str(given.out), "format": given.format,
            "transitions": counted.steps, "episodes": counted.episodes}  # fmt: skip
    plain = f"{given.out}: {counted.steps:,} transitions, {counted.episodes:,} episodes"
    print(json.dumps(told) if given.json else plain)
    return 0


def _env_spec(meta: dict[str, str]) -> dict[str, str]:
    """Gymnasium's own description of the environment, where it knows it."""
    import gymnasium

    known = gymnasium.registry.get(meta.get("env_id", ""))
    try:
        return {} if known is None else {"env_spec": known.to_json()}
    except (TypeError, AttributeError, ValueError):  # made by a function: has no name
        return {}


def _assumed(found: Source) -> Spec:
    """The Spec of data alone, its largest action found in blocks."""
    if found.layout.action_dim:
        return assumed(found, np.empty(0))
    ends = [(block.action.min(), block.action.max()) for block in found.blocks()]
    return assumed(found, np.array(ends))


def _sound(found: Source, spec: Spec, strict: bool) -> Iterator[Block]:
    """The transitions, checked; actions stay in the file's units."""
    for block in transitions(found):
        check_finite(found.name, block)
        if strict and not spec.num_actions:
            outside = (np.abs(spec.from_env(block.action)) > 1 + SLACK).any(axis=1)
            if outside.any():
                raise SoftqError(
                    f"{found.name}: row {int(block.row[outside.argmax()]):,} has an "
                    f"action outside the bounds {bounds(spec)}. Without --strict it "
                    "is kept as it is"
                )
        yield block


class _Counted:
    """An iterable of blocks that knows how much went by."""

    def __init__(self, blocks: Iterable[Block]):
        self.blocks, self.steps, self.episodes = blocks, 0, 0

    def __iter__(self) -> Iterator[Block]:
        for block in self.blocks:
            self.steps += len(block.row)
            self.episodes += int(block.ends.sum())
            yield block


COMMANDS: dict[str, tuple[Any, Callable[[Any], int]]] = {
    "info": (InfoOptions, _info), "doctor": (DoctorOptions, _doctor),
    "convert": (ConvertOptions, _convert),
}  # fmt: skip
