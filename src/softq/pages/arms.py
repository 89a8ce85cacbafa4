"""Which runs are one arm of a comparison, and which arms are of one task.

A task is what is learned from and where it is evaluated. Runs of a task that differ in
nothing but their seeds are one arm. Seeds that appear twice are not more seeds: such
runs stay apart, as two arms.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from softq.pages.runs import Run, clean
from softq.records import finite

MOST_WORDS = 3  # differences in an arm's name; beyond, its folder is clearer
NOT_THE_METHOD = ("seed", "seeds", "env", "cadence", "sweep", "algorithm")


class Lane(NamedTuple):
    """One seed of one setting of a run: its evaluations by step."""

    run: Run
    setting: str
    seed: int
    evals: dict[int, dict[str, Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
    """Seeds of one method on one task, at the steps that all of them have."""

    name: str
    algorithm: str
    setting: str
    fields: dict[str, str]
    lanes: tuple[Lane, ...]

    @functools.cached_property
    def steps(self) -> list[int]:
        return sorted(set.intersection(*(set(lane.evals) for lane in self.lanes)))

    @property
    def runs(self) -> list[Run]:
        return list({id(lane.run): lane.run for lane in self.lanes}.values())

    def values(
        self, kind: str = "greedy", what: str = "return"
    ) -> Float[np.ndarray, "steps seeds"]:
        """A number of every evaluation that all seeds have."""
        rows = [[one.evals[s][kind][what] for one in self.lanes] for s in self.steps]
        return np.array(rows, np.float64)

    @functools.cached_property
    def best(self) -> int:
        """Which of the steps has the highest mean greedy return."""
        means = self.values().mean(axis=1)
        return int(np.argmax([finite(float(mean)) for mean in means]))


class Task(NamedTuple):
    """Arms that can be compared: they learn from the same, evaluated in the same."""

    env: str
    data: str
    finetune: str
    arms: list[Arm]

    @property
    def title(self) -> str:
        told = f"{self.data}, then {self.finetune}" if self.finetune else self.data
        return f"{told}, in {self.env or 'no environment'}" if told else self.env


class Pool(NamedTuple):
    """A setting of a run, before it has a name."""

    run: Run
    setting: str
    algorithm: str
    fields: dict[str, str]
    lanes: tuple[Lane, ...]


def tasks(runs: Iterable[Run]) -> tuple[list[Task], list[str]]:
    """The tasks of runs, in their order, and what is to be said of their arms."""
    found: dict[tuple[str, ...], list[Pool]] = {}
    for run in runs:
        found.setdefault(_task(run), []).extend(_pools(run))
    words = _differing(list(found.values()))
    said: list[str] = []
    made = []
    for pools in found.values():
        first = pools[0].run.plan
        data = clean(Path(first.data.path).name) if first.data else ""
        own: list[str] = []
        arms = _arms(pools, words, own)
        where = f"{clean(first.env) or data}, " if len(found) > 1 else ""
        said += [f"{where}{one}" for one in own]
        if arms:
            task = Task(clean(first.env), data, clean(first.finetune_env or ""), arms)
            made.append(task)
    return made, said


def _task(run: Run) -> tuple[str, ...]:
    """What makes a task: the data by their hash, where it is known."""
    made, about = run.plan, run.config.get("data")
    sha = about.get("sha256") if isinstance(about, dict) else None
    data = str(sha or made.data.path) if made.data else ""
    return made.env, data, made.finetune_env or ""


def _pools(run: Run) -> list[Pool]:
    """A run's settings, each with its seeds."""
    lanes: dict[str, dict[int, dict[int, dict[str, Any]]]] = {}
    for record in run.evals:
        own = lanes.setdefault(record["setting"], {}).setdefault(record["seed"], {})
        own[record["step"]] = record
    return [
        Pool(run, setting, run.plan.algorithm, method(run, setting),
             tuple(Lane(run, setting, *lane) for lane in seeds.items()))
        for setting, seeds in lanes.items()
    ]  # fmt: skip


