"""Ways to draw actions from exp(Q/α)/Z of one energy Q(a), each fitted to it alone.

What `softq reproduce multimodal-q` shows and `benchmarks/sampler.py` measures. An
energy takes actions (k, d) to heights (k,); fits return actions (draws, d).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq import nets
from softq.algos import sql
from softq.compose import fit_sampler
from softq.ops import tanh_normal, threefry
from softq.ops.langevin import mala
from softq.ops.step import adam, descend
from softq.types import Key, Spec, cast_knobs

Energy = Callable[[Float[Array, "k d"]], Float[Array, " k"]]
STATES = 32  # copies of the one state in a batch


def amortised(
    energy: Energy, dim: int, alpha: float, seeds: int, updates: int, draws: int,
    *, single: bool = False,
) -> Array:  # fmt: skip
    """Sampling networks trained by Stein directions; their step decays to nothing.

    Actions (seeds, draws, d); all seeds train in one program.
    """
    cfg = cast_knobs(sql.Config(alpha=alpha, particles=32, single_bandwidth=single))
    spec = Spec((1,), "float32", (-1.0,) * dim, (1.0,) * dim)

    def level(obs: Array, action: Float[Array, "n k d"]) -> Float[Array, "n k"]:
        return jax.vmap(energy)(action)

    def fit(root: Key) -> nets.Net:
        init_key, key = jax.random.split(root)
        net, obs = sql.init(init_key, spec, cfg).sampler, jnp.zeros((1, 1))
        return fit_sampler(key, net, level, obs, cfg, updates, STATES)

    def drawn(pair: tuple[Key, nets.Net]) -> Array:
        key, net = pair
        noise = jax.random.normal(key, (1, draws, dim))
        return jnp.tanh(sql.particles(net, jnp.zeros((1, 1)), noise)[0])

    roots = jax.random.split(threefry.key(0), seeds)
    fitted = jax.jit(jax.vmap(fit))(roots)
    return jax.jit(lambda pairs: jax.lax.map(drawn, pairs))((roots, fitted))


def chains(
    energy: Energy, dim: int, alpha: float, seed: int, draws: int, steps: int = 100
) -> Array:
    """One MALA chain a draw, each from a uniform action."""

    def level(u: Float[Array, " d"]) -> Float[Array, ""]:
        return energy(jnp.tanh(u)[None])[0] / alpha + tanh_normal.log_det_tanh(u)

    def one(key: Key) -> Array:
        start_key, key = jax.random.split(key)
        start = jax.random.uniform(start_key, (dim,), minval=-0.99, maxval=0.99)
        return jnp.tanh(mala(key, level, jnp.arctanh(start), steps, 0.02)[0])

    keys = jax.random.split(threefry.key(seed), draws)
    return jax.jit(jax.vmap(one))(keys)


def gaussian(energy: Energy, dim: int, alpha: float, seed: int, draws: int) -> Array:
    """tanh N(μ, σ²) of least KL(π ‖ p), by SAC's actor loss: all that SAC can be."""

    def loss(params: Any, key: Key) -> Any:
        mean, log_std = (jnp.broadcast_to(x[None], (256, dim)) for x in params)
        action, _, logp = tanh_normal.sample(key, mean, log_std)
        return jnp.mean(alpha * logp - energy(action)), {}

    def step(carry: Any, key: Key) -> Any:
        params, moments, _ = descend(loss, *carry, 1e-2, key)
        return (params, moments), None

    mean = 0.3 * jax.random.normal(jax.random.key(seed), (dim,))
    start = mean, jnp.full(dim, -1.0)
    keys = jax.random.split(threefry.key(100 + seed), 3_000)
    train = jax.jit(lambda c: jax.lax.scan(step, c, keys)[0])
    fitted, _ = train((start, adam(start)))
    mean, log_std = (jnp.broadcast_to(x[None], (draws, dim)) for x in fitted)
    return tanh_normal.sample(threefry.key(seed), mean, log_std)[0]
