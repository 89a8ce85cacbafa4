"""`softq collect`: what is in the file is what happened in the environment."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
import pytest
from conftest import TINY
from gymnasium.envs.registration import EnvSpec

import softq
from softq import cli
from softq.collect import collect
from softq.data import offline
from softq.envs import make, spec_of
from softq.envs.host import episode_seed
from softq.evaluate import STREAM

h5py = pytest.importorskip("h5py")
Rows = dict[str, np.ndarray]


def rows(path: Path) -> Rows:
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file if name != "metadata"}


def meta(path: Path) -> dict[str, str]:
    with h5py.File(path) as file:
        return {k: v[()].decode() for k, v in file["metadata"].items()}


def replay(env_id: str, seed: int, found: Rows) -> None:
    """The rows are what the environment does with these actions and this seed."""
    env, obs, number = make(env_id), None, 0
    for i, action in enumerate(found["actions"]):
        if obs is None:
            obs, _ = env.reset(seed=episode_seed(seed, 0, number))
            number += 1
        np.testing.assert_array_equal(found["observations"][i], obs.astype("f4"))
        obs, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(found["next_observations"][i], obs.astype("f4"))
        assert found["rewards"][i] == np.float32(reward)
        assert found["terminals"][i] == terminated
        last = i == len(found["actions"]) - 1
        assert found["timeouts"][i] == ((truncated or last) and not terminated)
        if terminated or truncated:
            obs = None
    env.close()


class Recorder(gymnasium.Wrapper):  # type: ignore[type-arg]
    """Keeps every step: the oracle of what a run has done."""

    def __init__(self, env_id: str):
        super().__init__(gymnasium.make(env_id))
        self.steps: list[tuple[Any, ...]] = []

    def reset(self, **options: Any) -> Any:
        self.at, info = super().reset(**options)
        return self.at, info

    def step(self, action: Any) -> Any:
        taken = super().step(action)
        self.steps.append((self.at, action, *taken[:4]))
        self.at = taken[0]
        return taken


def known(env_id: str, made: Any) -> tuple[str, EnvSpec]:
    """An entry of Gymnasium's registry that a function makes."""
    return env_id, EnvSpec(env_id, entry_point=lambda **_: made())


class Past(NamedTuple):
    """A finished run, what its environment saw, and how much of it it remembers."""

    run: Path
    env_id: str
    steps: list[tuple[Any, ...]]
    kept: int


