"""`softq report`: what a page says, holds and refuses, from runs made by hand."""

import csv
import html.parser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softq import cli, plan, traincli
from softq.pages import arms, build, charts, markup, numbers, runs
from softq.pages.card import command
from softq.published import D4RL, SAC, published
from softq.reference import normalised
from softq.statistics import improvement, interval, iqm
from softq.types import SoftqError, Spec

Lines = list[dict[str, Any]]
Maker = Callable[..., Path]
STEPS = (1_000, 2_000, 3_000)
NASTY = "<script>alert('x')</script>&\"$\\frac{"


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
        if used.startswith("#"):
            assert used[1:] in found.ids
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", text)
    assert 'name="viewport" content="width=device-width' in text
    assert len(text.encode()) <= 3_000_000
    return found


A = {0: [1.0, 5.0, 2.0], 1: [3.0, 9.0, 6.0], 2: [0.0, 4.0, 10.0]}
B = {0: [0.0, 1.0, 2.0], 1: [0.0, 1.0, 7.0], 2: [0.0, 1.0, -4.0]}


def test_the_numbers_are_the_statistics(run: Maker, tmp_path: Path) -> None:
    paths = [run("a", evals(A)), run("b", evals(B), algorithm="ddpg")]
    made = build.build(paths, tmp_path / "out")
    assert [arm.name for arm in made.tasks[0].arms] == ["sac", "ddpg"]
    curves = rows(tmp_path / "out", "curves")
    assert len(curves) == 6
    for k, row in enumerate(curves):
        values = [seed[k % 3] for seed in (A if k < 3 else B).values()]
        low, high = interval(values)
        assert [float(row[n]) for n in ("iqm", "low", "high")] == [
            iqm(values), low, high]  # fmt: skip
        assert (row["step"], row["seeds"]) == (str(STEPS[k % 3]), "3")
    ahead, behind = rows(tmp_path / "out", "improvement")
    last = [np.array([seed[-1] for seed in arm.values()]) for arm in (A, B)]
    assert float(ahead["probability"]) == improvement(*last) == 6.5 / 9
    assert float(behind["probability"]) == pytest.approx(2.5 / 9)
    assert 0 <= float(ahead["low"]) < 6.5 / 9 < float(ahead["high"]) <= 1
    seeds = rows(tmp_path / "out", "seeds")
    assert [float(row["greedy"]) for row in seeds[:3]] == A[0]
    assert {row["score"] for row in seeds} == {""}  # Pendulum has no scale
    shown = text_of(made.page)
    e = numbers.last(made.tasks[0].arms[0])
    assert f"Highest last return: sac, {e}. A run of it beats one of ddpg" in shown
    assert f"{numbers.short(e.low)} to {numbers.short(e.high)}" in shown
    assert "5.50 at 2,000" in shown  # the best step's: not the last
    assert "with probability 0.72 [" in shown


@pytest.mark.drawn
def test_a_page_is_whole(run: Maker, tmp_path: Path) -> None:
    about = {"mc_return": 20.0, "commit": "abc", "versions": {"jax": "1"},
             "data": {"sha256": "f00d", "transitions": 7}}  # fmt: skip
    data = {"data": plan.Data("/x/hopper_medium-v2.hdf5"), "env": "Hopper-v5"}
    paths = [run(name, evals(A), watched(evals(A)), name, about=about, **data)
             for name in ("cql", "iql")]  # fmt: skip
    first = build.build(paths, tmp_path / "out")
    found = check(first.page)
    assert found.tags.count("figure") == 6  # curve, profile, returns, two Q, the gap
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == [
        "1-curve.png",
        "1-gap.png",
        "1-monitor-1.png",
        "1-monitor-2.png",
        "1-profile.png",
        "1-returns.png",
    ]
    assert set(first.files) == set((tmp_path / "out").iterdir())
    shown = text_of(first.page)
    for words in ("f00d", "abc", "data: transitions 7", "version of jax 1"):
        assert words in shown
    assert "softq train cql --data /x/hopper_medium-v2.hdf5" in shown
    # Q of the policy is 3,050 at the end; the data returned 20.
    assert "3,050 0.50 20.0 +3,030 2.00 –" in shown
    # 59.08 ± 3.77 is CORL's of CQL on this dataset, and our own stands beside it.
    told = [normalised("hopper-medium-v2", x) for x in (2.0, 6.0, 10.0)]
    ours = numbers.estimate(np.array(told))
    assert f"hopper-medium-v2 the end {ours} 59.1 ± 3.77 4 corl-team/CORL" in shown
    assert "here that is a convention" not in shown  # the dataset has its own scale


