"""Networks, written for one example and vmapped over batches and ensembles.

Weights and biases start uniform in ±1/√fan_in (PyTorch's default for a linear
layer, hence that of most published SAC results; Flax differs: Lecun normal, zero
biases). Activations are ReLU and static, so that a network is arrays only.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from softq.types import Key, Observation

# Mnih et al. 2013's small CNN for 84 × 84 frames: (channels, kernel, stride).
CONVOLUTIONS = ((16, 8, 4), (32, 4, 2))
# The same idea for frames under 40 pixels, where an 8 × 8 kernel sees everything.
SMALL_CONVOLUTIONS = ((16, 3, 2), (32, 3, 2))


class Linear(eqx.Module):
    """y = x W + b, W of shape (inputs, outputs)."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(self, key: Key, inputs: int, outputs: int):
        drawn = _uniform(key, (inputs + 1, outputs), inputs)
        self.weight, self.bias = drawn[:-1], drawn[-1]

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return x @ self.weight + self.bias


class Conv(eqx.Module):
    """A strided 2-D convolution over (height, width, channels), no padding."""

    weight: Float[Array, "k k i o"]
    bias: Float[Array, " o"]
    stride: int = eqx.field(static=True)

    def __init__(self, key: Key, inputs: int, outputs: int, kernel: int, stride: int):
        fan_in = inputs * kernel**2
        drawn = _uniform(key, (fan_in + 1, outputs), fan_in)
        self.weight = drawn[:-1].reshape(kernel, kernel, inputs, outputs)
        self.bias = drawn[-1]
        self.stride = stride

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        y = jax.lax.conv_general_dilated(
            x[None],
            self.weight,
            (self.stride, self.stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        return y + self.bias[None, None]


def _uniform(key: Key, shape: tuple[int, int], fan_in: int) -> Array:
    """Weights and bias in one draw: each draw costs a quarter second of compiling."""
    bound = 1.0 / math.sqrt(fan_in)
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


class MLP(eqx.Module):
    """Linear layers with ReLU between them."""

    layers: tuple[Linear, ...]

    def __init__(self, key: Key, sizes: tuple[int, ...]):
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
        self.layers = tuple(Linear(k, i, o) for k, i, o in pairs)

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class Net(eqx.Module):
    """Observation (and whatever is beside it) to numbers: CNN for images, then MLP.

    Images are (height, width, channels) of bytes, scaled to [0, 1] here.
    """

    convs: tuple[Conv, ...]
    mlp: MLP

    def __init__(
        self,
        key: Key,
        obs_shape: tuple[int, ...],
        outputs: int,
        hidden: tuple[int, ...],
        beside: int = 0,
    ):
        conv_key, mlp_key = jax.random.split(key)
        self.convs = _convolutions(conv_key, obs_shape) if len(obs_shape) == 3 else ()
        features = _features(self.convs, jnp.zeros(obs_shape)).shape[0]
        self.mlp = MLP(mlp_key, (features + beside, *hidden, outputs))

    def __call__(
        self, obs: Observation, beside: Float[Array, " b"] | None = None
    ) -> Float[Array, " o"]:
        x = _features(self.convs, obs)
        return self.mlp(x if beside is None else jnp.concatenate([x, beside]))


def _features(convs: tuple[Conv, ...], obs: Observation) -> Float[Array, " f"]:
    if not convs:
        return obs.ravel()
    x = obs.astype(jnp.float32) / 255.0
    for conv in convs:
        x = jax.nn.relu(conv(x))
    return x.ravel()


def _convolutions(key: Key, shape: tuple[int, ...]) -> tuple[Conv, ...]:
    plan = CONVOLUTIONS if min(shape[:2]) >= 40 else SMALL_CONVOLUTIONS
    inputs = (shape[2], *(channels for channels, _, _ in plan))
    keys = jax.random.split(key, len(plan))
    return tuple(
        Conv(k, i, channels, kernel, stride)
        for k, i, (channels, kernel, stride) in zip(
            keys, inputs[:-1], plan, strict=True
        )
    )


Member = TypeVar("Member", bound=eqx.Module)


def ensemble(key: Key, size: int, make: Callable[[Key], Member]) -> Member:
    """`size` independent networks as one, its weights with a leading axis."""
    return jax.vmap(make)(jax.random.split(key, size))


def each(
    apply: Callable[..., Float[Array, "..."]], members: eqx.Module, *batch: Array
) -> Float[Array, "c n ..."]:
    """apply(member, *example) for every member of an ensemble on every example."""
    one = jax.vmap(apply, in_axes=(None, *(0 for _ in batch)))
    return jax.vmap(one, in_axes=(0, *(None for _ in batch)))(members, *batch)
