"""What every algorithm in `ALGOS` must keep; a new one is tested by being there."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq.algos import ALGOS
from softq.types import Batch, Spec, cast_knobs

N = 16
UPDATES = 4

SHAPES = {"vector": ((3,), "float32"), "image": ((8, 8, 2), "uint8")}

# A value away from the default for every field whose type does not suggest one;
# chosen so that it changes what four updates arrive at.
OTHER = {
    "lr": 1e-2,
    "discount": 0.5,
    "polyak": 0.3,
    "target_period": 2,
    "alpha": 0.3,
    "initial_alpha": 0.2,
    "target_entropy": 5.0,
    "target_entropy_ratio": 1.5,
    "hidden": (8,),
}


def every(*cases):
    """Parametrises over the algorithms, and over (algorithm, field) for `cases`."""
    if not cases:
        return pytest.mark.parametrize("name", ALGOS)
    pairs = [(name, field) for name in ALGOS for field in cases[0](name)]
    return pytest.mark.parametrize(("name", "field"), pairs)


def fields(name):
    return [field.name for field in dataclasses.fields(ALGOS[name].Config)]


def knobs(name):
    """The numeric fields, found as the pytree finds them: leaves where they are set."""
    config = ALGOS[name].Config
    hints = typing.get_type_hints(config)
    numeric = (float, float | None)
    return [field for field in fields(name) if hints[field] in numeric]


def small(name, **changes):
    hidden = {"hidden": (16, 16)} if "hidden" in fields(name) else {}
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
    )


def learn(name, key, cfg, batch, updates=UPDATES):
    """The state after some updates from a fresh start, traceable in key and cfg."""
    algo, init_key = ALGOS[name], jax.random.fold_in(key, 0)
    kind = "image" if batch.obs.ndim == 4 else "vector"
    state = algo.init(init_key, spec_for(name, kind), cfg)
    for step in range(updates):
        state, info = algo.update(jax.random.fold_in(key, step + 1), state, batch, cfg)
    return state, info


def learned(name, cfg=None, kind="vector", seed=0, updates=UPDATES, scale=1.0):
    cfg = cast_knobs(small(name) if cfg is None else cfg)
    batch = batch_for(spec_for(name, kind), scale=scale)
    run = jax.jit(lambda key, c, b: learn(name, key, c, b, updates))
    return *run(jax.random.key(seed), cfg, batch), batch, cfg


def shown(name, state, batch, cfg):
    """What a state means: values, actions, entropies, temperature; no moments."""
    algo, key = ALGOS[name], jax.random.key(99)
    return (
        algo.value(state, batch.obs, batch.action, cfg),
        algo.act(key, state, batch.obs, cfg, False),
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


@pytest.mark.parametrize("kind", SHAPES)
@every()
def test_update_and_act_compile_once_whatever_the_knobs(name, kind):
    algo, spec, traces = ALGOS[name], spec_for(name, kind), {"update": 0, "act": 0}

    @jax.jit
    def update(key, state, batch, cfg):
        traces["update"] += 1
        return algo.update(key, state, batch, cfg)

    @jax.jit
    def act(key, state, obs, cfg):
        traces["act"] += 1
        return algo.act(key, state, obs, cfg, True)

    given = {field: other(name, field) for field in knobs(name)}
    state = algo.init(jax.random.key(0), spec, small(name, **given))
    for step in range(3):
        scaled = {field: value * 0.9**step for field, value in given.items()}
        cfg, key = cast_knobs(small(name, **scaled)), jax.random.key(step)
        state, _ = update(key, state, batch_for(spec, seed=step), cfg)
        act(key, state, batch_for(spec).obs, cfg)
    assert traces == {"update": 1, "act": 1}


@pytest.mark.parametrize("kind", SHAPES)
@every()
def test_the_state_keeps_its_structure_shapes_and_dtypes(name, kind):
    spec, cfg = spec_for(name, kind), cast_knobs(small(name))
    first = ALGOS[name].init(jax.random.key(0), spec, cfg)
    later, info, _, _ = learned(name, kind=kind)
    assert signature(first) == signature(later)
    assert {(x.shape, x.dtype) for x in info.values()} == {((), jnp.dtype("float32"))}


@every()
def test_the_state_is_arrays_only_and_not_the_same_array_twice(name):
    state = ALGOS[name].init(jax.random.key(0), spec_for(name), small(name))
    leaves = jax.tree.leaves(state)
    assert leaves
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    addresses = [leaf.unsafe_buffer_pointer() for leaf in leaves if leaf.size]
    assert len(set(addresses)) == len(addresses)


@every()
def test_the_state_of_a_compiled_init_can_be_donated_to_update(name):
    algo, spec, cfg = ALGOS[name], spec_for(name), cast_knobs(small(name))
    init = jax.jit(lambda key, c: algo.init(key, spec, c))
    update = jax.jit(algo.update, donate_argnums=1)
    state = init(jax.random.key(0), cfg)
    for step in range(2):
        state, _ = update(jax.random.key(step), state, batch_for(spec), cfg)
    assert_finite(state)


@every()
def test_a_target_starts_as_a_copy_of_what_it_follows(name):
    if "target" not in ALGOS[name].State._fields:
        pytest.skip("no target network")
    state = ALGOS[name].init(jax.random.key(0), spec_for(name), small(name))
    assert equal(state.target, state.critic)
    for copy, origin in zip(
        jax.tree.leaves(state.target), jax.tree.leaves(state.critic), strict=True
    ):
        assert copy.unsafe_buffer_pointer() != origin.unsafe_buffer_pointer()


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e3])
@every()
def test_states_infos_and_outputs_are_finite(name, scale, kind):
    state, info, batch, cfg = learned(name, kind=kind, scale=scale)
    assert_finite((state, info))
    assert_finite(shown(name, state, batch, cfg))


@every()
def test_init_and_update_are_bit_equal_under_one_key_and_init_differs_under_two(name):
    (one, *_), (same, *_), (different, *_) = (learned(name, seed=s) for s in (0, 0, 1))
    assert equal(one, same)
    assert not equal(one, different)


@every()
def test_exploring_depends_on_the_key_alone(name):
    state, _, batch, cfg = learned(name)
    act = jax.jit(lambda key: ALGOS[name].act(key, state, batch.obs, cfg, True))
    draws = [np.asarray(act(jax.random.key(seed))) for seed in range(5)]
    np.testing.assert_array_equal(draws[0], act(jax.random.key(0)))
    assert all(not np.array_equal(draws[0], draw) for draw in draws[1:])


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


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@every()
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


@pytest.mark.parametrize("kind", SHAPES)
@every()
def test_value_and_entropy_are_one_number_a_row_and_the_temperature_one(name, kind):
    state, _, batch, cfg = learned(name, kind=kind)
    value, _, entropy, temperature = shown(name, state, batch, cfg)
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


@every()
def test_seeds_under_vmap_equal_separate_runs(name):
    keys = [jax.random.key(seed) for seed in range(3)]
    batch, cfg = batch_for(spec_for(name)), cast_knobs(small(name))
    together = jax.jit(jax.vmap(lambda key: learn(name, key, cfg, batch)))
    alone = jax.jit(lambda key: learn(name, key, cfg, batch))
    states = together(jnp.stack(keys))
    for index, key in enumerate(keys):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], states)
        assert_close(one, alone(key))


@every(knobs)
def test_a_knob_under_vmap_equals_separate_runs(name, field):
    batch, key = batch_for(spec_for(name)), jax.random.key(0)
    values = [other(name, field) * factor for factor in (1.0, 0.8, 0.1)]
    run = jax.jit(lambda cfg: learn(name, key, cfg, batch))
    cfgs = [cast_knobs(small(name, **{field: value})) for value in values]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cfgs)
    states = jax.jit(jax.vmap(lambda cfg: learn(name, key, cfg, batch)))(stacked)
    outcomes = [run(cfg) for cfg in cfgs]
    for index, outcome in enumerate(outcomes):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], states)
        assert_close(one, outcome)
    assert not equal(outcomes[0], outcomes[2])


@every(fields)
def test_every_field_off_its_default_learns_and_changes_what_is_learned(name, field):
    base, changed = small(name), small(name, **{field: other(name, field)})
    assert getattr(changed, field) != getattr(ALGOS[name].Config(), field)
    outcomes = []
    for cfg in (base, changed):
        state, info, batch, cast = learned(name, cfg)
        outcomes.append(shown(name, state, batch, cast))
        assert_finite((state, info, outcomes[-1]))
    assert not equal(*outcomes)


@every()
def test_updates_change_value_policy_and_count_as_many(name):
    before, _, batch, cfg = learned(name, updates=1)
    after, *_ = learned(name, updates=3)
    value, _, entropy, _ = shown(name, before, batch, cfg)
    new_value, _, new_entropy, _ = shown(name, after, batch, cfg)
    assert not np.array_equal(value, new_value)
    assert not np.array_equal(entropy, new_entropy)
    if "updates" in before._fields:
        assert (int(before.updates), int(after.updates)) == (1, 3)
