"""SBX's side of the checks: its SAC, driven through `train`."""

from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_probability.substrates.jax as tfp
from sbx import SAC
from sbx.common.distributions import TanhTransformedDistribution
from stable_baselines3.common.logger import Logger

from conformance.blink import Blink, rows, store

Answer = dict[str, Any]
BETA1 = 0.9  # optax's Adam's


def versions() -> dict[str, str]:
    """What decides the numbers."""
    names = ("sbx-rl", "stable_baselines3", "jax", "flax", "optax", "tfp-nightly")
    return {name: metadata.version(name) for name in names}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities, of its policy's distribution."""
    normal = tfp.distributions.MultivariateNormalDiag(
        loc=jnp.full((count, 1), mean), scale_diag=jnp.full((count, 1), np.exp(log_std))
    )
    law = TanhTransformedDistribution(normal)
    action = law.sample(seed=jax.random.key(seed))
    return {"action": action[:, 0].tolist(), "logp": law.log_prob(action).tolist()}


def agent(q: dict[str, Any], count: int) -> SAC:
    """A SAC without hidden layers, whose weights are those of the question."""
    alpha = f"auto_{q['alpha']}" if q["learn_alpha"] else q["alpha"]
    model = SAC(
        "MlpPolicy", Blink(), learning_rate=q["lr"], batch_size=count, tau=q["polyak"],
        gamma=q["discount"], ent_coef=alpha, buffer_size=count, learning_starts=0,
        seed=q["seed"], policy_kwargs={"net_arch": []},
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    if q["critics"] is None:
        return model
    policy, state = q["policy"], model.policy
    rows = [[policy["slope"], policy["bias"]], [0.0, policy["log_std"]]]
    actor = {
        f"Dense_{i}": {"kernel": jnp.float32([[row[0]]]), "bias": jnp.float32(row[1:])}
        for i, row in enumerate(rows)
    }
    actor = {"params": actor}
    same(actor, state.actor_state.params)
    state.actor_state = state.actor_state.replace(params=actor)
    critics, targets = critics_of(q["critics"]), critics_of(q["targets"])
    same(critics, state.qf_state.params)
    state.qf_state = state.qf_state.replace(params=critics, target_params=targets)
    return model


def critics_of(rows: list[list[float]]) -> Any:
    """Parameters of linear critics."""
    kernel = jnp.float32([[[row[0]], [row[1]]] for row in rows])
    dense = {"kernel": kernel, "bias": jnp.float32([[row[2]] for row in rows])}
    return {"params": {"VmapContinuousCritic_0": {"Dense_0": dense}}}


def same(made: Any, found: Any) -> None:
    """Refuses parameters that are not laid out as the library's."""
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (made, found)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"its parameters are {shapes[1]}")


def slope(state: Any) -> Any:
    """The gradient of the first step, from Adam's first moment."""
    moments = [
        leaf.mu
        for leaf in jax.tree.leaves(state.opt_state, is_leaf=lambda x: hasattr(x, "mu"))
        if hasattr(leaf, "mu")
    ]
    return jax.tree.map(lambda m: np.asarray(m) / (1.0 - BETA1), moments[0])


def weights(model: SAC) -> tuple[list[float], list[float]]:
    """Of critics and targets, in one row each."""
    state = model.policy.qf_state
    return tuple(
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).tolist()
        for tree in (state.params, state.target_params)
    )


def sac_update(**question: Any) -> Answer:
    """Its `train`, one gradient step at a time."""
    count = question["count"]
    model = agent(question, count)
    store(model, question["row"], count)
    trail, answer = [weights(model)], {}
    for _ in range(question["steps"]):
        model.train(1, count)
        trail.append(weights(model))
        answer = answer or gradients(model)
    return answer | {"trail": trail}


def gradients(model: SAC) -> Answer:
    """Those of the first step."""
    critic = slope(model.policy.qf_state)["params"]["VmapContinuousCritic_0"]["Dense_0"]
    actor = slope(model.policy.actor_state)["params"]
    learned = jax.tree.leaves(slope(model.ent_coef_state))
    return {
        "critic_gradient": [
            [*np.ravel(kernel).tolist(), float(bias[0])]
            for kernel, bias in zip(critic["kernel"], critic["bias"], strict=True)
        ],
        "actor_gradient": float(actor["Dense_0"]["bias"][0]),
        "log_alpha_gradient": float(np.ravel(learned[0])[0]) if learned else None,
    }


def collected(ending: str, length: int) -> Answer:
    """What `learn` puts into its replay buffer."""
    model = SAC("MlpPolicy", Blink(ending, length), learning_starts=100, buffer_size=6)
    model.learn(6)
    data = model.replay_buffer._get_samples(np.arange(6))
    return {"rows": rows(data.observations, data.next_observations, data.dones)}
