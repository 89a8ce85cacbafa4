"""`softq train ALGO --data FILE …` and what follows it, from the command line."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import softq
from softq import api, cli, options, plan
from softq.algos import cql
from softq.data.hdf5 import sha256
from softq.data.write import write_d4rl
from softq.log import TIMING

h5py = pytest.importorskip("h5py")
F = np.float32
N = 300
SMALL = [
    "--batch-size", "8", "--log-every", "40", "--eval-every", "60", "--eval-episodes",
    "2", "--checkpoint-every", "60", "--algo.hidden", "8", "8",
]  # fmt: skip


def columns(dim: int = 3, discrete: bool = False, seed: int = 0) -> dict[str, Any]:
    """Three episodes in a world of noise; rewards that the actions decide."""
    random = np.random.default_rng(seed)
    obs, row = random.normal(size=(N + 1, dim)).astype(F), np.arange(N)
    action = random.uniform(-2, 2, (N, 1)).astype(F)
    index = random.integers(0, 2, N)
    return {
        "observations": obs[:-1], "actions": index if discrete else action,
        "rewards": (index if discrete else -np.abs(action[:, 0])).astype(F),
        "terminals": row == 99, "timeouts": (row == 199) | (row == N - 1),
        "next_observations": obs[1:],
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def swings(folder: Path) -> str:
    """A file of Pendulum-v1's shapes that says so."""
    write_d4rl(folder / "swings.hdf5", columns(), {"env_id": "Pendulum-v1"})
    return str(folder / "swings.hdf5")


@pytest.fixture(scope="module")
def carts(folder: Path) -> str:
    meta = {"env_id": "CartPole-v1"}
    write_d4rl(folder / "carts.hdf5", columns(4, discrete=True), meta)
    return str(folder / "carts.hdf5")


@pytest.fixture(scope="module")
def nameless(folder: Path) -> str:
    write_d4rl(folder / "nameless.hdf5", columns(), {})
    return str(folder / "nameless.hdf5")


@pytest.fixture(scope="module")
def swept(folder: Path, carts: str) -> Path:
    """A sweep of two settings, two seeds each."""
    out = folder / "swept"
    assert cli.main([
        "train", "cql-discrete", "--data", carts, "--steps", "120", "--seeds", "2",
        "--sweep", "algo.gap-weight=0.5,5", "--algo.lr", "0.003", "--out", str(out),
        *SMALL,
    ]) == 0  # fmt: skip
    return out


@pytest.fixture(scope="module")
def carted(folder: Path, carts: str) -> Path:
    """One of the sweep's lanes alone."""
    out = folder / "carted"
    args = ["train", "cql-discrete", "--data", carts, "--steps", "120"]
    knobs = ["--algo.gap-weight", "5", "--algo.lr", "0.003"]
    assert cli.main([*args, *knobs, "--out", str(out), *SMALL]) == 0
    return out


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (run / name).read_text().splitlines()]


