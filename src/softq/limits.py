"""What cannot be meant: numbers, batches and rings that no run could have."""

import dataclasses
import math
from typing import Any

from softq.data import ring
from softq.machine import free_memory
from softq.plan import Plan, ring_rows
from softq.train.step import Options
from softq.types import SoftqError, Spec

# Options that may be zero, and those that may be anything.
MAY_BE_ZERO = {
    "seed", "learning_starts", "eval_every", "checkpoint_every", "max_replay",
    "target_period", "alpha", "discount", "noise", "gap_weight", "max_backup",
    "bc_updates", "finetune_steps", "target_noise", "target_clip", "q_weight",
    "gap_damping",
}  # fmt: skip
ANY_NUMBER = {"target_entropy", "gap_target", "reward_shift"}
AT_MOST_ONE = {"discount", "polyak", "target_entropy_ratio", "expectile"}
# What an option of CQL's needs to matter: another's value (None: any but its default).
GAPS: dict[str, tuple[str, str | None]] = {
    "initial_weight": ("gap_target", None), "gap_damping": ("gap_target", None),
    "gap_draws": ("gap_gradient", "sampled"), "scoring": ("gap_gradient", "sampled"),
    "temp": ("gap", "entropy"), "gap_density": ("gap", "entropy"),
}  # fmt: skip
# Options of the loop that data alone have no use for.
ONLINE = ("num_envs", "capacity", "learning_starts", "utd", "overlap")


def check(plan: Plan) -> None:
    """Raises SoftqError for numbers that cannot be meant, each with what was found."""
    own = str(getattr(plan.module, "__name__", "")).startswith("softq.")
    for prefix, part in (
        ("", plan),
        ("", plan.loop),
        ("", plan.cadence),
        ("algo.", plan.algo),
    ):
        for field in dataclasses.fields(part):
            if own or not prefix:  # what others' knobs may be, they know
                _check_number(prefix, field.name, getattr(part, field.name))
    if plan.data is None:
        _check_online(plan)
    else:
        _check_offline(plan)


def _check_online(plan: Plan) -> None:
    """Raises SoftqError for what needs data and has none."""
    if getattr(plan.module, "FROM_DATA", False):
        raise SoftqError(
            f"{plan.algorithm} learns from data. Try: softq train "
            f"{plan.algorithm} --data FILE --eval-env {plan.env}"
        )
    _check_ring(plan.loop)
    _check_sweep(plan)


def _check_offline(plan: Plan) -> None:
    """Raises SoftqError for what cannot be learned from data."""
    if getattr(plan.algo, "backup_entropy", False) and plan.algo.max_backup:
        raise SoftqError(
            "--algo.backup-entropy and --algo.max-backup both value the next state: "
            "leave one out"
        )
    for name in ("reward_scale", "reward_shift"):
        _check_number("data.", name, getattr(plan.data, name))
    _check_gap(plan)
    if plan.finetune_env is None:
        _check_data_alone(plan)
    else:
        _check_finetuning(plan)
    if "mc_return" in plan.module.NEEDS and "discount" in plan.settings[0]:
        raise SoftqError(f"{plan.algorithm} cannot sweep discount: its data change too")
    _check_sweep(plan)


def _check_sweep(plan: Plan) -> None:
    """Raises SoftqError for a value of a sweep that cannot be meant."""
    for one in plan.sweep:
        for value in one.values:
            _check_number("algo.", one.knob, value)


def _check_gap(plan: Plan) -> None:
    """Raises SoftqError for what would be read by no line of CQL's."""
    usual = {field.name: field.default for field in dataclasses.fields(plan.algo)}
    swept = {one.knob for one in plan.sweep}
    for name, (other, value) in GAPS.items():
        if name not in usual:
            continue
        given = name in swept or getattr(plan.algo, name) != usual[name]
        found = getattr(plan.algo, other, usual.get(other))
        missing = (
            found is None and other not in swept if value is None else found != value
        )
        if given and missing:
            flags = (name.replace("_", "-"), other.replace("_", "-"))
            raise SoftqError(
                f"--algo.{flags[0]} does nothing without --algo.{flags[1]} "
                f"{value or 'X'}. Add that, or leave it out"
            )


def _check_data_alone(plan: Plan) -> None:
    """Raises SoftqError for options that only steps in an environment could use."""
    if plan.finetune_steps:
        raise SoftqError("--finetune-steps needs --finetune-env ID")
    for name in ONLINE:
        if getattr(plan.loop, name) != getattr(Options, name):
            flag = name.replace("_", "-")
            raise SoftqError(
                f"--{flag} is for steps in an environment. Leave it out, or add "
                "--finetune-env ID"
            )


def _check_finetuning(plan: Plan) -> None:
    """Raises SoftqError for what cannot be done after data."""
    if plan.finetune_steps < plan.loop.batch_size:
        raise SoftqError(
            f"--finetune-steps must be at least a batch ({plan.loop.batch_size}); "
            f"found {plan.finetune_steps}"
        )
    if plan.loop.learning_starts != Options.learning_starts:
        raise SoftqError(
            "--learning-starts: after data it learns from the first step on. Leave "
            "it out"
        )
    _check_ring(plan.online)


def _check_ring(loop: Options) -> None:
    """Raises SoftqError where a batch is larger than what there can be to draw from."""
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
            if not math.isfinite(number):
                raise SoftqError(f"{flag} must be a finite number; found {number}")
            continue
        least = 0 if name in MAY_BE_ZERO else None
        good = number >= 0 if least == 0 else number > 0
        if not good or number != number or number == float("inf"):
            bound = "zero or more" if least == 0 else "more than zero"
            raise SoftqError(f"{flag} must be {bound}; found {number}")
        if number >= 2**63:
            raise SoftqError(f"{flag} must be less than 2^63; found {number}")
        if name in AT_MOST_ONE and number > 1:
            raise SoftqError(f"{flag} must be at most 1; found {number}")


def check_memory(plan: Plan, spec: Spec) -> None:
    """Raises SoftqError where the replay ring would not fit into free memory."""
    per_row, rows = ring.row_bytes(spec), ring_rows(plan)
    needed, free = per_row * rows * plan.seeds, free_memory()
    if needed > 0.8 * free:
        fits = int(0.5 * free / per_row / plan.seeds)
        raise SoftqError(
            f"a replay ring of {rows:,} rows needs {needed / 2**30:.1f} GiB; "
            f"{free / 2**30:.1f} GiB are free. Try: --capacity {fits}"
        )
