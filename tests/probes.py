"""Tiny environments whose answers are known: what a learned Q must say, and do.

Each asks for one thing. All but `Image` show two numbers, and all have the same
action space: a Box from -1 to 3 (normalised x = (a − 1)/2), or the labels 1 and 2.

A probe's `q` is the soft value of an observation and a normalised action (or index),
given the discount and `bonus`, which says α H(π(·|obs)) of the policy in question:
the first reward carries no entropy, every later step does. `best` is the greedy
answer, or None where every action is as good.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

ACTIONS = {"continuous": [-0.8, 0.0, 0.8], "discrete": [0, 1]}
LENGTH = 5  # steps until a time limit


class Probe(gymnasium.Env):
    observation_space: spaces.Space = spaces.Box(-2.0, 2.0, (2,), np.float32)
    shown = ((0.0, 0.0),)  # the observations that `q` is asked about
    tolerance = 0.05

    def __init__(self, actions):
        self.continuous = actions == "continuous"
        box = spaces.Box(-1.0, 3.0, (1,), np.float32)
        self.action_space = box if self.continuous else spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.obs = self.begin()
        return self.obs, {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.time += 1
        move = (float(action[0]) - 1.0) / 2.0 if self.continuous else int(action) - 1
        reward = self.reward(self.obs, move)
        self.obs, terminated, truncated = self.follow()
        return self.obs, reward, terminated, truncated, {}

    def begin(self):
        return np.float32(self.shown[self.np_random.integers(len(self.shown))])

    def follow(self):
        return np.zeros(2, np.float32), True, False

    def hit(self, move, side):
        """What a move earns where the right one is on `side` (-1 or 1)."""
        if self.continuous:
            return -((move - 0.5 * side) ** 2)
        return float(move == (side > 0))

    def aim(self, side):
        return 0.5 * side if self.continuous else int(side > 0)

    def q(self, obs, move, discount, bonus):
        return self.reward(obs, move)

    def best(self, obs):
        return None


class Constant(Probe):
    """One step, reward 1: can the critic learn a number?"""

    def reward(self, obs, move):
        return 1.0


class Shown(Probe):
    """One step, the reward is in the observation: does the critic look?"""

    shown = ((-1.0, 0.0), (1.0, 0.0), (0.0, 1.0))

    def reward(self, obs, move):
        return float(obs[0])


class Chain(Probe):
    """Nothing, then 1, then the end: does a later reward arrive, discounted?"""

    shown = ((1.0, 0.0), (0.0, 1.0))

    def begin(self):
        return np.float32(self.shown[0])

    def follow(self):
        return np.float32(self.shown[1]), self.time == 2, False

    def reward(self, obs, move):
        return float(obs[1])

    def q(self, obs, move, discount, bonus):
        return 1.0 if obs[1] else discount * (1.0 + bonus(self.shown[1]))


class Act(Probe):
    """One step, the reward is for the action: does the policy climb?"""

    def reward(self, obs, move):
        return self.hit(move, 1)

    def best(self, obs):
        return self.aim(1)


class ActAsShown(Probe):
    """One step, the right action is in the observation, which is a Dict."""

    observation_space = spaces.Dict(
        goal=spaces.Box(-1.0, 1.0, (1,), np.float32),
        noise=spaces.Box(-1.0, 1.0, (1,), np.float32),
    )
    shown = ((-1.0, 0.3), (1.0, 0.3), (-1.0, -0.6), (1.0, -0.6))
    tolerance = 0.1

    def begin(self):
        sign = 2.0 * self.np_random.integers(2) - 1.0
        return self.words(sign, self.np_random.uniform(-1.0, 1.0))

    def follow(self):
        return self.words(0.0, 0.0), True, False

    def words(self, goal, noise):
        return {"noise": np.float32([noise]), "goal": np.float32([goal])}

    def reward(self, obs, move):
        goal = obs["goal"][0] if isinstance(obs, dict) else obs[0]
        return float(self.hit(move, goal))

    def best(self, obs):
        return self.aim(obs[0])


class TimeLimit(Probe):
    """Reward 1 for ever, cut after 5 steps: the value is 1/(1 − γ), for it goes on.

    A cut taken for an end gives 1/(1 − 4γ/5): one transition in five lacks a future.
    """

    tolerance = 0.06

    def follow(self):
        return np.float32(self.shown[-1]), False, self.time == LENGTH

    def reward(self, obs, move):
        return 1.0

    def q(self, obs, move, discount, bonus):
        return (1.0 + discount * bonus(self.shown[0])) / (1.0 - discount)


class LateTimeLimit(TimeLimit):
    """The same, but the first step of an episode earns nothing, and is seen to.

    Who bootstraps a cut from the next episode's first observation loses here.
    """

    shown = ((1.0, 0.0), (0.0, 1.0))

    def begin(self):
        return np.float32(self.shown[0])

    def reward(self, obs, move):
        return float(obs[1])

    def q(self, obs, move, discount, bonus):
        later = (1.0 + discount * bonus(self.shown[1])) / (1.0 - discount)
        return later if obs[1] else discount * (later + bonus(self.shown[1]))


def half_bright(side):
    frame = np.zeros((8, 8, 1), np.uint8)
    frame[:, 4:] = 200 if side > 0 else 0
    frame[:, :4] = 0 if side > 0 else 200
    return frame


class Image(Probe):
    """One step, the right action is on the bright half of a frame of bytes."""

    observation_space = spaces.Box(0, 255, (8, 8, 1), np.uint8)
    shown = (half_bright(-1), half_bright(1))
    tolerance = 0.1

    def begin(self):
        return self.shown[self.np_random.integers(2)]

    def follow(self):
        return np.zeros((8, 8, 1), np.uint8), True, False

    def side(self, frame):
        return 1.0 if frame[:, 4:].sum() > frame[:, :4].sum() else -1.0

    def reward(self, obs, move):
        return self.hit(move, self.side(obs))

    def best(self, obs):
        return self.aim(self.side(obs))


class CutIsEnd(gymnasium.Wrapper):
    """The mistake that `TimeLimit` is there to find: it says terminated at the cut."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, False, info


PROBES = {
    "constant": Constant,
    "shown": Shown,
    "chain": Chain,
    "act": Act,
    "act_as_shown": ActAsShown,
    "time_limit": TimeLimit,
    "late_time_limit": LateTimeLimit,
    "image": Image,
}
