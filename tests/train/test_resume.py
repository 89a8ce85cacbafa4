"""Exact resume: stopped and resumed equals never stopped, bit for bit."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import softq
from softq import checkpoint, drive, log, plan
from softq.log import TIMING
from softq.types import Progress

Tiny = Callable[..., dict[str, Any]]
ENV = "tests/Pendulum-v0"
WORLDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "host": ("sac", ENV, {}),
    "host, two environments, normalised": (
        "sac", ENV, {"num_envs": 2, "normalize_obs": True},
    ),
    "host, two seeds, overlap": ("sac", ENV, {"seeds": 2, "overlap": True}),
    "host, discrete, episodes end": ("sac_discrete", "CartPole-v1", {"utd": 2}),
    "device": ("sac", "softq/Pendulum-v0", {}),
    "device, two seeds, normalised": (
        "sac_discrete", "softq/Grid-v0", {"seeds": 2, "normalize_obs": True},
    ),
    "device, two seeds of each of two settings": (
        "sac", "softq/Pendulum-v0", {"seeds": 2, "sweep": {"lr": [1e-4, 1e-2]}},
    ),
    "ring that wraps": ("sac", ENV, {"capacity": 30}),
}  # fmt: skip


def records(run: Path, name: str) -> list[dict[str, Any]]:
    """A file's records without what depends on the clock."""
    lines = (run / name).read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMING} for x in lines]


def hashes(run: Path, step: int = 120) -> dict[str, str]:
    """sha256 of the files of the last checkpoint, taken from the files themselves."""
    folder = run / "checkpoints" / str(step)
    names = ("state.safetensors", "replay.safetensors", "host.safetensors")
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}


