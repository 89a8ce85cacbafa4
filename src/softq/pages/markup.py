"""HTML from text, so that nothing but `tag` and a template can make an element.

Whatever is not `Html` is text, and is escaped where it meets HTML.
"""

import html
from collections.abc import Container, Iterable, Sequence
from importlib import resources
from string import Template
from typing import Any

LONG = 40  # characters, from which on a cell is wrapped


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *inner: Any, **attributes: Any) -> Html:
    """An element; `class_` is its class, and an attribute of None is left out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items() if value is not None
    )  # fmt: skip
    return Html(f"<{name}{told}>{join(inner)}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """Parts one after another, each of them escaped unless it is HTML."""
    return Html("".join(p if isinstance(p, Html) else html.escape(str(p))
                        for p in parts))  # fmt: skip


def table(
    head: Sequence[Any], rows: Iterable[Sequence[Any]], words: Container[int] = (0,),
    caption: Any = None,
) -> Html:  # fmt: skip
    """A table that scrolls sideways by itself; the columns `words` are no numbers."""

    def kind(column: int, cell: Any) -> str | None:
        if column not in words:
            return "n"
        return "wide" if len(str(cell)) > LONG and not isinstance(cell, Html) else None

    top = [tag("th", c, scope="col", class_=kind(k, "")) for k, c in enumerate(head)]
    body = [
        tag("tr", *(tag("td", cell, class_=kind(k, cell)) if k
                    else tag("th", cell, scope="row") for k, cell in enumerate(row)))
        for row in rows
    ]  # fmt: skip
    inner = tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body))
    # Above what scrolls, so that it is read whole on a telephone.
    above = [tag("p", caption, class_="note")] if caption else []
    return join([*above, tag("div", inner, class_="scroll", tabindex="0")])


def details(summary: Any, *inner: Any) -> Html:
    """Something that opens where it is asked for."""
    return tag("details", tag("summary", summary), *inner)


def strip(low: float, value: float, high: float, colour: str) -> Html:
    """A point and its interval, where there is one, on a line from 0 to 1."""
    parts = []
    if low == low:
        where = f"left:{low:.1%};width:{high - low:.1%};background:{colour}"
        parts.append(tag("i", class_="range", style=where))
    at = f"left:{value:.1%};background:{colour}"
    parts.append(tag("i", class_="point", style=at))
    return tag("span", *parts, class_="strip", aria_hidden="true")


def page(title: str, body: Html) -> str:
    """The whole page. What looks like one of the template's names is left alone."""
    text = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    return Template(text).substitute(title=html.escape(title), body=body)
