"""Both versions of the four goals, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.envs.multigoal import GOALS, MultiGoal, State

KEY = jax.random.key(0)


@pytest.mark.parametrize("early", [False, True])
def test_a_move_pays_where_its_version_says(early: bool) -> None:
    env, rng = MultiGoal(early=early), np.random.default_rng(0)
    ended = 0
    for _ in range(300):
        here, action = rng.uniform(-7, 7, 2), rng.uniform(-1.5, 1.5, 2)
        state = State(jnp.asarray(here, jnp.float32), jnp.zeros(2))
        after, reward, terminated = env.step(
            KEY, state, jnp.asarray(action, jnp.float32)
        )
        move = np.clip(action, -1, 1)
        there = np.clip(here + move, -7, 7)
        np.testing.assert_allclose(env.observe(after), there, atol=1e-5)
        square = ((GOALS - (here if early else there)) ** 2).sum(-1).min()
        expected = -30 * (move**2).sum() - square + 10 * (square < 1)
        assert float(reward) == pytest.approx(expected, rel=1e-4, abs=1e-3)
        assert bool(terminated) == (square < 1)
        ended += square < 1
    assert ended > 5


def test_the_early_version_starts_in_the_middle_and_the_late_one_near_it() -> None:
    keys = jax.random.split(KEY, 2_000)
    late = jax.vmap(MultiGoal().reset)(keys).position
    np.testing.assert_allclose(late.std(0), 0.1, rtol=0.1)
    assert not jax.vmap(MultiGoal(early=True).reset)(keys).position.any()
