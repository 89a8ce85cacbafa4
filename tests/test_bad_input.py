"""Every mistake a user can make ends in one clear sentence and exit code 2."""

import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import softq
from softq import cli, limits, plan
from softq.algos import ALGOS, sac
from softq.types import SoftqError, config

Tiny = Callable[..., dict[str, Any]]
TRAIN = ["train", "sac", "--env", "Pendulum-v1"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tran"], ["no command tran", "Did you mean train?"]),
        (["train"], ["Try: softq train sac --env ID"]),
        (["train", "sax", "--env", "Pendulum-v1"], ["sax", "Did you mean sac?"]),
        (["train", "sac", "--env", "Pendulun-v1"], ["Did you mean Pendulum-v1?"]),
        (["train", "sac", "--env", "no_such_thing:Maze-v0"],
         ["needs the package no_such_thing", "pip install no_such_thing"]),
        (
            ["train", "sac", "--env", "CartPole-v1"],
            ["sac needs continuous actions; CartPole-v1 has Discrete(2)",
             "Try: softq train sac_discrete --env CartPole-v1"],
        ),
        (
            ["train", "sac-discrete", "--env", "Pendulum-v1"],
            ["needs discrete actions", "Try: softq train sac --env Pendulum-v1"],
        ),
        (
            ["train", "sql", "--env", "CartPole-v1"],
            ["sql needs continuous actions; CartPole-v1 has Discrete(2)",
             "Try: softq train soft_dqn --env CartPole-v1"],
        ),
        (
            ["train", "soft-dqn", "--env", "Pendulum-v1"],
            ["soft_dqn needs discrete actions", "Try: softq train sql"],
        ),
        (
            ["train", "sql", "--env", "Pendulum-v1", "--algo.particles", "1"],
            ["--algo.particles must be 4 or more", "found 1"],
        ),
        (
            ["train", "sql", "--env", "Pendulum-v1", "--algo.alpha", "0"],
            ["--algo.alpha must be more than zero; found 0", "--algo.alpha 0.01"],
        ),
        (
            ["train", "sql", "--env", "Pendulum-v1", "--algo.alpha", "-1"],
            ["--algo.alpha must be more than zero; found -1"],
        ),
        ([*TRAIN, "--init-from", "nowhere"], ["nowhere is no run"]),
        ([*TRAIN, "--steps", "0"], ["--steps must be more than zero; found 0"]),
        ([*TRAIN, "--steps", "-5"], ["--steps must be more than zero; found -5"]),
        ([*TRAIN, "--num-envs", "0"], ["--num-envs must be more than zero; found 0"]),
        ([*TRAIN, "--seeds", "0"], ["--seeds must be more than zero; found 0"]),
        ([*TRAIN, "--algo.lr", "0"], ["--algo.lr must be more than zero; found 0.0"]),
        ([*TRAIN, "--algo.lr", "nan"], ["--algo.lr must be more than zero; found nan"]),
        ([*TRAIN, "--algo.alpha", "-1"], ["--algo.alpha must be zero or more"]),
        ([*TRAIN, "--algo.discount", "1.5"], ["--algo.discount must be at most 1"]),
        ([*TRAIN, "--algo.hidden", "64", "0"], ["--algo.hidden must be more"]),
        (
            [*TRAIN, "--batch-size", "512", "--capacity", "256"],
            ["a batch of 512 is larger than the replay ring, which holds 256",
             "Try: --capacity"],
        ),
        (
            [*TRAIN, "--steps", "10"],
            ["a batch of 256 is larger than the 10 steps", "Try: --batch-size 1"],
        ),
        (
            [*TRAIN, "--capacity", str(10**12), "--steps", str(10**12)],
            ["a replay ring of 1,000,000,000,000 rows needs", "GiB", "Try: --capacity"],
        ),
        ([*TRAIN, "--out", "/dev/null/run"], ["cannot write to /dev/null/run"]),
        ([*TRAIN, "--out", "a" * 300], ["File name too long"]),
        ([*TRAIN, "--seed", str(2**64)], ["--seed must be less than 2^63"]),
        (["train", "sac", "--env", ""], ["needs --env ID or --data FILE"]),
        (["train", "sac", "--env", ":Foo"], [":Foo cannot be made"]),
        (["train", "sac", "--env", "GymV21Environment-v0"], ["cannot be made"]),
        (
            ["train", "cql", "--env", "Pendulum-v1", "--preset", "mujoco",
             "--finetune-steps", "77"],
            ["--finetune-steps goes with --data"],
        ),
        (
            ["collect", "random", "--env", "Pendulum-v1", "--steps", "5", "--seed",
             "-1", "--out", "x.hdf5"],
            ["a seed must be from 0"],
        ),
        (
            ["train", "sac", "--env", "softq/Pendulum-v0", "--overlap"],
            ["runs on the device", "--overlap"],
        ),
        (
            ["solve", "soft-vi", "--mdp", "chain", "--tol", "nan"],
            ["--tol must be more than zero; found nan"],
        ),
        (["resume", "nowhere"], ["nowhere is no run"]),
        (["evaluate", "nowhere"], ["nowhere is no run"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_the_users_words(
    args: list[str], says: list[str], capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(args) == 2
    told = capsys.readouterr()
    for words in says:
        assert words in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.rglob("*")) == []  # nothing half-written


def test_an_unknown_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*TRAIN, "--algo.lrr", "1"])
    assert ended.value.code == 2
    assert "--algo.lr" in capsys.readouterr().err


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(softq.SoftqError, match="Did you mean steps"):
        softq.train("sac", env="Pendulum-v1", stepps=3)
    with pytest.raises(softq.SoftqError, match="Did you mean polyak"):
        softq.train("sac", env="Pendulum-v1", algo={"polyack": 0.1})


def test_a_missing_package_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("mujoco is not installed")

    monkeypatch.setattr(gymnasium, "make", refuse)
    with pytest.raises(softq.SoftqError, match=r'pip install "softq\[mujoco\]"'):
        softq.train("sac", env="HalfCheetah-v5")


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (gymnasium.spaces.MultiDiscrete([2, 3]), "a flat Box or Discrete"),
        (gymnasium.spaces.Box(-np.inf, np.inf, (2,)), "without bounds"),
        (gymnasium.spaces.Box(-1.0, 1.0, (2, 2)), "a flat Box or Discrete"),
    ],
)
def test_an_unsupported_action_space_is_refused(
    space: gymnasium.Space[Any], says: str
) -> None:
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.action_space = space
    with pytest.raises(softq.SoftqError, match=says):
        softq.train("sac", env=env)


