"""The border to Gymnasium: any environment in, normalised arrays out.

Environments of one run are stepped in turn, without autoreset: `step` returns the
true final observation beside the one to act on. Every episode begins with
`reset(seed=f(run seed, environment, episode))`, so that the arrays given to `step`
since then are all it takes to come back to the same state (`replay`).
"""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from softq.types import SoftqError, Spec

EnvLike = str | gymnasium.Env | Callable[[], gymnasium.Env]

# Packages whose absence Gymnasium reports in its own words, and our extras.
EXTRAS = {"mujoco": "mujoco", "Box2D": "box2d", "box2d": "box2d", "pygame": "video"}


class Step(NamedTuple):
    """One step of every environment, leading axis E.

    `next_obs` is what the action led to; `obs` is what to act on next, which
    differs where an episode ended and a new one began.
    """

    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray
    obs: np.ndarray


def make(env: EnvLike, **options: Any) -> gymnasium.Env:
    """An environment from an id, an environment or a factory; observations flattened.

    Raises SoftqError for an unknown id (the nearest one is named), a missing
    package (the install command is named) or a space that softq cannot use.
    """
    made = _make_id(env, **options) if isinstance(env, str) else env
    if not isinstance(made, gymnasium.Env):
        made = made()
    if not isinstance(made.observation_space, spaces.Box):
        made = gymnasium.wrappers.FlattenObservation(made)
    spec_of(made)
    return made


def _make_id(env_id: str, **options: Any) -> gymnasium.Env:
    try:
        return gymnasium.make(env_id, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((e for word, e in EXTRAS.items() if word in str(error)), None)
        hint = f'pip install "softq[{extra}]"' if extra else str(error)
        raise SoftqError(f"{env_id} needs a package that is missing. Try: {hint}") from error
    except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
        near = difflib.get_close_matches(env_id, gymnasium.registry, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else "See: softq list"
        raise SoftqError(f"no environment is called {env_id}. {hint}") from error
    except gymnasium.error.Error as error:
        raise SoftqError(f"{env_id} cannot be made: {error}") from error


def spec_of(env: gymnasium.Env) -> Spec:
    """The Spec of an environment with a Box observation space.

    Raises SoftqError where a space is not supported, naming it.
    """
    obs, action = env.observation_space, env.action_space
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    if not isinstance(obs, spaces.Box):
        raise SoftqError(f"{name} has observations {obs}; softq needs a Box or a Dict")
    if len(obs.shape) == 3 and obs.dtype != np.uint8:
        raise SoftqError(
            f"{name} has images of {obs.dtype}; softq needs bytes (uint8, 0 to 255)"
        )
    image = len(obs.shape) == 3
    shape = obs.shape if image else (int(np.prod(obs.shape)),)
    dtype = "uint8" if image else "float32"
    if isinstance(action, spaces.Discrete):
        return Spec(shape, dtype, (), (), int(action.n), int(action.start))
    if not isinstance(action, spaces.Box) or len(action.shape) != 1:
        raise SoftqError(f"{name} has actions {action}; softq needs a flat Box or Discrete")
    if not action.is_bounded():
        raise SoftqError(
            f"{name} has an action Box without bounds: {action}. "
            "Wrap it in gymnasium.wrappers.RescaleAction or give it finite bounds"
        )
    low, high = (tuple(float(x) for x in b) for b in (action.low, action.high))
    return Spec(shape, dtype, low, high)


def check(spec: Spec, algorithm: str, actions: str, name: str) -> None:
    """Raises SoftqError unless the algorithm can act in the environment."""
    if spec.actions == actions:
        return
    found = f"Discrete({spec.num_actions})" if spec.num_actions else f"Box{spec.low}"
    other = "sac_discrete" if spec.num_actions else "sac"
    raise SoftqError(
        f"{algorithm} needs {actions} actions; {name} has {found}. "
        f"Try: softq train {other} --env {name}"
    )


def episode_seed(run_seed: int, index: int, episode: int) -> int:
    """The reset seed of an episode: a hash, so that no two streams meet."""
    text = f"{run_seed}/{index}/{episode}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1


class Episode:
    """One environment and all that is needed to bring it back to its state."""

    def __init__(self, env: gymnasium.Env, spec: Spec, run_seed: int, index: int):
        self.env, self.spec, self.run_seed, self.index = env, spec, run_seed, index
        self.episode = -1
        self.begin()

    def begin(self) -> np.ndarray:
        """Starts the next episode and returns its first observation."""
        self.episode += 1
        self.actions: list[np.ndarray] = []
        self.ret = 0.0
        self.trace = hashlib.blake2b(digest_size=16)
        seed = episode_seed(self.run_seed, self.index, self.episode)
        first, _ = self.env.reset(seed=seed)
        self.obs = self._read(first, "observation after reset")
        return self.obs

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """One step with a normalised action: (next_obs, reward, terminated, truncated)."""
        given = self.spec.to_env(action)
        raw, reward, terminated, truncated, _ = self.env.step(given)
        reward = float(reward)
        if not np.isfinite(reward):
            raise NotFinite("reward", self.index, len(self.actions), self.episode)
        self.actions.append(given)
        self.obs = self._read(raw, "observation")
        self.ret += reward
        self.trace.update(self.obs.tobytes() + repr((reward, terminated, truncated)).encode())
        return self.obs, reward, bool(terminated), bool(truncated)

    def _read(self, raw: Any, field: str) -> np.ndarray:
        obs = np.asarray(raw, self.spec.obs_dtype).reshape(self.spec.obs_shape)
        if self.spec.obs_dtype == "float32" and not np.isfinite(obs).all():
            raise NotFinite(field, self.index, len(self.actions), self.episode)
        return obs


class NotFinite(SoftqError):
    """An environment returned NaN or an infinity."""

    def __init__(self, field: str, index: int, step: int, episode: int):
        super().__init__(
            f"environment {index} returned a {field} that is NaN or infinite at step "
            f"{step} of episode {episode}. The run stops; its checkpoint is kept"
        )


class Host:
    """The E environments of one run, stepped in turn."""

    def __init__(self, envs: Sequence[gymnasium.Env], run_seed: int):
        self.spec = spec_of(envs[0])
        self.episodes = [
            Episode(env, self.spec, run_seed, index) for index, env in enumerate(envs)
        ]
        self.obs = np.stack([e.obs for e in self.episodes])

    def step(self, action: np.ndarray) -> tuple[Step, list[tuple[float, int]]]:
        """Steps every environment with normalised actions (E, …).

        Returns the step and (return, length) of each episode that ended in it.
        """
        rows, finished = [], []
        for episode, one in zip(self.episodes, action, strict=True):
            next_obs, reward, terminated, truncated = episode.step(one)
            ended = terminated or truncated
            if ended:
                finished.append((episode.ret, len(episode.actions)))
            obs = episode.begin() if ended else next_obs
            rows.append((next_obs, np.float32(reward), terminated, ended, obs))
        step = Step(*(np.stack(column) for column in zip(*rows, strict=True)))
        self.obs = step.obs
        return step, finished

    def close(self) -> None:
        for episode in self.episodes:
            episode.env.close()
