"""CQL bootstraps from sampled actions, without an entropy

Claim: y = r + γ E_{a' ~ π(·|s')}[min_i Q_i'(s', a')]: the paper's eq. 1 has no entropy
in its backup, and a' is a sample.

Oracle: quadrature, y told by two constant critics as in `sac_target`. Known variants:
the greedy action tanh μ in place of a sample (off by 0.6 here), and SAC's backup with
its entropy (off by 0.3).
"""

from typing import Any

import numpy as np

from conformance import toolbox
from conformance.checks.sac_target import answer, target_of
from conformance.toolbox import Answers, Numbers

QUANTITY = "cql_update"
POLICY = {"slope": 0.5, "bias": 0.1, "log_std": 0.0}
ROW = toolbox.ROW | {"reward": 0.7, "next_obs": 0.4}
TARGETS = [[0.5, 2.0, 1.0], [0.5, -2.0, 1.0]]
QUESTIONS = [
    toolbox.cql(
        policy=POLICY, rows=[ROW], targets=TARGETS,
        critics=[[0.0, 0.0, 0.0], [0.0, 0.0, 10.0]],
    )
]  # fmt: skip
# A standard deviation of 0.6, of 1,024 values: 0.02; four times.
TOLERANCE = 0.08


def measure(answers: Answers) -> Numbers:
    return [target_of(each["critic_gradient"]) for each in answers]


def backup(alpha: float) -> Numbers:
    def value(action: Any, logp: Any) -> Any:
        q = [toolbox.q_value(c, 0.4, action) for c in TARGETS]
        return np.min(q, axis=0) - alpha * logp

    return [0.7 + 0.9 * toolbox.expect(value, 0.3, 0.0)]


def oracle() -> Numbers:
    return backup(0.0)


def greedy() -> Numbers:
    return [0.7 + 0.9 * (1.2 - 2.0 * np.tanh(0.3))]


VARIANTS = {"the greedy action": greedy, "with SAC's entropy": lambda: backup(0.5)}
BROKEN = {
    "the larger critic": lambda **question: answer(0.7 + 0.9 * (2.4 - oracle()[0])),
    "the mean of the critics": lambda **question: answer(0.7 + 0.9 * 1.2),
}