def test_float_images_are_refused() -> None:
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.observation_space = gymnasium.spaces.Box(0.0, 1.0, (8, 8, 3), np.float32)
    with pytest.raises(softq.SoftqError, match="needs bytes"):
        softq.train("sac", env=env)


def test_images_too_small_for_the_network_are_refused() -> None:
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.observation_space = gymnasium.spaces.Box(0, 255, (6, 9, 3), np.uint8)
    with pytest.raises(softq.SoftqError, match=r"6 × 9 pixels.*needs 7 × 7"):
        softq.train("sac", env=env)


def test_an_existing_directory_is_left_alone(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(softq.SoftqError, match=r"exists\. Try: softq resume"):
        softq.train("sac", env="Pendulum-v1", out=tmp_path, **tiny())
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


class Failing(gymnasium.Wrapper):  # type: ignore[type-arg]
    """Pendulum whose 75th step goes wrong."""

    def __init__(self, how: str, at: int = 75):
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.how, self.at, self.count = how, at, 0

    def step(self, action: Any) -> Any:
        self.count += 1
        obs, reward, terminated, truncated, info = super().step(action)
        if self.count == self.at:
            if self.how == "raises":
                raise RuntimeError("the motor burnt out")
            if self.how == "reward":
                reward = float("nan")
            if self.how == "observation":
                obs = np.array([0.0, np.inf, 0.0], np.float32)
        return obs, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raises", "raised RuntimeError in step: the motor burnt out"),
        ("reward", "returned a reward that is nan"),
        ("observation", "returned an observation whose entry 1 is inf"),
    ],
)
def test_a_failing_environment_ends_the_run_with_a_checkpoint(
    how: str, says: str, tmp_path: Path, tiny: Tiny
) -> None:
    out = tmp_path / "run"
    # The start-up check steps an instance of its own, so only count real steps.
    made: list[Failing] = []

    def factory() -> gymnasium.Env:
        made.append(Failing(how if not made else "never", at=75 + 60))
        return made[-1]

    with pytest.raises(softq.SoftqError) as error:
        softq.train("sac", env=factory, out=out, **tiny())
    assert says in str(error.value)
    assert "step 74 of episode 0" in str(error.value)
    assert f"softq resume {out}" in str(error.value)
    if how != "raises":
        return
    healthy = softq.resume(out, env=lambda: Failing("never"))
    assert healthy.step == 120
    # Going on after the repair is what an undisturbed run would have done.
    whole = softq.train("sac", env=lambda: Failing("never"), **tiny())
    obs = np.zeros(3, np.float32)
    np.testing.assert_array_equal(healthy.policy(obs), whole.policy(obs))


