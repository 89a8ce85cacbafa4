"""Every algorithm on environments whose answers are known, through the online loop.

Each probe is one seed of a run, so that an algorithm learns all of them at once, by
one compiled program and with separate networks.
"""

import dataclasses
import functools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from softq.algos import ALGOS
from softq.envs import Host, make
from softq.train import online
from softq.train.online import Options
from softq.train.seeds import Seeds

# What each algorithm must solve: one line an algorithm.
SOLVES = {
    "sac": [*probes.PROBES],
    "sac_discrete": [*probes.PROBES],
    "soft_dqn": [*probes.PROBES],
    "sql": [*probes.PROBES],
    # Where its tanh saturates DDPG has no gradient left: it stays at that end.
    "ddpg": [p for p in probes.PROBES if p not in ("act_as_shown", "image")],
    # With no weight on the gap CQL is SAC, or soft DQN; it sees images as they do.
    "cql": [p for p in probes.PROBES if p != "image"],
    "calql": ["constant", "act", "time_limit", "late_time_limit"],
    "cql_discrete": [p for p in probes.PROBES if p != "image"],
    # Of the actions that were taken, whichever they were.
    "iql": ["constant", "shown", "chain", "time_limit", "late_time_limit"],
    "td3_bc": ["constant", "shown", "chain", "time_limit", "late_time_limit"],
    # No Q is learned.
    "bc": [],
    "bc_discrete": [],
}
EXTRA = {
    "cql": {"backup_entropy": True, "actor_lr": 3e-3, "gap_samples": 1},
    "calql": {"backup_entropy": True, "actor_lr": 3e-3, "gap_samples": 1},
    "cql_discrete": {"backup": "soft"},
    "td3_bc": {"q_weight": 0.1},
    "sql": {"particles": 4, "value_samples": 16},
}
IMAGES = {"sql": {"particles": 32}}  # what a frame needs more
DISCOUNT, ALPHA = 0.8, 0.05
OPTIONS = {
    "vector": Options(steps=1200, learning_starts=300, batch_size=64),
    "image": Options(steps=600, learning_starts=200, batch_size=32),
    "four": Options(steps=1600, learning_starts=400, batch_size=64, num_envs=4),
}
BATCHES = {"sql": {"vector": 32, "image": 16}}  # its update is the dearest
MISTAKEN = ("sac", "soft_dqn")  # are shown the mistakes of a loop, the same for all
CASES = [(name, probe) for name, solved in SOLVES.items() for probe in solved]

pytestmark = pytest.mark.xdist_group("probes")  # what is trained here is shared


class NextEpisodesStart(Host):
    """The mistake that `LateTimeLimit` is there to find."""

    def commit(self):
        step, finished = super().commit()
        return step._replace(next_obs=step.obs), finished


def probe_of(name, probe):
    return probes.PROBES[probe](ALGOS[name].ACTIONS)


def config(name, more=None):
    fields = {field.name for field in dataclasses.fields(ALGOS[name].Config)}
    soft = {"alpha": ALPHA, "gap_weight": 0.0}
    return ALGOS[name].Config(
        lr=3e-3, discount=DISCOUNT, polyak=0.05, hidden=(32, 32),
        **{knob: value for knob, value in soft.items() if knob in fields},
        **EXTRA.get(name, {}) | (more or {}),
    )  # fmt: skip


def train(name, hosts, options, more=None):
    """The agents that a run over `hosts` ends with, one a host."""
    algo, cfg, seeds = ALGOS[name], config(name, more), Seeds(0, len(hosts))
    first = seeds.join([host.obs for host in hosts])
    state = online.start(algo, cfg, options, hosts[0].spec, seeds, first)
    (last,) = deque(online.run(algo, cfg, options, hosts, seeds, state), maxlen=1)
    assert last.step == options.steps
    agents = last.train.agent
    if len(hosts) == 1:
        return [agents]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], agents) for i in range(len(hosts))]


def options(name, kind):
    sizes = BATCHES.get(name, {})
    batch = sizes.get(kind, OPTIONS[kind].batch_size)
    return dataclasses.replace(OPTIONS[kind], batch_size=batch)


def on_vectors(name):
    return [probe for probe in SOLVES[name] if probe != "image"]