def config(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def test_a_sweep_of_seeds_and_settings(swept: Path, carts: str) -> None:
    told = config(swept)
    assert told["data"]["sha256"] == sha256(Path(carts))
    assert told["data"]["transitions"] == N
    lanes = [("gap_weight=0.5", 0), ("gap_weight=0.5", 1),
             ("gap_weight=5", 0), ("gap_weight=5", 1)]  # fmt: skip
    watched, judged = lines(swept, "metrics.jsonl"), lines(swept, "evals.jsonl")
    for records in (watched, judged):
        for step in {r["step"] for r in records}:
            at = [(r["setting"], r["seed"]) for r in records if r["step"] == step]
            assert at == lanes
    assert {r["step"] for r in judged} >= {120}
    assert {"q_data", "q_policy", "q_uniform", "gap", "gap_factor"} <= watched[0].keys()
    ends = [r for r in watched if r["step"] == watched[-1]["step"]]
    assert len({r["q_data"] for r in ends}) == 4  # every lane is another run
    for name in ("learning_curve.png", "monitor.png"):
        assert (swept / "plots" / name).read_bytes().startswith(b"\x89PNG")


def test_a_sweeps_policies_evaluate_and_load(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(swept), "--episodes", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["env"] == "CartPole-v1"
    obs, push = np.zeros((1, 4), F), np.ones(1, np.int64)
    found = [
        softq.load(swept, seed=seed, setting=k).value(obs, push).item()
        for k in (0, 1) for seed in (0, 1)
    ]  # fmt: skip
    assert len(set(found)) == 4
    with pytest.raises(softq.SoftqError, match="settings 0 to 1; found 2"):
        softq.load(swept, setting=2)


def test_a_lane_of_a_sweep_is_the_run_with_that_knob(swept: Path, carted: Path) -> None:
    """Same data, same keys, same updates: only the rounding of a batch is other."""
    obs = np.random.default_rng(0).normal(size=(20, 4)).astype(F)
    push = np.ones(20, np.int64)
    lane, other = softq.load(swept, setting=1), softq.load(swept, setting=0)
    alone = softq.load(carted).value(obs, push)
    np.testing.assert_allclose(lane.value(obs, push), alone, rtol=1e-3, atol=1e-4)
    assert np.abs(other.value(obs, push) - alone).max() > 1e-2


def test_one_discrete_run(carted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert config(carted)["plan"]["env"] == "CartPole-v1"  # as the file says
    judged = lines(carted, "evals.jsonl")
    assert [(r["step"], r["seed"], "setting" in r) for r in judged][-1] == (
        120,
        0,
        False,
    )
    assert all("q_uniform" in r for r in lines(carted, "metrics.jsonl"))
    assert (carted / "plots" / "monitor.png").is_file()
    assert cli.main(["evaluate", str(carted), "--episodes", "2"]) == 0
    assert "CartPole-v1, 2 episodes" in capsys.readouterr().out
    assert cli.main(["collect", str(carted), "--steps", "15", "--out",
                     str(carted / "own.hdf5")]) == 0  # fmt: skip
    assert cli.main(["collect", str(carted), "--steps", "5", "--replay", "--out",
                     str(carted / "past.hdf5")]) == 2  # fmt: skip
    assert "keeps no history in order" in capsys.readouterr().err


def test_export(carted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(carted), "--format", "stablehlo"]) == 0
    assert "policy.stablehlo: largest difference" in capsys.readouterr().out
    assert (carted / "policy.stablehlo").stat().st_size > 0


def test_data_info(carts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "info", carts, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["env_id"]) == (N, "CartPole-v1")


def test_resume_goes_on_as_if_never_stopped(
    carted: Path, carts: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "parts"
    made = plan.read(carted)[0]
    api.start(made, "CartPole-v1", out, lambda progress: progress.step >= 100)
    assert not (out / "checkpoints" / "120").exists()
    assert cli.main(["resume", str(out)]) == 0
    for name in ("metrics.jsonl", "evals.jsonl"):
        one, other = ([{k: v for k, v in r.items() if k not in TIMING}
                       for r in lines(run, name)] for run in (out, carted))  # fmt: skip
        assert one == other
    own, whole = (run / "checkpoints" / "120" / "state.safetensors"
                  for run in (out, carted))  # fmt: skip
    assert own.read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def tuned(folder: Path, carts: str) -> Path:
    out = folder / "tuned"
    assert cli.main([
        "train", "cql-discrete", "--data", carts, "--finetune-env", "CartPole-v1",
        "--finetune-steps", "60", "--steps", "60", "--out", str(out), *SMALL,
    ]) == 0  # fmt: skip
    return out


def test_on_in_an_environment(tuned: Path, carts: str, folder: Path) -> None:
    judged, watched = lines(tuned, "evals.jsonl"), lines(tuned, "metrics.jsonl")
    assert [r["step"] for r in judged] == [60, 120]
    assert "q_data" in watched[0]  # while it learns from data
    assert "q_data" not in watched[-1]
    assert watched[-1]["length"] is not None  # an episode that it has played
    assert (tuned / "plots" / "learning_curve.png").is_file()
    out = folder / "tuned parts"
    made = plan.read(tuned)[0]
    api.start(made, "CartPole-v1", out, lambda progress: progress.step >= 90)
    assert not (out / "checkpoints" / "120").exists()
    assert cli.main(["resume", str(out)]) == 0
    for name in ("state.safetensors", "replay.safetensors", "host.safetensors"):
        own, whole = (x / "checkpoints" / "120" / name for x in (out, tuned))
        assert own.read_bytes() == whole.read_bytes()


def test_arrays_from_python(folder: Path) -> None:
    given, out = columns(4, discrete=True), folder / "arrays"
    run = softq.train(
        "cql_discrete", data=given, eval_env="CartPole-v1", out=out,
        sweep={"gap_weight": [1, 5]}, algo={"hidden": (8, 8)}, batch_size=8, steps=40,
        log_every=20, eval_every=40, eval_episodes=1, checkpoint_every=0,
    )  # fmt: skip
    assert [r["setting"] for r in run.evaluations] == ["gap_weight=1", "gap_weight=5"]
    assert config(out)["plan"]["data"]["path"] == "python:arrays"
    with pytest.raises(
        softq.SoftqError, match=r"python:arrays.*softq.resume\(…, data="
    ):
        softq.resume(out)
    given["rewards"] = given["rewards"] + 1
    with pytest.raises(softq.SoftqError, match="trained on other data"):
        softq.resume(out, data=given)
    assert softq.resume(out, data=columns(4, discrete=True)).step == 40


def test_another_file_under_the_same_name(
    carted: Path, carts: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Path(carts).read_bytes()
    Path(carts).unlink()
    try:
        assert cli.main(["resume", str(carted)]) == 2
        assert f"there is no file {carts}" in capsys.readouterr().err
        write_d4rl(Path(carts), columns(4, True, seed=1), {"env_id": "CartPole-v1"})
        assert cli.main(["resume", str(carted)]) == 2
        told = capsys.readouterr().err
        assert "trained on other data than carts.hdf5 holds now" in told
        assert config(carted)["data"]["sha256"][:12] in told
    finally:
        Path(carts).write_bytes(kept)


def test_a_lost_run_stops_early_and_keeps_what_it_has(
    carts: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("softq.source.LOST", 1e-9)
    out = folder / "lost"
    args = ["train", "cql_discrete", "--data", carts, "--steps", "500", *SMALL]
    assert cli.main([*args, "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert "Q has diverged" in told
    assert "after 100 updates" in told
    assert "--algo.gap-weight" in told
    assert "Traceback" not in told
    assert (out / "checkpoints" / "100").is_dir()
    assert lines(out, "evals.jsonl")[-1]["step"] == 100
    (ended,) = lines(out, "ended.json")
    assert ended["step"] == 100
    assert "Q has diverged" in ended["trouble"]
    assert softq.load(out).spec.num_actions == 2


@pytest.mark.parametrize("env_id", ["evil:Evil-v0", ":x-v0", "GymV26Environment-v0"])
def test_a_file_does_not_say_what_is_imported(
    env_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (folder / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(
        "softq.api.offline.source", lambda _: SimpleNamespace(env_id=env_id)
    )
    assert api.home("any.hdf5") is None
    assert f"no evaluation, for the data are of {env_id}" in capsys.readouterr().out


def test_data_without_an_environment(
    nameless: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "unseen"
    args = ["train", "td3-bc", "--data", nameless, "--steps", "40", "--out", str(out)]
    changes = ["--data.reward-scale", "2", "--data.reward-shift", "-0.25"]
    assert cli.main([*args, *SMALL, *changes]) == 0
    assert not (out / "evals.jsonl").read_text()
    assert not (out / "plots" / "learning_curve.png").exists()
    assert (out / "plots" / "monitor.png").is_file()
    told = config(out)["plan"]
    assert told["env"] == ""
    assert told["data"]["reward_scale"] == 2.0
    assert told["data"]["reward_shift"] == -0.25
    capsys.readouterr()
    assert cli.main(["evaluate", str(out)]) == 2
    assert "--env ID" in capsys.readouterr().err
    assert cli.main(["play", str(out), "--video", str(folder / "a.gif")]) == 2
    assert "--env ID" in capsys.readouterr().err
    assert cli.main(["evaluate", str(out), "--env", "CartPole-v1"]) == 2
    assert "the policy was trained on" in capsys.readouterr().err


ENV = ["--env", "Pendulum-v1"]
SWEEP = "--sweep algo.gap-weight=1,5,10"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["cql"], ["needs --env ID or --data FILE"]),
        (["cql", *ENV, "--data", "SWINGS"], ["--env ID or --data FILE, one of them"]),
        (["cql", *ENV, "--eval-env", "Pendulum-v1"], ["--eval-env", "--data FILE"]),
        (["cql", *ENV, "--finetune-env", "Pendulum-v1"], ["--data FILE"]),
        (["cql", *ENV, "--finetune-steps", "100"], ["--finetune", "--data FILE"]),
        (["cql", *ENV, "--data.reward-scale", "2"],
         ["--data.reward-scale goes with --data FILE"]),
        (["cql", "--data", "SWINGS", "--utd", "2"],
         ["--utd is for steps in an environment", "--finetune-env"]),
        (["cql", "--data", "SWINGS", "--finetune-env", "Pendulum-v1",
          "--finetune-steps", "300", "--learning-starts", "9"],
         ["--learning-starts", "from the first step on"]),
        (["cql", *ENV, "--sweep", "algo.lr=1e-3,-1"], ["lr"]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.hidden=8,16"],
         ["hidden cannot be swept", "start a run for each value", "gap_weight"]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-wait=1,2"],
         ["gap_wait", "Did you mean gap_weight?"]),
        (["cql", "--data", "SWINGS", "--sweep", "gap-weight=1,2"], [SWEEP]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-weight="], [SWEEP]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-weight"], [SWEEP]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-weight=1,a"], [SWEEP]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-weight=1,a", "--sweep",
          "algo.lr=1"], [SWEEP]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.gap-weight=1,-5"],
         ["--algo.gap-weight must be zero or more; found -5"]),
        (["calql", "--data", "SWINGS", "--sweep", "algo.discount=0.9,0.99"],
         ["calql cannot sweep discount"]),
        (["cql", "--data", "SWINGS", "--finetune-steps", "500"],
         ["--finetune-steps needs --finetune-env ID"]),
        (["cql", "--data", "SWINGS", "--finetune-env", "Pendulum-v1"],
         ["--finetune-steps must be at least a batch (256); found 0"]),
        (["cql", "--data", "CARTS"],
         ["carts.hdf5 has Discrete(2). Try: softq train cql_discrete --data"]),
        (["cql-discrete", "--data", "SWINGS"],
         ["swings.hdf5 has Box(-2.0,). Try: softq train cql --data"]),
        (["cql", "--data", "SWINGS", "--eval-env", "CartPole-v1"],
         ["observations of 3 numbers, CartPole-v1 has 4",
          "Give the environment that the data is of"]),
        (["cql", "--data", "SWINGS", "--eval-env", "Pendulun-v1"],
         ["Did you mean Pendulum-v1?"]),
        (["cql", "--data", "nowhere.hdf5"], ["there is no file nowhere.hdf5"]),
        (["cql", "--data", "SWINGS", "--algo.gap-damping", "1"],
         ["--algo.gap-damping does nothing without --algo.gap-target X"]),
        (["cql", "--data", "SWINGS", "--sweep", "algo.initial-weight=1,2"],
         ["--algo.initial-weight does nothing without --algo.gap-target X"]),
        (["cql", "--data", "SWINGS", "--algo.scoring", "bfloat16"],
         ["does nothing without --algo.gap-gradient sampled"]),
        (["cql", "--data", "SWINGS", "--algo.temp", "2", "--algo.gap", "rho"],
         ["--algo.temp does nothing without --algo.gap entropy. Add that, or leave"]),
        (["cql", "--data", "SWINGS", "--algo.backup-entropy", "--algo.max-backup", "2"],
         ["both value the next state: leave one out"]),
        (["cql", "--data", "SWINGS", "--data.reward-scale", "0"],
         ["--data.reward-scale must be more than zero"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_the_users_words(
    args: list[str], says: list[str], swings: str, carts: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [{"SWINGS": swings, "CARTS": carts}.get(x, x) for x in args]
    assert cli.main(["train", *given]) == 2
    told = capsys.readouterr()
    for words in says:
        assert words in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("name", "file", "other"),
    [("cql", "carts", "cql_discrete"), ("cql-discrete", "swings", "cql")],
)
def test_the_algorithm_for_the_other_actions_is_named(
    name: str, file: str, other: str, request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = request.getfixturevalue(file)
    assert cli.main(["train", name, "--data", path]) == 2
    assert f"Try: softq train {other} --data {path}" in capsys.readouterr().err


def test_every_combination_of_two_sweeps_is_a_setting() -> None:
    asked = options.swept("cql", ("algo.gap-weight=1,5", "algo.lr=1e-3,1e-4,1e-5"))
    made = plan.Plan("cql", "", cql.Config(), seeds=2, sweep=asked)
    assert made.seed_range.lanes == 12
    assert [made.setting(k) for k in (0, 1, 2, 11)] == [
        "gap_weight=1, lr=0.001", "gap_weight=1, lr=0.001", "gap_weight=1, lr=0.0001",
        "gap_weight=5, lr=1e-05",
    ]  # fmt: skip
    assert made.config(11).lr == 1e-5
    assert made.swept.gap_weight.tolist() == [1, 1, 1, 5, 5, 5]


def test_a_sweep_over_one_value_is_a_plain_run() -> None:
    asked = options.swept("cql", ("algo.gap-weight=7",))
    made = plan.Plan("cql", "", cql.Config(), sweep=asked)
    assert np.shape(made.swept.gap_weight) == ()
    assert float(made.swept.gap_weight) == 7.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Give env, or data"),
        ({"env": "Pendulum-v1", "data": columns()}, "give env or data, not both"),
        ({"data": columns(), "sweep": {"gap_wait": [1]}}, "Did you mean gap_weight"),
        ({"data": columns(), "sweep": {"hidden": [8]}}, "hidden cannot be swept"),
        ({"data": columns(), "sweep": {"gap_weight": []}}, "gap_weight needs values"),
        ({"data": columns(), "finetune_env": "CartPole-v1", "finetune_steps": 300},
         "3 numbers, CartPole-v1 has 4"),
        ({"data": {"observations": np.zeros((3, 2), F)}}, "actions"),
    ],
)  # fmt: skip
def test_the_same_in_python(given: dict[str, Any], says: str) -> None:
    with pytest.raises(softq.SoftqError, match=says):
        softq.train("cql", **given)
