"""Evaluation: fresh environments, fixed seeds, greedy and sampled policy apart.

Returns are undiscounted sums over an episode: of the reward (task), of the policy's
entropy in nats (entropy), and of reward + α · entropy (soft). A deterministic action
earns no entropy, so the greedy policy has a task return only.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import jax
import numpy as np

from softq.algos import Algorithm
from softq.data import normalize
from softq.envs import spec_of
from softq.envs.host import episode_seed
from softq.plan import Plan
from softq.types import Key, SoftqError, Spec, cast_knobs

# Evaluation draws from streams of its own, so that it never changes a run.
STREAM = 2**31 - 1
LONGEST = (
    100_000  # steps of an episode: a policy that stands still would stand for ever
)


@dataclasses.dataclass(frozen=True)
class Returns:
    """One number an episode; `soft` = task + α · entropy."""

    task: tuple[float, ...]
    entropy: tuple[float, ...]
    soft: tuple[float, ...]
    length: tuple[int, ...]

    def summary(self) -> dict[str, float]:
        """Mean and standard deviation of the task return, means of the others."""
        return {
            "return": float(np.mean(self.task)),
            "return_std": float(np.std(self.task)),
            "entropy": float(np.mean(self.entropy)),
            "soft": float(np.mean(self.soft)),
            "length": float(np.mean(self.length)),
        }


Chooser = Callable[[Key, Any, Any, Any], tuple[jax.Array, jax.Array, jax.Array]]


@functools.cache
def chooser(algo: Algorithm, explore: bool) -> Callable[..., Any]:
    """A compiled (cfg, key, agent, stats, obs) → actions, entropies, temperature.

    One program for every value of the knobs, so that a sweep compiles once.
    """

    def choose(
        cfg: Any, key: Key, agent: Any, stats: Any, obs: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        shown = normalize.apply(stats, obs)
        act_key, entropy_key = jax.random.split(key)
        action = algo.act(act_key, agent, shown, cfg, explore)
        nats = algo.entropy(entropy_key, agent, shown, cfg)
        return action, nats, algo.temperature(agent, cfg)

    return jax.jit(choose)


def rollout(
    choose: Callable[[Key, jax.Array], tuple[Any, Any, Any]],
    envs: Sequence[gymnasium.Env],
    seed: int,
    explore: bool,
) -> Returns:
    """One episode in each environment, stepped together; reset seeds from `seed`.

    A policy that has no action left (NaN) ends its episode with a return of NaN. An
    environment without a time limit is cut after LONGEST steps.
    Raises SoftqError where a reward is NaN or infinite, or an environment fails.
    """
    spec, n = spec_of(envs[0]), len(envs)
    obs = np.zeros((n, *spec.obs_shape), spec.obs_dtype)
    for index, env in enumerate(envs):
        first = _begun(env, episode_seed(seed, STREAM - index, 0))
        obs[index] = np.reshape(first, spec.obs_shape)
    task, nats, soft = np.zeros(n), np.zeros(n), np.zeros(n)
    length, active, gone = np.zeros(n, int), np.ones(n, bool), np.zeros(n, bool)
    root = jax.random.fold_in(jax.random.key(seed), STREAM)
    for t in range(LONGEST):
        chosen = choose(jax.random.fold_in(root, t), jax.numpy.asarray(obs))
        action, entropy, alpha = (np.asarray(x) for x in chosen)
        gone |= active & ~np.isfinite(action.reshape(n, -1)).all(axis=1)
        active &= ~gone
        for i in np.flatnonzero(active).tolist():
            raw, reward, terminated, truncated = _stepped(envs[i], spec, action[i])
            obs[i] = np.reshape(raw, spec.obs_shape)
            bonus = float(entropy[i]) if explore else 0.0
            task[i] += float(reward)
            nats[i] += bonus
            soft[i] += float(reward) + float(alpha) * bonus
            length[i] += 1
            active[i] = not (terminated or truncated)
        if not active.any():
            break
    if not np.isfinite(task).all():
        raise SoftqError("an evaluation episode returned NaN or an infinite reward")
    task[gone] = soft[gone] = np.nan
    return Returns(*(tuple(x.tolist()) for x in (task, nats, soft, length)))


def _begun(env: gymnasium.Env, seed: int) -> Any:
    try:
        return env.reset(seed=seed)[0]
    except SoftqError:  # in words already, as a camera's
        raise
    except Exception as error:
        kind = type(error).__name__
        raise SoftqError(f"the environment raised {kind} in reset: {error}") from error


def _stepped(env: gymnasium.Env, spec: Spec, action: Any) -> tuple[Any, ...]:
    try:
        return env.step(spec.to_env(action))[:4]
    except SoftqError:  # in words already, as a camera's
        raise
    except Exception as error:
        kind = type(error).__name__
        raise SoftqError(f"the environment raised {kind} in step: {error}") from error


@dataclasses.dataclass(frozen=True)
class Result:
    """The greedy and the sampled policy's episodes."""

    greedy: Returns
    sampled: Returns


