"""d3rlpy's side of the checks: its algorithms, built small and updated."""

from importlib import metadata
from typing import Any

import d3rlpy
import numpy as np
import structlog
import torch
from d3rlpy.dataset import MDPDataset
from d3rlpy.models.torch.distributions import SquashedGaussianDistribution
from d3rlpy.torch_utility import TorchMiniBatch

from conformance import toolbox
from conformance.blink import Blink
from conformance.tiny.d3rlpy import (
    actor_gradient,
    batch,
    build,
    critic_gradient,
    critics,
    encoder,
    fill,
    flat,
    linears,
    of_parameter,
    slope,
    wire,
)

Answer = dict[str, Any]
UNNORMALISED = (
    "without log 3N", "the authors' form: under a fixed weight the gradient is the "
    "same, and its `alpha_threshold` is meant for it",
)  # fmt: skip
DIFFERS = {
    "sac_temperature": (
        "not in the logarithm", "the paper's eq. 18 in α = exp(log α): same sign and "
        "fixed point, α times the speed",
    ),
    "cql_integral": UNNORMALISED,
    "cql_next_density": UNNORMALISED,
    "cql_floor": UNNORMALISED,
    "cql_dual": (
        "the target inside the weight", "weight · α' (gap − τ): another unit of τ",
    ),
    "cql_backup": (
        "the greedy action", "bootstraps from tanh of the policy's mean where "
        "`soft_q_backup` and `max_q_backup` are off",
    ),
}  # fmt: skip
# What its source says where a check fails.
READ = {
    "data_one_step": "The writer's `clip_episode` returns at once where the open "
    "episode has no transition yet, as after its first step: the next episode is then "
    "appended to it. Where every episode has two steps or more nothing is joined "
    "(`data_final`).",
}
# Its logger tells of every algorithm that is built: standard output is for answers.
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


def versions() -> dict[str, str]:
    """What decides the numbers."""
    return {name: metadata.version(name) for name in ("d3rlpy", "torch")}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities."""
    d3rlpy.seed(seed)
    std = torch.full((count, 1), float(np.exp(log_std)))
    law = SquashedGaussianDistribution(torch.full((count, 1), mean), std)
    action, logp = law.sample_with_log_prob()
    return {"action": action[:, 0].tolist(), "logp": logp[:, 0].tolist()}


def sac_update(**q: Any) -> Answer:
    """SAC's whole update. A time limit is no field of its batches."""
    d3rlpy.seed(q["seed"])
    agent = build(
        d3rlpy.algos.SACConfig(
            gamma=q["discount"], tau=q["polyak"], initial_temperature=q["alpha"],
            actor_learning_rate=q["lr"], critic_learning_rate=q["lr"],
            temp_learning_rate=q["lr"] if q["learn_alpha"] else 0.0,
            actor_encoder_factory=encoder(2), critic_encoder_factory=encoder(4),
        )
    )  # fmt: skip
    if q["critics"] is not None:
        wire(agent, q)
    modules, answer = agent.impl.modules, {}
    trail = [(flat(modules.q_funcs), flat(modules.targ_q_funcs))]
    for _ in range(q["steps"]):
        agent.update(batch([q["row"]], q["count"]))
        trail.append((flat(modules.q_funcs), flat(modules.targ_q_funcs)))
        answer = answer or {
            "critic_gradient": critic_gradient(agent),
            "actor_gradient": actor_gradient(agent)[0],
            "log_alpha_gradient": of_parameter(modules.temp_optim, modules.log_temp),
        }
    return answer | {"trail": trail}


def cql_agent(kind: Any, q: dict[str, Any], threshold: float | None) -> Any:
    """A CQL or Cal-QL as the question wants it."""
    d3rlpy.seed(q["seed"])
    agent = build(
        kind(
            gamma=q["discount"], initial_temperature=q["alpha"], temp_learning_rate=0.0,
            actor_learning_rate=1e-6, critic_learning_rate=1e-6,
            alpha_learning_rate=0.0 if threshold is None else 1e-6,
            initial_alpha=q["factor"], alpha_threshold=threshold or 0.0,
            conservative_weight=q["weight"], n_action_samples=q["samples"],
            actor_encoder_factory=encoder(2), critic_encoder_factory=encoder(4),
        )
    )  # fmt: skip
    wire(agent, q)
    return agent


def conservative(kind: Any, q: dict[str, Any], returns: float) -> Answer:
    """An update; the gap is that of the same update without a threshold."""
    rows = batch(q["rows"], q["count"], returns)
    told = cql_agent(kind, q | {"factor": 1.0}, None).update(rows)
    agent = cql_agent(kind, q, q["threshold"])
    agent.update(rows)
    modules = agent.impl.modules
    return {
        "gap": told["conservative_loss"] / q["weight"],
        "critic_gradient": critic_gradient(agent),
        "factor_gradient": of_parameter(modules.alpha_optim, modules.log_alpha),
    }


def cql_update(**question: Any) -> Answer:
    """CQL's whole update."""
    return conservative(d3rlpy.algos.CQLConfig, question, 0.0)


def calql_update(floor: float, **question: Any) -> Answer:
    """Cal-QL's."""
    return conservative(d3rlpy.algos.CalQLConfig, question, floor)


