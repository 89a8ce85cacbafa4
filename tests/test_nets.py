"""Networks against plain numpy, and their stated initialisation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from softq import nets


def start(seed: int, *args: Any, make: Any = nets.Net, **rest: Any) -> Any:
    """A network of that seed; compiled, which is quicker than op by op."""
    return jax.jit(lambda key: make(key, *args, **rest))(jax.random.key(seed))


run = jax.jit(lambda net, *inputs: net(*inputs))


def layers(mlp: nets.MLP) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(x.weight), np.asarray(x.bias)) for x in mlp.layers]


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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
    return oracles.mlp(np.concatenate([x.ravel(), *rest]), layers(net.mlp))


# Initialisation.


def test_linear_starts_uniform_within_one_over_root_fan_in() -> None:
    # Inputs and outputs differ a lot, so a bound by the wrong one shows.
    for seed, (inputs, outputs) in enumerate([(25, 400), (400, 25)]):
        linear = start(seed, inputs, outputs, make=nets.Linear)
        assert linear.weight.shape == (inputs, outputs)
        assert linear.bias.shape == (outputs,)
        bound = inputs**-0.5
        for values in (linear.weight, linear.bias):
            flat = np.ravel(values).astype(np.float64)
            assert np.abs(flat).max() <= bound
            spread = stats.uniform(loc=-bound, scale=2.0 * bound)
            assert stats.kstest(flat, spread.cdf).pvalue > 0.01


def test_convolution_starts_uniform_within_one_over_root_of_its_window() -> None:
    conv = start(2, 4, 300, make=nets.Conv, kernel=5, stride=2)
    assert conv.weight.shape == (5, 5, 4, 300)
    assert conv.bias.shape == (300,)
    bound = (4 * 5 * 5) ** -0.5
    for values in (conv.weight, conv.bias):
        flat = np.ravel(values).astype(np.float64)
        assert np.abs(flat).max() <= bound
        spread = stats.uniform(loc=-bound, scale=2.0 * bound)
        assert stats.kstest(flat, spread.cdf).pvalue > 0.01


def test_no_two_parts_of_a_network_start_alike() -> None:
    mlp = start(3, (6, 6, 6), make=nets.MLP)
    one, two = mlp.layers
    assert not np.any(np.isclose(one.weight, two.weight, atol=1e-7))
    assert not np.any(np.isclose(one.bias, two.bias, atol=1e-7))
    assert not np.any(np.isclose(one.weight[0], one.bias, atol=1e-7))


def test_a_network_is_float32_arrays_only_and_its_key_decides_it() -> None:
    net = start(4, (12, 12, 3), 2, (8,))
    leaves = jax.tree.leaves(net)
    assert len(leaves) == 2 * (2 + 2)
    assert all(x.dtype == jnp.float32 for x in leaves)
    again = jax.tree.leaves(start(4, (12, 12, 3), 2, (8,)))
    other = jax.tree.leaves(start(5, (12, 12, 3), 2, (8,)))
    assert all(np.array_equal(a, b) for a, b in zip(leaves, again, strict=True))
    assert not any(np.any(a == b) for a, b in zip(leaves, other, strict=True))


# Values.


@pytest.mark.parametrize("sizes", [(3, 2), (3, 16, 2), (5, 32, 7, 4)])
def test_mlp_is_relu_between_affine_maps(sizes: tuple[int, ...]) -> None:
    mlp = start(6, sizes, make=nets.MLP)
    assert [x.weight.shape for x in mlp.layers] == list(
        zip(sizes[:-1], sizes[1:], strict=True)
    )
    x = np.random.default_rng(1).normal(size=(20, sizes[0])).astype(np.float32)
    ours = np.asarray(jax.jit(jax.vmap(mlp))(jnp.array(x)))
    expected = oracles.mlp(x, layers(mlp))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    # No ReLU after the last layer: values may be negative.
    assert ours.min() < 0.0


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (4, 3)])
def test_convolution_is_a_window_at_a_time(kernel: int, stride: int) -> None:
    conv = start(7, 3, 5, kernel, stride, make=nets.Conv)
    x = np.random.default_rng(2).normal(size=(9, 11, 3)).astype(np.float32)
    expected = oracles.convolve(x, conv.weight, conv.bias, stride)
    ours = run(conv, jnp.array(x))
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_net_for_vectors_is_its_mlp_on_the_observation_and_what_is_beside() -> None:
    rng = np.random.default_rng(3)
    obs, beside = rng.normal(size=(2, 2)), rng.normal(size=3)
    net = start(8, (2, 2), 4, (16, 16), beside=3)
    assert net.convs == ()
    ours = run(net, jnp.array(obs, jnp.float32), jnp.array(beside, jnp.float32))
    assert ours.shape == (4,)
    np.testing.assert_allclose(ours, by_hand(net, obs, beside), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 10, 2), (44, 44, 1)], ids=["small", "large"])
def test_net_for_images_is_scaled_bytes_convolutions_and_mlp(
    shape: tuple[int, ...],
) -> None:
    net = start(9, shape, 3, (16,), beside=2)
    obs, beside = image(shape), np.array([0.5, -1.0], np.float32)
    ours = run(net, jnp.array(obs), jnp.array(beside))
    np.testing.assert_allclose(ours, by_hand(net, obs, beside), rtol=1e-4, atol=1e-5)


def test_bytes_are_divided_by_255() -> None:
    # Without biases ReLU networks are homogeneous: what enters can be read off.
    net = start(10, (7, 7, 1), 1, ())
    flat = jax.tree.map(lambda x: x * (x.ndim > 1), net)
    white = run(flat, jnp.full((7, 7, 1), 255, jnp.uint8))
    x = jnp.ones((7, 7, 1))
    for conv in flat.convs:
        x = jax.nn.relu(run(conv, x))
    np.testing.assert_allclose(white, run(flat.mlp, x.ravel()), rtol=1e-5)
    assert abs(float(white[0])) > 1e-3
    grey = run(flat, jnp.full((7, 7, 1), 51, jnp.uint8))
    np.testing.assert_allclose(grey, white / 5.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kernels", "features"),
    [
        ((84, 84, 4), [8, 4], 9 * 9 * 32),
        ((40, 40, 1), [8, 4], 3 * 3 * 32),
        ((39, 84, 1), [3, 3], 9 * 20 * 32),
        ((7, 7, 1), [3, 3], 32),
    ],
)
def test_the_frames_size_chooses_the_convolutions(
    shape: tuple[int, ...], kernels: list[int], features: int
) -> None:
    net = start(11, shape, 2, ())
    assert [conv.weight.shape[0] for conv in net.convs] == kernels
    assert net.convs[0].weight.shape[2] == shape[2]
    assert net.mlp.layers[0].weight.shape == (features, 2)


# Ensembles.


def critic(key: Any) -> nets.Net:
    return nets.Net(key, (4,), 1, (16, 16), beside=2)


def critics(size: int = 3) -> nets.Net:
    return jax.jit(lambda key: nets.ensemble(key, size, critic))(jax.random.key(12))


def member(stack: nets.Net, index: int) -> nets.Net:
    return jax.tree.map(lambda x: jnp.array(np.asarray(x)[index]), stack)


def each(stack: nets.Net, *batch: jax.Array) -> jax.Array:
    return nets.each(lambda net, o, b: net(o, b), stack, *batch)


def test_ensemble_members_are_the_networks_of_the_split_keys() -> None:
    stack = critics()
    for i, key in enumerate(jax.random.split(jax.random.key(12), 3)):
        alone = jax.jit(critic)(key)
        pairs = zip(
            jax.tree.leaves(member(stack, i)), jax.tree.leaves(alone), strict=True
        )
        assert all(np.allclose(a, b, rtol=1e-6) for a, b in pairs)
    first, second = (member(stack, i).mlp.layers[0].weight for i in (0, 1))
    assert not np.any(np.isclose(first, second, atol=1e-7))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_each_is_a_loop_over_members_and_examples(size: int) -> None:
    # Batches of 5 also with 5 members: the axes must not be mistaken for each other.
    stack, rng = critics(size), np.random.default_rng(4)
    obs = jnp.array(rng.normal(size=(5, 4)), jnp.float32)
    beside = jnp.array(rng.normal(size=(5, 2)), jnp.float32)
    ours = jax.jit(each)(stack, obs, beside)
    assert ours.shape == (size, 5, 1)
    loop = [
        [run(member(stack, c), obs[n], beside[n]) for n in range(5)]
        for c in range(size)
    ]
    np.testing.assert_allclose(ours, np.array(loop), rtol=1e-5, atol=1e-6)


def test_each_reaches_every_members_gradient_separately() -> None:
    stack, obs, beside = critics(), jnp.ones((5, 4)), jnp.ones((5, 2))

    def second(members: nets.Net) -> jax.Array:
        return jnp.sum(each(members, obs, beside)[1])

    bias = jax.jit(jax.grad(second))(stack).mlp.layers[-1].bias
    np.testing.assert_allclose(bias, [[0.0], [5.0], [0.0]])
