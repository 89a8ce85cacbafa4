"""`softq reproduce multimodal-q`: one Gaussian, or all of exp(Q/α).

The slides' figure 2. A Q-function of one action with two heights: a Gaussian policy
settles on one of them, and the maximum-entropy policy keeps both as likely as they are
good. The Gaussian is SAC's actor and the samples are those of soft Q-learning's
network, each trained on this Q.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from softq.figures import draw
from softq.figures.samplers import amortised, gaussian

ALPHA = 0.12
HEIGHTS = ((1.0, -0.5, 0.2), (1.0, 0.55, 0.15))  # height, place, width
UPDATES, DRAWS, BINS = 6_000, 100_000, 80


def energy(action: Float[Array, "k 1"]) -> Float[Array, " k"]:
    """Two bumps of one height, one of them narrower."""
    a = action[:, 0]
    return sum((h * jnp.exp(-0.5 * ((a - m) / w) ** 2) for h, m, w in HEIGHTS), 0.0 * a)


def make(out: Path, updates: int = UPDATES) -> dict[str, Any]:
    """Draws Q, both policies and the samples; returns how far each is from exp(Q/α)."""
    plt = draw.plots()
    line = np.linspace(-1, 1, 801, dtype=np.float32)
    q = np.asarray(energy(jnp.asarray(line)[:, None]), np.float64)
    density = np.exp((q - q.max()) / ALPHA)
    density /= np.trapezoid(density, line)
    samples = {
        "Gaussian policy (SAC)": gaussian(energy, 1, ALPHA, 0, DRAWS),
        "sampling network (SQL)": amortised(energy, 1, ALPHA, 1, updates, DRAWS)[0],
    }
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 4), layout="constrained", sharex=True
    )
    axes[0].plot(line, q, color=draw.INK)
    axes[0].set(xlabel="action", ylabel="Q")
    draw.plain(axes[0], "a Q-function with two good actions")
    axes[1].fill_between(line, density, color="0.88", label="exp(Q/α)/Z")
    numbers: dict[str, Any] = {"alpha": ALPHA, "updates": updates}
    edges = np.linspace(-1, 1, BINS + 1)
    for (name, drawn), color in zip(
        samples.items(), (draw.SECOND, draw.ACCENT), strict=True
    ):
        action = np.asarray(drawn)[:, 0]
        axes[1].hist(action, edges, density=True, histtype="step", color=color,
                     linewidth=1.6, label=name)  # fmt: skip
        numbers[name] = {
            "total_variation": round(variation(action, edges, line, density), 4),
            "share_of_the_left": round(float((action < 0).mean()), 4),
        }
    numbers["exact share_of_the_left"] = round(
        float(np.trapezoid(density[line <= 0], line[line <= 0])), 4
    )
    axes[1].set(xlabel="action", ylabel="density")
    axes[1].legend(frameon=False, fontsize=9)
    draw.plain(axes[1], f"policies at temperature {ALPHA:g}")
    draw.save(figure, out / "multimodal-q.png")
    return numbers


def variation(
    action: np.ndarray, edges: np.ndarray, line: np.ndarray, density: np.ndarray
) -> float:
    """Total variation of a histogram of actions from the density's bins."""
    counts, _ = np.histogram(action, edges)
    whole = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    at = np.interp(edges, line, whole / whole[-1])
    return float(0.5 * np.abs(counts / len(action) - np.diff(at)).sum())
