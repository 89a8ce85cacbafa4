"""Several seeds in one program: each is what it would have been alone."""

from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import softq
from softq.algos import sac, sac_discrete
from softq.envs import device_env
from softq.train import ondevice
from softq.train.seeds import Seeds

CHUNK, CHUNKS = 20, 3


def watched(algo: ModuleType) -> Any:
    """The algorithm with a count of how often its update is traced."""
    seen = SimpleNamespace(**vars(algo), traced=0)

    def update(*args: Any) -> Any:
        seen.traced += 1
        return algo.update(*args)

    seen.update = update
    return seen


def run(algo: Any, seeds: Seeds, env_id: str) -> tuple[Any, list[int]]:
    """The last state of a short run on the device, and the traces after each chunk."""
    env, cfg = device_env(env_id), algo.Config(hidden=(16,))
    assert env is not None
    options = ondevice.Options(
        steps=CHUNK * CHUNKS, batch_size=8, learning_starts=10, capacity=100
    )
    train, traces = ondevice.start(algo, cfg, options, env, seeds), []
    for progress in ondevice.run(algo, cfg, options, env, seeds, train, CHUNK):
        train = progress.train
        traces.append(algo.traced)
    return train, traces


@pytest.mark.parametrize(
    ("algo", "env_id"), [(sac, "softq/Pendulum-v0"), (sac_discrete, "softq/Grid-v0")]
)
def test_eight_seeds_on_the_device_are_eight_runs_compiled_once(
    algo: ModuleType, env_id: str
) -> None:
    together = watched(algo)
    many, traces = run(together, Seeds(3, 8), env_id)
    for k in (0, 7):
        single = watched(algo)
        alone, _ = run(single, Seeds(3 + k), env_id)
        # One program for all chunks, traced no more often than that of one seed.
        assert set(traces) == {single.traced}
        paths = jax.tree_util.tree_leaves_with_path(alone)
        for (path, wanted), found in zip(paths, jax.tree.leaves(many), strict=True):
            np.testing.assert_allclose(
                found[k] if found.ndim > wanted.ndim else found, wanted,
                rtol=1e-3, atol=1e-5, err_msg=jax.tree_util.keystr(path),
            )  # fmt: skip
    weights = many.agent.actor.mlp.layers[0].weight
    assert len({float(x) for x in weights[:, 0, 0]}) == 8  # and no two are the same


def test_lanes_are_seeds_of_each_setting_and_are_joined_split_and_picked() -> None:
    one, many = Seeds(7), Seeds(3, 2, settings=2)
    assert (one.all, one.lanes, one.axes) == ([7], 1, ())
    assert (many.all, many.lanes, many.axes) == ([3, 4, 3, 4], 4, (4,))
    rows = [np.full(2, float(k)) for k in range(4)]
    joined = many.join(rows)
    assert joined.shape == (4, 2)
    np.testing.assert_array_equal(many.pick({"x": joined}, 3)["x"], rows[3])
    np.testing.assert_array_equal(many.split(joined), joined)
    assert one.join(rows[:1]).shape == one.pick(rows[0], 0).shape == (2,)
    assert one.split(rows[0]).shape == (1, 2)


@pytest.mark.parametrize("env", ["softq/Grid-v0", "CartPole-v1"])
def test_a_sweep_is_the_runs_of_its_settings(env: str) -> None:
    """On the device and on the host: every lane does what its own run does."""

    def trained(**changes: Any) -> tuple[list[Any], dict[int, list[float]]]:
        returns: dict[int, list[float]] = {}

        def look(progress: Any) -> None:
            for episode in progress.episodes:
                returns.setdefault(episode.lane, []).append(episode.ret)

        options = {"hidden": (8,), **changes.pop("algo", {})}
        run = softq.train(
            "sac_discrete", env=env, steps=200, batch_size=8, learning_starts=10,
            eval_every=200, eval_episodes=1, on_progress=look, algo=options, **changes,
        )  # fmt: skip
        return run.evaluations, returns

    shown, returns = trained(seed=3, seeds=2, sweep={"alpha": [0.1, 1.0]})
    lanes = [("alpha=0.1", 3), ("alpha=0.1", 4), ("alpha=1", 3), ("alpha=1", 4)]
    assert [(r["setting"], r["seed"]) for r in shown] == lanes
    alone, own = trained(seed=3, algo={"alpha": 1.0})
    assert returns[2] == pytest.approx(own[0], rel=1e-5)
    assert len(own[0]) > 1
    for name in ("return", "soft"):
        wanted = alone[0]["sampled"][name]
        assert shown[2]["sampled"][name] == pytest.approx(wanted, rel=1e-3)
