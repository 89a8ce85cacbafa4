"""CQL on a file of offline data: its learning curve, and what its Q promises beside it.

Light sizes, said in the picture: batch 128, two layers of 128, four actions of each
source, the gap's sampled gradient and the weight of preset `mujoco`, 50,000 updates,
three seeds in one program; naive SAC with the same networks.
"""

from pathlib import Path
from typing import Any

from softq import plan, records
from softq.figures import draw
from softq.figures.trained import trained
from softq.statistics import interval, iqm
from softq.types import SoftqError

NEEDS_DATA = True
UPDATES, SEEDS = 50_000, 3
LIGHT = {"hidden": (128, 128)}
AGENTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "CQL": ("cql", {**LIGHT, "gap_samples": 4, "gap_weight": 10.0,
                    "gap_gradient": "sampled"}, draw.SECOND),
    "naive SAC": ("sac", LIGHT, draw.ACCENT),
}  # fmt: skip


def make(out: Path, data: Path | None) -> dict[str, Any]:
    """Trains both (or goes on with them) in `out`, and draws; returns the numbers."""
    if data is None:
        raise SoftqError(
            "cql is learned from data. Make Walker2d's with: python "
            "benchmarks/datasets.py --env Walker2d-v5 --out data; then: softq "
            "reproduce cql --data data/walker2d-v5-medium.hdf5"
        )
    runs = {
        name: trained(
            out / f"{algorithm}-{data.stem}", algorithm, data=data, algo=knobs,
            steps=UPDATES, seeds=SEEDS, batch_size=128, eval_every=UPDATES // 10,
            checkpoint_every=UPDATES // 10, log_every=UPDATES // 50,
        )
        for name, (algorithm, knobs, _) in AGENTS.items()
    }  # fmt: skip
    _picture(runs, data.stem, out / "cql.png")
    return {"data": data.stem, "updates": UPDATES, "seeds": SEEDS} | {
        name: _told(run) for name, run in runs.items()
    }


def _told(run: Path) -> dict[str, Any]:
    shown, lines = records.evaluations(run), records.metrics(run)
    last = records.by_seed(shown)[1][-1].tolist()
    return {
        "last": last, "iqm": iqm(last), "interval": interval(last),
        "promised": [r["q_policy"] for r in lines[-SEEDS:]],
        "mc_return": plan.read(run)[2]["mc_return"],
    }  # fmt: skip


def _picture(runs: dict[str, Path], name: str, path: Path) -> None:
    figure, (left, right) = draw.plots().subplots(
        1, 2, figsize=(11, 4.2), layout="constrained"
    )
    for agent, run in runs.items():
        colour = AGENTS[agent][2]
        _curve(left, records.evaluations(run), colour, agent)
        lines = records.metrics(run)
        _promise(right, lines, "q_policy", colour, f"{agent}: the policy's actions")
        if agent == "CQL":
            _promise(right, lines, "q_data", draw.INK, f"{agent}: the data's actions")
    togo = plan.read(runs["CQL"])[2]["mc_return"]
    right.axhline(togo, color="0.5", linestyle="--", label="return of the data")
    right.set_yscale("symlog", linthresh=100)
    left.set(xlabel="updates", ylabel="greedy return")
    right.set(xlabel="updates", ylabel="Q")
    title = f"{name}: batch 128, 2 × 128, N = 4, {SEEDS} seeds"
    draw.plain(left, title)
    draw.plain(right, "what Q promises")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    draw.save(figure, path)


def _curve(axes: Any, shown: records.Records, colour: str, label: str) -> None:
    steps, rows = records.by_seed(shown)
    axes.plot(steps, rows, color=colour, alpha=0.35, linewidth=1)
    axes.plot(steps, rows.mean(axis=1), color=colour, linewidth=2, label=label)


def _promise(
    axes: Any, lines: records.Records, name: str, colour: str, label: str
) -> None:
    for k, seed in enumerate(sorted({r["seed"] for r in lines})):
        own = [r for r in lines if r["seed"] == seed]
        axes.plot(
            [r["step"] for r in own], [r[name] for r in own], color=colour,
            linewidth=1.2, alpha=0.8, label=None if k else label,
        )  # fmt: skip
