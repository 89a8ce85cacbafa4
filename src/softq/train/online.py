"""Learning while stepping host environments.

A step costs two compiled calls: an in-place insert into the ring, then one that
samples, updates and chooses the next action. In one program XLA's CPU backend would
copy the whole ring. With `overlap` the action is chosen in the first call instead,
by the policy as it was *one update earlier*, so that the environment steps while the
device learns; which policy acts depends on the step alone, never on timing.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from softq.algos import Algorithm
from softq.data import normalize, ring
from softq.envs.host import Host
from softq.train import step as steps
from softq.train.seeds import Seeds
from softq.train.step import Options, Train
from softq.types import Batch, Episode, Key, Progress, Spec


def start(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, seeds: Seeds, obs: Any,
    given: steps.Given | None = None,
) -> Train:  # fmt: skip
    """A first state, its agents fresh or as `given`; `obs` is what is shown first."""

    def one(cfg: Any, root: Key, obs: Any, given: steps.Given | None) -> Train:
        return steps.begin(algo, cfg, options, spec, root, obs, given)

    axes = Train(0, None, 0, 0, 0, None)  # type: ignore[arg-type]
    lifted = jax.jit(seeds.lift(one, (seeds.varying, 0, 0, 0), axes))
    train = lifted(seeds.knobs(cfg), seeds.roots(), obs, given)
    return train._replace(rows=ring.empty(spec, options.rows, seeds.axes))


class Programs(NamedTuple):
    """The compiled calls of a loop."""

    store: Callable[..., Any]
    learn: Callable[..., Any]
    lead: Callable[..., Any]


def programs(algo: Algorithm, options: Options, spec: Spec, seeds: Seeds) -> Programs:
    """Compiles nothing yet; each program compiles at its first call, for any knobs."""

    def lead(cfg: Any, agent: Any, stats: Any, obs: Any, i: Any, root: Key) -> Any:
        key = steps.keys(root, i)[0]
        return steps.lead(algo, cfg, options, spec, agent, stats, obs, key)

    # The seeds go in step: where they write and how far they are has no seed axis.
    rows = ring.Ring(0, None, None)  # type: ignore[arg-type]
    knobs, out = seeds.varying, (rows, 0, 0, None, 0)
    into = (knobs, rows, 0, 0, 0, None, 0, 0)
    learn = partial(_learn, algo, options)
    return Programs(
        jax.jit(seeds.lift(partial(_store, algo), into, out), donate_argnums=(1, 2)),
        jax.jit(seeds.lift(learn, (knobs, 0, rows, 0, 0, None, 0, None))),
        jax.jit(seeds.lift(lead, (knobs, 0, 0, 0, None, 0))),
    )


def _store(
    algo: Algorithm, cfg: Any, rows: ring.Ring, stats: Any, batch: Batch, obs: Any,
    i: Any, root: Key, agent: Any,
) -> Any:  # fmt: skip
    """Inserts in place; chooses the next action too where an agent is given."""
    rows = ring.insert(rows, batch)
    stats = None if stats is None else normalize.fold(stats, obs)
    action = None
    if agent is not None:
        key = steps.keys(root, i + 1)[0]
        action = steps.act(algo, cfg, agent, stats, obs, key)
    return rows, stats, obs, i + 1, action


def _learn(
    algo: Algorithm, options: Options, cfg: Any, agent: Any, rows: ring.Ring,
    stats: Any, obs: Any, i: Any, root: Key, data: Batch | None,
) -> Any:  # fmt: skip
    """Samples, updates, and chooses the next action unless it overlaps."""
    act_key, learn_key = steps.keys(root, i)
    agent, info = steps.learn(algo, cfg, options, agent, rows, stats, learn_key, data)
    if options.overlap:
        return agent, info, None
    return agent, info, steps.act(algo, cfg, agent, stats, obs, act_key)


def run(
    algo: Algorithm,
    cfg: Any,
    options: Options,
    hosts: Sequence[Host],
    seeds: Seeds,
    train: Train,
    data: Batch | None = None,
    since: int = 0,
) -> Iterator[Progress]:
    """Steps and learns; yields after every step of all environments.

    After `since` updates offline it counts on from there, and half of every batch
    comes from `data`. The yielded ring is donated to the next step: read it before
    asking for the next item. Raises whatever an environment raises, before anything
    has changed.
    """
    cfg, call = seeds.knobs(cfg), programs(algo, options, hosts[0].spec, seeds)
    agent, rows, stats, obs, action, i, _ = train
    root, n = seeds.roots(), options.num_envs
    for step in range((int(i) - since) * n + n, options.steps + n, n):
        episodes, batch, shown = _step(hosts, seeds, np.asarray(action))
        learning = step >= options.first_update
        actor = agent if learning and options.overlap else None
        rows, stats, obs, i, action = call.store(
            cfg, rows, stats, batch, shown, i, root, actor
        )
        info: dict[str, Any] = {}
        if learning:
            agent, info, chosen = call.learn(
                cfg, agent, rows, stats, obs, i, root, data
            )
            action = action if options.overlap else chosen
        else:
            action = call.lead(cfg, agent, stats, obs, i, root)
        train = Train(agent, rows, stats, obs, action, i)
        yield Progress(since + step, train, info, episodes)


def _step(
    hosts: Sequence[Host], seeds: Seeds, action: np.ndarray
) -> tuple[list[Episode], Batch, np.ndarray]:
    """Steps every seed's hosts: ended episodes, transitions, what to act on."""
    before = seeds.join([host.obs for host in hosts])
    for host, one in zip(hosts, seeds.split(action), strict=True):
        host.advance(one)
    results = [host.commit() for host in hosts]
    ended = [
        Episode(seed, *episode, k)
        for k, (seed, (_, episodes)) in enumerate(zip(seeds.all, results, strict=True))
        for episode in episodes
    ]
    columns = zip(*(step for step, _ in results), strict=True)
    next_obs, reward, terminated, obs = (seeds.join(column) for column in columns)
    return ended, Batch(before, action, reward, next_obs, terminated), obs  # type: ignore[arg-type]
