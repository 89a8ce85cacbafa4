"""What the documentation says to type is typed; what it links to is there."""

import ast
import os
import re
import time
from pathlib import Path

import pytest
from pages import INERT, PYTHON, ROOT, SHELL, Session, blocks, commands, pages

EACH, ALL = 20.0, 240.0  # seconds that blocks may take
LINK = re.compile(r"(?<!!)\[([^][]*)\]\(([^()\s]+)\)|!\[[^][]*\]\(([^()\s]+)\)")
PAGES = pages()
RUN = [p for p in PAGES if any(block.runs for block in blocks(p.read_text()))]
spent: dict[str, float] = {}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def seconds() -> tuple[float, float]:
    """On the clock, and of this process's and its children's work."""
    return time.perf_counter(), sum(os.times()[:4])


@pytest.mark.parametrize("page", RUN, ids=name)
def test_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    session = Session(page, tmp_path)
    for block in blocks(page.read_text()):
        if not block.runs:
            continue
        before = seconds()
        try:
            session.run(block)
        except Exception as error:
            raise AssertionError(
                f"{name(page)}, line {block.line}: {error!r}"
            ) from error
        # A busy machine's clock runs on; several threads' work adds up.
        took = min(b - a for a, b in zip(before, seconds(), strict=True))
        spent[f"{name(page)}:{block.line}"] = took
        assert took <= EACH, f"{name(page)}, line {block.line} took {took:.0f} s"


def test_pages_together_are_quick() -> None:
    """Of the pages that ran before this; -s shows block by block."""
    for block, took in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{took:5.1f} s  {block}")
    assert sum(spent.values()) <= ALL


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page.read_text()):
        directive = block.kind.startswith("{") and block.kind not in PYTHON
        assert directive or block.kind in (*PYTHON, *SHELL, *INERT), block
        if block.kind in PYTHON:
            ast.parse(block.code)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for text, link, picture in LINK.findall(page.read_text()):
        target = link or picture
        if ":" in target or target.startswith("#"):
            continue
        file = page.parent / target.partition("#")[0]
        assert file.exists(), f"{name(page)} links to {target}"
        word = text[1:-1]  # of code in backticks, here a name in the file
        if file.suffix == ".py" and text == f"`{word}`" and word.isidentifier():
            body = ast.parse(file.read_text()).body
            kinds = ast.FunctionDef, ast.ClassDef
            assert word in {x.name for x in body if isinstance(x, kinds)}, target


def test_the_temperatures_of_soft_q_learning_are_1_over_the_papers_scales() -> None:
    """The literature's `reward_scale`, environment by name (arXiv 1702.08165)."""
    scales = {
        "multi-goal": 0.1, "HalfCheetah": 30, "Hopper": 30, "Swimmer": 30,
        "Walker2d": 10, "Ant": 300, "Humanoid": 100,
    }  # fmt: skip
    page = (ROOT / "docs/soft-q-learning.md").read_text()
    told = re.findall(r"^\| (\S+)[^|]* \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
    assert {name: float(scale) for name, scale, _ in told} == scales
    for name, scale, alpha in told:
        assert float(alpha) == pytest.approx(1 / float(scale), rel=2e-3), name


def test_blocks_are_seen() -> None:
    text = (
        "a\n\n<!-- not run: no -->\n```sh\nb\n```\n\n```{code-cell}\n:tags: [x]\nc\n```"
    )
    first, second = blocks(text)
    assert (first.kind, first.code, first.runs) == ("sh", "b", False)
    assert (second.kind, second.code, second.runs) == ("{code-cell}", "c", True)


def test_commands_are_joined() -> None:
    assert commands("# x\n$ a \\\n  --b\n\nc") == ["a  --b", "c"]


def test_a_replacement_that_is_not_there_is_noticed() -> None:
    (block,) = blocks("<!-- run with: 9 => 1 -->\n```sh\nls 8\n```")
    with pytest.raises(AssertionError, match="not there"):
        _ = block.small
