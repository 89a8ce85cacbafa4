"""Pictures of a report: SVG in the page's own colours and letters, and PNG files."""

import io
import itertools
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softq.pages import numbers
from softq.pages.arms import Arm, Task
from softq.pages.svg import FAINT, INK, inline
from softq.plots import COLOURS, DASHES, GREY
from softq.published import Published
from softq.statistics import profile, profile_band

SIZE = (5.0, 3.1)  # inches: about as wide as a telephone, so that letters stay legible
POINTS = 40_000  # of all the lines of a page: what keeps it small
MOST_ARMS, MOST_SEEDS = 12, 10  # lines that can be told apart
THRESHOLDS = 201
LONG_TAIL = 20.0  # a Q beyond so many times the data's return needs a log scale


class Style(NamedTuple):
    """The look of an arm, the same in every picture of a page."""

    colour: str
    dashes: str


class Chart(NamedTuple):
    """A picture: its file's name, what it shows, in words too, and its SVG."""

    name: str
    title: str
    alt: str
    svg: str


class Studio:
    """Where pictures are made: the folder, the arms' styles, and points to spend."""

    def __init__(self, folder: Path, tasks: list[Task]):
        every = [arm.name for task in tasks for arm in task.arms]
        looks = itertools.cycle(itertools.product(DASHES, COLOURS))
        self.styles = {name: Style(colour, dashes) for name, (dashes, colour)
                       in zip(dict.fromkeys(every), looks, strict=False)}  # fmt: skip
        self.folder, self.budget = folder, POINTS // max(3 * len(tasks), 8)
        self.written: list[Path] = []

    def points(self, lines: int) -> int:
        """How many points a line may have, where a picture has so many lines."""
        return max(self.budget // max(lines, 1), 8)

    def chart(
        self, name: str, title: str, alt: str, draw: Callable[[Any], None],
        legend: dict[str, Style],
    ) -> Chart:  # fmt: skip
        """Draws on empty axes; the PNG has a legend, and the page one of its own."""
        import matplotlib
        from matplotlib.figure import Figure

        fixed: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9,
                 "text.parse_math": False, "axes.edgecolor": FAINT,
                 "axes.labelcolor": INK, "text.color": INK, "xtick.color": FAINT,
                 "ytick.color": FAINT, "xtick.labelcolor": INK,
                 "ytick.labelcolor": INK, "grid.color": FAINT}  # fmt: skip
        with matplotlib.rc_context(fixed), warnings.catch_warnings():
            # A name may have letters that the PNG's font lacks; the page's has them.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure = Figure(figsize=SIZE, layout="constrained")
            axes = figure.subplots()
            draw(axes)
            _plain(axes)
            text = io.StringIO()
            figure.savefig(text, format="svg", transparent=True)
            for label, style in legend.items():
                axes.plot([], [], style.dashes, color=style.colour, label=label)
            if legend:
                figure.legend(frameon=False, loc="outside lower center", ncols=2)
            axes.set_title(title, loc="left", fontsize=9)
            self.written.append(self.folder / f"{name}.png")
            figure.savefig(self.written[-1], dpi=150)
        return Chart(name, title, alt, inline(text.getvalue(), name))


def learning(studio: Studio, name: str, task: Task) -> Chart:
    """Interquartile means over steps with their bands, and every seed's line."""
    arms = task.arms[:MOST_ARMS]
    most = min(studio.points(sum(3 + min(len(a.lanes), MOST_SEEDS) for a in arms)), 120)

    def draw(axes: Any) -> None:
        for arm in arms:
            style = studio.styles[arm.name]
            steps, found = numbers.curve(arm, most)
            thin = arm.values()[numbers.thinned(len(arm.steps), most), :MOST_SEEDS]
            if len(arm.lanes) > 1:
                axes.plot(steps, thin, color=style.colour, alpha=0.35, linewidth=0.7)
                axes.fill_between(steps, [e.low for e in found],
                                  [e.high for e in found], color=style.colour,
                                  alpha=0.15, linewidth=0)  # fmt: skip
            axes.plot(steps, [e.value for e in found], style.dashes + _marked(steps),
                      color=style.colour, linewidth=1.8)  # fmt: skip
        _published(axes, task)
        _turn(axes, arms)
        axes.set(xlabel=unit(arms), ylabel="greedy return")

    several = any(len(arm.lanes) > 1 for arm in arms)
    what = "interquartile mean, 95 % band, thin lines are seeds" if several else "seeds"
    if _exact(task):
        what += "; diamonds are published, ± sd"
    ends = ", ".join(f"{arm.name} ends at {numbers.last(arm)}" for arm in arms)
    return studio.chart(name, f"Greedy return ({what})",
                        f"Learning curves in {task.title}: {ends}.", draw,
                        _legend(studio, arms))  # fmt: skip


