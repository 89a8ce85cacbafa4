"""How well each sampler follows exp(Q/α) on energies with several modes.

    python benchmarks/sampler.py

Energies in 2-D: four Gaussians at (±0.5, ±0.5) with a standard deviation of 0.15, at
several temperatures. Samplers: amortised SVGD with five bandwidths and with one, MALA
chains, the tanh-Gaussian of least KL(π ‖ p) (what SAC's actor would be), and exact
draws from the cells of a grid. Total variation is that of a 50 × 50 histogram of 10⁶
samples against the integrals of its cells. Writes `results/sampler.json`; `--quick` is
a smoke run.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softq import machine
from softq.figures import samplers

HERE = Path(__file__).resolve().parent
MODES, SPREAD = 0.5 * np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)], np.float32), 0.15
CELLS = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alphas", type=float, nargs="+", default=(0.5, 1.0, 2.0))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=1_000_000)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.updates, args.draws = 2, 50, 10_000
    rows = []
    for alpha in args.alphas:
        for name in SAMPLERS:
            begin = time.perf_counter()
            found = [measured(action, alpha) for action in drawn(name, alpha, args)]
            rows.append(summary(name, alpha, found, time.perf_counter() - begin))
            print(rows[-1], flush=True)
    result = {
        "benchmark": "sampler", "quick": args.quick, "updates": args.updates,
        "draws": args.draws, "seeds": args.seeds, "versions": machine.versions(),
        "machine": machine.about(), "rows": rows,
    }  # fmt: skip
    name = "runs/sampler-quick.json" if args.quick else "results/sampler.json"
    out = (HERE.parent if args.quick else HERE) / name
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


def energy(action: Any) -> Any:
    """log Σ of the four Gaussians, up to a constant."""
    square = jnp.sum((action[:, None] - MODES[None]) ** 2, axis=-1)
    return jax.nn.logsumexp(-0.5 * square / SPREAD**2, axis=-1)


def cells(alpha: float, fine: int = 10) -> np.ndarray:
    """The probability of each cell, by the midpoints of `fine`² parts of it."""
    line = (np.arange(CELLS * fine) + 0.5) / (CELLS * fine) * 2 - 1
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    q = np.asarray(energy(jnp.asarray(grid, jnp.float32)))
    p = np.exp((q - q.max()) / alpha, dtype=np.float64)
    p = p.reshape(CELLS, fine, CELLS, fine).sum((1, 3))
    return p / p.sum()


def measured(action: Any, alpha: float) -> dict[str, Any]:
    """Total variation from the truth, and the share of each quarter of the box."""
    action = np.asarray(action)
    edges = np.linspace(-1, 1, CELLS + 1)
    counts, _, _ = np.histogram2d(*action.T, bins=[edges, edges])
    variation = 0.5 * np.abs(counts / len(action) - cells(alpha)).sum()
    quarter = (action > 0) @ np.array([2, 1])
    modes = np.bincount(quarter, minlength=4) / len(action)
    return {"total_variation": float(variation), "modes": modes.round(3).tolist()}


def summary(
    name: str, alpha: float, found: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    variations = [one["total_variation"] for one in found]
    return {
        "sampler": name, "alpha": alpha, "median": statistics.median(variations),
        "total_variation": variations, "modes": [one["modes"] for one in found],
        "seconds_of_all_seeds": round(seconds, 1),
    }  # fmt: skip


def exact(alpha: float, seed: int, draws: int) -> np.ndarray:
    """Cells drawn with their probabilities: what so many samples can show at best."""
    random, p = np.random.default_rng(seed), cells(alpha)
    cell = random.choice(p.size, draws, p=p.ravel())
    corner = np.stack(np.unravel_index(cell, p.shape), -1)
    return (corner + random.random((draws, 2))) / CELLS * 2 - 1


def drawn(name: str, alpha: float, args: Any) -> list[Any]:
    """Samples (draws, 2) of every seed of a sampler."""
    if "SVGD" in name:
        single = "one" in name
        found = samplers.amortised(
            energy, 2, alpha, args.seeds, args.updates, args.draws, single=single
        )
        return list(found)
    fit: Any = {
        "exact": exact,
        "MALA": lambda *given: samplers.chains(energy, 2, *given),
        "tanh-Gaussian": lambda *given: samplers.gaussian(energy, 2, *given),
    }[name]
    return [fit(alpha, seed, args.draws) for seed in range(args.seeds)]


SAMPLERS = ("exact", "MALA", "tanh-Gaussian", "SVGD, five bandwidths",
            "SVGD, one bandwidth")  # fmt: skip

if __name__ == "__main__":
    main()
