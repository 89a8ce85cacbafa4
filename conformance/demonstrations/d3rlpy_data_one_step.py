"""d3rlpy's replay buffer joins episodes that are one step long.

Read in d3rlpy 2.8.1: `ExperienceWriter.clip_episode` (d3rlpy/dataset/writers.py)
returns before it closes the episode where that has no transition yet, as after its
first step. The next episode is then appended to it, with a transition that leads from
the one into the other. `collect` and `fit_online` store in this way.
"""

import contextlib
import sys

import d3rlpy
import gymnasium
import numpy as np


class OneStep(gymnasium.Env):  # it shows the episode's number, and ends at once
    observation_space = action_space = gymnasium.spaces.Box(-1.0, 9.0, (1,))
    episode = 0

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        return np.float32([self.episode]), {}

    def step(self, action):
        return np.float32([self.episode]), 1.0, True, False, {}


with contextlib.redirect_stdout(sys.stderr):  # d3rlpy logs to standard output
    agent = d3rlpy.algos.RandomPolicyConfig().create()
    buffer = agent.collect(OneStep(), n_steps=6, show_progress=False)
found = [episode.observations.ravel().tolist() for episode in buffer.episodes]
right = [[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]
print(f"d3rlpy {d3rlpy.__version__}, observations by episode: {found}")
print(f"what the environment showed:       {right}")
sys.exit(int(found != right))
