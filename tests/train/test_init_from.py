"""Starting from another run: its agent to the bit, not its replay; or a refusal."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import softq
from softq import checkpoint, cli, plan, policy
from softq.policy import template

Tiny = Callable[..., dict[str, Any]]
QUIET: dict[str, Any] = {"eval_every": 0, "checkpoint_every": 0}


def state(run: Path, step: int, replay: bool = False) -> Any:
    made, spec, _ = softq.plan.read(run)
    return checkpoint.load(run, step, template(made, spec), replay)


def assert_same(one: Any, two: Any) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("env", "changes"),
    [("softq/Pendulum-v0", {}), ("Pendulum-v1", {"normalize_obs": True})],
)
def test_a_run_starts_as_another_ended(
    env: str, changes: dict[str, Any], tmp_path: Path, tiny: Tiny
) -> None:
    """Not one update, so that nothing changes: networks, moments and temperature."""
    first, second = tmp_path / "first", tmp_path / "second"
    softq.train("sac", env=env, out=first, **tiny(**QUIET, **changes))
    still = {**tiny(**QUIET, **changes), "steps": 30, "learning_starts": 1_000}
    softq.train("sac", env=env, out=second, init_from=first, seed=5, **still)
    before, after = state(first, 120), state(second, 30, replay=True)
    assert_same(before.agent, after.agent)
    assert int(after.rows.size) == 30
    if changes:  # statistics go on from where they were
        assert int(after.stats.seen) == int(before.stats.seen) + 31


def test_it_acts_as_that_run_did_from_the_first_step(
    tmp_path: Path, tiny: Tiny
) -> None:
    """DDPG without noise: every action in the replay is its policy's."""
    first, second = tmp_path / "first", tmp_path / "second"
    options = {**tiny(**QUIET), "algo": {"hidden": (8, 8), "noise": 0.0}}
    trained = softq.train("ddpg", env="Pendulum-v1", out=first, **options).policy
    more = {**options, "steps": 15, "learning_starts": 1_000}
    softq.train("ddpg", env="Pendulum-v1", out=second, init_from=first, **more)
    rows = state(second, 15, replay=True).rows.rows
    chosen = trained.spec.from_env(trained(np.asarray(rows.obs[:15])))
    np.testing.assert_allclose(rows.action[:15], chosen, atol=1e-5)


def test_every_seed_starts_from_a_single_one(tmp_path: Path, tiny: Tiny) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    softq.train("sac", env="softq/Pendulum-v0", out=first, **tiny(**QUIET))
    still = {**tiny(**QUIET), "steps": 10, "learning_starts": 1_000, "seeds": 2}
    softq.train("sac", env="softq/Pendulum-v0", out=second, init_from=first, **still)
    agent = state(first, 120).agent
    both = state(second, 10).agent
    for k in range(2):
        assert_same(agent, jax.tree.map(lambda x, k=k: x[k], both))


def test_such_a_run_resumes_exactly(tmp_path: Path, tiny: Tiny) -> None:
    first, whole, parts = (tmp_path / name for name in ("first", "whole", "parts"))
    softq.train("sac", env="Pendulum-v1", out=first, **tiny(**QUIET))
    softq.train("sac", env="Pendulum-v1", out=whole, init_from=first, **tiny())
    softq.train(
        "sac", env="Pendulum-v1", out=parts, init_from=first,
        on_progress=lambda progress: progress.step >= 70, **tiny(),
    )  # fmt: skip
    shutil.rmtree(first)  # what it started from is not needed any more
    softq.resume(parts)
    assert_same(state(whole, 120), state(parts, 120))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("origin") / "run"
    softq.train(
        "sql", env="softq/Pendulum-v0", out=out, steps=60, batch_size=8,
        learning_starts=20, eval_every=0, seeds=2,
        algo={"hidden": (8, 8), "particles": 4, "value_samples": 4},
    )  # fmt: skip
    return out


def test_every_setting_starts_from_the_same_seeds(origin: Path) -> None:
    made, spec, _ = plan.read(origin)
    sweep = (plan.Sweep("lr", (1e-3, 1e-4)),)
    made = dataclasses.replace(made, sweep=sweep, init_from=str(origin))
    own, every = state(origin, 60).agent, policy.learned(made, spec).agent
    for lane, k in enumerate((0, 1, 0, 1)):  # settings vary slowest
        assert_same(
            jax.tree.map(lambda x, k=k: x[k], own),
            jax.tree.map(lambda x, lane=lane: x[lane], every),
        )


SMALL = ["--algo.hidden", "8", "8", "--algo.particles", "4", "--seeds", "2"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["sac", "--env", "softq/Pendulum-v0"],
            ["is a run of sql; sac cannot start from it", "Try: softq train sql"],
        ),
        (
            ["sql", "--env", "softq/MultiGoal-v0", *SMALL],
            ["observations of shape (3,)", "softq/MultiGoal-v0 has (2,)"],
        ),
        (
            ["sql", "--env", "softq/Pendulum-v0", "--seeds", "2"],
            ["other networks", "Try: --algo.hidden 8 8"],
        ),
        (
            ["sql", "--env", "softq/Pendulum-v0", *SMALL, "--algo.twin"],
            ["other networks", "Try: --algo.no-twin"],
        ),
        (
            ["sql", "--env", "softq/Pendulum-v0", *SMALL, "--normalize-obs"],
            ["without --normalize-obs, this run with it", "Leave it out"],
        ),
        (
            ["sql", "--env", "softq/Pendulum-v0", *SMALL[:-2], "--seeds", "3"],
            ["has 2 seeds, this run 3", "Try: --seeds 2"],
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    args: list[str], says: list[str], origin: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "new"
    code = cli.main(["train", *args, "--init-from", str(origin), "--out", str(out)])
    told = capsys.readouterr().err
    assert code == 2
    for words in says:
        assert words in told
    assert not out.exists()


def test_a_damaged_or_missing_run_is_refused(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, out = tmp_path / "copy", tmp_path / "new"
    shutil.copytree(origin, copy)
    for file in copy.rglob("state.safetensors"):
        file.write_bytes(file.read_bytes()[:-3] + b"abc")
    train = ["train", "sql", "--env", "softq/Pendulum-v0", *SMALL, "--out", str(out)]
    assert cli.main([*train, "--init-from", str(copy)]) == 2
    assert "no checkpoint that can be read" in capsys.readouterr().err
    assert cli.main([*train, "--init-from", str(tmp_path / "nowhere")]) == 2
    assert "is no run" in capsys.readouterr().err
    assert not out.exists()
