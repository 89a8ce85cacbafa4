"""softq's own environments: against Gymnasium's, brute force, and Gymnasium's rules."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from softq.envs import JAX_ENVS, JaxEnv, register, spec_of
from softq.envs.grid import AGENT, Grid
from softq.envs.pendulum import Pendulum, State
from softq.maps import parse
from softq.types import SoftqError

IDS = list(JAX_ENVS)
# Gymnasium prefers torques in ±1; those of Pendulum are ±2.
UNITS = pytest.mark.filterwarnings("ignore:.*symmetric and normalized space")
SMALL = "S.#\n.#G\n..."


def keys(seed: int, n: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)


def play(env_id: str, seed: int, steps: int) -> list[np.ndarray]:
    """Observations and rewards of seeded actions, as bytes can be compared."""
    env = gymnasium.make(env_id)
    env.action_space.seed(seed)
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen += [obs, np.float64(reward), np.array([terminated, truncated])]
    return seen


@pytest.mark.parametrize("start", [(3.0, 0.5), (-0.2, -1.0), (1.5, 7.9)])
def test_pendulum_is_gymnasiums_step_by_step(start: tuple[float, float]) -> None:
    """Over 200 steps, each from the same state; actions beyond the bounds too."""
    mine, theirs = Pendulum(), gymnasium.make("Pendulum-v1").unwrapped
    step = jax.jit(mine.step)
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (200, 1)).astype(np.float32)
    state = State(*map(jnp.float32, start))
    for action in actions:
        theirs.state = np.array(state, np.float64)
        state, reward, terminated = step(jax.random.key(0), state, action)
        obs, expected, *_ = theirs.step(2 * action)
        np.testing.assert_allclose(np.array(state), theirs.state, rtol=1e-6, atol=3e-6)
        np.testing.assert_allclose(mine.observe(state), obs, rtol=1e-6, atol=5e-6)
        np.testing.assert_allclose(reward, expected, rtol=2e-6, atol=1e-5)
        assert not terminated


def test_pendulum_stays_with_gymnasiums_for_an_episode() -> None:
    """200 steps from one state without ever setting the other's again."""
    mine, theirs = Pendulum(), gymnasium.make("Pendulum-v1").unwrapped
    step = jax.jit(mine.step)
    state = State(jnp.float32(2.5), jnp.float32(0.3))
    theirs.state = np.array(state, np.float64)
    for action in np.random.default_rng(1).uniform(-1, 1, (200, 1)).astype(np.float32):
        state, _, _ = step(jax.random.key(0), state, action)
        obs = theirs.step(2 * action)[0]
    np.testing.assert_allclose(mine.observe(state), obs, atol=1e-3)


def test_pendulum_starts_uniformly() -> None:
    """θ in ±π and θ̇ in ±1: each decile holds its tenth of 20 000 draws."""
    state = jax.vmap(Pendulum().reset)(keys(0, 20_000))
    for values, bound in ((state.theta, np.pi), (state.theta_dot, 1.0)):
        count, _ = np.histogram(values, 10, (-bound, bound))
        assert count.sum() == 20_000
        assert abs(count - 2000).max() < 4 * np.sqrt(2000 * 0.9)


@pytest.mark.parametrize("env_id", IDS)
def test_vmapped_steps_are_single_steps(env_id: str) -> None:
    env = JAX_ENVS[env_id]()
    state = jax.vmap(env.reset)(keys(1, 5))
    action = jnp.array([0, 1, 2, 3, 1], jnp.int32) % max(env.spec.num_actions, 1)
    if not env.spec.num_actions:
        line = jnp.linspace(-1, 1, 5, dtype=jnp.float32)
        action = jnp.stack([line] * env.spec.action_dim, -1)
    after, reward, terminated = jax.vmap(env.step)(keys(2, 5), state, action)
    assert jax.vmap(env.observe)(after).shape == (5, *env.spec.obs_shape)
    for i, key in enumerate(keys(2, 5)):
        alone = env.step(key, jax.tree.map(lambda x, i=i: x[i], state), action[i])
        together = jax.tree.map(lambda x, i=i: x[i], (after, reward, terminated))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-6), alone, together
        )
        assert [x.dtype for x in alone[1:]] == [jnp.float32, bool]
        assert env.observe(alone[0]).dtype == env.spec.obs_dtype


