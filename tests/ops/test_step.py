"""The gradient step and the target network, against hand-computed updates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from softq.ops import step
from softq.types import Info, Scalar

START = {"w": jnp.array([2.0, -1.0, 0.5]), "b": jnp.array(3.0)}
FAR = {"w": jnp.array([-4.0, 8.0, 0.25]), "b": jnp.array(-1.0)}


def bowl(params: Any) -> tuple[Scalar, Info]:
    """Σ w² + 3b and itself as info: gradient (2w, 3)."""
    value = jnp.sum(params["w"] ** 2) + 3.0 * params["b"]
    return value, {"loss": value}


descend_bowl = jax.jit(lambda p, m, lr: step.descend(bowl, p, m, lr))


def near(one: Any, two: Any, rtol: float = 1e-6) -> None:
    """The same tree of arrays, up to rounding."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol)


# Descent.


def test_first_step_is_adams_by_hand() -> None:
    # m = 0.1 g and v = 0.001 g², unbiased g and g²: a step of lr g / (|g| + 1e-8).
    new, moments, info = descend_bowl(START, step.adam(START), 0.1)
    # In float32 1 − 0.999 alone costs 7e-6.
    near(new, {"w": np.array([1.9, -0.9, 0.4]), "b": np.array(2.9)}, rtol=1e-5)
    assert float(info["loss"]) == 14.25
    first, second = moments.mean, moments.square
    near(first, {"w": np.array([0.4, -0.2, 0.1]), "b": np.array(0.3)})
    near(second, {"w": np.array([0.016, 0.004, 0.001]), "b": np.array(0.009)})


def test_a_small_gradient_shows_adams_epsilon() -> None:
    # g = 1e-8 = ε: half the step that any larger gradient would take.
    new, _, _ = step.descend(
        lambda x: (1e-8 * x, {}), jnp.array(1.0), step.adam(jnp.array(1.0)), 0.1
    )
    assert float(new) == pytest.approx(0.95, abs=1e-5)


def test_moments_carry_over_many_steps() -> None:
    # Gradients differ in size and sign along the way, so every constant matters.
    params, moments = START["w"], step.adam(START["w"])

    def waves(w: jax.Array) -> tuple[Scalar, Info]:
        return jnp.sum(w**2 + jnp.sin(3.0 * w)), {}

    descend = jax.jit(lambda p, m: step.descend(waves, p, m, 0.05))
    for _ in range(25):
        params, moments, _ = descend(params, moments)
    expected = oracles.adam_steps(
        np.array([2.0, -1.0, 0.5]), lambda w: 2.0 * w + 3.0 * np.cos(3.0 * w), 0.05, 25
    )
    np.testing.assert_allclose(params, expected, rtol=1e-4, atol=1e-5)


def test_only_the_first_argument_is_differentiated() -> None:
    # With both arguments trained, the gradient at x · y = x · x would be 2x, and the
    # second moment tells 1 from 4.
    def product(x: jax.Array, y: jax.Array, scale: float) -> tuple[Scalar, Info]:
        return scale * jnp.sum(x * y), {}

    x = jnp.array([1.0, -2.0])
    new, moments, _ = step.descend(product, x, step.adam(x), 0.1, x, scale=3.0)
    np.testing.assert_allclose(new, [0.9, -1.9], rtol=1e-6)
    np.testing.assert_allclose(moments.mean, [0.3, -0.6], rtol=1e-6)
    np.testing.assert_array_equal(x, [1.0, -2.0])


def test_info_is_of_the_parameters_before_the_step() -> None:
    params, moments = START, step.adam(START)
    for _ in range(3):
        before = bowl(params)[0]
        params, moments, info = descend_bowl(params, moments, 0.1)
        assert float(info["loss"]) == pytest.approx(float(before), rel=1e-6)


@pytest.mark.parametrize("lr", [1e-3, jnp.float32(1e-3)], ids=["number", "array"])
def test_a_step_keeps_structure_and_dtype_compiled_or_not(lr: Any) -> None:
    moments = step.adam(START)
    plain = step.descend(bowl, START, moments, lr)
    compiled = descend_bowl(START, moments, lr)
    near(plain, compiled)
    for new in (plain, compiled):
        assert jax.tree.structure(new[:2]) == jax.tree.structure((START, moments))
        assert jax.tree.map(jnp.result_type, new[:2]) == jax.tree.map(
            jnp.result_type, (START, moments)
        )


def test_learning_rates_are_swept_by_vmap() -> None:
    def after(lr: jax.Array) -> jax.Array:
        return step.descend(bowl, START, step.adam(START), lr)[0]["b"]

    swept = jax.jit(jax.vmap(after))(jnp.array([0.0, 0.1, 1.0]))
    np.testing.assert_allclose(swept, [3.0, 2.9, 2.0], rtol=1e-5)


