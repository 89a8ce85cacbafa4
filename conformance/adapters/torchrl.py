"""TorchRL's side of the checks: its loss modules, on networks of a few weights."""

import warnings
from importlib import metadata
from typing import Any

import numpy as np
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import (
    CQLLoss,
    DiscreteCQLLoss,
    DiscreteSACLoss,
    IQLLoss,
    SACLoss,
    SoftUpdate,
    TD3BCLoss,
)
from torchrl.objectives.utils import ValueEstimators

from conformance import toolbox
from conformance.blink import Blink, rows
from conformance.tiny.torchrl import (
    Linear,
    actor_of,
    batch_of,
    critic_of,
    only,
    put,
    total,
)

warnings.filterwarnings("ignore")
Answer = dict[str, Any]
# What its source says where a check fails.
READ = {
    "cql_integral": "`CQLLoss.cql_loss` joins the three sources along the last axis of "
    "tensors of shape (batch · num_random, 1): each log-sum-exp runs over three "
    "actions, and `num_random` of them are averaged. More samples do not bring it to "
    "the integral.",
    "cql_next_state": "`CQLLoss.cql_loss` asks for Q at the tensordict that "
    "`_get_policy_actions` returns for `next`, whose observation is that of s'.",
    "cql_penalty": "`loss_cql` is not multiplied by α', and `alpha_prime_loss` is not "
    "detached from the critics: in the sum of the losses, which `CQLTrainer` and its "
    "repository's scripts descend, they get 1 − ½ α' times the penalty.",
}


def versions() -> dict[str, str]:
    """What decides the numbers."""
    names = ("torchrl", "tensordict", "torch")
    return {name: metadata.version(name) for name in names}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities."""
    torch.manual_seed(seed)
    scale = torch.full((count, 1), float(np.exp(log_std)))
    law = TanhNormal(torch.full((count, 1), mean), scale)
    action, logp = law.rsample_and_log_prob()
    return {"action": action[:, 0].tolist(), "logp": logp.tolist()}


def sac_update(**q: Any) -> Answer:
    """The sum of SACLoss, one Adam step on it, and SoftUpdate."""
    torch.manual_seed(q["seed"])
    loss = SACLoss(
        actor_of(q["policy"]), critic_of(), loss_function="l2", alpha_init=q["alpha"],
        fixed_alpha=not q["learn_alpha"], delay_qvalue=True,
    )  # fmt: skip
    loss.make_value_estimator(ValueEstimators.TD0, gamma=q["discount"])
    follow = SoftUpdate(loss, tau=q["polyak"])
    critics, targets = loss.qvalue_network_params, loss.target_qvalue_network_params
    if q["critics"] is not None:
        put(critics, q["critics"])
        put(targets, q["targets"])
    optimizer = torch.optim.Adam(loss.parameters(), lr=q["lr"])
    trail, answer = [(flat(critics), flat(targets))], {}
    for _ in range(q["steps"]):
        optimizer.zero_grad()
        total(loss(batch_of([q["row"]], q["count"]))).backward()
        answer = answer or gradients(loss)
        optimizer.step()
        follow.step()
        trail.append((flat(critics), flat(targets)))
    return answer | {"trail": trail}


def flat(params: Any) -> list[float]:
    """An ensemble's weights in one row."""
    return only(params).detach().ravel().tolist()


def gradients(loss: Any) -> Answer:
    """Of critics, of the policy's constant, and of log α."""
    learned = loss.log_alpha.grad if loss.log_alpha.requires_grad else None
    return {
        "critic_gradient": only(loss.qvalue_network_params).grad.reshape(2, 3).tolist(),
        "actor_gradient": float(only(loss.actor_network_params).grad[0, 1]),
        "log_alpha_gradient": None if learned is None else float(learned),
    }


def cql_loss(q: dict[str, Any], critic: Any = None) -> CQLLoss:
    """A CQLLoss as the question wants it."""
    torch.manual_seed(q["seed"])
    loss = CQLLoss(
        actor_of(q["policy"]), critic or critic_of(), loss_function="l2",
        alpha_init=q["alpha"], fixed_alpha=True, min_q_weight=q["weight"],
        num_random=q["samples"], with_lagrange=q["threshold"] is not None,
        lagrange_thresh=q["threshold"] or 0.0,
    )  # fmt: skip
    loss.make_value_estimator(ValueEstimators.TD0, gamma=q["discount"])
    put(loss.qvalue_network_params, q["critics"])
    put(loss.target_qvalue_network_params, q["targets"])
    if q["threshold"] is not None:
        loss.log_alpha_prime.data.fill_(float(np.log(q["factor"])))
    return loss


def cql_update(**q: Any) -> Answer:
    """CQLLoss; everything descends the sum of its losses, as its example script does.

    (sota-implementations/cql/cql_offline.py: one backward pass, then all optimisers.)
    """
    loss = cql_loss(q)
    found = loss(batch_of(q["rows"], q["count"]))
    weights = only(loss.qvalue_network_params)
    (slope,) = torch.autograd.grad(total(found), [weights], retain_graph=True)
    answer = {
        "gap": float(found["loss_cql"]) / q["weight"],
        "critic_gradient": slope.reshape(2, 3).tolist(),
    }
    if q["threshold"] is not None:
        own = torch.autograd.grad(found["loss_alpha_prime"], [loss.log_alpha_prime])
        answer["factor_gradient"] = float(own[0])
    return answer


