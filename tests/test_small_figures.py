"""The fine-tuning figure and that of two modes, in small."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from softq.figures import finetune, multimodal_q, samplers


def test_fine_tuning_compares_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "CANALS", ("u",))
    monkeypatch.setattr(finetune, "EPISODES", 4)
    monkeypatch.setattr(finetune, "EVERY", 150)  # divides both trainings: one program
    small = {"particles": 4, "value_samples": 4, "hidden": (16, 16)}
    monkeypatch.setattr(finetune, "CONFIGS", {"sql": finetune.CONFIGS["sql"] | small})
    numbers = finetune.make(tmp_path, seeds=2, scale=0.03)
    assert (tmp_path / "finetune.png").stat().st_size > 20_000
    json.dumps(numbers)
    arms = {name: arm for name, arm in numbers["canals"]["u"].items() if "," in name}
    assert len(arms) == 2
    for name, arm in arms.items():
        assert len(arm["steps_a_seed"]) == 2
        # Whoever starts from the pre-training begins where that ended.
        other = numbers["canals"]["u"][name.replace("pre-trained", "from scratch")]
        assert arm["first_return"] != other["first_return"] or arm is other


def test_steps_to_a_threshold_are_those_of_the_first_evaluation_at_it() -> None:
    returns = np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 0.0], [3.0, 1.0, 0.0]])
    arm = finetune.Arm("sql", True, np.array([0, 10, 20]), returns, None)
    assert arm.reached(1.0).tolist() == [10.0, 20.0, 0.0]
    assert arm.reached(2.0).tolist() == [20.0, np.inf, 0.0]
    told = finetune.summary(arm, 2.0)
    assert told["median_steps"] == 20.0
    assert told["seeds_that_reach_it"] == 2
    assert told["steps_a_seed"] == [0.0, 20.0, None]


def test_a_resultant_length_tells_one_way_from_all_ways() -> None:
    around = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    every = np.stack([np.cos(around), np.sin(around)], -1)
    one = np.tile([3.0, 4.0], (50, 1))
    told = finetune.spread(np.stack([every, one]))
    assert told["resultant_length"] == [0.0, 1.0]
    assert told["metres"] == [1.0, 5.0]


def test_the_network_keeps_both_modes_and_a_gaussian_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multimodal_q, "DRAWS", 20_000)
    numbers = multimodal_q.make(tmp_path, updates=400)
    assert (tmp_path / "multimodal-q.png").stat().st_size > 10_000
    network, one = (
        numbers[name] for name in ("sampling network (SQL)", "Gaussian policy (SAC)")
    )
    assert 0.2 < network["share_of_the_left"] < 0.8
    assert one["share_of_the_left"] in (0.0, 1.0)
    assert network["total_variation"] < 0.35 < one["total_variation"]


def test_chains_follow_the_density() -> None:
    drawn = samplers.chains(multimodal_q.energy, 1, multimodal_q.ALPHA, 0, 4_000, 400)
    line = np.linspace(-1, 1, 801, dtype=np.float32)
    q = np.asarray(multimodal_q.energy(jnp.asarray(line)[:, None]), np.float64)
    density = np.exp((q - q.max()) / multimodal_q.ALPHA)
    density /= np.trapezoid(density, line)
    edges = np.linspace(-1, 1, 21)
    found = multimodal_q.variation(np.asarray(drawn)[:, 0], edges, line, density)
    assert found < 0.12