class Evaluator:
    """Evaluates every lane of a run, always on the same episodes."""

    def __init__(self, made: Plan, envs: Sequence[gymnasium.Env]):
        self.plan, self.seeds, self.envs = made, made.seed_range, envs
        # Where nothing was shown yet, as before data, there is nothing to say of it.
        self.quality = None if made.data else measure(made.module, made.algo)

    def evaluate(self, step: int, train: Any) -> list[dict[str, Any]]:
        """One record a lane: step, seed, setting, and each policy's returns."""
        return [
            {"step": step, "seed": seed, **self._setting(k), **self._judged(train, k)}
            for k, seed in enumerate(self.seeds.all)
        ]

    def _setting(self, k: int) -> dict[str, str]:
        told = self.plan.setting(k)
        return {"setting": told} if told else {}

    def _judged(self, train: Any, k: int) -> dict[str, Any]:
        agent, stats = self.seeds.pick((train.agent, train.stats), k)
        choosers = choosers_of(self.plan.module, self.plan.config(k))
        result = judge(choosers, agent, stats, self.envs, self.seeds.all[k])
        told: dict[str, Any] = {
            n: getattr(result, n).summary() for n in ("greedy", "sampled")
        }
        if self.quality is not None:
            found = self.quality(agent, stats, self.seeds.pick(train.obs, k))
            told["sampler"] = {name: float(x) for name, x in found.items()}
        return told


def choosers_of(algo: Algorithm, cfg: Any) -> dict[str, Chooser]:
    """The greedy and the sampled policy as (key, agent, stats, obs) → ….

    Knobs are arguments of the compiled program, not part of it.
    """
    knobs = cast_knobs(cfg)
    return {
        name: functools.partial(chooser(algo, name == "sampled"), knobs)  # type: ignore[arg-type]
        for name in ("greedy", "sampled")
    }


def measure(algo: Algorithm, cfg: Any) -> Callable[..., Any] | None:
    """(agent, stats, obs) → how well its sampler draws, where an algorithm can tell."""
    quality = getattr(algo, "quality", None)
    if quality is None:
        return None

    def measured(agent: Any, stats: Any, obs: jax.Array) -> Any:
        return quality(jax.random.key(0), agent, normalize.apply(stats, obs), cfg)

    return jax.jit(measured)


def judge(
    choosers: dict[str, Chooser],
    agent: Any,
    stats: Any,
    envs: Sequence[gymnasium.Env],
    seed: int,
) -> Result:
    """An episode of each policy in each environment."""

    def returns(name: str) -> Returns:
        def choose(key: Key, obs: jax.Array) -> Any:
            return choosers[name](key, agent, stats, obs)

        return rollout(choose, envs, seed, name == "sampled")

    return Result(returns("greedy"), returns("sampled"))
