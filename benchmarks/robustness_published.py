"""SAC's policies in the worlds of RRLS (SuReLI/RRLS @ 0c43dc9, the 3-D sets of M2TD3).

    python benchmarks/robustness_published.py RUN…

One parameter at a time, ten values from end to end of its published range (absolute
values: of the floor's friction, of a body's mass), 10 episodes in each world. RRLS
changes a mass alone; softq changes its inertia with it. Writes
`results/robustness-published.json`: of each run the return in the world as it is, the
mean and the worst over each range, and where that is.
"""

import argparse
import json
from pathlib import Path

import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "robustness-published.json"
FLOOR, TORSO = "absolute-friction:floor", "absolute-mass:torso"
LEGS = ("absolute-mass:front_left_leg", "absolute-mass:front_right_leg")
RANGES = {
    "Hopper-v5": {FLOOR: (0.1, 3.0), TORSO: (0.1, 3.0),
                  "absolute-mass:thigh": (0.1, 4.0)},
    "Walker2d-v5": {FLOOR: (0.1, 4.0), TORSO: (0.1, 5.0),
                    "absolute-mass:thigh": (0.1, 6.0)},
    "HalfCheetah-v5": {FLOOR: (0.1, 4.0), TORSO: (0.1, 7.0),
                       "absolute-mass:bthigh": (0.1, 3.0)},
    "Ant-v5": {TORSO: (0.1, 3.0), **dict.fromkeys(LEGS, (0.01, 3.0))},
}  # fmt: skip
POINTS, EPISODES = 10, 10


def main() -> None:
    import softq
    from softq import machine, plan, robustness

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    rows = []
    for run in parser.parse_args().runs:
        made, _, config = plan.read(run)
        policy, ranges = softq.load(run), {}
        for name, (low, high) in RANGES[made.env].items():
            values = tuple(np.linspace(low, high, POINTS).tolist())
            cells = robustness.grid(policy, made.env, {name: values}, EPISODES)
            ranges[name] = {
                "values": values, "summary": robustness.summary(cells),
                **{p: robustness.returns(cells, p).round(1).tolist()
                   for p in robustness.POLICIES},
            }  # fmt: skip
            print(run, name, ranges[name]["summary"], flush=True)
        usual = softq.evaluate(policy, made.env, EPISODES)
        rows.append({
            "run": run.name, "env": made.env, "seed": made.seed,
            "steps": made.loop.steps, "commit": config.get("commit"),
            "as_it_is": {p: getattr(usual, p).summary()["return"]
                         for p in robustness.POLICIES},
            "ranges": ranges,
        })  # fmt: skip
    content = {
        "command": "python benchmarks/robustness_published.py RUN…",
        "source": "SuReLI/RRLS @ 0c43dc9, rrls/envs/*.py, THREE_DIM",
        "episodes": EPISODES, "versions": machine.versions(),
        "machine": machine.about(), "rows": rows,
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(RESULT)


if __name__ == "__main__":
    main()