@pytest.mark.drawn
def test_a_picture_is_the_same_each_time(run: Maker, tmp_path: Path) -> None:
    path = run("a", evals(A))
    (task,), _ = arms.tasks([runs.read(path)])
    drawn = [charts.learning(charts.Studio(tmp_path, [task]), "x", task)
             for _ in range(2)]  # fmt: skip
    assert drawn[0] == drawn[1]
    assert "sac ends at 6.00 [2.00, 10.0]" in drawn[0].alt
    assert drawn[0].svg.count("var(--c0)") >= 5  # a band, three seeds and their mean


def test_the_ledger_adds_up(run: Maker, tmp_path: Path) -> None:
    made = build.build([run("a", evals(A))], tmp_path / "out")
    told = numbers.ledger(made.tasks[0].arms[0])
    assert told == pytest.approx((6.0, -4.0, 3.0, -1.0, 30.0))
    assert "6.00 −4.00 +3.00 −1.00 30.0" in text_of(made.page)
    assert "Conservatism" not in text_of(made.page)  # there is no Q to watch
    assert "Probability" not in text_of(made.page)  # and nobody to compare with
    assert not (tmp_path / "out" / "q.csv").exists()


def test_one_seed_has_no_interval(run: Maker, tmp_path: Path) -> None:
    one = {4: A[0]}
    paths = [run("a", evals(one)), run("b", evals(one), algorithm="ddpg")]
    made = build.build(paths, tmp_path / "out")
    shown = text_of(made.page)
    assert "one seed" in shown
    assert "An arm of one seed has no interval" in shown
    assert "nan" not in made.page.read_text().lower()
    assert " to " not in shown.partition("Greedy return")[2].partition("Return")[0]
    assert "profile" not in shown.partition("footer")[0].lower().replace(
        "performance profiles", ""
    )
    assert rows(tmp_path / "out", "curves")[0]["low"] == ""
    check(made.page)


def test_folders_of_a_seed_each_are_one_arm(run: Maker, tmp_path: Path) -> None:
    paths = [run(f"s{seed}", evals({seed: A[seed]}), seed=seed) for seed in A]
    made = build.build(paths, tmp_path / "out")
    (arm,) = made.tasks[0].arms
    assert (arm.name, len(arm.lanes), made.said) == ("sac", 3, [])
    assert float(rows(tmp_path / "out", "curves")[2]["iqm"]) == iqm([2.0, 6.0, 10.0])


def test_the_same_seeds_twice_are_two_arms(run: Maker, tmp_path: Path) -> None:
    paths = [run("old", evals(A)), run("new", evals(B)), run("new/deep", evals(A))]
    made = build.build([*paths, paths[0]], tmp_path / "out")  # one of them given twice
    names = [arm.name for arm in made.tasks[0].arms]
    assert names == ["sac, old", "sac, new", "sac, new/deep"]


