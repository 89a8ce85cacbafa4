"""Runs made by hand, and what must hold of every page that is made of them."""

import csv
import html
import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from softq import plan
from softq.pages import charts
from softq.types import Spec

Lines = list[dict[str, Any]]
Maker = Callable[..., Path]
STEPS = (1_000, 2_000, 3_000)


def evals(
    returns: dict[int, list[float]], steps: tuple[int, ...] = STEPS, setting: str = ""
) -> Lines:
    """Evaluations, one of `returns` a step of each seed; α · entropy is always 3."""
    told = []
    for k, step in enumerate(steps):
        for seed, values in returns.items():
            ret = values[k]
            names = ("return", "return_std", "entropy", "soft", "length")
            greedy = dict(zip(names, (ret, 5.0, 0.0, ret, 9.0), strict=True))
            numbers = (ret - 10, 6.0, 30.0, ret - 7, 9.0)
            sampled = dict(zip(names, numbers, strict=True))
            record = {"step": step, "seed": seed, "greedy": greedy, "sampled": sampled}
            told.append(record | ({"setting": setting} if setting else {}))
    return told


def watched(records: Lines) -> Lines:
    """Metrics of the same lanes: Q of the policy is 50 above the step."""
    kept = ("step", "seed", "setting")
    return [{k: r[k] for k in kept if k in r}
            | {"q_data": 1.0, "q_policy": r["step"] + 50.0, "q_uniform": 0.5,
               "gap": 2.0}
            for r in records]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Maker:
    """A function that makes the folder of a run, as far as a report looks at it."""

    def make(
        name: str, records: Lines, metrics: Lines | None = None, algorithm: str = "sac",
        env: str = "Pendulum-v1", about: dict[str, Any] | None = None, **options: Any,
    ) -> Path:  # fmt: skip
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        made = plan.build(algorithm, env, {"steps": 3_000, **options})
        plan.write(folder, made, Spec((3,), low=(-1.0,), high=(1.0,)), {})
        config = json.loads((folder / "config.json").read_text()) | (about or {})
        (folder / "config.json").write_text(json.dumps(config))
        for kind, rows in (("evals", records), ("metrics", metrics or [])):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{kind}.jsonl").write_text(text)
        return folder

    return make


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time: only tests marked `drawn` make them."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(
            charts.Studio, "chart",
            lambda self, name, title, alt, draw, legend: charts.Chart(
                name, title, alt, "<svg></svg>"),
        )  # fmt: skip


def rows(folder: Path, name: str) -> Lines:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def text_of(page: Path) -> str:
    """What a page shows as text."""
    body = page.read_text().partition("<body>")[2]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


class Checker(html.parser.HTMLParser):
    """Elements that do not nest, ids that appear twice, and addresses."""

    VOID = ("meta", "link")

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.used: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)
        self.wrong += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "style", "clip-path"):
                self.used.append(value or "")
            if name.startswith("on"):
                self.wrong.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def check(page: Path) -> Checker:
    """A page is whole: it nests, needs nothing from elsewhere, and is small."""
    text = page.read_text()
    found = Checker(text)
    assert found.wrong == []
    assert len(set(found.ids)) == len(found.ids)
    assert "script" not in found.tags
    assert "iframe" not in found.tags
    for used in found.used:
        for address in (used, *re.findall(r"url\(([^)]*)\)", used)):
            assert not re.match(r"\s*([a-z]+:)?//", address)
            assert not address.startswith(("http", "javascript"))
            if address.startswith("#"):
                assert address[1:] in found.ids
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", text)
    assert 'name="viewport" content="width=device-width' in text
    assert len(text.encode()) <= 3_000_000
    return found


A = {0: [1.0, 5.0, 2.0], 1: [3.0, 9.0, 6.0], 2: [0.0, 4.0, 10.0]}
B = {0: [0.0, 1.0, 2.0], 1: [0.0, 1.0, 7.0], 2: [0.0, 1.0, -4.0]}
