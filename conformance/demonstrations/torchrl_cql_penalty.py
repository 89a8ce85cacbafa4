"""TorchRL's learned CQL weight alpha' does not weigh the critics' penalty.

Read in TorchRL 0.14.1: `CQLLoss.cql_loss` (torchrl/objectives/cql.py) does not multiply
by alpha', and `alpha_prime_loss`, -alpha'/2 times the same penalty, is not detached
from the critics. In the sum of the losses, which `CQLTrainer` and the repository's CQL
scripts descend, they get (1 - alpha'/2) times the penalty's gradient. As a Lagrange
multiplier alpha' multiplies it: at alpha' = 3 the gradient is three times that at 1.
"""

import math
import sys

import torch
import torchrl
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import CQLLoss

law = TensorDictModule(lambda s: (s, s + 1), ["observation"], ["loc", "scale"])
actor = ProbabilisticActor(law, ["loc", "scale"], distribution_class=TanhNormal)
q = [ValueOperator(torch.nn.Linear(1, 1, bias=False), ["action"]) for _ in range(2)]
loss = CQLLoss(actor, q, with_lagrange=True, target_entropy=-1.0, delay_qvalue=False)
w = loss.qvalue_network_params["module", "weight"]
w.data.fill_(5.0)
zero, no = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
after = {"observation": zero, "reward": zero, "done": no, "terminated": no}
row = TensorDict({"observation": zero, "action": zero, "next": after}, [1])
slopes = []
for factor in (1.0, 3.0):
    torch.manual_seed(0)  # the same samples
    loss.log_alpha_prime.data.fill_(math.log(factor))
    # At action 0 the squared error has no gradient in w: only the penalty is seen.
    total = sum(x for key, x in loss(row).items() if key.startswith("loss_"))
    slopes.append(torch.autograd.grad(total, w)[0].flatten()[0].item())
ratio = slopes[1] / slopes[0] if slopes[0] else math.nan
print(f"TorchRL {torchrl.__version__}: gradient at alpha' = 3 / at 1 = {ratio:.3f}")
print(f"alpha' times the penalty:                    {3.0:.3f}")
sys.exit(int(not abs(ratio - 3.0) < 1e-2))
