"""Tianshou's side of the checks: its algorithms' `update`, on a few weights."""

import warnings
from importlib import metadata
from typing import Any

import gymnasium
import numpy as np
import torch
from tianshou.algorithm import CQL, SAC, TD3BC, DiscreteCQL, DiscreteSAC
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSACPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from conformance import toolbox
from conformance.blink import Blink, rows
from conformance.tiny.tianshou import (
    BOX,
    SLOW,
    Actor,
    Critic,
    Quantiles,
    Squashed,
    aim,
    critic_gradient,
    gaussian,
    slope,
    stored,
    updated,
    weights,
)

warnings.filterwarnings("ignore")
Answer = dict[str, Any]
DIFFERS = {
    "sac_density": (
        "float32's step inside the logarithm", "its documented eps, 1.2e-7: "
        "log(1 − a² + eps) never falls below −15.9",
    ),
    "cql_backup": ("with SAC's entropy", "its CQL keeps SAC's backup"),
}  # fmt: skip


# What its source says where a check fails.
READ = {
    "cql_integral": "`CQL._update_with_batch` drops the result of `value.reshape(…)`, "
    "so that each log-sum-exp runs over three actions, one of each source, and not "
    "over all of a state's; and its uniform actions are all 1 (`cql_uniform`).",
    "cql_uniform": "`uniform_(-self.min_action, self.max_action)` with `min_action` = "
    "−1, the default and documented lower bound, draws from [1, 1].",
    "cql_truncation": "`CQL._update_with_batch` masks with `batch.done`, which the "
    "buffer sets where a step is terminated or truncated. Its SAC masks with "
    "terminated (`sac_truncation`).",
}


def versions() -> dict[str, str]:
    """What decides the numbers."""
    return {name: metadata.version(name) for name in ("tianshou", "torch")}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities, of SAC's policy."""
    torch.manual_seed(seed)
    policy = gaussian({"slope": 0.0, "bias": mean, "log_std": log_std})
    with policy_within_training_step(policy), torch.no_grad():
        found = policy(Batch(obs=np.zeros((count, 1), np.float32), info=Batch()))
    return {"action": found.act[:, 0].tolist(), "logp": found.log_prob[:, 0].tolist()}


def sac_update(**q: Any) -> Answer:
    """SAC's whole update."""
    torch.manual_seed(q["seed"])
    adam = AdamOptimizerFactory(lr=q["lr"])
    made = q["critics"] or np.random.default_rng(0).uniform(-1, 1, (2, 3)).tolist()
    alpha = q["alpha"]
    if q["learn_alpha"]:
        alpha = AutoAlpha(-1.0, float(np.log(alpha)), adam)
    algorithm = SAC(
        policy=gaussian(q["policy"]), policy_optim=adam, critic=Critic([made[0]]),
        critic_optim=adam, critic2=Critic([made[1]]), tau=q["polyak"],
        gamma=q["discount"], alpha=alpha,
    )  # fmt: skip
    if q["critics"] is not None:
        aim(algorithm, q["targets"])
    buffer = stored([q["row"]], q["count"])
    trail, answer = [weights(algorithm)], {}
    for _ in range(q["steps"]):
        updated(algorithm, buffer)
        trail.append(weights(algorithm))
        answer = answer or gradients(algorithm)
    return answer | {"trail": trail}


def gradients(algorithm: Any) -> Answer:
    """Those of the first step."""
    mean = algorithm.policy.actor.mean.rows
    answer = {
        "critic_gradient": critic_gradient(algorithm),
        "actor_gradient": slope(algorithm.policy_optim, mean)[0][1],
    }
    if isinstance(algorithm.alpha, AutoAlpha):
        learned = algorithm.alpha
        answer["log_alpha_gradient"] = slope(learned._optim, learned._log_alpha)
    return answer


def cql(q: dict[str, Any], lagrange: bool, calibrated: bool = False) -> CQL:
    """Its CQL as the question wants it, without clipped gradients."""
    torch.manual_seed(q["seed"])
    adam = AdamOptimizerFactory(lr=SLOW)
    algorithm = CQL(
        policy=gaussian(q["policy"]), policy_optim=adam, alpha=q["alpha"],
        critic=Critic([q["critics"][0]]), critic2=Critic([q["critics"][1]]),
        critic_optim=adam, cql_alpha_lr=SLOW, cql_weight=q["weight"],
        gamma=q["discount"], with_lagrange=lagrange, max_grad_norm=1e9,
        lagrange_threshold=q["threshold"] or 0.0, num_repeat_actions=q["samples"],
        calibrated=calibrated,
    )  # fmt: skip
    aim(algorithm, q["targets"])
    algorithm.cql_log_alpha.data.fill_(float(np.log(q["factor"])))
    return algorithm


