"""A run's plan: every choice that makes it what it is, to and from `config.json`."""

import dataclasses
import difflib
import itertools
import json
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from softq import checkpoint, machine, presets
from softq.algos import ALGOS, Algorithm
from softq.train.seeds import Seeds
from softq.train.step import Options
from softq.typed import names, typed
from softq.types import SoftqError, Spec


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How often a run reports, evaluates and saves; none of it changes the run."""

    log_every: int = 1_000
    """Steps between lines of metrics."""
    eval_every: int = 10_000
    """Steps between evaluations; 0 never evaluates."""
    eval_episodes: int = 10
    checkpoint_every: int = 5_000
    """Steps between checkpoints; 0 saves only at the end."""
    max_replay: int = 100_000
    """Longest episode (steps) that a resumed run may replay to come back to it."""
    tensorboard: bool = False
    """Also write TensorBoard files (extra: tensorboard)."""
    wandb: bool = False
    """Also log to Weights & Biases (extra: wandb)."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Fixed data to learn from, and what is done to them on the way in."""

    path: str
    """A D4RL or Minari HDF5 file, a Minari folder or name, an OGBench npz."""
    reward_scale: float = 1.0
    """Multiplies every reward, before the shift."""
    reward_shift: float = 0.0
    """Added to every reward."""
    strict: bool = False
    """Refuse actions outside the bounds instead of clipping them."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A numeric knob of the algorithm, and the values to try."""

    knob: str
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `softq train` was asked for, resolved.

    With `data` the loop's steps are updates, and `env` is for evaluation (or empty).
    """

    algorithm: str
    env: str
    algo: Any
    loop: Options = dataclasses.field(default_factory=Options)
    cadence: Cadence = dataclasses.field(default_factory=Cadence)
    seed: int = 0
    seeds: int = 1
    init_from: str | None = None  # the run that this one starts from
    data: Data | None = None
    finetune_env: str | None = None  # where it goes on after the data
    finetune_steps: int = 0
    sweep: tuple[Sweep, ...] = ()  # every combination is a setting

    @property
    def seed_range(self) -> Seeds:
        return Seeds(self.seed, self.seeds, len(self.settings))

    @property
    def settings(self) -> list[dict[str, float]]:
        """The knobs of each setting of a sweep; one setting of none without."""
        names = [one.knob for one in self.sweep]
        every = itertools.product(*(one.values for one in self.sweep))
        return [dict(zip(names, values, strict=True)) for values in every]

    def config(self, lane: int) -> Any:
        """The algorithm's config in a lane (settings vary slowest, then seeds)."""
        changes = self.settings[lane // self.seeds]
        return dataclasses.replace(self.algo, **changes)

    def setting(self, lane: int) -> str:
        """A lane's setting in words, as in gap_weight=5; empty without a sweep."""
        chosen = self.settings[lane // self.seeds]
        return ", ".join(f"{knob}={value:g}" for knob, value in chosen.items())

    @property
    def swept(self) -> Any:
        """The config with an array of one value a setting wherever a knob is swept."""
        if len(self.settings) == 1:
            return self.config(0)
        every = [self.config(k * self.seeds) for k in range(len(self.settings))]
        return jax.tree.map(lambda *knobs: np.asarray(knobs, np.float32), *every)

    @property
    def world(self) -> str:
        """What is learned from, in a few characters."""
        if self.data is None:
            return self.env
        name = Path(self.data.path).name
        return f"{name}, then {self.finetune_env}" if self.finetune_env else name

    @property
    def normalizes(self) -> bool:
        """Whether observations are scaled: as asked, or as the algorithm does."""
        always = self.data is not None and getattr(self.module, "NORMALIZES", False)
        return self.loop.normalize_obs or always

    @property
    def steps(self) -> int:
        """Updates on data, then steps in environments."""
        return self.loop.steps + self.finetune_steps

    @property
    def online(self) -> Options:
        """The loop of what follows the data: it acts, and learns, as it has learned."""
        return dataclasses.replace(
            self.loop, steps=self.finetune_steps, random_start=False, learning_starts=0
        )

    @property
    def module(self) -> Algorithm:
        return ALGOS[self.algorithm]


def algorithm(name: str) -> str:
    """The algorithm's name as in ALGOS; `-` and `_` are alike."""
    found = name.replace("-", "_")
    if found in ALGOS:
        return found
    near = difflib.get_close_matches(found, ALGOS, 1, 0.3)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(ALGOS)}"
    raise SoftqError(f"no algorithm is called {name}. {hint}")


def build(name: str, env: str, options: dict[str, Any]) -> Plan:
    """A plan from keyword options as in Python: `algo` a Config or a dict of knobs.

    Raises SoftqError for what is no option, or not of its type.
    """
    module, named = ALGOS[name], options.pop("preset", None)
    preset = presets.find(name, named)
    chosen, options = options.pop("algo", {}), {**preset.loop, **options}
    if isinstance(chosen, dict):
        _only_known(chosen, [module.Config], f"{name}'s options")
        chosen = module.Config(**{**preset.algo, **chosen})
    elif not isinstance(chosen, module.Config):
        raise SoftqError(
            f"algo must be a dict, or the Config of {name}; found {type(chosen)}"
        )
    elif preset.algo:
        raise SoftqError("give algo as a dict where a preset is to fill the rest")
    if not isinstance(sweep := options.get("sweep", ()), tuple):
        options["sweep"] = sweeps(name, sweep)
    if preset.data and "data" not in options:
        raise SoftqError(f"the preset {named} is for data: give data")
    if preset.data:
        options["data"] = _filled(options["data"], preset.data)
    loop, cadence = (_part(kind, options) for kind in (Options, Cadence))
    rest = {k: options.pop(k) for k in PYTHON if k in options}
    origin = options.pop("init_from", None)
    _only_known(options, [Options, Cadence], "the options of softq.train")
    made = _of_types(Plan(name, env, chosen, loop, cadence, **rest))
    return made if origin is None else starting_from(made, origin)


# What reading JSON that is not ours, or nested without end, may raise.
DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip
PYTHON = ("seed", "seeds", "data", "finetune_env", "finetune_steps", "sweep")


def _filled(given: Data, preset: Mapping[str, Any]) -> Data:
    """A preset's values where the user's are the defaults."""
    free = {k: v for k, v in preset.items() if getattr(given, k) == getattr(Data, k)}
    return dataclasses.replace(given, **free)


def _of_types(made: Plan) -> Plan:
    """The same plan, whole numbers as floats and lists as tuples where such are meant.

    Raises SoftqError where a value is of another type than its option.
    """
    try:
        algo = typed(type(made.algo), dataclasses.asdict(made.algo))
        plain = dataclasses.asdict(dataclasses.replace(made, algo=None))
        return dataclasses.replace(typed(Plan, plain), algo=algo)
    except TypeError as error:
        raise SoftqError(f"an option is of the wrong type: {error}") from error


def _part(kind: Any, options: dict[str, Any]) -> Any:
    return kind(**{k: options[k] for k in names(kind) if k in options})


def sweeps(name: str, asked: dict[str, Any]) -> tuple[Sweep, ...]:
    """`{"gap_weight": [1, 5]}` as sweeps. Raises SoftqError for what is no knob."""
    if not isinstance(asked, Mapping):
        raise SoftqError(f"sweep must be a dict of knobs; found {asked!r}")
    config = ALGOS[name].Config
    hints = typing.get_type_hints(config)
    numeric = [n for n in names(config) if hints[n] in (float, float | None)]
    _only_known(asked, [config], f"{name}'s options")
    for knob, values in asked.items():
        if knob not in numeric:
            raise SoftqError(
                f"{knob} cannot be swept, for it changes the program: start a run for "
                f"each value. What can be swept: {', '.join(numeric)}"
            )
        if np.size(values) == 0:
            raise SoftqError(f"a sweep over {knob} needs values, as in 1,5,10")
    return tuple(Sweep(knob, _values(knob, vs)) for knob, vs in asked.items())


def _values(knob: str, given: Any) -> tuple[float, ...]:
    """A sweep's numbers, each of them once."""
    try:
        if isinstance(given, str):
            raise TypeError
        return tuple(dict.fromkeys(float(x) for x in given))
    except (TypeError, ValueError) as error:
        raise SoftqError(
            f"a sweep over {knob} needs a list of numbers; found {given!r}"
        ) from error


def starting_from(made: Plan, run: str | Path) -> Plan:
    """The plan of a run that starts as another ended, and acts so from its first step.

    What it needs to learn before it updates is then its own doing, not chance's.
    """
    loop = dataclasses.replace(made.loop, random_start=False)
    return dataclasses.replace(made, loop=loop, init_from=str(run))


def _only_known(given: dict[str, Any], kinds: list[Any], where: str) -> None:
    known = [name for kind in kinds for name in names(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            hint = (
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
            )
            raise SoftqError(f"{name} is not among {where}. {hint}")


def _sane(plan: Plan, spec: Spec) -> None:
    """Raises ValueError for numbers that no run of ours was written with."""
    loop, hidden = plan.loop, getattr(plan.algo, "hidden", ())
    least = {
        "seeds": (plan.seeds, 1), "seed": (plan.seed, 0), "steps": (loop.steps, 1),
        "num_envs": (loop.num_envs, 1), "capacity": (loop.capacity, 1),
        "batch_size": (loop.batch_size, 1), "hidden": (min(hidden, default=1), 1),
        "obs_shape": (min(spec.obs_shape, default=1), 1),
    }  # fmt: skip
    for name, (found, low) in least.items():
        if found < low:
            raise ValueError(f"{name} is {found}")
    if math.prod(spec.obs_shape) >= 2**40:
        raise ValueError(f"obs_shape is {spec.obs_shape}")
    if any(not one.values for one in plan.sweep) or not all(
        hasattr(plan.algo, one.knob) for one in plan.sweep
    ):
        raise ValueError("its sweep is none")


def ring_rows(plan: Plan) -> int:
    """Rows of the replay ring: none where all there is to learn from is given."""
    if plan.data is None:
        return plan.loop.rows
    return plan.online.rows if plan.finetune_env else 0


def create(run: Path) -> None:
    """Makes a run's directory; raises SoftqError where it cannot be written."""
    try:
        run.mkdir(parents=True)
    except OSError as error:
        raise SoftqError(
            f"cannot write to {run}: {error.strerror}. Try another --out"
        ) from error


def write(run: Path, plan: Plan, spec: Spec, about: dict[str, Any]) -> None:
    """Writes `config.json`: the plan, what it learns from, versions and machine."""
    content = {
        "plan": dataclasses.asdict(plan),
        "spec": dataclasses.asdict(spec),
        **about,
        "versions": machine.versions(),
        "commit": machine.commit(),
        "machine": machine.about(),
    }
    checkpoint.write(run / "config.json", json.dumps(content, indent=1).encode())


def read(run: Path) -> tuple[Plan, Spec, dict[str, Any]]:
    """The plan, the spec and the whole of `config.json` of a run.

    Raises SoftqError where the directory is no run, or the file is damaged.
    """
    path = run / "config.json"
    if not path.is_file():
        raise SoftqError(f"{run} is no run: it has no config.json. See: softq list")
    try:
        content = json.loads(path.read_bytes())
        name = algorithm(content["plan"]["algorithm"])
        plan = typed(Plan, content["plan"] | {"algo": None})
        algo = typed(ALGOS[name].Config, content["plan"]["algo"])
        spec = typed(Spec, content["spec"])
        plan = dataclasses.replace(plan, algo=algo)
        _sane(plan, spec)
        return plan, spec, content
    except DAMAGE as error:
        raise SoftqError(f"{path} is damaged: {error}") from error
