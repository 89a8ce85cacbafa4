"""Networks, written for one example and vmapped over batches and ensembles.

Weights and biases start uniform in ±1/√fan_in (PyTorch's default for a linear
layer, hence that of most published SAC results; Flax differs: Lecun normal, zero
biases). Activations are ReLU and static, so that a network is arrays only.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from softq.types import Key, Observation

Precision = Literal["float32", "bfloat16"]

# Mnih et al. 2013's small CNN for 84 × 84 frames: (channels, kernel, stride).
CONVOLUTIONS = ((16, 8, 4), (32, 4, 2))
# The same idea for frames under 40 pixels, where an 8 × 8 kernel sees everything.
SMALL_CONVOLUTIONS = ((16, 3, 2), (32, 3, 2))


class Linear(eqx.Module):
    """y = x W + b, W of shape (inputs, outputs)."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(self, drawn: Float[Array, "n o"]):
        self.weight, self.bias = drawn[:-1], drawn[-1]

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return x @ self.weight + self.bias


class Conv(eqx.Module):
    """A strided 2-D convolution over (height, width, channels).

    Padded with zeros below and to the right where strides would leave pixels unseen.
    """

    weight: Float[Array, "k k i o"]
    bias: Float[Array, " o"]
    stride: int = eqx.field(static=True)

    def __init__(self, drawn: Float[Array, "n o"], kernel: int, stride: int):
        self.weight = drawn[:-1].reshape(kernel, kernel, -1, drawn.shape[1])
        self.bias = drawn[-1]
        self.stride = stride

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        size = self.weight.shape[0]
        rest = [(0, (size - side) % self.stride) for side in x.shape[:2]]
        y = jax.lax.conv_general_dilated(
            x[None],
            self.weight,
            (self.stride, self.stride),
            rest,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        return y + self.bias[None, None]


def _uniform(key: Key, sizes: Sequence[tuple[int, int]]) -> list[Array]:
    """Weights above a bias, (fan_in + 1, outputs), for each (fan_in, outputs).

    All in one draw, for each draw costs a quarter second of compiling.
    """
    ends = np.cumsum([(fan_in + 1) * outputs for fan_in, outputs in sizes])
    drawn = jnp.split(jax.random.uniform(key, (ends[-1],), minval=-1.0), ends[:-1])
    return [
        one.reshape(fan_in + 1, outputs) / math.sqrt(fan_in)
        for one, (fan_in, outputs) in zip(drawn, sizes, strict=True)
    ]


class MLP(eqx.Module):
    """Linear layers with ReLU between them."""

    layers: tuple[Linear, ...]

    def __init__(self, key: Key, sizes: tuple[int, ...]):
        drawn = _uniform(key, list(itertools.pairwise(sizes)))
        self.layers = tuple(Linear(one) for one in drawn)

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
    sizes = [
        (before * kernel**2, channels)
        for before, (channels, kernel, _) in zip(inputs[:-1], plan, strict=True)
    ]
    return tuple(
        Conv(one, kernel, stride)
        for one, (_, kernel, stride) in zip(_uniform(key, sizes), plan, strict=True)
    )


def many(
    net: Net,
    obs: Observation,
    beside: Float[Array, "n k b"],
    precision: Precision = "float32",
) -> Float[Array, "n k o"]:
    """Each of n observations with each of its k vectors beside it.

    An observation's share of the first layer is computed once, and rows are flat: with
    nested vmaps the gradient of the weights takes twice as long. With `precision`
    "bfloat16" the layers between the first and the last multiply in it and add in
    float32.
    """
    n, k, b = beside.shape
    first, *rest = net.mlp.layers
    shared = jax.vmap(lambda o: _features(net.convs, o))(obs) @ first.weight[:-b]
    y = (beside.reshape(n * k, b) @ first.weight[-b:]).reshape(n, k, -1)
    y = (y + (shared + first.bias[None])[:, None]).reshape(n * k, -1)
    for layer in rest[:-1]:
        y = _product(jax.nn.relu(y), layer.weight, precision) + layer.bias[None]
    y = jax.nn.relu(y) @ rest[-1].weight + rest[-1].bias[None]
    return y.reshape(n, k, -1)


def _product(
    x: Float[Array, "n i"], y: Float[Array, "i o"], precision: Precision
) -> Float[Array, "n o"]:
    if precision == "float32":
        return x @ y
    half = (z.astype(jnp.bfloat16) for z in (x, y))
    return jax.lax.dot(*half, preferred_element_type=jnp.float32)


def total(nets: Sequence[Net], weight: float = 1.0) -> Net:
    """A network whose output is `weight` times the sum of the nets' outputs.

    Their hidden layers stand side by side. Of one depth, and without convolutions.
    """
    first, *middle, last = zip(*(net.mlp.layers for net in nets), strict=True)
    layers = [_stack(jnp.concatenate([one.weight for one in first], axis=1), first)]
    for layer in middle:
        layers.append(_stack(block_diag(*(one.weight for one in layer)), layer))
    drawn = jnp.concatenate([one.weight for one in last])
    bias = sum((one.bias for one in last), jnp.zeros_like(last[0].bias))
    layers.append(Linear(weight * jnp.concatenate([drawn, bias[None]])))
    return eqx.tree_at(lambda net: net.mlp.layers, nets[0], tuple(layers))


def _stack(weight: Array, layer: Sequence[Linear]) -> Linear:
    bias = jnp.concatenate([one.bias for one in layer])
    return Linear(jnp.concatenate([weight, bias[None]]))


Member = TypeVar("Member", bound=eqx.Module)


def ensemble(key: Key, size: int, make: Callable[[Key], Member]) -> Member:
    """`size` independent networks as one, its weights with a leading axis."""
    return jax.vmap(make)(jax.random.split(key, size))


def members(ensemble: Member) -> list[Member]:
    """The networks of an ensemble, one by one.

    Where each has thousands of rows a loop of products is a tenth faster than `each`.
    """
    size = jax.tree.leaves(ensemble)[0].shape[0]
    return [jax.tree.map(lambda x, i=i: x[i], ensemble) for i in range(size)]


def each(
    apply: Callable[..., Float[Array, "..."]], members: eqx.Module, *batch: Array
) -> Float[Array, "c n ..."]:
    """apply(member, *example) for every member of an ensemble on every example."""
    one = jax.vmap(apply, in_axes=(None, *(0 for _ in batch)))
    return jax.vmap(one, in_axes=(0, *(None for _ in batch)))(members, *batch)
