"""Episodes as they are scored: what counts, which seeds they have, what goes wrong."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import softq
from softq.algos import sac
from softq.envs.host import episode_seed
from softq.evaluate import STREAM, choosers_of, judge, rollout
from softq.types import SoftqError


class Short(gymnasium.Env[np.ndarray, np.ndarray]):
    """A reward of 1 a step; as many steps as it is told; remembers its seeds."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, steps: int):
        self.steps = steps
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.left = self.steps
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


def choose(key: Any, obs: Any) -> Any:
    """Half a nat in every state, at a temperature of 0.2."""
    n = len(obs)
    return np.zeros((n, 1), np.float32), np.full(n, 0.5), 0.2


@pytest.mark.parametrize("explore", [False, True])
def test_only_a_sampled_policy_is_paid_for_its_entropy(explore: bool) -> None:
    found = rollout(choose, [Short(2), Short(3)], 0, explore)
    assert found.task == (2.0, 3.0)
    assert found.length == (2, 3)
    assert found.entropy == ((1.0, 1.5) if explore else (0.0, 0.0))
    assert found.soft == pytest.approx((2.2, 3.3) if explore else (2.0, 3.0))


def test_the_greedy_and_the_sampled_policy_are_both_played() -> None:
    """By a policy whose greedy action earns -1 a step, and whose samples earn 1."""

    class Paid(Short):
        def step(self, action: Any) -> Any:
            obs, _, *ends = super().step(action)
            return obs, float(action[0]), *ends

    own = {
        "act": lambda key, agent, obs, cfg, explore: obs + (1.0 if explore else -1.0),
        "entropy": lambda key, agent, obs, cfg: jnp.full(len(obs), 0.5),
        "temperature": lambda agent, cfg: jnp.float32(0.2),
    }
    algo: Any = ModuleType("two")  # like every algorithm: it can be hashed
    vars(algo).update({**vars(sac), **own})
    found = judge(choosers_of(algo, None), None, None, [Paid(2), Paid(3)], 0)
    assert (found.greedy.task, found.sampled.task) == ((-2.0, -3.0), (2.0, 3.0))
    assert found.greedy.entropy == (0.0, 0.0)
    assert found.sampled.entropy == (1.0, 1.5)
    assert found.sampled.soft == pytest.approx((2.2, 3.3))


def test_every_episode_has_a_seed_of_its_own() -> None:
    envs = [Short(1), Short(1), Short(1)]
    rollout(choose, envs, 7, True)
    seeds = [env.seeds for env in envs]
    assert seeds == [[episode_seed(7, STREAM - k, 0)] for k in range(3)]
    assert len({one for (one,) in seeds}) == 3


def test_an_environment_that_fails_is_told() -> None:
    class Broken(Short):
        def step(self, action: Any) -> Any:
            raise RuntimeError("the motor burnt out")

    with pytest.raises(SoftqError, match="raised RuntimeError in step: the motor"):
        rollout(choose, [Broken(1)], 0, False)


def test_a_policy_without_an_action_has_no_return() -> None:
    def lost(key: Any, obs: Any) -> Any:
        action, nats, alpha = choose(key, obs)
        action[1] = np.nan
        return action, nats, alpha

    found = rollout(lost, [Short(2), Short(3)], 0, True)
    assert found.task[0] == 2.0
    assert np.isnan([found.task[1], found.soft[1]]).all()


def test_an_episode_without_a_time_limit_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules["softq.evaluate"], "LONGEST", 7)
    assert rollout(choose, [Short(5), Short(10**9)], 0, False).length == (5, 7)


def test_a_reset_that_fails_is_told() -> None:
    class Lost(Short):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            raise ConnectionError("simulator lost")

    with pytest.raises(SoftqError, match="raised ConnectionError in reset: simulator"):
        rollout(choose, [Lost(1)], 0, False)


def test_a_path_is_no_policy(untyped: None) -> None:
    path: Any = "runs/a"
    with pytest.raises(SoftqError, match=r"softq.load\('runs/a'\) gives one"):
        softq.evaluate(path, "Pendulum-v1")


def test_a_seed_too_large_is_told(pendulum_run: Path) -> None:
    with pytest.raises(SoftqError, match="a seed must be from 0"):
        softq.evaluate(softq.load(pendulum_run), "Pendulum-v1", seed=2**70)
