"""Soft Q-learning's update in PyTorch, as a careful user would write it.

    python sql_torch.py eager|compiled

The same mathematics as `softq.algos.sql`, line by line: batched over states, samples
and particles with no Python loop, no gradient through targets, Adam's and the target's
steps in PyTorch's multi-tensor form. Prints one JSON line last.
"""

import argparse
import json
import math
import platform
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

OBS, ACTION, WIDTH, BATCH, PARTICLES, SAMPLES = 17, 6, 128, 128, 32, 64
HALF, ALPHA, DISCOUNT, POLYAK, LR = PARTICLES // 2, 0.1, 0.99, 0.005, 3e-4
SCALES = torch.tensor([1.0, 0.3, 0.1, 0.03, 0.01])
Rows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def net(outputs: int) -> nn.Sequential:
    """Two hidden layers over an observation with an action (or noise) beside it."""
    return nn.Sequential(
        nn.Linear(OBS + ACTION, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, outputs),
    )  # fmt: skip


def beside(obs: Tensor, action: Tensor) -> Tensor:
    """Each state's observation beside each of its k actions: (n, k, OBS + ACTION)."""
    return torch.cat([obs[:, None].expand(-1, action.shape[1], -1), action], -1)


class Learner:
    """Two networks, a target and their optimisers."""

    def __init__(self) -> None:
        self.sampler, self.critic, self.target = net(ACTION), net(1), net(1)
        self.target.load_state_dict(self.critic.state_dict())
        self.target.requires_grad_(False)
        self.sampler_adam = torch.optim.Adam(self.sampler.parameters(), LR)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), LR)
        self.of_target = list(self.target.parameters())
        self.of_critic = list(self.critic.parameters())

    def update(self, rows: Rows, losses: Any) -> Tensor:
        """One update of everything; `losses` computes the two losses."""
        critic_loss, sampler_loss = losses
        loss = critic_loss(self, rows)
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()
        stein = sampler_loss(self, rows[0])
        self.sampler_adam.zero_grad()
        stein.backward()
        self.sampler_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.of_target, self.of_critic, POLYAK)
        return loss.detach()


def critic_loss(learner: Learner, rows: Rows) -> Tensor:
    """(Q − r − γ (1 − terminated) V)², V by uniform proposals."""
    obs, action, reward, next_obs, terminated = rows
    with torch.no_grad():
        proposals = 2 * torch.rand(BATCH, SAMPLES, ACTION) - 1
        q = learner.target(beside(next_obs, proposals))[..., 0]
        weights = q / ALPHA + ACTION * math.log(2)
        v = ALPHA * (torch.logsumexp(weights, -1) - math.log(SAMPLES))
        y = reward + DISCOUNT * (1 - terminated) * v
    q = learner.critic(torch.cat([obs, action], -1))[:, 0]
    return ((q - y) ** 2).mean()


def sampler_loss(learner: Learner, obs: Tensor) -> Tensor:
    """The Stein direction of half the particles as the gradient of the other half."""
    noise = torch.randn(2, BATCH, HALF, ACTION)
    with torch.no_grad():
        fixed = noise[0] + learner.sampler(beside(obs, noise[0]))
    fixed.requires_grad_(True)
    q = learner.critic(beside(obs, torch.tanh(fixed)))[..., 0]
    slope = 2 * (math.log(2) - fixed - nn.functional.softplus(-2 * fixed))
    (score,) = torch.autograd.grad((q / ALPHA + slope.sum(-1)).sum(), fixed)
    updated = noise[1] + learner.sampler(beside(obs, noise[1]))
    with torch.no_grad():
        apart = fixed[:, :, None] - updated[:, None]
        square = (apart**2).sum(-1)
        median = torch.quantile(square.flatten(1), 0.5, dim=-1)
        h = SCALES * (median / math.log(HALF)).clamp_min(1e-3)[:, None]
        kernels = torch.exp(-square[:, None] / h[:, :, None, None])
        pull = torch.einsum("nkm,nkd->nmd", kernels.mean(1), score)
        slopes = (kernels / h[:, :, None, None]).mean(1)
        move = (pull - 2 * torch.einsum("nkm,nkmd->nmd", slopes, apart)) / HALF
    return -(move * updated).sum((-2, -1)).mean() / HALF


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("eager", "compiled"))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--updates", type=int, default=50)
    args = parser.parse_args()
    torch.manual_seed(0)
    learner = Learner()
    losses: Any = (critic_loss, sampler_loss)
    if args.mode == "compiled":
        losses = tuple(torch.compile(loss) for loss in losses)
    rows = (
        torch.randn(BATCH, OBS), 2 * torch.rand(BATCH, ACTION) - 1, torch.randn(BATCH),
        torch.randn(BATCH, OBS), (torch.rand(BATCH) < 0.01).float(),
    )  # fmt: skip
    for _ in range(10):
        learner.update(rows, losses)
    timed = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        for _ in range(args.updates):
            learner.update(rows, losses)
        timed.append(1e3 * (time.perf_counter() - begin) / args.updates)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    record = {"mean_ms": statistics.fmean(timed), "repeat_mean_ms": timed,
              "versions": versions}  # fmt: skip
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
