"""The boat, the falling fruit, the point and the quadruped, against their rules."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.envs import quadruped, rower
from softq.envs.catch import FALL, Catch
from softq.envs.line import along
from softq.envs.reach import Reach
from softq.envs.rower import CANALS, Rower, State

KEY = jax.random.key(0)


def test_the_oar_pushes_by_what_it_moves_in_the_water() -> None:
    env, rng = Rower(), np.random.default_rng(0)
    step = jax.jit(env.step)
    for _ in range(100):
        here, velocity, action = (rng.uniform(-1, 1, n) for n in (2, 2, 3))
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1)
        oar = size * np.array([np.cos(angle), np.sin(angle)])
        state = State(*(jnp.asarray(x, jnp.float32) for x in (here, velocity, oar)))
        after, reward, ended = step(KEY, state, jnp.asarray(action, jnp.float32))
        moved = oar + action[:2]
        moved /= max(np.linalg.norm(moved), 1.0)
        speed = 0.8 * velocity - 0.4 * (action[2] + 1) / 2 * (moved - oar)
        np.testing.assert_allclose(after.oar, moved, atol=1e-5)
        np.testing.assert_allclose(after.velocity, speed, atol=1e-5)
        np.testing.assert_allclose(after.position, here + 0.5 * speed, atol=1e-5)
        assert float(reward) == pytest.approx(np.linalg.norm(speed), abs=1e-5)
        assert not ended


def ends(env: Rower, actions: np.ndarray) -> State:
    """Where episodes of given actions (episodes, horizon, 3) end."""

    def episode(key: jax.Array, pushes: jax.Array) -> State:
        def step(state: State, push: jax.Array) -> tuple[State, None]:
            return env.step(KEY, state, push)[0], None

        return jax.lax.scan(step, env.reset(key), pushes)[0]

    keys = jax.random.split(KEY, len(actions))
    return jax.jit(jax.vmap(episode))(keys, jnp.asarray(actions, jnp.float32))


def test_rowing_leads_somewhere_and_neither_chance_nor_constancy_does() -> None:
    env, rng = Rower("east"), np.random.default_rng(1)
    chance = rng.uniform(-1, 1, (200, 50, 3))
    constant = np.repeat(rng.uniform(-1, 1, (200, 1, 3)), 50, 1)
    # Two strokes back with the blade in, two forward with it out.
    stroke = np.array([[-1, 0, 1], [-1, 0, 1], [1, 0, -1], [1, 0, -1]])
    rowed = np.tile(stroke, (1, 13, 1))[:, 1:51]
    gone = [
        np.asarray(jax.vmap(env.along)(ends(env, actions).position)).mean()
        for actions in (chance, constant, rowed)
    ]
    assert gone[0] < 2.0
    assert gone[1] < 1.0
    assert gone[2] > 18.0


@pytest.mark.parametrize("name", CANALS)
def test_a_canal_holds_the_boat_and_pays_for_progress(name: str) -> None:
    env, rng = Rower(name), np.random.default_rng(2)  # type: ignore[arg-type]
    boxes = np.array(CANALS[name].water)
    step, state, total = jax.jit(env.step), env.reset(KEY), 0.0
    first = float(env.along(state.position))
    push = rng.uniform(-1, 1, 3)
    for t in range(300):
        push = rng.uniform(-1, 1, 3) if t % 7 == 0 else -push
        state = state._replace(velocity=jnp.asarray(rng.uniform(-1, 1, 2), jnp.float32))
        state, reward, _ = step(KEY, state, jnp.asarray(push, jnp.float32))
        total += float(reward)
        point = np.asarray(state.position)
        assert ((point >= boxes[:, :2]) & (point <= boxes[:, 2:])).all(-1).any()
    last = float(env.along(state.position))
    assert total * rower.STRIDE == pytest.approx(last - first, abs=1e-3)


@pytest.mark.parametrize("name", CANALS)
def test_progress_is_the_place_on_the_line_that_is_nearest(name: str) -> None:
    """Against the nearest of many points of the line; the quadruped's is the same."""
    env, line = Rower(name), np.array(CANALS[name].line)  # type: ignore[arg-type]
    sizes = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.linspace(0, sizes.sum(), 20_001)
    whole = np.concatenate([[0.0], np.cumsum(sizes)])
    points = np.stack([np.interp(at, whole, line[:, i]) for i in (0, 1)], -1)
    for point in np.random.default_rng(3).uniform(-3, 8, (40, 2)):
        distance = np.linalg.norm(points - point, axis=1)
        near = at[distance <= distance.min() + 1e-3]
        for found in (env.along(jnp.asarray(point, jnp.float32)),
                      along(line, point)):  # fmt: skip
            assert abs(near - float(found)).min() < 0.05


