"""Composition beside the exact optimum."""

import numpy as np
import pytest

from softq import tabular
from softq.tabular.compose import compose
from softq.types import SoftqError


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_the_gap_vanishes_where_it_must(how: str) -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 5, 3))
    mdp = tabular.garnet(0, 5, 3, 3, 0.9)
    ends = mdp._replace(terminated=np.ones_like(mdp.terminated))
    short = compose(ends, one, two, 0.3, how)  # one step: Q is the reward
    same = compose(mdp, one, one, 0.3, how)  # the same task twice
    for made in (short, same):
        np.testing.assert_allclose(made.gap, 0, atol=1e-9)
        np.testing.assert_allclose(made.loss, 0, atol=1e-9)
        np.testing.assert_allclose(made.policy, made.optimum.policy, atol=1e-8)


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_the_composed_q_hopes_for_too_much(how: str) -> None:
    for seed in range(20):
        one, two = np.random.default_rng(seed).normal(size=(2, 6, 3))
        made = compose(tabular.garnet(seed, 6, 3, 2, 0.9), one, two, 0.3, how)
        assert (made.gap >= -1e-9).all()
        assert (made.loss >= -1e-9).all()
        assert made.gap.max() > 1e-3


def test_the_sum_at_twice_the_temperature_is_the_mean() -> None:
    one, two = np.random.default_rng(1).normal(size=(2, 6, 3))
    mdp = tabular.garnet(1, 6, 3, 2, 0.9)
    mean, total = (compose(mdp, one, two, 0.3, how) for how in ("mean", "sum"))
    np.testing.assert_allclose(total.q, 2 * mean.q)
    np.testing.assert_allclose(total.policy, mean.policy)
    np.testing.assert_allclose(total.gap, 2 * mean.gap, atol=1e-8)
    np.testing.assert_allclose(total.optimum.q, 2 * mean.optimum.q, atol=1e-8)


def test_a_temperature_of_zero_is_refused() -> None:
    mdp = tabular.garnet(0, 5, 3, 3, 0.9)
    with pytest.raises(SoftqError, match="above zero"):
        compose(mdp, mdp.reward, mdp.reward, 0.0)
