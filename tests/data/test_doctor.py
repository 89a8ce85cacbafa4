"""The doctor finds each illness, alone, and nothing in what is well."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softq.data import source
from softq.data.doctor import Finding, examine, info
from softq.types import SoftqError, Spec

F = np.float32
REAL = os.environ.get("SOFTQ_DATA")
real = pytest.mark.skipif(not REAL, reason="SOFTQ_DATA names no folder of real files")
N = 12  # three episodes, of 3, 4 and 5 steps
TERMINAL = np.isin(np.arange(N), [2])
TIMEOUT = np.isin(np.arange(N), [6, 11])


def well(**changes: Any) -> dict[str, Any]:
    """Three episodes of a walk, without a fault; None leaves a column out."""
    obs = np.stack([np.arange(N), np.cumsum(TERMINAL | TIMEOUT)], axis=1).astype(F)
    led = obs + np.array([1, 0], F)
    obs[:, 1] = led[:, 1] = np.repeat([0, 1, 2], [3, 4, 5])
    made = {
        "observations": obs, "actions": np.linspace(-1, 1, N, dtype=F)[:, None],
        "rewards": np.arange(N, dtype=F), "terminals": TERMINAL, "timeouts": TIMEOUT,
        "next_observations": led,
    }  # fmt: skip
    return {k: v for k, v in (made | changes).items() if v is not None}


def only(data: Any, **options: Any) -> Finding:
    (found,) = examine(data, **options).findings
    return found


@pytest.fixture(autouse=True, params=[1, 5, 65_536])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the data is cut into blocks, the findings are the same."""
    monkeypatch.setattr(source, "BLOCK_ROWS", request.param)


def test_nothing_is_wrong() -> None:
    report = examine(well())
    assert report == ("the dict of arrays", ())
    assert not report.severe


def test_actions_outside_the_bounds() -> None:
    wild = well()["actions"] * F(1.5)  # ±1.5, ±1.23 outside, ±0.95 inside
    found = only(well(actions=wild))
    assert found[:2] == ("warning", "actions outside the bounds")
    assert found.found.startswith(
        "4 of 12 steps; actions go from -1.5 to 1.5, the bounds are [-1, 1]"
    )
    assert "clips" in found.training
    wide = Spec(obs_shape=(2,), low=(-2.0,), high=(2.0,))
    assert not examine(well(actions=wild), spec=wide).findings


def test_actions_that_do_not_exist() -> None:
    three = Spec(obs_shape=(2,), num_actions=3)
    found = only(well(actions=np.arange(N) % 4), spec=three)
    assert found[:2] == ("error", "actions that do not exist")
    assert found.found == "3 of 12 steps; actions go from 0 to 3"
    assert not examine(well(actions=np.arange(N) % 3), spec=three).findings


@pytest.mark.parametrize(("value", "severity"), [(0.0, "error"), (1.0, "warning")])
def test_rewards_that_never_change(value: float, severity: str) -> None:
    found = only(well(rewards=np.full(N, value, F)))
    assert found.severity == severity
    assert found.what == ("constant reward" if value else "rewards all zero")


def test_broken_episode_boundaries() -> None:
    led = well()["next_observations"]
    led[[0, 4, 6]] += 0.5  # the last of them ends an episode, and may lead anywhere
    found = only(well(next_observations=led))
    assert found[:2] == ("warning", "broken episode boundaries")
    assert found.found.startswith("2 of 9 steps inside an episode")
    assert found.found.endswith("first row 0")


def test_both_flags() -> None:
    found = only(well(terminals=TERMINAL | TIMEOUT))
    assert found[:2] == ("warning", "terminal and timeout at once")
    assert found.found.startswith("2 steps")


def test_terminals_that_are_time_limits() -> None:
    """Each episode ends at four steps, as a terminal: a time limit, most likely."""
    every = np.arange(N) % 4 == 3
    found = only(well(terminals=every, timeouts=every & False, next_observations=None))
    assert found.what == "terminals that look like time limits"
    assert found.found.startswith("3 of 3 episodes are terminated at exactly 4 steps")
    assert "Make them timeouts" in found.training
    assert not examine(
        well(terminals=every & False, timeouts=every, next_observations=None)
    ).findings


