"""Asks libraries, each in its own interpreter, and says how each check came out."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from conformance import core

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = Path(__file__).resolve().parent / "adapters"
MARK = "conformance: "  # before the answers, as the child prints them
LIMIT = 3600  # seconds that a library may take
Said = dict[str, Any]


class Library(NamedTuple):
    """Who is asked: an adapter's file, and the interpreter that has the library."""

    name: str
    adapter: Path
    python: Path


class Failed(Exception):
    """A library that could not be asked at all."""


def known() -> list[str]:
    """The libraries that have an adapter."""
    return sorted(path.stem for path in ADAPTERS.glob("[a-z]*.py"))


def ask(library: Library, checks: list[str]) -> tuple[dict[str, str], dict[str, Said]]:
    """A library's versions, and its verdict on each check.

    Raises Failed where its process does not come to an end with an answer.
    """
    needed = with_needed(checks)
    requests = [
        [core.load(name).QUANTITY, question]
        for name in needed
        for question in core.load(name).QUESTIONS
    ]
    answer = talk(library, requests)
    answers = iter(answer["answers"])
    said = {name: [next(answers) for _ in core.load(name).QUESTIONS] for name in needed}
    found = {name: judged(name, said, answer["differs"]) for name in needed}
    read = answer["read"]
    for name, verdict in found.items():
        if verdict["status"] == "fails" and name in read:
            verdict["why"] = read[name]
    return answer["versions"], {name: found[name] for name in checks}


def with_needed(checks: list[str]) -> list[str]:
    """The checks, and those that they come after."""
    before = [getattr(core.load(name), "AFTER", name) for name in checks]
    return list(dict.fromkeys([*before, *checks]))


def talk(library: Library, requests: list[Any]) -> Any:
    """The child's answer. Raises Failed."""
    hidden = () if library.name == "softq" else ("PYTHONPATH",)
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    env["OMP_NUM_THREADS"] = "1"  # matrices are tiny: more threads wait for each other
    command = [str(library.python), "-m", "conformance.child", str(library.adapter)]
    try:
        ran = subprocess.run(
            command, input=json.dumps(requests), env=env, cwd=ROOT, text=True,
            capture_output=True, timeout=LIMIT,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{library.name} could not be asked: {error}") from error
    if ran.returncode != 0:
        tail = "\n".join((ran.stderr or ran.stdout).strip().splitlines()[-5:])
        raise Failed(f"{library.name} could not be asked:\n{tail}")
    try:
        return _told(ran.stdout)
    except (ValueError, LookupError, TypeError) as error:
        raise Failed(f"{library.name} gave no answers: {error}") from error


def _told(printed: str) -> Any:
    """The answers among what a process printed, which its library may add to."""
    for line in reversed(printed.splitlines()):
        if line.startswith(MARK):
            answer = json.loads(line.removeprefix(MARK))
            return {"versions": answer["versions"], "differs": answer["differs"],
                    "read": answer["read"], "answers": answer["answers"]}  # fmt: skip
    raise ValueError("its process printed none")


def judged(name: str, said: dict[str, list[Said]], differs: dict[str, Any]) -> Said:
    """pass, design, fails, absent, error, or after: another check decides first."""
    check, answers = core.load(name), said[name]
    if any("absent" in answer for answer in answers):
        return {"status": "absent"}
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        return {"status": "error", "why": errors[0]}
    before = getattr(check, "AFTER", None)
    if before and judged(before, said, differs)["status"] not in ("pass", "design"):
        return {"status": "after", "why": f"see {before}"}
    values = [answer["value"] for answer in answers]
    try:
        verdict = core.judge(check, values)
    except (LookupError, TypeError, ValueError) as error:
        return {"status": "error", "why": f"not what was asked for: {error!r}"}
    if verdict.error <= check.TOLERANCE:
        return numbers("pass", verdict)
    variant, why = differs.get(name, ("", ""))
    if variant:
        other = core.judge(check, values, variant)
        if other.error <= check.TOLERANCE:
            return numbers("design", verdict) | {"variant": variant, "why": why}
    return numbers("fails", verdict)


def numbers(status: str, verdict: core.Verdict) -> Said:
    """A verdict for the record: its worst number beside the oracle's."""
    at = verdict.worst
    return {
        "status": status, "error": verdict.error, "found": verdict.found[at],
        "expected": verdict.expected[at],
    }  # fmt: skip


def broken(name: str) -> dict[str, Any]:
    """What a check says to each of its broken variants."""
    check = core.load(name)
    return {
        label: {"error": verdict.error, "caught": not verdict.error <= check.TOLERANCE}
        for label, verdict in core.caught(check).items()
    }
