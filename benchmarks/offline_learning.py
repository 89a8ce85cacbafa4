"""What CQL and its rivals learn from our own offline data, at light sizes.

    python benchmarks/datasets.py --out DIR
    python benchmarks/offline_learning.py train --data DIR [--set NAME] [--row cql]
    python benchmarks/offline_learning.py lagrange --data DIR
    python benchmarks/offline_learning.py full --data DIR
    python benchmarks/offline_learning.py gather

`train` trains every row of every data set that is not there yet, three seeds in one
program: batch 128, two layers of 128, four actions of each source, 50,000 updates,
evaluated every 10,000 (10 greedy and 10 sampled episodes). A row that was stopped goes
on. `gather` adds every finished one to `results/offline-learning.json`: the last
evaluation's greedy returns, seed by seed, with interquartile means and 95 % bootstrap
intervals, what the critic promised for the policy's actions, and d3rlpy's CQL where
`--peer` names its file. `lagrange` trains CQL's learned weight, with friction, for
40,000 updates on two data sets and writes how far the mean gap over the last 10,000 is
from its target. `full` is one seed at the authors' sizes (preset `mujoco`: batch 256,
three layers of 256, ten actions of each source) on Walker2d-medium, its gap's gradient
sampled and scored in bfloat16, and writes `results/offline-full-size.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "offline"
RESULT = HERE / "results" / "offline-learning.json"
SEEDS, UPDATES = 3, 50_000
LIGHT = {"hidden": (128, 128)}
CONSERVATIVE = {**LIGHT, "gap_samples": 4, "gap_weight": 10.0}  # preset "mujoco"'s
SAMPLED = {"gap_gradient": "sampled"}
# Of the learned weight: below what the gap would be without one, so that it binds.
TARGETS = {"walker2d-v5-medium": -2.0, "halfcheetah-v5-medium": -3.0}
ROWS = {
    "cql": ("cql", CONSERVATIVE),
    "cql-sampled": ("cql", CONSERVATIVE | SAMPLED),
    "cql-weight5": ("cql", CONSERVATIVE | {"gap_weight": 5.0}),
    "cql-sampled-weight5": ("cql", CONSERVATIVE | SAMPLED | {"gap_weight": 5.0}),
    "sac": ("sac", LIGHT),
    "bc": ("bc", LIGHT),
    "td3_bc": ("td3_bc", LIGHT),
    "iql": ("iql", LIGHT),
    "calql": ("calql", CONSERVATIVE | SAMPLED),
}
SETS = [
    f"{env}-v5-{level}"
    for env in ("hopper", "walker2d", "halfcheetah")
    for level in ("medium", "medium-replay")
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "gather", "lagrange", "full"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", action="append", help="of the data sets")
    parser.add_argument("--row", choices=tuple(ROWS), action="append")
    parser.add_argument("--peer", type=Path, action="append", default=[])
    args = parser.parse_args()
    if args.command == "gather":
        gather(args.peer)
        return
    if args.command == "full":
        full(args.data / "walker2d-v5-medium.hdf5")
        return
    for name in args.set or (TARGETS if args.command == "lagrange" else SETS):
        if args.command == "lagrange":
            lagrange(args.data / f"{name}.hdf5")
            continue
        for row in args.row or ROWS:
            train(args.data / f"{name}.hdf5", row)


def train(data: Path, row: str) -> None:
    """Starts a run, or goes on with it; a finished one is left alone."""
    algorithm, knobs = ROWS[row]
    out = RUNS / f"{data.stem}-{row}"
    if not (out / "ended.json").exists():
        run(
            out, algorithm, data=data, algo=knobs, seeds=SEEDS, steps=UPDATES,
            batch_size=128, eval_every=10_000, checkpoint_every=10_000,
        )  # fmt: skip


def run(out: Path, algorithm: str, **options: Any) -> None:
    """Starts a run, or goes on with it."""
    import softq

    if out.exists():
        softq.resume(out)
    else:
        softq.train(algorithm, out=out, **options)


def full(data: Path) -> None:
    """One run at full size; its returns and what it cost."""
    from softq import machine

    out = RUNS.with_name("offline-full") / data.stem
    run(
        out, "cql", data=data, preset="mujoco", steps=UPDATES,
        algo={"gap_gradient": "sampled", "scoring": "bfloat16"},
        eval_every=10_000, checkpoint_every=2_000,
    )  # fmt: skip
    content = {
        "command": "python benchmarks/offline_learning.py full --data DIR",
        "updates": UPDATES, "versions": machine.versions(), data.stem: told(out),
    }  # fmt: skip
    path = RESULT.with_name("offline-full-size.json")
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(path, content[data.stem]["curve"])


def lagrange(data: Path, updates: int = 40_000, last: int = 10_000) -> None:
    """Whether a learned weight holds the gap: its mean over the last updates."""
    from softq import machine, records

    target = TARGETS[data.stem]
    out = RUNS.with_name("offline-lagrange") / data.stem
    knobs = {**CONSERVATIVE, **SAMPLED, "gap_weight": 1.0, "gap_target": target,
             "gap_damping": 4.0}  # fmt: skip
    run(
        out, "cql", data=data, algo=knobs, steps=updates, batch_size=128, eval_every=0,
        log_every=100,
    )  # fmt: skip
    lines = [r for r in records.metrics(out) if r["step"] > updates - last]
    gaps = np.array([r["gap"] for r in lines])
    told = {
        "target": target, "held": float(gaps.mean()),
        "off": abs(float(gaps.mean()) / target - 1), "deviation": float(gaps.std()),
        "factor": float(np.mean([r["gap_factor"] for r in lines])),
        "updates": updates, "over_the_last": last, "damping": knobs["gap_damping"],
    }  # fmt: skip
    path = RESULT.with_name("lagrange.json")
    known = json.loads(path.read_text()) if path.exists() else {}
    content = {
        **known, "command": "python benchmarks/offline_learning.py lagrange --data DIR",
        "versions": machine.versions(), data.stem: told,
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(data.stem, told)


def gather(peers: list[Path]) -> None:
    from softq import machine

    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    found = known.get("sets", {})  # a row whose run is gone stands as it was
    for ended in sorted(RUNS.glob("*/ended.json")):
        name, row = split(ended.parent.name)
        found.setdefault(name, {})[row] = told(ended.parent)
    content = {
        "command": "python benchmarks/offline_learning.py train --data DIR",
        "updates": UPDATES, "seeds": SEEDS, "versions": machine.versions(),
        "sets": found,
        "peers": [json.loads(p.read_text()) for p in peers] or known.get("peers", []),
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    for name, rows in found.items():
        for row, said in rows.items():
            low, high = said["interval"] or (np.nan, np.nan)
            print(f"{name:28} {row:12} {said['iqm']:9,.0f} [{low:,.0f}, {high:,.0f}]")
    picture(found)
    print(RESULT)


def picture(found: dict) -> None:
    """A panel a data set: the mean greedy return of every row over updates."""
    from softq.figures import draw
    from softq.plots import COLOURS, GREY

    colours = dict(zip(ROWS, (*COLOURS, GREY, "black", "brown"), strict=True))
    columns = min(len(found), 3)
    rows, plots = -(-len(found) // columns), draw.plots()
    figure, axes = plots.subplots(
        rows, columns, figsize=(4 * columns, 3.2 * rows), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for one, (name, said) in zip(axes.ravel(), found.items(), strict=False):
        for row in said:
            steps, returns = zip(*said[row]["curve"], strict=True)
            one.plot(steps, returns, "o-", ms=3, color=colours[row])
        one.set(xlabel="updates", ylabel="greedy return")
        draw.plain(one, name)
    for one in axes.ravel()[len(found) :]:
        one.axis("off")
    shown = [row for row in ROWS if any(row in said for said in found.values())]
    lines = [plots.Line2D([], [], color=colours[row], label=row) for row in shown]
    figure.legend(handles=lines, loc="outside right upper", frameon=False, fontsize=8)
    title = f"{SEEDS} seeds, batch 128, 2 × 128, 4 actions of each source"
    figure.suptitle(title, fontsize=9)
    draw.save(figure, RESULT.with_suffix(".png"))


def split(name: str) -> tuple[str, str]:
    row = max((r for r in ROWS if name.endswith(f"-{r}")), key=len)
    return name.removesuffix(f"-{row}"), row


def told(run: Path) -> dict:
    """The last evaluation, seed by seed, and the last line of metrics."""
    from softq import records
    from softq.statistics import interval, iqm

    shown = records.evaluations(run)
    ended = json.loads((run / "ended.json").read_text())
    config = json.loads((run / "config.json").read_text())
    lines = records.metrics(run)
    steps, returns = records.by_seed(shown)
    last, best = returns[-1].tolist(), steps.index(records.best_step(shown))
    seconds = [r["wall_s"] for r in lines][-1]
    promised = [r.get("q_policy") for r in lines[-len(last) :]]
    spread = interval(last) if len(last) > 1 else None
    return {
        "last": last, "iqm": iqm(last), "interval": spread, "at": ended["step"],
        "best": returns[best].tolist(),
        "curve": list(zip(steps, returns.mean(axis=1).tolist(), strict=True)),
        "promised": promised, "mc_return": config.get("mc_return"),
        "trouble": ended["trouble"], "seconds": round(seconds),
        "data": config["data"]["sha256"], "processor": config["machine"]["processor"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