@functools.cache
def solved(name):
    """Agents by probe; beside some those that made one of the two mistakes."""
    made = [(probe, make(probe_of(name, probe)), Host) for probe in on_vectors(name)]
    for probe in ("time_limit", "late_time_limit") if name in MISTAKEN else ():
        cut = make(probes.CutIsEnd(probe_of(name, probe)))
        made.append((f"{probe}, cut is end", cut, Host))
    if name in MISTAKEN:
        late = make(probe_of(name, "late_time_limit"))
        made.append(("late_time_limit, next start", late, NextEpisodesStart))
    hosts = [kind([env], seed) for seed, (_, env, kind) in enumerate(made)]
    agents = train(name, hosts, options(name, "vector"))
    return dict(zip([label for label, *_ in made], agents, strict=True))


@functools.cache
def solved_images(name):
    hosts = [Host([make(probe_of(name, "image"))], 0)]
    return train(name, hosts, options(name, "image"), IMAGES.get(name))[0]


def as_batch(obs):
    dtype = jnp.uint8 if np.ndim(obs) == 3 else jnp.float32
    return jnp.asarray(obs, dtype)[None]


def bonus(name, agent, obs):
    """α H(π(·|obs)), from many draws where the algorithm has only draws."""
    if not hasattr(config(name), "alpha"):
        return 0.0
    many = jnp.broadcast_to(as_batch(obs), (4096, len(obs)))
    entropy = ALGOS[name].entropy(jax.random.key(0), agent, many, config(name))
    return ALPHA * float(entropy.mean())


def learned(name, agent, obs, move):
    """Q(obs, move), as the algorithm's `value` says it."""
    discrete = ALGOS[name].ACTIONS == "discrete"
    action = jnp.asarray([move], jnp.int32) if discrete else jnp.asarray([[move]])
    value = ALGOS[name].value(agent, as_batch(obs), action, config(name))
    return float(value[0])


def check(name, probe, agent):
    """Every Q and every greedy action against the probe's known answers."""
    env = probe_of(name, probe)
    for obs in env.shown:
        for move in probes.ACTIONS[ALGOS[name].ACTIONS]:
            true = env.q(obs, move, DISCOUNT, lambda o: bonus(name, agent, o))
            found = learned(name, agent, obs, move)
            assert found == pytest.approx(true, abs=env.tolerance), (obs, move)
        if env.best(obs) is not None:
            key, shown = jax.random.key(0), as_batch(obs)
            action = ALGOS[name].act(key, agent, shown, config(name), False)
            near = pytest.approx(env.best(obs), abs=0.1)
            assert float(np.ravel(action)[0]) == near, obs


def test_every_algorithm_says_what_it_solves():
    assert set(SOLVES) == set(ALGOS)


@pytest.mark.parametrize(("name", "probe"), CASES)
def test_the_known_answers_of_a_probe_are_learned(name, probe):
    agent = solved_images(name) if probe == "image" else solved(name)[probe]
    check(name, probe, agent)


# How several environments feed a ring is the loop's doing, the same for all.
@pytest.mark.parametrize("name", ["sac", "soft_dqn"])
def test_four_environments_learn_through_the_time_limit_without_a_seed_axis(name):
    envs = [make(probe_of(name, "late_time_limit")) for _ in range(4)]
    (agent,) = train(name, [Host(envs, 0)], OPTIONS["four"])
    check(name, "late_time_limit", agent)


MISTAKES = {
    # Of 5 transitions one lacks its future; all look alike.
    "time_limit, cut is end": 1 / (1 - 4 / 5 * DISCOUNT),
    # Of the 4 that pay one lacks its future.
    "late_time_limit, cut is end": 1 / (1 - 3 / 4 * DISCOUNT),
    # Of the 4 that pay one leads to the next start, which is worth γ of the others.
    "late_time_limit, next start": 1 / (1 - 3 / 4 * DISCOUNT - 1 / 4 * DISCOUNT**2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", MISTAKEN)
def test_a_time_limit_gets_the_wrong_value_from_either_mistake(name, mistake):
    probe, agent = mistake.split(",")[0], solved(name)[mistake]
    env = probe_of(name, probe)
    for move in probes.ACTIONS[ALGOS[name].ACTIONS]:
        found = learned(name, agent, env.shown[-1], move)
        assert found == pytest.approx(MISTAKES[mistake], abs=0.3)
    with pytest.raises(AssertionError):
        check(name, probe, agent)
