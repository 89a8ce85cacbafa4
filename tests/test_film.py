"""A film is a whole video of the episode that `evaluate` scores, or nothing."""

import gc
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from softq import api, cli, film
from softq.algos import sac
from softq.envs.host import episode_seed
from softq.evaluate import STREAM
from softq.policy import Policy
from softq.types import SoftqError, Spec

imageio = pytest.importorskip("imageio.v2", reason="needs softq[video]")
pytest.importorskip("imageio_ffmpeg", reason="needs softq[video]")

# imageio's reader starts ffmpeg with a fork, which JAX warns of.
pytestmark = pytest.mark.filterwarnings(
    "ignore:os.fork\\(\\) was called:RuntimeWarning"
)

ENV, SHORT = "softq/Pendulum-v0", "test/Short-v0"


@pytest.fixture(scope="module")
def policy() -> Policy:
    spec, cfg = Spec((3,), low=(-2.0,), high=(2.0,)), sac.Config(hidden=(8,))
    return Policy(sac, cfg, spec, sac.init(jax.random.key(0), spec, cfg))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filming sets variables; they must not reach other tests."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """The same pendulum with episodes of 20 steps."""
    entry = "softq.envs.register:GymEnv"
    gymnasium.register(SHORT, entry, max_episode_steps=20, kwargs={"env": ENV})
    yield
    del gymnasium.registry[SHORT]


@pytest.fixture
def broken() -> Iterator[dict[str, Any]]:
    """The id test/Broken-v0: a pendulum of 5 steps that misbehaves as told."""
    how: dict[str, Any] = {}

    def made(render_mode: str | None = None) -> gymnasium.Env:
        if error := how.get("make"):
            raise error
        return Broken(how)

    gymnasium.register("test/Broken-v0", made, max_episode_steps=5)
    yield how
    del gymnasium.registry["test/Broken-v0"]


class Broken(gymnasium.Env[np.ndarray, np.ndarray]):
    """Fails, or draws, as `how` says."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, how: dict[str, Any]):
        self.how, self.steps = how, 0
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,))
        self.metadata = {**self.metadata, **how.get("metadata", {})}
        if how.get("mujoco"):
            self.mujoco_renderer = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 3 and (error := self.how.get("step")):
            raise error
        return np.zeros(3, np.float32), 1.0, False, False, {}

    def render(self) -> Any:
        if error := self.how.get("render"):
            raise error
        size = self.how.get("size", (32, 48, 3))
        random = np.random.default_rng(self.steps)
        return self.how.get("frame", random.integers(0, 256, size, np.uint8))


def decoded(video: Path) -> np.ndarray:
    """The frames of a video. imageio's reader forks and leaves its pipes open."""
    form = "GIF" if video.suffix.lower() == ".gif" else "FFMPEG"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = np.stack(imageio.mimread(video, form, memtest=False))
        gc.collect()
    return frames[..., :3].astype(int)


def probed(video: Path) -> str:
    """What ffmpeg says of a file."""
    command = [film._ffmpeg(), "-hide_banner", "-i", str(video)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def test_an_mp4_has_a_frame_for_every_step(policy: Policy, tmp_path: Path) -> None:
    video = tmp_path / "film.mp4"
    seconds, total = film.play(policy, SHORT, video, seed=3, sampled=False)
    assert total < 0
    assert seconds == pytest.approx(21 / 30)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    frames = decoded(video)
    assert frames.shape == (21, 320, 320, 3)  # one before the first step
    change = np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3))
    assert (change > 30).mean() > 0.8
    told = probed(video)
    assert "h264" in told
    assert "yuv420p" in told
    assert "30 fps" in told


def test_the_film_is_of_the_episode_that_evaluate_scores(
    policy: Policy, tmp_path: Path
) -> None:
    video = tmp_path / "film.mp4"
    _, total = film.play(policy, SHORT, video, seed=3, sampled=False)
    scored = api.evaluate(policy, SHORT, episodes=1, seed=3)
    assert total == pytest.approx(scored.greedy.task[0], rel=1e-6)
    env = gymnasium.make(SHORT, render_mode="rgb_array")
    env.reset(seed=episode_seed(3, STREAM, 0))
    wanted: Any = env.render()
    assert np.abs(decoded(video)[0] - wanted).mean() < 3  # h264 loses a little