def test_an_arm_is_named_by_what_differs(run: Maker, tmp_path: Path) -> None:
    sweep = evals(A, setting="gap_weight=1") + evals(B, setting="gap_weight=5")
    data = {"data": plan.Data("/x/d.hdf5"), "algorithm": "cql", "env": "Hopper-v5"}
    paths = [
        run("swept", sweep, sweep={"gap_weight": [1, 5]}, **data),
        run("more", evals({7: A[0]}), algo={"gap_weight": 5.0}, seed=7, **data),
        run("lr", evals(A), algo={"lr": 0.5}, log_every=7, **data),
        run("bc", evals(A), **(data | {"algorithm": "bc"})),
        # Another task, where batches are smaller: its own, not the method's.
        run("x", evals(A), batch_size=8, **(data | {"data": plan.Data("/x/e.hdf5")})),
    ]  # fmt: skip
    made = build.build(paths, tmp_path / "out")
    assert [task.title for task in made.tasks] == [
        "d.hdf5, in Hopper-v5",
        "e.hdf5, in Hopper-v5",
    ]
    seeds = {arm.name: len(arm.lanes) for arm in made.tasks[0].arms}
    assert seeds == {"cql lr=0.0003 gap_weight=1": 3, "cql lr=0.0003 gap_weight=5": 4,
                     "cql lr=0.5 gap_weight=5": 3, "bc": 3}  # fmt: skip
    assert [arm.name for arm in made.tasks[1].arms] == ["cql lr=0.0003 gap_weight=5"]
    told = dict(numbers.differences(made.tasks)[1])
    assert told.keys() == {"algorithm", "algo.hidden", "algo.lr", "algo.gap_weight",
                           "loop.batch_size"}  # fmt: skip
    assert told["algo.hidden"] == ["256 256 256"] * 3 + ["256 256", "256 256 256"]
    assert told["algo.gap_weight"] == ["1", "5", "5", "–", "5"]
    shared = numbers.shared(made.tasks)
    assert list(shared) == ["cql lr=0.0003 gap_weight=5"]
    styles = charts.Studio(tmp_path, made.tasks).styles
    assert len({*styles.values()}) == 4


def test_many_differences_are_named_by_the_folder(run: Maker, tmp_path: Path) -> None:
    changed = {"polyak": 0.1, "lr": 0.1, "discount": 0.5, "hidden": (8,)}
    paths = [run("plain", evals(A)), run("wild", evals(A), algo=changed),
             run("b/wild", evals(B), algo=changed | {"lr": 0.2})]  # fmt: skip
    made = build.build(paths, tmp_path / "out")
    names = [arm.name for arm in made.tasks[0].arms]
    assert names == ["sac, plain", "sac, wild", "sac, b/wild"]


def test_common_steps_are_shown_and_said(run: Maker, tmp_path: Path) -> None:
    short = run("short", evals({0: A[0]}, (1_000, 2_000, 2_500)))
    long = run("long", evals({1: A[1]}), seed=1)
    made = build.build([short, long], tmp_path / "out")
    assert made.tasks[0].arms[0].steps == [1_000, 2_000]
    assert "the 2 steps that all have are shown, up to 2,000 of 3,000" in made.said[0]
    assert "To bear in mind sac: its seeds have different" in text_of(made.page)
    never = run("never", evals({1: A[1]}, (7, 8, 9)), algorithm="ddpg", seed=1)
    other = run("other", evals({0: A[0]}), algorithm="ddpg")
    made = build.build([long, never, other], tmp_path / "out")
    assert [arm.name for arm in made.tasks[0].arms] == ["sac"]
    assert "ddpg: its seeds were never evaluated at the same step" in made.said
    early = run("early", evals(B, (10, 20, 30)), algorithm="ddpg", env="Pendulum-v1")
    made = build.build([long, early], tmp_path / "out")
    assert "last evaluated at different steps, from 30 to 3,000" in text_of(made.page)


def test_pooled_runs_of_different_makes_are_said(run: Maker, tmp_path: Path) -> None:
    paths = [run("a", evals({0: A[0]})), run("b", evals({1: A[1]}), seed=1)]
    config = json.loads((paths[1] / "config.json").read_text())
    (paths[1] / "config.json").write_text(json.dumps(config | {"commit": "other"}))
    assert build.build(paths, tmp_path / "o").said == ["sac: its runs differ in commit"]


