"""Learning from fixed data: the data lie on the device, many updates are one call.

A step is an update. `scan` runs over updates, `vmap` over seeds and over settings of
numeric knobs; all of them read one copy of the data.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from softq.algos import Algorithm
from softq.data import normalize, ring
from softq.train import step as steps
from softq.train.seeds import Seeds
from softq.train.step import Options, Train
from softq.types import Batch, Info, Key, Progress, Spec

PROBE = 1_024  # transitions, always the same, that the monitor looks at
WATCH = 2**32 - 2  # the monitor's stream of keys; updates count from 1
CHUNK = 100  # updates a call: a signal is heard after so many
UNFILLED = Train(0, None, 0, 0, 0, None)  # type: ignore[arg-type]


def start(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, seeds: Seeds,
    stats: normalize.Stats | None, capacity: int, given: steps.Given | None = None,
) -> Train:  # fmt: skip
    """A first state, its agents fresh or as `given`.

    Its ring is for what may be collected later (`capacity` rows, often none), and so
    are observation and action.
    """
    cfg = seeds.knobs(cfg)

    def one(root: Key, cfg: Any, given: steps.Given | None) -> Train:
        init_key = jax.random.split(jax.random.fold_in(root, 0))[0]
        agent, own = given or (algo.init(init_key, spec, cfg), stats)
        rows = ring.row_shapes(spec)
        obs, action = (
            jnp.zeros((options.num_envs, *part.shape), part.dtype)
            for part in (rows.obs, rows.action)
        )
        return Train(agent, None, own, obs, action, jnp.int32(0))  # type: ignore[arg-type]

    lifted = seeds.lift(one, (0, seeds.varying, 0), UNFILLED)
    train = jax.jit(lifted)(seeds.roots(), cfg, given)
    return train._replace(rows=ring.empty(spec, capacity, seeds.axes))


def run(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, seeds: Seeds,
    data: Batch, train: Train,
) -> Iterator[Progress]:  # fmt: skip
    """Updates until `options.steps`; yields after every `CHUNK` of them."""
    cfg, roots = seeds.knobs(cfg), seeds.roots()
    probe = jax.tree.map(lambda x: x[_evenly(len(data.reward))], data)

    def many(cfg: Any, root: Key, i: Any, agent: Any, stats: Any, data: Batch,
             probe: Batch, length: int) -> Any:  # fmt: skip
        def body(agent: Any, at: Int[Array, ""]) -> Any:
            key = jax.random.fold_in(root, at + 1)
            return one(algo, cfg, options, agent, data, stats, key)

        agent, infos = jax.lax.scan(body, agent, i + jnp.arange(length))
        info = jax.tree.map(lambda x: x[-1], infos)
        watch = jax.random.fold_in(jax.random.fold_in(root, WATCH), i)
        watched = monitor(algo, cfg, spec, agent, stats, probe, watch)
        return agent, i + length, {**info, **watched}

    def lifted(*args: Any, length: int) -> Any:
        axes = (seeds.varying, 0, None, 0, 0, None, None)
        return seeds.lift(partial(many, length=length), axes, (0, None, 0))(*args)

    compiled = jax.jit(lifted, static_argnames="length")
    at = int(train.iteration)
    while at < options.steps:
        length = min(CHUNK, options.steps - at)
        agent, iteration, info = compiled(
            cfg, roots, train.iteration, train.agent, train.stats, data, probe,
            length=length,
        )  # fmt: skip
        train = train._replace(agent=agent, iteration=iteration)
        at += length
        yield Progress(at, train, info, [])


def one(
    algo: Algorithm, cfg: Any, options: Options, agent: Any, data: Batch, stats: Any,
    key: Key,
) -> tuple[Any, Info]:  # fmt: skip
    """One update on transitions drawn uniformly, with replacement."""
    sample_key, update_key = jax.random.split(key)
    batch = ring.draw(sample_key, data, len(data.reward), options.batch_size)
    return algo.update(update_key, agent, steps.normalized(batch, stats), cfg)


def monitor(
    algo: Algorithm, cfg: Any, spec: Spec, agent: Any, stats: Any, probe: Batch,
    key: Key,
) -> Info:  # fmt: skip
    """Q on the data's, on the policy's and on uniform actions, at the same states.

    Nothing where no Q is learned.
    """
    if "critic" not in algo.State._fields:
        return {}
    obs = normalize.apply(stats, probe.obs)
    act_key, uniform_key = jax.random.split(key)
    actions = {
        "q_data": probe.action,
        "q_policy": algo.act(act_key, agent, obs, cfg, True),
        "q_uniform": steps.random_action(uniform_key, spec, len(obs)),
    }
    return {
        name: jnp.mean(algo.value(agent, obs, action, cfg))
        for name, action in actions.items()
    }


def _evenly(n: int) -> Any:
    """Up to PROBE of n indices, evenly spaced."""
    return np.linspace(0, n - 1, min(n, PROBE)).astype(np.int32)
