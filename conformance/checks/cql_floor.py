"""Cal-QL's floor lies under the policy's actions alone, before their weights

Claim: max(Q(s, a), return of the data) for the two families that the policy drew, not
for the uniform one, and before the importance weights (Nakamoto et al. 2023, eq. 5.1).

Oracle: with Q = 2a and a floor of 1 the estimate tends to log of ⅓ ∫ exp Q + ⅔ ∫ exp
max(Q, 1) = 1.70, both in closed form. A floor under the uniform actions as well gives
1.86; one under the weighted values 1.53; none 1.29.
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.checks import cql_integral
from conformance.toolbox import Answer, Numbers

QUANTITY = "calql_update"
AFTER = "cql_integral"
FLOOR = 1.0
QUESTIONS = [
    toolbox.cql(critics=cql_integral.CRITICS, rows=[cql_integral.ROW])
    | {"floor": FLOOR}
]
TOLERANCE = 0.03  # as in `cql_integral`
measure = cql_integral.measure


def integral(shares: Any) -> float:
    """log ∫ exp of Q and of the floored Q, in these shares; two critics."""
    plain = np.sinh(2.0)
    lifted = 1.5 * np.e + (np.exp(2.0) - np.e) / 2.0
    return 2.0 * np.log(shares[0] * plain + shares[1] * lifted)


def oracle() -> Numbers:
    return [integral((1 / 3, 2 / 3))]


def unnormalised() -> Numbers:
    return [oracle()[0] + 2.0 * np.log(3 * QUESTIONS[0]["samples"])]


VARIANTS = {"without log 3N": unnormalised}


def weighted(**question: Any) -> Answer:
    action, log_mu, _ = toolbox.proposals(
        question | {"samples": 50_000}, cql_integral.ROW
    )
    score = np.maximum(2.0 * action - log_mu, FLOOR)
    return {"gap": 2.0 * (toolbox.log_sum_exp(score) - np.log(len(action)))}


BROKEN = {
    "under the uniform actions too": lambda **question: {"gap": integral((0, 1))},
    "no floor": lambda **question: {"gap": integral((1, 0))},
    "under the weighted values": weighted,
}
