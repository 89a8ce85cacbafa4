"""CQL's third family is weighed by what it was drawn from

Claim: an action a' ~ π(·|s') has the log density log π(a'|s'), though its Q is asked
for at s: with log π(a'|s) the weights are those of another law.

Oracle: as in `cql_integral`, 2 log sinh 2, with the policy's middle at u = −1.5 in s
and at 1.5 in s'. With the density of the wrong state the estimate is 0.7 too large for
each critic.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.checks import cql_integral
from conformance.toolbox import Answer

QUANTITY = "cql_update"
AFTER = "cql_integral"
POLICY = {"slope": 3.0, "bias": -1.5, "log_std": 0.5}
ROW = toolbox.ROW | {"next_obs": 1.0, "terminated": True}
QUESTIONS = [toolbox.cql(policy=POLICY, critics=cql_integral.CRITICS, rows=[ROW])]
# The weights are wider than in `cql_integral`: their middles are off the box's.
TOLERANCE = 0.12
measure, oracle = cql_integral.measure, cql_integral.oracle
VARIANTS = cql_integral.VARIANTS


def other_state(**question: Any) -> Answer:
    gaps = []
    for seed in range(question["count"]):
        action, log_mu, _ = toolbox.proposals(question | {"seed": seed}, ROW)
        there = slice(-question["samples"], None)
        log_mu[there] = toolbox.log_density(action[there], -1.5, POLICY["log_std"])
        value = toolbox.log_sum_exp(2.0 * action - log_mu) - np.log(len(action))
        gaps.append(value)
    return {"gap": 2.0 * np.mean(gaps)}


BROKEN = {"log π(a'|s)": other_state}
