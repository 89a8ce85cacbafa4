"""Tianshou's CQL penalty: each log-sum-exp runs over three actions, not over all.

Read in Tianshou 2.0.1: `CQL._update_with_batch` (tianshou/algorithm/imitation/cql.py)
drops the result of `value.reshape(...)`, so that values of shape (batch *
num_repeat_actions, 1) are joined along their last axis. CQL(H)'s penalty is log of the
integral of exp Q(s, a) over a, less Q at the data's action, here 0. For Q = w a its
derivative is coth w - 1/w, whatever constant is added to the penalty.
"""

import math
import sys

import numpy as np
import tianshou
import torch
from gymnasium.spaces import Box
from tianshou.algorithm import CQL
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer


class Actor(torch.nn.Linear):
    def forward(self, obs, state=None, info=None):
        return (torch.zeros(len(obs), 1), torch.ones(len(obs), 1)), None


torch.manual_seed(0)
policy = SACPolicy(actor=Actor(1, 1), action_space=Box(-1.0, 1.0, (1,)))
policy.is_within_training_step = True
critic, adam = torch.nn.Bilinear(1, 1, 1, bias=False), AdamOptimizerFactory()
# Q = w s a and s = 1; w < 0, as 2.0.1's uniform actions are all 1 (see cql_uniform) and
# are to weigh nothing here.
critic.weight.data.fill_(-5.0)
cql = CQL(
    policy=policy, policy_optim=adam, critic=critic, critic_optim=adam,
    num_repeat_actions=10_000, with_lagrange=False, calibrated=False,
)  # fmt: skip
buffer, ends = ReplayBuffer(1), {"terminated": True, "truncated": False}
one = np.ones(1, np.float32)
buffer.add(Batch(obs=one, act=0 * one, rew=0.0, obs_next=one, **ends))
cql.update(buffer, None)
slope, right = critic.weight.grad.item(), 1 / math.tanh(-5.0) + 1 / 5.0
print(f"Tianshou {tianshou.__version__}: d penalty / d w = {slope:.3f}")
print(f"coth w - 1/w at w = -5:     {right:.3f}")
sys.exit(int(abs(slope - right) > 0.03))
