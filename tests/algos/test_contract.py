"""What every algorithm in `ALGOS` must keep; a new one is tested by being there.

These tests compile much and compute little, so they compile without optimisation.
"""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.algos import ALGOS
from softq.types import Batch, Spec, cast_knobs

N = 16
UPDATES = 4
QUICK = {"xla_backend_optimization_level": 0}

SHAPES = {"vector": ((3,), "float32"), "image": ((8, 8, 2), "uint8")}

# A value away from the default for every field whose type does not suggest one;
# chosen so that it changes what four updates arrive at.
OTHER = {
    "lr": 1e-2,
    "discount": 0.5,
    "polyak": 0.3,
    "target_period": 2,
    "alpha": 0.3,
    "first_alpha": 0.9,
    "alpha_updates": 2,
    "initial_alpha": 0.2,
    "target_entropy": 5.0,
    "target_entropy_ratio": 1.5,
    "hidden": (8,),
    "particles": 8,
    "value_samples": 4,
    "langevin_steps": 3,
    "gap_target": 0.5,
    "gap_samples": 3,
    "gap_draws": 3,
    "max_backup": 3,
    "bc_updates": 2,
    "actor_period": 1,
}

# Knobs of how it acts, which no update reads.
ACTING = ("noise", "langevin_size")

# What a field needs beside it to matter at all.
BESIDE = {
    "alpha_updates": {"first_alpha": 0.9},
    "langevin_steps": {"acting": "langevin"},
    "langevin_size": {"acting": "langevin"},
    "initial_weight": {"gap_target": 0.5},
    "gap_damping": {"gap_target": 0.5},
    "gap_draws": {"gap_gradient": "sampled"},
    # A rounded score changes nothing but, now and then, which action is drawn.
    "scoring": {"gap_gradient": "sampled", "gap_draws": 64, "temp": 0.01},
    # Of errors of one sign every expectile is the same to Adam.
    "expectile": {"lr": 0.1},
    "alpha": {"backup": "soft"},
    "double": {"backup": "soft"},
}


def beside(name, field):
    """What must be set for the field to matter, as far as the algorithm knows it."""
    return {k: v for k, v in BESIDE.get(field, {}).items() if k in fields(name)}


def every(*cases):
    """Parametrises over the algorithms, and over (algorithm, field) for `cases`."""
    if not cases:
        return pytest.mark.parametrize("name", ALGOS)
    # Cal-QL's fields are CQL's, read by the same lines: they are tested once.
    firsts = {ALGOS[name].Config: name for name in reversed(ALGOS)}.values()
    pairs = [(name, field) for name in ALGOS for field in cases[0](name)
             if name in firsts]  # fmt: skip
    return pytest.mark.parametrize(("name", "field"), pairs)


# Those that show images to networks in ways of their own; the others are like these.
IMAGES = ("sac", "sac_discrete", "sql", "cql", "bc_discrete")


def seen():
    """Parametrises over (algorithm, kind of observation)."""
    pairs = [(name, kind) for name in ALGOS for kind in SHAPES
             if kind == "vector" or name in IMAGES]  # fmt: skip
    return pytest.mark.parametrize(("name", "kind"), pairs)


def fields(name):
    return [field.name for field in dataclasses.fields(ALGOS[name].Config)]


def knobs(name):
    """The numeric fields, found as the pytree finds them: leaves where they are set."""
    config = ALGOS[name].Config
    hints = typing.get_type_hints(config)
    numeric = (float, float | None)
    return [field for field in fields(name) if hints[field] in numeric]


def small(name, **changes):
    hidden = {"hidden": (8, 8)} if "hidden" in fields(name) else {}
    return ALGOS[name].Config(**{**hidden, **changes})


def other(name, field):
    """A legal value of the field that is not its default."""
    default = getattr(small(name), field)
    if field in OTHER:
        return OTHER[field]
    if isinstance(default, bool):
        return not default
    if isinstance(default, float):
        return 0.5 * default if default else 0.5
    choices = typing.get_args(typing.get_type_hints(ALGOS[name].Config)[field])
    named = [choice for choice in choices if isinstance(choice, str)]
    assert named, f"{name}.Config.{field} needs a value in OTHER"
    return next(choice for choice in named if choice != default)


def spec_for(name, kind="vector"):
    shape, dtype = SHAPES[kind]
    if ALGOS[name].ACTIONS == "discrete":
        return Spec(shape, dtype, num_actions=3)
    return Spec(shape, dtype, (-1.0, -1.0), (1.0, 1.0))


