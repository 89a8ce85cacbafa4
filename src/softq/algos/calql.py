"""Calibrated Q-learning (Nakamoto et al. 2023, arXiv 2303.05479).

`cql`, but the policy's actions are never pushed below the return that the data are
known to have: Q starts fine-tuning at the right height. Departures: those of `cql`;
and what is collected online carries no return (its floor is −∞, where this is CQL).
"""

from typing import Literal

from softq.algos import cql
from softq.algos.cql import Config, State, act, entropy, init, temperature, value
from softq.types import Batch, Info, Key

ACTIONS: Literal["continuous"] = "continuous"
NEEDS: tuple[str, ...] = ("mc_return",)
FROM_DATA = True  # it begins with returns that are known
__all__ = [
    "ACTIONS", "NEEDS", "Config", "State", "act", "entropy", "init", "temperature",
    "update", "value",
]  # fmt: skip


def update(key: Key, state: State, batch: Batch, cfg: Config) -> tuple[State, Info]:
    """CQL's, the policy's actions at max(Q(s, a), return of the data) (eq. 5.1)."""
    return cql.update(key, state, batch, cfg, floor=batch.mc_return)