def test_terminals_beside_a_timeout_are_believed() -> None:
    """Where the time limit is flagged, a terminal at that length may be one."""
    every, last = np.arange(N) % 4 == 3, np.arange(N) == 11
    told = well(terminals=every & ~last, timeouts=last, next_observations=None)
    assert not examine(told).findings


def test_numbers_that_are_none() -> None:
    obs, rewards = well()["observations"], well()["rewards"]
    obs[[7, 9], 0] = np.nan
    rewards[3] = np.inf
    report = examine(well(observations=obs, rewards=rewards, next_observations=None))
    told = {f.found for f in report.findings if f.what == "NaN or infinity"}
    assert "rewards: 1 rows, first in row 3" in told
    assert "observations: 2 rows, first in row 7" in told
    assert report.severe


def test_duplicates() -> None:
    twice = {k: np.concatenate([v, v[:3]]) for k, v in well().items()}
    found = examine(twice).findings
    assert [f.what for f in found] == ["duplicate episodes", "duplicate transitions"]
    assert found[0].found == "1 of 4 repeat another"
    assert found[1].found == "3 of 15"


def test_duplicate_steps_alone() -> None:
    twice = {k: np.concatenate([v, v[1:3]]) for k, v in well().items()}
    assert only(twice).found == "2 of 14"


def test_no_episode_boundary() -> None:
    bare = well(terminals=TERMINAL & False, timeouts=None, next_observations=None)
    found = examine(bare).findings
    assert [f.what for f in found] == ["no episode boundary", "time limits"]
    assert found[0].severity == "error"
    assert found[0].found == "12 steps without a terminal or a timeout"


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    found = only(well(rewards=None))
    assert found[:2] == ("error", "unreadable")
    assert "has no rewards" in found.found
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"nothing")
    assert "neither HDF5 nor npz" in only(path).found
    with pytest.raises(SoftqError, match="there is no file"):
        examine(tmp_path / "b.hdf5")


def test_wrong_environment() -> None:
    with pytest.raises(SoftqError, match="observations of 2 numbers, Hopper-v5 has 11"):
        examine(well(), Spec(obs_shape=(11,), low=(-1.0,), high=(1.0,)), "Hopper-v5")


def test_info() -> None:
    told = info(well())
    assert (told["steps"], told["episodes"], told["terminated"]) == (12, 3, 1)
    # Returns 0+1+2, 3+4+5+6, 7+8+9+10+11.
    assert told["returns"] == {"mean": 22.0, "min": 3.0, "max": 45.0}
    assert told["lengths"] == {"mean": 4.0, "min": 3.0, "max": 5.0}
    assert told["fields"]["observations"] == {"shape": [12, 2], "dtype": "float32"}
    assert told["ranges"]["actions"] == [-1.0, 1.0]
    assert told["ranges"]["next_observations"] == [0.0, 12.0]


def test_info_counts_steps_that_training_drops() -> None:
    assert info(well(next_observations=None))["returns"]["max"] == 45.0


EXPERTS = {
    "halfcheetah-expert-cs285": 1269, "hopper-expert-cs285": 1389,
    "walker2d-expert-cs285": 1961,
}  # fmt: skip


@real
@pytest.mark.parametrize("name", EXPERTS)
def test_real_experts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions of unsquashed Gaussians; time limits that are no terminals."""
    monkeypatch.setattr(source, "BLOCK_ROWS", 777)
    found = only(Path(str(REAL)) / f"{name}.hdf5")
    assert found.what == "actions outside the bounds"
    assert found.found.startswith(f"{EXPERTS[name]:,} of 2,000 steps")


@real
def test_real_experts_as_their_source_had_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source marked the time limits as terminals: that is found, too."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr(source, "BLOCK_ROWS", 777)
    with h5py.File(Path(str(REAL)) / "hopper-expert-cs285.hdf5") as file:
        columns = {k: file[k][:] for k in well()}
    columns["terminals"] = columns.pop("timeouts")
    found = {f.what: f for f in examine(columns).findings}
    assert found["terminals that look like time limits"].found.startswith(
        "2 of 2 episodes are terminated at exactly 1,000 steps"
    )


@real
def test_real_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_ROWS", 5000)
    folder = Path(str(REAL))
    found = only(folder / "cartpole-expert-imitation.hdf5")
    assert found[:2] == ("warning", "constant reward")
    torque = Spec(obs_shape=(3,), low=(-2.0,), high=(2.0,))
    assert not examine(folder / "pendulum-expert-imitation.hdf5", torque).findings
