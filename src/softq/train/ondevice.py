"""Learning in an environment that lives on the device.

A chunk of iterations (step the environments, insert, update, choose) is one
compiled `scan`; the host only starts it and reads what it reports.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from softq.algos import Algorithm
from softq.data import normalize, ring
from softq.envs.jax_env import JaxEnv
from softq.train import step as steps
from softq.train.seeds import Seeds
from softq.train.step import Options, Train
from softq.types import Batch, Episode, Key, Progress


class World(NamedTuple):
    """num_envs environments: their states, and their episodes so far."""

    state: Any
    length: Int[Array, " n"]
    ret: Float[Array, " n"]


class Ended(NamedTuple):
    """What one iteration reports of the episodes that ended in it."""

    ended: Bool[Array, " n"]
    ret: Float[Array, " n"]
    length: Int[Array, " n"]


RESETS = 2**32 - 1  # the stream of the first resets; iterations count from 1
AXES = Train(0, ring.Ring(0, None, None), 0, 0, 0, None, 0)  # type: ignore[arg-type]
UNFILLED = Train(0, None, 0, 0, 0, None, 0)  # type: ignore[arg-type]


def start(
    algo: Algorithm, cfg: Any, options: Options, env: JaxEnv, seeds: Seeds,
    given: steps.Given | None = None,
) -> Train:  # fmt: skip
    """Agents (fresh, or as `given`), empty rings, environments at their first step."""
    n = options.num_envs

    def one(cfg: Any, root: Key, given: steps.Given | None) -> Train:
        reset_keys = jax.random.split(jax.random.fold_in(root, RESETS), n)
        state = jax.vmap(env.reset)(reset_keys)
        obs = jax.vmap(env.observe)(state)
        train = steps.begin(algo, cfg, options, env.spec, root, obs, given)
        return train._replace(world=World(state, jnp.zeros(n, jnp.int32), jnp.zeros(n)))

    lifted = jax.jit(seeds.lift(one, (seeds.varying, 0, 0), UNFILLED))
    train = lifted(seeds.knobs(cfg), seeds.roots(), given)
    return train._replace(rows=ring.empty(env.spec, options.rows, seeds.axes))


def step_world(
    env: JaxEnv, key: Key, world: World, obs: Array, action: Array
) -> tuple[World, Array, Batch, Ended]:
    """Steps every environment; where an episode ended a new one begins.

    Returns the worlds, what to act on next, the transitions (with the true final
    observation) and the episodes that ended.
    """
    step_key, reset_key = jax.random.split(key)
    n = world.length.shape[0]
    state, reward, terminated = jax.vmap(env.step)(
        jax.random.split(step_key, n), world.state, action
    )
    next_obs = jax.vmap(env.observe)(state)
    batch = Batch(obs, action, reward, next_obs, terminated)
    length, ret = world.length + 1, world.ret + reward
    ended = terminated | (length >= env.horizon)
    fresh = jax.vmap(env.reset)(jax.random.split(reset_key, n))

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(ended.reshape(n, *(1,) * (old.ndim - 1)), new, old)

    state = jax.tree.map(pick, fresh, state)
    report = Ended(ended, ret, length)
    world = World(state, jnp.where(ended, 0, length), jnp.where(ended, 0.0, ret))
    return world, jax.vmap(env.observe)(state), batch, report


def iterate(
    algo: Algorithm, cfg: Any, options: Options, env: JaxEnv, root: Key, train: Train
) -> tuple[Train, tuple[Ended, dict[str, Any]]]:
    """One iteration: step, insert, learn where due, choose the next action."""
    agent, rows, stats, obs, action, i, world = train
    i = i + 1
    act_key, learn_key = steps.keys(root, i)
    world_key, learn_key = jax.random.split(learn_key)
    world, obs, batch, ended = step_world(env, world_key, world, obs, action)
    rows = ring.insert(rows, batch)
    stats = None if stats is None else normalize.fold(stats, obs)

    def learned(agent: Any) -> Any:
        agent, info = steps.learn(algo, cfg, options, agent, rows, stats, learn_key)
        return agent, info, steps.act(algo, cfg, agent, stats, obs, act_key)

    def wandered(agent: Any) -> Any:
        infos = jax.eval_shape(learned, agent)[1]
        nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), infos)
        chosen = steps.lead(algo, cfg, options, env.spec, agent, stats, obs, act_key)
        return agent, nothing, chosen

    due = i * options.num_envs >= options.first_update
    agent, info, action = jax.lax.cond(due, learned, wandered, agent)
    return Train(agent, rows, stats, obs, action, i, world), (ended, info)


def run(
    algo: Algorithm,
    cfg: Any,
    options: Options,
    env: JaxEnv,
    seeds: Seeds,
    train: Train,
    chunk: int,
) -> Iterator[Progress]:
    """Runs chunks of about `chunk` steps; yields after each.

    The yielded state is donated to the next chunk: read it before asking for more.
    """
    cfg, root, n = seeds.knobs(cfg), seeds.roots(), options.num_envs

    def many(cfg: Any, root: Key, train: Train, length: int) -> Any:
        def body(train: Train, _: None) -> Any:
            return iterate(algo, cfg, options, env, root, train)

        train, (ended, infos) = jax.lax.scan(body, train, None, length)
        return train, ended, jax.tree.map(lambda x: x[-1], infos)

    def lifted(cfg: Any, root: Array, train: Train, length: int) -> Any:
        one = partial(many, length=length)
        axes = (seeds.varying, 0, AXES)
        return seeds.lift(one, axes, (AXES, 0, 0))(cfg, root, train)

    compiled = jax.jit(lifted, static_argnums=3, donate_argnums=2)
    at, total = int(train.iteration), -(-options.steps // n)
    while at < total:
        length = min(max(chunk // n, 1), total - at)
        train, ended, info = compiled(cfg, root, train, length)
        at += length
        learned = at * n >= options.first_update
        episodes = _episodes(seeds, jax.device_get(ended))
        yield Progress(at * n, train, info if learned else {}, episodes)


def _episodes(seeds: Seeds, ended: Ended) -> list[Episode]:
    """The episodes that ended in a chunk, in order, from arrays (seeds, length, n)."""
    flags, rets, lengths = (seeds.split(np.asarray(x)) for x in ended)
    return [
        Episode(seed, float(rets[k][at]), int(lengths[k][at]), k)
        for k, seed in enumerate(seeds.all)
        for at in zip(*np.nonzero(flags[k]), strict=True)
    ]
