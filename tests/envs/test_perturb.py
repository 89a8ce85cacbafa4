"""Changed worlds: what is read, what is changed, and that nothing else is."""

import gymnasium
import mujoco
import numpy as np
import pytest

from softq.envs import make, perturb
from softq.types import SoftqError


def test_ranges_lists_and_numbers_are_read() -> None:
    found = perturb.parse("friction=0.5..2,mass:torso=0.5,1,2,delay=0..4:3,obs_noise=0")
    assert list(found) == ["friction", "mass:torso", "delay", "obs-noise"]
    ratios = [0.5, 0.5**0.5, 1.0, 2**0.5, 2.0]
    np.testing.assert_allclose(found["friction"], ratios, rtol=1e-12)
    assert found["mass:torso"] == (0.5, 1.0, 2.0)
    assert found["delay"] == (0.0, 2.0, 4.0)
    assert perturb.parse("absolute-friction=1..3:3")["absolute-friction"] == (1, 2, 3)


def test_a_part_is_spelled_as_its_model_spells_it() -> None:
    found = perturb.parse("obs_noise=0,friction:foot_geom=0.5")
    assert list(found) == ["obs-noise", "friction:foot_geom"]
    perturb.perturbed("Hopper-v5", {"friction:foot_geom": 0.5}).close()


def test_worlds_are_every_combination() -> None:
    assert perturb.worlds({"mass": (1.0, 2.0), "delay": (0.0, 1.0)}) == [
        {"mass": 1.0, "delay": 0.0}, {"mass": 1.0, "delay": 1.0},
        {"mass": 2.0, "delay": 0.0}, {"mass": 2.0, "delay": 1.0},
    ]  # fmt: skip


def test_the_published_worlds_of_hopper_are_set() -> None:
    """RRLS's three absolute ranges, as `docs/howto/changed-world.md` writes them."""
    found = perturb.parse(
        "absolute-friction=0.1..3,absolute-mass:torso=0.1..3,absolute-mass:thigh=0.1..4"
    )
    worlds = perturb.worlds(found)
    assert len(worlds) == 5**3
    corner = perturb.perturbed("Hopper-v5", worlds[4])  # 0.1, 0.1, 4
    model = corner.unwrapped.model  # type: ignore[attr-defined]
    assert set(model.geom_friction[:, 0]) == {0.1}
    assert (model.body("torso").mass[0], model.body("thigh").mass[0]) == (0.1, 4.0)
    corner.close()


