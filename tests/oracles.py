"""Answers known without softq: closed forms and quadrature in float64 or better.

Everything here is written from the definitions, in numpy, scipy or decimal, and is
slow and plain on purpose: a test compares softq with it, so it must share nothing.
"""

import decimal
import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy import special, stats


def numeric_gradient(
    fn: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Central differences of a scalar function, one coordinate at a time."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (fn(up) - fn(down)) / (2.0 * step)
    return gradient


def box_grid(dim: int, panels: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, dim) and weights (n,) of Gauss-Legendre panels over [-1, 1]^dim."""
    node, weight = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(-1.0, 1.0, panels + 1)
    half = 0.5 * np.diff(edges)[:, None]
    centre = 0.5 * (edges[1:] + edges[:-1])[:, None]
    line, mass = (centre + half * node).ravel(), (half * weight).ravel()
    nodes = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
    masses = np.stack(np.meshgrid(*[mass] * dim, indexing="ij"), -1).reshape(-1, dim)
    return nodes, masses.prod(-1)


# The squashed Gaussian.


def log_sech2(u: np.ndarray) -> np.ndarray:
    """log(1 − tanh² u) from the definition, with 120 digits so nothing cancels."""

    def one(x: float) -> float:
        up, down = decimal.Decimal(x).exp(), (-decimal.Decimal(x)).exp()
        tanh = (up - down) / (up + down)
        return float((1 - tanh * tanh).ln())

    with decimal.localcontext(decimal.Context(prec=120)):
        flat = [one(float(x)) for x in np.ravel(u)]
    return np.array(flat, np.float64).reshape(np.shape(u))


def tanh_normal_log_prob(
    u: np.ndarray, mean: np.ndarray, log_std: np.ndarray
) -> np.ndarray:
    """log density of a = tanh(u): that of u, over the derivative of tanh."""
    u, mean, log_std = (np.asarray(x, np.float64) for x in (u, mean, log_std))
    normal = stats.norm.logpdf(u, loc=mean, scale=np.exp(log_std))
    return (normal - log_sech2(u)).sum(-1)


def tanh_normal_entropy(mean: np.ndarray, log_std: np.ndarray) -> float:
    """H = Σ (H of the normal + E log(1 − tanh² u)), by the trapezoid rule in u."""
    total = 0.0
    z = np.linspace(-12.0, 12.0, 4001)
    for m, s in zip(np.ravel(mean), np.ravel(log_std), strict=True):
        u = np.abs(m + math.exp(s) * z)
        derivative = math.log(4.0) - 2.0 * u - 2.0 * np.log1p(np.exp(-2.0 * u))
        total += stats.norm.entropy(scale=math.exp(s))
        total += np.trapezoid(stats.norm.pdf(z) * derivative, z)
    return float(total)


# Soft operators over the last axis, for alpha > 0.


def soft_value(q: np.ndarray, alpha: float) -> np.ndarray:
    scaled = np.asarray(q, np.longdouble) / alpha
    return np.float64(alpha * special.logsumexp(scaled, axis=-1))


def boltzmann(q: np.ndarray, alpha: float) -> np.ndarray:
    # Q/α of a million and more would cost float64 the digits it is to check.
    return np.float64(special.softmax(np.asarray(q, np.longdouble) / alpha, axis=-1))


def entropy(p: np.ndarray) -> np.ndarray:
    return special.entr(np.asarray(p, np.float64)).sum(-1)


# A gradient step.


def adam_steps(
    x: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray], lr: float, steps: int
) -> np.ndarray:
    """Kingma & Ba 2015, algorithm 1, with its β₁ = 0.9, β₂ = 0.999, ε = 1e-8."""
    x = np.asarray(x, np.float64)
    first, second = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, steps + 1):
        g = gradient(x)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        unbiased = first / (1.0 - 0.9**t), second / (1.0 - 0.999**t)
        x = x - lr * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return x


# Networks.


def mlp(x: np.ndarray, layers: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """ReLU between (weight, bias) layers and none after the last."""
    *inner, last = [(np.asarray(w, np.float64), np.asarray(b)) for w, b in layers]
    x = np.asarray(x, np.float64)
    for weight, bias in inner:
        x = np.maximum(x @ weight + bias, 0.0)
    return x @ last[0] + last[1]


def convolve(
    image: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int
) -> np.ndarray:
    """(h, w, i) with (k, k, i, o): a window at a time, until every pixel is seen."""
    image, weight = np.asarray(image, np.float64), np.asarray(weight, np.float64)
    size = weight.shape[0]
    height, width = (-(-(side - size) // stride) + 1 for side in image.shape[:2])
    missing = [(n - 1) * stride + size - side for n, side in
               zip((height, width), image.shape[:2], strict=True)]  # fmt: skip
    image = np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)])
    out = np.zeros((height, width, weight.shape[-1]))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            window = image[top : top + size, left : left + size]
            for channel in range(weight.shape[-1]):
                out[row, column, channel] = (window * weight[..., channel]).sum()
    return out + np.asarray(bias, np.float64)
