"""What a report's page says of all tasks: their sum, and how each run was made."""

import itertools
from collections.abc import Sequence

from softq import reference
from softq.pages import charts, numbers, pieces
from softq.pages.arms import Task
from softq.pages.card import card
from softq.pages.charts import Studio
from softq.pages.markup import Html, join, table, tag
from softq.pages.numbers import short
from softq.pages.runs import Run

MOST_ROWS = 200  # of options, and of cards


def overall(studio: Studio, tasks: list[Task]) -> Html:
    """Arms over all the tasks that they share."""
    shared = numbers.shared(tasks)
    if not shared:
        return Html("")
    parts = [tag("h2", f"Over {len(tasks)} tasks", id="overall")]
    scored = {name: [numbers.scores(t, arm) for t, arm in zip(tasks, arms, strict=True)]
              for name, arms in shared.items()}  # fmt: skip
    bare = [t.title for t in tasks if reference.score(numbers.scale(t), 0.0) is None]
    if bare:
        parts.append(tag("p", "No normalised scores over tasks: there is no scale for "
                         f"{', '.join(bare[:5])}.", class_="note"))  # fmt: skip
    else:
        rows = [[pieces.named(studio, n), tag("b", short(e.value)), pieces.spread(e)]
                for n, s in scored.items() if (e := numbers.estimate(s))]  # fmt: skip
        parts.append(table(["arm", "score", "95 % interval"], rows, caption=(
            "Normalised score (D4RL’s scale), interquartile mean over seeds and tasks, "
            "bootstrap stratified by task")))  # fmt: skip
        drawn = dict(itertools.islice(scored.items(), charts.MOST_ARMS))
        if all(len(x) > 1 for found in drawn.values() for x in found if x is not None):
            drawing = charts.profiles(studio, "overall-profile", drawn, "score (D4RL)",
                                      "over all tasks")  # fmt: skip
            parts.append(pieces.grid([drawing]))
    where = "on the same task, averaged over tasks"
    return join([*parts, pieces.beats(studio, shared, where)])


def configs(studio: Studio, tasks: list[Task]) -> Html:
    """The options in which arms differ."""
    if sum(len(one.arms) for one in tasks) < 2:
        return Html("")
    title = tag("h2", "Differences in configuration", id="differences")
    arms, rows = numbers.differences(tasks)
    if not rows:
        same = "None: these arms differ in what they learn from, or in their seeds."
        return join([title, tag("p", same, class_="note")])
    head = ["option", *(pieces.named(studio, arm.name) for arm in arms)]
    told = "Of the options that several arms have, those whose values differ"
    body = [[name, *values] for name, values in rows[:MOST_ROWS]]
    return join([title, table(head, body, words=range(len(head)), caption=told)])


def cards(runs: Sequence[Run]) -> Html:
    """How every run was made."""
    title = tag("h2", "Runs", id="runs")
    told = tag("p", "The command, data, versions and machine of each.", class_="note")
    return join([title, told, *(card(run) for run in runs[:MOST_ROWS]),
                 pieces.more(len(runs), MOST_ROWS, "runs")])  # fmt: skip
