"""A grid of changed worlds: every combination played, worst and mean, pictures."""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

import softq
from softq import cli, robustness
from softq.envs import perturb
from softq.figures import draw
from softq.types import SoftqError

CELLS = [
    {
        "world": {"mass": m, "delay": d},
        "greedy": {"return": m * 10 - d, "return_std": 1.0},
        "sampled": {"return": -m, "return_std": 0.5},
    }
    for m in (1.0, 2.0, 3.0)
    for d in (0.0, 4.0)
]


def test_the_summary_is_the_mean_and_the_worst_world() -> None:
    told = robustness.summary(CELLS)
    assert told["greedy"] == {
        "mean": 18.0, "worst": 6.0, "in": {"mass": 1.0, "delay": 4.0}
    }  # fmt: skip
    assert told["sampled"]["worst"] == -3.0
    assert told["sampled"]["in"]["mass"] == 3.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "pendulum"
    softq.train(
        "sac", env="Pendulum-v1", steps=20, learning_starts=10, eval_every=0,
        algo={"hidden": (8,)}, batch_size=8, out=out,
    )  # fmt: skip
    return out


def test_a_grid_plays_every_world_with_the_same_seeds(run: Path) -> None:
    policy = softq.load(run)
    changes = perturb.parse("mass=0.5,1,delay=0,2")
    cells = robustness.grid(policy, "Pendulum-v1", changes, episodes=2, seed=5)
    assert [c["world"] for c in cells] == perturb.worlds(changes)
    as_it_is = softq.evaluate(policy, "Pendulum-v1", 2, 5)
    assert cells[2]["greedy"] == as_it_is.greedy.summary()
    heavier = softq.evaluate(policy, "Pendulum-v1", 2, 5, {"mass": 0.5, "delay": 2.0})
    assert cells[1]["sampled"] == heavier.sampled.summary()
    assert len({c["greedy"]["return"] for c in cells}) == 4


def test_the_command_line_writes_what_it_shows(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["evaluate", str(run), "--episodes", "1", "--perturb"]
    assert cli.main([*asked, "gravity=0.5..2:2,obs-noise=0,0.1"]) == 0
    shown = capsys.readouterr().out
    assert "Pendulum-v1, 4 worlds" in shown
    told = json.loads((run / "robustness" / "gravity-obs-noise.json").read_text())
    assert len(told["cells"]) == 4
    assert f"{told['summary']['greedy']['worst']:,.1f}" in shown
    picture = run / "robustness" / "gravity-obs-noise.png"
    assert picture.stat().st_size > 5_000
    assert cli.main([*asked, "mass=2", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[0])["world"] == {"mass": 2.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [("friction=1", "has no friction. It has: gravity, mass, length"),
     ("mass", "without a name")],
)  # fmt: skip
def test_mistakes_are_told_and_nothing_is_written(
    run: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.rglob("*"))
    assert cli.main(["evaluate", str(run), "--perturb", text]) == 2
    assert told in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before


def test_what_is_missing_is_told_before_anything_is_played(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("softq.api.judge", None)  # who plays
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["evaluate", str(run), "--perturb", "mass=2"]) == 2
    assert 'pip install "softq[plot]"' in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("softq.api.judge", None)
    assert cli.main(["evaluate", str(run), "--perturb", "friction=2"]) == 2
    assert "has no friction" in capsys.readouterr().err


def test_seeds_and_settings_of_a_run_have_pictures_of_their_own(run: Path) -> None:
    asked = ["evaluate", str(run), "--episodes", "1", "--perturb", "length=2"]
    assert cli.main([*asked, "--run-seed", "0"]) == 0
    told = json.loads((run / "robustness" / "length-seed-0.json").read_text())
    assert (told["run_seed"], told["setting"]) == (0, 0)


def test_a_world_that_fails_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, action: Any) -> None:
        raise ZeroDivisionError("no mass")

    policy = softq.load(run)
    monkeypatch.setattr(PendulumEnv, "step", fail)
    with pytest.raises(SoftqError, match=r"^with mass 2: .* ZeroDivisionError in step"):
        robustness.grid(policy, "Pendulum-v1", {"mass": (2.0,)}, episodes=1)


def test_an_object_is_not_changed_under_its_owner(run: Path) -> None:
    env = gymnasium.wrappers.TimeLimit(PendulumEnv(), 5)
    with pytest.raises(SoftqError, match="a function that makes it"):
        softq.evaluate(softq.load(run), env, 1, perturb={"mass": 2.0})
    softq.evaluate(softq.load(run), env, 1)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SoftqError, match="cannot write"):
        robustness.write(CELLS, {"env": "E"}, tmp_path / "taken" / "x")


def test_heat_maps_show_the_worst_over_what_they_leave_out() -> None:
    axes = Axes()
    more = [c | {"world": c["world"] | {"slip": s}} for s in (0.0, 1.0) for c in CELLS]
    more[0] = more[0] | {"greedy": {"return": -99.0}}
    robustness._heat(axes, more, "greedy", ("mass", "delay"))
    np.testing.assert_array_equal(axes.shown, [[-99, 20, 30], [6, 16, 26]])
    assert axes.limits == (-99.0, 30.0)


def test_a_single_change_is_a_curve(tmp_path: Path) -> None:
    cells = [c | {"world": {"mass": c["world"]["mass"]}} for c in CELLS[::2]]
    robustness.picture(cells, tmp_path / "x.png", "E")
    assert (tmp_path / "x.png").stat().st_size > 10_000
    axes = draw.plots().figure().subplots()
    robustness._curve(axes, cells, "mass")
    greedy, sampled, now = axes.lines
    np.testing.assert_array_equal(greedy.get_xydata(), [[1, 10], [2, 20], [3, 30]])
    np.testing.assert_array_equal(sampled.get_ydata(), [-1, -2, -3])
    assert now.get_xdata()[0] == 1.0  # the world as it is
    assert axes.get_xscale() == "log"


class Axes:
    """What is drawn, kept."""

    def imshow(self, shown, vmin, vmax, **_):
        self.shown, self.limits = shown, (vmin, vmax)

    def __getattr__(self, name):
        return lambda *args, **options: None
