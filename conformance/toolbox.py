"""What checks share: integrals by quadrature, the squashed Gaussian, random draws.

numpy alone, and nothing of any library: these are oracles.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Numbers = Any  # what numpy makes an array of
Answer = dict[str, Any]
Answers = list[Answer]
NODES = np.linspace(-9.0, 9.0, 4001)  # of a standard normal, far into its tails
WEIGHTS = np.exp(-0.5 * NODES**2) / np.sqrt(2.0 * np.pi) * (NODES[1] - NODES[0])


def log_slope(u: Array) -> Array:
    """log(1 − tanh² u) = −2 log cosh u, for every u."""
    size = np.abs(u)
    return -2.0 * (size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0))


def expect(f: Callable[[Array, Array], Array], mean: float, log_std: float) -> float:
    """E[f(a, log π(a))] over a = tanh(u), u ~ N(mean, exp(log_std)²), by quadrature."""
    u = mean + np.exp(log_std) * NODES
    logp = -0.5 * NODES**2 - 0.5 * np.log(2.0 * np.pi) - log_std - log_slope(u)
    return float(np.sum(WEIGHTS * f(np.tanh(u), logp)))


def entropy(mean: float, log_std: float) -> float:
    """H of the squashed Gaussian in nats."""
    return -expect(lambda a, logp: logp, mean, log_std)


def log_density(action: Array, mean: float, log_std: float) -> Array:
    """log π(a) of the squashed Gaussian."""
    u = np.arctanh(action)
    noise = (u - mean) * np.exp(-log_std)
    normal = -0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi)
    return normal - log_slope(u)


def draw(
    rng: np.random.Generator, mean: float, log_std: float, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Actions and their log densities, of the squashed Gaussian."""
    noise = rng.standard_normal(shape)
    u = mean + np.exp(log_std) * noise
    normal = -0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi)
    return np.tanh(u), normal - log_slope(u)


def log_sum_exp(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """log Σ exp x along an axis."""
    top = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))


def softmax(x: Array) -> Array:
    """Along the last axis."""
    weight = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return weight / np.sum(weight, axis=-1, keepdims=True)


def mean_slope(f: Callable[[float], float], at: float, step: float = 1e-4) -> float:
    """df/dx, by a central difference."""
    return (f(at + step) - f(at - step)) / (2.0 * step)


# What a tiny agent is asked. One observation and one action, both single numbers; the
# policy is tanh N(slope · obs + bias, exp(log_std)²), a critic c_obs · obs + c_action ·
# action + c: its three numbers, in this order.
ZERO = [0.0, 0.0, 0.0]
POLICY = {"slope": 0.0, "bias": 0.0, "log_std": 0.0}
ROW = {"obs": 0.0, "action": 0.0, "reward": 0.0, "next_obs": 0.0,
       "terminated": False, "truncated": False}  # fmt: skip


def sac(**changes: Any) -> dict[str, Any]:
    """Arguments of `sac_update`: `count` copies of a row, the target entropy −1.

    The answer holds, of the first step, `critic_gradient` (three numbers a critic),
    `actor_gradient` (of the policy's bias) and `log_alpha_gradient`; and `trail`, the
    weights of critics and targets before and after every step. Critics and targets of
    None are left as the library makes them. Adam's first moment tells a gradient.
    """
    usual: dict[str, Any] = {
        "policy": POLICY, "critics": [ZERO, ZERO], "targets": [ZERO, ZERO], "row": ROW,
        "alpha": 0.5, "learn_alpha": False, "discount": 0.9, "polyak": 0.1, "lr": 1e-6,
        "steps": 1, "count": 4096, "seed": 0,
    }  # fmt: skip
    return usual | changes


def cql(**changes: Any) -> dict[str, Any]:
    """Arguments of `cql_update`: `count` copies of the rows, N = `samples` a source.

    The answer holds `gap` (summed over both critics, without its weight),
    `critic_gradient`, and where a `threshold` is given `factor_gradient`, that of
    log α', which is log `factor` before the update. The policy's temperature is fixed.
    """
    usual: dict[str, Any] = {
        "policy": POLICY | {"log_std": 0.5}, "critics": [ZERO, ZERO],
        "targets": [ZERO, ZERO], "rows": [ROW], "samples": 32, "weight": 5.0,
        "threshold": None, "factor": 1.0, "alpha": 0.5, "discount": 0.9,
        "count": 1024, "seed": 0,
    }  # fmt: skip
    return usual | changes


def proposals(
    question: dict[str, Any], row: dict[str, Any]
) -> tuple[Array, Array, Array]:
    """CQL(H)'s 3N actions in one row, log densities and the state each is scored at."""
    rng, n = np.random.default_rng(question["seed"]), question["samples"]
    policy, after = question["policy"], row["next_obs"]
    flat = rng.uniform(-1.0, 1.0, n), np.full(n, -np.log(2.0))
    here, there = (
        draw(rng, policy["slope"] * s + policy["bias"], policy["log_std"], (n,))
        for s in (row["obs"], after)
    )
    action, log_mu = (np.concatenate(x) for x in zip(flat, here, there, strict=True))
    return action, log_mu, np.full(3 * n, row["obs"])


def q_value(critic: list[float], obs: Array | float, action: Array) -> Array:
    """A linear critic."""
    return critic[0] * obs + critic[1] * action + critic[2]


# A linear function through one hidden layer of ReLUs, for libraries that must have one:
# x = relu(x) − relu(−x), so that k inputs need 2k units.
def both_signs(inputs: int) -> Array:
    """Weights (k, 2k) of the hidden layer."""
    return np.kron(np.eye(inputs), [[1.0, -1.0]]).astype(np.float32)


def spread(coefficients: list[float]) -> Array:
    """Weights (2k,) of the output layer, of k coefficients."""
    return np.kron(coefficients, [1.0, -1.0]).astype(np.float32)


def folded(weights: Array) -> list[float]:
    """The gradient of k coefficients, from that of the output layer's 2k weights."""
    pairs = np.asarray(weights, np.float64).reshape(-1, 2)
    return (pairs[:, 0] - pairs[:, 1]).tolist()
