"""d3rlpy's algorithms with networks of a few weights."""

from typing import Any

import d3rlpy
import numpy as np
import torch
from d3rlpy.dataset import Transition, TransitionMiniBatch

from conformance import toolbox

Answer = dict[str, Any]
Linear = torch.nn.Linear


def encoder(units: int) -> Any:
    """One hidden layer of ReLUs."""
    return d3rlpy.models.VectorEncoderFactory(hidden_units=[units])


def linears(net: torch.nn.Module) -> list[Linear]:
    """A network's linear layers."""
    return [module for module in net.modules() if isinstance(module, Linear)]


def fill(net: torch.nn.Module, *rows: list[float]) -> None:
    """Makes a network linear: coefficients and a constant for each of its outputs."""
    first, *heads = linears(net)
    outputs = iter(rows)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(toolbox.both_signs(first.in_features).T))
        first.bias.zero_()
        for head in heads:
            for at in range(head.out_features):
                row = next(outputs)
                head.weight[at] = torch.tensor(toolbox.spread(row[:-1]))
                head.bias[at] = row[-1]


def build(config: Any, actions: int = 1) -> Any:
    """An agent of one observation."""
    agent = config.create(device="cpu:0")
    agent.create_impl((1,), actions)
    return agent


def wire(agent: Any, q: dict[str, Any]) -> None:
    """The question's policy, critics and targets."""
    policy, modules = q["policy"], agent.impl.modules
    rows = [policy["slope"], policy["bias"]], [0.0, policy["log_std"]]
    fill(modules.policy, *rows)
    critics(agent, q["critics"], q["targets"])


def critics(agent: Any, made: list[list[float]], targets: list[list[float]]) -> None:
    """Linear critics."""
    modules = agent.impl.modules
    for nets, rows in ((modules.q_funcs, made), (modules.targ_q_funcs, targets)):
        for net, row in zip(nets, rows, strict=True):
            fill(net, row)


def batch(rows: list[dict[str, Any]], count: int, returns: float = 0.0) -> Any:
    """`count` copies of the rows."""
    made = [
        Transition(
            observation=np.float32([row["obs"]]), action=np.float32([row["action"]]),
            reward=np.float32([row["reward"]]), terminal=float(row["terminated"]),
            next_observation=np.float32([row["next_obs"]]), interval=1,
            next_action=np.zeros(1, np.float32), rewards_to_go=np.float32([[returns]]),
        )
        for row in rows
    ]  # fmt: skip
    return TransitionMiniBatch.from_transitions(made * count)


def slope(optimizer: Any, weight: torch.Tensor) -> np.ndarray:
    """The gradient of the first step, from Adam's first moment."""
    beta = optimizer.param_groups[0]["betas"][0]
    return optimizer.state[weight]["exp_avg"].numpy() / (1.0 - beta)


def critic_gradient(agent: Any) -> list[list[float]]:
    """Of each critic's three numbers."""
    optimizer, made = agent.impl.q_function_optim, []
    for net in agent.impl.q_function:
        head = linears(net)[-1]
        constant = slope(optimizer, head.bias)[0]
        made.append([*toolbox.folded(slope(optimizer, head.weight)), float(constant)])
    return made


def actor_gradient(agent: Any) -> list[float]:
    """Of the constants of the policy's first head."""
    head = linears(agent.impl.policy)[1]
    return slope(agent.impl.policy_optim, head.bias).tolist()


def flat(nets: torch.nn.Module) -> list[float]:
    """All weights in one row."""
    return torch.cat([p.detach().ravel() for p in nets.parameters()]).tolist()


def of_parameter(wrapper: Any, parameter: Any) -> float | None:
    """The gradient of a single learned number; None where it is not learned."""
    if wrapper is None:
        return None
    return float(slope(wrapper.optim, next(parameter.parameters()))[0, 0])
