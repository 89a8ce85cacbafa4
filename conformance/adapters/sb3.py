"""Stable-Baselines3's side of the checks: its SAC, driven through `train`."""

from importlib import metadata
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.logger import Logger

from conformance.blink import Blink, rows, store

Answer = dict[str, Any]
DIFFERS = {
    "sac_density": (
        "1e-6 inside the logarithm", "its distribution has a documented epsilon, the "
        "original implementation's: log(1 − a² + 1e-6) never falls below −13.8",
    ),
}  # fmt: skip


def versions() -> dict[str, str]:
    """What decides the numbers."""
    names = ("stable_baselines3", "torch")
    return {name: metadata.version(name) for name in names}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities, of its squashed Gaussian."""
    torch.manual_seed(seed)
    given = torch.full((count, 1), mean), torch.full((count, 1), log_std)
    action, logp = SquashedDiagGaussianDistribution(1).log_prob_from_params(*given)
    return {"action": action[:, 0].tolist(), "logp": logp.tolist()}


def fill(layer: torch.nn.Linear, weights: list[float]) -> None:
    """A linear layer of one output: its weights, then its constant."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weights[:-1]]))
        layer.bias.fill_(weights[-1])


def agent(q: dict[str, Any], count: int) -> SAC:
    """A SAC without hidden layers, whose weights are those of the question."""
    alpha = f"auto_{q['alpha']}" if q["learn_alpha"] else q["alpha"]
    model = SAC(
        "MlpPolicy", Blink(), learning_rate=q["lr"], batch_size=count, tau=q["polyak"],
        gamma=q["discount"], ent_coef=alpha, buffer_size=count, learning_starts=0,
        seed=q["seed"], device="cpu", policy_kwargs={"net_arch": []},
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    if q["critics"] is None:
        return model
    policy, actor = q["policy"], model.actor
    fill(actor.mu, [policy["slope"], policy["bias"]])
    fill(actor.log_std, [0.0, policy["log_std"]])
    made = [one[-1] for one in model.critic.q_networks]
    followed = [one[-1] for one in model.critic_target.q_networks]
    for layer, row in zip(made + followed, q["critics"] + q["targets"], strict=True):
        fill(layer, row)
    return model


def slope(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> np.ndarray:
    """The gradient of the first step, from Adam's first moment."""
    beta = optimizer.param_groups[0]["betas"][0]
    return optimizer.state[weight]["exp_avg"].numpy().ravel() / (1.0 - beta)


def weights(net: torch.nn.Module) -> list[float]:
    """All of them in one row."""
    return torch.cat([p.detach().ravel() for p in net.parameters()]).tolist()


def sac_update(**question: Any) -> Answer:
    """Its `train`, one gradient step at a time."""
    count = question["count"]
    model = agent(question, count)
    store(model, question["row"], count)
    trail, answer = [(weights(model.critic), weights(model.critic_target))], {}
    for _ in range(question["steps"]):
        model.train(1, count)
        trail.append((weights(model.critic), weights(model.critic_target)))
        answer = answer or gradients(model)
    return answer | {"trail": trail}


def gradients(model: SAC) -> Answer:
    """Those of the first step."""
    critic, actor = model.critic, model.actor
    answer: Answer = {
        "critic_gradient": [
            [*slope(critic.optimizer, one[-1].weight),
             *slope(critic.optimizer, one[-1].bias)]
            for one in critic.q_networks
        ],
        "actor_gradient": float(slope(actor.optimizer, actor.mu.bias)[0]),
    }  # fmt: skip
    if model.ent_coef_optimizer is not None:
        learned = slope(model.ent_coef_optimizer, model.log_ent_coef)
        answer["log_alpha_gradient"] = float(learned[0])
    answer["critic_gradient"] = np.array(answer["critic_gradient"]).tolist()
    return answer


def collected(ending: str, length: int) -> Answer:
    """What `learn` puts into its replay buffer."""
    model = SAC("MlpPolicy", Blink(ending, length), learning_starts=100, buffer_size=6)
    model.learn(6)
    data = model.replay_buffer._get_samples(np.arange(6))
    return {"rows": rows(data.observations, data.next_observations, data.dones)}