def stop_at(step: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.step >= step


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
def test_a_resumed_run_equals_an_uninterrupted_one(
    world: tuple[str, str, dict[str, Any]], tmp_path: Path, tiny: Tiny
) -> None:
    algorithm, env, changes = world
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    softq.train(algorithm, env=env, out=whole, **tiny(**changes))
    softq.train(
        algorithm, env=env, out=parts, on_progress=stop_at(50), **tiny(**changes)
    )
    assert not (parts / "checkpoints" / "120").exists()
    softq.resume(parts)
    assert hashes(parts) == hashes(whole)
    for name in ("metrics.jsonl", "evals.jsonl"):
        assert records(parts, name) == records(whole, name)
        assert records(whole, name)


def test_evaluating_never_changes_a_run(tmp_path: Path, tiny: Tiny) -> None:
    watched, unwatched = tmp_path / "watched", tmp_path / "unwatched"
    softq.train("sac", env=ENV, out=watched, **tiny(eval_every=20))
    softq.train("sac", env=ENV, out=unwatched, **tiny(eval_every=0, log_every=7))
    assert hashes(watched) == hashes(unwatched)


def test_a_signal_ends_the_run_after_a_checkpoint(tmp_path: Path, tiny: Tiny) -> None:
    def send(progress: Progress) -> None:
        if progress.step == 70:
            os.kill(os.getpid(), signal.SIGTERM)

    run = softq.train("sac", env=ENV, out=tmp_path / "run", on_progress=send,
                      **tiny())  # fmt: skip
    assert run.stopped == signal.SIGTERM
    assert checkpoint.steps(tmp_path / "run")[0] == run.step < 120


class Forgetful(gymnasium.Wrapper):  # type: ignore[type-arg]
    """A Pendulum that its seed does not determine."""

    def reset(self, **options: Any) -> Any:
        options["seed"] = int.from_bytes(os.urandom(3), "big")
        return super().reset(**options)


def test_an_environment_that_cannot_be_replayed_says_so(
    tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    def factory() -> gymnasium.Env:
        return Forgetful(gymnasium.make("Pendulum-v1"))

    out = tmp_path / "run"
    softq.train("sac", env=factory, out=out, on_progress=stop_at(50), **tiny())
    assert plan.read(out)[2]["replayable"] is False
    softq.resume(out, env=factory)
    assert "exact: false" in capsys.readouterr().out
    assert checkpoint.manifest(out, 120)["exact"] is False


def test_an_episode_longer_than_max_replay_is_cut(
    tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "run", tiny(max_replay=10)
    softq.train("sac", env=ENV, out=out, on_progress=stop_at(50), **options)
    softq.resume(out)
    assert "exact: false" in capsys.readouterr().out


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole, fsync, calls = tmp_path / "run", tmp_path / "whole", os.fsync, [0]
    softq.train("sac", env=ENV, out=whole, **tiny())

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] > 12:  # within the second checkpoint
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        softq.SoftqError, match=r"No space left on device.*softq resume"
    ):
        softq.train("sac", env=ENV, out=out, **tiny())
    monkeypatch.undo()
    assert checkpoint.steps(out) == [40]
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["40"]
    softq.resume(out)
    assert hashes(out) == hashes(whole)
    assert records(out, "metrics.jsonl") == records(whole, "metrics.jsonl")


def test_only_the_newest_checkpoints_keep_their_replay(
    tmp_path: Path, tiny: Tiny
) -> None:
    out = tmp_path / "run"
    softq.train("sac", env=ENV, out=out, **tiny(checkpoint_every=20))
    with_replay = [
        step for step in checkpoint.steps(out)
        if (out / "checkpoints" / str(step) / "replay.safetensors").exists()
    ]  # fmt: skip
    assert with_replay == [120, 100]
    best = max(records(out, "evals.jsonl"), key=lambda r: r["greedy"]["return"])["step"]
    assert best in checkpoint.steps(out)
    softq.load(out, "best")(np.zeros(3, np.float32))


def test_a_run_says_once_there_is_nothing_to_go_on_with(
    tiny: Tiny, tmp_path: Path
) -> None:
    out, options = tmp_path / "run", tiny(eval_every=0)
    softq.train("sac", env=ENV, out=out, on_progress=stop_at(40), **options)
    assert not (out / "ended.json").exists()
    softq.resume(out)
    told = json.loads((out / "ended.json").read_text())
    assert told == {"step": 120, "trouble": ""}


class Fine(gymnasium.Env[np.ndarray, np.ndarray]):
    """A world that rounds float64 actions otherwise than float32 ones."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(size=1), 0
        return self.x, {}

    def step(self, action: Any) -> Any:
        self.x, self.t = self.x + 0.1 * action * action, self.t + 1
        return self.x, float(self.x[0]), False, self.t == 100, {}


def test_actions_are_replayed_as_they_were_given(tmp_path: Path, tiny: Tiny) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = tiny(eval_every=0)
    softq.train("sac", env=Fine, out=whole, **options)
    softq.train("sac", env=Fine, out=parts, on_progress=stop_at(70), **options)
    softq.resume(parts, env=Fine)
    assert hashes(parts) == hashes(whole)
    assert records(parts, "metrics.jsonl") == records(whole, "metrics.jsonl")


def test_the_speed_after_a_resume_is_of_its_own_steps() -> None:
    meter = log.Meter([0], [""], 0.0)
    meter.begin(1_000_000)
    meter.mark = (meter.mark[0] - 10.0, meter.mark[1])
    (record,) = meter.records(1_000_100, {})
    assert record["steps_per_s"] == pytest.approx(10.0, rel=0.1)


def test_a_second_signal_does_not_wait() -> None:
    with drive.Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_asked_for_more_often_than_logs_is_done(
    tmp_path: Path, tiny: Tiny
) -> None:
    out = tmp_path / "run"
    cadence = {"log_every": 60, "eval_every": 30, "checkpoint_every": 40}
    softq.train("sac", env="softq/Pendulum-v0", out=out, **tiny(**cadence))
    assert [r["step"] for r in records(out, "evals.jsonl")] == [30, 60, 90, 120]
    assert [r["step"] for r in records(out, "metrics.jsonl")] == [60, 120]


def test_records_without_their_checkpoints_are_never_overwritten(
    pendulum_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(pendulum_run, run)
    shutil.rmtree(run / "checkpoints")
    names = ("metrics.jsonl", "evals.jsonl")
    before = [(run / name).read_bytes() for name in names]
    with pytest.raises(softq.SoftqError, match="records up to step 120 and no check"):
        softq.resume(run)
    assert [(run / name).read_bytes() for name in names] == before


def test_a_run_killed_before_its_first_checkpoint_begins_again(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(pendulum_run, run)
    shutil.rmtree(run / "checkpoints")
    (run / "evals.jsonl").unlink()
    whole = records(run, "metrics.jsonl")
    first = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0]
    (run / "metrics.jsonl").write_bytes(first + first[:9])  # a line half written
    softq.resume(run)
    assert "no checkpoint yet: it begins again at step 0" in capsys.readouterr().out
    assert records(run, "metrics.jsonl") == whole