def test_whoever_follows_the_fruit_catches_all_of_it() -> None:
    env, step = Catch(), jax.jit(Catch().step)
    for follows, least, most in ((True, 5, 5), (False, 0, 3)):
        caught = []
        for k in range(20):
            state, total = env.reset(jax.random.key(k)), 0.0
            for t in range(env.horizon):
                picture = np.asarray(env.observe(state))[:, :, 0] > 0
                fruit = np.argwhere(picture[:-1])
                assert len(fruit) == 1
                assert fruit[0, 0] == t % FALL
                basket = np.flatnonzero(picture[-1]).mean()
                want = int(np.sign(np.round(fruit[0, 1] - basket))) if follows else 0
                key = jax.random.key(1_000 * k + t)
                state, reward, ended = step(key, state, jnp.int32(want + 1))
                total += float(reward)
                assert not ended
            caught.append(total)
        assert least <= np.mean(caught) <= most


@pytest.mark.parametrize(
    ("axis", "counted"), [("x", [0]), ("y", [1]), ("both", [0, 1])]
)
def test_a_point_is_paid_for_its_own_lines(axis: str, counted: list[int]) -> None:
    env, rng = Reach(axis), np.random.default_rng(0)  # type: ignore[arg-type]
    for _ in range(50):
        here, action = rng.uniform(-2, 2, 2), rng.uniform(-1, 1, 2)
        args = (jnp.asarray(x, jnp.float32) for x in (here, action))
        there, reward, ended = env.step(KEY, *args)
        expected = np.clip(here + 0.2 * action, -2, 2)
        np.testing.assert_allclose(there, expected, atol=1e-5)
        pay = -(abs(expected + 1) + 0.1 * action**2)[counted].sum()
        assert float(reward) == pytest.approx(pay, abs=1e-4)
        assert not ended


@pytest.mark.parametrize("maze", ["", "East", "North", "U"])
def test_the_quadruped_is_paid_for_its_way(maze: str) -> None:
    pytest.importorskip("mujoco")
    env = gymnasium.make(f"softq/Quadruped{maze}-v0")
    obs, _ = env.reset(seed=0)
    assert obs.shape == (29,)
    for seed in range(3):
        before = obs[:2].copy()
        env.action_space.seed(seed)
        action = env.action_space.sample()
        obs, reward, _, _, info = env.step(action)
        if maze:
            line = np.array(quadruped.MAZES[maze.lower()].line)
            way = along(line, obs[:2]) - along(line, before)
        else:
            way = 0.05 * np.hypot(info["x_velocity"], info["y_velocity"])
        expected = way / 0.05 + 0.05 - 0.005 * (action**2).sum()
        assert reward == pytest.approx(expected, abs=1e-6)


def test_the_quadrupeds_walls_are_there() -> None:
    mujoco = pytest.importorskip("mujoco")
    env = gymnasium.make("softq/QuadrupedNorth-v0").unwrapped
    env.reset(seed=0)
    env.data.qvel[0] = 50.0  # thrown at the wall to the right
    furthest = 0.0
    for _ in range(400):
        mujoco.mj_step(env.model, env.data)
        furthest = max(furthest, float(env.data.qpos[0]))
    assert 0.1 < furthest < 1.8
