"""A changed world for a trained policy: other physics, noise, delay, an obstacle.

`friction=0.5..2,mass:torso=0.5,1,2` multiplies; `absolute-friction=0.1..3` sets; noise,
delay and the obstacle's height are what they are. MuJoCo's models are changed through
its own arrays (and `MjSpec`, for the obstacle), before the first reset.
"""

import collections
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from softq.envs.making import EnvLike, make
from softq.types import SoftqError

World = Mapping[str, float]

POINTS = 5  # of a range that does not say how many
MOST = 400  # worlds of a grid
LATEST = 1_000  # steps that an action may be late
DIVIDES = ("mass", "length")  # what accelerations are divided by
AHEAD, DEPTH, WIDTH = 2.0, 0.05, 5.0  # metres: where a bar lies, and half its sizes
# What any environment can be given; 0 is the world as it is.
AROUND = ("actuator-noise", "obs-noise", "delay")
# What multiplies; and of which MuJoCo objects one can be named.
PHYSICS = ("friction", "mass", "gravity", "damping", "strength")
PARTS = {"friction": "geom", "mass": "body"}
# Gymnasium's classic environments keep their physics in attributes.
CLASSIC = {
    "PendulumEnv": {"gravity": "g", "mass": "m", "length": "l"},
    "CartPoleEnv": {"gravity": "gravity", "mass": "masspole", "length": "length",
                    "strength": "force_mag"},
}  # fmt: skip


class Name(NamedTuple):
    """A perturbation's name, taken apart: `absolute-mass:torso`."""

    kind: str
    part: str
    absolute: bool


def parse(text: str) -> dict[str, tuple[float, ...]]:
    """`friction=0.5..2:5,delay=0,2` → a tuple of values a name.

    A range has 5 values, or as many as `:N` says: in equal ratios where it multiplies
    and starts above 0, else in equal steps. Raises SoftqError for what cannot be meant.
    """
    found: dict[str, list[float]] = {}
    name = ""
    for piece in text.split(","):
        before, equals, value = piece.rpartition("=")
        name = _spelled(before.strip()) if equals else name
        if not name or (equals and name in found):
            wrong = f"names {name} twice" if name else f"has {piece!r} without a name"
            raise SoftqError(
                f"--perturb {text} {wrong}. Try: --perturb friction=0.5..2,delay=0,2"
            )
        found.setdefault(name, []).extend(_values(name, value.strip()))
    number = math.prod(len(values) for values in found.values())
    if number > MOST:
        raise SoftqError(
            f"--perturb {text} are {number:,} worlds; at most {MOST}. Try fewer values "
            "of each, such as friction=0.5..2:3"
        )
    return {name: tuple(values) for name, values in found.items()}


def _spelled(name: str) -> str:
    """`obs_noise` is `obs-noise`; a part is called what its model calls it."""
    kind, colon, part = name.partition(":")
    return kind.replace("_", "-") + colon + part


def _values(name: str, text: str) -> list[float]:
    try:
        if ".." not in text:
            values = [float(text)]
        else:
            ends, _, number = text.partition(":")
            low, high = (float(x) for x in ends.split(".."))
            n = int(number) if number else POINTS
            if not (n >= 2 and low < high and np.isfinite([low, high]).all()):
                raise ValueError
            many = min(n, MOST + 1)  # which is too many, as `parse` will say
            ratio = multiplies(name) and low > 0
            values = (np.geomspace if ratio else np.linspace)(low, high, many).tolist()
    except ValueError:
        raise SoftqError(
            f"{name}={text} is no number and no range. Try: {name}=0.5..2, "
            f"{name}=0.5..2:7 (seven values) or {name}=0.5,1,2"
        ) from None
    low = 0.0 if multiplies(name) or name in (*AROUND, "obstacle") else -np.inf
    bad = [x for x in values if not (np.isfinite(x) and x >= low)]
    if name == "delay" and any(x % 1 or x > LATEST for x in values):
        raise SoftqError(f"delay must be whole steps, at most {LATEST}; found {text}")
    if bad:
        raise SoftqError(f"{name} must be finite and not negative; found {text}")
    kind = name.partition(":")[0].removeprefix("absolute-")
    if kind in DIVIDES and not all(values):
        raise SoftqError(f"{name} must be more than zero; found {text}")
    return values


