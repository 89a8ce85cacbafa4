"""TorchRL's CQL penalty scores the actions drawn at s' at s', not at s.

Read in TorchRL 0.14.1: `CQLLoss.cql_loss` (torchrl/objectives/cql.py) asks for Q at the
tensordict that `_get_policy_actions` returns for `next`, whose observation is that of
s'. The penalty of a state is made of Q(s, .) alone; in the code of CQL's authors too,
what is drawn at s' is scored at s. For Q(s, a) = w s its derivative with respect to w
is then s - s = 0, whatever s' and the actions are.
"""

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
ends = ["observation"], ["state_action_value"]
q = [ValueOperator(torch.nn.Linear(1, 1, bias=False), *ends) for _ in range(2)]
loss = CQLLoss(actor, q, target_entropy=-1.0, delay_qvalue=False)
w = loss.qvalue_network_params["module", "weight"]
w.data.fill_(20.0)
zero, no = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
after = {"observation": zero + 1, "reward": zero, "done": no, "terminated": no}
row = TensorDict({"observation": zero, "action": zero, "next": after}, [1])
slope = torch.autograd.grad(loss(row)["loss_cql"], w)[0].flatten()[0].item()
print(f"TorchRL {torchrl.__version__}: d penalty / d w = {slope:.3f}")
print(f"s - s, for every s':        {0.0:.3f}")
sys.exit(int(abs(slope) > 1e-3))
