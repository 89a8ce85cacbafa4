"""Tables: what they are made from, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import scipy.sparse

from softq import tabular
from softq.envs.grid import Grid
from softq.tabular import mdp as tables
from softq.types import SoftqError

MAP = "S.H\n.#.\n..G"


def dense(mdp: tabular.MDP) -> np.ndarray:
    """P (S, A, S), what terminates included."""
    states, actions, outcomes = mdp.prob.shape
    p = np.zeros((states, actions, states))
    for s, a, k in np.ndindex(states, actions, outcomes):
        p[s, a, mdp.next_state[s, a, k]] += mdp.prob[s, a, k]
    return p


def plain(**changes: Any) -> dict[str, Any]:
    """The arguments of `table` for two states that lead to each other."""
    fields: dict[str, Any] = {
        "next_state": [[[0, 1]], [[1, 0]]], "prob": [[[0.25, 0.75]], [[1.0, 0.0]]],
        "terminated": np.zeros((2, 1, 2), bool), "reward": [[1.0], [-1.0]],
        "discount": 0.9,
    }  # fmt: skip
    return fields | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prob": [[[0.25, 0.7]], [[1, 0]]]}, "state 0, action 0 sum to 0.95, not 1"),
        ({"prob": [[[0.25, 0.75]], [[0.9, 0.0]]]}, "state 1, action 0 sum to 0.9,"),
        ({"prob": [[[0.5, 0.5]], [[1.5, -0.5]]]}, "state 1, action 0 .* -0.5"),
        ({"prob": [[[np.nan, 1.0]], [[1.0, 0.0]]]}, "probability nan"),
        ({"next_state": [[[0, 1]], [[1, 2]]]}, "leads to state 2; .* 0 to 1"),
        ({"next_state": [[[0, 1]], [[-1, 0]]]}, "leads to state -1"),
        ({"next_state": [[[0.0, 1.0]], [[1.0, 0.0]]]}, "must hold integers"),
        ({"reward": [[1.0], [np.nan]]}, "state 1, action 0 has reward nan"),
        ({"reward": [[np.inf], [0.0]]}, "has reward inf"),
        ({"reward": [1.0, 2.0]}, r"shape \(S, A\)"),
        ({"prob": [[[1.0]], [[1.0]]]}, r"found \(2, 1, 2\), \(2, 1, 1\), \(2, 1, 2\)"),
        ({"terminated": np.zeros((2, 1, 1), bool)}, r"\(2, 1, 2\), \(2, 1, 1\) and"),
        ({"discount": 1.5}, r"in \[0, 1\]; found 1.5"),
        ({"discount": -0.1}, "found -0.1"),
        ({"discount": 1.0}, "every policy to terminate, but from state 0"),
        ({"start": [0.5, 0.6]}, "start sum to 1.1"),
        ({"start": [1.0]}, "start needs 2"),
    ],
)
def test_what_is_no_mdp_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SoftqError, match=says):
        tabular.table(**plain(**changes))


def test_a_discount_of_one_is_for_what_always_ends() -> None:
    ends = np.array([[[True, True]], [[True, False]]])
    assert tabular.table(**plain(discount=1.0, terminated=ends)).discount == 1.0
    # State 0 may end but need not ever: an outcome of probability 0 does not count.
    lasting = np.array([[[False, True]], [[False, True]]])
    made = tabular.table(**plain(terminated=lasting))
    np.testing.assert_array_equal(tables.endless(made), [1])
    # State 0 may come back to itself, but nothing makes it.
    leaving = np.array([[[False, False]], [[True, False]]])
    made = tabular.table(**plain(discount=1.0, terminated=leaving))
    assert tables.endless(made).size == 0


def test_a_discount_of_zero_looks_no_further() -> None:
    made = tabular.table(**plain(discount=0.0))
    np.testing.assert_allclose(tabular.evaluate(made, np.ones((2, 1))).v, [1.0, -1.0])


def test_gymnasiums_tables_are_read() -> None:
    env = gymnasium.make("FrozenLake-v1", is_slippery=True)
    mdp = tabular.from_gymnasium(env, 0.9)
    p: Any = env.unwrapped
    for s in range(16):
        for a in range(4):
            expected = sum(chance * r for chance, _, r, _ in p.P[s][a])
            assert mdp.reward[s, a] == pytest.approx(expected)
            for s2 in range(16):
                wanted = sum(q for q, t, _, _ in p.P[s][a] if t == s2)
                assert dense(mdp)[s, a, s2] == pytest.approx(wanted)
            ended = {t: d for _, t, _, d in p.P[s][a]}
            for k, chance in enumerate(mdp.prob[s, a]):
                if chance:
                    assert mdp.terminated[s, a, k] == ended[mdp.next_state[s, a, k]]
    np.testing.assert_allclose(mdp.start, p.initial_state_distrib)
    assert mdp.letters is not None
    assert mdp.letters[0, 0] == "S"


@pytest.mark.parametrize("env_id", ["CliffWalking-v1", "Taxi-v4"])
def test_other_tables_of_gymnasium_are_read(env_id: str) -> None:
    assert tabular.from_gymnasium(env_id, 0.99).prob.shape[2] == 1


def test_a_rectangle_without_letters_is_drawn_as_one() -> None:
    letters = tabular.from_gymnasium("CliffWalking-v1", 0.99).letters
    assert letters is not None
    assert (letters.shape, set(letters.ravel())) == ((4, 12), {"."})


@pytest.mark.parametrize(
    ("drawn", "letters"),
    [
        ({"desc": [[b"S", b"G"]], "shape": (1, 2)}, [["S", "G"]]),
        ({"shape": (2, 1)}, [["."], ["."]]), ({"shape": 2}, None), ({}, None),
        ({"desc": [[b"S", b"#", b"G"]]}, None),  # a map of more than the states
    ],
)  # fmt: skip
def test_letters_before_a_shape_and_no_map_without_either(
    drawn: dict[str, Any], letters: Any
) -> None:
    there = {s: {0: [(1.0, 1 - s, 0.0, False)]} for s in range(2)}
    env = SimpleNamespace(unwrapped=SimpleNamespace(P=there, **drawn))
    found = tabular.from_gymnasium(env, 0.9).letters
    assert (found is None) == (letters is None)
    assert found is None or found.tolist() == letters


def test_an_environment_without_a_table_is_refused() -> None:
    with pytest.raises(SoftqError, match=r"no table of transitions.*FrozenLake"):
        tabular.from_gymnasium("CartPole-v1", 0.9)
    with pytest.raises(SoftqError, match="cannot be made"):
        tabular.from_gymnasium("Nothing-v0", 0.9)


@pytest.mark.parametrize("slip", [0.4, 1.0])
def test_a_map_is_the_gridworld(slip: float) -> None:
    """Held against the environment's own moves, counted."""
    env = Grid(MAP.replace("H", "."), slip=slip)
    mdp = tabular.from_map(env.text, 0.9, slip=slip)
    p = dense(mdp)
    layout = env.layout
    for s, a in np.ndindex(*mdp.reward.shape):
        wanted = np.zeros(len(p))
        for turn, chance in ((0, 1 - slip), (1, slip / 2), (3, slip / 2)):
            wanted[layout.successor[s, (a + turn) % 4]] += chance
        np.testing.assert_allclose(p[s, a], wanted)
        pays = np.where(layout.goal, env.goal_reward, -env.step_cost)
        assert mdp.reward[s, a] == pytest.approx(wanted @ pays)
    np.testing.assert_array_equal(mdp.terminated, layout.goal[mdp.next_state])
    np.testing.assert_allclose(mdp.start, np.eye(len(p))[0])