def multiplies(name: str) -> bool:
    """Whether 1 is the world as it is."""
    kind = name.partition(":")[0]
    return not kind.startswith("absolute-") and kind not in (*AROUND, "obstacle")


def worlds(changes: Mapping[str, tuple[float, ...]]) -> list[dict[str, float]]:
    """Every combination of the values."""
    product = itertools.product(*changes.values())
    return [dict(zip(changes, values, strict=True)) for values in product]


def perturbed(env: EnvLike, world: World) -> gymnasium.Env:
    """A new environment, changed. Raises SoftqError for what it does not have."""
    made = make(env)
    has = names(made)
    for given in world:
        if given not in has:
            raise SoftqError(f"{_called(made)} has no {given}. It has: {_told(has)}")
    if world.get("obstacle"):
        _place(made.unwrapped, world["obstacle"])
    physics = [name for name in world if name not in (*AROUND, "obstacle")]
    for name in physics:
        _change(made.unwrapped, _apart(name), world[name])
    if physics:
        _derive(made.unwrapped)
    around = {name: world[name] for name in AROUND if world.get(name)}
    return Disturbed(made, around) if around else made


def names(env: gymnasium.Env) -> tuple[str, ...]:
    """What can be changed in an environment."""
    world: Any = env.unwrapped
    vector = getattr(env.observation_space, "dtype", None) != np.uint8
    around = tuple(n for n in AROUND if vector or n != "obs-noise")
    if type(world).__name__ in CLASSIC:
        physics = tuple(CLASSIC[type(world).__name__])
        return (*physics, *(f"absolute-{name}" for name in physics), *around)
    if not hasattr(getattr(world, "model", None), "geom_friction"):
        return around
    parts = [f"{kind}:{part}" for kind, what in PARTS.items()
             for part in _parts(world.model, what)]  # fmt: skip
    fixed = [f"absolute-{name}" for name in ("friction", "gravity", *parts)]
    bar = ("obstacle",) * Path(getattr(world, "fullpath", "")).is_file()
    return (*PHYSICS, *bar, *around, *parts, *fixed)


def _parts(model: Any, what: str) -> list[str]:
    number = getattr(model, f"n{what}")
    found = [getattr(model, what)(i).name for i in range(number)]
    return [name for name in found if name and name != "world"]


def _told(has: tuple[str, ...]) -> str:
    plain = [name for name in has if not name.startswith("absolute-")]
    more = ", and absolute-NAME for a value instead of a factor"
    return ", ".join(plain) + (more if len(plain) < len(has) else "")


def _called(env: gymnasium.Env) -> str:
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _apart(name: str) -> Name:
    kind, _, part = name.partition(":")
    return Name(kind.removeprefix("absolute-"), part, kind.startswith("absolute-"))


def _change(env: Any, name: Name, value: float) -> None:
    """Multiplies or sets one of the physics."""
    if type(env).__name__ in CLASSIC:
        _change_classic(env, name, value)
        return
    model: Any = env.model
    chosen: Any = slice(None)
    if name.part:
        chosen = [getattr(model, PARTS[name.kind])(name.part).id]
    if name.kind == "mass":  # inertia goes with it, the shape staying as it is
        before = model.body_mass[chosen]
        kilos = np.full_like(before, value) if name.absolute else before * value
        factor = np.divide(kilos, before, out=np.ones_like(before), where=before > 0)
        model.body_inertia[chosen] *= factor[:, None]
        model.body_mass[chosen] = before * factor
        return
    arrays = {
        "friction": model.geom_friction[:, 0], "gravity": model.opt.gravity,
        "damping": model.dof_damping, "strength": model.actuator_gear[:, 0],
    }  # fmt: skip
    array = arrays[name.kind]
    sign = -1.0 if name.kind == "gravity" else 1.0  # it points down
    if name.kind == "gravity" and name.absolute:
        chosen = [2]
    array[chosen] = sign * value if name.absolute else array[chosen] * value


