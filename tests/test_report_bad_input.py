"""`softq report` of what is damaged, too much, or made to harm."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import reports
from reports import A, B, Maker, check, evals, rows, text_of, watched

from softq import cli, plan
from softq.pages import arms, build, markup, numbers, runs
from softq.types import SoftqError

run, undrawn = reports.run, reports.undrawn  # fixtures
NASTY = "<script>alert('x')</script>&\"$\\frac{"


def damage(how: str, good: Path) -> Path:
    """A copy of a run that is damaged in one way; `good` stays whole."""
    path = good.parent / how
    shutil.copytree(good, path)
    evaluated, config = path / "evals.jsonl", path / "config.json"
    lines = evaluated.read_text().splitlines()
    made = json.loads(config.read_text())
    if how == "no evaluations":
        evaluated.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "a line":
        evaluated.write_text("\n".join([lines[0][:40], *lines[1:]]))
    elif how == "a list":
        evaluated.write_text("[1]\n" + "\n".join(lines))
    elif how == "a step":
        evaluated.write_text(lines[0].replace("1000", "1e3") + "\n")
    elif how == "no greedy":
        evaluated.write_text(lines[0].replace("greedy", "greasy") + "\n")
    elif how == "deep":
        evaluated.write_text("[" * 100_000 + "\n")
    elif how == "deep config":
        config.write_text("[" * 100_000)
    elif how == "an algorithm":
        made["plan"]["algorithm"] = 5
        config.write_text(json.dumps(made))
    elif how == "bytes":
        evaluated.write_bytes(b"\xff\xfe\n")
    elif how == "a number":
        made["plan"]["algo"]["lr"] = 10**400
        config.write_text(json.dumps(made))
    elif how == "a seed":
        made["plan"]["seed"] = 10**4_200
        config.write_text(json.dumps(made))
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no evaluations", "has no evaluations yet"),
        ("no config", "is no run: it has no config.json"),
        ("a line", "evals.jsonl, line 1 is damaged"),
        ("a list", "line 1 is damaged: it is no record"),
        ("a step", "line 1 is damaged: its step is 1000.0"),
        ("no greedy", "line 1 is damaged: it lacks the greedy returns"),
        ("deep", "line 1 is damaged"),
        ("deep config", "config.json is damaged"),
        ("an algorithm", "config.json is damaged"),
        ("bytes", "line 1 is damaged"),
        ("a number", "config.json is damaged"),
        ("a seed", "config.json is damaged: a whole number has more than 64 bits"),
    ],
)
def test_what_is_damaged_is_told_and_the_rest_goes_on(
    how: str, says: str, run: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run("good", evals(A))
    bad, out = damage(how, good), tmp_path / "out"
    assert cli.main(["report", str(bad), str(good), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "left out: " in told.err
    assert says in told.err
    assert str(bad) in told.err
    assert "sac" in told.out
    assert str(out / "index.html") in told.out
    assert says in text_of(out / "index.html")
    check(out / "index.html")
    alone = tmp_path / "alone"
    assert cli.main(["report", str(bad), "--out", str(alone)]) == 2
    told = capsys.readouterr()
    assert "softq: nothing to report: " in told.err
    assert says in told.err
    assert not alone.exists()


def test_too_large_a_file_is_left_out(
    run: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = run("good", evals(A))
    monkeypatch.setattr(runs, "MOST_BYTES", 1_000)
    with pytest.raises(SoftqError, match="too large to be a config"):
        runs.read(good)
    monkeypatch.setattr(runs, "MOST_BYTES", 256 * 2_900)
    (good / "evals.jsonl").write_text("{}\n" * 300_000)
    with pytest.raises(SoftqError, match=r"evals\.jsonl is larger than"):
        runs.read(good)


def test_a_run_that_still_goes_on(run: Maker, tmp_path: Path) -> None:
    path = run("going", evals(A), watched(evals(A)), steps=9_000)
    with (path / "evals.jsonl").open("a") as file:
        file.write('{"step": 4000, "se')
    (path / "ended.json").write_text('{"trouble": "Q has <b>diverged</b>"}')
    made = build.build([path], tmp_path / "out")
    assert made.said == [
        "going: evals.jsonl ends in half a line, left out",
        "going: the run ended early: Q has <b>diverged</b>",
        "going: evaluated up to step 3,000 of 9,000",
    ]
    assert len(rows(tmp_path / "out", "seeds")) == 9
    check(made.page)
    (path / "metrics.jsonl").write_text("{\n")
    said = build.build([path], tmp_path / "out").said
    assert said[1].startswith("going: no monitor of Q: ")
    assert "metrics.jsonl, line 1 is damaged" in said[1]


def test_a_pipe_is_not_waited_for(run: Maker, tmp_path: Path) -> None:
    path = run("piped", evals(A))
    os.mkfifo(path / "ended.json")
    assert build.build([path], tmp_path / "out").said == []


def test_text_that_cannot_be_written_is_replaced(run: Maker, tmp_path: Path) -> None:
    paths = [run("a", evals({0: A[0]})), run("b", evals({1: A[1]}), seed=1)]
    config = json.loads((paths[1] / "config.json").read_text())
    odd = config | {"commit": "\ud800", "versions": {"\ud800": "\x1b[31m"}}
    (paths[1] / "config.json").write_text(json.dumps(odd))
    named = tmp_path / "runs" / os.fsdecode(b"bad\xff")
    paths[0].rename(named)
    (named / "metrics.jsonl").write_text("{\n")
    made = build.build([named, paths[1]], tmp_path / "out")
    check(made.page)
    assert not any("\udcff" in one or "\x1b" in one for one in made.said)


def test_numbers_of_other_runs_do_not_stay(run: Maker, tmp_path: Path) -> None:
    fixed = run("fixed", evals(A), watched(evals(A)), algorithm="cql",
                data=plan.Data("d.hdf5"))  # fmt: skip
    assert tmp_path / "out" / "q.csv" in build.build([fixed], tmp_path / "out").files
    build.build([run("plain", evals(A))], tmp_path / "out")
    assert not (tmp_path / "out" / "q.csv").exists()


def test_returns_that_are_no_numbers(run: Maker, tmp_path: Path) -> None:
    lines = evals(A) + evals({3: [1.0, 2.0, float("nan")]})
    lines[1]["greedy"]["return"] = 10**400
    lines[2]["greedy"]["return"] = "<b>"
    lines[4]["greedy"]["return"] = 9e99
    other = run("b", evals(B), algorithm="ddpg")
    made = build.build([run("a", lines), other], tmp_path / "out")
    arm = made.tasks[0].arms[0]
    assert np.isnan(numbers.last(arm).value)
    assert "not finite" in text_of(made.page)
    # The one that is no number is the worst: it loses against all three of B.
    chance = numbers.beats([arm], [made.tasks[0].arms[1]])
    assert chance.value == 6.5 / 12
    assert "Highest last return" not in text_of(made.page)
    check(made.page)


@pytest.mark.drawn
def test_nothing_hostile_becomes_html(
    run: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"commit": NASTY, "versions": {NASTY: NASTY, "x": ["\ud800"] * 10_000},
             "machine": [1], "mc_return": "many",
             "data": {"sha256": NASTY, "format": {"deep": NASTY * 1_000}}}  # fmt: skip
    told = evals(A, setting=f"{NASTY}\x1b[31m\u202e=1") + evals(A, setting="[red]=2")
    path = run(
        f"<img src=x onerror=a>[bold]{chr(7)}",
        told,
        watched(told),
        "cql",
        NASTY,
        about,
        data=plan.Data(f"/x/{NASTY.replace('/', '')}.hdf5"),
    )
    (path / "ended.json").write_text(json.dumps({"trouble": NASTY * 1_000}))
    out = tmp_path / "out"
    given = [str(path), f"nowhere{NASTY}", str(tmp_path / ("x" * 5_000)), "nul\0",
             "--out", str(out)]  # fmt: skip
    assert cli.main(["report", *given]) == 0
    page = (out / "index.html").read_text()
    check(out / "index.html")
    assert "<img" not in page
    assert not re.search("[\x00-\x08\x1b\u202e\ud800-\udfff]", page)
    assert len(page) < 400_000
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    for name in ("seeds", "curves", "q"):
        assert rows(out, name)


def test_a_formula_is_text_in_a_table() -> None:
    from softq.pages.files import _cell

    assert [_cell(x) for x in ("=1+1", "@a", "-3", "ok", -3.5, 7)] == [
        "'=1+1", "'@a", "'-3", "ok", -3.5, 7]  # fmt: skip


def test_more_than_anyone_reads_is_cut_and_said() -> None:
    task = arms.Task("E", "", "", [None] * 50)  # type: ignore[list-item]
    kept, told = build._bounded([task] * 13)
    assert (len(kept), len(kept[0].arms)) == (12, 40)
    assert told == [
        "13 tasks: the first 12 are shown",
        "of each task the first 40 arms are shown",
    ]


@pytest.mark.drawn
def test_bad_input(
    run: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert cli.main(["report"]) == 2
    assert "report on which runs? Try: softq report runs/*" in capsys.readouterr().err
    path = str(run("a", evals(A)))
    (tmp_path / "file").write_text("mine")
    assert cli.main(["report", path, "--out", str(tmp_path / "file")]) == 2
    assert f"cannot write to {tmp_path / 'file'}" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["report", path, "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "softq[plot]"' in capsys.readouterr().err


def test_everything_but_html_is_escaped() -> None:
    found = markup.tag(
        "p", "<b>", markup.tag("b", "&"), title='"<', class_="x", id=None
    )
    assert found == '<p title="&quot;&lt;" class="x">&lt;b&gt;<b>&amp;</b></p>'
