"""How many small faults the tests notice: mutants of `ops/` and `tabular/`.

    python benchmarks/mutants.py [--number 120] [--jobs 2] [--only ops/svgd.py]

Every place where a standard operator applies is listed (arithmetic, comparison and
logical operators, signs and `not`, numbers, truth values, min and max and their like),
and `--number` of them are drawn with a fixed seed. Each is put into a copy of the
package and the tests run until one fails: those of the module, then of its layer, then
of the algorithms. One that no test notices is alive, or equivalent: `EQUIVALENT` says
of which no test can tell, and why. Writes `benchmarks/results/mutants.json`, and goes
on from it: a mutant that was caught, of a line that is still the same, stays caught.
"""

import argparse
import ast
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT, SOURCE = HERE.parent, HERE.parent / "src" / "softq"
RESULT = HERE / "results" / "mutants.json"
SEED, SECONDS = 0, 100  # of a test: a fault that never ends is noticed too
LAYERS = ("ops", "tabular")
KEY = ("file", "code", "column", "change")

ARITHMETIC = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"), ast.Pow: ("**", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}  # fmt: skip
COMPARISON = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"), ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
}  # fmt: skip
NAMES = dict([
    *(pair for a, b in (("minimum", "maximum"), ("min", "max"), ("argmin", "argmax"),
                        ("any", "all"), ("sum", "mean"), ("cos", "sin"))
      for pair in ((a, b), (b, a))),
    ("exp", "expm1"), ("log", "log1p"), ("log1p", "log"), ("softmax", "log_softmax"),
])  # fmt: skip

# (file, line of code, column, change): why nobody can tell.
AXIS = "-1 → 1: the last of two axes is axis 1"
SPEED = "decides when another method takes over, which finds the same"
EVERYWHERE = "everywhere = float(swept) > ROUND / 2  # and not in a few blocks only"
EQUIVALENT: dict[tuple[str, str, int, str], str] = {
    ("tabular/conservative.py", "right = right + flow.solve(pi, (pi * bound).sum(-1))",
     56, "- →"): AXIS,
    ("tabular/conservative.py", "s = int(np.argmin(support.any(-1)))",
     38, "- →"): AXIS,
    ("tabular/conservative.py", "return q.max(-1)", 21, "- →"): AXIS,
    ("tabular/soft.py", EVERYWHERE, 34, "> → >="): SPEED,
    ("tabular/soft.py", EVERYWHERE, 44, "2 → 3"): SPEED,
    ("tabular/sweep.py",
     "return (n < ROUND) & (last > jnp.maximum(LEFT * first, enough))",
     39, "> → >="): SPEED,
    ("tabular/flow.py",
     "DENSE = 1_000  # states up to which a dense solve is the fastest",
     8, "1_000 → 1001"): SPEED,
    ("tabular/flow.py",
     "system, right, guess, rtol=PRECISE, atol=0.0, maxiter=10 * self.states",
     66, "10 → 11"): "a solver that has not ended by then is replaced by another",
    ("tabular/policies.py",
     "ratio = np.where(pi > 0, pi, 1.0) / np.where(pi > 0, base, 1.0)",
     63, "1.0 → 2.0"): "π is 0 there, and 0 log 2 as much as 0 log 1",
    ("ops/proposals.py", "near = centres[which] + width * noise",
     26, "+ → -"): "the noise is symmetric",
    ("tabular/build.py", "states, actions = rows[0].shape[0], len(rows)",
     36, "0 → 1"): "a matrix that is not square is refused either way",
    ("tabular/bounds.py", "steps = (continuation(mdp) * v[mdp.next_state]).sum(-1)",
     56, "sum → mean"): "only the largest counts; every action has as many outcomes",
    ("tabular/mdp.py", "if abs(start.sum() - 1) > SUM:",
     28, "> → >="): "no float is exactly so far from 1",
}  # fmt: skip


class Mutant(NamedTuple):
    """A change of one place: characters `start` to `end` of a file become `after`."""

    file: str
    line: int
    column: int
    code: str
    start: int
    end: int
    after: str
    change: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.file, self.code, self.column, self.change


class Source:
    """A file's text, and where the places of its tree lie in it."""

    def __init__(self, path: Path):
        self.file = str(path.relative_to(SOURCE))
        self.text = path.read_text()
        self.lines = self.text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        """The place in the text of a line and a column, which is in UTF-8 bytes."""
        before = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + len(before)

    def span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (self.at(node.lineno, node.col_offset),
                self.at(node.end_lineno, node.end_col_offset))  # fmt: skip

    def mutant(self, node: ast.expr, start: int, end: int, after: str) -> Mutant:
        line = self.text.count("\n", 0, start) + 1
        change = f"{self.text[start:end]} → {after}".strip()
        code = self.lines[line - 1].strip()
        column = start - self.starts[line - 1]
        return Mutant(self.file, line, column, code, start, end, after, change)

    def between(self, left: ast.expr, right: ast.expr, swap: tuple[str, str]) -> Mutant:
        """The operator between two operands, swapped."""
        low, high = self.span(left)[1], self.span(right)[0]
        start = low + self.text[low:high].index(swap[0])
        return self.mutant(left, start, start + len(swap[0]), swap[1])


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = Source(path)
    tree = ast.parse(source.text)
    skip = {id(x) for node in ast.walk(tree) for x in _types(node)}
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            yield source.between(node.left, node.right, ARITHMETIC[type(node.op)])
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
                if type(op) in COMPARISON:
                    yield source.between(left, right, COMPARISON[type(op)])
        elif isinstance(node, ast.BoolOp):
            swap = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            yield source.between(node.values[0], node.values[1], swap)
        else:
            yield from _leaves(source, node)


