"""TorchRL's CQL penalty: each log-sum-exp runs over three actions, not over all.

Read in TorchRL 0.14.1: `CQLLoss.cql_loss` (torchrl/objectives/cql.py) joins the values
of its three sources along the last axis of tensors of shape (batch * num_random, 1).
CQL(H)'s penalty is log of the integral of exp Q(s, a) over a, less Q at the data's
action, here 0. For Q = w a its derivative is coth w - 1/w; a constant that is added to
the penalty, such as log of the number of samples, does not change that.
"""

import math
import sys

import torch
import torchrl
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import CQLLoss

torch.manual_seed(0)
law = TensorDictModule(lambda s: (s, s + 1), ["observation"], ["loc", "scale"])
actor = ProbabilisticActor(law, ["loc", "scale"], distribution_class=TanhNormal)
q = [ValueOperator(torch.nn.Linear(1, 1, bias=False), ["action"]) for _ in range(2)]
# So many samples that an estimate over all of them is within 0.01 of the integral.
loss = CQLLoss(actor, q, num_random=10_000, target_entropy=-1.0, delay_qvalue=False)
w = loss.qvalue_network_params["module", "weight"]
w.data.fill_(5.0)
zero, no = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
after = {"observation": zero, "reward": zero, "done": no, "terminated": no}
row = TensorDict({"observation": zero, "action": zero, "next": after}, [1])
slope = torch.autograd.grad(loss(row)["loss_cql"], w)[0].flatten()[0].item()
right = 1 / math.tanh(5.0) - 1 / 5.0
print(f"TorchRL {torchrl.__version__}: d penalty / d w = {slope:.3f}")
print(f"coth w - 1/w at w = 5:      {right:.3f}")
sys.exit(int(abs(slope - right) > 0.03))
