"""Networks of a few weights for TorchRL's loss modules."""

import warnings
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.data import Bounded
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator

warnings.filterwarnings("ignore")
Answer = dict[str, Any]
SPEC = Bounded(-1.0, 1.0, (1,))


class Linear(nn.Module):
    """Coefficients and constants, a row for each output."""

    def __init__(self, made: list[list[float]]):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(made))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Of observations, or of observations and actions."""
        x = torch.cat(inputs, -1)
        return x @ self.rows[:, :-1].T + self.rows[:, -1]


class Gaussian(nn.Module):
    """Mean and scale of u; the second one is not learned."""

    def __init__(self, policy: dict[str, float]):
        super().__init__()
        self.mean = Linear([[policy["slope"], policy["bias"]]])
        self.std = float(np.exp(policy["log_std"]))

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both, for each observation."""
        mean = self.mean(obs)
        return mean, torch.full_like(mean, self.std)


def actor_of(policy: dict[str, float]) -> ProbabilisticActor:
    """A squashed Gaussian policy."""
    module = TensorDictModule(Gaussian(policy), ["observation"], ["loc", "scale"])
    return ProbabilisticActor(
        module, spec=SPEC, in_keys=["loc", "scale"], distribution_class=TanhNormal
    )


def critic_of() -> ValueOperator:
    """A linear critic of random weights."""
    made = np.random.default_rng(0).uniform(-1.0, 1.0, (1, 3))
    return ValueOperator(Linear(made.tolist()), in_keys=["observation", "action"])


def put(params: Any, made: list[Any]) -> None:
    """Weights into an ensemble's parameters."""
    found = list(params.values(True, True))
    if len(found) != 1:
        raise ValueError(f"an ensemble of one tensor was expected; found {found}")
    found[0].data.copy_(torch.tensor(made).reshape(found[0].shape))


def only(params: Any) -> torch.Tensor:
    """An ensemble's one tensor."""
    return next(iter(params.values(True, True)))


def batch_of(given: list[dict[str, Any]], count: int) -> TensorDict:
    """`count` copies of the rows; done is either end, terminated the world's own."""

    def column(name: str, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.tensor([[row[name]] for row in given], dtype=kind).repeat(count, 1)

    end, limit = column("terminated", torch.bool), column("truncated", torch.bool)
    after = {
        "observation": column("next_obs"), "reward": column("reward"),
        "terminated": end, "truncated": limit, "done": end | limit,
    }  # fmt: skip
    rows_ = {"observation": column("obs"), "action": column("action"), "next": after}
    return TensorDict(rows_, [len(given) * count])


def total(losses: TensorDict) -> torch.Tensor:
    """The sum of all losses, as its documentation trains."""
    return sum(value for key, value in losses.items() if key.startswith("loss_"))
