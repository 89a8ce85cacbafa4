"""The robustness figure, in small."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from softq import api
from softq import robustness as worlds
from softq.figures import robustness

WORLD = "tests/Pendulum-v0"
ARMS = ("SAC, α = 0.2", "without entropy")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STEPS": 40, "SEEDS": 2, "EPISODES": 1, "BATCH": 8, "TEMPERATURES": (0.2,),
        "HIDDEN": {WORLD: (8,)}, "HOME": {WORLD: WORLD},
        "WORLDS": {WORLD: ("mass=0.5..2:3", "delay=0,3")},
        "AGENTS": {name: robustness.AGENTS[name] for name in ARMS},
    }.items():  # fmt: skip
        monkeypatch.setattr(robustness, name, value)


def test_every_seed_of_every_agent_plays_every_world(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = robustness.make(tmp_path)
    json.dumps(numbers)
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
    agents = numbers["environments"][WORLD]
    assert tuple(agents) == ARMS
    for told in agents.values():
        for kind in worlds.POLICIES:
            assert list(told[kind]["worlds"]) == ["mass", "delay"]
            assert told[kind]["worlds"]["delay"]["values"] == [0.0, 3.0]
            rows = told[kind]["worlds"]["mass"]["returns"]
            assert [len(row) for row in rows] == [2, 2, 2]  # seeds
            assert rows[0][0] != rows[0][1]  # another seed, another policy
            assert rows[0] != rows[1]  # another world, another return
    runs = [robustness.learned(tmp_path, WORLD, name) for name in ARMS]
    sac, twin = (jax.tree.map(jnp.shape, api.load(r).agent.critic) for r in runs)
    assert sac == twin  # only the entropy is missing
    # What is trained is not trained again.
    monkeypatch.setattr(robustness.api, "train", None)
    assert robustness.make(tmp_path) == numbers


def test_the_worst_and_the_mean_are_over_all_worlds_seed_by_seed() -> None:
    told = robustness.over(
        {"mass": {"returns": [[1.0, 5.0], [3.0, 1.0]]}, "delay": {"returns": [[2, 9]]}}
    )
    assert told["mean"] == pytest.approx((2.0 + 5.0) / 2)
    assert told["worst"] == pytest.approx(1.0)
    assert told["worst_interval"] == (1.0, 1.0)
