"""The uniform actions of Tianshou's CQL are all at the upper bound.

Read in Tianshou 2.0.1: `CQL._update_with_batch` (tianshou/algorithm/imitation/cql.py)
draws them by `uniform_(-self.min_action, self.max_action)`. With the documented and
default `min_action`, -1, that is uniform_(1, 1). They are meant to fill [-1, 1].
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
    def forward(self, obs, state=None, info=None):  # its actions are next to 0
        return (torch.zeros(len(obs), 1), torch.full((len(obs), 1), 1e-3)), None


torch.manual_seed(0)
policy = SACPolicy(actor=Actor(1, 1), action_space=Box(-1.0, 1.0, (1,)))
policy.is_within_training_step = True
critic, adam, seen = torch.nn.Bilinear(1, 1, 1), AdamOptimizerFactory(), []
critic.register_forward_pre_hook(lambda net, given: seen.append(given[1].detach()))
cql = CQL(
    policy=policy, policy_optim=adam, critic=critic, critic_optim=adam,
    num_repeat_actions=1000, with_lagrange=False, calibrated=False,
)  # fmt: skip
buffer, ends = ReplayBuffer(1), {"terminated": True, "truncated": False}
zero = np.zeros(1, np.float32)
buffer.add(Batch(obs=zero, act=zero, rew=0.0, obs_next=zero, **ends))
cql.update(buffer, None)
far = torch.cat(seen)
far = far[far.abs() > 0.1]  # neither the policy's nor the data's
low, high = far.min().item(), far.max().item()
print(f"Tianshou {tianshou.__version__}: uniform actions from {low:.2f} to {high:.2f}")
print("1,000 of the uniform law:       from -1.00 to 1.00")
sys.exit(int(low > -0.98 or high < 0.98))
