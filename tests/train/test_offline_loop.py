"""Learning from fixed data: exact resume, lanes, mixed replay, the monitor."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softq
from softq.algos import ALGOS
from softq.data import normalize, ring
from softq.envs import host
from softq.log import TIMING
from softq.train import offline
from softq.train import step as steps
from softq.train.seeds import Seeds
from softq.train.step import Options
from softq.types import Batch, Progress, Spec, cast_knobs

SPEC = Spec((3,), "float32", (-2.0,), (2.0,))
ROWS = 300
TINY: dict[str, Any] = {
    "steps": 300, "batch_size": 8, "log_every": 100, "eval_every": 100,
    "eval_episodes": 1, "checkpoint_every": 100,
    "algo": {"hidden": (8, 8), "gap_samples": 2},
}  # fmt: skip


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Pendulum-like episodes of 50 rows, in D4RL's columns."""
    random = np.random.default_rng(seed)
    obs = random.normal(size=(ROWS + 1, 3)).astype(np.float32)
    last = np.arange(ROWS) % 50 == 49
    return {
        "observations": obs[:-1], "next_observations": obs[1:],
        "actions": random.uniform(-2, 2, (ROWS, 1)).astype(np.float32),
        "rewards": random.normal(size=ROWS).astype(np.float32),
        "terminals": last & (np.arange(ROWS) < 100), "timeouts": last,
    }  # fmt: skip


def batch(seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    columns = (
        random.normal(size=(ROWS, 3)), random.uniform(-1, 1, (ROWS, 1)),
        random.normal(size=ROWS), random.normal(size=(ROWS, 3)),
    )  # fmt: skip
    numbers = [jnp.asarray(column, jnp.float32) for column in columns]
    return Batch(*numbers, jnp.asarray(random.random(ROWS) < 0.1))


def last_of(name: str, cfg: Any, seeds: Seeds, data: Batch, updates: int) -> Progress:
    options = Options(steps=updates, batch_size=8)
    algo = ALGOS[name]
    train = offline.start(algo, cfg, options, SPEC, seeds, None, 0)
    for progress in offline.run(algo, cfg, options, SPEC, seeds, data, train):
        last = progress
    return last


class Counted(NamedTuple):
    """How often each row was drawn, and with how many different keys."""

    rows: jax.Array
    keys: jax.Array


def test_every_update_has_a_batch_and_a_key_of_its_own() -> None:
    """Of 3,200 draws from 300 rows: χ² with 299 degrees of freedom, 299 ± 24."""

    def update(key: Any, state: Counted, batch: Batch, cfg: Any) -> Any:
        new = jax.random.bits(key)
        rows = state.rows.at[batch.reward.astype(jnp.int32)].add(1.0)
        return Counted(rows, jnp.append(state.keys[1:], new)), {}

    names = ("ACTIONS", "NEEDS", "Config", "act", "value", "entropy", "temperature")
    kept: dict[str, Any] = {name: getattr(ALGOS["sac"], name) for name in names}
    start = Counted(jnp.zeros(ROWS), jnp.zeros(400, jnp.uint32))
    algo: Any = SimpleNamespace(
        **kept, State=Counted, init=lambda key, spec, cfg: start, update=update
    )
    options, seeds = Options(steps=400, batch_size=8), Seeds(0)
    data = batch()._replace(reward=jnp.arange(ROWS, dtype=jnp.float32))
    cfg = ALGOS["sac"].Config()
    train = offline.start(algo, cfg, options, SPEC, seeds, None, 0)
    *_, last = offline.run(algo, cfg, options, SPEC, seeds, data, train)
    rows, keys = (np.asarray(x) for x in last.train.agent)
    assert rows.sum() == 3_200
    assert 200 < ((rows - rows.mean()) ** 2 / rows.mean()).sum() < 400
    assert len(np.unique(keys)) == 400


def records(run: Path, name: str) -> list[dict[str, Any]]:
    """A file's records without what depends on the clock."""
    lines = (run / name).read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMING} for x in lines]


def hashes(run: Path, step: int) -> dict[str, str]:
    folder = run / "checkpoints" / str(step)
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.safetensors")
    }


