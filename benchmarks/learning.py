"""Learning curves of SAC on a Gymnasium environment, straight from the loop.

    python benchmarks/learning.py HalfCheetah-v5 --seed 0 --steps 300000 --out DIR

Every 10,000 steps: 10 greedy and 10 sampled episodes in fresh environments, one JSON
line in DIR/evals.jsonl, and the actor's weights in DIR/actor-<step>.safetensors.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from softq.algos import ALGOS
from softq.envs import Host, make
from softq.evaluate import chooser, rollout
from softq.train import online
from softq.train.seeds import Seeds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("env")
    parser.add_argument("--algo", default="sac")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--every", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    algo = ALGOS[args.algo]
    cfg, options = algo.Config(), online.Options(steps=args.steps)
    host, seeds = Host([make(args.env)], args.seed), Seeds(args.seed)
    tests = [make(args.env) for _ in range(10)]
    choosers = {x: chooser(algo, cfg, x == "sampled") for x in ("greedy", "sampled")}
    train = online.start(algo, cfg, options, host.spec, seeds, host.obs)
    begin = time.time()
    for p in online.run(algo, cfg, options, [host], seeds, train):
        if p.step % args.every:
            continue
        record: dict[str, object] = {
            "step": p.step,
            "wall_s": round(time.time() - begin, 1),
        }
        for name, choose in choosers.items():
            agent, stats = p.train.agent, p.train.stats
            returns = rollout(
                lambda k, o, c=choose, a=agent, s=stats: c(k, a, s, o),
                tests, args.seed, name == "sampled",
            )  # fmt: skip
            record[name] = returns.summary()
        record |= {k: float(v) for k, v in p.info.items()}
        with (args.out / "evals.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        actor = jax.tree_util.tree_leaves_with_path(p.train.agent.actor)
        weights = {jax.tree_util.keystr(path): np.asarray(x) for path, x in actor}
        save_file(weights, args.out / f"actor-{p.step}.safetensors")


if __name__ == "__main__":
    main()
