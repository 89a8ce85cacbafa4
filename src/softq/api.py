"""What the command line does, as functions: train, resume, load, evaluate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from softq import checkpoint, limits, plan, records
from softq.data import offline
from softq.drive import Driver, OnProgress, Run
from softq.envs import EnvLike, another, check, make, spec_of
from softq.envs.perturb import perturbed
from softq.evaluate import Result, judge
from softq.plan import Data, Plan
from softq.policy import Policy, learned, load, template
from softq.source import Source, source_of
from softq.types import SoftqError, Spec

__all__ = ["Policy", "Result", "Run", "evaluate", "load", "resume", "train"]


def train(
    algorithm: str,
    env: EnvLike | None = None,
    *,
    data: str | Path | Mapping[str, Any] | Data | None = None,
    eval_env: EnvLike | None = None,
    finetune_env: EnvLike | None = None,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Run:
    """Trains an agent; with `out` the run is written there and can be resumed.

    `env` is a Gymnasium id, an environment or a function that makes one. Instead of it
    `data` may be a file or a dict of arrays: steps are then updates, evaluated in
    `eval_env` (default: the file's own), and `finetune_env` goes on from there for
    `finetune_steps`. Options are those of `softq train`, with underscores; `algo` is a
    dict of the algorithm's own or its Config, `sweep` a dict of knobs and their values.
    `on_progress` sees every step's Progress and stops the run by returning True.
    Raises SoftqError for anything that cannot be meant.
    """
    name = plan.algorithm(algorithm)
    where = eval_env if eval_env is not None else finetune_env
    if env is not None and data is not None:
        raise SoftqError("give env or data, not both; data are evaluated in eval_env")
    if data is not None:
        options["data"] = data if isinstance(data, Data) else Data(data_name(data))
        where = where if where is not None else home(data)
        if finetune_env is not None:
            options["finetune_env"] = env_name(finetune_env)
    elif where is not None or options.get("finetune_steps"):
        raise SoftqError("eval_env, finetune_env and finetune_steps go with data")
    elif env is None:
        raise SoftqError("train on what? Give env, or data")
    else:
        where = env
    made = plan.build(name, "" if where is None else env_name(where), options)
    out = None if out is None else Path(out)
    given = data if isinstance(data, Mapping) else None
    return start(made, where, out, on_progress, given, finetune_env)


def start(
    made: Plan,
    env: EnvLike | None,
    out: Path | None,
    on_progress: OnProgress | None = None,
    data: Mapping[str, Any] | None = None,
    finetune_env: EnvLike | None = None,
) -> Run:
    """Trains as planned, from the beginning."""
    limits.check(made)
    if out is not None and out.exists():
        raise SoftqError(f"{out} exists. Try: softq resume {out}, or another --out")
    source = _source(made, env, data, finetune_env)
    try:
        where = ("--env", made.env) if made.data is None else ("--data", made.data.path)
        check(source.spec, made.algorithm, made.module.ACTIONS, where[1], where[0])
        limits.check_memory(made, source.spec)
        given = None if made.init_from is None else learned(made, source.spec)
        if out is not None:
            plan.create(out)
            plan.write(out, made, source.spec, source.about)
        driver = Driver(made, env, source, out, on_progress)
        return driver.drive(source.start(given), 0)
    finally:
        source.close()


def _source(
    made: Plan,
    env: EnvLike | None,
    data: Mapping[str, Any] | None,
    finetune_env: EnvLike | None,
) -> Source:
    """What the run learns from; data read, and what had to be done to them said."""
    if made.data is None:
        return source_of(made, env)
    spec = None if env is None else _spec(env)
    read = offline.read(
        made.data.path if data is None else data, spec=spec,
        env_name=made.env or "the environment", reward_scale=made.data.reward_scale,
        reward_shift=made.data.reward_shift, strict=made.data.strict,
    )  # fmt: skip
    for told in read.about.warnings:
        print(f"{made.data.path}: {told}")
    return source_of(made, finetune_env or made.finetune_env, read)


def _spec(env: EnvLike) -> Spec:
    made = make(env)
    try:
        return spec_of(made)
    finally:
        if made is not env:
            made.close()


def data_name(data: str | Path | Mapping[str, Any]) -> str:
    """A path, or what to call arrays that have none."""
    return "python:arrays" if isinstance(data, Mapping) else str(data)


def home(data: str | Path | Mapping[str, Any] | Data) -> str | None:
    """The environment that a file says it is of, if it can be made here."""
    given = data.path if isinstance(data, Data) else data
    env_id = offline.source(given).env_id
    if env_id is None:
        return None
    try:
        if ":" in env_id:  # a module and a name: a file shall not say what is imported
            raise SoftqError("that names code to import")
        make(env_id).close()
    except Exception as error:  # it may be any id, of this machine's or of no package
        print(f"no evaluation, for the data are of {env_id}: {error}. Try: --eval-env")
        return None
    return env_id


def resume(
    run: str | Path,
    env: EnvLike | None = None,
    on_progress: OnProgress | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    finetune_env: EnvLike | None = None,
) -> Run:
    """Continues a run from its newest valid checkpoint, as if it had never stopped.

    `env`, `data` and `finetune_env` are needed where the run was given objects, not
    names.
    """
    path = Path(run)
    made, spec, written = plan.read(path)
    _all_given(path, made, env, data, finetune_env)
    wanted = (made.env or None) if env is None else env
    source = _source(made, wanted, data, finetune_env)
    try:
        _same(path, made, spec, written, source)
        step = next(checkpoint.newest(path), None)
        if step is None:
            if checkpoint.steps(path):
                raise SoftqError(f"{path} has no whole checkpoint left to resume from")
            return _from_the_start(path, made, wanted, source, on_progress)
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


def _all_given(path: Path, made: Plan, env: Any, data: Any, finetune_env: Any) -> None:
    """Raises SoftqError where what was given as an object is not given again."""
    data_path = "" if made.data is None else made.data.path
    for name, given, argument in (
        (made.env, env, "env"), (data_path, data, "data"),
        (made.finetune_env or "", finetune_env, "finetune_env"),
    ):  # fmt: skip
        if given is None and name.startswith("python:"):
            raise SoftqError(
                f"{path} was trained on {name}. Try: softq.resume(…, {argument}=…)"
            )


def _from_the_start(
    path: Path, made: Plan, env: EnvLike | None, source: Source,
    on_progress: OnProgress | None,
) -> Run:  # fmt: skip
    """A run that ended before its first checkpoint, begun again.

    Raises SoftqError where its records say that there was one.
    """
    told = records.reached(path)
    if told > (made.cadence.checkpoint_every or told) or told >= made.steps:
        raise SoftqError(
            f"{path} has records up to step {told:,} and no checkpoint: there is "
            "nothing to go on from, and they stay as they are. To see them, try: "
            f"softq report {path}"
        )
    print(f"{path} has no checkpoint yet: it begins again at step 0")
    given = None if made.init_from is None else learned(made, source.spec)
    for name in ("metrics.jsonl", "evals.jsonl"):
        (path / name).unlink(missing_ok=True)
    driver = Driver(made, env, source, path, on_progress)
    return driver.drive(source.start(given), 0)


def _same(
    path: Path, made: Plan, spec: Spec, written: dict[str, Any], source: Source
) -> None:
    """Raises SoftqError unless a run is resumed on what it was trained on."""
    if source.spec != spec:
        raise SoftqError(f"{path} was trained on {spec}; {made.world} is {source.spec}")
    before, now = (x.get("data", {}).get("sha256") for x in (written, source.about))
    if before != now:
        raise SoftqError(
            f"{path} was trained on other data than {made.world} holds now: its sha256 "
            f"was {str(before)[:12]}…, and is {str(now)[:12]}…"
        )


def evaluate(
    policy: Policy, env: EnvLike, episodes: int = 10, seed: int = 0,
    perturb: Mapping[str, float] | None = None,
) -> Result:  # fmt: skip
    """Greedy and sampled episodes of a policy in fresh environments.

    Returns task, entropy and soft returns apart (undiscounted sums an episode).
    `perturb` changes the world first, as in {"friction": 0.5, "delay": 2}; what there
    is to change, `softq.envs.perturb.names` tells. Raises SoftqError where the
    environment does not fit the policy, or has no such thing.
    """
    if not isinstance(policy, Policy):
        raise SoftqError(f"evaluate takes a policy: softq.load({policy!r}) gives one")
    if episodes < 1:
        raise SoftqError(f"episodes must be more than zero; found {episodes}")
    if not 0 <= seed < 2**63:
        raise SoftqError(f"a seed must be from 0 to 2^63 - 1; found {seed}")
    envs = _worlds(env, episodes, perturb or {})
    shown = spec_of(envs[0])
    if shown != policy.spec:
        raise SoftqError(
            f"the policy was trained on {policy.spec}; {env_name(env)} has {shown}"
        )
    where = ", ".join(f"{name} {value:.3g}" for name, value in (perturb or {}).items())
    try:
        result = judge(policy.choosers, policy.agent, policy.stats, envs, seed)
    except SoftqError as error:
        raise SoftqError(f"with {where}: {error}" if where else str(error)) from error
    if not np.isfinite(result.greedy.task + result.sampled.task).all():
        raise SoftqError(
            "the policy's actions are NaN: it has diverged, or "
            f"{f'with {where} ' if where else ''}the environment shows it NaN"
        )
    return result


def _worlds(
    env: EnvLike, episodes: int, perturb: Mapping[str, float]
) -> list[gymnasium.Env]:
    """An environment an episode. Raises SoftqError where one object cannot be many."""
    found = another(env) if isinstance(env, gymnasium.Env) else env
    if found is None and episodes > 1:
        raise SoftqError(
            f"one environment object cannot play {episodes} episodes side by side. "
            "Give its id, or a function that makes it"
        )
    if found is None and perturb:
        raise SoftqError(
            "one environment object cannot be changed and stay what it is. Give "
            "its id, or a function that makes it"
        )
    return [perturbed(found or env, perturb) for _ in range(episodes)]


def env_name(env: EnvLike) -> str:
    """An id, or what to call an environment that has none."""
    if isinstance(env, str):
        return env
    name = getattr(env, "__qualname__", type(env).__name__)
    return f"python:{name}"