def test_tasks_with_a_scale_and_without(run: Maker, tmp_path: Path) -> None:
    every = [run(f"{env}-{name}", evals(told), algorithm=name, env=env)
             for env in ("Hopper-v5", "Walker2d-v5")
             for name, told in (("sac", A), ("ddpg", B))]  # fmt: skip
    made = build.build(every, tmp_path / "out")
    shown = text_of(made.page)
    scored = [np.array([normalised(env, x) for x in (2.0, 6.0, 10.0)])
              for env in ("Hopper-v5", "Walker2d-v5")]  # fmt: skip
    e = numbers.Estimate(iqm(np.concatenate(scored)), *interval(scored))
    assert f"sac {numbers.short(e.value)} {numbers.short(e.low)} to" in shown
    assert "here that is a convention" in shown
    assert "over all tasks" in made.page.read_text()
    found = numbers.beats(*[numbers.shared(made.tasks)[n] for n in ("sac", "ddpg")])
    assert found.value == 6.5 / 9
    check(made.page)
    every += [run("p-sac", evals(A)), run("p-ddpg", evals(B), algorithm="ddpg")]
    shown = text_of(build.build(every, tmp_path / "more").page)
    assert "Over 3 tasks No normalised scores over tasks: there is no scale" in shown
    assert shown.index("averaged over tasks") < shown.index("on this task")


def test_published_figures_and_where_they_apply(run: Maker, tmp_path: Path) -> None:
    assert [p.mean for p in published("sac", "Pendulum-v1")] == [-157.0]
    assert published("ddpg", "Pendulum-v1") == []
    assert published("sac", "Pendulum-v1", "pendulum-v2") == []
    found = published("sac", "HalfCheetah-v4")
    exact = [(p.steps, p.mean, p.std) for p in found if p.exact]
    assert exact[3] == (1_000_000, 11321.0, 1108.0)  # SimbaV2's, ten seeds
    assert {p.task for p in found} == {f"HalfCheetah-v{n}" for n in (2, 3, 4)}
    (iql,) = (p for p in published("iql", "", "antmaze-umaze-v2") if p.exact)
    assert (iql.mean, iql.std, iql.unit) == (77.0, 5.52, "score")
    for (source, name), figures in SAC.items():
        assert len(figures.split()) == len(source.steps), name
    assert all(len(figures.split()) == 4 for figures in D4RL.values())
    steps = (10_000, 20_000, 300_000)
    paths = [run("p", evals(A, steps)), run("h", evals(A, steps), env="Hopper-v5")]
    made = build.build(paths, tmp_path / "out")
    pendulum, hopper = made.tasks
    (one,) = numbers.anchors(pendulum, pendulum.arms[0])
    at_20k = numbers.estimate(np.array([5.0, 9.0, 4.0]))
    assert numbers.ours(pendulum, pendulum.arms[0], one) == at_20k
    shown = text_of(made.page)
    assert f"sac Pendulum-v1 20,000 {at_20k} −157.0 ± 88.7 1 DLR-RM" in shown
    rest = numbers.anchors(hopper, hopper.arms[0])
    assert {(p.task, p.steps) for p in rest} == {
        ("Hopper-v4", 300_000),
        ("Hopper-v2", 300_000),
    }
    assert "sac Hopper-v4 300,000 another version 2,160 ± 1,034 10 DAVIAN" in shown
    made = build.build([run("d", evals(A), algorithm="ddpg")], tmp_path / "d")
    assert "None that applies" in text_of(made.page)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seeds": 3, "seed": 5, "sweep": {"lr": [0.1, 0.25]}},
        {"algo": {"hidden": (8, 9), "alpha": 0.5}, "random_start": False, "utd": 2},
        {"data": plan.Data("a b/d.hdf5", 2.0, -1.0, True), "eval_every": 7,
         "algorithm": "cql", "algo": {"backup_entropy": True, "gap": "rho"}},
        {"data": plan.Data("d.hdf5"), "algorithm": "calql", "finetune_steps": 9,
         "finetune_env": "Pendulum-v1"},
    ],
)  # fmt: skip
def test_a_cards_command_asks_for_the_same_plan(options: dict[str, Any]) -> None:
    name = options.pop("algorithm", "sac")
    made = plan.build(name, "Pendulum-v1", options)
    words = shlex.split(command(made))
    assert words[:2] == ["softq", "train"]
    assert traincli.planned(words[2:])[0] == made


def test_what_only_python_can_ask_for_has_no_command() -> None:
    assert command(plan.build("sac", "python:Mine", {})) == ""
    assert command(plan.build("bc", "", {"data": plan.Data("python:arrays")})) == ""


