"""Data from policies: new episodes, or what a run remembers, as D4RL or Minari HDF5."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium
import jax
import numpy as np

from softq import __version__, checkpoint, plan
from softq.data.offline import EDGE
from softq.data.write import d4rl_writer, minari_writer
from softq.envs import make, spec_of
from softq.envs.host import Episode
from softq.evaluate import STREAM
from softq.policy import Policy, choose_step, load, template
from softq.types import SoftqError, Spec

RANDOM = "random"  # the policy that every action is as likely of
BLOCK = 10_000
ACTING = ("sampled", "greedy")
Block = dict[str, np.ndarray]  # columns of D4RL's names


class Part(NamedTuple):
    """Steps to collect with one policy (None: uniform actions)."""

    name: str
    policy: Policy | None
    steps: int


def collect(
    runs: list[str],
    steps: int,
    out: Path,
    env: str | None = None,
    *,
    seed: int = 0,
    greedy: bool = False,
    replay: bool = False,
    form: Literal["d4rl", "minari"] = "d4rl",
) -> dict[str, Any]:
    """Writes `steps` steps, equal shares of each run's policy, in their order.

    A run is a directory, or "random". Actions are sampled, or `greedy`; with `replay`
    they are those that the run itself has taken, oldest first. The last episode of a
    share is cut where its steps end. Returns what was collected: returns, steps.
    Raises SoftqError for what cannot be meant; nothing is half-written.
    """
    if not runs:
        raise SoftqError("collect what? Give a run, or random")
    if steps < len(runs):
        raise SoftqError(f"--steps must be at least one a run; found {steps}")
    if not 0 <= seed < 2**63:
        raise SoftqError(f"a seed must be from 0 to 2^63 - 1; found {seed}")
    env = env or _env_of(runs)
    shares = [steps // len(runs) + (k < steps % len(runs)) for k in range(len(runs))]
    blocks: list[Iterator[Block]] | None = None
    parts = [
        Part(name, None if name == RANDOM or replay else load(name), share)
        for name, share in zip(runs, shares, strict=True)
    ]
    if replay:
        blocks = [_remembered(Path(part.name), part.steps, env) for part in parts]
    return write(parts, env, out, seed=seed, greedy=greedy, form=form, past=blocks)


def write(
    parts: list[Part],
    env: str,
    out: Path,
    *,
    seed: int = 0,
    greedy: bool = False,
    form: Literal["d4rl", "minari"] = "d4rl",
    past: list[Iterator[Block]] | None = None,
) -> dict[str, Any]:
    """Writes each part's steps one after the other; `past` are those already taken."""
    made = make(env)
    spec, returns = spec_of(made), _Returns()
    meta = _meta(env, made, parts, seed, "replay" if past else ACTING[greedy])
    opened = (
        d4rl_writer(out, meta) if form == "d4rl" else minari_writer(out, spec, meta)
    )
    try:
        with opened as append:
            played = (
                _played(part, made, spec, seed + k, greedy)
                for k, part in enumerate(parts)
            )
            for block in itertools.chain.from_iterable(past or played):
                returns.add(block)
                append(block)
    finally:
        made.close()
    return returns.told()


class _Returns:
    """The returns of whole episodes, in the environment's units."""

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.now, self.steps = 0.0, 0

    def add(self, block: dict[str, np.ndarray]) -> None:
        ends = block["terminals"] | block["timeouts"]
        cuts = block.get("cuts", np.zeros(len(ends), bool))
        for reward, end, cut in zip(block["rewards"], ends, cuts, strict=True):
            self.now += float(reward)
            if end:
                self.whole += [] if cut else [self.now]
                self.now = 0.0
        self.steps += len(ends)

    def told(self) -> dict[str, Any]:
        mean = float(np.mean(self.whole)) if self.whole else None
        return {"steps": self.steps, "episodes": len(self.whole), "mean_return": mean}


def _env_of(runs: list[str]) -> str:
    """The environment that all runs are of."""
    found = {plan.read(Path(name))[0].env for name in runs if name != RANDOM}
    env = found.pop() if len(found) == 1 else ""
    if env and not env.startswith("python:"):
        return env
    raise SoftqError("collect where? The runs do not say it in one voice. Add --env ID")


