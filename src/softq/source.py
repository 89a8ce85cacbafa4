"""Where a run's experience comes from: host environments, or the device itself."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import jax
import numpy as np

from softq.envs import Host, device_env, make
from softq.envs.host import EnvLike, spec_of
from softq.envs.host import Episode as HostEpisode
from softq.plan import Plan
from softq.train import ondevice, online
from softq.train.step import Given
from softq.types import Progress, SoftqError


class OnDevice:
    """A run whose environment is a JAX one: everything is in its state."""

    def __init__(self, made: Plan):
        env = device_env(made.env)
        assert env is not None
        self.plan, self.env, self.spec, self.replayable = made, env, env.spec, True

    def start(self, given: Given | None = None) -> Any:
        made = self.plan
        return ondevice.start(
            made.module, made.algo, made.loop, self.env, made.seed_range, given
        )

    def run(self, train: Any) -> Iterator[Progress]:
        made = self.plan
        return ondevice.run(
            made.module, made.algo, made.loop, self.env, made.seed_range, train,
            made.cadence.log_every,
        )  # fmt: skip

    def snapshot(self) -> tuple[list[Any], list[np.ndarray]]:
        return [], []

    def restore(self, state: Any, records: Any, actions: Any) -> tuple[Any, bool]:
        return state, True

    @property
    def consistent(self) -> bool:
        return True

    def close(self) -> None: ...


class OnHost:
    """A run on Gymnasium environments, brought back by replaying their episodes."""

    def __init__(self, made: Plan, env: EnvLike):
        count = made.seeds * made.loop.num_envs
        if isinstance(env, gymnasium.Env) and count > 1:
            raise SoftqError(
                f"one environment object cannot be stepped as {count}. "
                "Give its id, or a function that makes it"
            )
        self.plan, envs = made, [make(env) for _ in range(count)]
        self.replayable = _self_check(envs[0], env)
        n = made.loop.num_envs
        self.hosts = [
            Host(envs[k * n : (k + 1) * n], seed)
            for k, seed in enumerate(made.seed_range.all)
        ]
        self.spec = self.hosts[0].spec

    def start(self, given: Given | None = None) -> Any:
        made, seeds = self.plan, self.plan.seed_range
        obs = seeds.join([host.obs for host in self.hosts])
        return online.start(
            made.module, made.algo, made.loop, self.spec, seeds, obs, given
        )

    def run(self, train: Any) -> Iterator[Progress]:
        made = self.plan
        return online.run(
            made.module, made.algo, made.loop, self.hosts, made.seed_range, train
        )

    def snapshot(self) -> tuple[list[Any], list[np.ndarray]]:
        pairs = [host.snapshot() for host in self.hosts]
        return [p[0] for p in pairs], [actions for p in pairs for actions in p[1]]

    def restore(
        self, state: Any, records: list[Any], actions: list[np.ndarray]
    ) -> tuple[Any, bool]:
        """Replays every episode; the state to go on from, and whether it is exact."""
        n, longest = self.plan.loop.num_envs, self.plan.cadence.max_replay
        exact = [
            host.restore(records[k], actions[k * n : (k + 1) * n], longest)
            for k, host in enumerate(self.hosts)
        ]
        obs = self.plan.seed_range.join([host.obs for host in self.hosts])
        return state._replace(obs=jax.numpy.asarray(obs)), all(exact)

    @property
    def consistent(self) -> bool:
        """Whether a snapshot now is of one moment (not so if a reset has raised)."""
        return all(host.consistent for host in self.hosts)

    def close(self) -> None:
        for host in self.hosts:
            host.close()


def _self_check(aged: gymnasium.Env, env: EnvLike) -> bool | None:
    """Whether an aged environment repeats a fresh one; None where none can be made."""
    if isinstance(env, gymnasium.Env):
        return None
    fresh = make(env)
    try:
        return _replayable(aged, fresh)
    finally:
        fresh.close()


def _replayable(aged: gymnasium.Env, fresh: gymnasium.Env, steps: int = 30) -> bool:
    """Whether a used environment, reset with a seed, does what a new one does."""
    spec, random = spec_of(aged), np.random.default_rng(0)
    dim = () if spec.num_actions else (spec.action_dim,)
    most = spec.num_actions or 1
    draws = random.integers(0, most, steps) if spec.num_actions else None
    actions = draws if draws is not None else random.uniform(-1, 1, (steps, *dim))

    def trace(env: gymnasium.Env, seed: int) -> str:
        episode = HostEpisode(env, spec, seed, 0)
        for action in actions:
            episode.advance(np.asarray(action))
            if any(episode.commit()[2:]):
                break
        return episode.trace.hexdigest()

    trace(aged, 1)
    return trace(aged, 2) == trace(fresh, 2)


Source = OnDevice | OnHost


def source_of(made: Plan, env: EnvLike) -> Source:
    """The environments of a run, made and reset."""
    if isinstance(env, str) and device_env(env) is not None:
        if made.loop.overlap:
            raise SoftqError(f"{env} runs on the device; --overlap is for host ones")
        return OnDevice(made)
    return OnHost(made, env)
