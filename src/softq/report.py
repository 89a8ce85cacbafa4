"""What a run has shown: its evaluations, its table and its learning curve."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softq.algos import ALGOS
from softq.envs import JAX_ENVS
from softq.evaluate import Result
from softq.reference import normalised
from softq.statistics import interval, iqm
from softq.types import SoftqError

# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#666666"
DASHES = ("-", "--", "-.", ":")


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
    return max(
        steps, key=lambda step: _finite(float(np.mean(_greedies(records, step))))
    )


def table(records: list[dict[str, Any]]) -> Table:
    """Last and best evaluation of every seed; the headline is the last."""
    out = Table(title="evaluation (return ± sd over episodes)", title_justify="left")
    columns = ("seed", "steps", "greedy, last", "sampled, last", "soft, last",
               "greedy, best", "at step")  # fmt: skip
    several = len(_settings(records)) > 1
    if several:
        out.add_column("setting", justify="right", no_wrap=True)
    for name in columns:  # in a narrow terminal a number is folded, never cut short
        out.add_column(name, justify="right", overflow="fold")
    for lane in _lanes(records):
        own = [r for r in records if _lane(r) == lane]
        last, best = own[-1], max(own, key=lambda r: _finite(r["greedy"]["return"]))
        out.add_row(
            *(lane[:1] if several else ()), str(lane[1]),
            f"{last['step']:,}", _plus_minus(last["greedy"]),
            _plus_minus(last["sampled"]), f"{last['sampled']['soft']:,.1f}",
            f"{best['greedy']['return']:,.1f}", f"{best['step']:,}",
        )  # fmt: skip
    return out


def summary(records: list[dict[str, Any]], env: str) -> Table:
    """Of several seeds: interquartile means with 95 % bootstrap intervals."""
    out = Table(
        title="greedy return over seeds (interquartile mean, 95 % bootstrap interval)",
        title_justify="left",
    )
    scored = normalised(env, 0.0) is not None
    for name in ("setting", "seeds", "last", "best step's", *["score"] * scored):
        out.add_column(name, justify="right", overflow="fold")
    for setting in _settings(records):
        own = [r for r in records if r.get("setting", "") == setting]
        step = max(r["step"] for r in own)
        last, best = (_greedies(own, at) for at in (step, best_step(own)))
        row = [setting or "all", str(len(last)), _interval(last), _interval(best)]
        if scored:
            row.append(_interval(np.array([normalised(env, x) or 0.0 for x in last])))
        out.add_row(*row)
    return out


def _finite(number: float) -> float:
    """The number, or −∞ where a policy had no action left."""
    return number if np.isfinite(number) else -np.inf


def _interval(scores: np.ndarray) -> str:
    low, high = interval(scores)
    known = f" [{low:,.1f}, {high:,.1f}]" if len(scores) > 1 else ""
    return f"{iqm(scores):,.1f}{known}"


def _lane(record: dict[str, Any]) -> tuple[str, int]:
    return record.get("setting", ""), record["seed"]


def _lanes(records: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Settings and seeds, in the order in which they were recorded."""
    return list(dict.fromkeys(_lane(r) for r in records))


def _settings(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(r.get("setting", "") for r in records))


def _greedies(records: list[dict[str, Any]], step: int | None) -> np.ndarray:
    return np.array([r["greedy"]["return"] for r in records if r["step"] == step])


def _plus_minus(summary: dict[str, float]) -> str:
    return f"{summary['return']:,.1f} ± {summary['return_std']:,.1f}"


def curve(
    records: list[dict[str, Any]], path: Path, title: str, unit: str, turn: int = 0
) -> None:
    """The learning curve as a PNG: returns over steps, a line a seed, the mean bold.

    Greedy and sampled; of a sweep's settings the greedy ones. A dotted line stands at
    `turn`, where updates on data end and steps begin. Needs matplotlib (extra `plot`).
    """
    figure, axes = _figure()
    settings = _settings(records)
    if len(settings) > 1:
        kinds = [("greedy", one, one) for one in settings]
    else:
        kinds = [(name, settings[0], name) for name in ("greedy", "sampled")]
    for (name, setting, label), colour in zip(kinds, itertools.cycle(COLOURS)):
        own = [r for r in records if r.get("setting", "") == setting]
        steps, values = _by_seed(own, name)
        axes.plot(steps, values, color=colour, alpha=0.35, linewidth=1)
        axes.plot(steps, values.mean(axis=1), _marked(steps), color=colour, linewidth=2,
                  label=label)  # fmt: skip
    if turn:
        axes.axvline(turn, color=GREY, linestyle=":", linewidth=1)
    seeds = len({r["seed"] for r in records})
    axes.set(xlabel=unit, ylabel="return")
    _finish(figure, axes, f"{title}  ({seeds} seed{'s' * (seeds > 1)})", path)


