"""An environment of one number whose episodes are one step long, or a few."""

from typing import Any

import gymnasium
import numpy as np


class Blink(gymnasium.Env):
    """Shows 0.7 after a reset and 0.2 less after every step; `length` steps long."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, ending: str = "truncated", length: int = 1):
        self.ending, self.length = ending, length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Shows 0.7."""
        super().reset(seed=seed)
        self.steps = 0
        return np.float32([0.7]), {}

    def step(self, action: Any) -> Any:
        """Shows 0.2 less; the last step ends as `ending` says."""
        self.steps += 1
        over, end = self.steps >= self.length, self.ending == "terminated"
        obs = np.float32([0.7 - 0.2 * self.steps])
        return obs, 0.0, over and end, over and not end, {}


def rows(obs: Any, next_obs: Any, ends: Any) -> list[tuple[float, float, bool]]:
    """Stored transitions: observation, the next one, whether the world ended."""
    columns = (np.ravel(column).tolist() for column in (obs, next_obs, ends))
    return [(a, b, bool(c)) for a, b, c in zip(*columns, strict=True)]


def store(model: Any, row: dict[str, Any], count: int) -> None:
    """The row in the buffer of Stable-Baselines3's kind, `count` times."""
    ended = row["terminated"] or row["truncated"]
    info = {"TimeLimit.truncated": row["truncated"] and not row["terminated"]}
    for _ in range(count):
        model.replay_buffer.add(
            np.float32([[row["obs"]]]), np.float32([[row["next_obs"]]]),
            np.float32([[row["action"]]]), np.float32([row["reward"]]),
            np.array([ended]), [info],
        )  # fmt: skip
