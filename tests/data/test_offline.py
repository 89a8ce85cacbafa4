"""Readers and writers of offline data against arrays worked out by hand."""

import builtins
import io
import json
import os
import resource
import sys
import types
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softq.data import flat, hdf5, minari, source, write
from softq.data.offline import EDGE, Dataset, monte_carlo, read
from softq.data.offline import source as recorded
from softq.types import SoftqError, Spec

h5py = pytest.importorskip("h5py")
F = np.float32
REAL = os.environ.get("SOFTQ_DATA")
real = pytest.mark.skipif(not REAL, reason="SOFTQ_DATA names no folder of real files")

# Two episodes: three steps that terminate, then three that a time limit ends.
OBS = np.array([[0, 0], [1, 0], [2, 0], [5, 1], [6, 1], [7, 1]], F)
LED = np.array([[1, 0], [2, 0], [3, 0], [6, 1], [7, 1], [8, 1]], F)
ACTION = np.array([[0.5], [-0.5], [0.0], [0.25], [-0.9], [0.9]], F)
REWARD = np.array([1, 2, 3, 4, 5, 6], F)
TERMINAL = np.array([0, 0, 1, 0, 0, 0], bool)
TIMEOUT = np.array([0, 0, 0, 0, 0, 1], bool)
BOX = Spec(obs_shape=(2,), low=(-1.0,), high=(1.0,))


def columns(**changes: Any) -> dict[str, Any]:
    """The two episodes, complete; None leaves a column out."""
    made: dict[str, Any] = {
        "observations": OBS, "actions": ACTION, "rewards": REWARD,
        "terminals": TERMINAL, "timeouts": TIMEOUT, "next_observations": LED,
    }  # fmt: skip
    return {k: v for k, v in (made | changes).items() if v is not None}


