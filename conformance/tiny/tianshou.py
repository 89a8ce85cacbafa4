"""Networks of a few weights for Tianshou's algorithms."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import torch
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from torch import nn

warnings.filterwarnings("ignore")
Answer = dict[str, Any]
BOX = gymnasium.spaces.Box(-1.0, 1.0, (1,))
SLOW = 1e-6  # a step size that moves nothing


class Linear(nn.Module):
    """Coefficients and constants, a row for each output."""

    def __init__(self, made: list[list[float]]):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(made, dtype=torch.float32))

    def forward(self, x: Any) -> torch.Tensor:
        """Of a matrix of inputs."""
        x = torch.as_tensor(x, dtype=torch.float32)
        return x @ self.rows[:, :-1].T + self.rows[:, -1]


class Critic(Linear):
    """Q(s, a), or every action's Q(s, ·) where there is no action beside."""

    kept: list[torch.Tensor] | None = None

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> torch.Tensor:
        """As the algorithms call it."""
        obs = torch.as_tensor(obs, dtype=torch.float32)
        if act is None:
            return super().forward(obs)
        act = torch.as_tensor(act, dtype=torch.float32)
        if self.kept is not None:
            self.kept.append(act.detach().ravel())
        return super().forward(torch.cat([obs, act], -1))


class Actor(nn.Module):
    """What a policy's distribution is made of, and no hidden state."""

    def __init__(self, made: list[list[float]], log_std: float | None = None):
        super().__init__()
        self.mean, self.log_std = Linear(made), log_std

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Any:
        """Mean and scale of u, or the outputs themselves."""
        mean = self.mean(obs)
        if self.log_std is None:
            return mean, None
        return (mean, torch.full_like(mean, float(np.exp(self.log_std)))), None


class Squashed(Actor):
    """A deterministic action in the box."""

    max_action = 1.0

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Any:
        """Through tanh."""
        return torch.tanh(self.mean(obs)), None


class Quantiles(Actor):
    """Every action's quantiles, all at its Q."""

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> Any:
        """Two of them."""
        return self.mean(obs)[..., None].expand(-1, -1, 2), None


def gaussian(policy: dict[str, float]) -> SACPolicy:
    """A squashed Gaussian policy."""
    actor = Actor([[policy["slope"], policy["bias"]]], policy["log_std"])
    return SACPolicy(actor=actor, action_space=BOX)


def stored(given: list[dict[str, Any]], count: int, **more: Any) -> ReplayBuffer:
    """`count` copies of the rows, added as its collector adds them."""
    buffer = ReplayBuffer(len(given) * count)
    for row in given * count:
        flags = {name: row[name] for name in ("terminated", "truncated")}
        made = Batch(
            obs=np.float32([row["obs"]]), act=np.float32([row["action"]]),
            rew=row["reward"], obs_next=np.float32([row["next_obs"]]), info={}, **flags,
        )  # fmt: skip
        made.update(more)
        buffer.add(made)
    return buffer


def updated(algorithm: Any, buffer: ReplayBuffer) -> Any:
    """One update on all that is stored: its statistics."""
    with policy_within_training_step(algorithm.policy):
        return algorithm.update(buffer, 0)


def slope(optimizer: Any, weight: torch.Tensor) -> list[Any]:
    """The gradient of the first step, from Adam's first moment."""
    inner = getattr(optimizer, "_optim", optimizer)
    beta = inner.param_groups[0]["betas"][0]
    return (inner.state[weight]["exp_avg"] / (1.0 - beta)).tolist()


def critic_gradient(algorithm: Any) -> list[list[float]]:
    """Of each critic's three numbers."""
    pairs = (
        (algorithm.critic_optim, algorithm.critic),
        (algorithm.critic2_optim, algorithm.critic2),
    )
    return [slope(optimizer, critic.rows)[0] for optimizer, critic in pairs]


def aim(algorithm: Any, targets: list[list[float]]) -> None:
    """Other target networks than the copies."""
    old = algorithm.critic_old, algorithm.critic2_old
    for net, row in zip(old, targets, strict=True):
        for weight in net.parameters():
            weight.data.copy_(torch.tensor(row).reshape(weight.shape))


def flat(*nets: nn.Module) -> list[float]:
    """All weights in one row."""
    return torch.cat(
        [p.detach().ravel() for n in nets for p in n.parameters()]
    ).tolist()


def weights(algorithm: Any) -> tuple[list[float], list[float]]:
    """Of critics and targets."""
    return (
        flat(algorithm.critic, algorithm.critic2),
        flat(algorithm.critic_old, algorithm.critic2_old),
    )
