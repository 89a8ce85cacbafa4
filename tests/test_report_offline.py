"""The pictures and tables of runs on data, from records made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from rich.console import Console

from softq import plan, plots, records, report
from softq.pages import arms, numbers, runs
from softq.reference import normalised
from softq.statistics import interval, iqm
from softq.types import SoftqError, Spec

Records = list[dict[str, Any]]
SWEEP = ("gap_weight=0.5", "gap_weight=5")
STEPS = (100, 200, 300)


def told(settings: tuple[str, ...], seeds: int, steps: tuple[int, ...]) -> Records:
    """Evaluations; the return of a lane is its own number plus its step."""
    made: Records = []
    for step in steps:
        for k, setting in enumerate(settings):
            for seed in range(seeds):
                ret = 1000.0 * k + 100.0 * seed**2 + step
                names = ("return", "return_std", "entropy", "soft", "length")
                one = dict(zip(names, (ret, 5.0, 2.0, ret + 1, 9.0), strict=True))
                record = {"step": step, "seed": seed, "greedy": one, "sampled": one}
                made.append(record | ({"setting": setting} if setting else {}))
    return made


def watched(records: Records, **metrics: float) -> Records:
    """Metrics of the same lanes at the same steps."""
    base = {"q_data": 1.0, "q_policy": 2.0, "q_uniform": 0.5, **metrics}
    kept = ("step", "seed", "setting")
    return [{k: r[k] for k in kept if k in r} | base for r in records]


def run(folder: Path, evals: Records, metrics: Records, **options: Any) -> Path:
    """The folder of a run that ended, as far as a report looks at it."""
    given = {"data": plan.Data("/x/hops.hdf5"), "steps": 300, **options}
    folder.mkdir()
    made = plan.build("cql", "Hopper-v5", given)
    plan.write(folder, made, Spec((3,), low=(-1.0,), high=(1.0,)), {})
    for name, rows in (("evals", evals), ("metrics", metrics)):
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figures, by the names of their files; they are still written."""
    made: dict[str, Any] = {}
    finish = plots._finish

    def kept(figure: Any, axes: Any, title: str, path: Path) -> None:
        finish(figure, axes, title, path)
        made[path.name] = figure

    monkeypatch.setattr(plots, "_finish", kept)
    return made


def lines(figure: Any, panel: int = 0) -> list[Any]:
    return [x for x in figure.axes[panel].lines if len(x.get_xdata())]


def legend(figure: Any, panel: int = 0) -> list[str]:
    return [x.get_text() for x in figure.axes[panel].get_legend().get_texts()]


