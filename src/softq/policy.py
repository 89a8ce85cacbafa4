"""A trained policy as a function: observations in, actions in the Box's units out."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from softq import checkpoint, plan, records
from softq.algos import Algorithm
from softq.data import normalize
from softq.envs import device_env
from softq.evaluate import choosers_of
from softq.train import offline, ondevice, online
from softq.train.step import Given
from softq.types import Key, SoftqError, Spec


class Policy:
    """`policy(obs)` is the greedy action, `policy(obs, key=key)` a sampled one.

    `obs` is one observation of the environment's shape, or a batch of them along a
    leading axis; actions are NumPy arrays in the environment's own units. A wrong
    shape raises SoftqError.
    """

    def __init__(
        self, algo: Algorithm, cfg: Any, spec: Spec, agent: Any, stats: Any = None
    ):
        self.algo, self.cfg, self.spec = algo, cfg, spec
        self.agent, self.stats = agent, stats
        self.choosers = choosers_of(algo, cfg)
        self._value = jax.jit(
            lambda agent, stats, obs, action: algo.value(
                agent, normalize.apply(stats, obs), action, cfg
            )
        )

    @classmethod
    def of_train(cls, made: plan.Plan, spec: Spec, train: Any, k: int = 0) -> "Policy":
        """The policy of the k-th seed of a run's state."""
        agent, stats = made.seed_range.pick((train.agent, train.stats), k)
        return cls(made.module, made.config(k), spec, agent, stats)

    def __call__(self, obs: Any, key: Key | None = None) -> np.ndarray:
        batch, single = self._batch(obs)
        choose = self.choosers["greedy" if key is None else "sampled"]
        drawn = jax.random.key(0) if key is None else key
        action = self.spec.to_env(
            np.asarray(choose(drawn, self.agent, self.stats, batch)[0])
        )
        return action[0] if single else action

    def value(self, obs: Any, action: Any) -> np.ndarray:
        """Q(obs, action) in reward units; `action` in the environment's units."""
        batch, single = self._batch(obs)
        given = np.asarray(action)[None] if single else np.asarray(action)
        inner = jnp.asarray(self.spec.from_env(given))
        shape = () if self.spec.num_actions else (self.spec.action_dim,)
        if inner.shape != (batch.shape[0], *shape):
            raise SoftqError(
                f"an action for {batch.shape[0]} observation(s) has shape "
                f"{given.shape}; this policy's actions have shape {shape}"
            )
        q = np.asarray(self._value(self.agent, self.stats, batch, inner))
        return q[0, ...] if single else q  # of no axis, but an array

    def _batch(self, obs: Any) -> tuple[jax.Array, bool]:
        """Observations with a leading axis, and whether there was only one."""
        shape = self.spec.obs_shape
        array = np.asarray(obs, self.spec.obs_dtype)
        if array.shape == shape:
            return jnp.asarray(array[None]), True
        if array.shape[1:] == shape:
            return jnp.asarray(array), False
        raise SoftqError(
            f"an observation has shape {array.shape}; this policy takes {shape}, "
            f"or a batch of them"
        )


def load(
    run: str | Path,
    which: Literal["last", "best"] | int = "last",
    seed: int | None = None,
    setting: int = 0,
) -> Policy:
    """The policy of a run: its last, its best or a given checkpoint.

    `seed` picks one of several seeds (default: the first), `setting` one of a sweep's,
    in their order. Raises SoftqError where the run or the checkpoint is missing or
    damaged.
    """
    path = Path(run)
    made, spec, _ = plan.read(path)
    step = choose_step(path, which)
    train = checkpoint.load(path, step, template(made, spec), replay=False)
    seeds, settings = range(made.seed, made.seed + made.seeds), len(made.settings)
    if seed is not None and seed not in seeds:
        raise SoftqError(f"{run} has seeds {seeds[0]} to {seeds[-1]}; found {seed}")
    if setting not in range(settings):
        raise SoftqError(f"{run} has settings 0 to {settings - 1}; found {setting}")
    lane = setting * made.seeds + (0 if seed is None else seeds.index(seed))
    return Policy.of_train(made, spec, train, lane)


def choose_step(run: Path, which: str | int) -> int:
    """The step of the last, the best or a given checkpoint that is there."""
    if which == "best":
        which = records.best_step(records.evaluations(run)) or "last"
    if which == "last":
        for step in checkpoint.newest(run, replay=False):
            return step
        raise SoftqError(
            f"{run} has no checkpoint that can be read, so no policy. What it has "
            f"written down shows: softq report {run}"
        )
    if not isinstance(which, int) and not str(which).isdecimal():
        raise SoftqError(f"a checkpoint is last, best or a step; found {which!r}")
    if int(which) not in checkpoint.steps(run):
        have = ", ".join(f"{s:,}" for s in checkpoint.steps(run)) or "none"
        raise SoftqError(f"{run} has no checkpoint at step {which}; it has: {have}")
    return int(which)


