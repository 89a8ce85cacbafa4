"""softq's side of the checks."""

import functools
import importlib.metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import softq
from conformance import toolbox
from conformance.blink import Blink, rows
from conformance.tiny.softq import (
    actor_of,
    batch_of,
    compiled,
    critic_gradient,
    critics_of,
    flat,
    slopes,
    wired,
)
from softq import nets
from softq.algos import (
    calql,
    cql,
    cql_discrete,
    iql,
    sac,
    sac_discrete,
    sql,
    td3_bc,
)
from softq.data import offline
from softq.envs.host import Host
from softq.ops import conservative, soft, svgd, tanh_normal
from softq.ops.step import BETA1
from softq.train import online
from softq.train.seeds import Seeds
from softq.types import Spec, cast_knobs

SPEC = Spec((1,), low=(-1.0,), high=(1.0,))
Answer = dict[str, Any]


def versions() -> dict[str, str]:
    """softq, and what it computes with."""
    return {"softq": softq.__version__, "jax": importlib.metadata.version("jax")}


def tanh_samples(mean: float, log_std: float, count: int, seed: int) -> Answer:
    """Actions and their log densities."""
    shape = (count, 1)
    given = jnp.full(shape, mean), jnp.full(shape, log_std)
    action, _, logp = tanh_normal.sample(jax.random.key(seed), *given)
    return {"action": action[:, 0].tolist(), "logp": logp.tolist()}


def sac_update(
    policy: Any, critics: Any, targets: Any, row: Any, alpha: float, learn_alpha: bool,
    discount: float, polyak: float, lr: float, steps: int, count: int, seed: int,
) -> Answer:  # fmt: skip
    """SAC's whole update, on `count` copies of a row."""
    cfg = sac.Config(
        lr=lr, discount=discount, polyak=polyak, hidden=(4,), initial_alpha=alpha,
        alpha=None if learn_alpha else alpha,
    )  # fmt: skip
    state = sac.init(jax.random.key(seed), SPEC, cfg)
    if critics is not None:
        state = state._replace(critic=critics_of(critics), target=critics_of(targets))
        state = sac_state(state, actor_of(policy))
    trail, first = [(flat(state.critic), flat(state.target))], None
    for step in range(steps):
        key = jax.random.fold_in(jax.random.key(seed), step)
        batch = batch_of([row], count)
        state, _ = compiled(sac)(key, state, batch, cast_knobs(cfg))
        trail.append((flat(state.critic), flat(state.target)))
        first = first or state
    return {
        "critic_gradient": critic_gradient(first.critic_moments), "trail": trail,
        "actor_gradient": float(slopes(first.actor_moments)[1][0]),
        "log_alpha_gradient": float(first.alpha_moments.mean) / (1 - BETA1),
    }  # fmt: skip


def sac_state(state: Any, actor: nets.Net) -> Any:
    """The state with another actor and its critics, and moments of their shapes."""
    from softq.ops.step import adam

    return state._replace(
        actor=actor, actor_moments=adam(actor), critic_moments=adam(state.critic)
    )


def cql_update(**question: Any) -> Answer:
    """CQL's whole update."""
    return conservative_update(cql, question, None)


def calql_update(floor: float, **question: Any) -> Answer:
    """Cal-QL's, the data's return being `floor`."""
    return conservative_update(calql, question, floor)


def conservative_update(algo: Any, q: dict[str, Any], floor: float | None) -> Answer:
    """An update of `cql` or `calql`."""
    cfg = cql.Config(
        lr=1e-6, actor_lr=1e-6, discount=q["discount"], alpha=q["alpha"], hidden=(4,),
        gap_weight=q["weight"], gap_target=q["threshold"], gap_samples=q["samples"],
        initial_weight=q["factor"],
    )  # fmt: skip
    state = cql.init(jax.random.key(0), SPEC, cfg)._replace(
        critic=critics_of(q["critics"]), target=critics_of(q["targets"])
    )
    state = sac_state(state, actor_of(q["policy"]))
    size = len(q["rows"]) * q["count"]
    more = {} if floor is None else {"mc_return": np.full(size, floor, np.float32)}
    batch, key = batch_of(q["rows"], q["count"], **more), jax.random.key(q["seed"])
    state, info = compiled(algo)(key, state, batch, cast_knobs(cfg))
    return {
        "gap": 2.0 * float(info["gap"]),
        "critic_gradient": critic_gradient(state.critic_moments),
        "factor_gradient": float(state.weight_moments.mean) / (1 - BETA1),
    }


def gap_actions(policy: Any, samples: int, seed: int) -> Answer:
    """The actions that the gap looks at, in one state."""
    cfg = cql.Config(gap_samples=samples)
    batch = batch_of([toolbox.ROW], 1)
    found = cql.propose(jax.random.key(seed), actor_of(policy), batch, cfg)
    return {"action": found.action[0, :, 0].tolist()}


def rho_gradient(q: list[float]) -> Answer:
    """Of CQL(ρ)'s value, with respect to every sample's Q."""
    return {"gradient": jax.grad(conservative.rho_value)(jnp.float32(q)).tolist()}


def discrete_update(logits: list[float], q: list[list[float]], alpha: float) -> Answer:
    """Discrete SAC's value of a state (its target for γ = 1), its actor's gradient."""
    net = nets.Net(jax.random.key(0), (1,), len(logits), (2,))
    actor = wired(net, [[0.0, x] for x in logits])
    made = [wired(net, [[0.0, x] for x in row]) for row in q]
    critic = jax.tree.map(lambda *x: jnp.stack(x), *made)
    batch = batch_of([toolbox.ROW], 1)._replace(action=np.zeros(1, np.int32))
    hot = jnp.float32(alpha)
    target, descent = discrete_programs()
    y = target(critic, actor, batch, alpha=hot, discount=1.0)
    slope, _ = descent(actor, critic, batch, alpha=hot)
    gradient = slope.mlp.layers[-1].bias.tolist()
    return {"value": float(y[0]), "actor_gradient": gradient}


