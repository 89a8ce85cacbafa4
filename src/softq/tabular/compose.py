"""Composition: two soft optima made into a third, beside the exact one.

Haarnoja et al. 2018 (arXiv 1803.06773). The mean (Q₁ + Q₂)/2 stands for the reward
(r₁ + r₂)/2 at the same temperature α; the sum Q₁ + Q₂ for r₁ + r₂ at 2α, which is the
same policy: acting by the sum at α itself halves the effective temperature.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from softq.tabular.mdp import MDP
from softq.tabular.soft import Solution, evaluate, soft_policy_iteration
from softq.types import SoftqError


class Composed(NamedTuple):
    """The composed Q and its policy, and how far both are from the exact optimum.

    `gap` = q − Q* ≥ 0 (lemma 1): never less than the truth, for each part may hope for
    what the other forbids. `loss` = V* − V^π ≥ 0 of acting by the composed Q.
    """

    q: Float[np.ndarray, "s a"]
    policy: Float[np.ndarray, "s a"]
    optimum: Solution
    gap: Float[np.ndarray, "s a"]
    loss: Float[np.ndarray, " s"]


def compose(
    mdp: MDP,
    reward: Any,
    other: Any,
    alpha: float,
    how: Literal["mean", "sum"] = "mean",
    tol: float = 1e-10,
) -> Composed:
    """Solves the table for two rewards (S, A) apart, and for both together.

    Raises SoftqError for a temperature of 0, at which no mean of Q says what to do.
    """
    if alpha <= 0:
        raise SoftqError(f"composition needs a temperature above zero; found {alpha}")
    rewards = [np.asarray(r, np.float64) for r in (reward, other)]
    parts = [
        soft_policy_iteration(mdp._replace(reward=r), alpha, tol).q for r in rewards
    ]
    share, warmth = (0.5, alpha) if how == "mean" else (1.0, 2.0 * alpha)
    q = share * (parts[0] + parts[1])
    both = mdp._replace(reward=share * (rewards[0] + rewards[1]))
    optimum = soft_policy_iteration(both, warmth, tol)
    tilt = np.exp((q - q.max(-1, keepdims=True)) / warmth)
    policy = tilt / tilt.sum(-1, keepdims=True)
    loss = optimum.v - evaluate(both, policy, warmth).v
    return Composed(q, policy, optimum, q - optimum.q, loss)
