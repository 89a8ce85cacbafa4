"""softq's own environments, for Gymnasium: `gymnasium.make("softq/Pendulum-v0")`."""

import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces

from softq.envs.catch import Catch
from softq.envs.grid import Grid
from softq.envs.jax_env import Frame, JaxEnv
from softq.envs.multigoal import MultiGoal
from softq.envs.pendulum import Pendulum
from softq.envs.reach import Reach
from softq.envs.rower import Rower
from softq.types import SoftqError

JAX_ENVS: dict[str, Callable[[], JaxEnv]] = {
    "softq/Pendulum-v0": Pendulum,
    "softq/Grid-v0": Grid,
    "softq/Catch-v0": Catch,
    "softq/MultiGoal-v0": MultiGoal,
    "softq/Reach-v0": Reach,
    "softq/ReachX-v0": lambda: Reach("x"),
    "softq/ReachY-v0": lambda: Reach("y"),
    "softq/Rower-v0": Rower,
    "softq/RowerEast-v0": lambda: Rower("east"),
    "softq/RowerNorth-v0": lambda: Rower("north"),
    "softq/RowerU-v0": lambda: Rower("u"),
}


# The environment is static, so that all its wrappers share one compilation.
@functools.partial(jax.jit, static_argnums=0)
def _reset(env: JaxEnv, seed: Any) -> tuple[Any, Any, Any]:
    """The episode's key (that of the seed), first state and first observation."""
    key = jax.random.key(seed)
    state = env.reset(jax.random.fold_in(key, 0))
    return key, state, env.observe(state)


@functools.partial(jax.jit, static_argnums=0)
def _step(env: JaxEnv, key: Any, time: Any, state: Any, action: Any) -> Any:
    """(state, observation, reward, terminated) of step `time`, counted from 1."""
    after, reward, terminated = env.step(jax.random.fold_in(key, time), state, action)
    return after, env.observe(after), reward, terminated


class GymEnv(gymnasium.Env):
    """A JaxEnv as a Gymnasium environment, stepped on the CPU.

    An episode is a function of its seed and of its actions, to the bit. The time
    limit is Gymnasium's to apply: `gymnasium.make` does.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, env: str | JaxEnv, render_mode: str | None = None):
        self.jax_env = JAX_ENVS[env]() if isinstance(env, str) else env
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.jax_env.fps}
        spec = self.jax_env.spec
        bounds = self.jax_env.obs_bounds
        self.observation_space = _box(*bounds, spec.obs_shape, spec.obs_dtype)
        if spec.num_actions:
            self.action_space = spaces.Discrete(
                spec.num_actions, start=spec.action_start
            )
        else:
            self.action_space = _box(spec.low, spec.high, (spec.action_dim,))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new episode from `jax.random.key(seed)`, or from the next random seed."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**32))
        # What is computed from a committed array stays on that array's device.
        low_bits = np.uint32(seed % 2**32)
        committed = jax.device_put(low_bits, jax.local_devices(backend="cpu")[0])
        self._key, self._state, obs = _reset(self.jax_env, committed)
        self._time = 0
        return np.array(obs), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step with an action in the environment's own units (or a label)."""
        spec = self.jax_env.spec
        # An index out of range would be taken for the last one, in silence.
        if spec.num_actions and not self.action_space.contains(action):
            raise SoftqError(f"action {action!r} is not in {self.action_space}")
        self._time += 1
        self._state, obs, reward, terminated = _step(
            self.jax_env,
            self._key,
            np.uint32(self._time),
            self._state,
            spec.from_env(np.asarray(action)[None])[0],
        )
        return np.array(obs), float(reward), bool(terminated), False, {}

    def render(self) -> Frame | None:
        """A frame in render mode rgb_array, otherwise nothing."""
        return self.jax_env.render(self._state) if self.render_mode else None


def _box(
    low: tuple[float, ...], high: tuple[float, ...], shape: tuple[int, ...],
    dtype: str = "float32",
) -> spaces.Box:  # fmt: skip
    low_, high_ = (np.array(bound, dtype).reshape(shape) for bound in (low, high))
    return spaces.Box(low_, high_, dtype=np.dtype(dtype).type)


QUADRUPED = {
    "softq/Quadruped-v0": "open",
    "softq/QuadrupedEast-v0": "east",
    "softq/QuadrupedNorth-v0": "north",
    "softq/QuadrupedU-v0": "u",
}


def register() -> None:
    """Makes every id of softq's known to Gymnasium; once is enough."""
    for env_id in JAX_ENVS.keys() - gymnasium.registry.keys():
        gymnasium.register(
            env_id,
            "softq.envs.register:GymEnv",
            max_episode_steps=JAX_ENVS[env_id]().horizon,
            kwargs={"env": env_id},
        )
    for env_id in QUADRUPED.keys() - gymnasium.registry.keys():
        gymnasium.register(
            env_id,
            "softq.envs.quadruped:Quadruped",
            max_episode_steps=500,
            kwargs={"maze": QUADRUPED[env_id]},
        )