@functools.cache
def discrete_programs() -> Any:
    """Discrete SAC's target, and the gradient of its actor's loss."""
    descent = jax.grad(sac_discrete.actor_loss, has_aux=True)
    return jax.jit(sac_discrete.critic_target), jax.jit(descent)


def discrete_gap(q: list[float], action: int) -> Answer:
    """Discrete CQL's gap in one state."""
    net = nets.Net(jax.random.key(0), (1,), len(q), (2,))
    critic = wired(net, [[0.0, x] for x in q])
    batch = batch_of([toolbox.ROW], 1)._replace(action=np.int32([action]))
    one = jnp.float32(1.0)
    _, info = cql_discrete.critic_loss(
        critic, batch, jnp.zeros(1), cql_discrete.Config(), factor=one
    )
    return {"gap": float(info["gap"])}


def td3_bc_gradient(
    bias: float, action: float, critic: list[float], weight: float
) -> Answer:
    """Of the actor's constant, before the tanh."""
    cfg = td3_bc.Config(lr=1e-6, q_weight=weight, actor_period=1, hidden=(4,))
    made, actor = critics_of([critic, critic]), nets.Net(
        jax.random.key(0), (1,), 1, (2,)
    )  # fmt: skip
    actor = wired(actor, [[0.0, bias]])
    state = td3_bc.init(jax.random.key(0), SPEC, cfg)._replace(
        critic=made, target=made, actor_target=actor
    )
    batch = batch_of([toolbox.ROW | {"action": action, "terminated": True}], 4)
    update, key = compiled(td3_bc), jax.random.key(0)
    state, _ = update(key, sac_state(state, actor), batch, cast_knobs(cfg))
    return {"actor_gradient": float(slopes(state.actor_moments)[1][0])}


def iql_update(q: float, v: float, **knobs: float) -> Any:
    """The state after an update whose Q' and V are these constants."""
    from softq.ops.step import adam

    cfg = iql.Config(lr=1e-6, hidden=(4,), **knobs)
    made = critics_of([[0.0, 0.0, q]] * 2)
    value = wired(nets.Net(jax.random.key(0), (1,), 1, (2,)), [[0.0, v]])
    state = iql.init(jax.random.key(0), SPEC, cfg)._replace(
        critic=made, target=made, v=value, v_moments=adam(value)
    )
    state = sac_state(state, actor_of(toolbox.POLICY))
    batch = batch_of([toolbox.ROW | {"action": 0.3}], 4)
    return compiled(iql)(jax.random.key(0), state, batch, cast_knobs(cfg))[0]


def iql_value_gradient(q: float, v: float, expectile: float) -> Answer:
    """Of V's constant."""
    state = iql_update(q, v, expectile=expectile)
    return {"gradient": float(slopes(state.v_moments)[1][0])}


def iql_actor_gradient(q: float, v: float, sharpness: float) -> Answer:
    """Of the policy's constant."""
    state = iql_update(q, v, sharpness=sharpness)
    return {"gradient": float(slopes(state.actor_moments)[1][0])}


def soft_operators(q: list[float], alpha: float) -> Answer:
    """The soft value of a row, and its Boltzmann policy."""
    row = jnp.float32(q)
    policy = soft.boltzmann(row, alpha)
    return {"value": float(soft.value(row, alpha)), "policy": policy.tolist()}


def sampled_value(q: list[float], log_density: list[float], alpha: float) -> Answer:
    """The soft value of samples."""
    value = soft.sampled_value(jnp.float32(q), jnp.float32(log_density), alpha)
    return {"value": float(value)}


def stein_spread(count: int, steps: int, size: float) -> Answer:
    """The standard deviation of particles of a constant Q, after so many steps."""
    cfg, obs = sql.Config(alpha=1.0), jnp.zeros((1, 1))

    def log_p(u: jax.Array) -> jax.Array:
        return jnp.sum(sql.log_p(lambda obs, a: 0.0 * a[..., 0], obs, u[None], cfg))

    def step(u: jax.Array, _: None) -> tuple[jax.Array, None]:
        return u + size * svgd.direction(u, jax.grad(log_p)(u)), None

    start = jnp.linspace(-2.0, 2.0, count)[:, None]
    end, _ = jax.lax.scan(step, start, None, length=steps)
    return {"std": float(jnp.std(jnp.tanh(end)))}


def transitions(obs: Any, terminated: Any, truncated: Any) -> Answer:
    """What offline training reads from columns without next observations."""
    n = len(obs)
    data = offline.read({
        "observations": np.float32(obs)[:, None], "rewards": np.zeros(n, np.float32),
        "actions": np.full((n, 1), 0.5, np.float32), "terminals": np.array(terminated),
        "timeouts": np.array(truncated),
    })  # fmt: skip
    batch = data.batch
    columns = batch.obs[:, 0], batch.next_obs[:, 0], batch.terminated
    return {"rows": list(zip(*(x.tolist() for x in columns), strict=True))}


def collected(ending: str, length: int) -> Answer:
    """What the online loop puts into its ring."""
    options = online.Options(steps=6, learning_starts=100, batch_size=4)
    host, seeds, cfg = (
        Host([Blink(ending, length)], 0),
        Seeds(0),
        sac.Config(hidden=(4,)),
    )
    train = online.start(sac, cfg, options, host.spec, seeds, host.obs)
    *_, last = online.run(sac, cfg, options, [host], seeds, train)
    found = last.train.rows.rows
    return {"rows": rows(found.obs, found.next_obs, found.terminated)}
