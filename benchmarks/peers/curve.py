"""SBX's SAC on the environment of `benchmarks/learning.py`, evaluated as there.

    python curve.py HalfCheetah-v5 --seed 0 --steps 100000 --out ../results/ID-sbx.json

Runs in the peers' own environment, with SBX's defaults but for softq's 5,000 random
steps: what a published return is worth with this version of the simulator.
"""

import argparse
import json
import platform
from importlib import metadata
from pathlib import Path

import gymnasium
from sbx import SAC
from stable_baselines3.common.evaluation import evaluate_policy

PACKAGES = ("sbx-rl", "stable_baselines3", "jax", "gymnasium", "mujoco")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("env")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    agent = SAC(
        "MlpPolicy", gymnasium.make(args.env), seed=args.seed, learning_starts=5_000
    )
    shown, curve = gymnasium.make(args.env), []
    for step in range(10_000, args.steps + 1, 10_000):
        agent.learn(10_000, reset_num_timesteps=step == 10_000)
        mean, _ = evaluate_policy(agent, shown, 10, deterministic=True)
        curve.append({"step": step, "return": round(float(mean))})
        print(curve[-1], flush=True)
    record = {
        "benchmark": "curve", "library": "sbx", "env": args.env, "seed": args.seed,
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "processor": platform.processor() or platform.machine(), "evaluations": curve,
    }  # fmt: skip
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
