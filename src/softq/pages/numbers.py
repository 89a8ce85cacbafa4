"""What is told of arms: estimates over seeds, and the tables made of them."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from softq.pages.arms import Arm, Task
from softq.pages.runs import clean
from softq.published import Published, published
from softq.reference import normalised, score
from softq.statistics import (
    improvement,
    improvement_interval,
    interval,
    iqm,
)  # fmt: skip


class Estimate(NamedTuple):
    """An interquartile mean and its 95 % bootstrap interval; NaN: not known."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval: it takes two seeds."""
        return math.isfinite(self.low)

    def __str__(self) -> str:
        told = f" [{short(self.low)}, {short(self.high)}]" if self.known else ""
        return short(self.value) + told


class Ledger(NamedTuple):
    """Mean returns over seeds at the last step; of the sampled policy
    `task` + `bonus` = `soft`, and `bonus` = α · `nats` in every step.
    """

    greedy: float
    task: float
    bonus: float
    soft: float
    nats: float


class Promise(NamedTuple):
    """What Q says at the end of training on data, mean over seeds, and the truth."""

    data: float
    policy: float
    uniform: float
    togo: float
    gap: float
    factor: float


def short(value: float, signed: bool = False) -> str:
    """A number as it is read: 12,345 or 123.4 or 0.123; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e7:
        return f"{value:.3g}"
    digits = 0 if abs(value) >= 1_000 else 1 if abs(value) >= 10 else 2
    told = f"{value:{'+' if signed else ''},.{digits}f}"
    return told.replace("-", "−")  # a minus sign as wide as a plus


def estimate(scores: Any) -> Estimate:
    """Of one number a seed, or a list of an array a task; NaN where one is not finite.

    A policy that has no action left has no return, so there is no mean over seeds.
    """
    parts = scores if isinstance(scores, list) else [scores]
    if not all(np.isfinite(part).all() for part in parts):
        return Estimate(math.nan, math.nan, math.nan)
    return Estimate(iqm(np.concatenate(parts)), *interval(scores))


def curve(arm: Arm, most: int) -> tuple[list[int], list[Estimate]]:
    """Estimates of the greedy return at the arm's steps, at most so many of them."""
    places, values = thinned(len(arm.steps), most), arm.values()
    return [arm.steps[k] for k in places], [estimate(values[k]) for k in places]


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k) for k in np.linspace(0, count - 1, most).tolist()})


def last(arm: Arm) -> Estimate:
    return estimate(arm.values()[-1])


def best(arm: Arm) -> Estimate:
    return estimate(arm.values()[arm.best])


def scores(task: Task, arm: Arm) -> Float[np.ndarray, " seeds"] | None:
    """Normalised last returns; None where the task has no scale."""
    found = [normalised(scale(task), float(x)) for x in arm.values()[-1]]
    return None if None in found else np.array(found, np.float64)


def scale(task: Task) -> str:
    """The name by which the task's scale is known: its dataset's, or its own."""
    dataset = dataset_of(task)
    return dataset if score(dataset, 0.0) else task.env


def dataset_of(task: Task) -> str:
    """The dataset's name as D4RL writes it: `hopper-medium-v2`, of its file."""
    return task.data.rpartition(".")[0].replace("_", "-")


def ledger(arm: Arm) -> Ledger:
    greedy = arm.values()[-1]
    task, soft, nats = (
        arm.values("sampled", what)[-1] for what in ("return", "soft", "entropy")
    )
    return Ledger(*(float(x.mean()) for x in (greedy, task, soft - task, soft, nats)))


def promise(arm: Arm) -> Promise | None:
    """Of every seed's last line of metrics; None where no Q was watched."""
    found = [own[-1] for own in watched(arm).values() if own]
    if not found:
        return None

    def mean(name: str) -> float:
        return float(np.mean([record.get(name, math.nan) for record in found]))

    names = ("q_data", "q_policy", "q_uniform")
    togo = arm.runs[0].togo
    data, policy, uniform = map(mean, names)
    gap, factor = mean("gap"), mean("gap_factor")
    return Promise(data, policy, uniform, togo, gap, factor)


def watched(arm: Arm) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The monitor's records of an arm, by run and seed, in order of their steps."""
    out: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for lane in arm.lanes:
        mine = lane.setting, lane.seed
        own = [r for r in lane.run.metrics if (r["setting"], r["seed"]) == mine]
        if own:
            out[lane.run.name, lane.seed] = sorted(own, key=lambda r: r["step"])
    return out


def beats(first: list[Arm], second: list[Arm]) -> Estimate:
    """P(first > second) over the same tasks, of last returns; a NaN is the worst."""
    ours, theirs = ([_ranked(arm) for arm in arms] for arms in (first, second))
    return Estimate(improvement(ours, theirs), *improvement_interval(ours, theirs))


def _ranked(arm: Arm) -> Float[np.ndarray, " seeds"]:
    values = arm.values()[-1]
    return np.where(np.isfinite(values), values, -np.inf)


def shared(tasks: list[Task]) -> dict[str, list[Arm]]:
    """The arms that every task has, by name; none where there is a single task."""
    if len(tasks) < 2:
        return {}
    every = [{arm.name: arm for arm in task.arms} for task in tasks]
    common = [name for name in every[0] if all(name in arms for arms in every)]
    return {name: [arms[name] for arms in every] for name in common}


def differences(tasks: list[Task]) -> tuple[list[Arm], list[tuple[str, list[str]]]]:
    """Arms, one of each configuration, and the options of which arms that have them
    have different values, with every arm's value.
    """
    kept: dict[str, tuple[Arm, dict[str, str]]] = {}
    for arm in (arm for task in tasks for arm in task.arms):
        told = {"algorithm": arm.algorithm} | arm.fields | _made_by(arm)
        kept.setdefault(f"{arm.name} {sorted(told.items())}", (arm, told))
    every = [told for _, told in kept.values()]
    names = dict.fromkeys(itertools.chain.from_iterable(every))
    rows = [(name, [told.get(name, "–") for told in every]) for name in names]
    varied = [row for row in rows if len(set(row[1]) - {"–"}) > 1]
    return [arm for arm, _ in kept.values()], varied


def _made_by(arm: Arm) -> dict[str, str]:
    """The versions and the commit that made an arm's first run."""
    config = arm.runs[0].config
    versions = config.get("versions")
    pairs = versions.items() if isinstance(versions, dict) else ()
    told = {clean(f"version of {name}"): clean(str(value)) for name, value in pairs}
    return told | {"commit": clean(str(config.get("commit") or "–")[:10])}


def every_anchor(task: Task, arm: Arm) -> list[Published]:
    """What is published of an arm's algorithm on its task or another version of it,
    as far as the arm has come; nothing where it went on online, for what is published
    of data is of data alone.
    """
    if task.finetune:
        return []
    found = published(arm.algorithm, task.env, dataset_of(task) if task.data else "")
    return [one for one in found if one.steps <= arm.steps[-1]]


def anchors(task: Task, arm: Arm) -> list[Published]:
    """Of each source the figure at the last step that the arm has come to."""
    found = sorted(every_anchor(task, arm), key=lambda one: one.steps)
    return list({(one.source.name, one.task): one for one in found}.values())


def ours(task: Task, arm: Arm, one: Published) -> Estimate | None:
    """The arm's own estimate at a published figure's step, in its unit; None where
    it was not evaluated there, or has no score.
    """
    if one.unit == "score":
        found = scores(task, arm)
        return None if found is None else estimate(found)
    at = one.steps
    return estimate(arm.values()[arm.steps.index(at)]) if at in arm.steps else None