def observations(rng, spec, scale=1.0):
    if spec.obs_dtype == "uint8":
        return jnp.asarray(rng.integers(0, 256, (N, *spec.obs_shape)), jnp.uint8)
    return jnp.asarray(scale * rng.normal(size=(N, *spec.obs_shape)), jnp.float32)


def batch_for(spec, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    if spec.num_actions:
        action = jnp.asarray(rng.integers(0, spec.num_actions, N), jnp.int32)
    else:
        action = jnp.asarray(rng.uniform(-1, 1, (N, spec.action_dim)), jnp.float32)
    return Batch(
        observations(rng, spec, scale),
        action,
        jnp.asarray(scale * rng.normal(size=N), jnp.float32),
        observations(rng, spec, scale),
        jnp.asarray(rng.random(N) < 0.3),
        jnp.asarray(scale * rng.normal(size=N), jnp.float32),
    )


@functools.cache
def compiled_update(name, in_axes=None):
    fn = ALGOS[name].update
    mapped = fn if in_axes is None else jax.vmap(fn, in_axes)
    return jax.jit(mapped, compiler_options=QUICK)


@functools.cache
def fresh(name, cfg, kind="vector", seed=0):
    init = ALGOS[name].init
    if kind == "image":  # many operations; those of vectors are compiled one by one
        init = jax.jit(init, static_argnums=1, compiler_options=QUICK)
    return init(jax.random.key(seed), spec_for(name, kind), cast_knobs(cfg))


def learned(name, cfg=None, kind="vector", seed=0, updates=UPDATES, scale=1.0):
    """State and info after some updates on one batch; the batch; the cast config."""
    cfg = small(name) if cfg is None else cfg
    batch = batch_for(spec_for(name, kind), scale=scale)
    state, info, cast = fresh(name, cfg, kind, seed), {}, cast_knobs(cfg)
    for step in range(updates):
        key = jax.random.key(1000 * seed + step)
        state, info = compiled_update(name)(key, state, batch, cast)
    return state, info, batch, cast


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def take(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def shown(name, state, batch, cfg):
    """What a state means: values, actions, entropies, temperature; no moments."""
    algo, key = ALGOS[name], jax.random.key(99)
    return (
        algo.value(state, batch.obs, batch.action, cfg),
        algo.act(key, state, batch.obs, cfg, False),
        algo.act(key, state, batch.obs, cfg, True),
        algo.entropy(key, state, batch.obs, cfg),
        algo.temperature(state, cfg),
    )


def signature(tree):
    """Structure, shapes, dtypes and weak types: all that decides a compilation."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(x.shape, x.dtype, x.aval.weak_type) for x in leaves]


def equal(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def assert_close(left, right):
    """Equal up to the rounding of differently batched products."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def assert_finite(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)


@every()
def test_the_module_declares_its_actions_and_needs(name):
    algo = ALGOS[name]
    assert algo.ACTIONS in ("continuous", "discrete")
    assert isinstance(algo.NEEDS, tuple)
    assert issubclass(algo.State, tuple)
    assert algo.__name__ == f"softq.algos.{name}"


@every()
def test_a_config_hashes_and_its_knobs_are_its_leaves(name):
    cfg = small(name, **{field: other(name, field) for field in knobs(name)})
    assert len(jax.tree.leaves(cfg)) == len(knobs(name))
    structure = jax.tree.structure(cast_knobs(cfg))
    assert hash(structure) == hash(jax.tree.structure(cast_knobs(cfg)))
    for leaf in jax.tree.leaves(cast_knobs(cfg)):
        assert (leaf.shape, leaf.dtype) == ((), jnp.float32)


@every()
def test_update_and_act_compile_once_whatever_the_knobs_and_may_donate(name):
    algo, spec, traces = ALGOS[name], spec_for(name), {"update": 0, "act": 0}

    @functools.partial(jax.jit, donate_argnums=1, compiler_options=QUICK)
    def update(key, state, batch, cfg):
        traces["update"] += 1
        return algo.update(key, state, batch, cfg)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def act(key, state, obs, cfg):
        traces["act"] += 1
        return algo.act(key, state, obs, cfg, True)

    given = {knob: other(name, knob) for knob in knobs(name)}
    state = algo.init(jax.random.key(0), spec, small(name, **given))
    for step in range(3):
        scaled = {knob: value * 0.9**step for knob, value in given.items()}
        cfg, key = cast_knobs(small(name, **scaled)), jax.random.key(step)
        state, _ = update(key, state, batch_for(spec, seed=step), cfg)
        act(key, state, batch_for(spec).obs, cfg)
    assert traces == {"update": 1, "act": 1}
    assert_finite(state)


@seen()
def test_the_state_keeps_its_structure_shapes_and_dtypes(name, kind):
    first = fresh(name, small(name), kind)
    later, info, _, _ = learned(name, kind=kind)
    assert signature(first) == signature(later)
    assert {(x.shape, x.dtype) for x in info.values()} == {((), jnp.dtype("float32"))}


def assert_no_array_twice(tree):
    addresses = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree)]
    assert len(set(addresses)) == len(addresses)


