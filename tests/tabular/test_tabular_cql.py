"""CQL on a table: closed forms, optimality, contraction, and the theorems' edges."""

from typing import Any

import numpy as np
import pytest

from softq import tabular
from softq.figures.theorem_cql import sample
from softq.tabular import conservative as cons
from softq.types import SoftqError


def world(seed: int, states: int = 6, actions: int = 3) -> Any:
    """An MDP, its P (S, A, S), a behaviour with full support, and two policies."""
    rng = np.random.default_rng(seed)
    mdp = tabular.garnet(seed, states, actions, 3, 0.9)
    p = np.zeros((states, actions, states))
    for s, a, k in np.ndindex(*mdp.prob.shape):
        p[s, a, mdp.next_state[s, a, k]] += mdp.prob[s, a, k]
    draw = [rng.dirichlet(np.ones(actions), states) for _ in range(3)]
    beta, pi, mu = (0.9 * x + 0.1 / actions for x in draw)
    return mdp, p, beta, pi, mu


def exactly(mdp: tabular.MDP, beta: np.ndarray) -> tabular.Empirical:
    """Data without sampling error."""
    counts = np.ones(beta.shape, int)
    return tabular.Empirical(mdp, counts, beta, counts > 0)


@pytest.mark.parametrize("weight", [0.0, 0.5, 20.0])
def test_the_fixed_points_are_the_closed_forms(weight: float) -> None:
    for seed in range(20):
        mdp, p, beta, pi, mu = world(seed)
        pairs = np.einsum("sat,tb->satb", p, pi).reshape(18, 18)
        inverse = np.linalg.inv(np.eye(18) - 0.9 * pairs)
        q = (inverse @ mdp.reward.ravel()).reshape(6, 3)
        penalty = (inverse @ (mu / beta).ravel()).reshape(6, 3)
        found = cons.eq1(mdp, beta, pi, mu, weight).q
        np.testing.assert_allclose(found, q - 0.5 * weight * penalty, atol=1e-10)
        over = np.linalg.inv(np.eye(6) - 0.9 * np.einsum("sa,sat->st", pi, p))
        chi2 = (pi * (pi / beta - 1)).sum(-1)
        v = (pi * q).sum(-1) - 0.5 * weight * over @ chi2
        found = cons.eq2(mdp, beta, pi, pi, weight).v
        np.testing.assert_allclose(found, v, atol=1e-10)


def test_eq_2_is_below_in_value_but_not_in_every_pair() -> None:
    mdp, _, _, pi, _ = world(1)
    beta = 0.8 * pi + 0.2 / 3
    found, truth = cons.eq2(mdp, beta, pi, pi, 2.0), tabular.evaluate(mdp, pi)
    assert (found.v < truth.v).all()
    assert (found.q > truth.q).any()


