"""The figures of `softq reproduce`: one file each, found by name."""

import importlib
from pathlib import Path
from typing import Any

from softq.types import SoftqError

FIGURES = {
    "maze": "two routes through a maze, and what is left when one is walled up",
    "composition": "two policies added, without their environment",
    "cql": "CQL beside naive SAC on a file (--data), and what their Q promises",
    "finetune": "a soft policy as a start: a boat in open water, then in canals",
    "multigoal": "four goals: who keeps going to all of them",
    "multimodal-q": "one Gaussian, or all of exp(Q/α)",
    "robustness": "soft policies in changed worlds, beside one without entropy",
    "theorem-cql": "how often CQL's bounds hold over resampled datasets",
}


def reproduce(name: str, out: Path, data: Path | None = None) -> dict[str, Any]:
    """Makes a figure in the folder `out`; returns the numbers in it.

    Raises SoftqError where `data` is missing, or given to one that learns from none.
    """
    module = importlib.import_module(f"softq.figures.{name.replace('-', '_')}")
    if getattr(module, "NEEDS_DATA", False):
        return dict(module.make(out, data))
    if data is not None:
        raise SoftqError(f"{name} learns from no data: leave --data out")
    return dict(module.make(out))
