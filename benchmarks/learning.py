"""Learning curves, one run a seed: trained, then gathered into a result.

    python benchmarks/learning.py train HalfCheetah-v5 --seed 0
    python benchmarks/learning.py gather HalfCheetah-v5 --reference 8593

    python benchmarks/learning.py gather HalfCheetah-v5 --algorithm sql

`train` is `softq train sac --env ID --steps 300000 --seed S`, resumed where it was
stopped, which also keeps the actor's weights at every evaluation. `gather` takes every
run in `runs/learning/<id>-*` (`<algorithm>-<id>-*` where it is not SAC), also of
`softq train` itself and of several seeds, and those that `report_pages.py` has kept in
`results/runs`. It writes `results/<id>.json` and its picture, and for the environments
of the offline data to `policies/`, where there are none yet, the actor of SAC's best
seed at about a third of its last return and at the end.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import datasets

HERE = Path(__file__).resolve().parent
RUNS, KEPT = HERE.parent / "runs" / "learning", HERE / "results" / "runs"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "gather"))
    parser.add_argument("env")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--algorithm", default="sac", help="whose runs to gather")
    parser.add_argument("--reference", type=float, help="a published return at the end")
    args = parser.parse_args()
    if args.command == "train":
        train(args.env, args.seed, args.steps)
    else:
        gather(args.env, args.algorithm, args.reference)


def folder(env: str, seed: int | str) -> Path:
    """Where a run of SAC lies."""
    return RUNS / f"{env.lower()}-{seed}"


def train(env: str, seed: int, steps: int) -> None:
    """Starts a run, or goes on with it."""
    import softq

    out = folder(env, seed)
    keep = Keeper(out / "actors")
    if out.exists():
        softq.resume(out, on_progress=keep)
    else:
        softq.train("sac", env, out=out, seed=seed, steps=steps, on_progress=keep)


class Keeper:
    """Writes the actor's weights every 10,000 steps; never stops a run."""

    def __init__(self, out: Path):
        self.out = out

    def __call__(self, progress: Any) -> bool:
        if progress.step % 10_000 == 0:
            from safetensors.numpy import save_file

            from softq import checkpoint

            self.out.mkdir(exist_ok=True)
            actor = checkpoint.named(progress.train.agent.actor)
            arrays = {name: value.__array__() for name, value in actor.items()}
            save_file(arrays, self.out / f"{progress.step}.safetensors")
        return False


def gather(env: str, algorithm: str, reference: float | None) -> None:
    """Every run of an environment as one result, one picture, two policies."""
    name = env.lower().replace("/", "-")
    name = name if algorithm == "sac" else f"{algorithm.replace('_', '-')}-{name}"
    found = {p.name: p for at in (KEPT, RUNS) for p in at.glob(f"{name}-[0-9]*")}
    if not found:
        raise SystemExit(f"no runs of {env} in {RUNS}/{name}-*")
    runs = [found[key] for key in sorted(found)]
    curves: dict[int, list[Any]] = {}
    for run in runs:
        for line in (run / "evals.jsonl").read_text().splitlines():
            record = json.loads(line)
            curves.setdefault(record["seed"], []).append(record)
    configs = [json.loads((run / "config.json").read_text()) for run in runs]
    first = configs[0]
    lasts = {seed: records[-1]["greedy"]["return"] for seed, records in curves.items()}
    best = max(lasts, key=lambda seed: lasts[seed])
    path = HERE / "results" / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    result = {
        "benchmark": "learning",
        "command": command(first["plan"]),
        "reached": {seed: records[-1]["step"] for seed, records in curves.items()},
        "last_greedy": lasts,
        "plan": first["plan"],
        "commits": sorted({config["commit"] for config in configs}, key=str),
        "versions": first["versions"],
        "processors": sorted({config["machine"]["processor"] for config in configs}),
        "policies": known.get("policies") or policies(algorithm, env, best, curves),
        "evaluations": curves,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    picture(path.with_suffix(".png"), first["plan"], curves, reference)
    print(f"{path}: {lasts}")


def command(given: dict[str, Any]) -> str:
    """What to type for such a run: every option that is not its default."""
    from softq import plan

    usual = dataclasses.asdict(plan.build(given["algorithm"], given["env"], {}))
    words = [f"softq train {given['algorithm']} --env {given['env']}"]
    for part in ("loop", "cadence", "algo"):
        prefix = "--algo." if part == "algo" else "--"
        for name, value in given[part].items():
            found = list(value) if isinstance(value, list | tuple) else [value]
            default = usual[part][name]
            default = list(default) if isinstance(default, tuple) else [default]
            if found != default:
                text = " ".join(str(x) for x in found)
                words.append(f"{prefix}{name.replace('_', '-')} {text}")
    if given["seeds"] > 1:
        words.append(f"--seeds {given['seeds']}")
    return " ".join([*words, "--seed S"])


def policies(algorithm: str, env: str, seed: int, curves: Any) -> dict[str, Any]:
    """Copies the actors of a third of the last return and of the end, with a card."""
    from safetensors.numpy import load_file, save_file

    wanted = algorithm == "sac" and env in datasets.ENVS
    if not wanted or not (folder(env, seed) / "actors").is_dir():
        return {}
    returns = {r["step"]: r["greedy"]["return"] for r in curves[seed]}
    end = max(returns)
    third = min(returns, key=lambda step: abs(returns[step] - returns[end] / 3))
    cards = {}
    (HERE / "policies").mkdir(exist_ok=True)
    for name, step in (("medium", third), ("expert", end)):
        card = {"env": env, "algorithm": "sac", "seed": seed, "step": step,
                "greedy_return": returns[step]}  # fmt: skip
        weights = load_file(folder(env, seed) / "actors" / f"{step}.safetensors")
        out = HERE / "policies" / f"{env.lower()}-{name}.safetensors"
        save_file(weights, out, {key: str(value) for key, value in card.items()})
        cards[name] = card
    return cards


def picture(
    path: Path, plan: dict[str, Any], curves: dict[int, Any], reference: float | None
) -> None:
    """Greedy return against steps, a line a seed; bands are ± one deviation."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from softq.plots import COLOURS

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for (seed, records), color in zip(sorted(curves.items()), COLOURS, strict=False):
        x = [r["step"] / 1e3 for r in records]
        mean = [r["greedy"]["return"] for r in records]
        low = [r["greedy"]["return"] - r["greedy"]["return_std"] for r in records]
        high = [r["greedy"]["return"] + r["greedy"]["return_std"] for r in records]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, mean, color=color, label=f"seed {seed}: {mean[-1]:,.0f}")
    if reference is not None:
        axes.axhline(reference, color="0.5", linestyle=":", linewidth=1.2)
        axes.annotate(f"published (v4, 10 seeds): {reference:,.0f}", (0, reference),
                      xytext=(2, 4), textcoords="offset points", color="0.35",
                      fontsize=9)  # fmt: skip
    episodes = f"{plan['cadence']['eval_episodes']} episodes"
    axes.set_title(
        f"{plan['algorithm']} on {plan['env']}: greedy return, {episodes}", loc="left"
    )
    axes.set_xlabel("environment steps (thousands)")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