def test_on_in_an_environment(run: Maker, tmp_path: Path) -> None:
    options = {"data": plan.Data("/x/d.hdf5"), "finetune_env": "Pendulum-v1",
               "finetune_steps": 2_000, "steps": 1_000}  # fmt: skip
    made = build.build(
        [run("a", evals(A), algorithm="calql", **options)], tmp_path / "o"
    )
    assert "d.hdf5, then Pendulum-v1, in Pendulum-v1" in text_of(made.page)
    assert charts.unit(made.tasks[0].arms) == "updates, then environment steps"


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
    path = run("going", evals(A), watched(evals(A)))
    with (path / "evals.jsonl").open("a") as file:
        file.write('{"step": 4000, "se')
    (path / "ended.json").write_text('{"trouble": "Q has <b>diverged</b>"}')
    made = build.build([path], tmp_path / "out")
    assert made.said == [
        "going: evals.jsonl ends in half a line, left out",
        "going: the run ended early: Q has <b>diverged</b>",
    ]
    assert len(rows(tmp_path / "out", "seeds")) == 9
    check(made.page)
    (path / "metrics.jsonl").write_text("{\n")
    said = build.build([path], tmp_path / "out").said
    assert said[1].startswith("going: no monitor of Q: ")
    assert "metrics.jsonl, line 1 is damaged" in said[1]


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


@pytest.mark.drawn
def test_much_stays_small(
    run: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "interval", lambda s: interval(s, draws=20))
    monkeypatch.setattr(numbers, "improvement_interval", lambda x, y: (0.1, 0.9))
    steps = tuple(range(1, 131))
    noise = np.random.default_rng(0).normal(size=(2, 130)).tolist()
    returns = dict(enumerate(noise))
    told = evals(returns, steps)
    paths = [run(f"r{k}", told, watched(told)[: 500 * (k < 2)], "cql",
                 algo={"gap_weight": 1.0 + k}, data=plan.Data("/x/d.hdf5"))
             for k in range(14)]  # fmt: skip
    made = build.build(paths, tmp_path / "out")
    assert check(made.page).tags.count("figure") == 3 + 2 + 1
    assert len(made.tasks[0].arms) == 14
    assert len(rows(tmp_path / "out", "curves")) == 14 * 130
    assert made.page.stat().st_size < 1_500_000


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


@pytest.mark.parametrize(
    ("value", "told"),
    [(12345.6, "12,346"), (-123.45, "−123.5"), (0.126, "0.13"), (2e7, "2e+07"),
     (float("nan"), "–"), (float("inf"), "–")],
)  # fmt: skip
def test_numbers_are_short(value: float, told: str) -> None:
    assert numbers.short(value) == told


def test_few_places_keep_the_ends() -> None:
    assert numbers.thinned(3, 5) == [0, 1, 2]
    assert numbers.thinned(100, 4) == [0, 33, 66, 99]


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.mark.drawn
def test_a_browser_shows_it_offline(run: Maker, tmp_path: Path) -> None:
    """At a telephone's width: nothing is wider than the page, nothing complains."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium here")
    about = {"mc_return": 20.0}
    paths = [run(name, evals(A), watched(evals(A)), name, "Hopper-v5", about,
                 data=plan.Data("/x/hopper_medium-v2.hdf5"))
             for name in ("cql", "iql", "td3_bc")]  # fmt: skip
    page = build.build(paths, tmp_path / "out").page
    # A frame has the width of a telephone, which a window of Chromium cannot have.
    frame = tmp_path / "frame.html"
    frame.write_text(f"""
        <iframe id=f src="{page.as_uri()}" width=390 height=844></iframe>
        <script>onload = () => {{
          const d = document.getElementById('f').contentDocument;
          const fits = [...d.querySelectorAll('figure,p,h1,h2,h3,li,.scroll')].every(
            e => e.getBoundingClientRect().right <= 390);
          const drawn = d.querySelectorAll('figure svg path').length > 20;
          document.title = [d.documentElement.scrollWidth <= 390, fits, drawn].join();
        }}</script>""")
    told = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu",
         "--virtual-time-budget=3000",
         "--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "<title>true,true,true</title>" in told.stdout, told.stderr[-2_000:]
    assert "CONSOLE" not in told.stderr