def returns(studio: Studio, name: str, task: Task) -> Chart:
    """The sampled policy's return as a line, with its entropy bonus dashed."""
    arms = task.arms[:MOST_ARMS]
    most = min(studio.points(2 * len(arms)), 200)

    def draw(axes: Any) -> None:
        for arm in arms:
            places = numbers.thinned(len(arm.steps), most)
            steps, colour = [arm.steps[k] for k in places], studio.styles[arm.name][0]
            for what, dashes in (("return", "-"), ("soft", "--")):
                mean = arm.values("sampled", what)[places].mean(axis=1)
                axes.plot(steps, mean, dashes + _marked(steps), color=colour,
                          linewidth=1.4)  # fmt: skip
        _turn(axes, arms)
        axes.set(xlabel=unit(arms), ylabel="sampled return")

    title = "Sampled policy: task return (line), soft return (dashed)"
    return studio.chart(name, title, f"{title}, means over seeds; the numbers are in "
                        "the ledger.", draw, _legend(studio, arms))  # fmt: skip


def profiles(
    studio: Studio, name: str, arms: dict[str, Any], label: str, where: str
) -> Chart:
    """The share of runs above every score; `arms` holds scores, as statistics take."""
    known = [np.concatenate(_flat(s)) for s in arms.values()]
    every = np.concatenate(known)
    every = every[np.isfinite(every)]
    low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
    room = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    most = min(studio.points(3 * len(arms)), THRESHOLDS)
    taus = np.linspace(low - room, high + room, most)

    def draw(axes: Any) -> None:
        for arm, found in arms.items():
            ranked = [np.where(np.isfinite(s), s, -np.inf) for s in _flat(found)]
            style = studio.styles[arm]
            axes.step(taus, profile(ranked, taus), style.dashes, where="post",
                      color=style.colour, linewidth=1.6)  # fmt: skip
            axes.fill_between(taus, *profile_band(ranked, taus), step="post",
                              color=style.colour, alpha=0.12, linewidth=0)  # fmt: skip
        axes.set(xlabel=f"{label} τ", ylabel="share of runs above τ")
        axes.set_ylim(-0.03, 1.03)

    legend = {arm: studio.styles[arm] for arm in arms}
    return studio.chart(name, "Performance profile (95 % band)",
                        f"The share of runs that score above a threshold, {where}.",
                        draw, legend)  # fmt: skip


def monitor(studio: Studio, name: str, arm: Arm) -> Chart | None:
    """What Q says of the data's, the policy's and uniform actions, and the truth."""
    lanes = list(numbers.watched(arm).values())[:MOST_SEEDS]
    if not lanes:
        return None
    togo = arm.runs[0].togo
    names = {"q_data": "Q, the data's actions", "q_policy": "Q, the policy's",
             "q_uniform": "Q, uniform ones"}  # fmt: skip
    looks = {names[k]: Style(c, "-") for k, c in zip(names, COLOURS, strict=False)}
    most = min(studio.points(3 * len(lanes)), 150)
    drawn = [[own[k] for k in numbers.thinned(len(own), most)] for own in lanes]

    def draw(axes: Any) -> None:
        for own, key in itertools.product(drawn, names):
            steps = [r["step"] for r in own]
            values = [r.get(key, math.nan) for r in own]
            axes.plot(steps, values, "-" + _marked(steps), linewidth=1.1, alpha=0.85,
                      color=looks[names[key]].colour)  # fmt: skip
        if math.isfinite(togo):
            axes.axhline(togo, color=GREY, linestyle="--", linewidth=1.2)
            _scaled(axes, [r.get(key, 0.0) for own in drawn for r in own
                           for key in names], abs(togo) or 1.0)  # fmt: skip
        axes.set(xlabel="updates", ylabel="Q")

    told = numbers.promise(arm)
    alt = (f"{arm.name}: Q of the policy's actions ends at "
           f"{numbers.short(told.policy)}; the data returned "
           f"{numbers.short(told.togo)}.") if told else ""  # fmt: skip
    truth = {"return of the data": Style(GREY, "--")} if math.isfinite(togo) else {}
    return studio.chart(name, arm.name, alt, draw, looks | truth)