@pytest.mark.parametrize("weight", [1e-3, 1.0, 30.0, 1e4])
def test_the_minimiser_is_optimal(weight: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        _, _, beta, rho, _ = world(seed)
        rho = np.ones_like(rho) if seed % 2 else rho
        y = 10.0 * rng.normal(size=beta.shape)
        q = cons.minimiser(y, beta, weight, rho)
        p = rho * np.exp(q - q.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        np.testing.assert_allclose(
            q, y - 0.5 * weight * (p / beta - 1), rtol=0, atol=1e-10 * max(weight, 10)
        )

        def loss(q: np.ndarray) -> np.ndarray:
            partition = np.log((rho * np.exp(q)).sum(-1))  # noqa: B023
            fit = (beta * (q - y) ** 2).sum(-1)  # noqa: B023
            return fit + weight * (partition - (beta * q).sum(-1))  # noqa: B023

        if weight < 100:
            for _ in range(20):
                near = q + 1e-2 * rng.normal(size=q.shape)
                assert (loss(near) >= loss(q) - 1e-12).all()


def test_the_minimiser_does_not_expand() -> None:
    """y → Q has a row-stochastic Jacobian."""
    _, _, beta, _, _ = world(2)
    y, one, step = (
        3 * np.random.default_rng(0).normal(size=(6, 3)),
        np.ones((6, 3)),
        1e-6,
    )
    jacobian = np.stack(
        [
            (cons.minimiser(y + step * e, beta, 4.0, one)
             - cons.minimiser(y - step * e, beta, 4.0, one)) / (2 * step)
            for e in np.eye(3)
        ],
        -1,
    )  # fmt: skip
    assert (jacobian > -1e-8).all()
    np.testing.assert_allclose(jacobian.sum(-1), 1, atol=1e-7)


@pytest.mark.parametrize("backup", ["max", "soft", "policy"])
@pytest.mark.parametrize("with_rho", [False, True])
def test_one_sweep_brings_any_two_qs_closer_by_the_discount(
    backup: Any, with_rho: bool
) -> None:
    """‖T Q₁ − T Q₂‖ ≤ γ ‖Q₁ − Q₂‖; a common shift, in a world without end, is γ's."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        mdp, _, beta, pi, rho = world(seed)
        base = rho if with_rho else np.ones_like(rho)
        kind = pi if backup == "policy" else backup

        def sweep(q: np.ndarray) -> np.ndarray:
            v = cons._state_value(q, kind, 0.5)  # noqa: B023
            return cons.minimiser(cons._backed_up(mdp, v), beta, 3.0, base)  # noqa: B023

        for size in (0.1, 1.0, 30.0):
            one, other = size * rng.normal(size=(2, *beta.shape))
            # The second, better better and worse worse, is what E_softmax[Q] expands.
            apart = one + 0.1 * size * np.sign(one - one.mean(-1, keepdims=True))
            for two in (other, apart):
                moved = np.abs(sweep(one) - sweep(two)).max()
                assert moved <= (0.9 + 1e-10) * np.abs(one - two).max()
            np.testing.assert_allclose(sweep(one + size) - sweep(one), 0.9 * size)


@pytest.mark.parametrize("backup", ["max", "soft", "policy"])
@pytest.mark.parametrize("with_rho", [False, True])
def test_cql_is_a_contraction_to_its_fixed_point(backup: Any, with_rho: bool) -> None:
    mdp, p, beta, pi, rho = world(3)
    kind = pi if backup == "policy" else backup
    options: dict[str, Any] = {"backup": kind, "rho": rho if with_rho else None}
    options["alpha"] = 0.5 if backup == "soft" else 0.0
    q, iterations, error = cons.cql(mdp, beta, 3.0, tol=1e-10, **options)
    assert error <= 1e-10
    assert iterations < 400
    v = {"max": q.max(-1), "policy": (pi * q).sum(-1),
         "soft": 0.5 * np.log(np.exp(q / 0.5).sum(-1))}[backup]  # fmt: skip
    base = rho if with_rho else np.ones_like(rho)
    y = mdp.reward + 0.9 * p @ v
    np.testing.assert_allclose(q, cons.minimiser(y, beta, 3.0, base), atol=1e-9)


def test_weight_zero_is_the_plain_optimum() -> None:
    mdp, _, beta, pi, _ = world(4)
    for backup, wanted in (
        ("max", tabular.soft_value_iteration(mdp, 0.0).q),
        (pi, tabular.evaluate(mdp, pi).q),
    ):
        found, _, _ = cons.cql(mdp, beta, 0.0, backup=backup)
        np.testing.assert_allclose(found, wanted, atol=2e-8)
    soft, _, _ = cons.cql(mdp, beta, 0.0, backup="soft", alpha=0.3)
    wanted = tabular.soft_value_iteration(mdp, 0.3).q
    np.testing.assert_allclose(soft, wanted, atol=2e-8)


def test_what_the_data_never_do_takes_no_part() -> None:
    mdp, _, beta, _, _ = world(5)
    beta[0] = [0.0, 0.5, 0.5]
    q, _, _ = cons.cql(mdp, beta, 3.0)
    assert q[0, 0] == -np.inf
    assert np.isfinite(np.delete(q.ravel(), 0)).all()
    two = mdp.reward.copy()
    two[0, 0] = 1e6  # a reward nobody saw
    again, _, _ = cons.cql(mdp._replace(reward=two), beta, 3.0, tol=1e-2)
    np.testing.assert_allclose(again[1:], q[1:], atol=2e-2)


def test_a_policy_outside_the_data_is_refused() -> None:
    mdp, _, beta, pi, mu = world(6)
    beta[2] = [0.0, 0.5, 0.5]
    for call in (
        lambda: cons.eq1(mdp, beta, pi, mu, 1.0),
        lambda: cons.cql(mdp, beta, 1.0, backup=pi),
    ):
        with pytest.raises(SoftqError, match="action 0 in state 2, where the data"):
            call()
    with pytest.raises(SoftqError, match="weight must be zero or more"):
        cons.cql(mdp, beta, -1.0)


def test_without_sampling_error_the_theorems_are_equalities() -> None:
    mdp, _, beta, pi, mu = world(7)
    data = exactly(mdp, beta)
    for sides in (
        cons.theorem_31(data, mdp, pi, mu, 5.0, delta=None),
        cons.theorem_32(data, mdp, pi, 5.0, delta=None),
    ):
        np.testing.assert_allclose(sides.left, sides.right, atol=1e-10)
    assert abs(cons.theorem_32(data, mdp, pi, 5.0, delta=None).slack) < 1e-10


def test_actions_without_data_or_density_take_no_part() -> None:
    mdp, p, beta, _, rho = world(4)
    beta, rho = (
        beta * (np.arange(3) != 0),
        rho * (np.arange(6)[:, None] + [0, 1, 2] != 2),
    )
    beta, rho = (x / x.sum(1)[:, None] for x in (beta, rho))
    both = (beta > 0) & (rho > 0)
    q, iterations, error = cons.cql(mdp, beta, 2.0, rho=rho, tol=1e-9)
    assert iterations > 10
    assert 0 < error <= 1e-9
    assert (np.isneginf(q) == ~both).all()
    y = mdp.reward + 0.9 * p @ q.max(1)
    best = cons.minimiser(y, beta, 2.0, rho)
    np.testing.assert_allclose(q[both], best[both], atol=1e-8)


def test_the_operator_bound_covers() -> None:
    mdp, p, beta, _, _ = world(8)
    top = np.abs(mdp.reward).max()
    covered = 0
    for seed in range(100):
        data = sample(mdp, beta, 300, seed)
        v = np.random.default_rng(seed).uniform(-1, 1, 6) * top / 0.1
        estimate = np.zeros_like(p)
        for s, a, k in np.ndindex(*data.mdp.prob.shape):
            estimate[s, a, data.mdp.next_state[s, a, k]] += data.mdp.prob[s, a, k]
        off = 0.9 * np.abs((estimate - p) @ v)
        bound = cons.operator_bound(data, 0.1, top)
        covered += bool((off <= bound)[data.seen].all())
    assert covered >= 90
    few, many = sample(mdp, beta, 300, 0), sample(mdp, beta, 30_000, 0)
    ratio = cons.operator_bound(few, 0.1, top) / cons.operator_bound(many, 0.1, top)
    assert ratio.min() > 5  # it falls with √n


def test_the_operator_bound_is_weissmans_by_hand() -> None:
    """S = 6, A = 3, δ = 0.1, n = 50: 2 (6 log 2 + log 360) / 50 = 0.401799."""
    mdp, _, beta, _, _ = world(8)
    counts = np.full(beta.shape, 50)
    counts[0, 0], counts[1, 1] = 0, 1
    data = tabular.Empirical(mdp, counts, beta, counts > 0)
    bound = cons.operator_bound(data, 0.1, top=1.0)
    assert bound[0, 1] == pytest.approx(0.9 * 0.633877 / 0.1, rel=1e-5)
    assert bound[1, 1] == pytest.approx(0.9 * 2.0 / 0.1)  # no two laws are further
    assert bound[0, 0] == pytest.approx(0.9 * 2.0 / 0.1 + 2.0)


def test_theorems_31_and_32_cover_and_a_scaled_constant_does_not() -> None:
    mdp, _, beta, pi, mu = world(9)
    kept = {scale: [0, 0] for scale in (1.0, 0.0)}
    for seed in range(60):
        data = sample(mdp, beta, 2_000, seed)
        for scale, count in kept.items():
            one = cons.theorem_31(data, mdp, pi, mu, 1.0, scale=scale)
            two = cons.theorem_32(data, mdp, pi, 1.0, scale=scale)
            count[0] += one.slack >= 0
            count[1] += two.slack >= 0
    assert min(kept[1.0]) >= 54
    assert max(kept[0.0]) < 54


def test_the_sides_of_theorems_33_and_34_by_hand() -> None:
    mdp, p, beta, pi, mu = world(3)
    rng = np.random.default_rng(3)
    q, v, q_true = 3 * rng.normal(size=(6, 3)), rng.normal(size=6), np.ones((6, 3))
    q_true[:, 0] += 5.0
    after = mdp.reward + 0.9 * p @ v
    near = np.exp(q) / np.exp(q).sum(1)[:, None]
    pi = np.where(np.arange(6)[:, None] % 2, pi, 0.99 * near + 0.01 * pi)
    sides, met = cons.theorem_33(mdp, beta, q, 2.0, pi, v), []
    for s in range(6):
        step = after[s] - (near[s] / beta[s] - 1)
        assert sides.left[s] == pytest.approx(pi[s] @ step)
        assert sides.right[s] == pytest.approx(pi[s] @ after[s])
        far = abs(pi[s] - near[s]).sum() / 2
        rest = near[s] @ (near[s] / beta[s] - 1) - far * max(near[s] / beta[s])
        assert sides.applies[s] == (rest >= 0)
        met.append(rest >= 0)
    assert 0 < sum(met) < 6
    sides, least = cons.theorem_34(mdp, beta, mu, 3.0, v, q_true)
    for s in range(6):
        step = after[s] - 1.5 * (mu[s] / beta[s] - 1)
        assert sides.left[s] == pytest.approx((beta[s] - mu[s]) @ q_true[s])
        assert sides.right[s] == pytest.approx((beta[s] - mu[s]) @ step)
        chi2 = mu[s] @ (mu[s] / beta[s] - 1)
        lack = (beta[s] - mu[s]) @ (q_true[s] - after[s])
        assert least[s] == pytest.approx(2 * lack / chi2)


def test_theorem_33_holds_where_its_condition_does() -> None:
    met = 0
    for seed in range(200):
        mdp, _, beta, pi, _ = world(seed)
        rng = np.random.default_rng(seed)
        q, v = 3.0 * rng.normal(size=(6, 3)), rng.normal(size=6)
        mu = np.exp(q) / np.exp(q).sum(-1, keepdims=True)
        near = 0.9 * mu + 0.1 * pi
        sides = cons.theorem_33(mdp, beta, q, 2.0, near, v)
        assert sides.slack >= -1e-12
        far = np.abs(near - mu).sum(-1) / 2
        rest = (mu * (mu / beta - 1)).sum(-1) - far * (mu / beta).max(-1)
        np.testing.assert_array_equal(sides.applies, rest >= 0)
        met += int(sides.applies.sum())
    assert met > 200
    # Outside: a policy that flees the penalised actions has a bonus, not a penalty.
    mdp, _, beta, _, _ = world(0)
    q = np.log(beta)
    q[:, 0] += 3.0
    away = np.eye(3)[[1] * 6]
    sides = cons.theorem_33(mdp, beta, q, 2.0, away, np.zeros(6))
    assert not sides.applies.any()
    assert (sides.left > sides.right).any()


def test_theorem_34_needs_a_large_weight() -> None:
    failed = 0
    for seed in range(200):
        mdp, _, beta, _, mu = world(seed)
        rng = np.random.default_rng(seed)
        v, q_true = 5 * rng.normal(size=6), 5 * rng.normal(size=(6, 3))
        _, least = cons.theorem_34(mdp, beta, mu, 1.0, v, q_true)
        enough = 1.01 * max(float(least.max()), 0.0) + 1e-6
        sides, _ = cons.theorem_34(mdp, beta, mu, enough, v, q_true)
        assert sides.slack > 0
        little, _ = cons.theorem_34(mdp, beta, mu, 0.0, v, q_true)
        failed += little.slack < 0
    assert failed > 100
    mdp, _, beta, _, _ = world(0)  # where μ is the behaviour no weight helps
    sides, least = cons.theorem_34(mdp, beta, beta, 1e9, np.zeros(6), np.ones((6, 3)))
    assert not sides.applies.any()
    assert np.isinf(least).all()
