"""Policies of a table as arrays (S, A): checked, uniform, and what they earn."""

from typing import Any

import numpy as np
from jaxtyping import Float

from softq.tabular.mdp import MDP
from softq.types import SoftqError


def check_alpha(alpha: float) -> None:
    """Raises SoftqError unless a temperature is a number of zero or more."""
    if not 0 <= alpha < np.inf:
        raise SoftqError(f"a temperature must be zero or more; found {alpha}")


def check_policy(mdp: MDP, policy: Any) -> Float[np.ndarray, "s a"]:
    """A policy or prior as float64; raises SoftqError where its rows are none."""
    pi, shape = np.asarray(policy, np.float64), mdp.reward.shape
    if pi.shape != shape:
        raise SoftqError(f"a policy of this table has shape {shape}; found {pi.shape}")
    sums = pi.sum(-1)
    bad = (abs(sums - 1) > 1e-6) | ~(pi >= 0).all(-1)
    if bad.any():
        s = int(np.argmax(bad))
        raise SoftqError(f"the policy's row of state {s} is no distribution: {pi[s]}")
    return pi


def uniform(mdp: MDP) -> Float[np.ndarray, "s a"]:
    """The policy that knows nothing."""
    return np.full(mdp.reward.shape, 1.0 / mdp.reward.shape[1])


def earned(mdp: MDP, pi: np.ndarray, alpha: float, prior: Any) -> np.ndarray:
    """Expected reward plus α · entropy of a step in each state."""
    return (pi * mdp.reward).sum(-1) + alpha * nats(pi, prior)


def nats(pi: np.ndarray, prior: Any) -> np.ndarray:
    """H(π(·|s)), or −KL(π ‖ prior); 0 log 0 counts as 0."""
    base = np.ones_like(pi) if prior is None else np.asarray(prior, np.float64)
    if ((pi > 0) & (base == 0)).any():
        s, a = np.argwhere((pi > 0) & (base == 0))[0]
        raise SoftqError(f"the policy takes action {a} in state {s}; the prior never")
    ratio = np.where(pi > 0, pi, 1.0) / np.where(pi > 0, base, 1.0)
    return -(pi * np.log(ratio)).sum(-1)
