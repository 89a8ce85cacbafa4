"""Filming an episode: frames as the environment draws them, to an .mp4 or a .gif.

It is the first episode that `softq evaluate` plays with the same seed.
"""

import contextlib
import ctypes.util
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np

from softq import log
from softq.envs import make, spec_of
from softq.evaluate import rollout
from softq.policy import Policy
from softq.types import Key, SoftqError

FPS = 30.0  # where an environment does not say
RAW = ["-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
MP4 = [
    "-c:v", "libx264", "-crf", "18", "-movflags", "+faststart",
    # Colour has half the resolution, so that sizes must be even.
    "-pix_fmt", "yuv420p", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2",
]  # fmt: skip
GIF = [
    # Viewers slow down what is faster than 50 frames a second.
    "-filter_complex", "fps=min(source_fps\\,50),split[a][b];"
    "[a]palettegen[p];[b][p]paletteuse",
]  # fmt: skip


def play(
    policy: Policy, env_id: str, video: Path, seed: int, sampled: bool
) -> tuple[float, float]:
    """Films one episode to `video`; returns its seconds and its undiscounted return.

    A frame before the first step and one after each, at the environment's own rate.
    Raises SoftqError, with nothing written, where the environment cannot be drawn or
    is not the policy's, a package is missing, or the file cannot be written.
    """
    kind = video.suffix.lower()
    if kind not in (".mp4", ".gif"):
        raise SoftqError(f"--video is an .mp4 or a .gif file; found {video}")
    ffmpeg = _ffmpeg()
    working = video.with_name(f".{video.stem}.tmp{kind}")
    with _writing(working, video):
        env = _drawable(env_id, policy)
        with contextlib.closing(env):
            fps = float(env.metadata.get("render_fps") or FPS)
            film = Film(ffmpeg, working, fps, video)
            with contextlib.closing(film):
                total = _episode(policy, Camera(env, env_id, film), seed, sampled)
                film.finish()
        working.replace(video)
    return film.count / film.fps, total


def _ffmpeg() -> str:
    """The program that encodes, which the extra `video` brings."""
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except ImportError as error:
        raise log.missing("video", "filming") from error
    except RuntimeError as error:
        raise SoftqError(f"filming needs ffmpeg: {error}") from error


@contextlib.contextmanager
def _writing(working: Path, video: Path) -> Iterator[None]:
    """Refuses before the work where `video` cannot be written; leaves no `working`."""
    try:
        if video.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        working.touch()
        yield
    except OSError as error:
        raise _unwritten(video, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            working.unlink(missing_ok=True)


def _unwritten(video: Path, why: str) -> SoftqError:
    return SoftqError(f"cannot write {video}: {why}")


def _episode(policy: Policy, env: gymnasium.Env, seed: int, sampled: bool) -> float:
    """Plays one episode; returns its undiscounted return."""
    choose = policy.choosers["sampled" if sampled else "greedy"]

    def choose_here(key: Key, obs: jax.Array) -> tuple[Any, Any, Any]:
        return choose(key, policy.agent, policy.stats, obs)

    return rollout(choose_here, [env], seed, sampled).task[0]


class Film:
    """Frames (height, width, 3) of bytes, encoded at once to `path`, later `video`.

    ffmpeg is started here and not through its wrapper, which forks in a way that JAX
    warns of and does not tell when the encoder fails.
    """

    def __init__(self, ffmpeg: str, path: Path, fps: float, video: Path):
        self.ffmpeg, self.path, self.fps, self.video = ffmpeg, path, fps, video
        self.count = 0
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, frame: np.ndarray) -> None:
        """One more frame; raises SoftqError where the encoder has failed."""
        try:
            if self.process is None:
                self.process = self._start(frame.shape)
            assert self.process.stdin is not None
            self.process.stdin.write(frame.tobytes())
        except OSError as error:
            self.finish()
            raise _unwritten(self.video, error.strerror or str(error)) from error
        self.count += 1

    def finish(self) -> None:
        """Ends the file; raises SoftqError in ffmpeg's words where it is not whole."""
        if self.process is not None:
            _, told = self.process.communicate()
            if self.process.returncode:
                lines = told.decode(errors="replace").split("\n")
                why = next((x for x in lines if x.strip()), "ffmpeg failed")
                raise _unwritten(self.video, why)

    def close(self) -> None:
        """Stops the encoder, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def _start(self, shape: tuple[int, ...]) -> subprocess.Popen[bytes]:
        form = GIF if self.path.suffix == ".gif" else MP4
        frames = ["-s", f"{shape[1]}x{shape[0]}", "-r", str(self.fps), "-i", "-"]
        command = [self.ffmpeg, *RAW, *frames, *form, str(self.path)]
        pipe = subprocess.PIPE
        # In a group of its own, an interrupt reaches it through `close` alone.
        return subprocess.Popen(command, stdin=pipe, stderr=pipe, process_group=0)


class Camera(gymnasium.Wrapper):
    """An environment that is filmed: a frame at its reset and after every step."""

    def __init__(self, env: gymnasium.Env, name: str, film: Film):
        super().__init__(env)
        self.name, self.film = name, film

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's own."""
        first = self.env.reset(**options)
        self.film.add(self._frame())
        return first

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's own."""
        taken = self.env.step(action)
        self.film.add(self._frame())
        return taken

    def _frame(self) -> np.ndarray:
        try:
            frame: Any = self.env.render()
        except Exception as error:
            raise _undrawable(self.name, error, self.env) from error
        if getattr(frame, "dtype", None) != np.uint8 or frame.shape[2:] != (3,):
            raise SoftqError(
                f"{self.name} cannot be filmed: it draws no picture in bytes"
            )
        return np.asarray(frame)


def _drawable(env_id: str, policy: Policy) -> gymnasium.Env:
    """The environment, made so that it draws."""
    _prepare_drawing()
    try:
        with warnings.catch_warnings():
            # Gymnasium only warns of an environment without pictures; we refuse it.
            warnings.filterwarnings("ignore", ".*not in the possible render_modes")
            env = make(env_id, render_mode="rgb_array")
    except SoftqError:
        raise
    except Exception as error:
        raise _undrawable(env_id, error) from error
    found, modes = spec_of(env), env.metadata.get("render_modes") or ()
    if "rgb_array" not in modes:
        env.close()
        raise SoftqError(f"{env_id} cannot be filmed: it has no render mode rgb_array")
    if found != policy.spec:
        env.close()
        raise SoftqError(
            f"the policy was trained on {policy.spec}; {env_id} has {found}"
        )
    return env


def _prepare_drawing() -> None:
    """Sets what drawing libraries read from the environment, where nobody has."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    # Without a display a window cannot be opened, which is what they would try.
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        ways = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
        if ways:
            os.environ.setdefault("MUJOCO_GL", ways[0].lower())


def _undrawable(
    name: str, error: Exception, env: gymnasium.Env | None = None
) -> SoftqError:
    """Why an environment could not be drawn, and what to type."""
    if "pygame" in str(error) and isinstance(
        error, ImportError | gymnasium.error.DependencyNotInstalled
    ):
        return log.missing("video", f"filming {name}")
    told = f"{name} cannot be filmed: {type(error).__name__}: {error}"
    mujoco = env is not None and hasattr(env.unwrapped, "mujoco_renderer")
    if mujoco or any(
        word in told.lower() for word in ("mujoco", "opengl", "egl", "glfw")
    ):
        now = os.environ.get("MUJOCO_GL", "not set")
        return SoftqError(
            f"{told}\nMuJoCo draws with OpenGL, and MUJOCO_GL is {now}. Try: "
            "MUJOCO_GL=egl softq play …, or MUJOCO_GL=osmesa without a GPU"
        )
    return SoftqError(told)
