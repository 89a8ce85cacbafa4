"""Both versions of the four goals, against their definitions."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.envs.multigoal import MultiGoal, State
from softq.envs.register import register

KEY = jax.random.key(0)
# Of both the authors' versions, 2017 and 2018.
GOALS = np.array([(5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0)])


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


@pytest.mark.parametrize(
    ("here", "action", "late", "soon"),
    [
        # In a goal: −d² and the bonus, and all four are goals.
        ((5.0, 0.0), (0.0, 0.0), (10.0, True), (10.0, True)),
        ((-5.0, 0.5), (0.0, 0.0), (9.75, True), (9.75, True)),
        ((0.0, 5.0), (0.0, 0.0), (10.0, True), (10.0, True)),
        ((-0.5, -5.0), (0.0, 0.0), (9.75, True), (9.75, True)),
        # A radius of 1, and not a whole one.
        ((4.0, 0.0), (0.0, 0.0), (-1.0, False), (-1.0, False)),
        ((4.5, 4.5), (0.0, 0.0), (-20.5, False), (-20.5, False)),
        # Away from all; a full move costs 30, and one along both axes 60.
        ((0.0, 0.0), (0.0, 0.0), (-25.0, False), (-25.0, False)),
        ((0.0, 0.0), (1.0, 0.0), (-46.0, False), (-55.0, False)),
        ((0.0, 0.0), (1.0, -1.0), (-77.0, False), (-85.0, False)),
        # Into a goal, and out of one: what counts is where a move ends (2018), or
        # where it begins (2017).
        ((3.5, 0.0), (1.0, 0.0), (-20.25, True), (-32.25, False)),
        ((4.5, 0.0), (-1.0, 0.0), (-32.25, False), (-20.25, True)),
    ],
)
def test_rewards_and_ends_are_those_worked_out_by_hand(
    here: tuple[float, float],
    action: tuple[float, float],
    late: tuple[float, bool],
    soon: tuple[float, bool],
) -> None:
    state = State(jnp.array(here), jnp.zeros(2))
    for early, expected in ((False, late), (True, soon)):
        _, *found = MultiGoal(early=early).step(KEY, state, jnp.array(action))
        assert (float(found[0]), bool(found[1])) == expected


def test_an_episode_is_cut_after_30_steps() -> None:
    register()
    env = gymnasium.make("softq/MultiGoal-v0")
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]
    assert MultiGoal(early=True).horizon == 30
