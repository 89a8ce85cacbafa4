"""From folders to a page, its pictures and its tables."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from softq.pages import across, files, numbers, runs, sections
from softq.pages.arms import Task, tasks
from softq.pages.charts import Studio
from softq.pages.markup import Html, join, page, tag
from softq.pages.runs import Run, clean
from softq.types import SoftqError

MOST_TASKS, MOST_ARMS = 12, 40  # beyond, nobody reads on
MOST_TOLD = 30


class Report(NamedTuple):
    """What was written, and what is to be said about it."""

    page: Path
    files: list[Path]
    tasks: list[Task]
    left_out: list[str]
    said: list[str]


def build(paths: Iterable[str | Path], out: Path) -> Report:
    """Writes a report of runs into a folder; what cannot be read is left out, and told.

    Raises SoftqError where nothing is left, or the folder cannot be written.
    """
    found, left_out = _read(paths)
    every, said = tasks(found)
    if not every:
        raise SoftqError("nothing to report: " + "; ".join(left_out + said))
    said += [f"{run.name}: {one}" for run in found for one in run.told]
    every, more = _bounded(every)
    kept = {id(run) for task in every for arm in task.arms for run in arm.runs}
    found = [run for run in found if id(run) in kept]
    try:
        out.mkdir(parents=True, exist_ok=True)
        studio = Studio(out, every)
        body = _body(studio, every, found, left_out, said + more)
        text = page(_title(every), body).encode()
        index = out / "index.html"
        index.write_bytes(text)
        written = [index, *files.write(out, every), *studio.written]
    except OSError as error:
        raise SoftqError(f"cannot write to {out}: {error.strerror or error}") from error
    except ImportError as error:
        raise SoftqError(
            'a report needs matplotlib: pip install "softq[plot]"'
        ) from error
    return Report(index, written, every, left_out, said + more)


def _read(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    found: dict[Path, Run] = {}
    left_out = []
    for path in map(Path, paths):
        try:
            real = path.resolve()
            if real not in found:
                found[real] = runs.read(path)
        except (SoftqError, OSError, RuntimeError, ValueError) as error:
            left_out.append(clean(str(error), 400))
    return _named(found), left_out


def _named(found: dict[Path, Run]) -> list[Run]:
    """Runs by their folders, with as much of the path as tells them apart."""
    if not found:
        return []
    above = Path(os.path.commonpath([path.parent for path in found]))
    count = Counter(path.name for path in found)

    def name(path: Path) -> str:
        alone = count[path.name] == 1
        return clean(path.name if alone else str(path.relative_to(above)))

    return [run._replace(name=name(path)) for path, run in found.items()]


def _bounded(every: list[Task]) -> tuple[list[Task], list[str]]:
    """As much as a page can hold."""
    told = []
    if len(every) > MOST_TASKS:
        told.append(f"{len(every)} tasks: the first {MOST_TASKS} are shown")
    if any(len(task.arms) > MOST_ARMS for task in every):
        told.append(f"of each task the first {MOST_ARMS} arms are shown")
    kept = [t._replace(arms=t.arms[:MOST_ARMS]) for t in every[:MOST_TASKS]]
    return kept, told


def _title(every: list[Task]) -> str:
    return f"softq report: {', '.join(task.title for task in every[:3])}"[:160]


def _body(
    studio: Studio, every: list[Task], found: list[Run], left_out: list[str],
    said: list[str],
) -> Html:  # fmt: skip
    from softq import __version__

    parts = [sections.task(studio, k, task) for k, task in enumerate(every, 1)]
    links = [(f"#task-{k}", task.title) for k, task in enumerate(every, 1)]
    links += [("#overall", "over all tasks")] * bool(numbers.shared(every))
    links += [("#runs", "how each run was made")]
    arms = sum(len(task.arms) for task in every)
    seeds = sum(len(arm.lanes) for task in every for arm in task.arms)
    lead = (f"{_count(len(found), 'run')}, {_count(arms, 'arm')}, "
            f"{_count(seeds, 'seed')}, {_count(len(every), 'task')}.")  # fmt: skip
    return join([
        tag("header", tag("h1", "softq report"), tag("p", lead, class_="lead"),
            _told("Left out", left_out), _told("To bear in mind", said),
            tag("nav", *(tag("a", name, href=where) for where, name in links))),
        tag("main", across.overall(studio, every), *parts,
            across.configs(studio, every), across.cards(found)),
        tag("footer", tag("p", METHOD, f"softq {__version__}.", class_="note")),
    ])  # fmt: skip


METHOD = (
    "An interquartile mean is the mean of the middle half of the seeds; intervals are "
    "95 % percentile bootstrap intervals over seeds, stratified by task, of 10,000 "
    "draws (Agarwal et al. 2021). “Last” is the last evaluation; “best step’s” is "
    "chosen after the fact, and flatters. The numbers lie beside this page as CSV "
    "files, the pictures as PNG. Made by "
)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _told(title: str, lines: list[str]) -> Html:
    if not lines:
        return Html("")
    shown = lines[:MOST_TOLD]
    shown += [f"and {len(lines) - MOST_TOLD:,} more"] * (len(lines) > MOST_TOLD)
    items = [tag("li", one) for one in shown]
    return tag("div", tag("strong", title), tag("ul", *items), class_="told")


def summary(report: Report) -> Table:
    """The headline of a report, for a terminal."""
    out = Table(title="greedy return over seeds (interquartile mean, 95 % interval)",
                title_justify="left")  # fmt: skip
    for name in ("task", "arm"):
        out.add_column(name, overflow="fold")
    for name in ("seeds", "last", "at step", "best step's"):
        out.add_column(name, justify="right", overflow="fold")
    for task in report.tasks:
        for k, arm in enumerate(task.arms):
            out.add_row(
                "" if k else escape(task.title), escape(arm.name), str(len(arm.lanes)),
                str(numbers.last(arm)), f"{arm.steps[-1]:,}", str(numbers.best(arm)),
            )  # fmt: skip
    return out