def test_a_map_has_goals_of_several_values_and_an_action_that_stays() -> None:
    mdp = tabular.from_map(MAP, 0.9, stay=True, goals={"G": 2.0, "H": -3.0})
    assert mdp.prob.shape == (8, 5, 1)
    assert mdp.reward[1, 1] == -3.0  # right, into H
    assert mdp.reward[6, 1] == 2.0  # right, into G
    assert mdp.terminated[[1, 6], 1].all()
    np.testing.assert_array_equal(mdp.next_state[:, 4, 0], np.arange(8))
    assert mdp.reward[0, 4] == -0.01


@pytest.mark.parametrize(
    ("text", "says"),
    [("S?G", r"'\?'"), ("S..", "no goal"), ("..G", "no start"), ("SG\n.", "length")],
)
def test_a_bad_map_is_refused(text: str, says: str) -> None:
    with pytest.raises(SoftqError, match=says):
        tabular.from_map(text, 0.9)


def test_a_slip_is_a_probability() -> None:
    with pytest.raises(SoftqError, match=r"slip is a probability; found 1.5"):
        tabular.from_map(MAP, 0.9, slip=1.5, goals={"G": 1.0, "H": 0.0})


def test_a_chain_walks() -> None:
    mdp = tabular.chain(3, 0.9, slip=0.25)
    assert dense(mdp)[1, 1].tolist() == [0.25, 0.0, 0.75]
    assert dense(mdp)[1, 0].tolist() == [0.75, 0.0, 0.25]
    assert mdp.reward.tolist() == [[0.0, 0.0], [0.0, 0.0], [0.25, 0.75]]
    assert mdp.terminated[2].tolist() == [[False, True], [True, False]]