def test_a_reset_that_fails_ends_the_run_in_words(tiny: Tiny) -> None:
    class Lost(gymnasium.Wrapper):
        resets = 0

        def reset(self, **options: Any) -> Any:
            self.resets += 1
            if self.resets > 3:  # two of the start-up check, and the first episode's
                raise ConnectionError("simulator lost")
            return self.env.reset(**options)

    def factory() -> gymnasium.Env:
        return Lost(gymnasium.make("tests/Pendulum-v0"))

    with pytest.raises(softq.SoftqError, match="raised ConnectionError in reset: sim"):
        softq.train("sac", env=factory, **tiny(eval_every=0))


def test_one_object_is_not_two_environments(tiny: Tiny) -> None:
    one = gymnasium.make("Pendulum-v1")
    with pytest.raises(softq.SoftqError, match="must make a new one each time"):
        softq.train("sac", env=lambda: one, **tiny(num_envs=2))


@pytest.mark.parametrize("env", [42, lambda: 3])
def test_what_is_no_environment(env: Any, tiny: Tiny, untyped: None) -> None:
    with pytest.raises(softq.SoftqError, match="or a function that makes one; found"):
        softq.train("sac", env=env, **tiny())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sweep": {"gap_weight": "10"}}, "a list of numbers; found '10'"),
        ({"sweep": {"gap_weight": np.array([])}}, "needs values, as in 1,5,10"),
        ({"sweep": 5}, "sweep must be a dict of knobs; found 5"),
        ({"preset": "antmaze"}, "the preset antmaze is for data: give data"),
        ({"algo": plan.Cadence()}, "algo must be a dict, or the Config of cql"),
    ],
)
def test_options_in_python_that_cannot_be_meant(
    options: dict[str, Any], says: str, untyped: None
) -> None:
    with pytest.raises(softq.SoftqError, match=says):
        plan.build("cql", "Pendulum-v1", options)


def test_arrays_are_values_of_a_sweep() -> None:
    options = {"sweep": {"gap_weight": np.array([1.0, 5.0])}}
    assert plan.build("cql", "E", options).sweep[0].values == (1.0, 5.0)


def damage_truncate(run: Path, step: int) -> None:
    path = run / "checkpoints" / str(step) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def damage_flip(run: Path, step: int) -> None:
    path = run / "checkpoints" / str(step) / "replay.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def damage_manifest(run: Path, step: int) -> None:
    (run / "checkpoints" / str(step) / "manifest.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_manifest])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    damage: Callable[[Path, int], None], pendulum_run: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(pendulum_run, run)
    damage(run, 120)
    assert cli.main(["resume", str(run)]) == 0
    assert "skipping a checkpoint" in capsys.readouterr().out
    for name in ("metrics.jsonl", "evals.jsonl"):
        assert timeless(run / name) == timeless(pendulum_run / name)


def timeless(path: Path) -> list[dict[str, Any]]:
    """A file's records without what depends on the clock."""
    from softq.log import TIMING

    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in TIMING} for r in records]


