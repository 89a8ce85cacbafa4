"""Pendulum, from data and then online: CQL, Cal-QL and naive SAC side by side.

    python benchmarks/fine_tuning.py [--runs DIR]

The data: 20,000 sampled steps of SAC after 2,500 steps on Pendulum-v1 (half learned).
Then 4,000 updates on them and 4,000 environment steps, half of every batch from the
data: batch 128, two layers of 128, a rate of 1e-3, four actions of each source, three
seeds in one program, evaluated every 500 updates or steps (10 greedy episodes), with
two weights on the gap. Writes `results/fine-tuning.json` and its picture; the dip is
how far a seed's return falls below where the data left it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
UPDATES, STEPS, SEEDS, EVERY = 4_000, 4_000, 3, 500
LIGHT = {"hidden": (128, 128), "lr": 1e-3}
CAREFUL = {**LIGHT, "actor_lr": 1e-3, "gap_samples": 4}
ARMS = {
    "CQL, weight 1": ("cql", {**CAREFUL, "gap_weight": 1.0}),
    "Cal-QL, weight 1": ("calql", {**CAREFUL, "gap_weight": 1.0}),
    "CQL, weight 5": ("cql", {**CAREFUL, "gap_weight": 5.0}),
    "Cal-QL, weight 5": ("calql", {**CAREFUL, "gap_weight": 5.0}),
    "naive SAC": ("sac", LIGHT),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "fine")
    runs = parser.parse_args().runs
    data = collected(runs)
    told = {arm: summary(trained(arm, data, runs)) for arm in ARMS}
    write(told, data)


def collected(runs: Path) -> Path:
    """The data, made once."""
    import softq
    from softq.collect import collect

    path, origin = runs / "pendulum-medium.hdf5", runs / "origin"
    if origin.exists():
        softq.resume(origin)
    else:
        softq.train(
            "sac", "Pendulum-v1", out=origin, steps=2_500, learning_starts=500,
            algo={**LIGHT, "lr": 1e-3}, eval_every=2_500,
        )  # fmt: skip
    if not path.exists():
        print(collect([str(origin)], 20_000, path))
    return path


def trained(arm: str, data: Path, runs: Path) -> list[dict]:
    """The evaluations of an arm, trained or gone on with."""
    import softq
    from softq import records

    algorithm, knobs = ARMS[arm]
    out = runs / arm.replace(", ", "-").replace(" ", "-").lower()
    if not out.exists():
        softq.train(
            algorithm, data=data, out=out, algo=knobs, seeds=SEEDS, steps=UPDATES,
            batch_size=128, eval_every=EVERY, finetune_env="Pendulum-v1",
            finetune_steps=STEPS, checkpoint_every=2_000,
        )  # fmt: skip
    else:
        softq.resume(out)
    return records.evaluations(out)


def summary(shown: list[dict]) -> dict:
    """Returns (seeds, evaluations), where the data left off, the dip, the end."""
    from softq.records import by_seed

    steps, returns = by_seed(shown)
    rows, at = returns.T, steps.index(UPDATES)
    before, after = rows[:, at], rows[:, at + 1 :]
    return {
        "steps": steps, "returns": rows.round(1).tolist(), "offline": before.tolist(),
        "dip": (before - after.min(axis=1)).tolist(),
        "first_500": after[:, 0].tolist(), "last": after[:, -1].tolist(),
    }  # fmt: skip


def write(told: dict, data: Path) -> None:
    from softq import machine
    from softq.data import doctor
    from softq.statistics import interval, iqm

    for one in told.values():
        for name in ("offline", "dip", "last"):
            one[f"{name}_iqm"] = iqm(one[name])
            one[f"{name}_interval"] = interval(one[name])
    info = doctor.info(data)
    about = {name: info[name] for name in ("sha256", "returns")}
    content = {
        "command": "python benchmarks/fine_tuning.py", "updates": UPDATES,
        "steps": STEPS, "seeds": SEEDS, "data": about,
        "versions": machine.versions(), "machine": machine.about(), "arms": told,
    }  # fmt: skip
    path = HERE / "results" / "fine-tuning.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    picture(told, info["returns"]["mean"], path.with_suffix(".png"))
    for arm, one in told.items():
        print(arm, {k: one[k] for k in ("offline_iqm", "dip_iqm", "last_iqm")})


def picture(told: dict, mean: float, path: Path) -> None:
    from softq.figures import draw
    from softq.plots import COLOURS

    figure, axes = draw.plots().subplots(figsize=(8, 4.2), layout="constrained")
    for (arm, one), colour in zip(told.items(), COLOURS, strict=False):
        x, rows = np.array(one["steps"]) - UPDATES, np.array(one["returns"])
        axes.plot(x, rows.T, color=colour, alpha=0.3, linewidth=1)
        axes.plot(x, rows.mean(0), color=colour, linewidth=2, label=arm)
    axes.axvline(0, color="0.5", linestyle=":")
    axes.axhline(mean, color="0.5", linestyle="--", label="the data")
    axes.set(xlabel="updates on data (left), environment steps (right)",
             ylabel="greedy return")  # fmt: skip
    draw.plain(axes, f"Pendulum-v1 from medium data, {SEEDS} seeds")
    axes.legend(frameon=False)
    draw.save(figure, path)


if __name__ == "__main__":
    main()