def gap_actions(policy: Any, samples: int, seed: int) -> Answer:
    """Every action at which a critic is asked for its value in an update of CQL."""
    question = toolbox.cql(policy=policy, samples=samples, seed=seed)
    agent, seen = cql_agent(d3rlpy.algos.CQLConfig, question, None), []
    agent.impl.q_function[0].register_forward_pre_hook(
        lambda net, given: seen.append(given[1].detach().ravel())
    )
    agent.update(batch([toolbox.ROW], 1))
    return {"action": torch.cat(seen).tolist()}


def discrete_update(
    logits: list[float], q: list[list[float]], alpha: float
) -> Answer:  # fmt: skip
    """Discrete SAC's value of a state, and its actor's gradient."""
    agent = build(
        d3rlpy.algos.DiscreteSACConfig(
            initial_temperature=alpha, temp_learning_rate=0.0, n_critics=2,
            actor_learning_rate=1e-6, critic_learning_rate=1e-9,
            actor_encoder_factory=encoder(2), critic_encoder_factory=encoder(2),
        ),
        len(logits),
    )  # fmt: skip
    modules = agent.impl.modules
    fill(modules.policy, *([0.0, x] for x in logits))
    for nets in (modules.q_funcs, modules.targ_q_funcs):
        for net, row in zip(nets, q, strict=True):
            fill(net, *([0.0, x] for x in row))
    rows = batch([toolbox.ROW], 1)
    whole = TorchMiniBatch.from_batch(rows, 1.0, False, "cpu:0")
    value = agent.impl.compute_target(whole)
    agent.update(rows)
    return {"value": float(value), "actor_gradient": actor_gradient(agent)}


def discrete_gap(q: list[float], action: int) -> Answer:
    """Discrete CQL's gap in one state."""
    config = d3rlpy.algos.DiscreteCQLConfig(encoder_factory=encoder(2))
    agent = build(config, len(q))
    fill(agent.impl.q_function[0], *([0.0, x] for x in q))
    told = agent.update(batch([toolbox.ROW | {"action": action}], 1))
    return {"gap": told["conservative_loss"]}


def td3_bc_gradient(
    bias: float, action: float, critic: list[float], weight: float
) -> Answer:
    """Of the actor's constant, before the tanh."""
    agent = build(
        d3rlpy.algos.TD3PlusBCConfig(
            alpha=weight, update_actor_interval=1, actor_learning_rate=1e-6,
            critic_learning_rate=1e-6, actor_encoder_factory=encoder(2),
            critic_encoder_factory=encoder(4),
        )
    )  # fmt: skip
    fill(agent.impl.policy, [0.0, bias])
    critics(agent, [critic, critic], [critic, critic])
    agent.update(batch([toolbox.ROW | {"action": action, "terminated": True}], 4))
    return {"actor_gradient": actor_gradient(agent)[0]}


def iql_agent(q: float, v: float, **knobs: float) -> Any:
    """After an update whose Q' and V are these constants."""
    agent = build(
        d3rlpy.algos.IQLConfig(
            actor_learning_rate=1e-6, critic_learning_rate=1e-6,
            actor_encoder_factory=encoder(2), critic_encoder_factory=encoder(4),
            value_encoder_factory=encoder(2), **knobs,
        )
    )  # fmt: skip
    head = linears(agent.impl.policy)[1]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    fill(agent.impl.modules.value_func, [0.0, v])
    critics(agent, [[0.0, 0.0, q]] * 2, [[0.0, 0.0, q]] * 2)
    agent.update(batch([toolbox.ROW | {"action": 0.3}], 4))
    return agent


def iql_value_gradient(q: float, v: float, expectile: float) -> Answer:
    """Of V's constant."""
    agent = iql_agent(q, v, expectile=expectile)
    head = linears(agent.impl.modules.value_func)[-1]
    return {"gradient": float(slope(agent.impl.q_function_optim, head.bias)[0])}


def iql_actor_gradient(q: float, v: float, sharpness: float) -> Answer:
    """Of the policy's constant."""
    agent = iql_agent(q, v, weight_temp=sharpness)
    return {"gradient": actor_gradient(agent)[0]}


def read(buffer: Any) -> list[tuple[float, float, bool]]:
    """A buffer's transitions: observation, the next one, whether the world ended."""
    picked = [
        buffer.transition_picker(episode, index)
        for episode in buffer.episodes
        for index in range(episode.transition_count)
    ]
    return [
        (float(t.observation[0]), float(t.next_observation[0]), bool(t.terminal))
        for t in picked
    ]


def transitions(obs: Any, terminated: Any, truncated: Any) -> Answer:
    """What its MDPDataset makes of columns."""
    column = np.float32(obs)[:, None]
    action = np.random.default_rng(0).uniform(-1.0, 1.0, column.shape)
    data = MDPDataset(
        column, action.astype(np.float32), np.zeros(len(obs), np.float32),
        np.float32(terminated), np.float32(truncated),
    )  # fmt: skip
    return {"rows": read(data)}


def collected(ending: str, length: int) -> Answer:
    """What `fit_online` puts into its buffer."""
    env = Blink(ending, length)
    buffer = d3rlpy.dataset.create_fifo_replay_buffer(limit=100, env=env)
    d3rlpy.algos.SACConfig().create(device="cpu:0").fit_online(
        env, buffer, n_steps=6, n_steps_per_epoch=6, update_start_step=100,
        show_progress=False, logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )  # fmt: skip
    return {"rows": read(buffer)}
