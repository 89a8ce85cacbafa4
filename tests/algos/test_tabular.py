"""Agents' fixed points against the exact solution of the same table."""

import jax.numpy as jnp
import numpy as np
import pytest
import tables

from softq import tabular
from softq.algos import sac_discrete

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


@pytest.mark.parametrize("name", MDPS)
def test_discrete_sac_finds_the_exact_solution(name: str) -> None:
    mdp = MDPS[name]
    cfg = sac_discrete.Config(
        lr=1e-3, discount=DISCOUNT, alpha=ALPHA, polyak=0.02, hidden=(64,)
    )
    batch = tables.exhaust(mdp, 4)
    state = tables.learned(sac_discrete, cfg, mdp, batch, 4_000)
    exact = tabular.soft_policy_iteration(mdp, ALPHA, 1e-9)
    q = tables.q_table(sac_discrete, cfg, state, mdp)
    # A goal is left too, as an agent would be that starts in it.
    assert np.abs(q - exact.q).max() <= 0.02 * np.ptp(exact.q)
    obs = jnp.eye(len(q), dtype=jnp.float32)
    log_p = np.asarray(sac_discrete.log_policy(state.actor, obs), np.float64)
    log_best = np.log(exact.policy)
    divergence = (np.exp(log_p) * (log_p - log_best)).sum(-1)
    assert divergence.max() <= 0.01