def monitor(records: list[dict[str, Any]], togo: float | None, path: Path) -> None:
    """What Q promises beside what the data returned, and the gap that CQL pays for.

    A line a lane, dashed otherwise for each of a sweep's settings. Without a gap there
    is one panel; α' has a line where it is learned.
    """
    learned = any(r.get("gap_factor", 1.0) != 1.0 for r in records)
    paid = [("gap", "gap", COLOURS[0]), ("gap_factor", "α'", GREY)][: 1 + learned]
    panels = 1 + any("gap" in r for r in records)
    figure, axes = _figure(panels)
    axes = np.ravel(axes)
    names = {"q_data": "the data's actions", "q_policy": "the policy's",
             "q_uniform": "uniform ones"}  # fmt: skip
    for (name, label), colour in zip(names.items(), COLOURS, strict=False):
        _lines_of(axes[0], records, name, colour, label)
    if togo is not None:
        axes[0].axhline(togo, color=GREY, linestyle="--", label="return of the data")
    axes[0].set(xlabel="updates", ylabel="Q")
    for name, label, colour in paid[: len(paid) * (panels - 1)]:
        _lines_of(axes[-1], records, name, colour, label)
    if panels > 1:
        axes[1].set(xlabel="updates", ylabel="gap (units of Q)" + ", α'" * learned)
    if len(settings := _settings(records)) > 1:
        for setting, dashes in zip(settings, itertools.cycle(DASHES)):
            axes[-1].plot([], [], dashes, color="black", label=setting)
    _finish(figure, axes, "conservatism" if panels > 1 else "what Q promises", path)


def _lines_of(
    axes: Any, records: list[dict[str, Any]], name: str, colour: str, label: str
) -> None:
    """A metric over steps, a thin line a lane; nothing where it is not recorded."""
    dashes = dict(zip(_settings(records), itertools.cycle(DASHES)))
    for k, lane in enumerate(_lanes(records)):
        own = [r for r in records if _lane(r) == lane and name in r]
        steps, values = [r["step"] for r in own], [r[name] for r in own]
        if own:
            axes.plot(steps, values, _marked(steps) + dashes[lane[0]], color=colour,
                      linewidth=1.2, alpha=0.8, label=None if k else label)  # fmt: skip


def _marked(steps: list[int]) -> str:
    """A point is seen only if it is marked."""
    return "o" if len(steps) == 1 else ""


def _figure(columns: int = 1) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(
        1, columns, figsize=(3 + 4 * columns, 4), dpi=110, layout="constrained"
    )


def _finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    from matplotlib import pyplot

    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
        one.locator_params(axis="x", integer=True)
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=False)
    np.ravel(axes)[0].set_title(title, loc="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _by_seed(records: list[dict[str, Any]], name: str) -> tuple[list[int], np.ndarray]:
    """Steps, and returns of shape (steps, seeds)."""
    steps = sorted({r["step"] for r in records})
    rows = [[r[name]["return"] for r in records if r["step"] == s] for s in steps]
    return steps, np.array(rows)


def after(run: Path) -> None:
    """What a run ends with: its pictures and its tables."""
    records, config = evaluations(run), json.loads((run / "config.json").read_text())
    plan, console = config["plan"], _console()
    if records:
        console.print(table(records))
        if len(_lanes(records)) > 1:
            console.print(summary(records, plan["env"]))
    try:
        for what, picture in _pictures(run, records, config):
            console.print(f"{what}: {picture}")
    except ImportError:
        console.print('no picture without matplotlib: pip install "softq[plot]"')


def _console() -> Console:
    """As wide as the terminal; where there is none, wide enough for every table."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def _pictures(
    run: Path, records: list[dict[str, Any]], config: dict[str, Any]
) -> Iterator[tuple[str, Path]]:
    plan, plots = config["plan"], run / "plots"
    if records:
        title = f"{plan['algorithm']} on {plan['env']}"
        if plan["data"]:
            name = Path(plan["data"]["path"]).name
            title = f"{plan['algorithm']} on {name}, in {plan['env']}"
        unit = "updates" if plan["data"] else "environment steps"
        turn = plan["loop"]["steps"] if plan["finetune_env"] else 0
        unit = f"{unit}, then environment steps" if turn else unit
        curve(records, plots / "learning_curve.png", title, unit, turn)
        yield "learning curve", plots / "learning_curve.png"
    watched = [r for r in metrics(run) if "q_data" in r]
    if watched:
        monitor(watched, config.get("mc_return"), plots / "monitor.png")
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
