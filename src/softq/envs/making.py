"""The border to Gymnasium: any environment, and what softq may do in it."""

import difflib
from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from softq.types import SoftqError, Spec

EnvLike = str | gymnasium.Env | Callable[[], gymnasium.Env]

# Packages whose absence Gymnasium reports in its own words, and our extras.
EXTRAS = {"mujoco": "mujoco", "Box2D": "box2d", "box2d": "box2d", "pygame": "video"}
SMALLEST = 7  # pixels: what the small CNN's two strided convolutions need


def make(env: EnvLike, **options: Any) -> gymnasium.Env:
    """An environment from an id, an environment or a factory; observations flattened.

    Raises SoftqError for an unknown id (the nearest one is named), a missing
    package (the install command is named) or a space that softq cannot use.
    """
    made = _make_id(env, **options) if isinstance(env, str) else env
    if not isinstance(made, gymnasium.Env) and callable(made):
        made = made()
    if not isinstance(made, gymnasium.Env):
        raise SoftqError(
            f"an environment is an id, a gymnasium.Env or a function that makes one; "
            f"found {made!r}"
        )
    if not isinstance(made.observation_space, spaces.Box):
        made = gymnasium.wrappers.FlattenObservation(made)
    spec_of(made)
    return made


def another(env: gymnasium.Env) -> Callable[[], gymnasium.Env] | None:
    """What makes environments like a given one, arguments and wrappers and all.

    None where it does not say how it was made.
    """
    try:
        spec = env.spec
        if spec is None:
            return None
        gymnasium.make(spec).close()
    except (gymnasium.error.Error, ValueError, TypeError, AttributeError):
        return None
    return lambda: gymnasium.make(spec)


def _make_id(env_id: str, **options: Any) -> gymnasium.Env:
    try:
        return gymnasium.make(env_id, **options)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((e for word, e in EXTRAS.items() if word in str(error)), None)
        hint = f'pip install "softq[{extra}]"' if extra else str(error)
        raise SoftqError(
            f"{env_id} needs a package that is missing. Try: {hint}"
        ) from error
    except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as error:
        module = env_id.partition(":")[0]
        if isinstance(error, ModuleNotFoundError) and module != env_id:
            raise SoftqError(
                f"{env_id} needs the package {module}, which is missing. "
                f"Try: pip install {module}"
            ) from error
        near = difflib.get_close_matches(env_id, gymnasium.registry, 1, 0.6)
        hint = f"Did you mean {near[0]}? " if near else ""
        hint += f"If a package brings it, name its module too: MODULE:{env_id}"
        raise SoftqError(f"no environment is called {env_id}. {hint}") from error
    except (gymnasium.error.Error, ImportError, ValueError, TypeError) as error:
        raise SoftqError(f"{env_id} cannot be made: {error}") from error


def spec_of(env: gymnasium.Env) -> Spec:
    """The Spec of an environment with a Box observation space.

    Raises SoftqError where a space is not supported, naming it.
    """
    obs, action = env.observation_space, env.action_space
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    if not isinstance(obs, spaces.Box):
        raise SoftqError(f"{name} has observations {obs}; softq needs a Box or a Dict")
    if len(obs.shape) == 3 and obs.dtype != np.uint8:
        raise SoftqError(
            f"{name} has images of {obs.dtype}; softq needs bytes (uint8, 0 to 255)"
        )
    image = len(obs.shape) == 3
    if image and min(obs.shape[:2]) < SMALLEST:
        raise SoftqError(
            f"{name} has images of {obs.shape[0]} × {obs.shape[1]} pixels (height, "
            f"width, channels); softq needs {SMALLEST} × {SMALLEST} or more. "
            "Wrap it in gymnasium.wrappers.FlattenObservation"
        )
    shape = obs.shape if image else (int(np.prod(obs.shape)),)
    dtype: Literal["float32", "uint8"] = "uint8" if image else "float32"
    if isinstance(action, spaces.Discrete):
        return Spec(shape, dtype, (), (), int(action.n), int(action.start))
    if not isinstance(action, spaces.Box) or len(action.shape) != 1:
        raise SoftqError(
            f"{name} has actions {action}; softq needs a flat Box or Discrete"
        )
    if not action.is_bounded():
        raise SoftqError(
            f"{name} has an action Box without bounds: {action}. "
            "Wrap it in gymnasium.wrappers.RescaleAction or give it finite bounds"
        )
    low, high = (tuple(float(x) for x in b) for b in (action.low, action.high))
    return Spec(shape, dtype, low, high)


# What to type instead, where the actions are of the other kind.
TWINS = {"sql": "soft_dqn", "soft_dqn": "sql", "bc": "bc_discrete",
         "bc_discrete": "bc", "sac": "sac_discrete", "sac_discrete": "sac",
         "cql_discrete": "cql"}  # fmt: skip


def check(
    spec: Spec, algorithm: str, actions: str, name: str, flag: str = "--env"
) -> None:
    """Raises SoftqError unless the algorithm can act in the environment.

    Or learn from the data called `name`, which `flag` names on the command line.
    """
    if spec.actions == actions:
        return
    found = f"Discrete({spec.num_actions})" if spec.num_actions else f"Box{spec.low}"
    discrete = "sac_discrete" if flag == "--env" else "cql_discrete"
    other = TWINS.get(algorithm, discrete if spec.num_actions else "sac")
    raise SoftqError(
        f"{algorithm} needs {actions} actions; {name} has {found}. "
        f"Try: softq train {other} {flag} {name}"
    )
