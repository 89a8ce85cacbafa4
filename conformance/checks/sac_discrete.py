"""Discrete SAC's expectations are exact sums, also where a probability is 0

Claim: V(s') = Σ_a π(a|s') (min_i Q_i'(s', a) − α log π(a|s')), the minimum action by
action; and an action whose probability underflows adds 0, in value and in the actor's
gradient, never NaN.

Oracle: the sum in float64, 0 log 0 = 0; the actor's gradient with respect to the logits
in closed form, π_a (f_a − Σ π f), f = α log π − min_i Q_i. The second question has
logits 0, 30 and −200: exp(−230) is 0 in float32.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "discrete_update"
LOGITS = ([0.2, -0.5, 0.9], [0.0, 30.0, -200.0])
Q = [[1.0, 2.0, 0.5], [1.5, -1.0, 0.7]]
QUESTIONS = [{"logits": x, "q": Q, "alpha": 0.5} for x in LOGITS]
TOLERANCE = 1e-3  # exact up to float32's rounding


def measure(answers: Answers) -> Numbers:
    return np.concatenate([[a["value"], *a["actor_gradient"]] for a in answers])


def expected(logits: Any, q: Any, alpha: float) -> Numbers:
    """V, and the gradient, with q of one critic."""
    top = np.array(logits) - np.max(logits)
    log_p = top - np.log(np.sum(np.exp(top)))
    p, f = np.exp(log_p), alpha * log_p - q
    return [-np.sum(p * f), *(p * (f - np.sum(p * f)))]


def oracle() -> Numbers:
    return np.concatenate([expected(x, np.min(Q, axis=0), 0.5) for x in LOGITS])


def underflow(logits: Any, q: Any, alpha: float) -> Answer:
    top = np.exp(np.float32(logits) - np.float32(np.max(logits)))
    p = top / np.sum(top)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = alpha * np.log(p) - np.min(q, axis=0)
        return {"value": -np.sum(p * f), "actor_gradient": p * (f - np.sum(p * f))}


def mean_of_critics(logits: Any, q: Any, alpha: float) -> Answer:
    value, *slope = expected(logits, np.mean(q, axis=0), alpha)
    return {"value": value, "actor_gradient": slope}


BROKEN = {"p log p of a p that is 0": underflow, "the mean": mean_of_critics}
