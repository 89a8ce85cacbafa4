"""One gradient step, and the two ways a target network follows."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from softq.types import Info, Scalar

Params = TypeVar("Params")


def adam(params: Any) -> optax.OptState:
    """Adam's empty moments for `params` (Kingma & Ba 2015)."""
    with jax.numpy_dtype_promotion("standard"):
        return optax.adam(0.0).init(params)


def descend(
    loss: Callable[..., tuple[Scalar, Info]],
    params: Params,
    moments: optax.OptState,
    lr: Scalar | float,
    *args: Any,
    **scalars: Any,
) -> tuple[Params, optax.OptState, Info]:
    """One Adam step on `loss(params, *args, **scalars) -> (value, info)`.

    Only the first argument is differentiated: what is not trained is simply not
    that argument. Returns the new parameters, the new moments and the loss's info.
    """
    grads, info = jax.grad(loss, has_aux=True)(params, *args, **scalars)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes int and float
        updates, moments = optax.adam(lr).update(grads, moments)
        return optax.apply_updates(params, updates), moments, info


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
