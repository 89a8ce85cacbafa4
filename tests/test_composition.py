"""Composed policies: the sum of Q-functions, drawn from as it should be."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softq
from softq import compose, nets
from softq.algos import sql
from softq.figures import composition
from softq.types import SoftqError, Spec

OPTIONS: dict[str, Any] = {
    "steps": 40, "batch_size": 8, "learning_starts": 20, "eval_every": 40,
    "eval_episodes": 1,
}  # fmt: skip
SMALL = {"hidden": (8, 8), "particles": 4, "value_samples": 4, "alpha": 0.5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    paths = []
    for seed, env in enumerate(("softq/ReachX-v0", "softq/ReachY-v0")):
        paths.append(folder / str(seed))
        hidden = (8, 8) if seed else (6, 6)  # of different widths
        softq.train(
            "sql", env=env, out=paths[-1], seed=seed, algo={**SMALL, "hidden": hidden},
            **OPTIONS,
        )  # fmt: skip
    return paths


@pytest.mark.parametrize(("how", "weight"), [("sum", 1.0), ("mean", 0.5)])
def test_the_composed_q_is_the_sum_or_the_mean(
    how: Any, weight: float, runs: list[Path]
) -> None:
    made = compose.compose(runs, how, updates=3)
    rng = np.random.default_rng(0)
    obs, action = rng.uniform(-1, 1, (2, 5, 2)).astype(np.float32)
    parts = [softq.load(run).value(obs, action) for run in runs]
    np.testing.assert_allclose(
        made.value(obs, action), weight * sum(parts), rtol=1e-4, atol=1e-5
    )
    assert made(obs[0]).shape == (2,)


def test_an_evaluation_says_how_well_the_sampler_draws(runs: list[Path]) -> None:
    record = json.loads((runs[0] / "evals.jsonl").read_text().splitlines()[-1])
    assert set(record["sampler"]) == {"total_variation", "kl"}
    assert 0.0 < record["sampler"]["total_variation"] < 1.0


@pytest.mark.parametrize("beside", [0, 2])
def test_a_total_is_the_sum_of_its_networks(beside: int) -> None:
    parts = [
        nets.Net(jax.random.key(k), (3,), 2, hidden, beside)
        for k, hidden in enumerate(((4, 5, 6), (7, 3, 2), (2, 2, 2)))
    ]
    whole = nets.total(parts, 0.25)
    inputs = [jnp.arange(3.0), *([jnp.ones(beside)] if beside else [])]
    expected = 0.25 * sum(np.float64(part(*inputs)) for part in parts)
    np.testing.assert_allclose(whole(*inputs), expected, atol=1e-6)


def test_the_sampler_follows_the_composed_q() -> None:
    """Of two agents with slopes of their own: near exp((Q_1 + Q_2)/α), by its cells."""
    cfg = sql.Config(hidden=(8, 8), alpha=0.5, particles=24)
    wide = sql.Config(hidden=(16, 16), alpha=0.5, particles=24)
    spec = Spec((2,), "float32", (-1.0,), (1.0,))
    agents = [sql.init(jax.random.key(k), spec, cfg) for k in (0, 1)]
    agents = [
        a._replace(critic=jax.tree.map(lambda w: 2 * w, a.critic)) for a in agents
    ]
    state = compose.combine(agents, spec, wide, 1.0)
    obs = jax.random.normal(jax.random.key(2), (64, 2))
    trained = compose.fit(state, obs, wide, 400, 0)
    before, after = (
        float(sql.quality(jax.random.key(3), s, obs[:4], wide)["total_variation"])
        for s in (state, trained)
    )
    assert after < 0.1
    assert after < 0.7 * before
    np.testing.assert_array_equal(
        jax.tree.leaves(trained.critic)[0], jax.tree.leaves(state.critic)[0]
    )


def test_the_steps_of_a_sampler_decay_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A constant step would leave it noisy to the end."""
    rates: list[float] = []

    def descend(loss: Any, net: Any, moments: Any, rate: Any, *args: Any) -> Any:
        jax.debug.callback(lambda x: rates.append(float(x)), rate, ordered=True)
        return net, moments, {}

    monkeypatch.setattr(compose, "descend", descend)
    key, cfg = jax.random.key(0), sql.Config(hidden=(2,))
    sampler = nets.Net(key, (2,), 1, cfg.hidden, 1)

    def unasked(obs: Any, action: Any) -> Any:
        raise AssertionError

    compose.fit_sampler(key, sampler, unasked, jnp.zeros((4, 2)), cfg, 50, 2)
    jax.effects_barrier()
    assert len(rates) == 50
    assert rates[0] > 0
    assert (np.diff(rates) < 0).all()
    assert 0 <= rates[-1] <= 0.01 * rates[0]


def test_what_cannot_be_composed_is_refused(
    runs: list[Path], pendulum_run: Path, tmp_path: Path, untyped: None
) -> None:
    other: Any = "product"
    with pytest.raises(SoftqError, match="by sum or mean; found 'product'"):
        compose.compose(runs, other)
    with pytest.raises(SoftqError, match="two runs or more; found 1"):
        compose.compose(runs[:1])
    with pytest.raises(SoftqError, match="is a run of sac; compose takes runs of sql"):
        compose.compose([runs[0], pendulum_run])
    with pytest.raises(SoftqError, match="is no run"):
        compose.compose([runs[0], tmp_path / "nowhere"])
    for name, part, field, value, says in (
        ("warm", "algo", "alpha", 0.1, "temperatures must agree"),
        ("many", None, "seeds", 2, "several seeds"),
        ("twins", "algo", "twin", True, "twin critics"),
        ("scaled", "loop", "normalize_obs", True, "normalised observations"),
    ):
        copy = tmp_path / name
        shutil.copytree(runs[1], copy)
        content = json.loads((copy / "config.json").read_text())
        (content["plan"][part] if part else content["plan"])[field] = value
        (copy / "config.json").write_text(json.dumps(content))
        with pytest.raises(SoftqError, match=says):
            compose.compose([runs[0], copy])


def test_the_figure_counts_who_arrives(tmp_path: Path) -> None:
    numbers = composition.make(tmp_path, seeds=2, steps=300, updates=20)
    assert (tmp_path / "composition.png").stat().st_size > 10_000
    assert [len(found) for found in numbers["arrive"].values()] == [2, 2, 2]
    for found in numbers["table"].values():
        assert 0 <= found["largest_gap_of_q"] <= found["range_of_q"]
