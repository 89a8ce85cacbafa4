"""Formats of long columns, one row a step: D4RL, OGBench and arrays in memory.

D4RL's files have no next observations, or have them beside the others. Without them
`next_obs` is the row after, the step that a time limit ended is left out (where it led
was not recorded), and a terminal step, whose successor has no value, keeps its own
observation in place of the next episode's first.

OGBench stores T+1 rows for a trajectory of T steps. The row with `terminals` = 1 is
its last observation, no step; in its compact form, where the step before has it too,
`valids` = 0 marks that row. `masks`, not `terminals`, say where the world ended.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from softq.data.source import (
    Block,
    Format,
    Layout,
    Refused,
    Source,
    ahead,
    as_action,
    as_flags,
    as_obs,
    layout,
    number,
    shapes,
)

NEEDED = ("observations", "actions", "rewards", "terminals")
FIELDS = (*NEEDED, "timeouts", "next_observations", "masks", "valids")
# Columns by name, each with `shape`, `dtype` and `[a:b]`, while the file is open.
Opened = Callable[[], AbstractContextManager[dict[str, Any]]]

BLIND = (
    "there are no timeouts and no next_observations: an episode that a time limit "
    "ended cannot be told, and its last step leads to the next episode's first"
)
INFERRED = (
    "there are no timeouts: an episode ends at a terminal, and where the next "
    "observation is not the one in the row after"
)


class Raw(NamedTuple):
    """Rows as they lie in the file, in softq's dtypes."""

    start: int
    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    timeout: np.ndarray | None
    next_obs: np.ndarray | None
    mask: np.ndarray | None


def source(
    name: str,
    form: Format,
    opened: Opened,
    env_id: str | None,
    sha256: Callable[[], str],
) -> Source:
    """The recorded steps of columns. Raises Refused where they do not fit."""
    with opened() as columns:
        made = _check(name, form, columns)
        fields = shapes(**columns)
        steps = fields["rewards"][0][0]
    links, timed = "next_observations" in fields, "timeouts" in fields
    follow = _ogbench if form == "ogbench" else _d4rl
    silent, stops = form == "ogbench" or timed, form == "ogbench" and not links
    notes = () if silent else (INFERRED if links else BLIND,)

    def blocks() -> Iterator[Block]:
        with opened() as columns:
            for now, after in ahead(_raw(name, columns, made, stops)):
                block = follow(now, after)
                if len(block.row):
                    yield block

    return Source(name, form, env_id, steps, made, fields, links, notes, blocks, sha256)


def _check(name: str, form: Format, columns: dict[str, Any]) -> Layout:
    """The layout of columns that are complete, of one length, and numbers."""
    _complete(name, form, columns)
    rows = {field: number(field, (c.shape, c.dtype), name) for field, c in
            columns.items()}  # fmt: skip
    length = rows["observations"][0][0]
    for field, (shape, _) in rows.items():
        if shape[0] != length:
            raise Refused(
                f"{name}: {field} has {shape[0]:,} rows, observations {length:,}; "
                "all must have the same number"
            )
        single = field not in ("observations", "next_observations", "actions")
        if single and int(np.prod(shape[1:])) != 1:
            raise Refused(f"{name}: {field} has shape {list(shape)}; one number a row")
    made = layout(name, rows["observations"], rows["actions"])
    if "next_observations" in rows:
        other = layout(name, rows["next_observations"], rows["actions"])
        if other != made:
            raise Refused(
                f"{name}: next_observations have shape {list(other.obs_shape)}, "
                f"observations {list(made.obs_shape)}"
            )
    return made


def _complete(name: str, form: Format, columns: dict[str, Any]) -> None:
    if form == "ogbench" and not {"rewards", "masks"} <= columns.keys():
        raise Refused(
            f"{name} has no rewards and masks: a raw OGBench file. They come from "
            "relabelling it with the task's goal: load a single-task environment "
            "(…-singletask-…) in the ogbench package and save what it gives, or pass "
            "a dict of arrays with rewards and terminals"
        )
    missing = [field for field in NEEDED if field not in columns]
    if missing:
        raise Refused(
            f"{name} has no {', '.join(missing)}; softq needs {', '.join(NEEDED)} "
            f"and found {', '.join(columns) or 'none of its fields'}"
        )


def _raw(
    name: str, columns: dict[str, Any], made: Layout, stops: bool
) -> Iterator[Raw]:
    """The columns in blocks; where `stops`, the last row of all is no step."""
    length, size = columns["rewards"].shape[0], made.rows()
    for start in range(0, length, size):
        rows = slice(start, min(start + size, length))
        cut = {field: np.asarray(c[rows]) for field, c in columns.items()}
        flags = {
            field: as_flags(cut[field], field, start, name)
            for field in ("terminals", "timeouts", "masks", "valids")
            if field in cut
        }
        if stops and "valids" in flags:
            flags["terminals"] = ~flags["valids"]
        if stops and rows.stop == length:
            flags["terminals"][-1] = True
        led = cut.get("next_observations")
        yield Raw(
            start,
            as_obs(cut["observations"], made),
            as_action(cut["actions"], made),
            cut["rewards"].reshape(-1).astype(np.float64),
            flags["terminals"],
            flags.get("timeouts"),
            None if led is None else as_obs(led, made),
            flags.get("masks"),
        )


def _after(now: Raw, after: Raw | None) -> np.ndarray:
    """The observations of the rows after; the last row of all has its own."""
    return np.concatenate([now.obs[1:], now.obs[-1:] if after is None
                           else after.obs[:1]])  # fmt: skip


def _d4rl(now: Raw, after: Raw | None) -> Block:
    n, following = len(now.reward), _after(now, after)
    timeout = np.zeros(n, np.bool_) if now.timeout is None else now.timeout
    ends = now.terminal | timeout
    ends[-1] |= after is None
    if now.next_obs is not None:
        led, known = now.next_obs, np.ones(n, np.bool_)
        if now.timeout is None:
            ends |= (led != following).reshape(n, -1).any(axis=1)
    else:
        led, known = following, ~ends | now.terminal
        led[ends] = now.obs[ends]
    return Block(
        np.arange(now.start, now.start + n), now.obs, now.action, now.reward, led,
        now.terminal, timeout, ends, known,
    )  # fmt: skip


def _ogbench(now: Raw, after: Raw | None) -> Block:
    n = len(now.reward)
    if now.next_obs is not None:
        led, ends, step = now.next_obs, now.terminal.copy(), np.ones(n, np.bool_)
        ends[-1] |= after is None
    else:
        led = _after(now, after)
        ends = np.append(now.terminal[1:], after is None or after.terminal[0])
        step = ~now.terminal
    ended = ~now.mask if now.mask is not None else np.zeros(n, np.bool_)
    whole = Block(
        np.arange(now.start, now.start + n), now.obs, now.action, now.reward, led,
        ended, ends & ~ended, ends, np.ones(n, np.bool_),
    )  # fmt: skip
    return Block(*(field[step] for field in whole))
