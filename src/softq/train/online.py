"""Learning while stepping a host environment.

A step costs two compiled calls: an in-place insert into the ring, then one that
samples, updates and chooses the next action. In one program XLA's CPU backend would
copy the whole ring. With `overlap` the action is chosen in the first call instead,
by the policy as it was *one update earlier*, so that the environment steps while the
device learns; which policy acts depends on the step alone, never on timing.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from softq.algos import Algorithm
from softq.data import normalize, ring
from softq.envs.host import Host
from softq.train.seeds import Seeds
from softq.types import (
    Action,
    Batch,
    Episode,
    Key,
    Observation,
    Progress,
    Spec,
    cast_knobs,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How much is collected and how often it is learned from; a run's shape."""

    steps: int = 1_000_000
    """Environment steps in all, over all environments of a seed."""
    num_envs: int = 1
    """Environments stepped in turn, each with its own episodes."""
    batch_size: int = 256
    capacity: int = 1_000_000
    """Transitions that the replay ring holds (never more than `steps`)."""
    learning_starts: int = 5_000
    """Steps of uniformly random actions before the first update."""
    utd: int = 1
    """Updates per environment step."""
    normalize_obs: bool = False
    """Scale observations by their running mean and standard deviation."""
    overlap: bool = False
    """Act with the policy of one update ago, to step while the device learns."""

    @property
    def rows(self) -> int:
        """The ring's capacity: a multiple of num_envs, so that no block wraps."""
        wanted = min(self.capacity, self.steps)
        return max(wanted // self.num_envs, 1) * self.num_envs

    @property
    def updates(self) -> int:
        """Updates an iteration, which steps every environment once."""
        return self.utd * self.num_envs


class Train(NamedTuple):
    """Everything on the device that a run continues from, for one seed or many."""

    agent: Any
    ring: ring.Ring
    stats: normalize.Stats | None
    obs: Observation  # to act on next, leading axis num_envs
    action: Action  # already chosen for `obs`, normalised
    iteration: Int[Array, ""]


def start(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, seeds: Seeds, obs: Any
) -> Train:
    """A fresh state; `obs` is what each seed's environments first show."""

    def one(root: Key, first: Observation) -> tuple[Any, Any, Action]:
        init_key, act_key = jax.random.split(root)
        stats = None
        if options.normalize_obs:
            stats = normalize.fold(normalize.empty(spec.obs_shape), first)
        action = random_action(act_key, spec, options.num_envs)
        return algo.init(init_key, spec, cfg), stats, action

    agent, stats, action = jax.jit(seeds.lift(one))(seeds.roots(), obs)
    rows = ring.empty(spec, options.rows, seeds.axes)
    return Train(agent, rows, stats, jnp.asarray(obs), action, jnp.int32(0))


def random_action(key: Key, spec: Spec, n: int) -> Action:
    """n actions, uniform over the normalised box or the indices."""
    if spec.num_actions:
        return jax.random.randint(key, (n,), 0, spec.num_actions, jnp.int32)
    return jax.random.uniform(key, (n, spec.action_dim), minval=-1.0, maxval=1.0)


class Programs(NamedTuple):
    """The compiled calls of a loop."""

    store: Callable[..., Any]
    learn: Callable[..., Any]
    wander: Callable[..., Any]


def programs(algo: Algorithm, options: Options, spec: Spec, seeds: Seeds) -> Programs:
    """Compiles nothing yet; each program compiles at its first call."""
    ring_axes = ring.Ring(0, None, None)  # type: ignore[arg-type]

    def keys(root: Key, iteration: Int[Array, ""]) -> Key:
        return jax.random.split(jax.random.fold_in(root, iteration + 1))

    def act(root: Key, cfg: Any, agent: Any, stats: Any, obs: Any, i: Any) -> Action:
        shown = normalize.apply(stats, obs)
        return algo.act(keys(root, i)[0], agent, shown, cfg, True)

    def store(
        rows: ring.Ring, stats: Any, batch: Batch, obs: Any, i: Any, root: Key, cfg: Any,
        actor: Any,
    ) -> Any:  # fmt: skip
        rows = ring.insert(rows, batch)
        if stats is not None:
            stats = normalize.fold(stats, obs)
        action = None if actor is None else act(root, cfg, actor, stats, obs, i + 1)
        return rows, stats, obs, i + 1, action

    def learn(
        agent: Any, rows: ring.Ring, stats: Any, obs: Any, i: Any, root: Key, cfg: Any
    ) -> Any:
        def one(agent: Any, key: Key) -> tuple[Any, Any]:
            sample_key, update_key = jax.random.split(key)
            batch = ring.sample(sample_key, rows, options.batch_size)
            batch = batch._replace(
                obs=normalize.apply(stats, batch.obs),
                next_obs=normalize.apply(stats, batch.next_obs),
            )
            return algo.update(update_key, agent, batch, cfg)

        key = keys(root, i)[1]
        if options.updates == 1:
            agent, info = one(agent, key)
        else:
            agent, infos = jax.lax.scan(one, agent, jax.random.split(key, options.updates))
            info = jax.tree.map(lambda x: x[-1], infos)
        action = None if options.overlap else act(root, cfg, agent, stats, obs, i)
        return agent, action, info

    def wander(root: Key, i: Int[Array, ""]) -> Action:
        return random_action(keys(root, i)[0], spec, options.num_envs)

    store_axes = (ring_axes, 0, 0, 0, None, 0, None, 0)
    store_out = (ring_axes, 0, 0, None, 0)
    return Programs(
        jax.jit(seeds.lift(store, store_axes, store_out), donate_argnums=(0, 1)),
        jax.jit(seeds.lift(learn, (0, ring_axes, 0, 0, None, 0, None)), donate_argnums=0),
        jax.jit(seeds.lift(wander, (0, None))),
    )


def run(
    algo: Algorithm,
    cfg: Any,
    options: Options,
    hosts: Sequence[Host],
    seeds: Seeds,
    train: Train,
) -> Iterator[Progress]:
    """Steps, learns and yields after every step of all environments.

    `hosts` holds one Host a seed. The yielded state is donated to the next step:
    read it before asking for the next item.
    """
    call = programs(algo, options, hosts[0].spec, seeds)
    root, cfg = seeds.roots(), cast_knobs(cfg)
    agent, rows, stats, obs, action, i = train
    n = options.num_envs
    done_steps = int(i) * n
    for step in range(done_steps + n, options.steps + n, n):
        episodes, batch, shown = _step(hosts, seeds, np.asarray(action))
        learning = step >= max(options.learning_starts, options.batch_size)
        actor = agent if learning and options.overlap else None
        rows, stats, obs, i, action = call.store(
            rows, stats, batch, shown, i, root, cfg, actor
        )
        info: dict[str, Any] = {}
        if learning:
            agent, chosen, info = call.learn(agent, rows, stats, obs, i, root, cfg)
            action = action if options.overlap else chosen
        else:
            action = call.wander(root, i)
        yield Progress(step, Train(agent, rows, stats, obs, action, i), info, episodes)


def _step(
    hosts: Sequence[Host], seeds: Seeds, action: np.ndarray
) -> tuple[list[Episode], Batch, np.ndarray]:
    """Steps every seed's environments: finished episodes, transitions, what to act on."""
    episodes: list[Episode] = []
    steps = []
    before = seeds.join([host.obs for host in hosts])
    for seed, host, one in zip(seeds.all, hosts, seeds.split(action), strict=True):
        step, finished = host.step(one)
        steps.append(step)
        episodes += [Episode(seed, *ended) for ended in finished]
    joined = [seeds.join(column) for column in zip(*steps, strict=True)]
    next_obs, reward, terminated, _, obs = joined
    return episodes, Batch(before, action, reward, next_obs, terminated), obs
