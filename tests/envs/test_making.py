"""Environments from ids, factories and objects; more of the same kind."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

import softq
from softq.algos import sac
from softq.envs import spec_of
from softq.envs.making import another
from softq.types import SoftqError


def test_another_keeps_arguments_and_wrappers() -> None:
    env = gymnasium.wrappers.RescaleObservation(
        gymnasium.make("Pendulum-v1", g=3.0), np.float32(-1), np.float32(1)
    )
    again = another(env)
    assert again is not None
    made = again()
    assert made.unwrapped.g == 3.0  # type: ignore[attr-defined]
    one, two = (x.reset(seed=3)[0] for x in (env, made))
    np.testing.assert_array_equal(one, two)


def test_what_does_not_say_how_it_was_made_has_no_like() -> None:
    assert another(PendulumEnv()) is None


def test_an_environment_itself_is_evaluated_where_more_of_it_can_be_made() -> None:
    env = gymnasium.make("Pendulum-v1", max_episode_steps=5, g=3.0)
    spec, cfg = spec_of(env), sac.Config(hidden=(8,))
    policy = softq.Policy(sac, cfg, spec, sac.init(jax.random.key(0), spec, cfg))
    several = softq.evaluate(policy, env, episodes=2)
    assert several.greedy.length == (5, 5)
    assert len(set(several.greedy.task)) == 2
    bare = gymnasium.wrappers.TimeLimit(PendulumEnv(g=3.0), 5)
    with pytest.raises(SoftqError, match="2 episodes side by side"):
        softq.evaluate(policy, bare, episodes=2)
    alone = softq.evaluate(policy, bare, episodes=1)
    assert alone.greedy.task[0] == pytest.approx(several.greedy.task[0], rel=1e-5)