def test_a_garnet_is_random_and_repeatable() -> None:
    mdp = tabular.garnet(0, 30, 4, 5, 0.95, termination=0.2)
    again = tabular.garnet(0, 30, 4, 5, 0.95, termination=0.2)
    np.testing.assert_array_equal(mdp.prob, again.prob)
    assert all(len(set(row)) == 5 for row in mdp.next_state.reshape(-1, 5).tolist())
    assert 0.1 < mdp.terminated.mean() < 0.3
    with pytest.raises(SoftqError, match="cannot have 31 successors"):
        tabular.garnet(0, 30, 4, 31, 0.95)


def test_dense_and_sparse_arrays_say_the_same() -> None:
    mdp = tabular.garnet(1, 7, 2, 3, 0.9)
    p = dense(mdp)
    one = tabular.from_dense(p, mdp.reward, 0.9)
    matrices = [scipy.sparse.csr_array(p[:, a]) for a in range(2)]
    two = tabular.from_sparse(matrices, mdp.reward, 0.9)
    for made in (one, two):
        assert made.prob.shape == (7, 2, 3)
        np.testing.assert_allclose(dense(made), p)
    by_outcome = np.random.default_rng(0).normal(size=p.shape)
    three = tabular.from_dense(p, by_outcome, 0.9, terminated=p > 0.5)
    np.testing.assert_allclose(three.reward, (p * by_outcome).sum(-1))
    np.testing.assert_array_equal(three.terminated, three.prob > 0.5)
    with pytest.raises(SoftqError, match=r"P needs shape \(S, A, S\)"):
        tabular.from_dense(p[:, :, :3], mdp.reward, 0.9)


DATA = {
    "state": [0, 0, 0, 1, 0], "action": [1, 1, 1, 0, 0], "reward": [1, 2, 3, 5, 7],
    "next_state": [1, 1, 2, 0, 1], "terminated": [0, 0, 0, 1, 0],
}  # fmt: skip


