"""`softq solve` and `softq reproduce`, as a person types them."""

import json
from pathlib import Path

import numpy as np
import pytest

import softq
from softq import cli, solve, tabular
from softq.figures import FIGURES, maze, theorem_cql
from softq.types import SoftqError

matplotlib = pytest.importorskip("matplotlib", reason="needs softq[plot]")


@pytest.mark.parametrize("name", [*solve.NAMES])
def test_every_named_table_is_there(name: str) -> None:
    mdp = solve.table(name, 0.9)
    assert mdp.discount == 0.9
    assert mdp.start.sum() == pytest.approx(1.0)


def test_a_table_comes_from_a_file(tmp_path: Path) -> None:
    one = tabular.garnet(0, 4, 2, 2, 0.5)
    tabular.save(one, tmp_path / "mine.npz")
    found = solve.table(str(tmp_path / "mine.npz"), 0.9)
    np.testing.assert_array_equal(found.prob, one.prob)
    (tmp_path / "mine.txt").write_text("S.\n.G\n")
    assert solve.table(str(tmp_path / "mine.txt"), 0.9, 0.0).prob.shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("name", "says"),
    [("frozenlak", "Did you mean frozenlake"), ("x.txt", "x.txt cannot be read"),
     ("zzzz", "There are: frozenlake"), ("x.npz", "holds no table")],
)  # fmt: skip
def test_a_table_that_is_not_there_is_refused(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SoftqError, match=says):
        solve.table(name, 0.9)


@pytest.mark.parametrize("method", ["soft-vi", "soft-pi", "cql"])
def test_a_table_is_solved_from_the_command_line(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(solve, "ALPHAS", np.array([0.1, 1.0]))
    out = tmp_path / "out"
    command = ["solve", method, "--mdp", "frozenlake", "--discount", "0.9", "--out"]
    assert cli.main([*command, str(out)]) == 0
    said = capsys.readouterr().out
    assert "true error, at most" in said
    assert ("the optimum's value" in said) == (method == "cql")
    names = {"map.png", "convergence.png", "solution.npz", "solve.json"}
    assert {p.name for p in out.iterdir()} == names
    mdp = tabular.from_gymnasium("FrozenLake-v1", 0.9)
    best = tabular.soft_policy_iteration(mdp, 0.1, 1e-10)
    with np.load(out / "solution.npz") as found:
        if method == "cql":
            assert (found["v"] < best.v + 1e-8).all()
        else:
            np.testing.assert_allclose(found["q"], best.q, atol=1e-8)
    record = json.loads((out / "solve.json").read_text())
    assert record["method"] == method
    assert record["error"] <= 1e-8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--alpha", "-1"], "zero or more; found -1"),
     (["--tol", "1e-30"], "cannot be certified"),
     (["--discount", "1.0"], "every policy to terminate")],
)  # fmt: skip
def test_what_cannot_be_solved_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["solve", "soft-pi", "--mdp", "frozenlake", "--out", str(tmp_path / "o")]
    assert cli.main([*command, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_maze_keeps_both_routes(tmp_path: Path) -> None:
    numbers = maze.make(tmp_path)
    assert (tmp_path / "maze.png").stat().st_size > 10_000
    soft, greedy = numbers["soft"], numbers["greedy"]
    for route in ("upper", "lower"):
        assert 0.3 <= soft[route] <= 0.7
    assert soft["upper"] + soft["lower"] == pytest.approx(1.0)
    assert soft["arrives"] >= 0.4
    assert greedy["upper"] == pytest.approx(1.0)
    assert greedy["arrives"] == pytest.approx(0.0, abs=1e-12)


def test_the_mazes_shares_and_arrivals_are_those_of_walks() -> None:
    mdp = maze.build(maze.MAP)
    walled = maze.build(maze.WALLED)
    policy = tabular.soft_policy_iteration(mdp, maze.TEMPERATURE, 1e-6).policy
    rng, n = np.random.default_rng(0), 4_000
    assert mdp.cells is not None
    s, first = np.full(n, int(mdp.start.argmax())), np.zeros(n, int)
    for _ in range(600):
        a = (rng.random((n, 1)) > policy[s].cumsum(-1)).sum(-1).clip(max=3)
        s = np.where(first != 0, s, mdp.next_state[s, a, 0])
        row, column = mdp.cells[s].T
        first = np.where((first == 0) & (column == 3), np.where(row == 1, 1, 2), first)
    upper, _ = maze.shares(mdp, policy)
    assert (first == 1).mean() == pytest.approx(upper, abs=0.03)
    moved = maze.transfer(policy, mdp, walled)
    s, done = np.full(n, int(walled.start.argmax())), np.zeros(n, bool)
    for _ in range(maze.STEPS):
        a = (rng.random((n, 1)) > moved[s].cumsum(-1)).sum(-1).clip(max=3)
        done |= ~done & walled.terminated[s, a, 0]
        s = np.where(done, s, walled.next_state[s, a, 0])
    arrived = maze.arrival(walled, moved)[-1]
    assert done.mean() == pytest.approx(arrived, abs=0.03)


def test_coverage_of_the_theorems_and_of_their_controls(tmp_path: Path) -> None:
    numbers = theorem_cql.make(tmp_path, datasets=12)
    assert (tmp_path / "theorem-cql.png").exists()
    for world in numbers["worlds"].values():
        for shares in world["coverage"].values():
            assert shares[0] >= 0.9  # the constant as it is
            assert shares[-1] < 0.9  # none at all
        assert min(world["median_slack"].values()) > 0


def test_figures_are_made_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["reproduce"]) == 0
    assert set(FIGURES) <= set(capsys.readouterr().out.split())
    assert cli.main(["reproduce", "maze", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "maze.json").read_text())
    assert told["steps"] == 200
    assert {"jax", "softq"} <= told["versions"].keys()
    assert told["machine"]["cores"] > 0
    assert cli.main(["reproduce", "maz"]) == 2
    assert "Did you mean maze?" in capsys.readouterr().err


def test_tabular_is_part_of_the_face() -> None:
    assert softq.tabular is tabular