def penalty(q: dict[str, Any], buffer: ReplayBuffer, calibrated: bool) -> float:
    """Both critics' losses; their squared errors are 0 where the gap is asked for."""
    told = updated(cql(q, False, calibrated), buffer)
    return (told.critic1_loss + told.critic2_loss) / q["weight"]


def cql_update(**q: Any) -> Answer:
    """CQL's whole update; the gap is that of the same update without a threshold."""
    buffer, lagrange = stored(q["rows"], q["count"]), q["threshold"] is not None
    algorithm = cql(q, lagrange)
    updated(algorithm, buffer)
    answer = {
        "gap": penalty(q, buffer, False),
        "critic_gradient": critic_gradient(algorithm),
    }
    if lagrange:
        learned = slope(algorithm.cql_alpha_optim, algorithm.cql_log_alpha)
        answer["factor_gradient"] = learned[0]
    return answer


def calql_update(floor: float, **q: Any) -> Answer:
    """The gap with `calibrated`, the data's return being `floor`."""
    buffer = stored(q["rows"], q["count"], calibration_returns=floor)
    return {"gap": penalty(q, buffer, True)}


def gap_actions(policy: Any, samples: int, seed: int) -> Answer:
    """Every action at which the first critic is asked for its value."""
    algorithm = cql(toolbox.cql(policy=policy, samples=samples, seed=seed), False)
    algorithm.critic.kept = []
    updated(algorithm, stored([toolbox.ROW], 1))
    return {"action": torch.cat(algorithm.critic.kept).tolist()}


def discrete_sac(logits: list[float], made: Any, targets: Any, alpha: float) -> Any:
    """After an update on a row whose reward is 0, with γ = 1."""
    adam = AdamOptimizerFactory(lr=SLOW)
    policy = DiscreteSACPolicy(
        actor=Actor([[0.0, x] for x in logits]),
        action_space=gymnasium.spaces.Discrete(len(logits)),
    )
    first, second = (Critic([[0.0, x] for x in row]) for row in made)
    algorithm = DiscreteSAC(
        policy=policy, policy_optim=adam, critic=first, critic2=second,
        critic_optim=adam, gamma=1.0, alpha=alpha,
    )  # fmt: skip
    aim(algorithm, [[[0.0, x] for x in row] for row in targets])
    updated(algorithm, stored([toolbox.ROW], 1, act=0))
    return algorithm


def discrete_update(
    logits: list[float], q: list[list[float]], alpha: float
) -> Answer:  # fmt: skip
    """Discrete SAC's value (its target for γ = 1) and its actor's gradient."""
    told = discrete_sac(logits, [[0.0] * 3, [10.0] * 3], q, alpha)
    first = slope(told.critic_optim, told.critic.rows)[0][1]
    second = slope(told.critic2_optim, told.critic2.rows)[0][1]
    algorithm = discrete_sac(logits, q, q, alpha)
    actor = slope(algorithm.policy_optim, algorithm.policy.actor.mean.rows)
    return {
        "value": -10.0 * first / (second - first),
        "actor_gradient": [row[1] for row in actor],
    }


def discrete_gap(q: list[float], action: int) -> Answer:
    """Discrete CQL's gap in one state."""
    policy = QRDQNPolicy(
        model=Quantiles([[0.0, x] for x in q]),
        action_space=gymnasium.spaces.Discrete(len(q)),
    )
    adam = AdamOptimizerFactory(lr=SLOW)
    algorithm = DiscreteCQL(policy=policy, optim=adam, num_quantiles=2)
    told = updated(algorithm, stored([toolbox.ROW], 1, act=action))
    return {"gap": told.cql_loss}


def td3_bc_gradient(
    bias: float, action: float, critic: list[float], weight: float
) -> Answer:
    """Of the actor's constant, before the tanh."""
    adam = AdamOptimizerFactory(lr=SLOW)
    policy = ContinuousDeterministicPolicy(
        actor=Squashed([[0.0, bias]]), action_space=BOX
    )
    algorithm = TD3BC(
        policy=policy, policy_optim=adam, critic=Critic([critic]), critic_optim=adam,
        alpha=weight,
    )  # fmt: skip
    row = toolbox.ROW | {"action": action, "terminated": True}
    updated(algorithm, stored([row], 4))
    return {
        "actor_gradient": slope(algorithm.policy_optim, policy.actor.mean.rows)[0][1]
    }


def collected(ending: str, length: int) -> Answer:
    """What its collector puts into the buffer."""
    buffer = ReplayBuffer(6)
    collector = Collector(gaussian(toolbox.POLICY), Blink(ending, length), buffer)
    collector.collect(n_step=6, reset_before_collect=True)
    data = buffer[:6]
    return {"rows": rows(data.obs, data.obs_next, data.terminated)}