def test_a_gif_lasts_as_long_as_the_episode(policy: Policy, tmp_path: Path) -> None:
    video = tmp_path / "film.GIF"
    seconds, total = film.play(policy, SHORT, video, seed=3, sampled=True)
    scored = api.evaluate(policy, SHORT, episodes=1, seed=3)
    assert total == pytest.approx(scored.sampled.task[0], rel=1e-6)
    assert total != pytest.approx(scored.greedy.task[0], rel=1e-6)
    assert seconds == pytest.approx(21 / 30)
    frames = decoded(video)
    assert frames.shape == (21, 320, 320, 3)
    assert np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)).min() > 0
    with imageio.get_reader(video, "GIF") as reader:
        each = [reader.get_meta_data(i)["duration"] for i in range(21)]
    assert sum(each) / 1000 == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize(("fps", "kept"), [(8, 6), (50, 6), (100, 3)])
def test_a_gif_is_never_faster_than_viewers_are(
    fps: int, kept: int, policy: Policy, broken: dict[str, Any], tmp_path: Path
) -> None:
    broken["metadata"] = {"render_fps": fps}
    video = tmp_path / "film.gif"
    seconds, total = film.play(policy, "test/Broken-v0", video, 0, False)
    assert (seconds, total) == (6 / fps, 5.0)
    assert len(decoded(video)) == kept


@pytest.mark.parametrize("size", [(32, 48, 3), (33, 47, 3), (240, 160, 3)])
def test_sizes_of_an_mp4_are_even(
    size: tuple[int, ...], policy: Policy, broken: dict[str, Any], tmp_path: Path
) -> None:
    broken["size"] = size
    film.play(policy, "test/Broken-v0", tmp_path / "film.mp4", 0, False)
    frames = decoded(tmp_path / "film.mp4")
    assert frames.shape == (6, size[0] // 2 * 2, size[1] // 2 * 2, 3)


def refused(policy: Policy, video: Path, env_id: str = "test/Broken-v0") -> str:
    with pytest.raises(SoftqError) as error:
        film.play(policy, env_id, video, 0, False)
    assert list(video.parent.glob(".*.tmp*")) == []
    return str(error.value)


@pytest.mark.parametrize("name", ["film.avi", "film"])
def test_another_suffix_is_refused(name: str, policy: Policy, tmp_path: Path) -> None:
    told = refused(policy, tmp_path / name, ENV)
    assert told == f"--video is an .mp4 or a .gif file; found {tmp_path / name}"


def test_missing_packages_are_named(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pygame", reason="needs softq[video]")
    monkeypatch.setitem(sys.modules, "pygame", None)  # importing it now fails
    told = refused(policy, tmp_path / "film.mp4", "Pendulum-v1")
    assert told == 'filming Pendulum-v1 needs a package: pip install "softq[video]"'
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    told = refused(policy, tmp_path / "film.mp4", ENV)
    assert told == 'filming needs a package: pip install "softq[video]"'
    assert list(tmp_path.iterdir()) == []


# Gymnasium warns of such pictures too, before we refuse them.
@pytest.mark.filterwarnings("ignore:.*RGB-array rendering should:UserWarning")
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"metadata": {"render_modes": []}}, "it has no render mode rgb_array"),
        ({"metadata": {"render_modes": ["human"]}}, "it has no render mode rgb_array"),
        ({"frame": None}, "it draws no picture in bytes"),
        ({"frame": np.zeros((8, 8))}, "it draws no picture in bytes"),
        ({"frame": np.zeros((8, 8), np.uint8)}, "it draws no picture in bytes"),
        ({"render": ValueError("no paint")}, "cannot be filmed: ValueError: no paint"),
        ({"make": TypeError("no render_mode")}, "cannot be made: no render_mode"),
        ({"make": OSError("no screen")}, "cannot be filmed: OSError: no screen"),
    ],
)
def test_an_environment_that_cannot_draw_is_refused(
    how: dict[str, Any],
    says: str,
    policy: Policy,
    broken: dict[str, Any],
    tmp_path: Path,
) -> None:
    broken.update(how)
    told = refused(policy, tmp_path / "film.mp4")
    assert "test/Broken-v0 cannot be" in told
    assert says in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "how",
    [
        {"mujoco": True, "render": RuntimeError("no context")},
        {"make": AttributeError("'NoneType' object has no attribute 'eglQueryString'")},
    ],
)
def test_mujoco_without_opengl_is_told_what_to_set(
    how: dict[str, Any], policy: Policy, broken: dict[str, Any], tmp_path: Path
) -> None:
    os.environ["MUJOCO_GL"] = "glfw"
    broken.update(how)
    told = refused(policy, tmp_path / "film.mp4")
    assert "MUJOCO_GL is glfw. Try: MUJOCO_GL=egl softq play" in told
    assert "MUJOCO_GL=osmesa" in told


