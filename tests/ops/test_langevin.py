"""MALA against the distributions it must leave as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.ops.langevin import mala

KEYS = jax.random.split(jax.random.key(0), 20_000)


@pytest.mark.parametrize("size", [0.05, 0.6])
def test_chains_come_to_the_density_whatever_their_step(size: float) -> None:
    """A skewed density on the line: p ∝ exp(u − exp(u)), that of log Exp(1)."""

    def log_density(u: jax.Array) -> jax.Array:
        return jnp.sum(u - jnp.exp(u))

    run = jax.jit(jax.vmap(lambda key: mala(key, log_density, jnp.zeros(1), 200, size)))
    end, accepted = run(KEYS)
    # The mean of log Exp(1) is −0.5772, its variance π²/6.
    assert float(end.mean()) == pytest.approx(-0.5772, abs=0.03)
    assert float(end.var()) == pytest.approx(np.pi**2 / 6, rel=0.05)
    assert 0.5 < float(accepted.mean()) < 1.0


def test_a_step_too_large_is_refused_and_nan_never_taken() -> None:
    def log_density(u: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(u[0]) < 1.0, -(u[0] ** 2), jnp.nan)

    end, accepted = jax.vmap(
        lambda key: mala(key, log_density, jnp.zeros(1), 20, 10.0)
    )(KEYS[:500])
    assert (jnp.abs(end) < 1.0).all()
    assert float(accepted.mean()) < 0.5
