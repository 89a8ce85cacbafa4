"""What a report's page says of one task, from the headline to every seed."""

import math

import numpy as np

from softq import reference
from softq.pages import charts, numbers
from softq.pages.arms import Task
from softq.pages.charts import Chart, Studio
from softq.pages.markup import Html, details, join, table, tag
from softq.pages.numbers import short
from softq.pages.pieces import beats, dot, grid, more, named, placed, small, spread

MOST_ROWS = 200  # of seeds, and of cards
MOST_MONITORS = 8  # charts of Q a task


def task(studio: Studio, number: int, one: Task) -> Html:
    """All there is to say of one task."""
    drawn = [charts.learning(studio, f"{number}-curve", one)]
    if found := _profile(studio, number, one):
        drawn.append(found)
    drawn.append(charts.returns(studio, f"{number}-returns", one))
    return join([
        tag("h2", one.title, id=f"task-{number}"), _lead(one), headline(studio, one),
        grid(drawn),
        beats(studio, {arm.name: [arm] for arm in one.arms}, "on this task"),
        ledger(studio, one), monitors(studio, number, one), anchors(studio, one),
        _seeds(studio, one),
    ])  # fmt: skip


def headline(studio: Studio, one: Task) -> Html:
    """Last and best of every arm, the highest first."""
    rows = [(arm, numbers.last(arm)) for arm in one.arms]
    rows.sort(key=lambda row: -np.nan_to_num(row[1].value, nan=-np.inf))
    scored = reference.score(numbers.scale(one), 0.0) is not None
    ends = [x for _, e in rows for x in e if math.isfinite(x)]
    line = (min(ends, default=0.0), max(ends, default=1.0))
    head = ["arm", "last", "95 % interval", "", *["score"] * scored,
            "best step’s", "last at", "seeds"]  # fmt: skip
    body = []
    for arm, found in rows:
        score = numbers.scores(one, arm) if scored else None
        body.append([
            named(studio, arm.name), tag("b", short(found.value)), spread(found),
            placed(found, line, studio.styles[arm.name].colour),
            *([small(numbers.estimate(score))] if score is not None else []),
            tag("span", short(numbers.best(arm).value),
                tag("small", f" at {arm.steps[arm.best]:,}")),
            f"{arm.steps[-1]:,}", len(arm.lanes),
        ])  # fmt: skip
    return table(head, body, caption="Greedy return, interquartile mean over seeds")


def _lead(one: Task) -> Html:
    """The outcome in a sentence or two, and what to bear in mind."""
    said = [_outcome(one)]
    if any(len(arm.lanes) == 1 for arm in one.arms):
        said.append("An arm of one seed has no interval: nothing is known of how much "
                    "it would vary.")  # fmt: skip
    ends = sorted({arm.steps[-1] for arm in one.arms})
    if len(ends) > 1:
        said.append("The arms were last evaluated at different steps, from "
                    f"{ends[0]:,} to {ends[-1]:,}.")  # fmt: skip
    if found := reference.score(numbers.scale(one), 0.0):
        said.append("The score is on D4RL’s scale (0 a random policy, 100 an expert)"
                    + (CONVENTION if found.convention else "."))  # fmt: skip
    return tag("p", " ".join(said), class_="lead")


CONVENTION = (
    "; here that is a convention, for the constants are of D4RL’s environment of 2020."
)


def _outcome(one: Task) -> str:
    """Which arm ended highest, and how surely above the second."""
    known = [(arm, found) for arm in one.arms
             if math.isfinite((found := numbers.last(arm)).value)]  # fmt: skip
    if len(known) < 2:
        return ""
    known.sort(key=lambda pair: -pair[1].value)
    (first, ends), (second, _) = known[:2]
    chance = numbers.beats([first], [second])
    told = f" [{chance.low:.2f}, {chance.high:.2f}]" if chance.known else ""
    return (f"Highest last return: {first.name}, {ends}. A run of it beats one of "
            f"{second.name} with probability {chance.value:.2f}{told}.")  # fmt: skip


def _profile(studio: Studio, number: int, one: Task) -> Chart | None:
    """The profile of arms with several seeds, on the task's scale where it has one."""
    arms = [arm for arm in one.arms[: charts.MOST_ARMS] if len(arm.lanes) > 1]
    if not arms:
        return None
    scored = {arm.name: numbers.scores(one, arm) for arm in arms}
    known = all(scores is not None for scores in scored.values())
    chosen = scored if known else {arm.name: arm.values()[-1] for arm in arms}
    label = "score (D4RL)" if known else "last greedy return"
    return charts.profiles(studio, f"{number}-profile", chosen, label, one.title)


