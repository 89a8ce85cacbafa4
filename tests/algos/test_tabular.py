"""Agents' fixed points against the exact solution of the same table."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tables

from softq import tabular
from softq.algos import cql_discrete, sac_discrete, soft_dqn
from softq.tabular import conservative
from softq.types import Batch

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


def recorded(mdp: tabular.MDP, n: int) -> tuple[tabular.Empirical, Batch]:
    """n transitions of an uneven behaviour, as a table and as a batch."""
    random = np.random.default_rng(1)
    states, actions = mdp.reward.shape
    state, uneven = random.integers(0, states, n), np.arange(1.0, actions + 1)
    action = random.choice(actions, n, p=uneven / uneven.sum())
    outcome = np.array([
        random.choice(mdp.prob.shape[2], p=mdp.prob[s, a])
        for s, a in zip(state, action, strict=True)
    ])  # fmt: skip
    at = state, action, outcome
    columns = state, action, mdp.reward[at[:2]], mdp.next_state[at], mdp.terminated[at]
    data = tabular.from_data(
        *columns, states=states, actions=actions, discount=mdp.discount
    )
    one_hot = jnp.eye(states, dtype=jnp.float32)
    _, _, reward, after, ended = columns
    batch = Batch(
        one_hot[state], jnp.asarray(action, jnp.int32),
        jnp.asarray(reward, jnp.float32), one_hot[after], jnp.asarray(ended),
    )  # fmt: skip
    return data, batch


@pytest.mark.parametrize("backup", ["max", "soft"])
@pytest.mark.parametrize("name", MDPS)
def test_discrete_cql_finds_the_exact_conservative_solution(
    name: str, backup: str
) -> None:
    data, batch = recorded(MDPS[name], 600)
    assert data.seen.all()
    cfg = cql_discrete.Config(
        discount=DISCOUNT, alpha=ALPHA, gap_weight=0.5, backup=backup, lr=1e-3,
        target_period=25, hidden=(64,),
    )  # fmt: skip
    state = tables.learned(cql_discrete, cfg, data.mdp, batch, 4_000)
    exact, _, error = conservative.cql(
        data.mdp, data.behaviour, 0.5, backup=backup, alpha=ALPHA
    )
    assert error < 1e-6
    q = tables.q_table(cql_discrete, cfg, state, data.mdp)
    assert np.abs(q - exact).max() <= 0.02 * np.ptp(exact)
    plain, *_ = conservative.cql(
        data.mdp, data.behaviour, 0.0, backup=backup, alpha=ALPHA
    )
    assert np.abs(plain - exact).max() > 0.1 * np.ptp(exact)
