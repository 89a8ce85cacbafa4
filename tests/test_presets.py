"""Presets: legal settings, found by name, and overridden by what is typed."""

import math

import pytest

from softq import options, plan, presets, traincli
from softq.algos import ALGOS
from softq.types import SoftqError

EVERY = [(name, preset) for name, own in presets.PRESETS.items() for preset in own]


@pytest.mark.parametrize(("name", "preset"), EVERY)
def test_a_preset_is_a_config_and_names_its_source(name: str, preset: str) -> None:
    found = presets.find(name, preset)
    assert ALGOS[name].Config(**found.algo) != ALGOS[name].Config() or found.data or (
        preset == "mujoco"
    )  # fmt: skip
    assert len(found.source) > 20
    made = plan.build(name, "", {"preset": preset, "data": plan.Data("f.hdf5")})
    assert made.data is not None
    assert made.data.reward_shift == found.data.get("reward_shift", 0.0)
    for knob, value in found.algo.items():
        assert getattr(made.algo, knob) == value


def test_a_target_without_log_3n_is_converted() -> None:
    """Correctness: AntMaze's τ of 0.8 at weight 5 is −13.0."""
    assert presets.unnormalised(5.0, 0.8) == pytest.approx(-13.0, abs=0.01)
    assert presets.unnormalised(2.0, 1.0, 4) == 2.0 * (1.0 - math.log(12))


def test_what_is_typed_wins() -> None:
    kind = options.train("cql", "antmaze")
    given = options.parse(kind, ["--data", "f", "--algo.gap-weight", "2"], "softq")
    assert given.algo.gap_weight == 2.0
    assert given.algo.max_backup == 10
    assert given.data.reward_scale == 10.0
    made = plan.build(
        "cql",
        "",
        {"preset": "antmaze", "algo": {"max_backup": 0}, "data": plan.Data("f")},
    )
    assert (made.algo.max_backup, made.algo.gap_weight) == (0, 5.0)


@pytest.mark.parametrize("args", [["--preset", "antmaze"], ["--preset=antmaze"]])
def test_the_command_line_finds_the_preset(args: list[str]) -> None:
    assert traincli._preset(["cql", "--data", "f", *args]) == "antmaze"
    assert traincli._preset(["cql"]) is None


def test_an_unknown_preset_is_told_with_the_known_ones() -> None:
    with pytest.raises(SoftqError, match="Did you mean antmaze"):
        presets.find("cql", "antmase")
    with pytest.raises(SoftqError, match="sac has no presets"):
        presets.find("sac", "mujoco")