def ledger(studio: Studio, one: Task) -> Html:
    """What the sampled policy earned, and from what."""
    rows = []
    for arm in one.arms:
        told = numbers.ledger(arm)
        rows.append([named(studio, arm.name), short(told.greedy), short(told.task),
                     short(told.bonus, signed=True), short(told.soft),
                     short(told.nats)])  # fmt: skip
    head = ["arm", "greedy task return", "sampled task return", "+ entropy bonus",
            "= soft return", "entropy (nats)"]  # fmt: skip
    about = (
        "At the last step, means over seeds, so that they add up. The bonus is "
        "the temperature times the entropy; a greedy policy earns none"
    )
    return join([tag("h3", "Return ledger"), table(head, rows, caption=about)])


def monitors(studio: Studio, number: int, one: Task) -> Html:
    """What Q promises beside what the data returned, an arm a picture."""
    told = [(arm, found) for arm in one.arms if (found := numbers.promise(arm))]
    if not told:
        return Html("")
    rows = [[named(studio, arm.name), short(p.data), short(p.policy), short(p.uniform),
             short(p.togo), short(p.policy - p.togo, signed=True), short(p.gap),
             short(p.factor)] for arm, p in told]  # fmt: skip
    head = ["arm", "Q data", "Q policy", "Q uniform", "data returned",
            "promised above", "gap", "α′"]  # fmt: skip
    drawn = [charts.monitor(studio, f"{number}-monitor-{k}", arm)
             for k, (arm, _) in enumerate(told[:MOST_MONITORS], 1)]  # fmt: skip
    caption = ("At the end, means over seeds. “Data returned” is the mean discounted "
               "return of the data: a Q far above it promises what nobody has "
               "seen")  # fmt: skip
    looks = [("the data’s actions", 0), ("the policy’s actions", 1),
             ("uniform actions", 2)]  # fmt: skip
    if gaps := charts.gaps(studio, f"{number}-gap", one):
        drawn.append(gaps)
    items = [tag("li", dot(f"var(--c{k})"), name) for name, k in looks]
    items.append(tag("li", dot("var(--grey)"), "return of the data (dashed)"))
    return join([tag("h3", "Conservatism monitor"), table(head, rows, caption=caption),
                 tag("ul", *items, class_="legend"),
                 grid([chart for chart in drawn if chart])])  # fmt: skip


def anchors(studio: Studio, one: Task) -> Html:
    """What others published, beside the arms' own numbers."""
    rows = []
    for arm in one.arms:
        for row in numbers.anchors(one, arm):
            own = numbers.ours(one, arm, row) if row.exact else None
            none = "not evaluated there" if row.exact else "another version"
            mine = none if own is None else str(own)
            at = f"{row.steps:,}" if row.steps else "the end"
            figure = f"{row.mean:,g} ± {row.std:,g}".replace("-", "−")
            rows.append([named(studio, arm.name), mine, figure, row.task, at,
                         row.source.seeds, f"{row.source.name} ({row.source.note})"]
                       )  # fmt: skip
    title = tag("h3", "Published")
    if not rows:
        return join([title, tag("p", _why_none(one), class_="note")])
    head = ["arm", "here", "published", "on", "at step", "seeds", "source"]
    told = "Mean ± standard deviation as published; another version is another task"
    return join([title, table(head, rows, words=(0, 3, 6), caption=told)])


def _why_none(one: Task) -> str:
    if one.data:
        return ("None: softq knows scores of BC, TD3+BC, CQL and IQL on D4RL’s own "
                f"datasets (v2); {one.data} is none of them.")  # fmt: skip
    return ("None that applies: softq knows SAC’s returns on Gym’s MuJoCo and a few "
            "classic environments, from 20,000 steps on.")  # fmt: skip


def _seeds(studio: Studio, one: Task) -> Html:
    """Every seed's last and best evaluation."""
    rows = []
    for arm in one.arms:
        greedy, sampled = arm.values(), arm.values("sampled")
        for k, lane in enumerate(arm.lanes):
            best = int(np.argmax(np.nan_to_num(greedy[:, k], nan=-np.inf)))
            spread = lane.evals[arm.steps[-1]]["greedy"]["return_std"]
            rows.append([named(studio, arm.name), lane.seed,
                         f"{short(greedy[-1, k])} ({short(spread)})",
                         short(sampled[-1, k]), short(greedy[best, k]),
                         f"{arm.steps[best]:,}", lane.run.name])  # fmt: skip
    head = [
        "arm",
        "seed",
        "last (sd over episodes)",
        "sampled",
        "best",
        "at step",
        "run",
    ]
    rest = more(len(rows), MOST_ROWS, "seeds")
    return details(
        f"Every seed ({len(rows)})", table(head, rows[:MOST_ROWS], words=(0, 6)), rest
    )
