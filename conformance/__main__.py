"""Holds softq and other libraries against the formula checks.

    python -m conformance [--library NAME=PYTHON …] [--script PATH[=PYTHON] …]
        [--check NAME …] [--write]

softq is asked in this interpreter. A library that has an adapter is asked in the one
that is given; a script names a Python file that offers what an adapter offers. With
`--write` the record and the page are written, of all checks.

Exit codes: 0, 1 where softq or a broken variant does not come out as it must, 2 for a
mistake on the command line.
"""

import argparse
import json
import math
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conformance import core, report, runner
from conformance.runner import Library

RECORD = runner.ROOT / "conformance" / "results.json"
PAGE = runner.ROOT / "docs" / "conformance.md"


class Mistake(Exception):
    """A user's mistake, in the user's words."""


def main() -> int:
    """Asks, prints, writes."""
    args = parse()
    try:
        libraries, checks = chosen(args)
        record = measured(libraries, checks)
    except (Mistake, runner.Failed) as error:
        print(error, file=sys.stderr)
        return 2
    print(report.table(record))
    if args.write:
        text = json.dumps(finite(record), indent=1, ensure_ascii=False)
        RECORD.write_text(text + "\n")
        PAGE.write_text(report.page(record))
    return 0 if holds(record) else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m conformance", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--library", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument(
        "--script", action="append", default=[], metavar="PATH[=PYTHON]"
    )
    parser.add_argument("--check", action="append", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="the record and the page")
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> tuple[list[Library], list[str]]:
    """Who is asked what. Raises Mistake."""
    every = core.names()
    unknown = [name for name in args.check if name not in every]
    if unknown:
        raise Mistake(f"there is no check {unknown[0]}; there are {', '.join(every)}")
    if args.write and args.check:
        raise Mistake("--write is for all checks; leave out --check")
    own = Library("softq", runner.ADAPTERS / "softq.py", Path(sys.executable))
    others = [library(text) for text in args.library]
    scripts = [script(text) for text in args.script]
    asked = [own, *others, *scripts]
    called = [one.name for one in asked]
    if twice := [name for name in called[1:] if called.count(name) > 1]:
        raise Mistake(f"{twice[0]} is asked already; give the script another name")
    return asked, args.check or every


def library(text: str) -> Library:
    """A library with an adapter, from NAME=PYTHON."""
    name, _, python = text.partition("=")
    peers = [one for one in runner.known() if one != "softq"]
    if name not in peers:
        raise Mistake(
            f"there is no adapter for {name}; there are {', '.join(peers)}. "
            "For another library try: --script PATH=PYTHON"
        )
    if not python:
        raise Mistake(f"which Python has {name}? Try: --library {name}=VENV/bin/python")
    return Library(name, runner.ADAPTERS / f"{name}.py", interpreter(python))


def script(text: str) -> Library:
    """A file that offers what an adapter offers, from PATH or PATH=PYTHON."""
    path, _, python = text.partition("=")
    if not Path(path).is_file():
        raise Mistake(f"there is no file {path}")
    given = interpreter(python or sys.executable)
    return Library(Path(path).stem, Path(path).resolve(), given)


def interpreter(text: str) -> Path:
    """A Python by its path or its name; links stay, for they mark an environment."""
    found = shutil.which(text)
    if found is None:
        raise Mistake(f"{text} is no program; `make conformance` builds one")
    return Path(found).absolute()


def measured(libraries: list[Library], checks: list[str]) -> dict[str, Any]:
    """The record. Raises Failed where a library cannot be asked."""
    made: dict[str, Any] = {
        name: {
            "claim": core.title(core.load(name)),
            "tolerance": core.load(name).TOLERANCE,
            "broken": runner.broken(name),
        }
        for name in checks
    }
    asked = {}
    for one in libraries:
        versions, verdicts = runner.ask(one, checks)
        asked[one.name] = {"versions": versions, "verdicts": verdicts}
    date = datetime.now(UTC).date().isoformat()
    return {"date": date, "checks": made, "libraries": asked}


def holds(record: dict[str, Any]) -> bool:
    """softq passes every check, and every check catches its broken variants."""
    own = record["libraries"]["softq"]["verdicts"].values()
    caught = [
        one["caught"]
        for check in record["checks"].values()
        for one in check["broken"].values()
    ]
    return all(verdict["status"] == "pass" for verdict in own) and all(caught)


def finite(tree: Any) -> Any:
    """The record in JSON's own numbers: what is none is null."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, float):
        return round(tree, 6) if math.isfinite(tree) else None
    return tree


if __name__ == "__main__":
    sys.exit(main())
