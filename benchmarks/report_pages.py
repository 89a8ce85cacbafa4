"""Results as a page of the documentation, by way of `softq report`.

    python benchmarks/report_pages.py NAME TITLE RUN…

Reads the runs as `softq report` does and writes `docs/results/NAME.md`: of each task a
table (interquartile mean and 95 % interval over seeds), its learning curve, and a card
for every run: command, data, versions, machine. The curves go beside it, as PNG. What
it is made from is kept in `benchmarks/results/runs`, so that it can be made again, with
more runs, once these are gone: `softq report` reads what lies there like any run.
"""

import argparse
import html
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from softq import records
from softq.pages import build, numbers
from softq.pages.arms import Task
from softq.pages.card import command
from softq.pages.runs import Run

ROOT = Path(__file__).resolve().parent.parent
PAGES, KEPT = ROOT / "docs" / "results", ROOT / "benchmarks" / "results" / "runs"
INTRODUCTION = """# {title}

Written by `benchmarks/report_pages.py`, which asks `softq report`; do not edit.

Greedy returns, interquartile mean and 95 % bootstrap interval over seeds. "Last" is the
headline; "best" is the evaluation whose mean over the seeds was the highest, chosen
after the fact. What made each number is told below it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("title")
    parser.add_argument("runs", nargs="+", type=Path)
    args = parser.parse_args()
    runs = [keep(run) for run in args.runs]
    parts = [INTRODUCTION.format(title=args.title)]
    with tempfile.TemporaryDirectory() as folder:
        report = build.build(runs, Path(folder))
        for k, task in enumerate(report.tasks, 1):
            picture = f"{args.name}-{k}.png"
            shutil.copy(Path(folder) / f"{k}-curve.png", PAGES / picture)
            parts.append(told(task, picture))
    for line in report.left_out + report.said:
        print("note:", line)
    page = PAGES / f"{args.name}.md"
    page.write_text("\n".join(parts))
    print(page)


def keep(run: Path) -> Path:
    """Where a run's records are kept: configuration, evaluations, metrics beside them.

    Its data go by their name: where they lie is another machine's business.
    """
    if run.resolve().parent == KEPT:
        return run
    kept = KEPT / run.name
    kept.mkdir(parents=True, exist_ok=True)
    config = json.loads((run / "config.json").read_text())
    for data in filter(None, (config["plan"].get("data"), config.get("data"))):
        data["path"] = Path(data["path"]).name
    (kept / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    shutil.copy(run / "evals.jsonl", kept)
    steps = {record["step"] for record in records.evaluations(run)}
    lines = [json.dumps(r) + "\n" for r in records.metrics(run) if r["step"] in steps]
    (kept / "metrics.jsonl").write_text("".join(lines))
    return kept


def told(task: Task, picture: str) -> str:
    """A task's section."""
    rows = ["| | seeds | last | at step | best |", "|---|---|---|---|---|"]
    for arm in task.arms:
        rows.append(
            f"| {arm.name} | {len(arm.lanes)} | {numbers.last(arm)} | "
            f"{arm.steps[-1]:,} | {numbers.best(arm)} |"
        )
    runs = [run for arm in task.arms for run in arm.runs]
    lines = [f"## {task.title}", "", *rows, "", f"![learning curves]({picture})", ""]
    return "\n".join([*lines, *map(card, runs)])


def card(run: Run) -> str:
    """What made a run, folded away."""
    about: dict[str, Any] = {}
    for part, names in (("data", ("sha256", "transitions")), ("versions", None),
                        ("machine", ("processor", "cores"))):  # fmt: skip
        found = run.config.get(part) or {}
        about |= {k: v for k, v in found.items() if names is None or k in names}
    about["commit"] = run.config.get("commit")
    facts = ", ".join(f"{name} {value}" for name, value in about.items() if value)
    how, *rest = map(html.escape, (command(run.plan), facts, *run.told))
    return (
        f"<details><summary>{html.escape(run.name)}</summary>\n<pre>{how}</pre>\n"
        f"<p>{'<br>'.join(rest)}</p>\n</details>\n"
    )


if __name__ == "__main__":
    main()