def past(folder: Path, algorithm: str, env_id: str, **changes: Any) -> Past:
    made: list[Recorder] = []

    def factory() -> gymnasium.Env:
        made.append(Recorder(env_id))
        return made[-1]

    options = {**TINY, "eval_every": 0, "checkpoint_every": 0, **changes}
    softq.train(algorithm, env=factory, out=folder / "run", **options)
    kept = min(options.get("capacity", 10**6), options["steps"])
    return Past(folder / "run", env_id, made[0].steps[-kept:], kept)


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Two time limits, the first of which the ring has nearly forgotten."""
    folder = tmp_path_factory.mktemp("sac")
    return past(folder, "sac", "Pendulum-v1", steps=230, capacity=120)


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("discrete")
    return past(folder, "sac_discrete", "CartPole-v1", steps=90)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1", "softq/Grid-v0"])
def test_uniform_actions(
    env_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "data.hdf5"
    args = ["collect", "random", "--env", env_id, "--steps", "230", "--seed", "3"]
    assert cli.main([*args, "--out", str(out)]) == 0
    found = rows(out)
    replay(env_id, 3, found)
    ends = found["terminals"] | found["timeouts"]
    assert len(ends) == 230
    assert ends[-1]
    assert "230 steps" in (told := capsys.readouterr().out)
    # The last is cut where the steps end: its return is of no whole episode.
    assert f"whole episodes: {ends[:-1].sum()}, mean return" in told
    env = make(env_id)
    assert found["actions"].dtype == env.action_space.dtype
    assert all(env.action_space.contains(a) for a in found["actions"])
    spec, actions = spec_of(env), found["actions"]
    if spec.num_actions:
        assert len(np.unique(actions)) == spec.num_actions
    else:
        assert actions.min() < -1.5
        assert actions.max() > 1.5
    read = offline.read(out, spec=spec)
    assert (read.about.env_id, read.about.transitions) == (env_id, 230)
    np.testing.assert_array_equal(read.batch.reward, found["rewards"])
    np.testing.assert_array_equal(read.ends, ends)


def test_shares_of_two_runs(pendulum: Past, tmp_path: Path) -> None:
    out = tmp_path / "mixed.hdf5"
    told = collect([str(pendulum.run), "random"], 31, out, "Pendulum-v1", seed=5)
    found = rows(out)
    own = {k: x[:16] for k, x in found.items()}
    chance = {k: x[16:] for k, x in found.items()}
    replay("Pendulum-v1", 5, own)
    replay("Pendulum-v1", 6, chance)
    policy = softq.load(pendulum.run)
    root = jax.random.fold_in(jax.random.key(5), STREAM)
    for t, (obs, action) in enumerate(
        zip(own["observations"], own["actions"], strict=True)
    ):
        drawn = policy(obs, key=jax.random.fold_in(root, t + 1))
        np.testing.assert_array_equal(action, drawn)
    # Both episodes are cut where the steps end: no return of a whole one.
    assert told == {"steps": 31, "episodes": 0, "mean_return": None}
    about = meta(out)
    assert about["env_id"] == "Pendulum-v1"
    assert about["acting"] == "sampled"
    assert json.loads(about["policies"]) == [
        {"run": "run", "steps": 16}, {"run": "random", "steps": 15},
    ]  # fmt: skip
    assert json.loads(about["env_spec"])["id"] == "Pendulum-v1"


def test_the_same_data_are_the_same_file(pendulum: Past, tmp_path: Path) -> None:
    """Wherever the run lies, and from wherever it is named."""
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(pendulum.run, moved)
    for k, run in enumerate((pendulum.run, moved)):
        collect([str(run)], 8, tmp_path / f"{k}.hdf5", "Pendulum-v1", replay=True)
    assert (tmp_path / "0.hdf5").read_bytes() == (tmp_path / "1.hdf5").read_bytes()


def test_greedy_actions(pendulum: Past, tmp_path: Path) -> None:
    out = tmp_path / "a.hdf5"
    args = [
        "collect",
        str(pendulum.run),
        "--env",
        "Pendulum-v1",
        "--steps",
        "12",
        "--greedy",
    ]
    assert cli.main([*args, "--out", str(out)]) == 0
    found, policy = rows(out), softq.load(pendulum.run)
    replay("Pendulum-v1", 0, found)
    for obs, action in zip(found["observations"], found["actions"], strict=True):
        np.testing.assert_array_equal(action, policy(obs))
    assert meta(out)["acting"] == "greedy"
    again = tmp_path / "b.hdf5"
    collect([str(pendulum.run)], 12, again, "Pendulum-v1", greedy=True)
    for name, column in rows(again).items():
        np.testing.assert_array_equal(column, found[name])


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_minari_holds_the_same(env_id: str, tmp_path: Path) -> None:
    flat, folder = tmp_path / "a.hdf5", tmp_path / "minari"
    collect(["random"], 250, flat, env_id)
    collect(["random"], 250, folder, env_id, form="minari")
    one, other = (offline.read(path) for path in (flat, folder))
    assert other.about.format == "minari"
    assert other.about.env_id == env_id
    for a, b in zip(one.batch[:5], other.batch[:5], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.ends, other.ends)


@pytest.mark.parametrize("which", ["pendulum", "cartpole"])
def test_replay_is_what_the_run_did(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run, env_id, steps, kept = request.getfixturevalue(which)
    out = tmp_path / "a.hdf5"
    collect([str(run)], kept, out, env_id, replay=True)
    found = rows(out)
    columns = [np.array(column) for column in zip(*steps, strict=True)]
    obs, actions, after, rewards, terminated, truncated = columns
    np.testing.assert_array_equal(found["observations"], obs)
    np.testing.assert_array_equal(found["next_observations"], after)
    np.testing.assert_array_equal(found["terminals"], terminated)
    np.testing.assert_array_equal(found["rewards"], rewards.astype("f4"))
    np.testing.assert_allclose(found["actions"], actions, atol=1e-5)
    truncated[-1] = not terminated[-1]  # the file's end cuts the episode
    np.testing.assert_array_equal(found["timeouts"], truncated & ~terminated)
    assert (found["timeouts"] | found["terminals"]).sum() > 1
    assert meta(out)["acting"] == "replay"
    if which == "pendulum":
        assert np.flatnonzero(found["timeouts"]).tolist() == [89, 119]
    else:
        assert found["terminals"].sum() > 1
    few = tmp_path / "few.hdf5"
    for n in (1, 7):
        collect([str(run)], n, few, env_id, replay=True)
        for name, column in rows(few).items():
            if name != "timeouts":
                np.testing.assert_array_equal(column, found[name][-n:])
        few.unlink()
    args = ["collect", str(run), "--replay", "--env", env_id, "--out", str(few)]
    assert cli.main([*args, "--steps", str(kept + 1)]) == 2
    assert not few.exists()


def test_what_cannot_be_meant(
    pendulum: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out, several = str(pendulum.run), tmp_path / "out.hdf5", tmp_path / "several"
    shutil.copytree(pendulum.run, several)
    config = json.loads((several / "config.json").read_text())
    config["plan"]["loop"]["num_envs"] = 2
    (several / "config.json").write_text(json.dumps(config))
    for args, says in (
        ([run, "--steps", "0"], "--steps must be at least one a run; found 0"),
        ([run, "random", "--steps", "1"], "at least one a run; found 1"),
        (["random", "--steps", "9"], "Add --env ID"),
        (["--steps", "9", "--env", "Pendulum-v1"], "Give a run, or random"),
        ([run, "--steps", "9"], "Add --env ID"),
        (["nowhere", "--steps", "9"], "nowhere is no run"),
        ([run, "--steps", "9", "--env", "Pendulun-v1"], "Did you mean Pendulum-v1?"),
        ([run, "--steps", "9", "--env", "CartPole-v1"], "was trained on"),
        (
            [run, "--steps", "121", "--replay", "--env", "Pendulum-v1"],
            "remembers 120 steps; found --steps 121",
        ),
        (
            [str(several), "--steps", "9", "--replay", "--env", "Pendulum-v1"],
            "of one seed in one environment",
        ),
    ):
        try:
            code = cli.main(["collect", *args, "--out", str(out)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr().err
        assert code == 2
        assert says in told
        assert "Traceback" not in told
        assert sorted(p.name for p in tmp_path.iterdir()) == ["several"]


def test_an_existing_file_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "folder"
    mine.write_text("precious")
    folder.mkdir()
    args = ["collect", "random", "--env", "Pendulum-v1", "--steps", "5", "--out"]
    assert cli.main([*args, str(mine)]) == 2
    assert "Remove it, or give another --out" in capsys.readouterr().err
    assert cli.main([*args, str(folder), "--format", "minari"]) == 2
    assert mine.read_text() == "precious"
    assert list(folder.iterdir()) == []


class Brittle(gymnasium.Wrapper):  # type: ignore[type-arg]
    """Pendulum that goes wrong at its 30th step."""

    def __init__(self, how: str):
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.how, self.count = how, 0

    def step(self, action: Any) -> Any:
        self.count += 1
        obs, reward, *rest = super().step(action)
        if self.count == 30 and self.how == "raises":
            raise RuntimeError("the motor burnt out")
        return obs, np.nan if self.count == 30 else reward, *rest


@pytest.mark.parametrize("form", ["d4rl", "minari"])
@pytest.mark.parametrize(
    ("how", "says"),
    [("raises", "RuntimeError in step: the motor burnt out"), ("nan", "that is nan")],
)
def test_nothing_is_half_written(
    form: str, how: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(gymnasium.registry, *known("Brittle-v0", lambda: Brittle(how)))
    monkeypatch.setattr("softq.collect.BLOCK", 8)  # blocks are on the disk by then
    args = ["collect", "random", "--env", "Brittle-v0", "--format", form, "--out"]
    assert cli.main([*args, str(tmp_path / "a"), "--steps", "60"]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert cli.main([*args, str(tmp_path / "a"), "--steps", "29"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


class Matrix(gymnasium.ObservationWrapper):  # type: ignore[type-arg]
    """CartPole seen as a 2 × 2 table of doubles."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2, 2), np.float64)

    def observation(self, obs: np.ndarray) -> np.ndarray:
        return obs.reshape(2, 2).astype(np.float64)


def test_observations_are_stored_as_softq_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gymnasium.registry, *known("Matrix-v0", Matrix))
    collect(["random"], 30, tmp_path / "a.hdf5", "Matrix-v0")
    found = rows(tmp_path / "a.hdf5")["observations"]
    assert (found.shape, found.dtype) == ((30, 4), np.float32)
    collect(["random"], 30, tmp_path / "b.hdf5", "CartPole-v1")
    np.testing.assert_array_equal(rows(tmp_path / "b.hdf5")["observations"], found)


def test_a_replay_is_of_the_runs_own_environment(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.hdf5"
    args = ["collect", str(pendulum_run), "--replay", "--steps", "5", "--out", str(out)]
    assert cli.main([*args, "--env", "CartPole-v1"]) == 2
    assert "remembers Pendulum-v1; found --env CartPole-v1" in capsys.readouterr().err
    assert not out.exists()
