"""The border to Gymnasium: any environment in, normalised arrays out.

Environments of one run are stepped in turn, without autoreset: `step` returns the
true final observation beside the one to act on. Every episode begins with
`reset(seed=f(run seed, environment, episode))`, so that the arrays given to `step`
since then are all it takes to come back to the same state (`replay`).
"""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from softq.types import SoftqError, Spec

EnvLike = str | gymnasium.Env | Callable[[], gymnasium.Env]

# Packages whose absence Gymnasium reports in its own words, and our extras.
EXTRAS = {"mujoco": "mujoco", "Box2D": "box2d", "box2d": "box2d", "pygame": "video"}
SMALLEST = 7  # pixels: what the small CNN's two strided convolutions need


class Step(NamedTuple):
    """One step of every environment, leading axis E.

    `next_obs` is what the action led to; `obs` is what to act on next, which
    differs where an episode ended and a new one began.
    """

    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
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


def another(env: gymnasium.Env) -> Callable[[], gymnasium.Env] | None:
    """What makes environments like a given one, arguments and wrappers and all.

    None where it does not say how it was made.
    """
    try:
        spec = env.spec
        if spec is None:
            return None
        gymnasium.make(spec).close()
    except (gymnasium.error.Error, ValueError, TypeError, AttributeError):
        return None
    return lambda: gymnasium.make(spec)