def brute_force(text: str, slip: float) -> np.ndarray:
    """P (S, 4, S) from the letters alone."""
    rows = text.split()
    free = [(r, c) for r, row in enumerate(rows) for c, x in enumerate(row) if x != "#"]
    p = np.zeros((len(free), 4, len(free)))
    for (r, c), here in zip(free, p, strict=True):
        for action in range(4):
            for taken, (dr, dc) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
                turned = (taken - action) % 2 == 1
                chance = (1 - slip) * (taken == action) + slip / 2 * turned
                there = (r + dr, c + dc)
                here[action, free.index(there if there in free else (r, c))] += chance
    return p


@pytest.mark.parametrize(("text", "slip"), [(Grid().text, 0.1), (SMALL, 0.6)])
def test_grid_moves_as_brute_force_says(text: str, slip: float) -> None:
    env, n = Grid(text, slip), 2000
    p = brute_force(text, slip)
    cells = np.arange(len(p), dtype=np.int32)
    assert env.spec.obs_shape == (len(p),)
    state, action = (x.ravel() for x in np.indices((len(p), 4), np.int32))
    pairs = jnp.tile(state, n), jnp.tile(action, n)
    after, _, _ = jax.jit(jax.vmap(env.step))(keys(3, n * len(state)), *pairs)
    often = (np.asarray(after).reshape(n, *p.shape[:2], 1) == cells).mean(0)
    # Five deviations, and never a move that cannot be.
    assert (abs(often - p) <= 5 * np.sqrt(p * (1 - p) / n)).all()


def test_grid_pays_and_ends_on_entering_a_goal() -> None:
    """The map S. / #G, no slips: right costs, then down pays and ends."""
    env, key = Grid("S.\n#G", 0.0, goal_reward=2.0, step_cost=0.25), jax.random.key(0)
    state = env.reset(key)
    state, reward, terminated = env.step(key, state, jnp.int32(1))
    assert (int(state), float(reward), bool(terminated)) == (1, -0.25, False)
    state, reward, terminated = env.step(key, state, jnp.int32(2))
    assert (int(state), float(reward), bool(terminated)) == (2, 2.0, True)
    np.testing.assert_array_equal(env.observe(state), [0, 0, 1])


def test_grid_starts_at_every_start() -> None:
    starts = jax.vmap(Grid("S.G\nSS#").reset)(keys(4, 3000))
    cells, count = np.unique(starts, return_counts=True)
    assert cells.tolist() == [0, 3, 4]
    assert abs(count - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SG\n.", "one length"),
        ("", "one length"),
        ("SGx", "'x'"),
        ("S.", "no goal"),
        (".G", "no start"),
    ],
)
def test_a_bad_map_is_refused(text: str, word: str) -> None:
    with pytest.raises(SoftqError, match=word):
        parse(text)


@UNITS
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_own_check_passes(env_id: str) -> None:
    env = gymnasium.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    check_env(env.unwrapped)


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_sees_the_same_spec(env_id: str) -> None:
    env = JAX_ENVS[env_id]()
    assert isinstance(env, JaxEnv)
    assert hash(env) == hash(JAX_ENVS[env_id]())
    assert spec_of(gymnasium.make(env_id)) == env.spec
    assert gymnasium.spec(env_id).max_episode_steps == env.horizon


