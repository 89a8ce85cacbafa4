"""What a policy is worth in a changed world: a grid of perturbations, and its picture.

A cell is one world: greedy and sampled episodes, the same seeds in each. The worst cell
and the mean over cells are what is said of a policy; the world as it is stands beside.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softq import api
from softq.envs import EnvLike, perturb
from softq.figures import draw
from softq.plots import COLOURS, GREY
from softq.policy import Policy
from softq.types import SoftqError

Cells = list[dict[str, Any]]
Changes = Mapping[str, tuple[float, ...]]
POLICIES = ("greedy", "sampled")


def evaluate(
    given: Any, changes: Changes, policy: Policy, env: str, say: Callable[[str], None]
) -> None:
    """`softq evaluate --perturb`: records as JSON, or a table and what was written."""
    if not given.json:
        draw.plots()  # says what is missing before hours are played

    def told(played: int, number: int) -> None:
        say(f"world {played} of {number} ")

    cells = grid(policy, env, changes, given.episodes, given.seed, told)
    say("")
    if given.json:
        for cell in cells:
            print(json.dumps({"env": env, **cell}))
        return
    show(cells, api.evaluate(policy, env, given.episodes, given.seed), env)
    name = "-".join(changes).replace(":", "-")
    name += f"-seed-{given.run_seed}" * (given.run_seed is not None)
    name += f"-setting-{given.setting}" * bool(given.setting)
    about = {"env": env, "perturb": given.perturb, "episodes": given.episodes,
             "seed": given.seed, "checkpoint": given.checkpoint,
             "run_seed": given.run_seed, "setting": given.setting}  # fmt: skip
    for path in write(cells, about, given.run / "robustness" / name):
        print(path)


def grid(
    policy: Policy, env: EnvLike, changes: Changes, episodes: int = 10, seed: int = 0,
    told: Callable[[int, int], None] | None = None,
) -> Cells:  # fmt: skip
    """Every combination's record: `world`, and each policy's summary of its returns.

    Raises SoftqError for what the environment does not have, before any episode.
    """
    every = perturb.worlds(changes)
    cells = []
    for k, world in enumerate(every, 1):
        result = api.evaluate(policy, env, episodes, seed, world)
        cells.append(
            {"world": world} | {n: getattr(result, n).summary() for n in POLICIES}
        )
        if told is not None:
            told(k, len(every))
    return cells


def returns(cells: Cells, name: str) -> np.ndarray:
    """A policy's mean return in each cell."""
    return np.array([cell[name]["return"] for cell in cells])


def summary(cells: Cells) -> dict[str, dict[str, Any]]:
    """Of each policy: the mean over worlds, the worst return, and in which world."""
    found = {}
    for name in POLICIES:
        values = returns(cells, name)
        at = int(values.argmin())
        found[name] = {
            "mean": float(values.mean()), "worst": float(values[at]),
            "in": cells[at]["world"],
        }  # fmt: skip
    return found


def show(cells: Cells, usual: Any, env: str) -> None:
    """Worst and mean as a table; of a single perturbation every world."""
    out = Table(title=f"{env}, {len(cells)} worlds", title_justify="left")
    for name in ("policy", "as it is", "mean", "worst", "where"):
        out.add_column(name, justify="left" if name == "where" else "right")
    for name, said in summary(cells).items():
        where = ", ".join(f"{key} {value:.3g}" for key, value in said["in"].items())
        now = getattr(usual, name).summary()["return"]
        numbers = (f"{x:,.1f}" for x in (now, said["mean"], said["worst"]))
        out.add_row(name, *numbers, where)
    Console().print(out)


def write(cells: Cells, about: dict[str, Any], out: Path) -> list[Path]:
    """The records as JSON, and as a picture; what was written.

    Raises SoftqError where the folder cannot be written.
    """
    path = out.with_suffix(".json")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        content = about | {"summary": summary(cells), "cells": cells}
        path.write_text(json.dumps(content, indent=1) + "\n")
        picture(cells, out.with_suffix(".png"), str(about["env"]))
    except OSError as error:
        raise SoftqError(f"cannot write {path}: {error.strerror or error}") from error
    return [path, out.with_suffix(".png")]


def picture(cells: Cells, path: Path, title: str) -> None:
    """A curve for one perturbation; heat maps for every pair of several.

    A heat map of two out of more shows the worst over the others.
    """
    names = list(cells[0]["world"])
    plots = draw.plots()
    if len(names) == 1:
        figure, axes = plots.subplots(figsize=(6, 4), layout="constrained")
        _curve(axes, cells, names[0])
        draw.plain(axes, title)
        draw.save(figure, path)
        return
    pairs = list(itertools.combinations(names, 2))
    figure, axes = plots.subplots(
        len(pairs), 2, figsize=(9, 4 * len(pairs)), layout="constrained", squeeze=False
    )
    for row, pair in zip(axes, pairs, strict=True):
        for one, name in zip(row, POLICIES, strict=True):
            _heat(one, cells, name, pair)
    figure.suptitle(title, fontsize=11)
    draw.save(figure, path)


def _curve(axes: Any, cells: Cells, name: str) -> None:
    values = [cell["world"][name] for cell in cells]
    for policy, colour in zip(POLICIES, COLOURS, strict=False):
        mean = returns(cells, policy)
        spread = np.array([cell[policy]["return_std"] for cell in cells])
        axes.plot(values, mean, "o-", color=colour, label=policy)
        axes.fill_between(
            values, mean - spread, mean + spread, color=colour, alpha=0.15
        )
    if perturb.multiplies(name):
        axes.set_xscale("log" if min(values) > 0 else "linear")
        axes.axvline(1.0, color=GREY, linestyle=":", linewidth=1)
    axes.set(xlabel=name, ylabel="return (band: sd over episodes)")
    axes.legend(frameon=False)


def _heat(axes: Any, cells: Cells, policy: str, pair: tuple[str, str]) -> None:
    columns, rows = (list(dict.fromkeys(c["world"][n] for c in cells)) for n in pair)
    shown = np.full((len(rows), len(columns)), np.inf)
    for cell in cells:
        at = rows.index(cell["world"][pair[1]]), columns.index(cell["world"][pair[0]])
        shown[at] = min(shown[at], cell[policy]["return"])
    low, high = _range(cells)
    axes.imshow(shown, cmap="viridis", vmin=low, vmax=high, origin="lower")
    for (r, c), value in np.ndenumerate(shown):
        dark = value < (low + high) / 2
        axes.text(c, r, f"{value:,.0f}", ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(len(columns)), [f"{x:.3g}" for x in columns])
    axes.set_yticks(range(len(rows)), [f"{x:.3g}" for x in rows])
    axes.set(xlabel=pair[0], ylabel=pair[1])
    axes.set_title(f"{policy}: return", fontsize=9)


def _range(cells: Cells) -> tuple[float, float]:
    """Of all cells and both policies, so that the maps compare."""
    every = np.concatenate([returns(cells, name) for name in POLICIES])
    return float(every.min()), float(every.max())
