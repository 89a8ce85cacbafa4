"""A run that a figure needs: trained, gone on with, or there already."""

from pathlib import Path
from typing import Any

from softq import api, plan, records


def trained(run: Path, algorithm: str, env: str | None = None, **options: Any) -> Path:
    """The run in a folder: `softq.train` with these options, or the rest of it."""
    if not run.exists():
        api.train(algorithm, env, out=run, **options)
    elif _last(run) != plan.read(run)[0].steps:
        api.resume(run)
    return run


def _last(run: Path) -> int | None:
    shown = records.evaluations(run)
    return shown[-1]["step"] if shown else None
