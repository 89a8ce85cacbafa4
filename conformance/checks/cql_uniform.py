"""CQL's uniform proposals fill [-1, 1]

Claim: a third of the actions that the gap looks at is uniform on [-1, 1], in normalised
units (Kumar et al. 2020; the authors' code).

Oracle: the quantiles of the uniform law. The policy is so narrow, around a = 0.5, that
every action further than 0.02 from it is one of the uniform ones; so much of the law is
cut out. Actions in [0, 1] alone have their median at 0.5, all at one end no spread.
"""

from typing import Any

import numpy as np

from conformance.toolbox import Answer, Answers, Numbers

QUANTITY = "gap_actions"
POLICY = {"slope": 0.0, "bias": float(np.arctanh(0.5)), "log_std": -6.0}
QUESTIONS = [{"policy": POLICY, "samples": 4000, "seed": 0}]
LEVELS = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9])
# A quantile of 4,000 draws has a standard deviation of 0.016 at most; four times.
TOLERANCE = 0.065


def measure(answers: Answers) -> Numbers:
    action = np.asarray(answers[0]["action"])
    flat = action[np.abs(action - 0.5) > 0.02]
    flat = flat[flat != 0.0]  # the data's action
    return np.quantile(flat, LEVELS) if len(flat) else np.full(len(LEVELS), np.nan)


def oracle() -> Numbers:
    quantiles = -1.0 + 1.96 * LEVELS
    return quantiles + 0.04 * (quantiles > 0.48)


def half(policy: Any, samples: int, seed: int) -> Answer:
    return {"action": np.random.default_rng(seed).uniform(0.0, 1.0, samples)}


def end(policy: Any, samples: int, seed: int) -> Answer:
    return {"action": np.full(samples, -1.0)}


BROKEN = {"actions in [0, 1]": half, "all at one end": end}
