"""Your own arrays as offline data: CQL on what a clumsy controller has recorded.

python examples/own_offline_data.py [updates]
"""

import sys
from collections import defaultdict

import gymnasium
import numpy as np

import softq

env, random = gymnasium.make("Pendulum-v1"), np.random.default_rng(0)
rows = defaultdict(list)
for episode in range(20):
    obs, _ = env.reset(seed=episode)
    cut = terminated = False
    while not (cut or terminated):
        pump = 2.0 * np.sign(obs[2]) if obs[0] < 0.7 else -10.0 * obs[1] - 2.0 * obs[2]
        action = np.clip(pump + random.normal(size=1), -2.0, 2.0)
        after, reward, terminated, cut, _ = env.step(action.astype(np.float32))
        rows["observations"].append(obs)
        rows["actions"].append(action)
        rows["rewards"].append(reward)
        rows["next_observations"].append(after)
        rows["terminals"].append(terminated)  # the world ended
        rows["timeouts"].append(cut)  # a time limit, which is no end
        obs = after
data = {name: np.array(column) for name, column in rows.items()}

updates = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
run = softq.train("cql", data=data, eval_env="Pendulum-v1", steps=updates,
                  batch_size=64, algo={"hidden": (64, 64)})  # fmt: skip
print("the data:", data["rewards"].sum() / 20, "a return")
print("CQL:     ", run.evaluations[-1]["greedy"]["return"])
