"""Networks against plain numpy, and their stated initialisation."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from softq import nets

run = jax.jit(lambda net, *inputs: net(*inputs))


def shapes(make: Callable[[Any], Any]) -> Any:
    """The network that `make` builds from a key, as shapes: nothing is compiled."""
    return jax.eval_shape(make, jax.random.key(0))


def made(make: Callable[[Any], Any], seed: int = 0) -> Any:
    """The same with numpy's weights, for tests that ask what a network computes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.array(0.3 * rng.normal(size=x.shape), x.dtype), shapes(make)
    )


def by_hand(
    net: nets.Net, obs: np.ndarray, beside: np.ndarray | None = None
) -> np.ndarray:
    """A Net's output in numpy: bytes over 255, ReLU after every convolution, MLP."""
    x = obs.astype(np.float64)
    if net.convs:
        x = x / 255.0
    for conv in net.convs:
        x = oracles.convolve(x, conv.weight, conv.bias, conv.stride)
        x = np.maximum(x, 0.0)
    rest = [] if beside is None else [beside]
    layers = [(layer.weight, layer.bias) for layer in net.mlp.layers]
    return oracles.mlp(np.concatenate([x.ravel(), *rest]), layers)


def uniform_within(values: jax.Array, bound: float) -> bool:
    flat = np.ravel(values).astype(np.float64)
    spread = stats.uniform(loc=-bound, scale=2.0 * bound)
    return bool(
        np.abs(flat).max() <= bound and stats.kstest(flat, spread.cdf).pvalue > 0.01
    )


# Initialisation.


@pytest.mark.parametrize(("inputs", "outputs"), [(25, 400), (400, 25)])
def test_linear_starts_uniform_within_one_over_root_fan_in(
    inputs: int, outputs: int
) -> None:
    # Inputs and outputs differ a lot, so a bound by the wrong one shows.
    (linear,) = nets.MLP(jax.random.key(1), (inputs, outputs)).layers
    assert linear.weight.shape == (inputs, outputs)
    assert linear.bias.shape == (outputs,)
    assert uniform_within(linear.weight, inputs**-0.5)
    assert uniform_within(linear.bias, inputs**-0.5)


def test_convolution_starts_uniform_within_one_over_root_of_its_window() -> None:
    (drawn,) = nets._uniform(jax.random.key(2), [(4 * 5 * 5, 400)])
    conv = nets.Conv(drawn, kernel=5, stride=2)
    assert conv.weight.shape == (5, 5, 4, 400)
    assert conv.bias.shape == (400,)
    assert uniform_within(conv.weight, (4 * 5 * 5) ** -0.5)
    assert uniform_within(conv.bias, (4 * 5 * 5) ** -0.5)


def square(key: Any) -> nets.Net:
    """Layers of one shape, which could be mistaken for each other."""
    return nets.Net(key, (4,), 6, (6,), beside=2)


def unlike(one: jax.Array, two: jax.Array) -> bool:
    return not np.any(np.isclose(one, two, rtol=0.0, atol=1e-7))


def test_no_two_parts_of_a_network_start_alike() -> None:
    one, two = square(jax.random.key(3)).mlp.layers
    assert unlike(one.weight, two.weight)
    assert unlike(one.bias, two.bias)
    assert unlike(one.weight[0], one.bias)


def test_a_networks_key_decides_its_weights() -> None:
    net, again, other = (jax.tree.leaves(square(jax.random.key(k))) for k in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(net, again, strict=True))
    assert all(unlike(a, b) for a, b in zip(net, other, strict=True))


def test_a_network_is_float32_arrays_only() -> None:
    net = shapes(lambda key: nets.Net(key, (12, 12, 3), 2, (8,)))
    leaves = jax.tree.leaves(net)
    # A weight and a bias for each of two convolutions and two layers.
    assert len(leaves) == 2 * (2 + 2)
    assert all(x.dtype == jnp.float32 for x in leaves)


# Values.


