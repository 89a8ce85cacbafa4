"""Sampled episodes of many agents at once, in an environment that lives on the device.

Compiled whole: agents along one axis, episodes along the other, steps in a `scan`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from softq.algos import Algorithm
from softq.envs.jax_env import JaxEnv
from softq.types import Key, cast_knobs


class Episodes(NamedTuple):
    """Arrays (seeds, episodes, …)."""

    states: Any  # horizon + 1 of them; after its end one stays where it was
    returns: np.ndarray  # undiscounted


def play(
    algo: Algorithm, cfg: Any, env: JaxEnv, agents: Any, episodes: int, seed: int = 1,
    explore: bool = True,
) -> Episodes:  # fmt: skip
    """`episodes` of every agent, the same starts and noise for each."""
    keys = jax.random.split(jax.random.key(seed), episodes)
    found = _play(algo, env, explore, cast_knobs(cfg), agents, keys)
    return Episodes(*jax.tree.map(np.asarray, found))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _play(
    algo: Algorithm, env: JaxEnv, explore: bool, cfg: Any, agents: Any, keys: Array
) -> Any:
    def episode(agent: Any, key: Key) -> Any:
        start_key, steps_key = jax.random.split(key)

        def step(carry: Any, key: Key) -> Any:
            state, over, total = carry
            act_key, world_key = jax.random.split(key)
            obs = env.observe(state)[None]
            action = algo.act(act_key, agent, obs, cfg, explore)[0]
            after, reward, ended = env.step(world_key, state, action)
            after = jax.tree.map(partial(jnp.where, over), state, after)
            total = total + jnp.where(over, 0.0, reward)
            return (after, over | ended, total), after

        first = env.reset(start_key)
        carry = first, jnp.zeros((), bool), jnp.zeros(())
        keys = jax.random.split(steps_key, env.horizon)
        (_, _, total), states = jax.lax.scan(step, carry, keys)
        path = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, states)
        return path, total

    return jax.vmap(jax.vmap(episode, (None, 0)), (0, None))(agents, keys)