def test_no_whole_checkpoint_is_said(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(pendulum_run, run)
    for step in (120, 80):
        damage_truncate(run, step)
    assert cli.main(["resume", str(run)]) == 2
    assert "no whole checkpoint" in capsys.readouterr().err


def test_another_configs_state_is_refused(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(pendulum_run, run)
    config = json.loads((run / "config.json").read_text())
    config["plan"]["algo"]["hidden"] = [8, 9]
    (run / "config.json").write_text(json.dumps(config))
    assert cli.main(["evaluate", str(run)]) == 2
    told = capsys.readouterr().err
    assert "float32[8, 8]" in told
    assert "this run's is float32[8, 9]" in told


def test_another_algorithms_state_is_refused(
    pendulum_run: Path, tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    other, run = tmp_path / "other", tmp_path / "run"
    softq.train("sac_discrete", env="CartPole-v1", out=other, **tiny())
    shutil.copytree(pendulum_run, run)
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(other / "checkpoints", run / "checkpoints")
    assert cli.main(["resume", str(run)]) == 2
    assert "this run's is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["plan"].update(seed="zero"), "is no int"),
        (lambda c: c["plan"].pop("loop"), "Plan must have algorithm"),
        (lambda c: c.pop("spec"), "damaged"),
        (lambda c: c["plan"].update(algorithm="rm"), "no algorithm is called rm"),
        (lambda c: c["plan"].update(seeds=0), "is damaged: seeds is 0"),
        (lambda c: c["plan"].update(seed=-1), "is damaged: seed is -1"),
        (lambda c: c["plan"]["loop"].update(num_envs=0), "num_envs is 0"),
        (lambda c: c["plan"]["loop"].update(steps=-5), "steps is -5"),
        (lambda c: c["plan"]["algo"].update(hidden=[8, -3]), "hidden is -3"),
        (
            lambda c: c["plan"].update(sweep=[{"knob": "zzz", "values": [1.0]}]),
            "its sweep is none",
        ),
        (
            lambda c: c["plan"].update(sweep=[{"knob": "lr", "values": []}]),
            "its sweep is none",
        ),
        (lambda c: c["spec"].update(obs_shape=[2**40, 2**40]), "obs_shape is"),
    ],
)
def test_a_damaged_config_is_told(
    change: Callable[[dict[str, Any]], Any],
    says: str,
    pendulum_run: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = json.loads((pendulum_run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(softq.SoftqError, match=says):
        softq.load(run)


def test_config_json_reads_back_as_the_same_plan(
    pendulum_run: Path, tiny: Tiny
) -> None:
    made, spec, content = plan.read(pendulum_run)
    assert made == plan.build("sac", "Pendulum-v1", tiny())
    assert spec.low == (-2.0,)
    assert content["replayable"] is True
    assert {"jax", "numpy", "python"} <= content["versions"].keys()


def test_a_policy_refuses_a_wrong_shape(pendulum_run: Path) -> None:
    policy = softq.load(pendulum_run)
    with pytest.raises(
        softq.SoftqError, match=r"shape \(4,\); this policy takes \(3,\)"
    ):
        policy(np.zeros(4))
    with pytest.raises(softq.SoftqError, match="no checkpoint at step 7"):
        softq.load(pendulum_run, 7)
    with pytest.raises(softq.SoftqError, match="has seeds 0 to 0; found 3"):
        softq.load(pendulum_run, seed=3)
    with pytest.raises(softq.SoftqError, match="the policy was trained on"):
        softq.evaluate(policy, "MountainCarContinuous-v0", episodes=1)


def test_a_checkpoint_of_no_such_kind(pendulum_run: Path, untyped: None) -> None:
    which: Any = "frist"
    with pytest.raises(softq.SoftqError, match="last, best or a step; found 'frist'"):
        softq.load(pendulum_run, which)


def test_what_anothers_knobs_may_be_is_not_for_us_to_say() -> None:
    """An algorithm from outside may call a number of its own -1."""

    @config
    class Own:
        lowest: float = -1.0

    module = types.ModuleType("own_algorithm")
    vars(module).update(vars(sac), __name__="own_algorithm", Config=Own)
    ALGOS["own"] = module  # type: ignore[assignment]
    try:
        limits.check(plan.Plan("own", "Pendulum-v1", Own()))
    finally:
        del ALGOS["own"]
    with pytest.raises(SoftqError, match=r"--algo\.lr must be more than zero"):
        limits.check(plan.Plan("sac", "Pendulum-v1", sac.Config(lr=-1.0)))