@pytest.mark.parametrize("sizes", [(3, 2), (5, 32, 7, 4)])
def test_mlp_is_relu_between_affine_maps(sizes: tuple[int, ...]) -> None:
    mlp = made(lambda key: nets.MLP(key, sizes))
    assert [layer.weight.shape for layer in mlp.layers] == list(pairwise(sizes))
    x = np.random.default_rng(1).normal(size=(20, sizes[0])).astype(np.float32)
    ours = np.asarray(jax.jit(jax.vmap(mlp))(jnp.array(x)))
    layers = [(layer.weight, layer.bias) for layer in mlp.layers]
    np.testing.assert_allclose(ours, oracles.mlp(x, layers), rtol=1e-4, atol=1e-5)
    # No ReLU after the last layer: values may be negative.
    assert ours.min() < 0.0


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (4, 3)])
def test_convolution_is_a_window_at_a_time(kernel: int, stride: int) -> None:
    conv = made(lambda _: nets.Conv(jnp.zeros((3 * kernel**2 + 1, 5)), kernel, stride))
    x = np.random.default_rng(2).normal(size=(9, 11, 3)).astype(np.float32)
    expected = oracles.convolve(x, conv.weight, conv.bias, stride)
    ours = run(conv, jnp.array(x))
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_net_for_vectors_is_its_mlp_on_the_observation_and_what_is_beside() -> None:
    rng = np.random.default_rng(3)
    obs, beside = np.float32(rng.normal(size=(2, 2))), np.float32(rng.normal(size=3))
    net = made(lambda key: nets.Net(key, (2, 2), 4, (16, 16), beside=3))
    assert net.convs == ()
    ours = run(net, jnp.array(obs), jnp.array(beside))
    assert ours.shape == (4,)
    np.testing.assert_allclose(ours, by_hand(net, obs, beside), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 10, 2), (44, 44, 1)], ids=["small", "large"])
def test_net_for_images_is_scaled_bytes_convolutions_and_mlp(
    shape: tuple[int, ...],
) -> None:
    net = made(lambda key: nets.Net(key, shape, 3, (16,), beside=2))
    obs = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    beside = np.array([0.5, -1.0], np.float32)
    ours = run(net, jnp.array(obs), jnp.array(beside))
    np.testing.assert_allclose(ours, by_hand(net, obs, beside), rtol=1e-4, atol=1e-4)


def test_bytes_are_divided_by_255() -> None:
    # Without biases ReLU networks are homogeneous: what enters can be read off.
    net = made(lambda key: nets.Net(key, (7, 7, 1), 1, ()))
    flat = jax.tree.map(lambda x: x if x.ndim > 1 else jnp.zeros_like(x), net)
    white, grey = (
        float(run(flat, jnp.array(np.full((7, 7, 1), level, np.uint8)))[0])
        for level in (255, 51)
    )
    x = np.ones((7, 7, 1))
    for conv in flat.convs:
        x = np.maximum(oracles.convolve(x, conv.weight, conv.bias, conv.stride), 0.0)
    last = np.asarray(flat.mlp.layers[0].weight, np.float64)
    assert white == pytest.approx(float((x.ravel() @ last)[0]), rel=1e-5)
    assert abs(white) > 0.1
    assert grey == pytest.approx(white / 5.0, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "kernels", "features"),
    [
        ((84, 84, 4), [8, 4], 9 * 9 * 32),
        ((40, 40, 1), [8, 4], 4 * 4 * 32),
        ((39, 84, 1), [3, 3], 9 * 21 * 32),
        ((7, 7, 1), [3, 3], 32),
    ],
)
def test_the_frames_size_chooses_the_convolutions(
    shape: tuple[int, ...], kernels: list[int], features: int
) -> None:
    net = shapes(lambda key: nets.Net(key, shape, 2, ()))
    assert [conv.weight.shape[0] for conv in net.convs] == kernels
    assert net.convs[0].weight.shape[2] == shape[2]
    assert net.mlp.layers[0].weight.shape == (features, 2)


