"""A run's plan: every choice that makes it what it is, to and from `config.json`."""

import dataclasses
import difflib
import json
import os
import platform
import subprocess
import types
import typing
from importlib import metadata
from pathlib import Path
from typing import Any

from softq import checkpoint
from softq.algos import ALGOS, Algorithm
from softq.data import ring
from softq.machine import free_memory
from softq.train.seeds import Seeds
from softq.train.step import Options
from softq.types import SoftqError, Spec

PACKAGES = (
    "softq",
    "jax",
    "jaxlib",
    "equinox",
    "numpy",
    "gymnasium",
    "mujoco",
)


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
class Plan:
    """What `softq train` was asked for, resolved."""

    algorithm: str
    env: str
    algo: Any
    loop: Options = dataclasses.field(default_factory=Options)
    cadence: Cadence = dataclasses.field(default_factory=Cadence)
    seed: int = 0
    seeds: int = 1
    init_from: str | None = None  # the run that this one starts from

    @property
    def seed_range(self) -> Seeds:
        return Seeds(self.seed, self.seeds)

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
    """A plan from keyword options as in Python: `algo` a Config or a dict of knobs."""
    module = ALGOS[name]
    chosen, options = options.pop("algo", {}), dict(options)
    if isinstance(chosen, dict):
        _only_known(chosen, [module.Config], f"{name}'s options")
        chosen = module.Config(**chosen)
    _only_known(options, [Options, Cadence, Plan], "the options of softq.train")
    parts = {
        kind: {k: options[k] for k in _names(kind) if k in options}
        for kind in (Options, Cadence)
    }
    rest = {k: options[k] for k in ("seed", "seeds") if k in options}
    origin = options.get("init_from")
    loop, cadence = Options(**parts[Options]), Cadence(**parts[Cadence])
    made = Plan(name, env, chosen, loop, cadence, **rest)
    return made if origin is None else starting_from(made, origin)


def starting_from(made: Plan, run: str | Path) -> Plan:
    """The plan of a run that starts as another ended, and acts so from its first step.

    What it needs to learn before it updates is then its own doing, not chance's.
    """
    loop = dataclasses.replace(made.loop, random_start=False)
    return dataclasses.replace(made, loop=loop, init_from=str(run))


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _only_known(given: dict[str, Any], kinds: list[Any], where: str) -> None:
    known = [name for kind in kinds for name in _names(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            hint = (
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
            )
            raise SoftqError(f"{name} is not among {where}. {hint}")


# Options that may be zero, and those that may be anything.
MAY_BE_ZERO = {
    "seed", "learning_starts", "eval_every", "checkpoint_every", "max_replay",
    "target_period", "alpha", "discount", "noise",
}  # fmt: skip
ANY_NUMBER = {"target_entropy"}
AT_MOST_ONE = {"discount", "polyak", "target_entropy_ratio"}


def check(plan: Plan) -> None:
    """Raises SoftqError for numbers that cannot be meant, each with what was found."""
    for prefix, part in (
        ("", plan),
        ("", plan.loop),
        ("", plan.cadence),
        ("algo.", plan.algo),
    ):
        for field in dataclasses.fields(part):
            _check_number(prefix, field.name, getattr(part, field.name))
    loop = plan.loop
    if loop.batch_size > loop.capacity:
        raise SoftqError(
            f"a batch of {loop.batch_size:,} is larger than the replay ring, "
            f"which holds {loop.capacity:,}. "
            f"Try: --capacity {max(loop.batch_size, 1_000_000)}"
        )
    if loop.batch_size > loop.steps:
        raise SoftqError(
            f"a batch of {loop.batch_size:,} is larger than the {loop.steps:,} "
            f"steps of the run. Try: --batch-size {max(loop.steps // 10, 1)}"
        )


def _check_number(prefix: str, name: str, value: Any) -> None:
    flag = f"--{prefix}{name.replace('_', '-')}"
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if name in ANY_NUMBER:
            continue
        least = 0 if name in MAY_BE_ZERO else None
        good = number >= 0 if least == 0 else number > 0
        if not good or number != number or number == float("inf"):
            bound = "zero or more" if least == 0 else "more than zero"
            raise SoftqError(f"{flag} must be {bound}; found {number}")
        if name in AT_MOST_ONE and number > 1:
            raise SoftqError(f"{flag} must be at most 1; found {number}")


def check_memory(plan: Plan, spec: Spec) -> None:
    """Raises SoftqError where the replay ring would not fit into free memory."""
    per_row = ring.row_bytes(spec)
    needed, free = per_row * plan.loop.rows * plan.seeds, free_memory()
    if needed > 0.8 * free:
        fits = int(0.5 * free / per_row / plan.seeds)
        raise SoftqError(
            f"a replay ring of {plan.loop.rows:,} rows needs {needed / 2**30:.1f} GiB; "
            f"{free / 2**30:.1f} GiB are free. Try: --capacity {fits}"
        )


def create(run: Path) -> None:
    """Makes a run's directory; raises SoftqError where it cannot be written."""
    try:
        run.mkdir(parents=True)
    except OSError as error:
        raise SoftqError(
            f"cannot write to {run}: {error.strerror}. Try another --out"
        ) from error


def write(run: Path, plan: Plan, spec: Spec, replayable: bool | None) -> None:
    """Writes `config.json`: the plan, versions, commit and machine."""
    content = {
        "plan": dataclasses.asdict(plan),
        "spec": dataclasses.asdict(spec),
        "replayable": replayable,
        "versions": versions(),
        "commit": _commit(),
        "machine": machine(),
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
        plan = _typed(Plan, content["plan"] | {"algo": None})
        algo = _typed(ALGOS[name].Config, content["plan"]["algo"])
        spec = _typed(Spec, content["spec"])
        return dataclasses.replace(plan, algo=algo), spec, content
    except (ValueError, KeyError, TypeError) as error:
        raise SoftqError(f"{path} is damaged: {error}") from error


def _typed(kind: Any, value: Any) -> Any:
    """JSON as the type it came from: nested dataclasses, tuples, numbers, text."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or value.keys() != set(_names(kind)):
            raise TypeError(
                f"{kind.__name__} must have exactly {', '.join(_names(kind))}"
            )
        return kind(**{name: _typed(hints[name], x) for name, x in value.items()})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(_typed(args[0], x) for x in value)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(args[0], value)
    if origin is typing.Literal:
        if value not in args:
            raise TypeError(f"{value!r} is none of {args}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not Any and type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def versions() -> dict[str, str]:
    """Versions of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The processor, its cores and the system."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        names = [
            line.split(":", 1)[1].strip() for line in lines if "model name" in line
        ]
        model = names[0] if names else model
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def _commit() -> str | None:
    """The git commit that softq runs from, where it runs from a checkout."""
    try:
        ran = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent,
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()