def _types(node: ast.AST) -> Iterator[ast.AST]:
    """What is below an annotation, or the index of one: types, not numbers."""
    for name in ("annotation", "returns"):
        below = getattr(node, name, None)
        if below is not None:
            yield from ast.walk(below)
    if isinstance(node, ast.Assign) and isinstance(
        node.value, ast.Subscript | ast.BinOp
    ):
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id.istitle():  # a name for a type
            yield from ast.walk(node.value)


def _leaves(source: Source, node: ast.AST) -> Iterator[Mutant]:
    """Signs, numbers, truth values and names."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        start = source.span(node)[0]
        sign = 1 if isinstance(node.op, ast.USub) else len("not")
        yield source.mutant(node, start, start + sign, "")
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield source.mutant(node, *source.span(node), str(not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        more = node.value + 1 if isinstance(node.value, int) else (
            2 * node.value if node.value else 1.0
        )  # fmt: skip
        yield source.mutant(node, *source.span(node), repr(more))
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        end = source.span(node)[1]
        yield source.mutant(node, end - len(node.attr), end, NAMES[node.attr])


def drawn(number: int, only: str | None) -> list[Mutant]:
    """So many of all mutants, always the same ones."""
    paths = sorted(path for layer in LAYERS for path in (SOURCE / layer).glob("*.py"))
    every = [m for path in paths for m in mutants(path)]
    if only:
        every = [m for m in every if m.file == only]
    return random.Random(SEED).sample(every, min(number, len(every)))


def stages(file: str) -> Iterator[list[str]]:
    """Tests to run, the nearest first."""
    layer, name = Path(file).parent.name, Path(file).stem
    own = [str(p.relative_to(ROOT)) for p in (ROOT / "tests" / layer).glob("test_*.py")
           if name in p.stem]  # fmt: skip
    if own:
        yield own
    yield [f"tests/{layer}"]
    near = ["tabular"]  # nothing else there asks tables
    if layer == "ops":
        near += ["cql", "sac", "sql", "soft_dqn", "ddpg", "baselines"]
    yield [f"tests/algos/test_{one}.py" for one in near]


def judged(mutant: Mutant) -> dict[str, object]:
    """Whether a test notices a mutant, and how long it took; equivalent ones are not
    asked.
    """
    began, reason = time.time(), EQUIVALENT.get(mutant.key, "")
    return {
        "file": mutant.file, "line": mutant.line, "column": mutant.column,
        "code": mutant.code, "change": mutant.change,
        "caught_by": "" if reason else noticed(mutant), "equivalent": reason,
        "seconds": round(time.time() - began),
    }  # fmt: skip


def noticed(mutant: Mutant) -> str:
    """The first test that fails with a mutant in the package; "" where none does."""
    with tempfile.TemporaryDirectory(prefix="softq-mutant-") as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE.parent, copy, ignore=shutil.ignore_patterns("*.pyc"))
        path = copy / "softq" / mutant.file
        text = path.read_text()
        path.write_text(text[: mutant.start] + mutant.after + text[mutant.end :])
        found = (failing(tests, copy) for tests in stages(mutant.file))
        return next(filter(None, found), "")


def failing(tests: list[str], source: Path) -> str:
    """The first test that fails with this source; "" where all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
               "--no-header", "--tb=no", "-o", f"faulthandler_timeout={SECONDS}",
               "-o", "faulthandler_exit_on_timeout=true", *tests]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(source)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode == 0:
        return ""
    if "Timeout (" in ended.stderr:
        return "a test that does not end"
    told = [x for x in ended.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
    return told[0].split(" ", 1)[1].split(" - ")[0] if told else "an import"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--number", type=int, default=120)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="a file, such as ops/svgd.py; writes nothing")
    args = parser.parse_args()
    chosen, found = drawn(args.number, args.only), []
    before = {} if args.only else earlier()

    def asked(mutant: Mutant) -> dict[str, object]:
        known = before.get(mutant.key)
        return judged(mutant) if known is None else known | {"line": mutant.line}

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for one in pool.map(asked, chosen):
            found.append(one)
            said = one["caught_by"] or one["equivalent"] or "ALIVE"
            print(f"{len(found)}/{len(chosen)} {one['file']}:{one['line']}  "
                  f"{one['change']}  {said}", flush=True)  # fmt: skip
            if not args.only:
                write(found, len(chosen))


def earlier() -> dict[tuple[object, ...], dict[str, object]]:
    """What an earlier run has caught."""
    known = json.loads(RESULT.read_text())["mutants"] if RESULT.exists() else []
    return {tuple(one[k] for k in KEY): one for one in known if one["caught_by"]}


def write(found: list[dict[str, object]], number: int) -> None:
    """The result so far, the living first."""
    real = [one for one in found if not one["equivalent"]]
    caught = sum(bool(one["caught_by"]) for one in real)
    content = {
        "command": "python benchmarks/mutants.py", "seed": SEED, "drawn": number,
        "judged": len(found), "equivalent": len(found) - len(real), "caught": caught,
        "share": round(caught / max(len(real), 1), 4),
        "mutants": sorted(found, key=lambda one: bool(one["caught_by"])),
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
