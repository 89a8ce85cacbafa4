"""What several parts of a report's page are made of."""

import math
from collections.abc import Sequence
from typing import Any

from softq.pages import charts, numbers
from softq.pages.arms import Arm
from softq.pages.charts import Chart, Studio
from softq.pages.markup import Html, join, strip, table, tag
from softq.pages.numbers import Estimate, short
from softq.pages.svg import THEMED

DASHED = {"--": "7 3", "-.": "8 3 2 3", ":": "3 3"}


def named(studio: Studio, name: str) -> Html:
    """An arm's name behind a piece of its line in the pictures."""
    look = studio.styles[name]
    line = tag("line", x1=0, y1=5, x2=24, y2=5, stroke_width=4,
               stroke=themed(look.colour),
               stroke_dasharray=DASHED.get(look.dashes))  # fmt: skip
    key = tag("svg", line, viewBox="0 0 24 10", class_="key", aria_hidden="true")
    return tag("span", key, tag("span", name), class_="arm")


def dot(colour: str) -> Html:
    """A spot of colour before a name."""
    return tag("span", class_="chip", style=f"background:{colour}")


def themed(colour: str) -> str:
    """A colour as the page's theme has it."""
    return THEMED.get(colour, colour)


def placed(found: Estimate, line: tuple[float, float], colour: str) -> Html:
    """An estimate on the line between the smallest and the largest of all."""
    if not math.isfinite(found.value):
        return Html("")
    low, wide = line[0], (line[1] - line[0]) or 1.0
    low, value, high = (0.04 + 0.92 * (x - low) / wide
                        for x in (found.low, found.value, found.high))  # fmt: skip
    return strip(low, value, high, themed(colour))


def small(found: Estimate) -> Html:
    """An estimate with its interval small behind it."""
    told = [tag("small", f" {spread(found)}")] if found.known else []
    return tag("span", short(found.value), *told)


def spread(found: Estimate) -> str:
    """An interval in words, or why there is none."""
    if found.known:
        return f"{short(found.low)} to {short(found.high)}"
    return "one seed" if math.isfinite(found.value) else "not finite"


def chance(found: Estimate) -> Html:
    """A probability, the stronger its colour the farther it is from a half."""
    told = (
        [tag("small", f" {found.low:.2f} to {found.high:.2f}")] if found.known else []
    )
    tint = "var(--c0)" if found.value > 0.5 else "var(--c1)"
    much = f"--tint:{tint};--much:{abs(found.value - 0.5) * 40:.0f}%"
    return tag("span", f"{found.value:.2f}", *told, class_="chance", style=much)


def beats(studio: Studio, arms: dict[str, list[Arm]], where: str) -> Html:
    """The probability that a run of one arm scores above one of another."""
    """How probably a run of a row's arm scores above one of a column's."""
    names = list(arms)[: charts.MOST_ARMS]
    if len(names) < 2:
        return Html("")
    rows = []
    for row in names:
        cells: list[Any] = [named(studio, row)]
        for column in names:
            cells.append("" if row == column else
                         chance(numbers.beats(arms[row], arms[column])))  # fmt: skip
        rows.append(cells)
    head = ["P(row > column)", *(named(studio, name) for name in names)]
    told = (f"How probably a run of the row’s arm scores above one of the column’s "
            f"{where}: last greedy returns, ties count half, 95 % intervals over "
            "seeds")  # fmt: skip
    inner = table(head, rows, caption=told)
    return join([tag("h3", "Probability of improvement"),
                 tag("div", inner, class_="beats")])  # fmt: skip


def grid(drawn: Sequence[Chart]) -> Html:
    """Pictures beside one another, where there is room."""
    return tag("div", *(picture(one) for one in drawn), class_="charts")


def picture(one: Chart) -> Html:
    """A picture under its title, told in words too."""
    named = one.svg.replace("<svg", "<svg " + _spoken(one.alt), 1)
    return tag("figure", tag("figcaption", one.title), Html(named))


def _spoken(alt: str) -> str:
    """Attributes that tell what a picture shows to those who do not see it."""
    return tag("x", role="img", aria_label=alt)[2:].partition(">")[0].strip()


def more(count: int, most: int, what: str) -> Html:
    """How many are not shown, if any."""
    if count <= most:
        return Html("")
    return tag("p", f"and {count - most:,} more {what}", class_="note")
