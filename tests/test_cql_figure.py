"""The CQL figure from a tiny file: its numbers, and what it says without one."""

from pathlib import Path

import numpy as np
import pytest

from softq import records
from softq.data.write import write_d4rl
from softq.figures import cql, reproduce
from softq.types import SoftqError


def swings(path: Path) -> Path:
    """Pendulum-like rows in two episodes."""
    random, n = np.random.default_rng(0), 400
    obs = random.normal(size=(n + 1, 3)).astype(np.float32)
    columns = {
        "observations": obs[:-1], "next_observations": obs[1:],
        "actions": random.uniform(-2, 2, (n, 1)).astype(np.float32),
        "rewards": random.normal(size=n).astype(np.float32),
        "terminals": np.zeros(n, bool), "timeouts": np.arange(n) % 200 == 199,
    }  # fmt: skip
    write_d4rl(path, columns, {"env_id": "Pendulum-v1"})
    return path


def test_its_numbers_are_those_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cql, "UPDATES", 100)
    monkeypatch.setattr(cql, "SEEDS", 2)
    monkeypatch.setattr(cql, "LIGHT", {"hidden": (8,)})
    knobs = {"hidden": (8,)}
    agents = {"CQL": ("cql", {**knobs, "gap_samples": 1}, "k"),
              "naive SAC": ("sac", knobs, "r")}  # fmt: skip
    monkeypatch.setattr(cql, "AGENTS", agents)
    told = reproduce("cql", tmp_path, swings(tmp_path / "swings.hdf5"))
    assert (tmp_path / "cql.png").stat().st_size > 10_000
    run = tmp_path / "sac-swings"
    last = [r["greedy"]["return"] for r in records.evaluations(run) if r["step"] == 100]
    assert told["naive SAC"]["last"] == last
    lines = [r for r in records.metrics(tmp_path / "cql-swings") if r["step"] == 100]
    assert told["CQL"]["promised"] == [r["q_policy"] for r in lines]
    again = reproduce("cql", tmp_path, tmp_path / "swings.hdf5")  # nothing is trained
    assert again == told


def test_it_says_how_to_make_its_data(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="--data data/walker2d"):
        reproduce("cql", tmp_path)


def test_other_figures_take_no_data(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="leave --data out"):
        reproduce("maze", tmp_path, tmp_path / "file.hdf5")
