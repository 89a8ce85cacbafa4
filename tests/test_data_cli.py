"""`softq data`: exit codes, what is printed, what is written."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softq import datacli
from softq.data.offline import read
from softq.types import SoftqError

h5py = pytest.importorskip("h5py")
F = np.float32
N = 6
REAL = os.environ.get("SOFTQ_DATA")


def hdf(path: Path, env_id: str = "Hopper-v4", **changes: Any) -> str:
    """Two episodes of three steps, the second cut by a time limit."""
    obs = np.arange(2 * N, dtype=F).reshape(N, 2)
    made = {
        "observations": obs, "actions": np.linspace(-1, 1, N, dtype=F)[:, None],
        "rewards": np.arange(N, dtype=F), "terminals": np.arange(N) == 2,
        "timeouts": np.arange(N) == 5, "next_observations": obs + 2,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, column in (made | changes).items():
            file[name] = column
        file["metadata/env_id"] = env_id
    return str(path)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert datacli.main([]) == 0
    assert "softq data doctor FILE" in capsys.readouterr().out
    with pytest.raises(SoftqError, match="Did you mean doctor"):
        datacli.main(["docter", "x"])


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hdf(tmp_path / "a.hdf5")
    assert datacli.main(["info", path, "--json"]) == 0
    told = said(capsys)
    assert told["returns"] == {"mean": 7.5, "min": 3.0, "max": 12.0}
    assert told["score"]["scale"] == "D4RL"
    assert told["score"]["convention"] is True
    assert told["score"]["value"] == pytest.approx(
        100 * (7.5 + 20.272305) / 3254.572305
    )
    assert datacli.main(["info", path]) == 0
    out = capsys.readouterr().out
    for word in ("Hopper-v4", "6", "7.5", "next_observations", "float32", "D4RL"):
        assert word in out
    assert told["sha256"] in "".join(c for c in out if c.isalnum())


def test_names_with_brackets_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hdf(tmp_path / "[old] a.hdf5", "[/x]", timeouts=np.zeros(N, bool))
    for command in ("info", "doctor"):
        datacli.main([command, "[old] a.hdf5"])
        assert "[old] a.hdf5" in capsys.readouterr().out


def test_what_convert_has_to_guess_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "blind.hdf5"
    with h5py.File(hdf(path), "a") as file:
        del file["timeouts"], file["next_observations"]
    assert datacli.main(["convert", str(path), "--out", str(tmp_path / "b.hdf5")]) == 0
    assert "no timeouts and no next_observations" in capsys.readouterr().err


def test_info_without_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hdf(tmp_path / "a.hdf5", env_id="CartPole-v1", actions=np.arange(N))
    assert datacli.main(["info", path, "--json"]) == 0
    assert said(capsys)["score"] is None
    assert datacli.main(["info", path]) == 0


def test_doctor_s_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert datacli.main(["doctor", hdf(tmp_path / "a.hdf5")]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    zero = hdf(tmp_path / "b.hdf5", rewards=np.zeros(N, F))
    assert datacli.main(["doctor", zero]) == 1
    assert "rewards all zero" in " ".join(capsys.readouterr().out.split())
    wild = hdf(tmp_path / "c.hdf5", actions=np.full((N, 1), 2, F))
    assert datacli.main(["doctor", wild, "--json"]) == 0
    assert said(capsys)["findings"][0]["severity"] == "warning"
    assert datacli.main(["doctor", wild, "--strict", "--json"]) == 1


def test_doctor_of_a_wrong_environment(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="2 numbers, Pendulum-v1 has 3"):
        datacli.main(["doctor", hdf(tmp_path / "a.hdf5"), "--env", "Pendulum-v1"])


@pytest.mark.parametrize("form", ["d4rl", "minari"])
def test_convert(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = hdf(tmp_path / "a.hdf5"), tmp_path / "made" / "new-v0"
    args = ["convert", path, "--format", form, "--out", str(out), "--json"]
    assert datacli.main(args) == 0
    assert said(capsys)["transitions"] == 6
    before, after = read(path), read(out)
    for a, b in zip(before.batch[:5], after.batch[:5], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(before.ends, after.ends)
    assert after.about.format == form
    assert after.about.env_id == "Hopper-v4"
    with pytest.raises(SoftqError, match="is there already"):
        datacli.main(args)


def test_convert_to_an_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its id and bounds go into the file; actions keep their units."""
    obs, actions = np.zeros((N, 3), F), np.linspace(-2, 2, N, dtype=F)[:, None]
    path = hdf(
        tmp_path / "a.hdf5", observations=obs, next_observations=obs, actions=actions
    )
    out = tmp_path / "toy-v0"
    args = ["convert", path, "--format", "minari", "--env", "Pendulum-v1", "--strict"]
    assert datacli.main([*args, "--out", str(out)]) == 0
    assert "6 transitions, 2 episodes" in capsys.readouterr().out
    meta = json.loads((out / "data" / "metadata.json").read_text())
    assert json.loads(meta["action_space"])["high"] == [2.0]
    made = json.loads(meta["env_spec"])
    assert (made["id"], made["max_episode_steps"]) == ("Pendulum-v1", 200)
    found = read(out)
    assert found.about.warnings[0].startswith("4 of 6 actions lie outside")


def test_convert_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    wild = hdf(tmp_path / "a.hdf5", actions=np.full((N, 1), 2, F))
    out = tmp_path / "made"
    with pytest.raises(SoftqError, match="row 0 has an action outside"):
        datacli.main(["convert", wild, "--strict", "--out", str(out / "b.hdf5")])
    broken = hdf(tmp_path / "c.hdf5", rewards=np.full(N, np.nan, F))
    with pytest.raises(SoftqError, match="rewards has NaN"):
        datacli.main(["convert", broken, "--out", str(out / "b.hdf5")])
    assert not out.exists() or not list(out.iterdir())


def test_convert_discrete(tmp_path: Path) -> None:
    path = hdf(tmp_path / "a.hdf5", actions=np.array([0, 1, 2, 1, 0, 2]))
    out = tmp_path / "b-v0"
    assert datacli.main(["convert", path, "--format", "minari", "--out", str(out)]) == 0
    assert read(out).spec.num_actions == 3
    meta = json.loads((out / "data" / "metadata.json").read_text())
    assert json.loads(meta["action_space"])["n"] == 3


@pytest.mark.skipif(not REAL, reason="SOFTQ_DATA names no folder of real files")
def test_real_info(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(Path(str(REAL)) / "halfcheetah-expert-cs285.hdf5")
    assert datacli.main(["info", path, "--json"]) == 0
    told = said(capsys)
    assert told["returns"]["mean"] == pytest.approx(4034.8, abs=0.05)
    # (4034.8 + 280.178953) / (12135 + 280.178953)
    assert told["score"]["value"] == pytest.approx(34.756, abs=0.002)
