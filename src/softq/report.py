"""What a run ends with: its tables and its pictures; and what `softq list` shows."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from softq import plan
from softq.algos import ALGOS
from softq.envs import JAX_ENVS
from softq.evaluate import Result
from softq.plots import curve, monitor
from softq.records import (
    Records,
    best_step,
    evaluations,
    finite,
    greedies,
    lane_of,
    lanes_of,
    metrics,
    settings_of,
)  # fmt: skip
from softq.reference import normalised
from softq.statistics import interval, iqm
from softq.types import SoftqError


def table(records: Records) -> Table:
    """Last and best evaluation of every seed; the headline is the last."""
    title = "evaluation (return, and its sd over episodes)"
    out = Table(title=title, title_justify="left")
    columns = ("seed", "steps", "greedy, last", "sampled, last", "soft, last",
               "greedy, best", "at step")  # fmt: skip
    several = len(settings_of(records)) > 1
    if several:
        out.add_column("setting", justify="right", no_wrap=True)
    for name in columns:  # in a narrow terminal a number is folded, never cut short
        out.add_column(name, justify="right", overflow="fold")
    for lane in lanes_of(records):
        own = [r for r in records if lane_of(r) == lane]
        last, best = own[-1], max(own, key=lambda r: finite(r["greedy"]["return"]))
        out.add_row(
            *(lane[:1] if several else ()), str(lane[1]),
            f"{last['step']:,}", _spread(last["greedy"]),
            _spread(last["sampled"]), f"{last['sampled']['soft']:,.1f}",
            f"{best['greedy']['return']:,.1f}", f"{best['step']:,}",
        )  # fmt: skip
    return out


def summary(records: Records, env: str) -> Table:
    """Of several seeds: interquartile means with 95 % bootstrap intervals."""
    out = Table(
        title="greedy return over seeds (interquartile mean, 95 % bootstrap interval)",
        title_justify="left",
    )
    scored = normalised(env, 0.0) is not None
    for name in ("setting", "seeds", "last", "best step's", *["score"] * scored):
        out.add_column(name, justify="right", overflow="fold")
    for setting in settings_of(records):
        own = [r for r in records if r.get("setting", "") == setting]
        step = max(r["step"] for r in own)
        last, best = (greedies(own, at) for at in (step, best_step(own)))
        row = [setting or "all", str(len(last)), _interval(last), _interval(best)]
        if scored:
            row.append(_interval(np.array([normalised(env, x) or 0.0 for x in last])))
        out.add_row(*row)
    return out


def _interval(scores: np.ndarray) -> str:
    low, high = interval(scores)
    known = f" [{low:,.1f}, {high:,.1f}]" if len(scores) > 1 else ""
    return f"{iqm(scores):,.1f}{known}"


def _spread(summary: dict[str, float]) -> str:
    """± is for seeds; what follows is over one agent's episodes."""
    return f"{summary['return']:,.1f} ({summary['return_std']:,.1f})"


def after(run: Path) -> None:
    """What a run ends with: its pictures and its tables."""
    made, _, config = plan.read(run)
    records, console = evaluations(run), _console()
    if records:
        console.print(table(records))
        if len(lanes_of(records)) > 1:
            console.print(summary(records, made.env))
    try:
        for what, picture in _pictures(run, records, made, config.get("mc_return")):
            console.print(f"{what}: {escape(str(picture))}")
    except ImportError:
        console.print('no picture without matplotlib: pip install "softq[plot]"')


def _console() -> Console:
    """As wide as the terminal; where there is none, wide enough for every table."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def _pictures(
    run: Path, records: Records, made: plan.Plan, togo: float | None
) -> Iterator[tuple[str, Path]]:
    plots = run / "plots"
    if records:
        fixed = made.data and Path(made.data.path).name
        where = f"{fixed}, in {made.env}" if fixed else made.env
        unit = "updates" if fixed else "environment steps"
        turn = made.loop.steps if made.finetune_env else 0
        unit = f"{unit}, then environment steps" if turn else unit
        picture, title = plots / "learning_curve.png", f"{made.algorithm} on {where}"
        curve(records, picture, title, unit, turn)
        yield "learning curve", picture
    watched = [r for r in metrics(run) if "q_data" in r]
    if watched:
        monitor(watched, togo, plots / "monitor.png")
        yield "conservatism", plots / "monitor.png"


def show(result: Result, env: str, as_json: bool) -> None:
    """An evaluation as a table, or as one JSON line."""
    if as_json:
        pairs = {"greedy": result.greedy, "sampled": result.sampled}
        print(json.dumps({"env": env} | {k: v.summary() for k, v in pairs.items()}))
        return
    out = Table(
        title=f"{env}, {len(result.greedy.task)} episodes", title_justify="left"
    )
    for name in ("policy", "task return", "entropy (nats)", "soft return", "length"):
        out.add_column(name, justify="right")
    for name, returns in (("greedy", result.greedy), ("sampled", result.sampled)):
        s = returns.summary()
        bonus = (
            ("–", "–")
            if name == "greedy"
            else (f"{s['entropy']:,.1f}", f"{s['soft']:,.1f}")
        )
        out.add_row(name, _spread(s), *bonus, f"{s['length']:,.0f}")
    Console().print(out)


def listing(runs: Path) -> None:
    """Algorithms, softq's own environments, and the runs in a directory."""
    console = Console()
    for name, module in ALGOS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        console.print(f"[bold]{name:14}[/] {summary}", highlight=False)
    console.print(f"\nenvironments on the device: {', '.join(JAX_ENVS)}")
    console.print("and every Gymnasium id, such as HalfCheetah-v5 (extra mujoco)")
    found = sorted(path.parent for path in runs.glob("*/config.json"))
    for run in found:
        console.print(f"run {escape(str(run))}  {_newest(run)}", highlight=False)


def _newest(run: Path) -> str:
    """A run's last evaluation; what is wrong where it cannot be read."""
    try:
        for last in reversed(evaluations(run)):
            return f"step {last['step']:,}: {_spread(last['greedy'])}"
    except (SoftqError, OSError, LookupError, TypeError, ValueError) as error:
        return escape(str(error))
    return ""