def test_registering_again_changes_nothing() -> None:
    before = dict(gymnasium.registry)
    register.register()
    assert gymnasium.registry == before


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_same_bits(env_id: str) -> None:
    def bits(seen: list[np.ndarray]) -> bytes:
        return b"".join(x.tobytes() for x in seen)

    assert bits(play(env_id, 5, 30)) == bits(play(env_id, 5, 30))
    assert bits(play(env_id, 5, 30)) != bits(play(env_id, 6, 30))


def test_a_reset_starts_from_its_seed_whatever_came_before() -> None:
    env, inner = gymnasium.make("softq/Pendulum-v0"), Pendulum()
    firsts = [env.reset(seed=s)[0] for s in (7, None, None, 7, None)]
    state = inner.reset(jax.random.fold_in(jax.random.key(7), 0))
    np.testing.assert_allclose(firsts[0], inner.observe(state), rtol=1e-6)
    np.testing.assert_array_equal(firsts[0], firsts[3])
    np.testing.assert_array_equal(firsts[1], firsts[4])
    assert (firsts[1] != firsts[2]).all()
    assert (firsts[0] != firsts[1]).all()


def test_every_step_draws_anew() -> None:
    """Where every action slips, one action leads in more than one direction."""
    env = register.GymEnv(Grid("S..\n...\n..G", slip=1.0))
    cells = [env.reset(seed=0)[0].argmax()]
    cells += [env.step(0)[0].argmax() for _ in range(20)]
    assert set(np.diff(cells)) == {-1, 0, 1}


def test_gymnasiums_actions_are_in_the_environments_units() -> None:
    """A torque of 1 N m moves as the normalised action 0.5 does."""
    env, inner = gymnasium.make("softq/Pendulum-v0").unwrapped, Pendulum()
    env.reset(seed=0)
    state = inner.reset(jax.random.fold_in(jax.random.key(0), 0))
    obs, reward, *_ = env.step(np.array([1.0], np.float32))
    after, expected, _ = inner.step(jax.random.key(0), state, jnp.full(1, 0.5))
    np.testing.assert_allclose(obs, inner.observe(after), rtol=1e-5)
    np.testing.assert_allclose(reward, expected, rtol=1e-5)


def test_an_action_that_is_none_is_refused() -> None:
    env = gymnasium.make("softq/Grid-v0")
    env.reset(seed=0)
    with pytest.raises(SoftqError, match="4"):
        env.unwrapped.step(4)


@pytest.mark.parametrize(
    ("env", "states"),
    [
        (
            Pendulum(),
            [State(np.float32(a), np.float32(b)) for a, b in ((0, 0), (1, 0))],
        ),
        (Pendulum(), [State(np.float32(1), np.float32(b)) for b in (0, 4)]),
        (Grid(), [np.int32(0), np.int32(9)]),
        (Grid("S.G"), [np.int32(0), np.int32(1)]),
    ],
)
def test_frames_show_the_state(env: JaxEnv, states: list[object]) -> None:
    one, other = (env.render(jax.tree.map(jnp.asarray, state)) for state in states)
    assert one.dtype == np.uint8
    assert min(one.shape[:2]) >= 256
    assert one.shape == other.shape
    assert (one != other).any()


def test_the_walker_is_drawn_on_its_cell() -> None:
    frame = Grid("S.G").render(jnp.int32(1))
    colours = [tuple(frame[56, x]) for x in (56, 168, 280)]
    assert [colour == AGENT for colour in colours] == [False, True, False]


@pytest.mark.parametrize("env_id", IDS)
def test_the_horizon_truncates(env_id: str) -> None:
    """Standing still never ends the world; the time limit is told apart."""
    env = gymnasium.make(env_id)
    env.reset(seed=0)
    still = 0 if env.unwrapped.jax_env.spec.num_actions else np.zeros(1, np.float32)
    ends = [env.step(still)[2:4] for _ in range(env.unwrapped.jax_env.horizon)]
    assert ends == [(False, False)] * (len(ends) - 1) + [(False, True)]
