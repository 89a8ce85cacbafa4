"""Your own environment, as Gymnasium has them: stop a cart on a line, at 0.

python examples/own_environment.py [steps]
"""

import sys

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import softq


class Cart(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (2,))
    action_space = Box(-1.0, 1.0, (1,))  # any finite bounds; inside softq they are ±1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # all chance comes from np_random, so runs can resume
        self.state = self.np_random.normal(size=2).astype(np.float32)
        return self.state, {}

    def step(self, action):
        x, v = self.state
        self.state = np.array([x + 0.1 * v, v + 0.1 * action[0]], np.float32)
        lost = (
            abs(x) > 5.0
        )  # terminated: the world ends. The time limit does not end it
        return self.state, float(-(x**2)) - 100.0 * lost, bool(lost), False, {}


def make():
    return gymnasium.wrappers.TimeLimit(Cart(), 100)


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
run = softq.train("sac", env=make, steps=steps, learning_starts=200, batch_size=64,
                  algo={"hidden": (64, 64), "lr": 1e-3})  # fmt: skip
print(softq.evaluate(run.policy, make, episodes=5).greedy.summary())
