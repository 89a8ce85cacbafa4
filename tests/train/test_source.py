"""What a run learns from: when learning on data is lost."""

from typing import Any

import numpy as np
import pytest

from softq import plan
from softq.data import offline
from softq.source import LOST, OnData
from softq.types import Progress

N = 40


def on_data(**options: Any) -> OnData:
    """A run on two episodes whose rewards are 4 at most."""
    random = np.random.default_rng(0)
    obs = random.normal(size=(N + 1, 3)).astype(np.float32)
    arrays = {
        "observations": obs[:-1], "next_observations": obs[1:],
        "actions": random.uniform(-1, 1, (N, 1)).astype(np.float32),
        "rewards": np.linspace(-1, 4, N, dtype=np.float32),
        "terminals": np.zeros(N, bool), "timeouts": np.arange(N) % 20 == 19,
    }  # fmt: skip
    options["data"] = plan.Data("python:arrays")
    return OnData(plan.build("cql", "", options), None, offline.read(arrays))


def told(source: OnData, **info: Any) -> str:
    lanes = {name: np.asarray(values) for name, values in info.items()}
    return source._diverged(Progress(100, None, lanes, []))


def test_the_largest_value_is_that_of_the_farthest_horizon() -> None:
    assert on_data(algo={"discount": 0.9}).top == pytest.approx(40)
    assert on_data(sweep={"discount": [0.9, 0.99, 0.5]}).top == pytest.approx(400)


def test_a_run_is_lost_when_every_lane_is() -> None:
    source = on_data(algo={"discount": 0.9})
    good, bad = 0.99 * LOST * 40, 1.01 * LOST * 40
    assert told(source, q_data=[good, -good], q_policy=[-good, good]) == ""
    assert told(source, q_data=[bad, good], q_policy=[bad, good]) == ""
    assert told(source, critic_loss=[np.nan, np.nan]) == ""
    said = told(source, q_data=[bad, good], q_policy=[good, -bad])
    assert "4.04e+03 after 100 updates" in said
    assert "allow at most 40" in said
    assert "nan after" in told(source, q_data=[np.nan, good], q_policy=[good, np.inf])