@pytest.mark.parametrize("settings", [("",), SWEEP], ids=["one", "sweep"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_picture_of_each(
    settings: tuple[str, ...], seeds: int, tmp_path: Path, drawn: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    evals = told(settings, seeds, STEPS)
    path = run(tmp_path / "run", evals, watched(evals, gap=3.0, gap_factor=1.0))
    report.after(path)
    shown = capsys.readouterr().out
    for name in ("learning_curve.png", "monitor.png"):
        picture = path / "plots" / name
        assert str(picture) in "".join(shown.split("\n"))
        assert pyplot.imread(picture).shape[2] == 4
    assert pyplot.get_fignums() == []  # all are closed
    curve, monitor = drawn["learning_curve.png"], drawn["monitor.png"]
    kinds = list(SWEEP) if len(settings) > 1 else ["greedy", "sampled"]
    assert legend(curve) == kinds
    bold = [x for x in lines(curve) if x.get_linewidth() == 2]
    assert len(lines(curve)) == len(kinds) * (seeds + 1)
    for k, line in enumerate(bold):
        ours = [r for r in evals if r.get("setting", "") in ("", kinds[k])]
        want = [np.mean([r["greedy"]["return"] for r in ours if r["step"] == s])
                for s in STEPS]  # fmt: skip
        np.testing.assert_allclose(line.get_ydata(), want)
    title = curve.axes[0].get_title(loc="left")
    assert title.startswith("cql on hops.hdf5, in Hopper-v5")
    assert curve.axes[0].get_xlabel() == "updates"
    assert len(lines(monitor)) == 3 * seeds * len(settings)
    assert legend(monitor) == ["the data's actions", "the policy's", "uniform ones"]
    assert legend(monitor, 1) == ["gap", *(SWEEP if len(settings) > 1 else ())]
    styles = {x.get_linestyle() for x in lines(monitor, 1)}
    assert len(styles) == len(settings)


def test_a_learned_factor_a_bare_q_and_no_q(
    tmp_path: Path, drawn: dict[str, Any]
) -> None:
    evals = told(("",), 1, STEPS)
    report.after(run(tmp_path / "a", evals, watched(evals, gap=3.0, gap_factor=0.2)))
    assert legend(drawn["monitor.png"], 1) == ["gap", "α'"]
    report.after(run(tmp_path / "b", evals, watched(evals)))
    assert len(drawn["monitor.png"].axes) == 1
    bare = [{"step": 100, "seed": 0, "loss": 1.0}]  # behaviour cloning has no Q
    report.after(run(tmp_path / "c", [], bare))
    assert not (tmp_path / "c" / "plots").exists()


def test_one_point_is_seen(tmp_path: Path, drawn: dict[str, Any]) -> None:
    evals = told(("",), 1, (100,))
    report.after(run(tmp_path / "a", evals, watched(evals)))
    assert lines(drawn["monitor.png"])[0].get_marker() == "o"
    assert "o" in {x.get_marker() for x in lines(drawn["learning_curve.png"])}


def test_on_in_an_environment(tmp_path: Path, drawn: dict[str, Any]) -> None:
    evals = told(("",), 2, (150, 300, 450))
    path = run(tmp_path / "run", evals, watched(evals[:4]), finetune_env="Hopper-v5",
               finetune_steps=300)  # fmt: skip
    report.after(path)
    axes = drawn["learning_curve.png"].axes[0]
    assert axes.get_xlabel() == "updates, then environment steps"
    turn = [x for x in axes.lines if x.get_linestyle() == ":"]
    assert [list(x.get_xdata()) for x in turn] == [[300, 300]]
    assert max(drawn["monitor.png"].axes[0].lines[0].get_xdata()) == 300


def text(table: Any, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


@pytest.mark.parametrize("env", ["Hopper-v5", "Pendulum-v1"])
def test_the_summary_is_the_statistics(env: str) -> None:
    evals = told(SWEEP, 5, STEPS)
    for r in evals:  # the best step is the second
        ret = r["greedy"]["return"] - abs(r["step"] - 200)
        r["greedy"] = r["greedy"] | {"return": ret}
    shown = text(report.summary(evals, env))
    for setting in SWEEP:
        row = next(x for x in shown.splitlines() if setting in x)
        ours = [r for r in evals if r["setting"] == setting]
        found = {s: [r["greedy"]["return"] for r in ours if r["step"] == s]
                 for s in STEPS}  # fmt: skip
        cells = [found[300], found[200]]
        if env == "Hopper-v5":
            cells.append([normalised(env, x) or 0.0 for x in found[300]])
        for scores in cells:
            low, high = interval(scores)
            assert f"{iqm(scores):,.1f} [{low:,.1f}, {high:,.1f}]" in row
        assert "│     5 │" in row
    assert ("score" in shown) == (env == "Hopper-v5")


def test_one_seed_has_no_interval() -> None:
    shown = text(report.summary(told(SWEEP, 1, STEPS), "Pendulum-v1"))
    assert "nan" not in shown
    assert "1,300.0" in shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_is_cut_short(width: int) -> None:
    evals = told(SWEEP, 2, STEPS)
    for table in (report.table(evals), report.summary(evals, "Hopper-v5")):
        assert "…" not in text(table, width)


def test_a_run_of_an_older_softq(tmp_path: Path, drawn: dict[str, Any]) -> None:
    path = run(tmp_path / "run", told(("",), 1, STEPS), [], data=None)
    content = json.loads((path / "config.json").read_text())
    for unknown_then in ("data", "finetune_env", "finetune_steps", "sweep"):
        del content["plan"][unknown_then]
    (path / "config.json").write_text(json.dumps(content))
    report.after(path)
    title = drawn["learning_curve.png"].axes[0].get_title(loc="left")
    assert title.startswith("cql on Hopper-v5")


def test_the_monitor_is_of_every_seed_of_an_arm(tmp_path: Path) -> None:
    """A sweep's setting and a plain run with that knob are one arm, in any order."""
    knobs = ("gap_weight=1", "gap_weight=5")
    swept, more = told(knobs, 2, STEPS), told(("",), 2, STEPS)
    for record in more:
        record["seed"] += 7
    paths = [
        run(tmp_path / "swept", swept, watched(swept, q_data=10.0), seeds=2,
            sweep={"gap_weight": [1.0, 5.0]}),
        run(tmp_path / "more", more, watched(more, q_data=1_000.0), seeds=2, seed=7,
            algo={"gap_weight": 5.0}),
    ]  # fmt: skip
    for order in (paths, paths[::-1]):
        found, _ = arms.tasks([runs.read(path) for path in order])
        (arm,) = (one for one in found[0].arms if len(one.lanes) == 4)
        assert sorted(seed for _, seed in numbers.watched(arm)) == [0, 1, 7, 8]
        promise = numbers.promise(arm)
        assert promise is not None
        assert promise.data == 505.0


def test_settings_with_long_names_stay_apart(tmp_path: Path) -> None:
    names = [", ".join(f"some_knob_{k}={k}.25" for k in range(9)) + f", last={n}"
             for n in (1, 2)]  # fmt: skip
    path = run(tmp_path / "long", told(tuple(names), 1, STEPS), [])
    assert len({record["setting"] for record in runs.read(path).evals}) == 2


@pytest.mark.parametrize(
    "line", ['{"step": 3, "se', "[1]", '{"step": 1}', '{"step": 1, "seed": 0}']
)
def test_a_damaged_run_is_listed_as_such_and_the_rest_goes_on(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a[b]", "c[lr=1]"):
        run(tmp_path / name, told(("",), 1, STEPS), [])
    bad = tmp_path / "a[b]"
    with (bad / "evals.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(SoftqError, match=r"evals\.jsonl, line 4"):
        records.best_step(records.evaluations(bad))
    report.listing(tmp_path)
    shown = "".join(capsys.readouterr().out.split())
    assert "a[b]" in shown
    assert "line4" in shown
    assert "c[lr=1]step300:" in shown


def test_the_best_step_has_the_highest_mean_and_a_nan_has_the_lowest() -> None:
    evals = told(("",), 2, STEPS)  # returns grow with the steps
    assert records.best_step(evals) == 300
    for record in evals[2:4]:  # those of step 200
        record["greedy"]["return"] += 1_000.0
    assert records.best_step(evals) == 200
    evals[2]["greedy"]["return"] = float("nan")
    assert records.best_step(evals) == 300
    assert records.best_step([]) is None
