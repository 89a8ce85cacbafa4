"""The figures of `softq reproduce`: one file each, found by name."""

import importlib
from pathlib import Path
from typing import Any

FIGURES = {
    "maze": "two routes through a maze, and what is left when one is walled up",
    "composition": "two policies added, without their environment",
    "finetune": "a soft policy as a start: a boat in open water, then in canals",
    "multigoal": "four goals: who keeps going to all of them",
    "multimodal-q": "one Gaussian, or all of exp(Q/α)",
    "theorem-cql": "how often CQL's bounds hold over resampled datasets",
}


def reproduce(name: str, out: Path) -> dict[str, Any]:
    """Makes a figure in the folder `out`; returns the numbers in it."""
    module = importlib.import_module(f"softq.figures.{name.replace('-', '_')}")
    return dict(module.make(out))
