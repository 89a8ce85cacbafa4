"""What a run learns from: the data and their returns, or the device's episodes."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from softq import plan
from softq.algos import sac
from softq.data import offline
from softq.source import LOST, OnData
from softq.train import ondevice
from softq.train.seeds import Seeds
from softq.types import Progress, Spec

N = 40
SPEC = Spec((1,), "float32", (-1.0,), (1.0,))


def on_data(name: str = "cql", ends: bool = False, **options: Any) -> OnData:
    """A run on two episodes, cut or ended, whose rewards are 4 at most."""
    random = np.random.default_rng(0)
    obs = random.normal(size=(N + 1, 3)).astype(np.float32)
    last = np.arange(N) % 20 == 19
    arrays = {
        "observations": obs[:-1], "next_observations": obs[1:],
        "actions": random.uniform(-1, 1, (N, 1)).astype(np.float32),
        "rewards": np.linspace(-1, 4, N, dtype=np.float32),
        "terminals": last & ends, "timeouts": last,
    }  # fmt: skip
    options["data"] = plan.Data("python:arrays")
    return OnData(plan.build(name, "", options), None, offline.read(arrays))


def to_go(discount: float) -> np.ndarray:
    """Σₖ γᵏ rₜ₊ₖ up to the end of each of the two episodes, from the definition."""
    power = np.arange(N)[None] - np.arange(N)[:, None]
    counts = (power >= 0) & (np.arange(N)[None] // 20 == np.arange(N)[:, None] // 20)
    return np.where(counts, discount ** np.abs(power), 0.0) @ np.linspace(-1, 4, N)


def told(source: OnData, **info: Any) -> str:
    lanes = {name: np.asarray(values) for name, values in info.items()}
    return source._diverged(Progress(100, None, lanes, []))


def test_the_largest_value_is_that_of_the_farthest_horizon() -> None:
    assert on_data(algo={"discount": 0.9}).top == pytest.approx(40)
    assert on_data(sweep={"discount": [0.9, 0.99, 0.5]}).top == pytest.approx(400)


def test_a_run_is_lost_when_every_lane_is() -> None:
    source = on_data(algo={"discount": 0.9})
    good, bad = 0.99 * LOST * 40, 1.01 * LOST * 40
    assert told(source, q_data=[good, -good], q_policy=[-good, good]) == ""
    assert told(source, q_data=[bad, good], q_policy=[bad, good]) == ""
    assert told(source, critic_loss=[np.nan, np.nan]) == ""
    said = told(source, q_data=[bad, good], q_policy=[good, -bad])
    assert "4.04e+03 after 100 updates" in said
    assert "allow at most 40" in said
    assert "nan after" in told(source, q_data=[np.nan, good], q_policy=[good, np.inf])


def test_calqls_floor_is_the_datas_discounted_return_to_go() -> None:
    found = on_data("calql", ends=True, algo={"discount": 0.9}).batch.mc_return
    np.testing.assert_allclose(found, to_go(0.9), rtol=1e-5, atol=1e-5)
    assert on_data().batch.mc_return is None  # nobody else asked for it


def test_the_mean_return_of_the_data_is_told_at_the_runs_discount() -> None:
    for discount in (0.5, 0.9):
        about = on_data(ends=True, algo={"discount": discount}).about
        assert about["mc_return"] == pytest.approx(to_go(discount).mean(), rel=1e-5)
    assert "mc_return" not in on_data(sweep={"discount": [0.5, 0.9]}).about


@dataclasses.dataclass(frozen=True)
class Count:
    """Shows the steps since the reset; ends at `end`, is cut at `horizon`."""

    end: int
    horizon: int = 3
    fps: int = 1
    spec: Spec = SPEC
    obs_bounds: Any = ((0.0,), (3.0,))

    def reset(self, key: Any) -> Any:
        return jnp.int32(0)

    def observe(self, state: Any) -> Any:
        return state[None].astype(jnp.float32)

    def step(self, key: Any, state: Any, action: Any) -> Any:
        return state + 1, jnp.float32(1), state + 1 >= self.end

    def render(self, state: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("end", "shown", "over"),
    [(9, [0, 1, 2], [0, 0, 0]), (3, [0, 1, 2], [0, 0, 1]), (2, [0, 1], [0, 1])],
    ids=["cut", "ended at the limit", "ended before it"],
)
def test_the_devices_rows_end_where_the_world_does_and_show_what_it_led_to(
    end: int, shown: list[int], over: list[int]
) -> None:
    """A time limit is no end, and the next episode's start is nobody's outcome."""
    idle = {
        "init": lambda key, spec, cfg: jnp.zeros(1),
        "update": lambda key, agent, batch, cfg: (agent, {}),
        "act": lambda key, agent, obs, cfg, explore: jnp.zeros((len(obs), 1)),
    }
    algo: Any = SimpleNamespace(**{**vars(sac), **idle})
    env, options, seeds = Count(end), ondevice.Options(steps=6), Seeds(0)
    train = ondevice.start(algo, None, options, env, seeds)
    (last,) = ondevice.run(algo, None, options, env, seeds, train, 6)
    rows, times = last.train.rows.rows, 6 // len(shown)
    np.testing.assert_array_equal(rows.obs[:, 0], shown * times)
    np.testing.assert_array_equal(rows.next_obs[:, 0], np.add(shown * times, 1))
    np.testing.assert_array_equal(rows.terminated, np.bool_(over * times))
    assert [episode.length for episode in last.episodes] == [len(shown)] * times