def hdf(path: Path, **changes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, column in columns(**changes).items():
            file[name] = column
        file["metadata/env_id"] = "Toy-v0"
    return path


def npz(path: Path, **changes: Any) -> Path:
    """The same two trajectories as OGBench stores them: four rows each."""
    made = {
        "observations": np.array(
            [[0, 0], [1, 0], [2, 0], [3, 0], [5, 1], [6, 1], [7, 1], [8, 1]], F
        ),
        "actions": np.array([[0.5], [-0.5], [0], [9], [0.25], [-0.9], [0.9], [9]], F),
        "terminals": np.array([0, 0, 0, 1, 0, 0, 0, 1], F),
        "rewards": np.array([1, 2, 3, 99, 4, 5, 6, 99], F),
        "masks": np.array([1, 1, 0, 1, 1, 1, 1, 1], F),
    }
    made |= changes
    np.savez_compressed(path, **{k: v for k, v in made.items() if v is not None})
    return path


def mini(folder: Path, **changes: Any) -> Path:
    """The same as Minari's group an episode; `changes` are of the first."""
    data = folder / "data"
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for i, rows in enumerate((slice(0, 3), slice(3, 6))):
            made = {
                "observations": np.concatenate([OBS[rows], LED[rows][-1:]]),
                "actions": ACTION[rows], "rewards": REWARD[rows].astype(float),
                "terminations": TERMINAL[rows], "truncations": TIMEOUT[rows],
            }  # fmt: skip
            made = made | (changes if i == 0 else {})
            for name, column in made.items():
                if column is not None:
                    file[f"episode_{i}/{name}"] = column
    meta = {"env_spec": json.dumps({"id": "Toy-v0"}), "total_episodes": 2}
    (data / "metadata.json").write_text(json.dumps(meta))
    return folder


def same(found: Dataset, rows: Any = slice(None), ends: Any = (2, 5)) -> None:
    """`found` is `rows` of the two episodes."""
    batch = found.batch
    np.testing.assert_array_equal(batch.obs, OBS[rows])
    np.testing.assert_array_equal(batch.action, ACTION[rows])
    np.testing.assert_array_equal(batch.reward, REWARD[rows])
    np.testing.assert_array_equal(batch.terminated, TERMINAL[rows])
    # A terminal step's next observation is masked, so that it may be another.
    live = ~TERMINAL[rows]
    np.testing.assert_array_equal(np.asarray(batch.next_obs)[live], LED[rows][live])
    assert tuple(np.flatnonzero(found.ends)) == tuple(ends)
    assert [np.asarray(x).dtype for x in batch[:5]] == [F, F, F, F, np.bool_]


def equal(one: Dataset, other: Dataset) -> None:
    for a, b in zip(one.batch[:5], other.batch[:5], strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
    np.testing.assert_array_equal(one.ends, other.ends)


@pytest.fixture(params=[1, 2, 4, 65_536])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """However the file is cut into blocks, the result is the same."""
    monkeypatch.setattr(source, "BLOCK_ROWS", request.param)
    return request.param


def test_d4rl_complete(tmp_path: Path, block: int) -> None:
    found = read(hdf(tmp_path / "a.hdf5"))
    same(found)
    assert found.about[1:3] == ("d4rl", "Toy-v0")
    assert (found.about.episodes, found.about.transitions) == (2, 6)
    assert found.about.warnings == ()
    assert found.spec == BOX
    assert len(found.about.sha256) == 64


def test_d4rl_without_next_observations(tmp_path: Path, block: int) -> None:
    """The timeout's step is dropped; the episode ends a step earlier."""
    found = read(hdf(tmp_path / "a.hdf5", next_observations=None))
    same(found, slice(0, 5), ends=(2, 4))
    # Never the next episode's start: the terminal step keeps its own observation.
    np.testing.assert_array_equal(found.batch.next_obs[2], OBS[2])


def test_d4rl_last_row_is_dropped_unless_terminal(block: int) -> None:
    bare = {"timeouts": None, "next_observations": None}
    same(read(columns(**bare)), slice(0, 5), ends=(2, 4))
    ended = np.array([0, 0, 1, 0, 0, 1], bool)
    found = read(columns(terminals=ended, **bare))
    assert found.about.transitions == 6
    assert found.batch.terminated.tolist() == ended.tolist()
    assert "no timeouts and no next_observations" in found.about.warnings[0]


def test_d4rl_an_episode_of_the_timeout_step_alone_vanishes(block: int) -> None:
    cut = np.array([0, 0, 1, 1, 0, 0], bool)
    found = read(columns(timeouts=cut, next_observations=None, terminals=cut & False))
    # Rows 2, 3 and 5 are dropped: left are 0, 1 and 4.
    assert found.batch.reward.tolist() == [1, 2, 5]
    assert found.ends.tolist() == [False, True, True]


def test_d4rl_without_timeouts_ends_where_observations_cannot_follow(
    block: int,
) -> None:
    led = LED.copy()
    led[3] = [6.5, 1]  # where row 4 does not go on
    found = read(columns(timeouts=None, next_observations=led))
    assert np.flatnonzero(found.ends).tolist() == [2, 3, 5]
    assert "no timeouts" in found.about.warnings[0]


def test_both_flags_mean_that_the_world_ended(block: int) -> None:
    both = np.array([0, 0, 1, 0, 0, 1], bool)
    found = read(columns(timeouts=both, terminals=both, next_observations=None))
    assert found.batch.terminated.tolist() == both.tolist()


def test_minari(tmp_path: Path, block: int) -> None:
    folder = mini(tmp_path / "toy-v0")
    for path in (folder, folder / "data", folder / "data" / "main_data.hdf5"):
        found = read(path)
        same(found)
        assert found.about[1:3] == ("minari", "Toy-v0")


def test_minari_metadata_in_attributes(tmp_path: Path) -> None:
    path = mini(tmp_path / "toy") / "data" / "main_data.hdf5"
    (path.parent / "metadata.json").unlink()
    with h5py.File(path, "a") as file:
        file.attrs["env_spec"] = '{"id": "Old-v1"}'
        file.attrs["total_episodes"] = np.int64(3)
    found = read(path)
    assert found.about.env_id == "Old-v1"
    assert found.about.warnings == ("metadata tells of 3 episodes; there are 2",)


def test_minari_dictionaries_are_flattened_by_sorted_key(tmp_path: Path) -> None:
    folder = mini(tmp_path / "toy")
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        for i, rows in enumerate((slice(0, 3), slice(3, 6))):
            whole = file[f"episode_{i}/observations"][:]
            del file[f"episode_{i}/observations"]
            file[f"episode_{i}/observations/z"] = whole[:, :1]
            file[f"episode_{i}/observations/b/c"] = -whole[:, 1]
            assert len(whole) == len(OBS[rows]) + 1
    found = read(folder)
    np.testing.assert_array_equal(found.batch.obs, np.stack([-OBS[:, 1], OBS[:, 0]], 1))


def test_minari_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    mini(tmp_path / "toy" / "expert-v0")
    same(read("toy/expert-v0"))
    with pytest.raises(SoftqError, match="minari download toy/medium-v0"):
        read("toy/medium-v0")


def test_ogbench(tmp_path: Path, block: int) -> None:
    found = read(npz(tmp_path / "a.npz"))
    same(found)
    # The row that is no step is its trajectory's last observation, even if masked.
    np.testing.assert_array_equal(found.batch.next_obs, LED)


def test_ogbench_stops_inside_a_trajectory(tmp_path: Path, block: int) -> None:
    found = read(npz(tmp_path / "a.npz", terminals=np.eye(8, dtype=F)[3]))
    same(found)
    cut = {k: v[:7] for k, v in np.load(npz(tmp_path / "b.npz")).items()}
    same(read(npz(tmp_path / "c.npz", **cut)), slice(0, 5), ends=(2, 4))


def test_ogbench_in_its_compact_form(tmp_path: Path, block: int) -> None:
    """Terminals on the last two rows of a trajectory; valids say which is no step."""
    path = npz(tmp_path / "toy.npz", terminals=np.array([0, 0, 1, 1, 0, 0, 1, 1], F),
               valids=np.array([1, 1, 1, 0, 1, 1, 1, 0], F))  # fmt: skip
    same(read(path, spec=BOX))


def test_ogbench_with_next_observations(tmp_path: Path) -> None:
    found = read(
        npz(
            tmp_path / "a.npz", observations=OBS, next_observations=LED,
            actions=ACTION, rewards=REWARD, masks=1 - TERMINAL,
            terminals=TERMINAL | TIMEOUT,
        )
    )  # fmt: skip
    same(found)


def test_ogbench_raw_is_told_where_rewards_come_from(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="relabelling it with the task's goal"):
        read(npz(tmp_path / "a.npz", rewards=None, masks=None))


def test_discrete_actions() -> None:
    actions = np.array([0, 2, 1, 1, 0, 2])
    found = read(columns(actions=actions))
    assert found.spec.num_actions == 3
    assert found.batch.action.dtype == np.int32
    shifted = Spec(obs_shape=(2,), num_actions=3, action_start=1)
    assert read(columns(actions=actions + 1), spec=shifted).batch.action.tolist() == (
        actions.tolist()
    )
    with pytest.raises(SoftqError, match=r"row 0 has action 0; there are 3 .* from 1"):
        read(columns(actions=actions), spec=shifted)
    with pytest.raises(SoftqError, match="actions from -1 to 1"):
        read(columns(actions=actions - 1))


def test_actions_are_normalised_by_the_environment() -> None:
    wide = Spec(obs_shape=(2,), low=(-2.0,), high=(6.0,))
    found = read(
        columns(actions=np.array([[-2], [6], [2], [4], [0], [2]], F)), spec=wide
    )
    expected = np.array([[-EDGE], [EDGE], [0], [0.5], [-0.5], [0]], F)
    np.testing.assert_array_equal(found.batch.action, expected)
    (told,) = found.about.warnings
    at = "2 of 6 actions lie at the bounds [-2, 6]"
    assert told == f"{at}; clipped to 1 - 1e-6 of them"
    assert read(columns(actions=ACTION), spec=wide).about.warnings == ()


def test_actions_outside_are_clipped_with_one_warning_or_refused() -> None:
    wild = ACTION * F(3)  # 1.5, -1.5, 0, 0.75, -2.7, 2.7: four outside
    found = read(columns(actions=wild))
    (told,) = found.about.warnings
    assert "4 of 6 actions lie outside the bounds [-1, 1]" in told
    assert "-2.7 to 2.7" in told
    assert np.abs(found.batch.action).max() == EDGE
    with pytest.raises(SoftqError, match="4 of 6 actions lie outside"):
        read(columns(actions=wild), strict=True)


def test_reward_scale_then_shift() -> None:
    found = read(columns(), reward_scale=2.0, reward_shift=-1.0)
    assert found.batch.reward.tolist() == [1, 3, 5, 7, 9, 11]


def test_images_stay_bytes() -> None:
    images = np.arange(6 * 8 * 8 * 3, dtype=np.uint8).reshape(6, 8, 8, 3)
    found = read(columns(observations=images, next_observations=None))
    assert found.batch.obs.dtype == np.uint8
    assert found.spec.obs_shape == (8, 8, 3)


def test_monte_carlo_against_hand() -> None:
    """The second episode is cut: what followed is its own mean v = E[A + γᵏ v]."""
    known, weight = np.array([8.0, 8.0, 6.0]), np.array([0.125, 0.25, 0.5])
    v = known.mean() / (1 - weight.mean())
    found = monte_carlo(read(columns()), 0.5)
    np.testing.assert_allclose(found[:3], [1 + 0.5 * 3.5, 3.5, 3])
    np.testing.assert_allclose(found[3:], known + weight * v, rtol=1e-6)
    np.testing.assert_allclose(found[3:].mean(), v, rtol=1e-6)
    assert monte_carlo(read(columns()), 0.0).tolist() == [1, 2, 3, 4, 5, 6]
    # Without discount a cut episode has no return.
    assert monte_carlo(read(columns()), 1.0).tolist() == [6, 5, 3, *3 * [-np.inf]]


def test_failures_up_to_a_cut_return_failures_for_ever() -> None:
    """r/(1 − γ) whatever the length, in the file's middle and at its end."""
    rows = read(columns(rewards=np.full(6, -1.0, F), terminals=TERMINAL & False,
                        timeouts=np.arange(6) % 4 == 3))  # fmt: skip
    np.testing.assert_allclose(monte_carlo(rows, 0.9), -10.0, rtol=1e-6)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rewards": None}, "has no rewards; softq needs observations"),
    ({"rewards": REWARD[:4]}, "rewards has 4 rows, observations 6"),
    ({"rewards": np.ones((6, 2), F)}, r"rewards has shape \[6, 2\]"),
    ({"rewards": np.where(REWARD == 3, np.inf, REWARD)}, "rewards .* in row 2"),
    ({"observations": np.where(OBS == 6, np.nan, OBS)}, "observations .* in row 4"),
    ({"rewards": REWARD.astype(np.complex64)}, "rewards is of type complex64"),
    ({"terminals": np.array([0, 0, 2, 0, 0, 0])}, "0 or 1; row 2 has 2"),
    ({"next_observations": LED[:, :1]}, r"shape \[1\], observations \[2\]"),
    ({"actions": np.ones((6, 2), int)}, "one whole number a step"),
    ({"observations": np.arange(6)}, "one-hot"),
    ({"observations": OBS[:0]}, "observations is empty"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=lambda x: str(x)[:30])
def test_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(SoftqError, match=told):
        read(columns(**change))
    with pytest.raises(SoftqError, match=told):
        read(hdf(tmp_path / "a.hdf5", **change))


def test_one_row_without_a_successor_leaves_nothing() -> None:
    rows = {k: v[:1] for k, v in columns(next_observations=None).items()}
    with pytest.raises(SoftqError, match="no transition left"):
        read(rows)


def test_suspicions_are_told() -> None:
    found = read(columns(rewards=REWARD * 0, terminals=TERMINAL & False, timeouts=None))
    assert "every reward is 0" in " ".join(found.about.warnings)
    same_each = read(columns(rewards=np.ones(6, F)))
    assert same_each.about.warnings[0].startswith("every reward is 1: only where")
    whole = read(columns(terminals=TERMINAL & False, timeouts=TIMEOUT & False))
    assert "no episode boundary" in " ".join(whole.about.warnings)


def test_wrong_environment() -> None:
    wide = Spec(obs_shape=(17,), low=(-1.0,), high=(1.0,))
    told = "observations of 2 numbers, Walker2d-v5 has 17"
    with pytest.raises(SoftqError, match=told):
        read(columns(), spec=wide, env_name="Walker2d-v5")
    with pytest.raises(SoftqError, match=r"actions of 1 numbers, .* has Discrete\(3\)"):
        read(columns(), spec=Spec(obs_shape=(2,), num_actions=3))
    with pytest.raises(SoftqError, match=r"actions of whole numbers, .* has 1"):
        read(columns(actions=np.arange(6)), spec=BOX)


def test_larger_than_memory(tmp_path: Path) -> None:
    # 2 · 2 · 4 bytes of observations, 4 of the action, 4 of the reward, 2 flags.
    path = hdf(tmp_path / "a.hdf5")
    assert read(path, memory=6 * 26).about.transitions == 6
    with pytest.raises(SoftqError, match=r"6 transitions of 26 bytes.*are free"):
        read(path, memory=6 * 26 - 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="there is no file"):
        read(tmp_path / "none.hdf5")
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(SoftqError, match=r"neither HDF5 nor npz.*opens no pickle"):
        read(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SoftqError, match=r"no main_data\.hdf5"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
def test_truncated(tmp_path: Path, kept: float) -> None:
    for path in (hdf(tmp_path / "a.hdf5"), npz(tmp_path / "a.npz")):
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(SoftqError, match="damaged or cut off"):
            read(path)


def test_objects_are_refused(tmp_path: Path) -> None:
    held = np.array([{}, 1, 2, 3, 4, 5], object)
    with pytest.raises(SoftqError, match="rewards holds Python objects"):
        read(columns(rewards=held))
    objects = np.array([{}] * 8, object)
    with pytest.raises(SoftqError, match="rewards holds Python objects"):
        read(npz(tmp_path / "a.npz", rewards=objects))
    path = hdf(tmp_path / "a.hdf5", rewards=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (6,), h5py.vlen_dtype(np.float32))
    with pytest.raises(SoftqError, match="rewards holds Python objects"):
        read(path)


def test_npz_header_that_lies(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", rewards=None)
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": (8,)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("rewards.npy", content.getvalue())
    with pytest.raises(SoftqError, match="8 rows of 4 bytes; it has 0"):
        read(path)


@pytest.mark.parametrize(
    "header", [b"{[]: 1}", b"{'descr': (), 'fortran_order': False, 'shape': (8,)}",
               b"{'descr': '<f4', (", b"(" * 300],
)  # fmt: skip
def test_npz_headers_that_are_no_header(header: bytes, tmp_path: Path) -> None:
    text = header + b" " * (118 - len(header)) + b"\n" if len(header) < 118 else header
    start = np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little")
    bad = tmp_path / "bad.npz"
    with zipfile.ZipFile(npz(tmp_path / "toy.npz")) as good, \
            zipfile.ZipFile(bad, "w") as file:  # fmt: skip
        for name in good.namelist():
            told = start + text if name == "rewards.npy" else good.read(name)
            file.writestr(name, told)
    with pytest.raises(source.Refused, match="rewards has a damaged header"):
        recorded(bad)


def test_a_header_that_claims_more_than_headers_are(tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    with zipfile.ZipFile(bad, "w") as file:
        long = (2**31).to_bytes(4, "little")
        file.writestr("rewards.npy", np.lib.format.magic(2, 0) + long)
    with pytest.raises(source.Refused, match="a header of 2,147,483,648 bytes"):
        recorded(bad)


def test_what_claims_far_more_than_it_holds(tmp_path: Path) -> None:
    path = hdf(tmp_path / "toy.hdf5", rewards=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (10**11,), "f4", chunks=(1024,))
    with pytest.raises(source.Refused, match="claims 400,000,000,000 bytes, of which"):
        recorded(path)


def test_blocks_of_wide_actions_are_short() -> None:
    assert source.Layout((2,), "float32", 10**8).rows() == 1
    assert source.Layout((2,), "float32", 1).rows() == source.BLOCK_ROWS


@pytest.mark.parametrize("action", [[-3, -1], [0, 2**40], [-1, 0]])
def test_indices_that_no_one_means(action: list[int]) -> None:
    given = columns(actions=np.resize(np.array(action), 6))
    with pytest.raises(SoftqError, match=r"has actions from .* give the environment"):
        read(given)


def test_rewards_beyond_float32_are_infinite() -> None:
    with pytest.raises(SoftqError, match="NaN or infinity, first in row 0"):
        read(columns(rewards=np.full(6, 1e39)))


def test_minari_episodes_of_other_arrays(tmp_path: Path) -> None:
    whole = {"actions": np.arange(3), "observations": np.zeros((4, 2), F)}
    obs = {f"observations/{k}": np.zeros((4, 1), F) for k in "xy"}
    for k, changes in enumerate((whole, {"observations": None} | obs)):
        with pytest.raises(source.Refused, match="episode_1 has other arrays than"):
            read(mini(tmp_path / str(k), **changes))


def test_minari_of_hostile_nesting(tmp_path: Path) -> None:
    path = mini(tmp_path / "toy", observations=None)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        group = file["episode_0"].create_group("observations")
        for _ in range(30):  # each holds the next twice: 2³⁰ paths
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    with pytest.raises(source.Refused, match="nested more than 16 deep"):
        recorded(path)
    deep = mini(tmp_path / "deep")
    meta = json.dumps({"env_spec": "[" * 100_000})
    (deep / "data" / "metadata.json").write_text(meta)
    assert recorded(deep).env_id is None
    kind = mini(tmp_path / "kind", observations=None)
    with h5py.File(kind / "data" / "main_data.hdf5", "a") as file:
        file["episode_0/observations"] = np.dtype("f4")
    with pytest.raises(source.Refused, match="is no array"):
        recorded(kind)


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    other = hdf(tmp_path / "other.hdf5")
    path = hdf(tmp_path / "a.hdf5", rewards=None)
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.ExternalLink(other.name, "rewards")
    with pytest.raises(SoftqError, match="rewards is a link to"):
        read(path)
    with h5py.File(path, "a") as file:
        del file["rewards"]
        layout = h5py.VirtualLayout((6,), "f4")
        layout[:] = h5py.VirtualSource(str(other), "rewards", (6,))
        file.create_virtual_dataset("rewards", layout)
    with pytest.raises(SoftqError, match="values from another file"):
        read(path)
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file.create_dataset("rewards", (6,), "f4", external=[(str(other), 0, 24)])
    with pytest.raises(SoftqError, match="values from another file"):
        read(path)


def test_a_dataset_without_values(tmp_path: Path) -> None:
    path = hdf(tmp_path / "a.hdf5", rewards=None)
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.Empty("f4")
    with pytest.raises(SoftqError, match="rewards is a dataset without values"):
        read(path)


def test_minari_lengths_and_fields(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="3 actions and 3 rows of observations"):
        read(mini(tmp_path / "a", observations=OBS[:3]))
    with pytest.raises(SoftqError, match="episode_0 has no terminations"):
        read(mini(tmp_path / "b", terminations=None))
    with pytest.raises(SoftqError, match="episode_0 has no rewards"):
        read(mini(tmp_path / "c", rewards=None))
    with pytest.raises(SoftqError, match="episode_1 has other arrays than episode_0"):
        read(mini(tmp_path / "d", observations=np.zeros((4, 3), F)))


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hdf(tmp_path / "a.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SoftqError, match=r'pip install "softq\[offline\]"'):
        read(path)
    same(read(columns()))  # arrays need no package


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(SoftqError, match=r'pip install "minari\[hdf5\]"'):
        minari.minari_path("toy/expert-v0", download=True)

    def offline(name: str) -> None:
        raise ConnectionError("no network")

    package = types.ModuleType("minari")
    package.download_dataset = offline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "minari", package)
    with pytest.raises(SoftqError, match=r"no network.* minari download toy/expert-v0"):
        minari.minari_path("toy/expert-v0", download=True)
    package.download_dataset = lambda name: mini(tmp_path / name)  # type: ignore[attr-defined]
    same(read(minari.minari_path("toy/expert-v0", download=True)))


@pytest.mark.parametrize("parts", [1, 2, 6])
def test_written_and_read_again(tmp_path: Path, parts: int) -> None:
    """However the columns come in, both formats give back what was written."""
    cuts = np.array_split(np.arange(6), parts)
    blocks = [{k: v[cut] for k, v in columns().items()} for cut in cuts]
    write.write_d4rl(tmp_path / "new" / "a.hdf5", blocks, {"env_id": "Toy-v0"})
    write.write_minari(tmp_path / "toy-v0", blocks, BOX, {"env_id": "Toy-v0"})
    whole = read(columns())
    for path in (tmp_path / "new" / "a.hdf5", tmp_path / "toy-v0"):
        found = read(path)
        same(found)
        equal(found, whole)
        assert found.about.env_id == "Toy-v0"
        assert found.about.warnings == ()
    meta = json.loads((tmp_path / "toy-v0" / "data" / "metadata.json").read_text())
    assert (meta["total_episodes"], meta["total_steps"]) == (2, 6)
    assert json.loads(meta["action_space"])["low"] == [-1.0]


def test_every_format_to_every_other(tmp_path: Path) -> None:
    sources = (hdf(tmp_path / "a.hdf5"), mini(tmp_path / "m"), npz(tmp_path / "a.npz"))
    for i, path in enumerate(sources):
        wanted = read(path)
        for j, to in enumerate((tmp_path / f"{i}.hdf5", tmp_path / f"{i}-v0")):
            blocks = map(write.columns_of, source.transitions(recorded(path)))
            if j:
                write.write_minari(to, blocks, BOX, {})
            else:
                write.write_d4rl(to, blocks, {})
                with h5py.File(to) as file:
                    assert not np.any(file["timeouts"][:] & file["terminals"][:])
            equal(read(to), wanted)


def test_an_open_episode_is_truncated_in_minari(tmp_path: Path) -> None:
    open_end = columns(timeouts=TIMEOUT & False)
    write.write_minari(tmp_path / "toy", open_end, BOX, {})
    same(read(tmp_path / "toy"))
    with h5py.File(tmp_path / "toy" / "data" / "main_data.hdf5") as file:
        assert file["episode_1/truncations"][-1]


def test_minari_cannot_hold_a_break(tmp_path: Path) -> None:
    led = LED.copy()
    led[0] = 9
    with pytest.raises(SoftqError, match="episode 0 breaks"):
        write.write_minari(tmp_path / "toy", columns(next_observations=led), BOX, {})
    assert not list(tmp_path.iterdir())


def test_nothing_is_half_written(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield columns()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write.write_d4rl(tmp_path / "a.hdf5", interrupted(), {})
    with pytest.raises(KeyboardInterrupt):
        write.write_minari(tmp_path / "toy", interrupted(), BOX, {})
    with pytest.raises(SoftqError, match="lack rewards"):
        write.write_d4rl(tmp_path / "a.hdf5", columns(rewards=None), {})
    with pytest.raises(SoftqError, match="differ in length"):
        write.write_d4rl(tmp_path / "a.hdf5", columns(rewards=REWARD[:2]), {})
    wider = [columns(), columns(actions=np.ones((6, 2), F))]
    with pytest.raises(SoftqError, match="actions began as"):
        write.write_d4rl(tmp_path / "a.hdf5", wider, {})
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = hdf(tmp_path / "a.hdf5")
    before = path.read_bytes()
    with pytest.raises(SoftqError, match="is there already"):
        write.write_d4rl(path, columns(), {})
    assert path.read_bytes() == before


def test_two_who_write_the_same_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with ExitStack() as stack:
        first = stack.enter_context(write.d4rl_writer(path, {}))
        first(columns())
        with write.d4rl_writer(path, {}) as second:
            second(columns())
            second(columns())
        first(columns())
        first(columns())
        with pytest.raises(SoftqError, match="is there already"):
            stack.close()
    with h5py.File(path) as file:
        assert file["rewards"].shape == (12,)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_names_too_long_for_any_file(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match=r"cannot write .*too long"):
        write.write_d4rl(tmp_path / ("a" * 300), columns(), {})
    with pytest.raises(SoftqError, match=r"cannot read .*too long"):
        recorded(tmp_path / ("a" * 300))


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_sync", full)
    with pytest.raises(SoftqError, match="No space left"):
        write.write_d4rl(tmp_path / "a.hdf5", columns(), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room", [0, 1_000, 20_000])
@pytest.mark.parametrize("form", ["d4rl", "minari"])
def test_a_disk_that_fills_while_hdf5_writes(
    form: str, room: int, tmp_path: Path
) -> None:
    """Without care the process dies when HDF5 closes."""
    noise = np.random.default_rng(0).normal(size=(3_000, 2)).astype(F)
    rows = {
        "observations": noise, "next_observations": noise, "actions": noise[:, :1],
        "rewards": noise[:, 0], "terminals": np.ones(3_000, bool),
        "timeouts": np.zeros(3_000, bool),
    }  # fmt: skip
    writers: dict[str, Any] = {
        "d4rl": lambda: write.write_d4rl(tmp_path / "a", rows, {}),
        "minari": lambda: write.write_minari(tmp_path / "a", rows, BOX, {}),
    }
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(SoftqError, match=r"cannot write .*File too large"):
            writers[form]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_blocks_never_hold_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_ROWS", 2)
    found = flat.source("x", "arrays", _Opened, None, str)
    assert [len(block.row) for block in found.blocks()] == [2, 2, 2]


class _Opened:
    """Columns that refuse more than two rows at once."""

    def __enter__(self) -> dict[str, Any]:
        return {name: _Narrow(column) for name, column in columns().items()}

    def __exit__(self, *_: Any) -> None: ...


class _Narrow:
    def __init__(self, column: np.ndarray):
        self.column, self.shape, self.dtype = column, column.shape, column.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert rows.stop - rows.start <= 2
        return self.column[rows]


def test_the_hash_is_the_file_s(tmp_path: Path) -> None:
    import hashlib

    path = hdf(tmp_path / "a.hdf5")
    assert read(path).about.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert hdf5.sha256(path) == read(path).about.sha256
    one, other = read(columns()), read(columns(rewards=REWARD + 1))
    assert one.about.sha256 != other.about.sha256


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the object would be let through: no module asks for it."""
    asked = []
    true = builtins.__import__

    def watched(name: str, *rest: Any) -> Any:
        asked.append(name)
        return true(name, *rest)

    path = npz(tmp_path / "a.npz", rewards=np.array([{}] * 8, object))
    monkeypatch.setattr(builtins, "__import__", watched)
    with pytest.raises(SoftqError):
        read(path)
    assert "pickle" not in asked


CS285 = {
    # steps outside [-1, 1], smallest and largest action
    "halfcheetah-expert-cs285": (1269, "-1.86", "2.03", 17),
    "hopper-expert-cs285": (1389, "-5.13", "3.95", 11),
    "walker2d-expert-cs285": (1961, "-2.69", "3.84", 17),
}


@real
@pytest.mark.parametrize("name", CS285)
def test_real_experts_leave_the_bounds(name: str) -> None:
    count, low, high, size = CS285[name]
    found = read(Path(str(REAL)) / f"{name}.hdf5")
    (told,) = found.about.warnings
    assert f"{count:,} of 2,000 actions" in told
    assert f"from {low} to {high}" in told
    assert found.batch.obs.shape == (2000, size)
    assert np.flatnonzero(found.ends).tolist() == [999, 1999]
    assert not found.batch.terminated.any()
    togo = monte_carlo(found, 0.99)
    last = np.flatnonzero(found.ends)
    np.testing.assert_allclose(
        togo[last] - found.batch.reward[last],
        0.99 * np.array([part.mean() for part in np.split(togo, last[:-1] + 1)]),
        rtol=1e-4,
    )


@real
def test_real_cartpole() -> None:
    found = read(Path(str(REAL)) / "cartpole-expert-imitation.hdf5")
    assert found.about[4:6] == (57, 26_964)
    assert found.batch.terminated.sum() == 42
    # A reward of 1 a step: of what is cut, 100; else by the steps that remain.
    togo = monte_carlo(found, 0.99)
    last = np.flatnonzero(found.ends)
    ended = found.batch.terminated[last]
    np.testing.assert_allclose(togo[last], np.where(ended, 1.0, 100.0), rtol=1e-5)