def method(run: Run, setting: str) -> dict[str, str]:
    """What makes a method, by name and as text: all of a plan but task and seeds."""
    plain = dataclasses.asdict(run.plan)
    if plain["data"]:
        del plain["data"]["path"]
    found = {name: value for name, value in _flat(plain).items()
             if name.split(".")[0] not in NOT_THE_METHOD}  # fmt: skip
    for pair in filter(None, setting.split(", ")):
        knob, _, value = pair.partition("=")
        known = f"algo.{knob}" in found
        found[f"algo.{knob}" if known else "setting"] = value if known else setting
    return found


def _flat(nested: dict[str, Any], above: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{above}{name}.")
        else:
            out[above + name] = clean(_text(value))
    return out


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " ".join(_text(one) for one in value)
    return "none" if value is None else str(value)


def _differing(every: list[list[Pool]]) -> dict[str, list[str]]:
    """By algorithm: the fields in which its runs differ within some task.

    What differs between tasks only belongs to the tasks, not to the method.
    """
    found: dict[str, dict[str, None]] = {}
    for pools in every:
        for algorithm in {pool.algorithm: None for pool in pools}:
            own = [pool.fields for pool in pools if pool.algorithm == algorithm]
            for name in {name: None for fields in own for name in fields}:
                if len({fields.get(name) for fields in own}) > 1:
                    found.setdefault(algorithm, {})[name] = None
    return {algorithm: list(names) for algorithm, names in found.items()}


def _label(pool: Pool, words: list[str]) -> str:
    """The algorithm and what its runs differ in; its folder where that is much."""
    if len(words) > MOST_WORDS:
        named = f"{pool.algorithm}, {pool.run.name}"
        return f"{named}, {pool.setting}" if pool.setting else named
    short = (f"{w.split('.')[-1]}={pool.fields.get(w, 'none')}" for w in words)
    return clean(" ".join([pool.algorithm, *short]))


def _arms(pools: list[Pool], words: dict[str, list[str]], said: list[str]) -> list[Arm]:
    grouped: dict[tuple[Any, ...], list[Pool]] = {}
    for pool in pools:
        alike = (pool.algorithm, *sorted(pool.fields.items()))
        grouped.setdefault(alike, []).append(pool)
    parts: list[tuple[str, list[Pool]]] = []
    for own in grouped.values():
        label = _label(own[0], words.get(own[0].algorithm, []))
        seeds = [lane.seed for pool in own for lane in pool.lanes]
        if len(set(seeds)) == len(seeds):
            parts.append((label, own))
        else:  # the same seeds twice are two arms, not more seeds
            folder = "{}, {}".format
            parts += [(folder(label, p.run.name), [p]) for p in own]
    made = (_arm(name, own, said) for name, own in _apart(parts))
    return [arm for arm in made if arm is not None]


def _apart(parts: list[tuple[str, list[Pool]]]) -> Iterator[tuple[str, list[Pool]]]:
    """The same, but no name twice."""
    taken: set[str] = set()
    for name, pools in parts:
        others = (clean(name), f"{clean(name, 60)}, {clean(pools[0].run.name, 60)}")
        counted = (f"{clean(name, 100)} ({n})" for n in itertools.count(2))
        free = next(x for x in itertools.chain(others, counted) if x not in taken)
        taken.add(free)
        yield free, pools


def _arm(name: str, pools: list[Pool], said: list[str]) -> Arm | None:
    """The arm of pools; None where its seeds have no evaluation in common."""
    first, lanes = pools[0], tuple(lane for pool in pools for lane in pool.lanes)
    arm = Arm(name, first.algorithm, first.setting, first.fields, lanes)
    most = max(max(lane.evals) for lane in lanes)
    if not arm.steps:
        said.append(f"{name}: its seeds were never evaluated at the same step")
        return None
    if len({frozenset(lane.evals) for lane in lanes}) > 1:
        said.append(f"{name}: its seeds have different evaluations; the "
                    f"{len(arm.steps):,} steps that all have are shown, up to "
                    f"{arm.steps[-1]:,} of {most:,}")  # fmt: skip
    for what in ("commit", "versions"):
        if len({str(run.config.get(what)) for run in arm.runs}) > 1:
            said.append(f"{name}: its runs differ in {what}")
    return arm
