"""Presets: legal settings, found by name, and overridden by what is typed."""

import math
from typing import Any

import pytest

from softq import options, plan, presets, traincli
from softq.algos import ALGOS
from softq.types import SoftqError

EVERY = [(name, preset) for name, own in presets.PRESETS.items() for preset in own]

# What was published, read where each line says: (algorithm, preset, its agent's
# settings, those of its data). Targets are converted, gap_weight · (τ − log 3N).
MUJOCO_CQL = {  # the authors' code, as d3rlpy's author reran it
    "gap_weight": 10.0, "actor_lr": 1e-4, "gap_target": None, "max_backup": 0,
}  # fmt: skip
ANTMAZE = {"reward_scale": 10.0, "reward_shift": -5.0}  # young-geng/CQL, issue 2
ANTMAZE_CQL = {  # the same issue: weight 5, τ 0.2, three layers in Q; the usual N
    "gap_weight": 5.0, "gap_target": -16.0, "max_backup": 10, "gap_samples": 10,
    "actor_lr": 1e-4, "lr": 3e-4, "hidden": (256, 256, 256),
}  # fmt: skip
CORL_CQL = {  # CORL's medium_play_v2.yaml: weight 5, τ 0.8, N 10, five layers in Q
    "gap_weight": 5.0, "gap_target": -13.0, "max_backup": 10, "gap_samples": 10,
    "actor_lr": 1e-4, "lr": 3e-4, "hidden": (256,) * 5, "bc_updates": 0,
    "backup_entropy": False,
}  # fmt: skip
PUBLISHED = [
    *((name, "mujoco", MUJOCO_CQL, {}) for name in ("cql", "calql")),
    *((name, "antmaze", ANTMAZE_CQL, ANTMAZE) for name in ("cql", "calql")),
    *((name, "antmaze-corl", CORL_CQL, ANTMAZE) for name in ("cql", "calql")),
    # arXiv 2110.06169, section 5, and ikostrikov/implicit_q_learning, configs/: τ and
    # β; AntMaze's rewards less 1.
    ("iql", "mujoco", {"expectile": 0.7, "sharpness": 3.0}, {}),
    ("iql", "antmaze", {"expectile": 0.9, "sharpness": 10.0}, {"reward_shift": -1.0}),
    # arXiv 2106.06860, table 3, and sfujim/TD3_BC, main.py: α.
    ("td3_bc", "mujoco", {"q_weight": 2.5}, {}),
]


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


@pytest.mark.parametrize(("name", "preset", "algo", "data"), PUBLISHED)
def test_a_preset_has_its_sources_values(
    name: str, preset: str, algo: dict[str, Any], data: dict[str, float]
) -> None:
    """Also those it shares with the defaults, which may move under it."""
    made = plan.build(name, "", {"preset": preset, "data": plan.Data("f.hdf5")})
    for knob, value in algo.items():
        # Targets are stated to a tenth: log 30 is 3.401.
        close = pytest.approx(value, abs=0.01) if knob == "gap_target" else value
        assert getattr(made.algo, knob) == close, knob
    assert made.data is not None
    rewards = {"reward_scale": 1.0, "reward_shift": 0.0, **data}
    for knob, value in rewards.items():
        assert getattr(made.data, knob) == value, knob


def test_no_preset_is_without_published_values() -> None:
    assert sorted(row[:2] for row in PUBLISHED) == sorted(EVERY)


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
