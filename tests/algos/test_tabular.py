"""Agents' fixed points against the exact solution of the same table."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tables

from softq import tabular
from softq.algos import sac_discrete, soft_dqn

DISCOUNT, ALPHA = 0.9, 0.2


def dyadic(seed: int) -> tabular.MDP:
    """A random table whose probabilities are quarters; some outcomes terminate."""
    rng = np.random.default_rng(seed)
    next_state = rng.integers(0, 6, (6, 3, 3))
    prob = np.tile([0.5, 0.25, 0.25], (6, 3, 1))
    ends = rng.random((6, 3, 3)) < 0.2
    return tabular.table(next_state, prob, ends, rng.normal(size=(6, 3)), DISCOUNT)


MDPS = {
    "chain": tabular.chain(5, DISCOUNT, slip=0.25),
    "map": tabular.from_map("S.G\n.#.\n...", DISCOUNT, slip=0.5, step_cost=0.3),
    "random": dyadic(0),
}


CONFIGS = {
    sac_discrete: {"lr": 1e-3, "polyak": 0.02},
    soft_dqn: {"lr": 1e-3, "target_period": 25},
}


@pytest.mark.parametrize("name", MDPS)
@pytest.mark.parametrize("algo", CONFIGS, ids=lambda algo: algo.__name__)
def test_a_discrete_agent_finds_the_exact_solution(algo: Any, name: str) -> None:
    mdp = MDPS[name]
    cfg = algo.Config(discount=DISCOUNT, alpha=ALPHA, hidden=(64,), **CONFIGS[algo])
    batch = tables.exhaust(mdp, 4)
    state = tables.learned(algo, cfg, mdp, batch, 4_000)
    exact = tabular.soft_policy_iteration(mdp, ALPHA, 1e-9)
    q = tables.q_table(algo, cfg, state, mdp)
    # A goal is left too, as an agent would be that starts in it.
    assert np.abs(q - exact.q).max() <= 0.02 * np.ptp(exact.q)
    obs = jnp.eye(len(q), dtype=jnp.float32)
    log_p = np.asarray(algo.log_policy(state, obs, cfg), np.float64)
    log_best = np.log(exact.policy)
    divergence = (np.exp(log_p) * (log_p - log_best)).sum(-1)
    assert divergence.max() <= 0.01
