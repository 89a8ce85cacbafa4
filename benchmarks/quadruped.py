"""A quadruped that learned to run any way, put into a canal: is that a better start?

    python benchmarks/quadruped.py train      # three runs, resumed where they stopped
    python benchmarks/quadruped.py gather     # results/quadruped.json and its picture

Soft Q-learning on Gymnasium's Ant, paid for its speed whichever way (100,000 steps);
then 50,000 steps in a wide hallway from that run, and 50,000 from scratch.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "quadruped"
OPTIONS = [
    "--batch-size", "64", "--algo.particles", "16", "--algo.value-samples", "32",
    "--algo.alpha", "0.02", "--eval-episodes", "5", "--learning-starts", "2000",
]  # fmt: skip
HALL = ["--env", "softq/QuadrupedEast-v0", "--steps", "50000", "--eval-every", "5000"]
STAGES = {
    "pre": ["--env", "softq/Quadruped-v0", "--steps", "100000"],
    "fine": [*HALL, "--init-from", str(RUNS / "pre")],
    "scratch": HALL,
}
NAMES = {"pre": "open field: speed, any way", "fine": "hallway, pre-trained",
         "scratch": "hallway, from scratch"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "gather"))
    train() if parser.parse_args().command == "train" else gather()


def train() -> None:
    """One run after another."""
    for name, options in STAGES.items():
        out = RUNS / name
        begin = ["train", "sql", *OPTIONS, *options, "--out", str(out)]
        words = ["resume", str(out)] if out.exists() else begin
        subprocess.run([sys.executable, "-m", "softq", *words], check=True)


def gather() -> None:
    """The three curves, as numbers and as a picture."""
    result: dict[str, Any] = {"benchmark": "quadruped", "runs": {}}
    for name in STAGES:
        config = json.loads((RUNS / name / "config.json").read_text())
        lines = (RUNS / name / "evals.jsonl").read_text().splitlines()
        plan = {k: v for k, v in config["plan"].items() if k != "init_from"}
        result["runs"][name] = {
            "plan": plan, "versions": config["versions"], "machine": config["machine"],
            "evaluations": [json.loads(line) for line in lines],
        }  # fmt: skip
    path = HERE / "results" / "quadruped.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    picture(result, path.with_suffix(".png"))
    print(path)


def picture(result: dict[str, Any], path: Path) -> None:
    """The pre-training, and beside it the hallway from there and from scratch."""
    from softq.figures import draw
    from softq.plots import COLOURS

    figure, axes = draw.plots().subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (name, run), colour in zip(result["runs"].items(), COLOURS, strict=False):
        panel = axes[0] if name == "pre" else axes[1]
        steps, returns = zip(
            *((r["step"], r["sampled"]["return"]) for r in run["evaluations"]),
            strict=True,
        )
        panel.plot(np.divide(steps, 1e3), returns, color=colour, label=NAMES[name])
    for panel in axes:
        panel.set_xlabel("environment steps (thousands)")
        panel.set_ylabel("return of sampled episodes")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    draw.save(figure, path)


if __name__ == "__main__":
    main()
