"""What a run has shown: its evaluations, its table and its learning curve."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softq.algos import ALGOS
from softq.envs import JAX_ENVS
from softq.evaluate import Result
from softq.types import SoftqError

# Okabe & Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def evaluations(run: Path) -> list[dict[str, Any]]:
    """The records of `evals.jsonl`; none where there is no such file.

    Raises SoftqError where a line is damaged, naming it.
    """
    path = run / "evals.jsonl"
    return _lines(path) if path.is_file() else []


def metrics(run: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`."""
    return _lines(run / "metrics.jsonl")


def _lines(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise SoftqError(f"{path}, line {number} is damaged: {error}") from error
    return records


def best_step(records: list[dict[str, Any]]) -> int | None:
    """The step whose greedy return, averaged over seeds, is the highest."""
    if not records:
        return None
    steps = sorted({r["step"] for r in records})
    return max(steps, key=lambda step: _greedy(records, step))


def _greedy(records: list[dict[str, Any]], step: int) -> float:
    return float(np.mean([r["greedy"]["return"] for r in records if r["step"] == step]))


def table(records: list[dict[str, Any]]) -> Table:
    """Last and best evaluation of every seed; the headline is the last."""
    out = Table(title="evaluation (return ± sd over episodes)", title_justify="left")
    columns = ("seed", "steps", "greedy, last", "sampled, last", "soft, last",
               "greedy, best", "at step")  # fmt: skip
    for name in columns:
        out.add_column(name, justify="right")
    for seed in sorted({r["seed"] for r in records}):
        own = [r for r in records if r["seed"] == seed]
        last, best = own[-1], max(own, key=lambda r: r["greedy"]["return"])
        out.add_row(
            str(seed), f"{last['step']:,}", _plus_minus(last["greedy"]),
            _plus_minus(last["sampled"]), f"{last['sampled']['soft']:,.1f}",
            f"{best['greedy']['return']:,.1f}", f"{best['step']:,}",
        )  # fmt: skip
    return out


def _plus_minus(summary: dict[str, float]) -> str:
    return f"{summary['return']:,.1f} ± {summary['return_std']:,.1f}"


def curve(records: list[dict[str, Any]], path: Path, title: str) -> None:
    """The learning curve as a PNG: greedy and sampled returns over steps.

    A line a seed, the mean over seeds bold. Needs matplotlib (extra `plot`).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=110, layout="constrained")
    for name, colour in (("sampled", ORANGE), ("greedy", BLUE)):
        steps, values = _by_seed(records, name)
        axes.plot(steps, values, color=colour, alpha=0.35, linewidth=1)
        axes.plot(steps, values.mean(axis=1), color=colour, linewidth=2, label=name)
    seeds = len({r["seed"] for r in records})
    axes.set(xlabel="environment steps", ylabel="return")
    axes.set_title(
        f"{title}  ({seeds} seed{'s' * (seeds > 1)})", loc="left", fontsize=11
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _by_seed(records: list[dict[str, Any]], name: str) -> tuple[list[int], np.ndarray]:
    """Steps, and returns of shape (steps, seeds)."""
    steps = sorted({r["step"] for r in records})
    rows = [[r[name]["return"] for r in records if r["step"] == s] for s in steps]
    return steps, np.array(rows)


def after(run: Path) -> None:
    """What a run ends with: its picture and its table."""
    records = evaluations(run)
    if not records:
        return
    console = Console()
    plan = json.loads((run / "config.json").read_text())["plan"]
    picture = run / "plots" / "learning_curve.png"
    console.print(table(records))
    try:
        curve(records, picture, f"{plan['algorithm']} on {plan['env']}")
        console.print(f"learning curve: {picture}")
    except ImportError:
        console.print('no picture without matplotlib: pip install "softq[plot]"')


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
        out.add_row(name, _plus_minus(s), *bonus, f"{s['length']:,.0f}")
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
        last = evaluations(run)[-1:]
        told = (
            f"step {last[0]['step']:,}: {_plus_minus(last[0]['greedy'])}"
            if last
            else ""
        )
        console.print(f"run {run}  {told}", highlight=False)
