"""Trains SAC on a pendulum, evaluates what it has learned, and asks it for an action.

python examples/train_sac.py [steps]
"""

import sys

import softq

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12_000
run = softq.train(
    "sac",
    env="softq/Pendulum-v0",
    steps=steps,
    num_envs=4,
    learning_starts=min(1_000, steps // 4),
    eval_every=max(steps // 5, 1),
    algo={"hidden": (64, 64), "lr": 1e-3},
    out="runs/pendulum",
)
for record in run.evaluations:
    greedy, sampled = record["greedy"], record["sampled"]
    print(
        f"{record['step']:>7,} steps: greedy {greedy['return']:8.1f}, sampled "
        f"{sampled['return']:8.1f} and {sampled['entropy']:.0f} nats an episode"
    )

policy = softq.load("runs/pendulum")
obs = [1.0, 0.0, 0.0]  # upright, at rest: cos, sin, speed
print("torque when upright:", policy(obs), "worth", policy.value(obs, policy(obs)))