@every()
def test_the_state_is_arrays_only_and_none_of_them_twice(name):
    state = fresh(name, small(name))
    assert jax.tree.leaves(state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert_no_array_twice(state)


@every()
def test_a_target_starts_as_a_copy_of_what_it_follows(name):
    if "target" not in ALGOS[name].State._fields:
        pytest.skip("no target network")
    state = fresh(name, small(name))
    assert equal(state.target, state.critic)
    assert_no_array_twice((state.target, state.critic))


@pytest.mark.parametrize("scale", [1.0, 1e3])
@seen()
def test_states_infos_and_outputs_are_finite(name, scale, kind):
    state, info, batch, cfg = learned(name, kind=kind, scale=scale)
    assert_finite((state, info))
    assert_finite(shown(name, state, batch, cfg))


@every()
def test_init_is_bit_equal_under_one_key_and_differs_under_two(name):
    spec, cfg = spec_for(name), cast_knobs(small(name))
    one, same, different = (
        ALGOS[name].init(jax.random.key(seed), spec, cfg) for seed in (0, 0, 1)
    )
    assert equal(one, same)
    assert not equal(one, different)


@every()
def test_updates_are_bit_equal_under_one_key(name):
    one, same = learned(name), learned(name)
    assert equal(one, same)


@every()
def test_exploring_depends_on_the_key_alone(name):
    state, _, batch, cfg = learned(name)
    act = jax.jit(lambda key: ALGOS[name].act(key, state, batch.obs, cfg, True))
    draws = [np.asarray(act(jax.random.key(seed))) for seed in range(5)]
    np.testing.assert_array_equal(draws[0], act(jax.random.key(0)))
    assert len({draw.tobytes() for draw in draws}) > 2  # indices may well agree


@every()
def test_exploring_draws_each_row_by_itself(name):
    state, _, batch, cfg = learned(name)
    alike = jnp.broadcast_to(batch.obs[:1], batch.obs.shape)
    actions = ALGOS[name].act(jax.random.key(0), state, alike, cfg, True)
    assert len(np.unique(actions, axis=0)) > 1


@every()
def test_a_greedy_action_ignores_the_key_and_the_other_rows(name):
    state, _, batch, cfg = learned(name)
    one, two = (
        ALGOS[name].act(jax.random.key(seed), state, batch.obs, cfg, False)
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(one, two)
    alone = ALGOS[name].act(jax.random.key(0), state, batch.obs[3:4], cfg, False)
    np.testing.assert_allclose(alone[0], one[3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@seen()
def test_actions_have_the_specs_bounds_shape_and_dtype(name, scale, explore, kind):
    spec = spec_for(name, kind)
    state, _, _, cfg = learned(name, kind=kind)
    obs = batch_for(spec, seed=5, scale=scale).obs
    action = ALGOS[name].act(jax.random.key(3), state, obs, cfg, explore)
    if spec.num_actions:
        assert (action.shape, action.dtype) == ((N,), jnp.int32)
        assert set(np.unique(action)) <= set(range(spec.num_actions))
    else:
        assert (action.shape, action.dtype) == ((N, spec.action_dim), jnp.float32)
        assert np.abs(action).max() <= 1.0


@seen()
def test_value_and_entropy_are_one_number_a_row_and_the_temperature_one(name, kind):
    state, _, batch, cfg = learned(name, kind=kind)
    value, _, _, entropy, temperature = shown(name, state, batch, cfg)
    for numbers, shape in ((value, (N,)), (entropy, (N,)), (temperature, ())):
        assert (numbers.shape, numbers.dtype) == (shape, jnp.float32)
    assert temperature >= 0.0


@every()
def test_value_depends_on_the_observation_and_on_the_action(name):
    state, _, batch, cfg = learned(name)
    value = ALGOS[name].value(state, batch.obs, batch.action, cfg)
    rolled = ALGOS[name].value(state, jnp.roll(batch.obs, 1, 0), batch.action, cfg)
    assert not np.allclose(value, rolled, atol=1e-6)
    moved = ALGOS[name].value(state, batch.obs, jnp.roll(batch.action, 1, 0), cfg)
    assert not np.allclose(value, moved, atol=1e-6)


def knob_groups(name):
    """Knobs that can be set at once: all numbers, and each that replaces a None."""
    config = ALGOS[name].Config()
    learning = [knob for knob in knobs(name) if knob not in ACTING]
    optional = [knob for knob in learning if getattr(config, knob) is None]
    return [",".join(k for k in learning if k not in optional), *optional]


@every()
def test_init_under_vmap_over_seeds_and_knobs_equals_separate_inits(name):
    given = {knob: other(name, knob) for knob in knobs(name)}
    halved = {knob: 0.5 * value for knob, value in given.items()}
    cfgs = [small(name, **given), small(name, **halved)]
    keys = jnp.stack([jax.random.key(seed) for seed in range(2)])
    init = jax.vmap(lambda key, cfg: ALGOS[name].init(key, spec_for(name), cfg))
    stacked = stack([cast_knobs(cfg) for cfg in cfgs])
    states = jax.jit(init, compiler_options=QUICK)(keys, stacked)
    assert_no_array_twice(states)
    for seed, cfg in enumerate(cfgs):
        assert_close(take(states, seed), fresh(name, cfg, seed=seed))


@every()
def test_updates_of_seeds_under_vmap_equal_separate_runs(name):
    update = compiled_update(name, (0, 0, None, None))
    states = stack([fresh(name, small(name), seed=seed) for seed in range(3)])
    batch, cfg = batch_for(spec_for(name)), cast_knobs(small(name))
    for step in range(UPDATES):
        keys = [jax.random.key(1000 * seed + step) for seed in range(3)]
        states, _ = update(jnp.stack(keys), states, batch, cfg)
    for seed in range(3):
        assert_close(take(states, seed), learned(name, seed=seed)[0])


@every(knob_groups)
def test_knobs_under_vmap_equal_separate_runs(name, field):
    changes = [{}] if getattr(ALGOS[name].Config(), field.split(",")[0]) else []
    for knob in field.split(","):
        changes += [{knob: other(name, knob)}, {knob: 0.3 * other(name, knob)}]
    with_it = {}
    for knob in field.split(","):
        with_it |= {k: v for k, v in beside(name, knob).items() if k not in knobs(name)}
    if "initial_weight" in field or "gap_damping" in field:
        with_it["gap_target"] = 0.5
    cfgs = [small(name, **{**with_it, **change}) for change in changes]
    states = stack([fresh(name, cfg) for cfg in cfgs])
    batch, stacked = batch_for(spec_for(name)), stack([cast_knobs(c) for c in cfgs])
    update = compiled_update(name, (None, 0, None, 0))
    for step in range(UPDATES):
        states, _ = update(jax.random.key(step), states, batch, stacked)
    alone = [learned(name, cfg)[0] for cfg in cfgs]
    for index, state in enumerate(alone):
        assert_close(take(states, index), state)
        assert not any(equal(state, before) for before in alone[:index])


@every(fields)
def test_every_field_off_its_default_learns_and_changes_what_is_learned(name, field):
    with_it = beside(name, field)
    base = small(name, **with_it)
    changed = small(name, **with_it, **{field: other(name, field)})
    assert getattr(changed, field) != getattr(ALGOS[name].Config(), field)
    outcomes = []
    for cfg in (base, changed):
        state, info, batch, cast = learned(name, cfg, seed=1)
        outcomes.append(shown(name, state, batch, cast))
        assert_finite((state, info, outcomes[-1]))
    assert not equal(*outcomes)


@every()
def test_updates_change_value_policy_and_count_as_many(name):
    before, _, batch, cfg = learned(name, updates=1)
    after, *_ = learned(name, updates=3)
    value, action, _, entropy, _ = shown(name, before, batch, cfg)
    new_value, new_action, _, new_entropy, _ = shown(name, after, batch, cfg)
    assert not np.array_equal(value, new_value)
    assert not equal((action, entropy), (new_action, new_entropy))
    if "updates" in before._fields:
        assert (int(before.updates), int(after.updates)) == (1, 3)