def learned(made: plan.Plan, spec: Spec) -> Given:
    """What the run `made.init_from` has learned, one agent for each seed of `made`.

    Networks, targets, optimiser, temperature and observation statistics as they were
    at its end; its replay stays behind. Raises SoftqError where it does not fit.
    """
    path = Path(str(made.init_from))
    origin, its_spec, _ = plan.read(path)
    _fits(path, origin, its_spec, made, spec)
    step = choose_step(path, "last")
    train = checkpoint.load(path, step, template(origin, its_spec), replay=False)
    one = Given(train.agent, train.stats)
    lanes = made.seed_range.lanes
    if origin.seeds == lanes:
        return one
    if origin.seeds > 1:  # once for each setting
        times = lanes // origin.seeds
        return jax.tree.map(lambda x: jnp.concatenate([x] * times), one)
    return jax.tree.map(lambda x: jnp.stack([x] * lanes), one)


def _fits(
    path: Path, origin: plan.Plan, its_spec: Spec, made: plan.Plan, spec: Spec
) -> None:
    """Raises SoftqError unless a run can start from another, saying what differs."""
    if origin.algorithm != made.algorithm:
        raise SoftqError(
            f"{path} is a run of {origin.algorithm}; {made.algorithm} cannot start "
            f"from it. Try: softq train {origin.algorithm} --init-from {path} …"
        )
    for what, its, ours in (
        ("observations of shape", its_spec.obs_shape, spec.obs_shape),
        ("observations of type", its_spec.obs_dtype, spec.obs_dtype),
        ("actions of size", its_spec.action_dim, spec.action_dim),
        ("this many actions:", its_spec.num_actions, spec.num_actions),
    ):
        if its != ours:
            raise SoftqError(
                f"{path} was trained on {what} {its}; {made.world} has {ours}. "
                f"Start from a run on an environment like {made.world}"
            )
    if origin.normalizes != made.normalizes:
        flag = "--normalize-obs"
        said = ("with", "without") if origin.normalizes else ("without", "with")
        hint = "Add it" if origin.normalizes else "Leave it out"
        raise SoftqError(
            f"{path} was trained {said[0]} {flag}, this run {said[1]} it. {hint}"
        )
    if origin.sweep:
        raise SoftqError(f"{path} is a sweep: it ended in several ways at once")
    if origin.seeds not in (1, made.seeds):
        raise SoftqError(
            f"{path} has {origin.seeds} seeds, this run {made.seeds}. "
            f"Try: --seeds {origin.seeds}"
        )
    _same_networks(path, origin, made, spec)


def _same_networks(path: Path, origin: plan.Plan, made: plan.Plan, spec: Spec) -> None:
    def shapes(cfg: Any) -> dict[str, tuple[int, ...]]:
        key = jax.random.key(0)
        agent = jax.eval_shape(lambda: made.module.init(key, spec, cfg))
        return {name: leaf.shape for name, leaf in checkpoint.named(agent).items()}

    ours = shapes(made.algo)
    if shapes(origin.algo) == ours:
        return
    flags = [
        _flag(name, value)
        for name, value in dataclasses.asdict(origin.algo).items()
        if shapes(dataclasses.replace(made.algo, **{name: value})) != ours
    ]
    raise SoftqError(
        f"{path} has other networks than this run would have. Try: {' '.join(flags)}"
    )


def _flag(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--algo.{flag}" if value else f"--algo.no-{flag}"
    values = value if isinstance(value, tuple) else (value,)
    return f"--algo.{flag} {' '.join(str(x) for x in values)}"


def template(made: plan.Plan, spec: Spec) -> Any:
    """Shapes and dtypes of a run's state, without making it."""
    return jax.eval_shape(lambda: fresh(made, spec))


def fresh(made: plan.Plan, spec: Spec) -> Any:
    """A run's state at step 0, for environments whose first observations are zero."""
    seeds = made.seed_range
    if made.data is not None:
        stats = normalize.empty(spec.obs_shape) if made.normalizes else None
        return offline.start(
            made.module, made.swept, made.loop, spec, seeds, stats, plan.ring_rows(made)
        )
    device = device_env(made.env)
    if device is not None:
        return ondevice.start(made.module, made.swept, made.loop, device, seeds)
    obs = jnp.zeros((*seeds.axes, made.loop.num_envs, *spec.obs_shape), spec.obs_dtype)
    return online.start(made.module, made.swept, made.loop, spec, seeds, obs)