def _make_id(env_id: str, **options: Any) -> gymnasium.Env:
    try:
        return gymnasium.make(env_id, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((e for word, e in EXTRAS.items() if word in str(error)), None)
        hint = f'pip install "softq[{extra}]"' if extra else str(error)
        raise SoftqError(
            f"{env_id} needs a package that is missing. Try: {hint}"
        ) from error
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
    if image and min(obs.shape[:2]) < SMALLEST:
        raise SoftqError(
            f"{name} has images of {obs.shape[0]} × {obs.shape[1]} pixels (height, "
            f"width, channels); softq needs {SMALLEST} × {SMALLEST} or more. "
            "Wrap it in gymnasium.wrappers.FlattenObservation"
        )
    shape = obs.shape if image else (int(np.prod(obs.shape)),)
    dtype: Literal["float32", "uint8"] = "uint8" if image else "float32"
    if isinstance(action, spaces.Discrete):
        return Spec(shape, dtype, (), (), int(action.n), int(action.start))
    if not isinstance(action, spaces.Box) or len(action.shape) != 1:
        raise SoftqError(
            f"{name} has actions {action}; softq needs a flat Box or Discrete"
        )
    if not action.is_bounded():
        raise SoftqError(
            f"{name} has an action Box without bounds: {action}. "
            "Wrap it in gymnasium.wrappers.RescaleAction or give it finite bounds"
        )
    low, high = (tuple(float(x) for x in b) for b in (action.low, action.high))
    return Spec(shape, dtype, low, high)


# What to type instead, where the actions are of the other kind.
TWINS = {"sql": "soft_dqn", "soft_dqn": "sql", "bc": "bc_discrete",
         "bc_discrete": "bc", "sac": "sac_discrete", "sac_discrete": "sac",
         "cql_discrete": "cql"}  # fmt: skip


def check(
    spec: Spec, algorithm: str, actions: str, name: str, flag: str = "--env"
) -> None:
    """Raises SoftqError unless the algorithm can act in the environment.

    Or learn from the data called `name`, which `flag` names on the command line.
    """
    if spec.actions == actions:
        return
    found = f"Discrete({spec.num_actions})" if spec.num_actions else f"Box{spec.low}"
    discrete = "sac_discrete" if flag == "--env" else "cql_discrete"
    other = TWINS.get(algorithm, discrete if spec.num_actions else "sac")
    raise SoftqError(
        f"{algorithm} needs {actions} actions; {name} has {found}. "
        f"Try: softq train {other} {flag} {name}"
    )


def episode_seed(run_seed: int, index: int, episode: int) -> int:
    """The reset seed of an episode: a hash, so that no two streams meet."""
    text = f"{run_seed}/{index}/{episode}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1


class Episode:
    """One environment and all that is needed to bring it back to its state."""

    def __init__(self, env: gymnasium.Env, spec: Spec, run_seed: int, index: int):
        self.env, self.spec, self.run_seed, self.index = env, spec, run_seed, index
        self.begin(0)

    def begin(self, number: int) -> None:
        """Starts episode `number` from its own seed."""
        self.number, self.ret = number, 0.0
        self.actions: list[np.ndarray] = []
        self.trace = hashlib.blake2b(digest_size=16)
        first, _ = self.env.reset(seed=episode_seed(self.run_seed, self.index, number))
        self.obs = self._read(first, "observation after reset")
        self.trace.update(self.obs.tobytes())

    def advance(self, action: Any) -> None:
        """Steps the environment with a normalised action; nothing counts yet."""
        self.given = self.spec.to_env(action)
        try:
            raw, reward, terminated, truncated, _ = self.env.step(self.given)
        except Exception as error:
            kind = type(error).__name__
            raise Failed(f"{self._where()} raised {kind} in step: {error}") from error
        if not np.isfinite(float(reward)):
            raise Failed(f"{self._where()} returned a reward that is {reward}")
        obs = self._read(raw, "observation")
        self.pending = obs, float(reward), bool(terminated), bool(truncated)

    def commit(self) -> tuple[np.ndarray, float, bool, bool]:
        """The step that `advance` took becomes part of the episode."""
        self.obs, reward, terminated, truncated = self.pending
        self.actions.append(self.given)
        self.ret += reward
        self.trace.update(
            self.obs.tobytes() + repr((reward, terminated, truncated)).encode()
        )
        return self.pending

    def _read(self, raw: Any, field: str) -> np.ndarray:
        obs = np.array(raw, self.spec.obs_dtype).reshape(self.spec.obs_shape)
        if self.spec.obs_dtype == "float32" and not np.isfinite(obs).all():
            bad = int(np.flatnonzero(~np.isfinite(obs.ravel()))[0])
            raise Failed(
                f"{self._where()} returned an {field} whose entry {bad} is "
                f"{obs.ravel()[bad]}"
            )
        return obs

    def _where(self) -> str:
        at = f"step {len(self.actions)} of episode {self.number}"
        return f"environment {self.index} of seed {self.run_seed}, at {at},"

    def snapshot(self) -> tuple[dict[str, Any], np.ndarray]:
        """What `restore` needs: a record, and the actions given since the reset."""
        record = {
            "number": self.number,
            "ret": self.ret,
            "trace": self.trace.hexdigest(),
        }
        space = self.env.action_space
        actions = np.asarray(self.actions, space.dtype)
        return record, actions.reshape(len(self.actions), *(space.shape or ()))

    def restore(
        self, record: dict[str, Any], actions: np.ndarray, longest: int
    ) -> bool:
        """Replays an episode; False where it cannot be had back, and ends it there.

        The episode is cut (as by a time limit) and the next one begins, where it is
        longer than `longest` or the environment did not do the same again.
        """
        number = int(record["number"])
        same = len(actions) <= longest
        if same:
            self.begin(number)
            for given in actions:
                raw, reward, terminated, truncated, _ = self.env.step(
                    self._typed(given)
                )
                obs = self._read(raw, "observation")
                self.given = given
                self.pending = obs, float(reward), bool(terminated), bool(truncated)
                self.commit()
            same = self.trace.hexdigest() == record["trace"]
        if not same:
            self.begin(number + 1)
        return same

    def _typed(self, given: Any) -> Any:
        return np.int64(given) if self.spec.num_actions else given


class Failed(SoftqError):
    """An environment raised, or returned NaN or an infinity."""


class Host:
    """The E environments of one run, stepped in turn."""

    def __init__(self, envs: Sequence[gymnasium.Env], run_seed: int):
        self.spec = spec_of(envs[0])
        self.episodes = [
            Episode(env, self.spec, run_seed, index) for index, env in enumerate(envs)
        ]
        self.consistent = True
        self._show()

    def advance(self, action: np.ndarray) -> None:
        """Steps every environment with normalised actions (E, …).

        If one of them raises, no episode has changed as far as a snapshot goes.
        """
        for episode, one in zip(self.episodes, action, strict=True):
            episode.advance(one)

    def commit(self) -> tuple[Step, list[tuple[float, int]]]:
        """The step taken, and (return, length) of each episode that ended in it."""
        self.consistent = False
        taken = [episode.commit() for episode in self.episodes]
        finished = []
        for episode, (_, _, terminated, truncated) in zip(
            self.episodes, taken, strict=True
        ):
            if terminated or truncated:
                finished.append((episode.ret, len(episode.actions)))
                episode.begin(episode.number + 1)
        self._show()
        self.consistent = True
        next_obs, reward, terminated, _ = zip(*taken, strict=True)
        flags = np.array(terminated, bool)
        return Step(
            np.stack(next_obs), np.asarray(reward, np.float32), flags, self.obs
        ), finished

    def snapshot(self) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Every episode's record and actions, for `restore`."""
        records, actions = zip(*(e.snapshot() for e in self.episodes), strict=True)
        return list(records), list(actions)

    def restore(
        self, records: list[dict[str, Any]], actions: list[np.ndarray], longest: int
    ) -> bool:
        """Replays every episode; False where one had to be cut instead."""
        exact = [
            episode.restore(record, given, longest)
            for episode, record, given in zip(
                self.episodes, records, actions, strict=True
            )
        ]
        self._show()
        return all(exact)

    def close(self) -> None:
        for episode in self.episodes:
            episode.env.close()

    def _show(self) -> None:
        self.obs = np.stack([episode.obs for episode in self.episodes])
