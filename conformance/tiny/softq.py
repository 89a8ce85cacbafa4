"""softq's networks of a few weights."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from conformance import toolbox
from softq import nets
from softq.ops import tanh_normal
from softq.ops.step import BETA1, Moments
from softq.types import Batch, Spec

SPEC = Spec((1,), low=(-1.0,), high=(1.0,))
Answer = dict[str, Any]


def wired(net: nets.Net, rows: list[list[float]]) -> nets.Net:
    """A network whose outputs are linear: coefficients, and a constant, for each."""
    inputs = net.mlp.layers[0].weight.shape[0]
    weights = np.stack([toolbox.spread(row[:-1]) for row in rows], axis=-1)
    values = (
        jnp.asarray(toolbox.both_signs(inputs)), jnp.zeros(2 * inputs),
        jnp.asarray(weights), jnp.asarray([row[-1] for row in rows], jnp.float32),
    )  # fmt: skip
    return eqx.tree_at(
        lambda n: (n.mlp.layers[0].weight, n.mlp.layers[0].bias,
                   n.mlp.layers[1].weight, n.mlp.layers[1].bias),
        net, values,
    )  # fmt: skip


def actor_of(policy: dict[str, float]) -> nets.Net:
    """The policy's network; its second output is what bounds to log σ."""
    net = nets.Net(jax.random.key(0), (1,), 2, (2,))
    mean = [policy["slope"], policy["bias"]]
    return wired(net, [mean, [0.0, raw_of(policy["log_std"])]])


def raw_of(log_std: float) -> float:
    """What `bound_log_std` maps to log_std, by halving."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2.0
        small = float(tanh_normal.bound_log_std(jnp.float32([middle]))[0]) < log_std
        low, high = (middle, high) if small else (low, middle)
    return low


def critics_of(rows: list[list[float]]) -> nets.Net:
    """Linear critics, stacked."""
    net = nets.Net(jax.random.key(0), (1,), 1, (4,), 1)
    made = [wired(net, [row]) for row in rows]
    return jax.tree.map(lambda *x: jnp.stack(x), *made)


def batch_of(rows: list[dict[str, Any]], count: int, **more: Any) -> Batch:
    """`count` copies of the rows; a time limit is no field of softq's batches."""

    def column(name: str) -> np.ndarray:
        return np.tile(np.array([row[name] for row in rows], np.float32), count)

    obs, action, next_obs = (column(x)[:, None] for x in ("obs", "action", "next_obs"))
    end = column("terminated") > 0
    batch = Batch(obs, action, column("reward"), next_obs, end, **more)
    return jax.tree.map(jnp.asarray, batch)


def slopes(moments: Moments) -> tuple[Any, Any]:
    """The first step's gradient of the output layer, from Adam's first moment."""
    last = moments.mean.mlp.layers[-1]
    return np.asarray(last.weight) / (1 - BETA1), np.asarray(last.bias) / (1 - BETA1)


def critic_gradient(moments: Moments) -> list[list[float]]:
    """Of each critic's three numbers."""
    weight, bias = slopes(moments)
    return [
        [*toolbox.folded(w[:, 0]), float(b[0])]
        for w, b in zip(weight, bias, strict=True)
    ]


def flat(net: nets.Net) -> list[float]:
    """All weights in one row."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(net)]).tolist()


@functools.cache
def compiled(algo: Any) -> Any:
    """An algorithm's update."""
    return jax.jit(algo.update)
