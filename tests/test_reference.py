"""Normalised scores by hand, and names that must not get one."""

import pytest

from softq.reference import D4RL, base, normalised, score


def test_ends_of_the_scale() -> None:
    for name, (low, high) in D4RL.items():
        dataset = f"{name}-medium-v2"
        assert base(f"{name}-v1") == name
        assert normalised(dataset, low) == pytest.approx(0.0)
        assert normalised(dataset, high) == pytest.approx(100.0)


def test_by_hand() -> None:
    # (3000 + 20.272305) / (3234.3 + 20.272305)
    assert normalised("hopper-medium-v2", 3000.0) == pytest.approx(92.8009)
    assert normalised("antmaze-large-play-v2", 0.5) == 50.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hopper-medium-expert-v2", "hopper"),
        ("ant-random-v0", "ant"),
        ("antmaze-umaze-diverse-v0", "antmaze"),
        ("maze2d-umaze-v1", "maze2d-umaze"),
        ("maze2d-umaze-dense-v1", "maze2d-umaze-dense"),
        ("bullet-walker2d-medium-v0", "bullet-walker2d"),
        ("HalfCheetah-v5", "halfcheetah"),
        ("Walker2d-v4", "walker2d"),
        ("mujoco/hopper/medium-v0", None),
        ("D4RL/door/human-v2", None),
        ("Humanoid-v5", None),
        ("hopper", None),
        ("Hopper-v6", None),
        ("CartPole-v1", None),
        ("", None),
    ],
)
def test_names(name: str, expected: str | None) -> None:
    assert base(name) == expected
    assert (normalised(name, 1.0) is None) == (expected is None)


def test_gymnasium_s_environments_only_by_convention() -> None:
    ours, theirs = score("Hopper-v5", 3234.3), score("hopper-expert-v2", 3234.3)
    assert ours is not None
    assert theirs is not None
    assert (ours.value, ours.scale, ours.convention) == (100.0, "D4RL", True)
    assert (theirs.value, theirs.scale, theirs.convention) == (100.0, "D4RL", False)