@pytest.mark.parametrize("world", [{}, {"delay": 2.0, "obs-noise": 0.1}])
def test_where_no_physics_change_the_model_is_left_alone(
    world: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what MuJoCo derives is computed again: a run's own world, to the bit."""
    monkeypatch.setattr(mujoco, "mj_setConst", None)
    perturb.perturbed("Hopper-v5", world).close()
    with pytest.raises(TypeError):
        perturb.perturbed("Hopper-v5", {"mass": 2.0})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.5..2", "without a name"),
        ("mass=1,mass=2", "names mass twice"),
        ("mass=heavy", "mass=heavy is no number and no range"),
        ("mass=2..1", "Try: mass=0.5..2"),
        ("mass=1..2:1", "no range"),
        ("mass=-1", "finite and not negative"),
        ("mass=nan", "finite and not negative"),
        ("mass=0..2", "mass must be more than zero"),
        ("absolute-length=0", "absolute-length must be more than zero"),
        ("delay=0.5", "whole steps"),
        ("delay=1e18", "at most 1000"),
        ("delay=1e300", "at most 1000"),
        ("mass=1..inf", "no range"),
        ("mass=1..2:99999999999999", "worlds; at most 400"),
        (",".join(f"{n}=1..2:65536" for n in ("a", "b", "c", "d")), "at most 400"),
        ("mass=1..2:21,friction=1..2:20", "420 worlds; at most 400"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, told: str) -> None:
    with pytest.raises(SoftqError, match=told):
        perturb.parse(text)


def test_names_that_a_model_lacks_come_with_those_it_has() -> None:
    with pytest.raises(SoftqError, match=r"Hopper-v5 has no mass:tail. It has: fric.*"
                       r"obstacle.*mass:torso, mass:thigh.*absolute-NAME"):  # fmt: skip
        perturb.perturbed("Hopper-v5", {"mass:tail": 2.0})
    with pytest.raises(SoftqError, match=r"Grid-v0 has no mass. It has: actuator-noi"):
        perturb.perturbed("softq/Grid-v0", {"mass": 2.0})
    assert perturb.names(make("softq/Catch-v0")) == ("actuator-noise", "delay")


def models(world: dict[str, float]) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """Hopper's as it is, and as changed."""
    before = gymnasium.make("Hopper-v5").unwrapped.model
    return before, perturb.perturbed("Hopper-v5", world).unwrapped.model


ARRAYS = ("geom_friction", "body_mass", "body_inertia", "dof_damping", "actuator_gear")


@pytest.mark.parametrize(
    ("world", "array", "expected"),
    [
        ({"friction": 0.5}, "geom_friction", lambda x: x * [[0.5, 1.0, 1.0]]),
        ({"mass": 2.0}, "body_mass", lambda x: x * 2),
        ({"damping": 3.0}, "dof_damping", lambda x: x * 3),
        ({"strength": 0.5}, "actuator_gear", lambda x: x * [[0.5, 1, 1, 1, 1, 1]]),
    ],
)
def test_factors_change_their_array_alone(world, array, expected) -> None:
    before, after = models(world)
    np.testing.assert_allclose(getattr(after, array), expected(getattr(before, array)))
    follows = {"mass": ("body_mass", "body_inertia")}.get(next(iter(world)), (array,))
    for other in set(ARRAYS) - set(follows):
        np.testing.assert_array_equal(getattr(after, other), getattr(before, other))
    np.testing.assert_array_equal(after.opt.gravity, before.opt.gravity)


def test_a_part_is_changed_alone_and_set_to_kilograms() -> None:
    for world, kilos in (
        ({"mass:torso": 2.0}, None),
        ({"absolute-mass:torso": 5.0}, 5),
    ):
        before, after = models(world)
        torso = before.body("torso").id
        expected = before.body_mass.copy()
        expected[torso] = kilos or 2 * expected[torso]
        np.testing.assert_allclose(after.body_mass, expected)
        ratio = expected[torso] / before.body_mass[torso]
        inertia = before.body_inertia[torso] * ratio
        np.testing.assert_allclose(after.body_inertia[torso], inertia)
        # What MuJoCo derives from masses is derived again.
        np.testing.assert_allclose(after.body_subtreemass[0], expected.sum())


def test_gravity_and_friction_are_set() -> None:
    before, after = models(
        {"absolute-gravity": 3.7, "absolute-friction:foot_geom": 0.2}
    )
    np.testing.assert_array_equal(after.opt.gravity, [0, 0, -3.7])
    foot = before.geom("foot_geom").id
    assert after.geom_friction[foot, 0] == 0.2
    same = np.arange(before.ngeom) != foot
    np.testing.assert_array_equal(after.geom_friction[same], before.geom_friction[same])
    _, lighter = models({"gravity": 0.5})
    np.testing.assert_allclose(lighter.opt.gravity, [0, 0, -9.81 / 2])


def test_half_the_gravity_falls_half_as_far() -> None:
    def fallen(world: dict[str, float]) -> float:
        env = perturb.perturbed("Hopper-v5", world)
        env.reset(seed=0)
        start, still = _lifted(env.unwrapped)
        env.unwrapped.set_state(start, still)
        for _ in range(10):
            env.step(np.zeros(3, np.float32))
        return float(start[1] - env.unwrapped.data.qpos[1])

    assert fallen({"gravity": 0.5}) == pytest.approx(fallen({}) / 2, rel=1e-6)


def _lifted(env):
    qpos = env.init_qpos.copy()
    qpos[1] += 0.5
    return qpos, env.init_qvel


def test_an_obstacle_stands_in_the_way_and_nothing_else_changes() -> None:
    def touched(world: dict[str, float]) -> bool:
        """Whether a torso thrown along the floor meets something."""
        env = perturb.perturbed("HalfCheetah-v5", world)
        env.reset(seed=0)
        world_ = env.unwrapped
        qvel = world_.init_qvel.copy()
        qvel[0] = 8.0
        world_.set_state(world_.init_qpos, qvel)
        for _ in range(30):
            env.step(np.zeros(6, np.float32))
        return float(world_.data.qpos[0]) < perturb.AHEAD

    assert not touched({"obstacle": 0.0})
    assert touched({"obstacle": 1.0})
    low, high = (perturb.perturbed("Hopper-v5", {"obstacle": x}) for x in (0.0, 0.1))
    assert high.unwrapped.model.ngeom == low.unwrapped.model.ngeom + 1
    for env in (low, high):
        env.reset(seed=3)
    for _ in range(5):  # long before it is met
        a, b = (env.step(np.full(3, 0.1, np.float32)) for env in (low, high))
        np.testing.assert_array_equal(a[0], b[0])


def test_classic_physics() -> None:
    env = perturb.perturbed("Pendulum-v1", {"gravity": 0.5, "absolute-mass": 3.0})
    assert (env.unwrapped.g, env.unwrapped.m, env.unwrapped.l) == (5.0, 3.0, 1.0)
    env = perturb.perturbed("CartPole-v1", {"mass": 2.0, "length": 2.0})
    assert env.unwrapped.total_mass == pytest.approx(1.2)
    assert env.unwrapped.polemass_length == pytest.approx(0.2 * 1.0)


class Told(gymnasium.Env):
    """Says which action it was given."""

    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 4.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.asarray(action, np.float32), 0.0, False, False, {}


def played(world: dict[str, float], steps: int, env=Told, seed: int = 0) -> np.ndarray:
    made = perturb.perturbed(env, world)
    first, _ = made.reset(seed=seed)
    given = [np.full(2, 0.1 * k, np.float32) for k in range(steps)]
    return np.array([first, *(made.step(action)[0] for action in given)])


def test_late_actions_come_late_and_the_first_are_the_middle() -> None:
    seen = played({"delay": 2.0}, 5)[1:, 0]
    np.testing.assert_allclose(seen, [1.0, 1.0, 0.0, 0.1, 0.2], atol=1e-6)


def test_noise_has_its_deviation_stays_in_the_box_and_follows_the_seed() -> None:
    given = np.repeat(0.1 * np.arange(20)[:, None], 2, 1)
    off = np.concatenate(
        [played({"actuator-noise": 0.1}, 20, seed=s)[1:] - given for s in range(40)]
    )
    assert off.std() == pytest.approx(0.1 * 3.0, rel=0.1)
    wild = played({"actuator-noise": 9.0}, 50)
    assert wild.min() == -2.0
    assert wild.max() == 4.0
    seen = played({"obs-noise": 0.2}, 20)
    assert (seen[1:] - given).std() == pytest.approx(0.2, rel=0.3)
    assert seen[0].any()  # the first is noisy too
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, played({"obs-noise": 0.2}, 20))
    assert (seen != played({"obs-noise": 0.2}, 20, seed=1)).any()


def test_noise_in_whole_numbers_is_not_rounded_away() -> None:
    made = perturb.perturbed("FrozenLake-v1", {"obs-noise": 1e-3})
    sums = [float(np.sum(made.reset(seed=seed)[0])) for seed in range(20)]
    assert np.allclose(sums, 1.0, atol=0.05)
    assert np.std(sums) > 0


def test_discrete_actions_are_replaced_as_often_as_said() -> None:
    class Chosen(Told):
        action_space = gymnasium.spaces.Discrete(4, start=3)

        def step(self, action):
            return np.full(2, action, np.float32), 0.0, False, False, {}

    made = perturb.perturbed(Chosen, {"actuator-noise": 0.4})
    made.reset(seed=0)
    seen = np.array([made.step(3)[0][0] for _ in range(2000)])
    assert np.mean(seen != 3) == pytest.approx(0.4 * 3 / 4, abs=0.03)
    assert set(seen) == {3.0, 4.0, 5.0, 6.0}


def test_a_world_as_it_is_has_no_wrapper() -> None:
    made = perturb.perturbed("Pendulum-v1", {"delay": 0.0, "obs-noise": 0.0})
    assert not isinstance(made, perturb.Disturbed)