@pytest.mark.parametrize(
    ("display", "found", "given", "wanted"),
    [
        ("", ("EGL", "OSMesa"), None, "egl"),
        ("", ("OSMesa",), None, "osmesa"),
        ("", (), None, None),
        ("", ("EGL",), "osmesa", "osmesa"),
        (":0", ("EGL",), None, None),
    ],
)
def test_mujoco_draws_without_a_display(
    display: str, found: tuple[str, ...], given: str | None, wanted: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    variables = {"DISPLAY": display} | ({"MUJOCO_GL": given} if given else {})
    monkeypatch.setattr(os, "environ", variables)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        film.ctypes.util, "find_library", lambda name: "x" if name in found else None
    )
    film._prepare_drawing()
    assert variables.get("MUJOCO_GL") == wanted


def test_another_environment_must_fit_the_policy(
    policy: Policy, tmp_path: Path
) -> None:
    told = refused(policy, tmp_path / "film.mp4", "softq/Grid-v0")
    assert (
        "the policy was trained on observations of 3, actions of 1 (-2 to 2);" in told
    )
    assert "Did you mean" in refused(policy, tmp_path / "film.mp4", "softq/Pendulun-v0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["missing/film.mp4", "is.mp4", "/dev/null/film.mp4"])
def test_a_place_that_cannot_be_written_is_named(
    where: str, policy: Policy, tmp_path: Path
) -> None:
    (tmp_path / "is.mp4").mkdir()
    video = tmp_path / where
    assert f"cannot write {video}: " in refused(policy, video, ENV)
    assert [p.name for p in tmp_path.iterdir()] == ["is.mp4"]


@pytest.mark.parametrize(
    "script",
    ["head -c 9999 >/dev/null", "cat >/dev/null"],
    ids=["midway", "at the end"],
)
def test_an_encoder_that_fails_leaves_nothing(
    script: str, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(f"#!/bin/sh\n{script}\necho 'No space left' >&2\nexit 1\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setattr(film, "_ffmpeg", lambda: str(ffmpeg))
    video = tmp_path / "film.mp4"
    video.write_text("an earlier one")
    assert refused(policy, video, SHORT) == f"cannot write {video}: No space left"
    assert video.read_text() == "an earlier one"


def test_an_episode_that_fails_leaves_nothing(
    policy: Policy, broken: dict[str, Any], tmp_path: Path
) -> None:
    broken["step"] = RuntimeError("the motor burnt out")
    told = refused(policy, tmp_path / "film.mp4", "test/Broken-v0")
    assert told == "the environment raised RuntimeError in step: the motor burnt out"
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_films_a_run(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, video = tmp_path / "run", tmp_path / "film.gif"
    shutil.copytree(pendulum_run, run)
    args = ["play", str(run), "--env", SHORT, "--video", str(video)]
    assert cli.main(args) == 0
    assert f"{video}: 0.7 s, return -" in capsys.readouterr().out
    assert cli.main([*args[:-1], "film.avi"]) == 2
    assert "an .mp4 or a .gif file" in capsys.readouterr().err