# Targets.


def test_polyak_moves_by_the_rate() -> None:
    moved = step.polyak(START, FAR, 0.25)
    near(moved, {"w": np.array([0.5, 1.25, 0.4375]), "b": np.array(2.0)})


@pytest.mark.parametrize("rate", [0.005, 0.3])
def test_polyak_forgets_geometrically(rate: float) -> None:
    # Towards a fixed θ: θ'_n = θ + (1 − rate)^n (θ'_0 − θ).
    target, n, polyak = START, 50, jax.jit(step.polyak)
    for _ in range(n):
        target = polyak(target, FAR, rate)
    expected = jax.tree.map(lambda t, o: o + (1.0 - rate) ** n * (t - o), START, FAR)
    near(target, expected, rtol=1e-5)


def test_polyak_of_rate_zero_stays_and_of_rate_one_copies() -> None:
    near(step.polyak(START, FAR, 0.0), START, rtol=0.0)
    near(step.polyak(START, FAR, 1.0), FAR, rtol=0.0)


def test_polyak_of_equal_networks_stays_put_exactly() -> None:
    near(step.polyak(FAR, FAR, jnp.float32(0.005)), FAR, rtol=0.0)


@pytest.mark.parametrize("period", [1, 3, 4])
def test_follow_copies_at_multiples_of_the_period_and_never_otherwise(
    period: int,
) -> None:
    # Values with no exact sum between them: a copy by addition would show.
    target = {"w": jnp.array([1e8, 0.1, -3.0]), "b": jnp.array(1e-8)}
    online = {"w": jnp.array([1.1, 0.3, 1e9]), "b": jnp.array(7.7)}
    follow = jax.jit(step.follow, static_argnames="period")
    for updates in range(1, 13):
        new = follow(target, online, jnp.int32(updates), 0.5, period=period)
        near(new, online if updates % period == 0 else target, rtol=0.0)


@pytest.mark.parametrize("updates", [1, 2, 1000])
def test_follow_without_a_period_is_polyak_at_every_update(updates: int) -> None:
    new = step.follow(START, FAR, jnp.int32(updates), 0.25, 0)
    near(new, {"w": np.array([0.5, 1.25, 0.4375]), "b": np.array(2.0)})


# In parts.


def misfit(params: Any, batch: Any, power: Any, *, scale: Any) -> Any:
    x, y = batch
    error = jnp.tanh(x @ params["w"] + params["b"]) - y
    loss = scale * jnp.mean(jnp.abs(error) ** power)
    return loss, {"loss": loss, "error": jnp.mean(error)}


def problem(seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    params = {"w": random.normal(size=3), "b": random.normal(size=())}
    batch = random.normal(size=(12, 3)), random.normal(size=12)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (params, batch))


@pytest.mark.parametrize("parts", [1, 3, 12])
def test_a_gradient_in_parts_is_that_of_the_whole(parts: int) -> None:
    params, batch = problem(0)

    def both(loss: Any) -> Any:
        def found(params: Any, scale: Any) -> Any:
            grad = jax.value_and_grad(loss, has_aux=True)
            return grad(params, batch, 2.0, scale=scale)

        return jax.jit(found)(params, jnp.float32(0.7))

    whole, cut = both(misfit), both(step.in_parts(misfit, parts))
    assert jax.tree.structure(whole) == jax.tree.structure(cut)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_parts_map_over_lanes_of_parameters_batches_and_scalars() -> None:
    problems = [problem(seed) for seed in range(2)]
    scales = jnp.float32([0.5, 2.0])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *problems)

    def of_lane(problem: Any, scale: Any) -> Any:
        cut = step.in_parts(misfit, 4)
        return jax.grad(cut, has_aux=True)(*problem, 2.0, scale=scale)

    lanes = jax.jit(jax.vmap(of_lane))(stacked, scales)
    for k, one in enumerate(problems):
        alone, _ = jax.grad(misfit, has_aux=True)(*one, 2.0, scale=scales[k])
        found = jax.tree.map(lambda x, k=k: x[k], lanes[0])
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_parts_pass_on_what_multiplies_them() -> None:
    params, batch = problem(0)

    def thrice(loss: Any) -> Any:
        return jax.grad(lambda p: 3.0 * loss(p, batch, 2.0, scale=jnp.float32(0.7))[0])

    for a, b in zip(
        jax.tree.leaves(thrice(misfit)(params)),
        jax.tree.leaves(thrice(step.in_parts(misfit, 3))(params)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
