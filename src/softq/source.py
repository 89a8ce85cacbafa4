"""Where a run's experience comes from: data, host environments, or the device."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import gymnasium
import jax
import numpy as np

from softq import plan
from softq.data import normalize, offline
from softq.envs import EnvLike, Host, device_env, make, spec_of
from softq.envs.host import Episode as HostEpisode
from softq.plan import Plan
from softq.train import offline as offline_loop
from softq.train import ondevice, online
from softq.train import step as steps
from softq.train.step import Given
from softq.types import Progress, SoftqError


class OnDevice:
    """A run whose environment is a JAX one: everything is in its state."""

    trouble = ""

    def __init__(self, made: Plan):
        env = device_env(made.env)
        assert env is not None
        self.plan, self.env, self.spec = made, env, env.spec
        self.about: dict[str, Any] = {"replayable": True}

    def start(self, given: Given | None = None) -> Any:
        made = self.plan
        return ondevice.start(
            made.module, made.swept, made.loop, self.env, made.seed_range, given
        )

    def run(self, train: Any) -> Iterator[Progress]:
        made, often = self.plan, self.plan.cadence
        every = (often.log_every, often.eval_every, often.checkpoint_every)
        return ondevice.run(
            made.module, made.swept, made.loop, self.env, made.seed_range, train,
            min(filter(None, every)),
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

    trouble = ""

    def __init__(self, made: Plan, env: EnvLike):
        count = made.seed_range.lanes * made.loop.num_envs
        if isinstance(env, gymnasium.Env) and count > 1:
            raise SoftqError(
                f"one environment object cannot be stepped as {count}. "
                "Give its id, or a function that makes it"
            )
        self.plan, envs = made, [make(env) for _ in range(count)]
        if len({id(one.unwrapped) for one in envs}) < count:
            raise SoftqError(
                "the function that makes environments gave the same one twice: it must "
                "make a new one each time"
            )
        self.about: dict[str, Any] = {"replayable": _self_check(envs[0], env)}
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
            made.module, made.swept, made.loop, self.spec, seeds, obs, given
        )

    def run(self, train: Any) -> Iterator[Progress]:
        made = self.plan
        return online.run(
            made.module, made.swept, made.loop, self.hosts, made.seed_range, train
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


class OnData:
    """A run on fixed data and then, where it is asked for, in an environment."""

    def __init__(self, made: Plan, env: EnvLike | None, data: offline.Dataset):
        self.plan, self.dataset, self.spec = made, data, data.spec
        self.about: dict[str, Any] = {"data": data.about._asdict()}
        togo = offline.monte_carlo(data, _discount(made))
        # Several discounts have several returns; without one a cut has none.
        if "discount" not in made.settings[0] and np.isfinite(mean := togo.mean()):
            self.about["mc_return"] = float(mean)
        self.online: OnHost | None = None
        if env is not None:
            self.online = OnHost(dataclasses.replace(made, loop=made.online), env)
            if self.online.spec != data.spec:
                raise SoftqError(
                    f"{made.finetune_env} is {self.online.spec}; the policy learns "
                    f"{data.spec} from the data"
                )
            self.about |= self.online.about
        rows = data.batch
        if "mc_return" in made.module.NEEDS:
            rows = rows._replace(mc_return=togo)  # type: ignore[arg-type]
        self.batch = jax.device_put(rows)
        self.trouble = ""
        top = float(np.abs(data.batch.reward).max())
        farthest = max(s.get("discount", _discount(made)) for s in made.settings)
        self.top = max(top, 1.0) / (1 - min(farthest, 0.9999))

    def start(self, given: Given | None = None) -> Any:
        made, stats = self.plan, None
        if made.normalizes:
            stats = normalize.of(np.asarray(self.dataset.batch.obs))
        return offline_loop.start(
            made.module, made.swept, made.loop, self.spec, made.seed_range, stats,
            plan.ring_rows(made), given,
        )  # fmt: skip

    def run(self, train: Any) -> Iterator[Progress]:
        made = self.plan
        for progress in offline_loop.run(
            made.module, made.swept, made.loop, self.spec, made.seed_range, self.batch,
            train,
        ):  # fmt: skip
            train = progress.train
            self.trouble = self._diverged(progress)
            yield progress
        if self.online is None:
            return
        if int(train.iteration) == made.loop.steps:
            train = self._enter(train)
        yield from online.run(
            made.module, made.swept, made.online, self.online.hosts, made.seed_range,
            train, self.batch, made.loop.steps,
        )  # fmt: skip

    def _enter(self, train: Any) -> Any:
        """The state at the environment's door: what it shows, and what to do there."""
        assert self.online is not None
        made, seeds = self.plan, self.plan.seed_range
        obs = jax.numpy.asarray(seeds.join([host.obs for host in self.online.hosts]))

        def act(cfg: Any, root: Any, agent: Any, stats: Any, obs: Any) -> Any:
            key = steps.keys(root, train.iteration)[0]
            return steps.act(made.module, cfg, agent, stats, obs, key)

        chosen = jax.jit(seeds.lift(act, (seeds.varying, 0, 0, 0, 0)))
        knobs, roots = seeds.knobs(made.swept), seeds.roots()
        action = chosen(knobs, roots, train.agent, train.stats, obs)
        return train._replace(obs=obs, action=action)

    def _diverged(self, progress: Progress) -> str:
        """Why learning is lost in every lane, if it is."""
        names = [n for n in ("q_data", "q_policy") if n in progress.info]
        if not names:
            return ""
        found = np.abs([np.ravel(jax.device_get(progress.info[n])) for n in names])
        lost = ~np.isfinite(found) | (found > LOST * self.top)
        if not lost.any(axis=0).all():
            return ""
        worst = np.max(found) if np.isfinite(found).all() else np.nan
        return (
            f"Q has diverged: {worst:,.3g} after {progress.step:,} updates, where "
            f"rewards and discount allow at most {self.top:,.3g}. Nothing holds Q down "
            "where the data have no action: try cql with a larger --algo.gap-weight, "
            "a smaller --algo.lr or --algo.discount"
        )

    def snapshot(self) -> tuple[list[Any], list[np.ndarray]]:
        return ([], []) if self.online is None else self.online.snapshot()

    def restore(self, state: Any, records: Any, actions: Any) -> tuple[Any, bool]:
        started = int(state.iteration) > self.plan.loop.steps
        if self.online is None or not started:
            return state, True
        return self.online.restore(state, records, actions)

    @property
    def consistent(self) -> bool:
        return self.online is None or self.online.consistent

    def close(self) -> None:
        if self.online is not None:
            self.online.close()


LOST = 100.0  # times the largest value that the rewards allow


def _discount(made: Plan) -> float:
    return float(getattr(made.algo, "discount", 0.99))


Source = OnDevice | OnHost | OnData


def source_of(
    made: Plan, env: EnvLike | None, data: offline.Dataset | None = None
) -> Source:
    """What a run learns from: environments, made and reset, or data."""
    if data is not None:
        return OnData(made, env, data)
    assert env is not None
    if isinstance(env, str) and device_env(env) is not None:
        if made.loop.overlap:
            raise SoftqError(f"{env} runs on the device; --overlap is for host ones")
        return OnDevice(made)
    return OnHost(made, env)
