"""The multi-goal figure, in small: everything in it is drawn and counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softq.algos import sac, sql
from softq.envs.multigoal import State
from softq.figures import multigoal
from softq.figures.episodes import Episodes


def test_it_draws_every_algorithm_and_counts_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multigoal, "EPISODES", 8)
    numbers = multigoal.make(tmp_path, seeds=2, steps=150)
    assert (tmp_path / "multigoal.png").stat().st_size > 20_000
    assert set(numbers["results"]) == {"sql", "sac", "ddpg", "langevin"}
    json.dumps(numbers)
    for found in numbers["results"].values():
        shares = np.array(found["shares"])
        assert shares.shape == (2, 4)
        np.testing.assert_allclose(shares.sum(-1), found["success"], atol=2e-3)
        # Of eight episodes a goal has 12 % or 25 %.
        complete = (shares > 0.2).all(-1).sum()
        assert found["seeds_with_every_goal_15_percent"] == complete


def ends(*counts: int) -> np.ndarray:
    """Episodes of which so many end nowhere, and in each of the goals."""
    return np.repeat([-1, 0, 1, 2, 3], counts)


def test_a_seed_counts_that_ends_in_every_goal_15_times_of_a_hundred() -> None:
    """Whether the others are few or many, and wherever the rest goes."""
    reached = np.stack([
        ends(0, 25, 25, 25, 25), ends(40, 15, 15, 15, 15), ends(0, 15, 55, 15, 15),
        ends(0, 14, 56, 15, 15), ends(55, 15, 15, 15, 0), ends(0, 100, 0, 0, 0),
        ends(100, 0, 0, 0, 0), ends(16, 14, 40, 16, 14),
    ])  # fmt: skip
    run = multigoal.Trained("sql", None, None, np.zeros((8, 100, 31, 2)), reached)
    assert run.complete == 3


def test_an_episode_counts_for_the_goal_it_came_within_a_metre_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a move began, as the early version has it: the last place is not one."""
    paths = np.zeros((1, 6, 31, 2), np.float32)
    near = [(4.1, 0.0), (-5.0, 0.9), (0.5, 5.5), (0.0, -4.1), (3.9, 0.0)]
    paths[0, :5, 20] = near
    paths[0, 5, 30] = 5.0, 0.0

    played = Episodes(State(paths, paths), np.zeros((1, 6)))
    monkeypatch.setattr(multigoal, "play", lambda *args: played)
    reached = multigoal.visits("sql", sql, None, None).reached
    assert reached.tolist() == [[0, 1, 2, 3, -1, -1]]


@pytest.mark.parametrize(("name", "algo"), [("sql", sql), ("sac", sac)])
def test_it_trains_on_the_authors_first_version_and_settings(
    name: str, algo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """haarnoja/softqlearning @ 6f51eac, examples/multigoal_sql.py: those of 2017."""

    class Begun(Exception):
        pass

    def start(*args: Any) -> None:
        raise Begun(*args)

    monkeypatch.setattr(multigoal.ondevice, "start", start)
    with pytest.raises(Begun) as caught:
        multigoal.train(name)
    begun, cfg, options, env, _ = caught.value.args
    assert begun is algo
    assert env.early
    assert env.horizon == 30
    assert env is multigoal.ENV  # where its episodes are played, too
    assert cfg.alpha == 1 / 0.1  # of the reward scale
    assert (cfg.lr, cfg.hidden, cfg.target_period) == (1e-3, (100, 100), 1_000)
    assert cfg.discount == 0.99
    if name == "sql":
        assert (cfg.particles, cfg.value_samples) == (32, 16)
    assert (options.steps, options.batch_size) == (10_000, 64)
    assert options.learning_starts == 100