def gaps(studio: Studio, name: str, task: Task) -> Chart | None:
    """What CQL presses down: the gap between what Q says of its samples and the data's
    actions, the mean over seeds.
    """
    arms = {arm: [own for own in numbers.watched(arm).values() if "gap" in own[-1]]
            for arm in task.arms[:MOST_ARMS]}  # fmt: skip
    arms = {arm: lanes for arm, lanes in arms.items() if lanes}
    if not arms:
        return None

    def draw(axes: Any) -> None:
        for arm, lanes in arms.items():
            told = [{r["step"]: r.get("gap", math.nan) for r in own} for own in lanes]
            steps = sorted(set.intersection(*map(set, told)))
            kept = [steps[k] for k in numbers.thinned(len(steps), 150)]
            mean = [float(np.mean([one[step] for one in told])) for step in kept]
            style = studio.styles[arm.name]
            axes.plot(kept, mean, style.dashes + _marked(kept), color=style.colour,
                      linewidth=1.4)  # fmt: skip
        axes.set(xlabel="updates", ylabel="gap (units of Q)")

    return studio.chart(name, "The gap that CQL pays for, mean over seeds",
                        f"The gap over updates of {', '.join(a.name for a in arms)}.",
                        draw, _legend(studio, list(arms)))  # fmt: skip


def unit(arms: list[Arm]) -> str:
    """What a step of these arms is."""
    plan = arms[0].runs[0].plan
    if plan.finetune_env:
        return "updates, then environment steps"
    return "updates" if plan.data else "environment steps"


def _legend(studio: Studio, arms: list[Arm]) -> dict[str, Style]:
    return {arm.name: studio.styles[arm.name] for arm in arms}


def _published(axes: Any, task: Task) -> None:
    """What others published of this very environment, as points with ± their sd."""
    for one in _exact(task):
        axes.errorbar(one.steps, one.mean, one.std, fmt="D", color=GREY, markersize=4,
                      linewidth=1, capsize=2)  # fmt: skip


def _exact(task: Task) -> list[Published]:
    """What is published in returns on this very task."""
    rows = {one for arm in task.arms for one in numbers.every_anchor(task, arm)
            if one.exact and one.unit == "return"}  # fmt: skip
    return sorted(rows, key=lambda row: (row.source.name, row.steps))


def _turn(axes: Any, arms: list[Arm]) -> None:
    """A dotted line where updates on data end and steps begin."""
    plans = [arm.runs[0].plan for arm in arms]
    for step in {plan.loop.steps for plan in plans if plan.finetune_env}:
        axes.axvline(step, color=GREY, linestyle=":", linewidth=1)


def _scaled(axes: Any, values: list[float], unit_of_q: float) -> None:
    """A scale of logarithms where a Q has left all bounds."""
    if max((abs(v) for v in values if math.isfinite(v)), default=0) > (
        LONG_TAIL * unit_of_q
    ):
        axes.set_yscale("symlog", linthresh=unit_of_q)


def _flat(scores: Any) -> list[Any]:
    return scores if isinstance(scores, list) else [scores]


def _marked(steps: list[int]) -> str:
    """A point is seen only if it is marked."""
    return "o" if len(steps) == 1 else ""


def _plain(axes: Any) -> None:
    from matplotlib.ticker import EngFormatter, FuncFormatter

    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(linewidth=0.5, alpha=0.6)
    axes.tick_params(length=0)
    if max(map(abs, axes.get_xlim())) >= 1_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if max(map(abs, axes.get_ylim())) >= 1_000:
        compact = EngFormatter(sep="")
        comma = FuncFormatter(lambda y, _: f"{y:,.0f}" if abs(y) < 1e6 else compact(y))
        axes.yaxis.set_major_formatter(comma)
    axes.locator_params(axis="x", nbins=5)
