"""Soft policies put together without their environment (Haarnoja et al. 2018).

"Composable Deep Reinforcement Learning", arXiv 1803.06773. Agents of soft Q-learning
that were trained apart on r_1, r_2, … are combined as Q_1 + Q_2 + …, or as their mean;
only a new sampler is trained, on that Q and on observations the agents have seen.

The sum stands for the reward r_1 + r_2 at twice the temperature (of two agents), for
their entropies add up too; the mean stands for (r_1 + r_2)/2 at the agents' own. Both
draw actions from exp(Q/α), so that the sum's policy is the sharper one. Either is off
from the optimum of the composed reward by as much as the agents disagree about what to
do next; on a table `tabular.compose` says exactly how much.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from softq import checkpoint, nets, plan
from softq.algos import sql
from softq.ops import threefry
from softq.ops.step import adam, descend
from softq.policy import Policy, choose_step, template
from softq.types import Key, SoftqError, Spec, cast_knobs

BATCH = 128


def compose(
    runs: Sequence[str | Path],
    how: Literal["sum", "mean"] = "sum",
    updates: int = 5_000,
    seed: int = 0,
) -> Policy:
    """The policy of soft Q-learning on the sum (or mean) of the runs' Q-functions.

    `updates` train its sampler, on batches from the runs' own replays. Raises
    SoftqError where a run is missing, damaged, of another algorithm, or unlike the
    first.
    """
    if how not in ("sum", "mean"):
        raise SoftqError(f"compose by sum or mean; found {how!r}")
    if len(runs) < 2:
        raise SoftqError(f"compose takes two runs or more; found {len(runs)}")
    read = [_read(Path(run)) for run in runs]
    (first, spec, _), *others = read
    for run, (made, its_spec, _) in zip(runs[1:], others, strict=True):
        deep = len(made.algo.hidden), made.algo.alpha
        if its_spec != spec or deep != (len(first.algo.hidden), first.algo.alpha):
            raise SoftqError(
                f"{run} cannot be put together with {runs[0]}: environments' shapes, "
                f"depths and temperatures must agree; found {its_spec}, "
                f"--algo.hidden {made.algo.hidden}, --algo.alpha {made.algo.alpha}"
            )
    agents = [train.agent for _, _, train in read]
    observations = jnp.concatenate([_seen(train) for _, _, train in read])
    sizes = zip(*(made.algo.hidden for made, _, _ in read), strict=True)
    wide = tuple(sum(layer) for layer in sizes)
    cfg = dataclasses.replace(first.algo, hidden=wide)
    weight = 1.0 if how == "sum" else 1.0 / len(runs)
    state = combine(agents, spec, cfg, weight, seed)
    return Policy(sql, cfg, spec, fit(state, observations, cfg, updates, seed))


def combine(
    agents: Sequence[sql.State],
    spec: Spec,
    cfg: sql.Config,
    weight: float,
    seed: int = 0,
) -> sql.State:
    """A state whose critic is `weight` Σ Q_i, its sampler fresh."""
    critics = [jax.tree.map(lambda x: x[0], agent.critic) for agent in agents]
    one = nets.total(critics, weight)
    critic = jax.tree.map(lambda x: x[None], one)
    state = sql.init(threefry.key(seed), spec, cfg)
    return state._replace(
        critic=critic,
        target=jax.tree.map(jnp.copy, critic),
        critic_moments=adam(critic),
    )


def fit(
    state: sql.State, observations: jax.Array, cfg: sql.Config, updates: int, seed: int
) -> sql.State:
    """Trains the sampler alone, on the composed Q."""

    def train(state: sql.State, key: Key) -> nets.Net:
        energy = partial(sql.q_values, state.critic)
        return fit_sampler(
            key, state.sampler, energy, observations, cast_knobs(cfg), updates, BATCH
        )

    sampler = jax.jit(train)(state, threefry.key(seed + 1))
    return state._replace(sampler=sampler, sampler_moments=adam(sampler))


def fit_sampler(
    key: Key, sampler: nets.Net, energy: sql.Energy, observations: jax.Array,
    cfg: sql.Config, updates: int, batch: int,
) -> nets.Net:  # fmt: skip
    """A sampler after Stein directions of an energy; the step decays to nothing."""

    def step(carry: Any, inputs: Any) -> Any:
        key, rate = inputs
        batch_key, key = jax.random.split(key)
        chosen = jax.random.randint(batch_key, (batch,), 0, len(observations))
        net, moments, _ = descend(
            sql.sampler_loss, *carry, rate, energy, observations[chosen], key, cfg
        )
        return (net, moments), None

    keys = jax.random.split(key, updates)
    rates = jnp.linspace(1e-3, 0.0, updates)
    return jax.lax.scan(step, (sampler, adam(sampler)), (keys, rates))[0][0]


def _read(run: Path) -> tuple[plan.Plan, Spec, Any]:
    """A run that can be composed: its plan, its spec and its last state."""
    made, spec, _ = plan.read(run)
    if made.algorithm != "sql":
        raise SoftqError(
            f"{run} is a run of {made.algorithm}; compose takes runs of sql"
        )
    for wrong, what in (
        (made.seeds > 1, "several seeds"), (made.sweep, "several settings"),
        (made.algo.twin, "twin critics"),
        (made.loop.normalize_obs, "normalised observations"),
        (len(spec.obs_shape) > 1, "images"),
    ):  # fmt: skip
        if wrong:
            raise SoftqError(f"{run} has {what}, which cannot be composed")
    step = choose_step(run, "last")
    return made, spec, checkpoint.load(run, step, template(made, spec), replay=True)


def _seen(train: Any) -> jax.Array:
    """The observations in a run's replay."""
    return train.rows.rows.obs[: int(train.rows.size)]
