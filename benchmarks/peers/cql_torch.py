"""The standard PyTorch update of CQL(H), transcribed.

    python cql_torch.py eager|compiled --data ROWS.npz

Nobody's code, but the arithmetic, the sizes and the order of the PyTorch CQLs that
people use (young-geng/CQL, CORL): two critics with an Adam each, N actions of each
family (uniform, π(·|s), π(·|s'), the last scored at s), every family its own pass, the
policy's over rows repeated N times, importance weights, a fixed weight, a learned
temperature, a sampled next action, no entropy in the backup, and all losses before the
first step. Leaner than there: nothing is logged, the families carry no graph back to
the policy, and Adam's and the target's steps are PyTorch's multi-tensor ones.

An update draws its batch from the file's rows. Prints one JSON line last.
"""

import argparse
import itertools
import json
import math
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

OBS, ACTION, WIDTH, BATCH, SAMPLES = 17, 6, 256, 256, 10
GAP_WEIGHT, DISCOUNT, POLYAK, ACTOR_LR, CRITIC_LR = 5.0, 0.99, 0.005, 1e-4, 3e-4
Rows = tuple[Tensor, ...]


def net(inputs: int, outputs: int) -> nn.Sequential:
    """Three hidden layers."""
    sizes, layers = (inputs, WIDTH, WIDTH, WIDTH), []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, outputs))


class Learner:
    """A policy, two critics, their targets, a temperature and the optimisers."""

    def __init__(self) -> None:
        self.actor = net(OBS, 2 * ACTION)
        self.critics = [net(OBS + ACTION, 1) for _ in range(2)]
        self.targets = [net(OBS + ACTION, 1) for _ in range(2)]
        for target, critic in zip(self.targets, self.critics, strict=True):
            target.load_state_dict(critic.state_dict())
            target.requires_grad_(False)
        self.log_alpha = torch.zeros((), requires_grad=True)
        self.alpha_adam = torch.optim.Adam([self.log_alpha], ACTOR_LR)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), ACTOR_LR)
        self.critic_adams = [
            torch.optim.Adam(critic.parameters(), CRITIC_LR) for critic in self.critics
        ]
        self.of_targets = [p for one in self.targets for p in one.parameters()]
        self.of_critics = [p for one in self.critics for p in one.parameters()]

    def update(self, rows: Rows, losses: Any) -> Tensor:
        """One update of everything; `losses` computes the actor's and the critics'."""
        actor_loss, critic_loss = losses
        climb, logp = actor_loss(self, rows[0])
        loss = critic_loss(self, rows)
        step(climb, [self.actor_adam])
        step(loss, self.critic_adams)
        step(-self.log_alpha * (logp - ACTION), [self.alpha_adam])
        with torch.no_grad():
            torch._foreach_lerp_(self.of_targets, self.of_critics, POLYAK)
        return loss.detach()


def step(loss: Tensor, adams: list[torch.optim.Adam]) -> None:
    """One gradient step."""
    for adam in adams:
        adam.zero_grad()
    loss.backward()
    for adam in adams:
        adam.step()


def sample(actor: nn.Module, obs: Tensor) -> tuple[Tensor, Tensor]:
    """An action of π(·|s) for every row, and its log-density."""
    mean, log_std = actor(obs).chunk(2, -1)
    log_std = (log_std - 1.0).clamp(-20.0, 2.0)
    noise = torch.randn_like(mean)
    u = mean + torch.exp(log_std) * noise
    normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    slope = 2 * (math.log(2) - u - functional.softplus(-2 * u))
    return torch.tanh(u), (normal - slope).sum(-1)


def values(critic: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
    """Q(s, a): (n) for an action a row, (n, k) for k of them."""
    if action.ndim == 3:
        obs = obs[:, None].expand(-1, action.shape[1], -1)
    return critic(torch.cat([obs, action], -1))[..., 0]


def actor_loss(learner: Learner, obs: Tensor) -> tuple[Tensor, Tensor]:
    """α log π − min_i Q_i, and the mean of log π."""
    action, logp = sample(learner.actor, obs)
    q = torch.minimum(*(values(critic, obs, action) for critic in learner.critics))
    loss = (learner.log_alpha.detach().exp() * logp - q).mean()
    return loss, logp.detach().mean()


def critic_loss(learner: Learner, rows: Rows) -> Tensor:
    """Σ_i (Q_i − y)² + gap_weight (log Σ_a exp Q_i(s, a) − Q_i on the data)."""
    obs, action, reward, next_obs, terminated = rows
    with torch.no_grad():
        next_action, _ = sample(learner.actor, next_obs)
        q = [values(target, next_obs, next_action) for target in learner.targets]
        y = reward + DISCOUNT * (1 - terminated) * torch.minimum(*q)
        drawn = families(learner.actor, obs, next_obs)
    loss = torch.zeros(())
    for critic in learner.critics:
        q = values(critic, obs, action)
        weighed = [values(critic, obs, a) - logp for a, logp in drawn]
        gap = (torch.logsumexp(torch.cat(weighed, 1), 1) - q).mean()
        loss = loss + functional.mse_loss(q, y) + GAP_WEIGHT * gap
    return loss


def families(
    actor: nn.Module, obs: Tensor, next_obs: Tensor
) -> list[tuple[Tensor, Any]]:
    """N actions a state, and their log-densities: uniform, π(·|s') and π(·|s)."""
    uniform = 2 * torch.rand(len(obs), SAMPLES, ACTION) - 1
    rows = (x.unsqueeze(1).repeat_interleave(SAMPLES, 1) for x in (next_obs, obs))
    return [(uniform, -ACTION * math.log(2)), *(sample(actor, x) for x in rows)]


def load(path: Path) -> Rows:
    """The file's rows."""
    names = ("obs", "action", "reward", "next_obs", "terminated")
    with np.load(path) as file:
        return tuple(torch.from_numpy(file[name].astype(np.float32)) for name in names)


def peak_mb() -> float:
    """The largest resident memory so far (MB)."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("eager", "compiled"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--updates", type=int, default=50)
    args = parser.parse_args()
    torch.manual_seed(0)
    learner, data = Learner(), load(args.data)
    losses: Any = (actor_loss, critic_loss)
    if args.mode == "compiled":
        losses = tuple(torch.compile(loss) for loss in losses)

    def advance(updates: int) -> float:
        begin = time.perf_counter()
        for _ in range(updates):
            index = torch.randint(len(data[0]), (BATCH,))
            learner.update(tuple(x[index] for x in data), losses)
        return time.perf_counter() - begin

    first = advance(1)
    advance(9)
    timed = [1e3 * advance(args.updates) / args.updates for _ in range(args.repeats)]
    record = {
        "mean_ms": statistics.fmean(timed), "repeat_mean_ms": timed,
        "first_call_s": first, "peak_mb": peak_mb(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }  # fmt: skip
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
