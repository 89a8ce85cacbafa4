"""One gradient step, and the two ways a target network follows."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from softq.types import Info, Scalar

Params = TypeVar("Params")

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Kingma & Ba's


class Moments(NamedTuple):
    """Adam's state: steps taken, running means of the gradient and of its square."""

    steps: Int[Array, ""]
    mean: Any
    square: Any


def adam(params: Any) -> Moments:
    """Adam's empty moments for `params`."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return Moments(jnp.int32(0), zeros, jax.tree.map(jnp.copy, zeros))


def descend(
    loss: Callable[..., tuple[Scalar, Info]],
    params: Params,
    moments: Moments,
    lr: Scalar | float,
    *args: Any,
    **scalars: Any,
) -> tuple[Params, Moments, Info]:
    """One Adam step on `loss(params, *args, **scalars) -> (value, info)`.

    Only the first argument is differentiated: what is not trained is simply not
    that argument. Returns the new parameters, the new moments and the loss's info.
    """
    grads, info = jax.grad(loss, has_aux=True)(params, *args, **scalars)
    params, moments = adam_step(params, grads, moments, lr)
    return params, moments, info


def in_parts(
    loss: Callable[..., tuple[Scalar, Info]], parts: int
) -> Callable[..., tuple[Scalar, Info]]:
    """`loss(params, batch, *args)`, the mean over a batch, as that of so many parts.

    The gradient of a part is taken before the next part begins, so that what the
    layers leave behind is small and stays near the processor: a large batch takes
    two thirds of the time. Every leaf of `batch` has the same leading axis, which
    `parts` divides.
    """

    def parted(
        params: Any, batch: Any, *args: Any, **scalars: Any
    ) -> tuple[Scalar, Info]:
        @jax.custom_vjp
        def whole(params: Any) -> Any:
            return forward(params)[0]

        def forward(params: Any) -> Any:
            slope = jax.value_and_grad(loss, has_aux=True)
            return _mean(lambda b: slope(params, b, *args, **scalars), batch, parts)

        def backward(slope: Any, given: Any) -> Any:
            return (jax.tree.map(lambda g: g * given[0], slope),)

        whole.defvjp(forward, backward)
        found: tuple[Scalar, Info] = whole(params)
        return found

    return loss if parts == 1 else parted


def _mean(of: Callable[[Any], Any], batch: Any, parts: int) -> Any:
    """The mean of `of` over so many parts of a batch, one after the other."""
    cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add(total: Any, part: Any) -> Any:
        return jax.tree.map(lambda t, f: t + f / parts, total, of(part)), None

    shapes = jax.eval_shape(of, jax.tree.map(lambda x: x[0], cut))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(add, zeros, cut)[0]


def adam_step(
    params: Params, grads: Params, moments: Moments, lr: Scalar | float
) -> tuple[Params, Moments]:
    """Kingma & Ba 2015 (arXiv 1412.6980), algorithm 1.

    The biases of both moments are corrected in the step size and in ε, in the order
    of the paper's section 2: the same numbers, with one division an element instead
    of three (4 % of a SAC update).
    """
    steps = moments.steps + 1
    t = steps.astype(jnp.float32)
    unbias = jnp.sqrt(-jnp.expm1(t * math.log(BETA2)))  # √(1 − β₂ᵗ)
    size = lr * unbias / -jnp.expm1(t * math.log(BETA1))
    mean = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), moments.mean, grads)
    square = jax.tree.map(
        lambda v, g: v + (1 - BETA2) * (g * g - v), moments.square, grads
    )

    def moved(x: Array, m: Array, v: Array) -> Array:
        step, floor = (z.astype(x.dtype) for z in (size, EPSILON * unbias))
        return x - step * m / (jnp.sqrt(v) + floor)

    return jax.tree.map(moved, params, mean, square), Moments(steps, mean, square)


def polyak(target: Params, online: Params, rate: Scalar | float) -> Params:
    """θ' + rate (θ − θ'), leaf by leaf; rate 1 copies up to rounding."""
    return jax.tree.map(lambda t, o: t + rate * (o - t), target, online)


def follow(
    target: Params,
    online: Params,
    updates: Int[Array, ""],
    rate: Scalar | float,
    period: int,
) -> Params:
    """The target after an update: Polyak, or a hard copy every `period` updates.

    `updates` counts the updates so far, this one included; period 0 is Polyak.
    """
    if period == 0:
        return polyak(target, online, rate)
    copy = updates % period == 0
    return jax.tree.map(lambda t, o: jnp.where(copy, o, t), target, online)