def stop_at(step: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.step >= step


ONLINE = {"finetune_env": "tests/Pendulum-v0", "finetune_steps": 60}
RUNS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "on data": ("cql", {}, 100, 300),
    "two seeds and a sweep, online": (
        "cql", {"seeds": 2, "sweep": {"lr": [1e-4, 1e-3]}, **ONLINE}, 330, 360,
    ),
    "stopped on data, then online": ("calql", ONLINE, 100, 360),
    "stopped between": ("calql", ONLINE, 300, 360),
    "stopped online": ("calql", {**ONLINE, "checkpoint_every": 20}, 330, 360),
    "normalised": ("td3_bc", {**ONLINE, "algo": {"hidden": (8,)}}, 330, 360),
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_resumed_run_equals_an_uninterrupted_one(
    run: tuple[str, dict[str, Any], int, int], tmp_path: Path
) -> None:
    name, changes, at, end = run
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = {**TINY, **changes, "data": arrays(), "eval_env": "tests/Pendulum-v0"}
    softq.train(name, out=whole, **given)
    softq.train(name, out=parts, on_progress=stop_at(at), **given)
    assert not (parts / "checkpoints" / str(end)).exists()
    softq.resume(parts, data=arrays())
    assert hashes(parts, end) == hashes(whole, end)
    for file in ("metrics.jsonl", "evals.jsonl"):
        assert records(parts, file) == records(whole, file)
        assert records(whole, file)


def test_lanes_of_seeds_and_settings_equal_separate_runs() -> None:
    data, config = batch(), ALGOS["bc"].Config
    values = np.float32([1e-4, 1e-2])
    swept = jax.tree.map(lambda *x: np.stack(x), *(
        cast_knobs(config(lr=float(x), hidden=(8,))) for x in values))  # fmt: skip
    lanes = Seeds(3, 2, 2)
    together = last_of("bc", swept, lanes, data, 130)
    assert lanes.all == [3, 4, 3, 4]
    for k, (value, seed) in enumerate([(0, 3), (0, 4), (1, 3), (1, 4)]):
        cfg = config(lr=float(values[value]), hidden=(8,))
        alone = last_of("bc", cfg, Seeds(seed), data, 130)
        found = jax.tree.leaves(lanes.pick(together.train.agent, k))
        for a, b in zip(found, jax.tree.leaves(alone.train.agent), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_number_of_updates_a_call_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = ALGOS["bc"].Config(hidden=(8,))
    whole = last_of("bc", cfg, Seeds(0), batch(), 120)
    monkeypatch.setattr(offline, "CHUNK", 30)
    pieces = last_of("bc", cfg, Seeds(0), batch(), 120)
    assert whole.step == pieces.step == 120
    for a, b in zip(
        jax.tree.leaves(whole.train), jax.tree.leaves(pieces.train), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    data = batch()._replace(reward=jnp.arange(ROWS, dtype=jnp.float32))
    keys = jax.random.split(jax.random.key(0), 500)
    drawn = jax.vmap(lambda k: ring.draw(k, data, ROWS, 60).reward)(keys)
    counts = np.bincount(np.asarray(drawn, int).ravel(), minlength=ROWS)
    assert np.abs(counts - 100).max() < 5 * 10  # five standard deviations


def test_the_monitor_is_the_mean_q_at_the_same_states() -> None:
    algo, cfg = ALGOS["cql"], ALGOS["cql"].Config(hidden=(8,), gap_samples=2)
    data = batch()
    last = last_of("cql", cfg, Seeds(0), data, 100)
    agent, info = last.train.agent, last.info
    q = algo.value(agent, data.obs, data.action, cast_knobs(cfg))
    assert float(info["q_data"]) == pytest.approx(float(q.mean()), rel=1e-5)
    grid = jnp.linspace(-1, 1, 201)
    over = [
        algo.value(agent, data.obs, jnp.full((ROWS, 1), a), cast_knobs(cfg)).mean()
        for a in grid
    ]
    spread = float(np.std(over)) / np.sqrt(ROWS)
    assert float(info["q_uniform"]) == pytest.approx(
        float(np.mean(over)), abs=6 * spread + 1e-4
    )
    assert "q_policy" in info


def test_the_monitor_asks_for_q_at_the_policys_own_actions() -> None:
    """A policy that can be told apart: it answers the first entry that it is shown."""
    own = {
        "act": lambda key, agent, obs, cfg, explore: obs[:, :1] if explore else None,
        "value": lambda agent, obs, action, cfg: action[:, 0] * obs[:, 1],
    }
    algo: Any = SimpleNamespace(**{**vars(ALGOS["cql"]), **own})
    data, key = batch(), jax.random.key(0)
    stats = normalize.of(np.asarray(data.obs))
    info = offline.monitor(algo, None, SPEC, None, stats, data, key)
    first, second, _ = np.asarray(normalize.apply(stats, data.obs)).T
    np.testing.assert_allclose(info["q_policy"], (first * second).mean(), rtol=1e-4)
    given = (np.asarray(data.action)[:, 0] * second).mean()
    np.testing.assert_allclose(info["q_data"], given, rtol=1e-4)
    assert len({float(x) for x in info.values()}) == 3


def test_no_monitor_where_no_q_is_learned() -> None:
    last = last_of("bc", ALGOS["bc"].Config(hidden=(8,)), Seeds(0), batch(), 100)
    assert set(last.info) == {"actor_loss"}


def test_half_of_a_mixed_batch_is_from_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = batch()._replace(reward=jnp.full(ROWS, 7.0), mc_return=jnp.full(ROWS, 3.0))
    own = jax.tree.map(lambda x: x[:40], batch(1))
    rows = ring.insert(ring.empty(SPEC, 40), own)
    seen: list[Batch] = []

    def update(key: Any, agent: Any, drawn: Batch, cfg: Any) -> Any:
        seen.append(drawn)
        return agent, {}

    monkeypatch.setattr(ALGOS["bc"], "update", update)
    options, key = Options(batch_size=10), jax.random.key(0)
    steps.learn(ALGOS["bc"], None, options, None, rows, None, key, given)
    (drawn,) = seen
    assert np.sum(np.asarray(drawn.reward) == 7.0) == 5
    np.testing.assert_array_equal(
        np.isneginf(np.asarray(drawn.mc_return)), np.asarray(drawn.reward) != 7.0
    )


def test_fine_tuning_goes_on_from_the_last_update(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run = softq.train(
        "cql", data=arrays(), out=tmp_path / "run", on_progress=seen.append,
        **{**TINY, **ONLINE, "eval_every": 0},
    )  # fmt: skip
    assert [p.step for p in seen[:4]] == [100, 200, 300, 301]
    assert run.step == seen[-1].step == 360
    before, after = seen[2].train.agent, seen[3].train.agent
    # Nothing is learned before a batch has been collected.
    np.testing.assert_array_equal(
        before.actor.mlp.layers[0].weight, after.actor.mlp.layers[0].weight
    )
    assert int(run.policy.agent.updates) == 300 + 60 - 7


def test_the_first_steps_online_are_the_policys(tmp_path: Path) -> None:
    """Before the first update too: what it has learned, and not chance, acts."""
    first: dict[str, Any] = {}

    def look(progress: Progress) -> bool:
        if progress.step == 300:
            first["actor"] = jax.tree.map(jnp.copy, progress.train.agent.actor)
        if progress.step == 303:
            rows = progress.train.rows.rows
            first["obs"], first["action"] = rows.obs[:3], rows.action[:3]
        return progress.step == 303

    softq.train(
        "cql", data=arrays(), out=tmp_path / "run", on_progress=look,
        **{**TINY, **ONLINE, "eval_every": 0},
    )  # fmt: skip
    env = gymnasium.make("tests/Pendulum-v0")
    obs, _ = env.reset(seed=host.episode_seed(0, 0, 0))
    np.testing.assert_array_equal(first["obs"][0], obs)
    cfg = ALGOS["cql"].Config(hidden=(8, 8))
    for k in range(3):
        key = steps.keys(Seeds(0).roots(), jnp.asarray(300 + k))[0]
        agent = ALGOS["cql"].init(key, SPEC, cfg)._replace(actor=first["actor"])
        wanted = steps.act(
            ALGOS["cql"], cfg, agent, None, jnp.asarray(first["obs"][k : k + 1]), key
        )
        np.testing.assert_allclose(first["action"][k], wanted[0], rtol=1e-4, atol=1e-6)


def test_normalising_uses_the_datas_own_mean_and_deviation() -> None:
    run = softq.train(
        "bc", data=arrays(), normalize_obs=True,
        **{**TINY, "algo": {"hidden": (8,)}, "steps": 100, "eval_every": 0},
    )  # fmt: skip
    obs = arrays()["observations"]
    np.testing.assert_allclose(run.policy.stats.mean, obs.mean(0), atol=1e-5)
    spread = np.sqrt(np.asarray(run.policy.stats.deviation) / len(obs))
    np.testing.assert_allclose(spread, obs.std(0), rtol=1e-4)


def test_an_update_sees_both_observations_normalised() -> None:
    """What follows too: the target's networks know no other units."""
    seen: list[Batch] = []

    def update(key: Any, agent: Any, drawn: Batch, cfg: Any) -> Any:
        seen.append(drawn)
        return agent, {}

    algo: Any = SimpleNamespace(**{**vars(ALGOS["bc"]), "update": update})
    data = batch()._replace(reward=jnp.arange(ROWS, dtype=jnp.float32))
    data = data._replace(obs=3.0 * data.obs + 1.0, next_obs=3.0 * data.next_obs + 1.0)
    rows, key = ring.insert(ring.empty(SPEC, ROWS), data), jax.random.key(0)
    stats, options = normalize.of(np.asarray(data.obs)), Options(batch_size=8)
    offline.one(algo, None, options, None, data, stats, key)
    steps.learn(algo, None, options, None, rows, stats, key)
    mean, std = (f(np.float64(data.obs), axis=0) for f in (np.mean, np.std))
    for drawn in seen:
        index = np.asarray(drawn.reward, int)
        for found, raw in ((drawn.obs, data.obs), (drawn.next_obs, data.next_obs)):
            wanted = (np.asarray(raw)[index] - mean) / std
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert len(seen) == 2
