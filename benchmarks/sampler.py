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

from softq.algos import sql
from softq.ops import tanh_normal
from softq.ops.langevin import mala
from softq.ops.step import adam, descend
from softq.plan import machine, versions
from softq.types import Spec, cast_knobs

HERE = Path(__file__).resolve().parent
MODES, SPREAD = 0.5 * np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)], np.float32), 0.15
CELLS = 50
OBS = jnp.zeros((1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=1_000_000)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.updates, args.draws = 1, 50, 10_000
    rows = []
    for alpha in (0.5, 1.0, 2.0):
        for name, sampler in SAMPLERS.items():
            found = [sampler(alpha, seed, args) for seed in range(args.seeds)]
            rows.append(summary(name, alpha, found))
            print(rows[-1], flush=True)
    result = {
        "benchmark": "sampler", "quick": args.quick, "updates": args.updates,
        "draws": args.draws, "seeds": args.seeds, "versions": versions(),
        "machine": machine(), "rows": rows,
    }  # fmt: skip
    name = "runs/sampler-quick.json" if args.quick else "results/sampler.json"
    out = (HERE.parent if args.quick else HERE) / name
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


def energy(obs: Any, action: Any) -> Any:
    """log Σ of the four Gaussians, up to a constant."""
    square = jnp.sum((action[None] - MODES) ** 2, axis=-1)
    return jax.nn.logsumexp(-0.5 * square / SPREAD**2)


def cells(alpha: float, fine: int = 10) -> np.ndarray:
    """The probability of each cell, by the midpoints of `fine`² parts of it."""
    line = (np.arange(CELLS * fine) + 0.5) / (CELLS * fine) * 2 - 1
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    q = np.asarray(jax.vmap(lambda a: energy(None, a))(jnp.asarray(grid, jnp.float32)))
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


def summary(name: str, alpha: float, found: list[dict[str, Any]]) -> dict[str, Any]:
    variations = [one["total_variation"] for one in found]
    return {
        "sampler": name, "alpha": alpha, "median": statistics.median(variations),
        "total_variation": variations, "modes": [one["modes"] for one in found],
        "seconds": [one["seconds"] for one in found],
    }  # fmt: skip


def amortised(alpha: float, seed: int, args: Any, *, single: bool) -> dict[str, Any]:
    """A sampling network, trained on the energy alone; its step decays to nothing."""
    cfg = cast_knobs(sql.Config(alpha=alpha, particles=32, single_bandwidth=single))
    spec = Spec((1,), "float32", (-1.0, -1.0), (1.0, 1.0))
    sampler = sql.init(jax.random.key(seed), spec, cfg).sampler

    def step(carry: Any, inputs: Any) -> Any:
        net, moments = carry
        key, rate = inputs
        obs = jnp.zeros((32, 1))
        net, moments, _ = descend(
            sql.sampler_loss, net, moments, rate, energy, obs, key, cfg
        )
        return (net, moments), None

    keys = jax.random.split(jax.random.key(100 + seed), args.updates)
    rates = jnp.linspace(1e-3, 0.0, args.updates)
    begin = time.perf_counter()
    train = jax.jit(lambda c: jax.lax.scan(step, c, (keys, rates))[0])
    net, _ = jax.block_until_ready(train((sampler, adam(sampler))))
    taken = time.perf_counter() - begin
    noise = jax.random.normal(jax.random.key(seed), (args.draws, 2))
    u = jax.jit(jax.vmap(sql.particle, (None, None, 0)))(net, OBS[0], noise)
    return {**measured(jnp.tanh(u), alpha), "seconds": round(taken, 1)}


def chains(alpha: float, seed: int, args: Any) -> dict[str, Any]:
    """One MALA chain a draw, from u of a uniform action."""

    def log_density(u: Any) -> Any:
        return energy(None, jnp.tanh(u)) / alpha + tanh_normal.log_det_tanh(u)

    def one(key: Any) -> Any:
        start_key, key = jax.random.split(key)
        start = jnp.arctanh(
            jax.random.uniform(start_key, (2,), minval=-0.99, maxval=0.99)
        )
        return mala(key, log_density, start, 100, 0.02)[0]

    begin = time.perf_counter()
    keys = jax.random.split(jax.random.key(seed), args.draws)
    u = jax.block_until_ready(jax.jit(jax.vmap(one))(keys))
    taken = time.perf_counter() - begin
    return {**measured(jnp.tanh(u), alpha), "seconds": round(taken, 1)}


def gaussian(alpha: float, seed: int, args: Any) -> dict[str, Any]:
    """tanh N(μ, σ²) that minimises KL(π ‖ p), by SAC's actor loss."""

    def loss(params: Any, key: Any) -> Any:
        mean, log_std = (jnp.broadcast_to(x, (256, 2)) for x in params)
        action, _, logp = tanh_normal.sample(key, mean, log_std)
        q = jax.vmap(lambda a: energy(None, a))(action)
        return jnp.mean(alpha * logp - q), {}

    def step(carry: Any, key: Any) -> Any:
        params, moments, _ = descend(loss, *carry, 1e-2, key)
        return (params, moments), None

    start = 0.3 * jax.random.normal(jax.random.key(seed), (2,)), jnp.zeros(2) - 1.0
    keys = jax.random.split(jax.random.key(100 + seed), 3_000)
    begin = time.perf_counter()
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(
        (start, adam(start))
    )
    mean, log_std = (
        jnp.broadcast_to(x, (args.draws, 2)) for x in jax.block_until_ready(params)
    )
    taken = time.perf_counter() - begin
    action, _, _ = tanh_normal.sample(jax.random.key(seed), mean, log_std)
    return {**measured(action, alpha), "seconds": round(taken, 1)}


def exact(alpha: float, seed: int, args: Any) -> dict[str, Any]:
    """Cells drawn with their probabilities: what 10⁶ samples can show at best."""
    random, p = np.random.default_rng(seed), cells(alpha)
    begin = time.perf_counter()
    cell = random.choice(p.size, args.draws, p=p.ravel())
    corner = np.stack(np.unravel_index(cell, p.shape), -1)
    action = (corner + random.random((args.draws, 2))) / CELLS * 2 - 1
    taken = time.perf_counter() - begin
    return {**measured(action, alpha), "seconds": round(taken, 1)}


SAMPLERS = {
    "exact": exact,
    "MALA": chains,
    "tanh-Gaussian": gaussian,
    "SVGD, five bandwidths": lambda *a: amortised(*a, single=False),
    "SVGD, one bandwidth": lambda *a: amortised(*a, single=True),
}

if __name__ == "__main__":
    main()
