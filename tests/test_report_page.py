"""`softq report`: what a page says and shows, from runs made by hand."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
from reports import STEPS, A, B, Maker, check, evals, rows, text_of, watched

from softq import plan, traincli
from softq.pages import arms, build, charts, numbers, runs
from softq.pages.card import command
from softq.published import D4RL, SAC, published
from softq.reference import normalised
from softq.statistics import improvement, interval, iqm

run, undrawn = reports.run, reports.undrawn  # fixtures


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
    assert f"cql {ours} 59.08 ± 3.77 hopper-medium-v2 the end 4 corl-team/CORL" in shown
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
    paths = [run("old", evals(A)), run("new", evals(B)), run("deep/new", evals(A))]
    made = build.build([*paths, paths[0]], tmp_path / "out")  # one of them given twice
    names = [arm.name for arm in made.tasks[0].arms]
    assert names == ["sac, old", "sac, new", "sac, deep/new"]


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
    more = run("more", evals({3: A[0]}), algo=changed, seed=3)  # of "wild" a seed more
    made = build.build([*paths, more], tmp_path / "out")
    seeds = [[lane.seed for lane in arm.lanes] for arm in made.tasks[0].arms]
    assert seeds == [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2]]


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
    paths.append(run("c", evals({0: A[0]}), env="Walker2d-v5"))
    (told,) = build.build(paths, tmp_path / "p").said
    assert told.endswith(", sac: its runs differ in commit")  # in which environment
    assert not told.startswith("Walker2d-v5")


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
    assert f"sac {at_20k} −157 ± 88.7 Pendulum-v1 20,000 1 DLR-RM" in shown
    rest = numbers.anchors(hopper, hopper.arms[0])
    assert {(p.task, p.steps) for p in rest} == {
        ("Hopper-v4", 300_000),
        ("Hopper-v2", 300_000),
    }
    assert "sac another version 2,160 ± 1,034 Hopper-v4 300,000 10 DAVIAN" in shown
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
    data = plan.Data("hopper_medium-v2.hdf5")
    fixed = {"algorithm": "iql", "env": "Hopper-v5", "data": data}
    online = {**fixed, "finetune_env": "Hopper-v5", "finetune_steps": 10}
    steps = (10_000, 500_000, 1_000_000)
    for options, found in ((fixed, True), (online, False)):
        path = run(f"iql-{found}", evals(A, steps), steps=1_000_000, **options)
        (task,) = build.build([path], tmp_path / "o").tasks
        assert bool(numbers.anchors(task, task.arms[0])) is found


@pytest.mark.drawn
def test_much_stays_small(
    run: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "interval", lambda s: interval(s, draws=20))
    monkeypatch.setattr(numbers, "improvement_interval", lambda x, y: (0.1, 0.9))
    monkeypatch.setattr(charts, "profile_band", lambda s, at: (0 * at, 0 * at + 1))
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