# Ensembles.


def member(stack: nets.Net, index: int) -> nets.Net:
    return jax.tree.map(lambda x: jnp.array(np.asarray(x)[index]), stack)


def each(stack: nets.Net, *batch: jax.Array) -> jax.Array:
    return nets.each(lambda net, o, b: net(o, b), stack, *batch)


def test_ensemble_members_are_the_networks_of_the_split_keys() -> None:
    key = jax.random.key(6)
    stack = nets.ensemble(key, 3, square)
    for i, own in enumerate(jax.random.split(key, 3)):
        ours, alone = jax.tree.leaves(member(stack, i)), jax.tree.leaves(square(own))
        for a, b in zip(ours, alone, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    first, second = (member(stack, i).mlp.layers[0].weight for i in (0, 1))
    assert unlike(first, second)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_each_is_a_loop_over_members_and_examples(size: int) -> None:
    # Batches of 5 also with 5 members: the axes must not be mistaken for each other.
    stack = made(lambda key: nets.ensemble(key, size, square))
    rng = np.random.default_rng(7)
    obs = np.float32(rng.normal(size=(5, 4)))
    beside = np.float32(rng.normal(size=(5, 2)))
    ours = jax.jit(each)(stack, jnp.array(obs), jnp.array(beside))
    assert ours.shape == (size, 5, 6)
    for c in range(size):
        for n in range(5):
            alone = run(member(stack, c), jnp.array(obs[n]), jnp.array(beside[n]))
            np.testing.assert_allclose(ours[c, n], alone, rtol=1e-4, atol=1e-5)


def test_each_reaches_every_members_gradient_separately() -> None:
    stack = made(lambda key: nets.ensemble(key, 3, square))
    obs, beside = jnp.ones((5, 4)), jnp.ones((5, 2))

    def second(members: nets.Net) -> jax.Array:
        return jnp.sum(each(members, obs, beside)[1])

    bias = jax.jit(jax.grad(second))(stack).mlp.layers[-1].bias
    np.testing.assert_allclose(bias, np.outer([0.0, 5.0, 0.0], np.ones(6)))


@pytest.mark.parametrize("side", [9, 10, 11, 12])
def test_no_pixel_is_unseen(side: int) -> None:
    """Each pixel of an image, and each alone, changes what the network says."""
    net = made(lambda key: nets.Net(key, (side, side, 1), 1, (4,)))
    net = jax.tree.map(jnp.abs, net)  # so that no ReLU stays shut

    def level(image: jax.Array) -> jax.Array:
        return net.mlp(nets._features(net.convs, image))[0]

    slopes = jax.grad(level)(jnp.ones((side, side, 1)))
    assert (np.asarray(slopes) > 0).all()


@pytest.mark.parametrize("shape", [(3,), (8, 8, 2)])
def test_many_beside_one_observation_are_the_network_on_each(shape: Any) -> None:
    net = made(lambda key: nets.Net(key, shape, 2, (5, 4), 3))
    rng = np.random.default_rng(1)
    if len(shape) == 3:
        obs = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    else:
        obs = rng.normal(size=(2, *shape)).astype(np.float32)
    beside = rng.normal(size=(2, 6, 3)).astype(np.float32)
    expected = [
        [by_hand(net, o, b) for b in bs] for o, bs in zip(obs, beside, strict=True)
    ]
    found = nets.many(net, jnp.asarray(obs), jnp.asarray(beside))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    half = nets.many(net, jnp.asarray(obs), jnp.asarray(beside), "bfloat16")
    assert 0 < float(jnp.abs(half - found).max()) < 0.05 * float(jnp.abs(found).max())


def test_members_are_an_ensembles_networks_one_by_one() -> None:
    whole = made(lambda key: nets.ensemble(key, 3, lambda k: nets.MLP(k, (2, 4, 1))))
    parts = nets.members(whole)
    assert len(parts) == 3
    for k, part in enumerate(parts):
        for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True):
            np.testing.assert_array_equal(a, b[k])
