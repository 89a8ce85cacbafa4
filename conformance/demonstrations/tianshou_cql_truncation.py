"""Tianshou's CQL takes a time limit for an end of the world.

Read in Tianshou 2.0.1: `CQL._update_with_batch` (tianshou/algorithm/imitation/cql.py)
masks its target with `batch.done`, which the buffer sets where a step is terminated or
truncated. Where a time limit cut the episode the world goes on, and the target is
r + gamma Q(s', a'). With r = 1 and gamma = 0.9, Q = 10 meets that exactly.
"""

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
critic, adam = torch.nn.Bilinear(1, 1, 1), AdamOptimizerFactory()
critic.weight.data.fill_(0.0)
critic.bias.data.fill_(10.0)  # Q = 10 everywhere
cql = CQL(  # without penalty and entropy, so that the loss is the squared error
    policy=policy, policy_optim=adam, critic=critic, critic_optim=adam, gamma=0.9,
    alpha=0.0, cql_weight=0.0, with_lagrange=False, calibrated=False,
)  # fmt: skip
buffer, ends = ReplayBuffer(1), {"terminated": False, "truncated": True}
zero = np.zeros(1, np.float32)
buffer.add(Batch(obs=zero, act=zero, rew=1.0, obs_next=zero, **ends))
error = cql.update(buffer, None).critic1_loss
print(f"Tianshou {tianshou.__version__}: squared error at a time limit = {error:.3f}")
print(f"(10 - (1 + 0.9 * 10))^2:                  {0.0:.3f}")
sys.exit(int(abs(error) > 1e-3))
