"""What the command line does, as functions: train, resume, load, evaluate."""

from pathlib import Path
from typing import Any

import gymnasium

from softq import checkpoint, plan
from softq.drive import Driver, OnProgress, Run
from softq.envs import check, make, spec_of
from softq.envs.host import EnvLike
from softq.evaluate import Result, judge
from softq.plan import Plan
from softq.policy import Policy, learned, load, template
from softq.source import source_of
from softq.types import SoftqError

__all__ = ["Policy", "Result", "Run", "evaluate", "load", "resume", "train"]


def train(
    algorithm: str,
    env: EnvLike,
    *,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Run:
    """Trains an agent; with `out` the run is written there and can be resumed.

    `env` is a Gymnasium id, an environment or a function that makes one. Options are
    those of `softq train`, with underscores; `algo` is a dict of the algorithm's own
    or its Config. `on_progress` sees every step's Progress and stops the run by
    returning True. Raises SoftqError for anything that cannot be meant.
    """
    name = plan.algorithm(algorithm)
    made = plan.build(name, env_name(env), dict(options))
    return start(made, env, None if out is None else Path(out), on_progress)


def start(
    made: Plan, env: EnvLike, out: Path | None, on_progress: OnProgress | None = None
) -> Run:
    """Trains as planned, from the beginning."""
    plan.check(made)
    if out is not None and out.exists():
        raise SoftqError(f"{out} exists. Try: softq resume {out}, or another --out")
    source = source_of(made, env)
    try:
        check(source.spec, made.algorithm, made.module.ACTIONS, made.env)
        plan.check_memory(made, source.spec)
        given = None if made.init_from is None else learned(made, source.spec)
        if out is not None:
            plan.create(out)
            plan.write(out, made, source.spec, source.replayable)
        driver = Driver(made, env, source, out, on_progress)
        return driver.drive(source.start(given), 0)
    finally:
        source.close()


def resume(
    run: str | Path, env: EnvLike | None = None, on_progress: OnProgress | None = None
) -> Run:
    """Continues a run from its newest valid checkpoint, as if it had never stopped.

    `env` is needed where the run was given an environment or a function, not an id.
    """
    path = Path(run)
    made, spec, _ = plan.read(path)
    if env is None and made.env.startswith("python:"):
        raise SoftqError(
            f"{path} was trained on {made.env}. Try: softq.resume(…, env=…)"
        )
    wanted = made.env if env is None else env
    source = source_of(made, wanted)
    try:
        if source.spec != spec:
            raise SoftqError(
                f"{path} was trained on {spec}; {made.env} is {source.spec}"
            )
        step = next(checkpoint.newest(path), None)
        if step is None:
            raise SoftqError(f"{path} has no whole checkpoint, so nothing to resume")
        state = checkpoint.load(path, step, template(made, spec), replay=True)
        record = checkpoint.manifest(path, step)
        actions = checkpoint.host_actions(path, step)
        state, exact = source.restore(state, record["host"], actions)
        if not exact:
            print("exact: false. An episode could not be replayed and counts as cut")
        driver = Driver(made, wanted, source, path, on_progress, record)
        driver.exact = bool(record["exact"]) and exact
        return driver.drive(state, step)
    finally:
        source.close()


def evaluate(policy: Policy, env: EnvLike, episodes: int = 10, seed: int = 0) -> Result:
    """Greedy and sampled episodes of a policy in fresh environments.

    Returns task, entropy and soft returns apart (undiscounted sums an episode).
    Raises SoftqError where the environment does not fit the policy.
    """
    if isinstance(env, gymnasium.Env):
        env = env.spec.id if env.spec else (lambda made=env: made)
    envs = [make(env) for _ in range(episodes)]
    found = spec_of(envs[0])
    if found != policy.spec:
        raise SoftqError(f"the policy was trained on {policy.spec}; found {found}")
    return judge(policy.choosers, policy.agent, policy.stats, envs, seed)


def env_name(env: EnvLike) -> str:
    """An id, or what to call an environment that has none."""
    if isinstance(env, str):
        return env
    name = getattr(env, "__qualname__", type(env).__name__)
    return f"python:{name}"
