"""The documentation as code: a page's blocks, and a session that runs them in order.

A fence of python, sh or a `{code-cell}` is run, unless a comment right above it says
`<!-- not run: why -->`; `<!-- run with: A => B; C => D -->` runs it with B in A's place
(fewer steps, smaller networks), and fails where A is not there.
"""

import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

from softq import cli

ROOT = Path(__file__).parent.parent
PYTHON, SHELL = ("python", "{code-cell}"), ("sh",)
INERT = ("text", "json", "makefile")  # neither is a directive, like {toctree}
MARK = re.compile(r"<!-- (not run|run with): (.+) -->")
EXIT = re.compile(r"# exit code (\d+)")


class Block(NamedTuple):
    """A fence: where it begins, what it holds, and the comment above it."""

    line: int
    kind: str
    code: str
    mark: str = ""
    told: str = ""

    @property
    def runs(self) -> bool:
        return self.kind in PYTHON + SHELL and self.mark != "not run"

    @property
    def small(self) -> str:
        """The code with what its comment replaces."""
        code = self.code
        for pair in self.told.split("; ") if self.mark == "run with" else ():
            long, short = pair.split(" => ")
            assert long in code, f"line {self.line} says {long}, which is not there"
            code = code.replace(long, short)
        return code


def pages() -> list[Path]:
    """Every page of the site, and those at the top of the repository."""
    found = (ROOT / "docs").rglob("*.md")
    site = [page for page in found if "_build" not in page.parts]
    return sorted([*site, *ROOT.glob("*.md")])


def blocks(text: str) -> list[Block]:
    """The fences of a page, in order."""
    found: list[Block] = []
    lines, above = text.splitlines(), ""
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if line.startswith("```"):
            end = next(
                k for k in range(at + 1, len(lines)) if lines[k].strip() == "```"
            )
            kind = line.removeprefix("```").split(" ")[0]
            mark = MARK.fullmatch(above)
            body = [x for x in lines[at + 1 : end] if not _option(kind, x)]
            said = mark.groups() if mark else ("", "")
            found.append(Block(at + 1, kind, "\n".join(body), *said))
            at = end
        if line:
            above = line
        at += 1
    return found


def _option(kind: str, line: str) -> bool:
    """Whether a line of a cell is for the site alone, as in `:tags: [hide-input]`."""
    return kind == "{code-cell}" and bool(re.fullmatch(r":[a-z-]+:.*", line))


class Session:
    """One page: what its blocks define lives on from one to the next."""

    def __init__(self, page: Path, folder: Path):
        self.page, self.folder = page, folder
        self.module = types.ModuleType("page")
        sys.modules["page"] = self.module
        for name in ("examples", "benchmarks"):
            (folder / name).symlink_to(ROOT / name)

    def run(self, block: Block) -> None:
        if block.kind in PYTHON:
            code = "\n" * block.line + block.small
            exec(compile(code, str(self.page), "exec"), self.module.__dict__)
            return
        for command in commands(block.small):
            said = EXIT.search(command)
            wanted = int(said[1]) if said else 0
            found = self.shell(command)
            assert found == wanted, f"{command} ended with {found}"

    def shell(self, command: str) -> int:
        """The exit code; softq's own commands run in this process."""
        words = shlex.split(command, comments=True)
        if words[0] == "softq" and not set("|><&*") & set(" ".join(words)):
            try:
                return cli.main(words[1:])
            except SystemExit as end:
                return int(end.code or 0)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, "PATH": path}, check=False
        )
        return done.returncode


def commands(code: str) -> list[str]:
    """The commands of a block, their continued lines joined, without their prompt."""
    joined = re.sub(r"\\\n\s*", " ", code)
    lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
