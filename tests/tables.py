"""Deep agents on tables: the whole table as one batch, and what they make of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softq.tabular import MDP
from softq.types import Batch, Spec, cast_knobs


def exhaust(mdp: MDP, copies: int) -> Batch:
    """Every pair `copies` times, its outcomes as often as they are likely.

    Observations are one-hot. Every probability must be a multiple of 1/copies, so that
    the batch's mean is the expectation itself.
    """
    rows: list[tuple[int, int, int, bool]] = []
    for s, a, k in np.ndindex(*mdp.prob.shape):
        count = copies * mdp.prob[s, a, k]
        assert count == round(count), "a probability is no multiple of 1/copies"
        outcome = s, a, int(mdp.next_state[s, a, k]), bool(mdp.terminated[s, a, k])
        rows += [outcome] * round(count)
    s, a, t, ended = (np.array(column) for column in zip(*rows, strict=True))
    one_hot = np.eye(len(mdp.reward), dtype=np.float32)
    reward = mdp.reward[s, a].astype(np.float32)
    columns = one_hot[s], a.astype(np.int32), reward, one_hot[t], ended
    return Batch(*(jnp.asarray(column) for column in columns))


def learned(algo: Any, cfg: Any, mdp: MDP, batch: Batch, updates: int) -> Any:
    """The agent's state after so many updates on the same batch."""
    states, actions = mdp.reward.shape
    spec, cfg = Spec((states,), num_actions=actions), cast_knobs(cfg)
    start = algo.init(jax.random.key(0), spec, cfg)

    def step(state: Any, key: Any) -> Any:
        return algo.update(key, state, batch, cfg)[0], None

    keys = jax.random.split(jax.random.key(1), updates)
    return jax.jit(lambda s: jax.lax.scan(step, s, keys)[0])(start)


def q_table(algo: Any, cfg: Any, state: Any, mdp: MDP) -> np.ndarray:
    """What the agent thinks of every pair, (S, A)."""
    states, actions = mdp.reward.shape
    s, a = (x.ravel() for x in np.indices((states, actions), np.int32))
    obs = jnp.eye(states, dtype=jnp.float32)[s]
    q = algo.value(state, obs, jnp.asarray(a), cast_knobs(cfg))
    return np.asarray(q).reshape(states, actions)
