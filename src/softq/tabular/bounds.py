"""What no value of a table exceeds, and what float64 can certify of it."""

from typing import Any

import numpy as np

from softq.tabular.flow import Flow
from softq.tabular.mdp import MDP, continuation
from softq.tabular.policies import uniform
from softq.types import SoftqError

EPS = float(np.finfo(np.float64).eps)


def horizon(mdp: MDP) -> float:
    """N: 1/(1 − γ), or at γ = 1 the longest expected episode of any policy."""
    if mdp.discount < 1:
        return 1.0 / (1.0 - mdp.discount)
    flow, v, pi = Flow(mdp), np.zeros(len(mdp.reward)), uniform(mdp)
    ones = np.ones(len(v))
    while True:  # policy iteration on the number of steps; every policy is proper
        longer = flow.solve(pi, ones, v)
        if (longer <= v * (1 + 1e-12)).all():
            return float(v.max()) * (1 + 1e-9)
        v = np.maximum(longer, v)
        steps = (continuation(mdp) * v[mdp.next_state]).sum(-1)
        pi = np.eye(steps.shape[1])[steps.argmax(-1)]


def value_bound(mdp: MDP, alpha: float) -> float:
    """What no soft value exceeds, with c = max r + α log|A|.

    c/(1 − γ) where nothing terminates, max(c, c/(1 − γ)) where something does.
    """
    c = float(mdp.reward.max()) + alpha * np.log(mdp.reward.shape[1])
    bound = c * horizon(mdp)
    ends = (mdp.terminated & (mdp.prob > 0)).any()
    return max(c, bound) if ends else bound


def rounding(mdp: MDP, v: Any, steps: float) -> float:
    """4 · eps · max|Q| · N: what float64 may lose of a certified error."""
    top = float(np.max(np.abs(mdp.reward))) + float(np.max(np.abs(v)))
    return 4.0 * EPS * top * steps


def refuse_below(lost: float, tol: float) -> None:
    """Raises SoftqError where rounding alone exceeds the tolerance."""
    if not lost < tol:
        raise SoftqError(
            f"a true error of {tol:.1e} cannot be certified in float64: rounding alone "
            f"may cost {lost:.1e} here. Try a tol of {10 * lost:.0e}"
        )
