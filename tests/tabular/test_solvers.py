"""Exact solutions: against enumeration, long doubles, closed forms and the theorems."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from softq import tabular
from softq.tabular import bounds, policies, soft, sweep
from softq.tabular import flow as flows
from softq.tabular.mdp import continuation
from softq.types import SoftqError

EPS = np.finfo(np.float64).eps
ALPHAS = (1e-3, 0.05, 0.3, 1.0, 5.0)


# (states, actions, outcomes): few, for every shape is compiled once.
SIZES = ((2, 2, 2), (3, 1, 3), (3, 3, 1), (4, 3, 2), (5, 2, 4))


def random_mdp(seed: int) -> tabular.MDP:
    """A small MDP; every third one can end, every sixth has a discount of 1."""
    rng = np.random.default_rng(seed)
    states, actions, outcomes = SIZES[seed % len(SIZES)]
    ends = 0.4 if seed % 3 == 0 else 0.0
    mdp = tabular.garnet(seed, states, actions, outcomes, rng.uniform(0.3, 0.98), ends)
    if seed % 6 == 0:
        surely = mdp.terminated.copy()
        surely[..., 0] = True  # with some chance at every step
        mdp = mdp._replace(terminated=surely, discount=1.0)
    return mdp


def flow(mdp: tabular.MDP) -> np.ndarray:
    """γ P (S, A, S) of what goes on, entry by entry."""
    p = np.zeros((*mdp.reward.shape, len(mdp.reward)))
    for s, a, k in np.ndindex(*mdp.prob.shape):
        if not mdp.terminated[s, a, k]:
            p[s, a, mdp.next_state[s, a, k]] += mdp.discount * mdp.prob[s, a, k]
    return p


def enumerated(mdp: tabular.MDP) -> np.ndarray:
    """Q* at α = 0 from every deterministic policy there is."""
    p, (states, actions) = flow(mdp), mdp.reward.shape
    best = np.full(states, -np.inf)
    for choice in itertools.product(range(actions), repeat=states):
        row = np.arange(states), np.array(choice)
        v = np.linalg.solve(np.eye(states) - p[row], mdp.reward[row])
        best = np.maximum(best, v)
    return mdp.reward + p @ best


def long_double(mdp: tabular.MDP, alpha: float) -> np.ndarray:
    """Q* at α > 0 by plain sweeps in 80-bit numbers, until nothing moves."""
    p, r = flow(mdp).astype(np.longdouble), mdp.reward.astype(np.longdouble)
    q = np.zeros_like(r)
    for _ in range(100_000):
        top = q.max(-1, keepdims=True)
        v = top[:, 0] + alpha * np.log(np.exp((q - top) / alpha).sum(-1))
        new = r + p @ v
        if np.abs(new - q).max() <= 1e-17 * (1 + np.abs(q).max()):
            break
        q = new
    return q.astype(np.float64)


SOLVERS = [tabular.soft_value_iteration, tabular.soft_policy_iteration]


@pytest.mark.parametrize("solver", SOLVERS)
def test_both_solvers_are_brute_force(solver: Any) -> None:
    """200 random MDPs, half at temperature 0: within 1e-9, and within their bound."""
    for seed in range(200):
        mdp, alpha = random_mdp(seed), 0.0 if seed % 2 else ALPHAS[seed // 10 % 5]
        truth = long_double(mdp, alpha) if alpha else enumerated(mdp)
        found = solver(mdp, alpha, 1e-9)
        assert np.abs(found.q - truth).max() <= min(1e-9, found.error), seed


def test_the_stopping_rule_bounds_the_true_error() -> None:
    """1,000 cases, tolerances from loose to tight."""
    for seed in range(1000):
        mdp, alpha = random_mdp(seed % 50), ALPHAS[seed % 5]
        tol = 10.0 ** -np.random.default_rng(seed).uniform(0, 9)
        key = seed % 50, alpha
        if key not in TRUTHS:
            TRUTHS[key] = tabular.soft_policy_iteration(mdp, alpha, 1e-10)
        truth = TRUTHS[key]
        found = tabular.soft_value_iteration(mdp, alpha, tol)
        assert found.error <= tol
        assert np.abs(found.q - truth.q).max() <= tol
        assert np.abs(found.v - truth.v).max() <= tol


TRUTHS: dict[Any, tabular.Solution] = {}


def test_theorems_1_and_2_and_the_upper_bound() -> None:
    """Every policy is no worse than the one before, on 1,000 MDPs; and then optimal."""
    for seed in range(1000):
        mdp, alpha = random_mdp(seed), ALPHAS[seed % 5]
        last, pi = np.full(mdp.reward.shape, -np.inf), policies.uniform(mdp)
        rounding = 0.0
        for _ in range(12):
            value = tabular.evaluate(mdp, pi, alpha)
            rounding = 4 * EPS * np.abs(value.q).max() * bounds.horizon(mdp)
            assert (value.q >= last - rounding).all(), seed
            if np.abs(value.q - last).max() <= rounding:
                break
            last = value.q
            pi = np.exp((last - last.max(-1, keepdims=True)) / alpha)
            pi /= pi.sum(-1, keepdims=True)
        best = tabular.soft_policy_iteration(mdp, alpha, 1e-8)
        np.testing.assert_allclose(last, best.q, rtol=0, atol=1e-7)
        assert best.v.max() <= tabular.value_bound(mdp, alpha) + rounding


def test_what_a_solution_says() -> None:
    mdp, alpha = tabular.garnet(3, 6, 3, 2, 0.9), 0.4
    found = tabular.soft_value_iteration(mdp, alpha, 1e-10)
    entropy = -(found.policy * np.log(found.policy)).sum(-1)
    assert (entropy >= 0).all()
    np.testing.assert_allclose(found.policy.sum(-1), 1, rtol=0, atol=4 * EPS)
    soft_v = (found.policy * found.q).sum(-1) + alpha * entropy
    np.testing.assert_allclose(found.v, soft_v, rtol=1e-12)
    # The first reward carries no entropy: Q = r + γ E[V].
    np.testing.assert_allclose(found.q, mdp.reward + flow(mdp) @ found.v, atol=1e-9)
    assert found.iterations == len(found.changes)
    # Sup-norm contraction, sweep by sweep.
    ahead, behind = found.changes[1:100], found.changes[:99]
    assert (ahead <= 0.9 * behind + 1e-13).all()
    assert all(x.dtype == np.float64 for x in found[:3])


def test_temperature_zero_is_uniform_over_maximisers() -> None:
    mdp = tabular.table(
        [[[0]] * 3], [[[1.0]] * 3], [[[True]] * 3], [[2.0, 2.0, 1]], 0.9
    )
    for solver in SOLVERS:
        assert solver(mdp, 0.0).policy.tolist() == [[0.5, 0.5, 0.0]]
        level = solver(mdp, 1e4).policy
        np.testing.assert_allclose(level, np.full((1, 3), 1 / 3), atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_great_temperature_is_uniform_only_where_no_policy_can_end(
    solver: Any,
) -> None:
    """What is left is the entropy to come, which an end cuts: v = log(1 + exp γv)."""
    onward, alpha = np.array([[[0], [1]], [[1], [0]]]), 1e6
    reward, ends = [[0.0, 1.0], [-1.0, 2.0]], np.zeros((2, 2, 1), bool)
    endless = tabular.table(onward, np.ones((2, 2, 1)), ends, reward, 0.9)
    np.testing.assert_allclose(solver(endless, alpha, 1e-3).policy, 0.5, atol=1e-5)
    ends[:, 1] = True
    ending = tabular.table(onward, np.ones((2, 2, 1)), ends, reward, 0.9)
    v = 0.0
    for _ in range(500):
        v = np.log(1.0 + np.exp(0.9 * v))
    going_on = np.exp(0.9 * v - v)
    assert going_on > 0.8
    found = solver(ending, alpha, 1e-3).policy
    np.testing.assert_allclose(found, [[going_on, 1 - going_on]] * 2, atol=1e-5)


def test_numbers_of_any_size_neither_overflow_nor_vanish() -> None:
    one = [[[0]] * 2], [[[1.0]] * 2], [[[True]] * 2]
    for scale in (1e6, -1e6):
        mdp = tabular.table(*one, [[scale, scale - 1.0]], 0.9)
        found = tabular.soft_value_iteration(mdp, 1e-6, 1e-3)
        assert found.v == pytest.approx([scale])
        assert found.policy.tolist() == [[1.0, 0.0]]


def test_a_policys_value_in_its_parts() -> None:
    mdp, alpha = tabular.garnet(5, 8, 3, 3, 0.95, termination=0.1), 0.7
    pi = np.random.default_rng(0).dirichlet(np.ones(3), 8)
    found, p = tabular.evaluate(mdp, pi, alpha), np.einsum("sa,sat->st", pi, flow(mdp))
    inverse = np.linalg.inv(np.eye(8) - p)
    nats = -(pi * np.log(pi)).sum(-1)
    np.testing.assert_allclose(found.task, inverse @ (pi * mdp.reward).sum(-1))
    np.testing.assert_allclose(found.entropy, inverse @ nats)
    np.testing.assert_allclose(found.v, found.task + alpha * found.entropy)
    # Q^π = (I − γ P^π)⁻¹ r over pairs, at temperature 0.
    pairs = np.einsum("sat,tb->satb", flow(mdp), pi).reshape(24, 24)
    q = np.linalg.solve(np.eye(24) - pairs, mdp.reward.ravel()).reshape(8, 3)
    np.testing.assert_allclose(tabular.evaluate(mdp, pi).q, q)


def test_occupancy_counts_visits() -> None:
    mdp = tabular.garnet(6, 8, 3, 3, 0.95)
    pi = np.random.default_rng(1).dirichlet(np.ones(3), 8)
    visits = tabular.occupancy(mdp, pi)
    assert visits.sum() == pytest.approx(20.0)
    task = mdp.start @ tabular.evaluate(mdp, pi).task
    assert (visits * mdp.reward).sum() == pytest.approx(task)


def test_nats_by_hand() -> None:
    """Where an action is never taken neither its logarithm nor the prior's counts."""
    pi = np.array([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    prior = np.array([[0.5, 0.5, 0.0], [0.125, 0.0, 0.875]])
    own = [0.25 * np.log(4) + 0.75 * np.log(4 / 3), 0.0]
    np.testing.assert_allclose(policies.nats(pi, None), own)
    kl = [0.25 * np.log(0.5) + 0.75 * np.log(1.5), np.log(8)]
    np.testing.assert_allclose(policies.nats(pi, prior), -np.array(kl))


def test_a_prior_is_relative_entropy() -> None:
    mdp, alpha = tabular.garnet(7, 6, 3, 2, 0.9), 0.5
    plain = tabular.soft_value_iteration(mdp, alpha, 1e-10)
    # A uniform prior costs α log|A| at every step but the first.
    level = tabular.soft_policy_iteration(
        mdp, alpha, 1e-10, prior=policies.uniform(mdp)
    )
    np.testing.assert_allclose(level.policy, plain.policy, atol=1e-9)
    np.testing.assert_allclose(level.v, plain.v - alpha * np.log(3) * 10.0, atol=1e-8)
    # Any prior: the policy is prior · exp(Q/α), and its KL-regularised value is V.
    prior = np.random.default_rng(2).dirichlet(np.ones(3), 6)
    prior[0] = [0.0, 0.3, 0.7]
    for solver in SOLVERS:
        found = solver(mdp, alpha, 1e-10, prior=prior)
        tilt = prior * np.exp((found.q - found.v[:, None]) / alpha)
        np.testing.assert_allclose(found.policy, tilt, atol=1e-9)
        value = tabular.evaluate(mdp, found.policy, alpha, prior)
        np.testing.assert_allclose(value.v, found.v, atol=1e-8)


def test_a_policy_that_the_prior_forbids_is_refused() -> None:
    mdp, prior = tabular.garnet(7, 6, 3, 2, 0.9), np.tile([0.0, 0.5, 0.5], (6, 1))
    with pytest.raises(SoftqError, match="action 0 in state 0; the prior never"):
        tabular.evaluate(mdp, policies.uniform(mdp), 0.1, prior)


def test_a_finite_horizon_is_that_many_sweeps() -> None:
    mdp, alpha = tabular.garnet(8, 5, 2, 2, 0.9), 0.3
    q, v = tabular.finite_horizon(mdp, alpha, 4)
    assert (q.shape, v.shape) == ((4, 5, 2), (4, 5))
    ahead = np.zeros(5)
    for t in (3, 2, 1, 0):
        wanted = mdp.reward + flow(mdp) @ ahead
        np.testing.assert_allclose(q[t], wanted)
        ahead = alpha * np.log(np.exp(wanted / alpha).sum(-1))
        np.testing.assert_allclose(v[t], ahead)
    far, _ = tabular.finite_horizon(mdp, alpha, 400)
    best = tabular.soft_value_iteration(mdp, alpha, 1e-10)
    np.testing.assert_allclose(far[0], best.q, atol=1e-9)


def test_a_path_of_temperatures_is_each_of_them() -> None:
    mdp, alphas = tabular.garnet(9, 6, 3, 2, 0.9), [0.0, 0.01, 0.3, 10.0]
    path = tabular.temperature_path(mdp, alphas, 1e-9)
    for alpha, found in zip(alphas, path, strict=True):
        alone = tabular.soft_value_iteration(mdp, alpha, 1e-9)
        np.testing.assert_allclose(found.q, alone.q, rtol=0, atol=2e-9)
        np.testing.assert_allclose(found.policy, alone.policy, atol=1e-6)
        assert found.error <= 1e-9
    entropies = [-(x.policy * np.log(x.policy + 1e-300)).sum(-1).mean() for x in path]
    assert entropies == sorted(entropies)


@pytest.mark.parametrize("tol", [1.0, 1e-2, 1e-5])
def test_a_paths_error_bounds_the_true_one(tol: float) -> None:
    mdp = tabular.garnet(9, 6, 3, 2, 0.99)
    for found, alpha in zip(
        tabular.temperature_path(mdp, [0.0, 0.3], tol), (0.0, 0.3), strict=True
    ):
        truth = tabular.soft_policy_iteration(mdp, alpha, 1e-9)
        assert np.abs(found.q - truth.q).max() <= found.error <= tol


@pytest.mark.parametrize("states", [400, 2_500])
def test_dense_and_krylov_solves_agree(states: int) -> None:
    side = int(states**0.5)
    rows = ["." * side] * side
    rows[0], rows[-1] = "S" + rows[0][1:], rows[-1][1:] + "G"
    mdp = tabular.from_map("\n".join(rows), 0.97, slip=0.2, stay=True)
    one = tabular.soft_policy_iteration(mdp, 0.02, 1e-8)
    two = tabular.soft_value_iteration(mdp, 0.02, 1e-8)
    np.testing.assert_allclose(one.q, two.q, rtol=0, atol=2e-8)
    assert one.iterations < 20 < two.iterations
    visits = tabular.occupancy(mdp, one.policy)
    task = mdp.start @ tabular.evaluate(mdp, one.policy).task
    assert (visits * mdp.reward).sum() == pytest.approx(task)


@pytest.mark.parametrize("answer", [(np.nan, 0), (1.0, 7)], ids=["a NaN", "failed"])
def test_where_the_iteration_fails_the_system_is_factorised(
    answer: tuple[float, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    mdp = tabular.garnet(5, 30, 3, 2, 0.9)
    pi = np.full((30, 3), 1 / 3)
    dense = tabular.occupancy(mdp, pi)
    found = np.zeros(30)
    found[4] = answer[0]  # the rest looks well
    monkeypatch.setattr(flows, "DENSE", 10)
    monkeypatch.setattr(flows.krylov, "bicgstab", lambda *_, **__: (found, answer[1]))
    np.testing.assert_allclose(tabular.occupancy(mdp, pi), dense, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_large_tables_are_solved_from_their_ends(alpha: float) -> None:
    """A corridor of 1,500 states: sweeps carry its end's value one step each."""
    mdp = tabular.from_map("S" + "." * 1_499 + "G", 0.999, slip=0.1)
    found = tabular.soft_policy_iteration(mdp, alpha, 1e-7)
    plain = tabular.soft_value_iteration(mdp, alpha, 1e-7)
    np.testing.assert_allclose(found.q, plain.q, rtol=0, atol=2e-7)
    assert found.iterations < 12 < 1_000 < plain.iterations


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_large_tables_without_an_end_are_solved(alpha: float) -> None:
    mdp = tabular.garnet(0, 1_200, 3, 4, 0.99)
    found = tabular.soft_policy_iteration(mdp, alpha, 1e-8)
    plain = tabular.soft_value_iteration(mdp, alpha, 1e-8)
    np.testing.assert_allclose(found.q, plain.q, rtol=0, atol=2e-8)
    assert found.iterations < 10


def test_states_nearest_to_an_end_stand_first() -> None:
    mdp = tabular.from_map("S....\n.###.\n..#.G", 0.9, slip=0.2)
    steps = np.full(len(mdp.reward), np.inf)
    steps[mdp.terminated.any((1, 2))] = 1
    for _ in range(len(steps)):
        onward = np.where(mdp.prob > 0, steps[mdp.next_state], np.inf)
        steps = np.minimum(steps, 1 + onward.min((1, 2)))
    order = sweep.nearest_first(mdp)
    assert sorted(order) == list(range(len(steps)))
    assert (np.diff(steps[order]) >= 0).all()
    assert steps[order][0] == 1 < steps[order][-1]
    # One that cannot get anywhere is there too, and last.
    lost = tabular.table([[[0]], [[0]]], [[[1.0]]] * 2, [[[False]], [[True]]],
                         [[0.0], [1.0]], 0.9)  # fmt: skip
    assert sweep.nearest_first(lost).tolist() == [1, 0]
    # An outcome of probability 0 leads nowhere: state 0 never gets to the end, 2.
    next_state = [[[0, 2]], [[2, 0]], [[2, 0]]]
    ends = [[[False, False]], [[False, False]], [[True, False]]]
    reward = [[0.0], [0.0], [1.0]]
    padded = tabular.table(next_state, [[[1.0, 0.0]]] * 3, ends, reward, 0.9)
    assert sweep.nearest_first(padded).tolist() == [2, 1, 0]


def test_a_large_table_starts_below_its_value() -> None:
    for seed in range(30):
        mdp, alpha = random_mdp(seed), ALPHAS[seed % 5]
        with jax.enable_x64(True):
            table, a = sweep.on_device(mdp), jax.numpy.float64(alpha)
            low = soft._lowest(table, a, bounds.horizon(mdp))
        assert low <= tabular.soft_value_iteration(mdp, alpha, 1e-9).v.min() + 1e-9


def test_what_a_prior_forbids_stays_forbidden_at_temperature_zero() -> None:
    mdp = tabular.table(
        [[[0]] * 3], [[[1.0]] * 3], [[[True]] * 3], [[2.0, 3.0, 1.0]], 0.9
    )
    for solver in SOLVERS:
        found = solver(mdp, 0.0, prior=[[0.5, 0.0, 0.5]])
        assert found.policy.tolist() == [[1.0, 0.0, 0.0]]
        assert found.v.tolist() == [2.0]


def test_undiscounted_worlds_are_solved() -> None:
    """A corridor whose steps cost 1: the greedy value is minus the way to the end."""
    mdp = tabular.from_map("S....G", 1.0 - 1e-9, step_cost=1.0, goals={"G": 0.0})
    ends = mdp.terminated.copy()
    ends[:, (0, 2, 3)] = True  # nothing goes on but to the right, and giving up costs
    reward = np.where(ends[..., 0], -10.0, mdp.reward)
    reward[4, 1] = 0.0
    mdp = mdp._replace(terminated=ends, reward=reward, discount=1.0)
    for solver in SOLVERS:
        found = solver(mdp, 0.0, 1e-9)
        assert found.q[0, 1] == pytest.approx(-4.0)
    assert bounds.horizon(mdp) == pytest.approx(5.0, rel=1e-6)


def test_a_tolerance_below_rounding_is_refused() -> None:
    mdp = tabular.garnet(0, 5, 2, 2, 0.99)
    for solver in SOLVERS:
        with pytest.raises(SoftqError, match="cannot be certified in float64"):
            solver(mdp, 0.1, 1e-15)
    with pytest.raises(SoftqError, match="cannot be certified"):
        tabular.temperature_path(mdp, [0.1, 1.0], 1e-15)


@pytest.mark.parametrize("alpha", [-0.1, np.nan, np.inf])
def test_a_temperature_is_zero_or_more(alpha: float) -> None:
    mdp = tabular.garnet(0, 5, 2, 2, 0.99)
    for solver in SOLVERS:
        with pytest.raises(SoftqError, match="temperature must be zero or more"):
            solver(mdp, alpha)


def test_what_is_no_policy_is_refused() -> None:
    mdp = tabular.garnet(0, 5, 2, 2, 0.99)
    with pytest.raises(SoftqError, match=r"shape \(5, 2\); found \(2, 5\)"):
        tabular.evaluate(mdp, np.full((2, 5), 0.2))
    broken = np.full((5, 2), 0.5)
    broken[3] = [0.9, 0.2]
    with pytest.raises(SoftqError, match="row of state 3 is no distribution"):
        tabular.occupancy(mdp, broken)
    with pytest.raises(SoftqError, match="one step or more"):
        tabular.finite_horizon(mdp, 0.1, 0)


def test_progress_is_told() -> None:
    mdp, seen = tabular.garnet(0, 5, 2, 2, 0.99), []
    tabular.soft_value_iteration(mdp, 0.1, on_sweep=lambda *x: seen.append(x))
    tabular.soft_policy_iteration(mdp, 0.1, on_policy=lambda *x: seen.append(x))
    assert seen[0][0] < seen[1][0]
    assert seen[-1][0] < 20
    assert seen[-1][1] <= 1e-8


def test_agents_stay_float32_beside_it() -> None:
    tabular.soft_value_iteration(tabular.garnet(0, 5, 2, 2, 0.9), 0.1)
    assert jax.numpy.ones(2).dtype == np.float32
    assert continuation(tabular.garnet(0, 5, 2, 2, 0.9)).dtype == np.float64