class Seen(Linear):
    """A critic that keeps the actions it is asked at."""

    kept: list[torch.Tensor]

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """As a linear one."""
        self.kept.append(inputs[-1].detach().ravel())
        return super().forward(*inputs)


def gap_actions(policy: Any, samples: int, seed: int) -> Answer:
    """Every action at which the critics are asked for their value."""
    question = toolbox.cql(policy=policy, samples=samples, seed=seed)
    module = Seen([toolbox.ZERO])
    module.kept = []
    loss = cql_loss(question, ValueOperator(module, in_keys=["observation", "action"]))
    loss.deactivate_vmap = True
    loss._make_vmap()
    loss(batch_of([toolbox.ROW], 1))
    return {"action": torch.cat(module.kept).tolist()}


def discrete_loss(logits: list[float], made: Any, targets: Any, alpha: float) -> Any:
    """A DiscreteSACLoss of constant logits and values."""
    actor = ProbabilisticActor(
        TensorDictModule(
            Linear([[0.0, x] for x in logits]), ["observation"], ["logits"]
        ),
        in_keys=["logits"], distribution_class=torch.distributions.Categorical,
    )  # fmt: skip
    critic = TensorDictModule(
        Linear([[0.0, x] for x in made[0]]), ["observation"], ["action_value"]
    )
    loss = DiscreteSACLoss(
        actor, critic, action_space="categorical", num_actions=len(logits),
        alpha_init=alpha, fixed_alpha=True, loss_function="l2",
    )  # fmt: skip
    loss.make_value_estimator(ValueEstimators.TD0, gamma=1.0)
    for params, values in (
        (loss.qvalue_network_params, made),
        (loss.target_qvalue_network_params, targets),
    ):
        put(params, [[[0.0, x] for x in row] for row in values])
    return loss


def discrete_update(
    logits: list[float], q: list[list[float]], alpha: float
) -> Answer:  # fmt: skip
    """Discrete SAC's value (its target for γ = 1) and its actor's gradient."""
    batch = batch_of([toolbox.ROW], 1)
    batch["action"] = torch.zeros(1, dtype=torch.long)
    told = discrete_loss(logits, [[0.0] * 3, [10.0] * 3], q, alpha)
    total(told(batch.clone())).backward()
    first, second = only(told.qvalue_network_params).grad[:, 0, 1].tolist()
    loss = discrete_loss(logits, q, q, alpha)
    total(loss(batch)).backward()
    slope = only(loss.actor_network_params).grad[:, 1]
    return {"value": -10.0 * first / (second - first), "actor_gradient": slope.tolist()}


def discrete_gap(q: list[float], action: int) -> Answer:
    """Discrete CQL's gap in one state."""
    values = TensorDictModule(
        Linear([[0.0, x] for x in q]), ["observation"], ["action_value"]
    )
    from torchrl.modules import QValueActor

    loss = DiscreteCQLLoss(
        QValueActor(values, in_keys=["observation"], action_space="categorical"),
        action_space="categorical",
    )
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.9)
    batch = batch_of([toolbox.ROW], 1)
    batch["action"] = torch.tensor([action])
    return {"gap": float(loss(batch)["loss_cql"])}


def td3_bc_gradient(
    bias: float, action: float, critic: list[float], weight: float
) -> Answer:
    """Of the actor's constant, before the tanh."""
    net = nn.Sequential(Linear([[0.0, bias]]), nn.Tanh())
    actor = TensorDictModule(net, ["observation"], ["action"])
    loss = TD3BCLoss(actor, critic_of(), bounds=(-1.0, 1.0), alpha=weight)
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.9)
    for params in (loss.qvalue_network_params, loss.target_qvalue_network_params):
        put(params, [critic, critic])
    batch = batch_of([toolbox.ROW | {"action": action, "terminated": True}], 4)
    loss(batch)["loss_actor"].backward()
    return {"actor_gradient": float(only(loss.actor_network_params).grad[0, 1])}


def iql_losses(q: float, v: float, **knobs: float) -> tuple[Any, Any]:
    """The module and its losses; Q' and V are these constants."""
    value = ValueOperator(Linear([[0.0, v]]), in_keys=["observation"])
    loss = IQLLoss(actor_of(toolbox.POLICY), critic_of(), value, **knobs)
    loss.make_value_estimator(ValueEstimators.TD0, gamma=0.9)
    for params in (loss.qvalue_network_params, loss.target_qvalue_network_params):
        put(params, [[0.0, 0.0, q]] * 2)
    return loss, loss(batch_of([toolbox.ROW | {"action": 0.3}], 4))


def iql_value_gradient(q: float, v: float, expectile: float) -> Answer:
    """Of V's constant."""
    loss, found = iql_losses(q, v, expectile=expectile)
    found["loss_value"].backward()
    return {"gradient": float(only(loss.value_network_params).grad[0, 1])}


def iql_actor_gradient(q: float, v: float, sharpness: float) -> Answer:
    """Of the policy's constant."""
    loss, found = iql_losses(q, v, temperature=sharpness)
    found["loss_actor"].backward()
    return {"gradient": float(only(loss.actor_network_params).grad[0, 1])}


def collected(ending: str, length: int) -> Answer:
    """What its collector hands over."""
    env = GymWrapper(Blink(ending, length))
    policy = actor_of(toolbox.POLICY)
    collector = Collector(env, policy, frames_per_batch=6, total_frames=6)
    (data,) = list(collector)
    after = data["next"]
    return {
        "rows": rows(data["observation"], after["observation"], after["terminated"])
    }