def _derive(env: Any) -> None:
    """What MuJoCo keeps of masses and lengths, computed again."""
    if hasattr(getattr(env, "model", None), "geom_friction"):
        import mujoco

        mujoco.mj_setConst(env.model, env.data)


def _change_classic(env: Any, name: Name, value: float) -> None:
    at = CLASSIC[type(env).__name__][name.kind]
    setattr(env, at, value if name.absolute else getattr(env, at) * value)
    if hasattr(env, "total_mass"):  # CartPole keeps what follows from them
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length


def _place(env: Any, height: float) -> None:
    """A bar across the way, two metres ahead of the start, as rough as the floor."""
    import mujoco

    spec = mujoco.MjSpec.from_file(env.fullpath)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=[AHEAD, 0.0, height / 2],
        size=[DEPTH, WIDTH, height / 2], condim=3, friction=env.model.geom_friction[0],
        contype=1, conaffinity=1, rgba=[0.77, 0.27, 0.18, 1.0],
    )  # fmt: skip
    sizes, env.model = env.model.vis.global_, spec.compile()
    env.model.vis.global_.offwidth = sizes.offwidth  # a film is no smaller for it
    env.model.vis.global_.offheight = sizes.offheight
    env.data = mujoco.MjData(env.model)
    env.mujoco_renderer.model, env.mujoco_renderer.data = env.model, env.data


class Disturbed(gymnasium.Wrapper):
    """Noisy or late actions, noisy observations; drawn from the seed of the reset.

    `actuator-noise` is a standard deviation in units of half the Box, or of Discrete
    actions the chance that any of them is taken instead; `obs-noise` one in the
    observation's own units; `delay` counts steps, in which the middle action is taken.
    """

    def __init__(self, env: gymnasium.Env, world: World):
        super().__init__(env)
        self.shake = world.get("actuator-noise", 0.0)
        self.blur = world.get("obs-noise", 0.0)
        self.late = int(world.get("delay", 0.0))
        self.rng = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """The environment's reset; its seed is the noise's too."""
        obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.rng = np.random.default_rng([seed, 1])
        space = self.env.action_space
        idle = (
            (space.low + space.high) / 2 if isinstance(space, spaces.Box)
            else space.start  # type: ignore[attr-defined]
        )  # fmt: skip
        self.waiting = collections.deque([idle] * self.late)
        return self._seen(obs), info

    def step(self, action: Any) -> Any:
        """The environment's step with the action that is due."""
        self.waiting.append(action)
        obs, *rest = self.env.step(self._shaken(self.waiting.popleft()))
        return self._seen(obs), *rest

    def _shaken(self, action: Any) -> Any:
        if not self.shake:
            return action
        space: Any = self.env.action_space
        if not isinstance(space, spaces.Box):
            other = space.start + self.rng.integers(space.n)
            return other if self.rng.random() < self.shake else action
        half = (space.high - space.low) / 2
        noise = self.shake * half * self.rng.normal(size=space.shape)
        return np.clip(action + noise, space.low, space.high).astype(space.dtype)

    def _seen(self, obs: Any) -> Any:
        if not self.blur:
            return obs
        seen = np.asarray(obs)
        noisy = seen + self.blur * self.rng.normal(size=seen.shape)
        whole = not np.issubdtype(seen.dtype, np.floating)
        return noisy.astype(np.float32 if whole else seen.dtype)
