"""`softq train …` as a plan: where it goes, and what cannot be meant together."""

from pathlib import Path

import pytest

from softq import cli, traincli
from softq.types import SoftqError


def test_a_run_without_a_name_never_takes_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["sac", "--env", "softq/Pendulum-v0", "--seed", "3"]
    base = Path("runs/sac-softq-Pendulum-v0-3")
    assert traincli.planned(asked)[1] == base
    base.mkdir(parents=True)
    base.with_name(f"{base.name}-2").mkdir()
    assert traincli.planned(asked)[1] == base.with_name(f"{base.name}-3")
    data = ["bc", "--data", "x/y.hdf5", "--eval-env", "E"]
    assert traincli.planned(data)[1] == Path("runs/bc-y-0")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "train what"),
        (["--env", "E"], "train what"),
        (["sac"], "needs --env ID or --data FILE"),
        (["cql", "--env", "E", "--data", "F"], "one of them"),
        (["cql", "--env", "E", "--data.reward-scale", "2"], "goes with --data"),
        (["cql", "--env", "E", "--preset", "antmaze"], "is for data: give --data"),
    ],
)
def test_what_cannot_be_meant(args: list[str], said: str) -> None:
    with pytest.raises(SoftqError, match=said):
        traincli.planned(args)


def test_a_run_too_short_to_learn_says_so_and_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "train", "sac", "--env", "softq/Pendulum-v0", "--steps", "40", "--eval-every",
        "0", "--batch-size", "4", "--algo.hidden", "8", "--out",
    ]  # fmt: skip
    assert cli.main([*asked, str(tmp_path / "a")]) == 0
    told = capsys.readouterr().err
    assert "nothing is learned in 40 steps, for the first update is at step" in told
    hint = told.partition("Try: ")[2].split()
    assert cli.main([*asked, str(tmp_path / "b"), *hint]) == 0
    assert "nothing is learned" not in capsys.readouterr().err