def _meta(
    env: str, made: gymnasium.Env, parts: list[Part], seed: int, acting: str
) -> dict[str, str]:
    # By their names: the same data are the same file wherever the runs lie.
    names = [Path(part.name).resolve().name for part in parts]
    policies = [
        {"run": name, "steps": part.steps}
        for name, part in zip(names, parts, strict=True)
    ]
    told = {
        "env_id": env, "algorithm_name": "softq", "softq_version": __version__,
        "acting": acting, "seed": str(seed), "policies": json.dumps(policies),
    }  # fmt: skip
    try:
        return told if made.spec is None else told | {"env_spec": made.spec.to_json()}
    except (TypeError, ValueError):  # made by a function, which JSON cannot hold
        return told


def _played(
    part: Part, env: gymnasium.Env, spec: Spec, seed: int, greedy: bool
) -> Iterator[Block]:
    """Episodes of a policy, in blocks; the last one is cut where the steps end."""
    if part.policy is not None and part.policy.spec != spec:
        raise SoftqError(
            f"{part.name} was trained on {part.policy.spec}; the environment has {spec}"
        )
    act, episode = _actor(part.policy, spec, seed, greedy), Episode(env, spec, seed, 0)
    rows: list[tuple[Any, ...]] = []
    for t in range(1, part.steps + 1):
        obs = episode.obs
        episode.advance(act(t, obs))
        after, reward, terminated, truncated = episode.commit()
        cut = t == part.steps and not (terminated or truncated)
        timeout = (truncated or cut) and not terminated
        rows.append((obs, episode.given, reward, after, terminated, timeout, cut))
        if (terminated or truncated) and t < part.steps:
            episode.begin(episode.number + 1)
        if t % BLOCK == 0 or t == part.steps:
            yield _columns(rows)
            rows = []


def _root(seed: int) -> Any:
    """Not the stream of a training run of that seed."""
    return jax.random.fold_in(jax.random.key(seed), STREAM)


def _actor(policy: Policy | None, spec: Spec, seed: int, greedy: bool) -> Any:
    """(step, observation) → a normalised action, or an index."""
    if policy is None:
        random = np.random.default_rng(seed)
        if spec.num_actions:
            return lambda t, obs: random.integers(spec.num_actions)
        return lambda t, obs: random.uniform(-1, 1, spec.action_dim).astype(np.float32)
    choose, root = policy.choosers[ACTING[greedy]], _root(seed)

    def act(t: int, obs: np.ndarray) -> Any:
        key = jax.random.fold_in(root, t)
        return np.asarray(choose(key, policy.agent, policy.stats, obs[None])[0])[0]

    return act


def _columns(rows: list[tuple[Any, ...]]) -> dict[str, np.ndarray]:
    names = ("observations", "actions", "rewards", "next_observations", "terminals",
             "timeouts", "cuts")  # fmt: skip
    columns = {
        name: np.asarray(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return columns | {"rewards": columns["rewards"].astype(np.float32)}


def _remembered(run: Path, steps: int, env: str) -> Iterator[Block]:
    """The newest `steps` transitions that a run keeps, oldest first.

    A row whose next observation is not the next row's ends an episode: where nothing
    terminated, a time limit did.
    """
    made, spec, _ = plan.read(run)
    if env != made.env and not made.env.startswith("python:"):
        raise SoftqError(f"{run} remembers {made.env}; found --env {env}")
    if made.data is not None or made.seed_range.lanes > 1 or made.loop.num_envs > 1:
        raise SoftqError(f"{run} is not a run of one seed in one environment: it keeps "
                         "no history in order")  # fmt: skip
    train = checkpoint.load(run, choose_step(run, "last"), template(made, spec), True)
    size, head = int(train.rows.size), int(train.rows.head)
    if size < steps:
        raise SoftqError(f"{run} remembers {size:,} steps; found --steps {steps:,}")
    order = (head - steps + np.arange(steps)) % train.rows.rows.reward.shape[0]
    batch = jax.tree.map(lambda x: np.asarray(x)[order], train.rows.rows)
    follows = np.zeros(steps, bool)
    axes = tuple(range(1, batch.obs.ndim))
    follows[:-1] = (batch.next_obs[:-1] == batch.obs[1:]).all(axis=axes)
    action = batch.action if spec.num_actions else np.clip(batch.action, -EDGE, EDGE)
    yield {
        "observations": batch.obs, "actions": spec.to_env(action),
        "rewards": batch.reward, "next_observations": batch.next_obs,
        "terminals": batch.terminated, "timeouts": ~follows & ~batch.terminated,
    }  # fmt: skip
