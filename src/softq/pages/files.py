"""The numbers of a report as CSV, for whoever wants to draw them otherwise."""

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from softq.pages import numbers
from softq.pages.arms import Task
from softq.reference import normalised

MOST_STEPS = 1_000  # rows of a curve
FORMULA = ("=", "+", "-", "@", "\t")  # what a spreadsheet would carry out


def write(folder: Path, tasks: list[Task]) -> list[Path]:
    """`curves.csv`, `seeds.csv`, `improvement.csv` and, of runs on data, `q.csv`."""
    every = {
        "curves": (("task", "arm", "step", "seeds", "iqm", "low", "high"), _curves),
        "seeds": (("task", "arm", "run", "seed", "step", "greedy", "greedy_std",
                   "sampled", "entropy", "soft", "score"), _seeds),
        "improvement": (("task", "arm", "over", "probability", "low", "high"),
                        _improvement),
        "q": (("task", "arm", "run", "seed", "step", "q_data", "q_policy", "q_uniform",
               "gap", "gap_factor", "data_return"), _promises),
    }  # fmt: skip
    made = []
    for name, (head, rows) in every.items():
        body = [row for task in tasks for row in rows(task)]
        path = folder / f"{name}.csv"
        if body or name != "q":
            made.append(_file(path, head, body))
        else:  # one of other runs may lie there
            path.unlink(missing_ok=True)
    return made


def _file(path: Path, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(head)
        out.writerows([_cell(value) for value in row] for row in rows)
    return path


def _cell(value: Any) -> Any:
    """Numbers as they are, nothing for one that is not known; text that is text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _curves(task: Task) -> Iterator[tuple[Any, ...]]:
    for arm in task.arms:
        for step, found in zip(*numbers.curve(arm, MOST_STEPS), strict=True):
            yield task.title, arm.name, step, len(arm.lanes), *found


def _seeds(task: Task) -> Iterator[tuple[Any, ...]]:
    """Every evaluation of every seed, also those that its arm has not in common."""
    for arm in task.arms:
        for lane in arm.lanes:
            for step, told in sorted(lane.evals.items()):
                greedy, sampled = told["greedy"], told["sampled"]
                score = normalised(numbers.scale(task), greedy["return"])
                yield (task.title, arm.name, lane.run.name, lane.seed, step,
                       greedy["return"], greedy["return_std"], sampled["return"],
                       sampled["entropy"], sampled["soft"],
                       "" if score is None else score)  # fmt: skip


def _improvement(task: Task) -> Iterator[tuple[Any, ...]]:
    for one in task.arms:
        for other in task.arms:
            if one is not other:
                yield task.title, one.name, other.name, *numbers.beats([one], [other])


def _promises(task: Task) -> Iterator[tuple[Any, ...]]:
    for arm in task.arms:
        for (run, seed), records in numbers.watched(arm).items():
            for told in records:
                names = ("q_data", "q_policy", "q_uniform", "gap", "gap_factor")
                found = (told.get(name, math.nan) for name in names)
                yield (task.title, arm.name, run, seed, told["step"], *found,
                       arm.runs[0].togo)  # fmt: skip
