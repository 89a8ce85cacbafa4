"""What both loops share: options, the state a run continues from, one iteration."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from softq.algos import Algorithm
from softq.data import normalize, ring
from softq.types import Action, Batch, Key, Observation, Spec


@dataclasses.dataclass(frozen=True)
class Options:
    """How much is collected and how often it is learned from; a run's shape."""

    steps: int = 1_000_000
    """Environment steps in all, over all environments of a seed."""
    num_envs: int = 1
    """Environments stepped together, each with its own episodes."""
    batch_size: int = 256
    capacity: int = 1_000_000
    """Transitions that the replay ring holds (never more than `steps`)."""
    learning_starts: int = 5_000
    """Steps before the first update."""
    random_start: bool = True
    """Act uniformly at random in those steps; otherwise as the policy does."""
    utd: int = 1
    """Updates per environment step."""
    normalize_obs: bool = False
    """Scale observations by their running mean and standard deviation."""
    overlap: bool = False
    """Act with the policy of one update ago, to step while the device learns."""

    @property
    def rows(self) -> int:
        """The ring's capacity: a multiple of num_envs, so that no block wraps."""
        return max(min(self.capacity, self.steps) // self.num_envs, 1) * self.num_envs

    @property
    def updates(self) -> int:
        """Updates an iteration, which steps every environment once."""
        return self.utd * self.num_envs

    @property
    def first_update(self) -> int:
        """The step from which on every iteration learns."""
        return max(self.learning_starts, self.batch_size)


class Given(NamedTuple):
    """What another run has learned: its agent, and the statistics it acts with."""

    agent: Any
    stats: normalize.Stats | None


class Train(NamedTuple):
    """Everything on the device that a run continues from, for one seed or many."""

    agent: Any
    rows: ring.Ring
    stats: normalize.Stats | None
    obs: Observation  # to act on next, leading axis num_envs
    action: Action  # already chosen for `obs`, normalised
    iteration: Int[Array, ""]
    world: Any = None  # the environments' state, where they live on the device


def begin(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, root: Key,
    obs: Observation, given: Given | None = None,
) -> Train:  # fmt: skip
    """One seed's first state, its ring still without memory; fresh, or as `given`."""
    init_key, act_key = jax.random.split(jax.random.fold_in(root, 0))
    stats = normalize.empty(spec.obs_shape) if options.normalize_obs else None
    agent, stats = given or (algo.init(init_key, spec, cfg), stats)
    stats = None if stats is None else normalize.fold(stats, obs)
    action = lead(algo, cfg, options, spec, agent, stats, obs, act_key)
    return Train(agent, None, stats, obs, action, jnp.int32(0))  # type: ignore[arg-type]


def lead(
    algo: Algorithm, cfg: Any, options: Options, spec: Spec, agent: Any, stats: Any,
    obs: Observation, key: Key,
) -> Action:  # fmt: skip
    """Actions before the first update."""
    if options.random_start:
        return random_action(key, spec, options.num_envs)
    return act(algo, cfg, agent, stats, obs, key)


def random_action(key: Key, spec: Spec, n: int) -> Action:
    """n actions, uniform over the normalised box or the indices."""
    if spec.num_actions:
        return jax.random.randint(key, (n,), 0, spec.num_actions, jnp.int32)
    return jax.random.uniform(key, (n, spec.action_dim), minval=-1.0, maxval=1.0)


def keys(root: Key, iteration: Int[Array, ""]) -> tuple[Key, Key]:
    """The (act, learn) keys of an iteration; a function of seed and step alone."""
    act_key, learn_key = jax.random.split(jax.random.fold_in(root, iteration + 1))
    return act_key, learn_key


def act(
    algo: Algorithm, cfg: Any, agent: Any, stats: Any, obs: Observation, key: Key
) -> Action:
    """The exploring policy's actions, from observations as they came."""
    return algo.act(key, agent, normalize.apply(stats, obs), cfg, True)


def learn(
    algo: Algorithm, cfg: Any, options: Options, agent: Any, rows: ring.Ring,
    stats: Any, key: Key, data: Batch | None = None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Samples and updates as often as an iteration must; the last update's info.

    With `data` half of every batch comes from there.
    """

    def one(agent: Any, key: Key) -> tuple[Any, Any]:
        sample_key, update_key = jax.random.split(key)
        batch = _sample(sample_key, rows, data, options.batch_size)
        return algo.update(update_key, agent, normalized(batch, stats), cfg)

    if options.updates == 1:
        return one(agent, key)
    agent, infos = jax.lax.scan(one, agent, jax.random.split(key, options.updates))
    return agent, jax.tree.map(lambda x: x[-1], infos)


def _sample(key: Key, rows: ring.Ring, data: Batch | None, n: int) -> Batch:
    """n transitions of the ring, or half of them from the data."""
    if data is None:
        return ring.sample(key, rows, n)
    own_key, data_key = jax.random.split(key)
    own = ring.sample(own_key, rows, n // 2)
    if data.mc_return is not None:  # what was just collected has no known return
        own = own._replace(mc_return=jnp.full(n // 2, -jnp.inf))
    given = ring.draw(data_key, data, len(data.reward), n - n // 2)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, given)


def normalized(batch: Batch, stats: Any) -> Batch:
    """The batch with observations as networks see them."""
    obs, next_obs = (normalize.apply(stats, x) for x in (batch.obs, batch.next_obs))
    return batch._replace(obs=obs, next_obs=next_obs)