def test_data_become_their_frequencies() -> None:
    found = tabular.from_data(**DATA, states=3, actions=2, discount=0.9)
    assert found.counts.tolist() == [[1, 3], [1, 0], [0, 0]]
    assert found.seen.tolist() == [[True, True], [True, False], [False, False]]
    np.testing.assert_allclose(found.behaviour, [[0.25, 0.75], [1, 0], [0.5, 0.5]])
    mdp = found.mdp
    assert mdp.reward.tolist() == [[7.0, 2.0], [5.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(dense(mdp)[0, 1], [0, 2 / 3, 1 / 3])
    assert mdp.terminated[1, 0, 0]
    unseen = mdp.prob * mdp.terminated
    np.testing.assert_allclose(unseen.sum(-1)[~found.seen], 1.0)


def test_one_pair_may_end_and_go_on_to_the_same_state() -> None:
    found = tabular.from_data(
        [0, 0, 0, 0], [0] * 4, [0] * 4, [1] * 4, [1, 0, 0, 0],
        states=2, actions=1, discount=0.9,
    )  # fmt: skip
    mdp = found.mdp
    assert (mdp.prob * mdp.terminated)[0, 0].sum() == 0.25


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": [], "action": [], "next_state": []}, "dataset is empty"),
        ({"state": [0, 0, 0, 3, 0]}, "transition 3 has state 3; .*3 states, 0 to 2"),
        ({"action": [0, 0, 2, 0, 0]}, "transition 2 has action 2; .*2 actions"),
        ({"next_state": [0, -1, 0, 0, 0]}, "transition 1 has next state -1"),
    ],
)
def test_data_outside_the_table_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SoftqError, match=says):
        tabular.from_data(**{**DATA, **changes}, states=3, actions=2, discount=0.9)


def test_a_table_that_cannot_fit_says_how_large_it_is() -> None:
    with pytest.raises(SoftqError, match=r"1,000,000,000 states.* needs .* GiB"):
        tabular.garnet(0, 10**9, 50, 10, 0.9)


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    for mdp in (tabular.from_map(MAP, 0.9, goals={"G": 1.0, "H": 0.0}),
                tabular.garnet(0, 5, 2, 2, 0.5)):  # fmt: skip
        tabular.save(mdp, tmp_path / "it.npz")
        found = tabular.load(tmp_path / "it.npz")
        for one, two in zip(mdp, found, strict=True):
            assert np.array_equal(one, two)


def test_a_file_that_holds_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(SoftqError, match="holds no table"):
        tabular.load(path)
    np.savez(path, prob=np.ones(3))
    with pytest.raises(SoftqError, match=r"next_state, terminated.* missing"):
        tabular.load(path)
    fields = tabular.garnet(0, 5, 2, 2, 0.5)._asdict()
    fields = {k: v for k, v in fields.items() if v is not None}
    np.savez(path, **fields | {"reward": np.array([object()])})
    with pytest.raises(SoftqError, match="holds no table"):
        tabular.load(path)
    np.savez(path, **fields | {"more": np.ones(1)})
    with pytest.raises(SoftqError, match="what is more"):
        tabular.load(path)
    np.savez(path, **fields | {"prob": np.full((5, 2, 2), "half")})
    with pytest.raises(SoftqError, match="holds no table: prob is <U4"):
        tabular.load(path)
    with pytest.raises(SoftqError, match="holds no table"):
        tabular.load(tmp_path / "none.npz")


def test_a_file_with_a_wrong_map_is_refused(tmp_path: Path) -> None:
    fields = tabular.from_map(MAP, 0.9, goals={"G": 1.0, "H": 0.0})._asdict()
    for name, wrong in (
        ("cells", fields["cells"] + 9), ("cells", fields["cells"][:-1]),
        ("cells", fields["cells"] * 1.0), ("letters", fields["letters"].ravel()),
        ("letters", np.full((9, 9), "two")),
    ):  # fmt: skip
        np.savez(tmp_path / "it.npz", **fields | {name: wrong})
        with pytest.raises(SoftqError, match="map of a table needs letters"):
            tabular.load(tmp_path / "it.npz")


def test_a_file_too_large_to_unpack_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tabular.save(tabular.garnet(0, 50, 2, 2, 0.5), tmp_path / "it.npz")
    monkeypatch.setattr(tables, "free_memory", lambda: 1_000)
    with pytest.raises(SoftqError, match=r"unpacks to .* GiB"):
        tabular.load(tmp_path / "it.npz")
