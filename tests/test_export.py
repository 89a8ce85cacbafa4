"""An exported policy is the policy: same actions, one file, no softq needed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softq import cli, export
from softq.algos import sac, sac_discrete, sql
from softq.data import normalize
from softq.policy import Policy
from softq.types import SoftqError, Spec

BOX = Spec((5,), low=(-2.0, 0.0, -1.0), high=(1.0, 5.0, 3.0))
LABELS = Spec((5,), num_actions=4, action_start=3)
IMAGES = Spec((10, 12, 2), "uint8", num_actions=4)


def stats_of(shape: tuple[int, ...]) -> normalize.Stats:
    """Statistics far from (0, 1), with one entry that never changed."""
    random = np.random.default_rng(1)
    seen = 30.0 + 0.5 * random.standard_normal((50, *shape), np.float32)
    seen[:, 0] = 7.0
    return normalize.fold(normalize.empty(shape), jnp.asarray(seen))


def fresh(algo: Any, spec: Spec, stats: normalize.Stats | None = None) -> Policy:
    cfg = algo.Config(hidden=(32, 32))
    return Policy(algo, cfg, spec, algo.init(jax.random.key(3), spec, cfg), stats)


def probabilities(policy: Policy, obs: np.ndarray) -> np.ndarray:
    shown = normalize.apply(policy.stats, jnp.asarray(obs))
    return np.exp(np.asarray(sac_discrete.log_pi(policy.agent.actor, shown)))


POLICIES: dict[str, Callable[[], Policy]] = {
    "box": lambda: fresh(sac, BOX),
    "box normalised": lambda: fresh(sac, BOX, stats_of((5,))),
    "labels": lambda: fresh(sac_discrete, LABELS),
    "labels normalised": lambda: fresh(sac_discrete, LABELS, stats_of((5,))),
    "images": lambda: fresh(sac_discrete, IMAGES),
    "best of several": lambda: fresh(sql, BOX),
}


def observations(policy: Policy, count: int) -> np.ndarray:
    """Some as the policy has seen them, some so far out that they are clipped."""
    random, shape = np.random.default_rng(2), (count, *policy.spec.obs_shape)
    if policy.spec.obs_dtype == "uint8":
        light = random.random((count, 1, 1, shape[-1]))
        return (light * random.integers(0, 256, shape)).astype(np.uint8)
    width = np.where(np.arange(count) % 4 == 0, 20.0, 1.0)[:, None]
    mean = 0.0 if policy.stats is None else np.asarray(policy.stats.mean)
    return (mean + width * random.standard_normal(shape)).astype(np.float32)


def loaded(path: Path, format: str, outputs: int) -> Callable[[np.ndarray], Any]:
    """The file as a function to a list of arrays, by its own runtime."""
    if format == "stablehlo":
        call: Any = jax.export.deserialize(bytearray(path.read_bytes())).call
        return lambda obs: [np.asarray(x) for x in jax.tree.leaves(call(obs))]
    runtime = pytest.importorskip("onnxruntime", reason="needs softq[onnx]")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = ["action", "probability"][:outputs]
    assert [i.name for i in session.get_inputs()] == ["obs"]
    assert [o.name for o in session.get_outputs()] == names
    return lambda obs: session.run(names, {"obs": obs})


@pytest.fixture(params=["onnx", "stablehlo"])
def format(request: pytest.FixtureRequest) -> str:
    if request.param == "onnx":
        pytest.importorskip("jax2onnx", reason="needs softq[onnx]")
        pytest.importorskip("onnxruntime", reason="needs softq[onnx]")
    return str(request.param)


@pytest.mark.parametrize("name", ["box", "box normalised"])
def test_the_file_acts_as_the_policy(name: str, format: str, tmp_path: Path) -> None:
    policy, out = POLICIES[name](), tmp_path / "policy"
    difference = export.export(policy, format, out)
    assert 0.0 <= difference <= 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]
    obs, function = observations(policy, 10_000), loaded(out, format, 1)
    wanted, (found,) = policy(obs), function(obs)
    assert found.shape == (10_000, 3)
    assert found.dtype == np.float32
    assert np.ptp(wanted, axis=0).min() > 0.2  # else it would say little
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    for n in (1, 7):
        np.testing.assert_allclose(function(obs[:n])[0], wanted[:n], rtol=0, atol=1e-5)


def test_a_wide_box_may_round_as_widely(format: str, tmp_path: Path) -> None:
    # float32 steps by 6e-5 near ±1,000: agreement to 1e-5 would be luck.
    policy = fresh(sac, Spec((5,), low=(-1000.0,), high=(1000.0,)))
    assert export.export(policy, format, tmp_path / "policy") <= 1e-5 * 1000.0


@pytest.mark.parametrize("name", ["labels", "labels normalised", "images"])
def test_the_file_chooses_as_the_policy(name: str, format: str, tmp_path: Path) -> None:
    policy, out = POLICIES[name](), tmp_path / "policy"
    assert 0.0 <= export.export(policy, format, out) <= 1e-5
    obs, function = observations(policy, 10_000), loaded(out, format, 2)
    wanted, p = policy(obs), probabilities(policy, obs)
    label, found = function(obs)
    assert label.shape == (10_000,)
    assert label.dtype == np.int32
    assert np.ptp(p, axis=0).max() > 1e-3  # else it would say little
    np.testing.assert_allclose(found, p, rtol=0, atol=1e-5)
    order = np.sort(p)
    clear = order[:, -1] - order[:, -2] > 1e-5  # rounding decides between the others
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(label[clear], wanted[clear])
    for n in (1, 7):
        np.testing.assert_array_equal(function(obs[:n])[0], label[:n])
        np.testing.assert_allclose(function(obs[:n])[1], p[:n], rtol=0, atol=1e-5)


ALONE = {
    "onnx": "import onnxruntime as o; act = lambda x: o.InferenceSession(path).run("
    "None, {'obs': x})[0]",
    "stablehlo": "import jax.export; act = jax.export.deserialize("
    "bytearray(open(path, 'rb').read())).call",
}


def test_the_file_needs_no_softq(format: str, tmp_path: Path) -> None:
    policy, out = POLICIES["box normalised"](), tmp_path / "policy"
    export.export(policy, format, out)
    obs = observations(policy, 50)
    np.save(tmp_path / "obs.npy", obs)
    program = f"""
import sys, numpy as np
path, folder = sys.argv[1:]
{ALONE[format]}
np.save(folder + '/action.npy', np.asarray(act(np.load(folder + '/obs.npy'))))
assert not [name for name in sys.modules if name.startswith('softq')]
"""
    command = [sys.executable, "-I", "-c", program, str(out), str(tmp_path)]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "action.npy")
    np.testing.assert_allclose(found, policy(obs), rtol=0, atol=1e-5)


def test_actions_reach_both_ends_of_the_box(format: str, tmp_path: Path) -> None:
    policy = POLICIES["box"]()
    bias = jnp.array([50.0, -50.0, 50.0, 0.0, 0.0, 0.0])
    agent = eqx.tree_at(lambda s: s.actor.mlp.layers[-1].bias, policy.agent, bias)
    extreme = Policy(sac, policy.cfg, BOX, agent)
    export.export(extreme, format, tmp_path / "policy")
    (found,) = loaded(tmp_path / "policy", format, 1)(observations(extreme, 7))
    np.testing.assert_array_equal(found, np.tile(np.float32([1.0, 0.0, 3.0]), (7, 1)))


def test_a_file_that_differs_is_not_written(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, out, right = POLICIES["box"](), tmp_path / "policy", export.greedy
    out.write_text("an earlier one")
    monkeypatch.setattr(export, "greedy", lambda p: lambda obs: right(p)(obs) + 5e-5)
    with pytest.raises(
        SoftqError, match=rf"the {format} file would differ .* by [45]\.\de-05"
    ):
        export.export(policy, format, out)
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]
    assert out.read_text() == "an earlier one"


def test_a_policy_that_is_not_a_number_is_not_exported(tmp_path: Path) -> None:
    policy = POLICIES["box"]()
    actor = jax.tree.map(lambda x: x * jnp.nan, policy.agent.actor)
    policy.agent = policy.agent._replace(actor=actor)
    with pytest.raises(SoftqError, match="by nan"):
        export.export(policy, "stablehlo", tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def test_what_counts_as_a_difference_of_labels() -> None:
    policy = POLICIES["labels"]()
    last = policy.agent.actor.mlp.layers[-1]
    p = np.float32([0.4, 0.4, 0.15, 0.05])
    policy.agent = eqx.tree_at(
        lambda s: (s.actor.mlp.layers[-1].weight, s.actor.mlp.layers[-1].bias),
        policy.agent,
        (jnp.zeros_like(last.weight), jnp.log(p)),
    )
    obs = observations(policy, 3)
    np.testing.assert_array_equal(policy(obs), [3, 3, 3])

    def difference(labels: list[int], shift: float = 0.0) -> float:
        found = [np.array(labels, np.int32), np.tile(p + np.float32(shift), (3, 1))]
        return export._difference(policy, obs, found)

    assert difference([3, 3, 3]) == pytest.approx(0.0, abs=1e-6)
    assert difference([3, 4, 3]) == pytest.approx(0.0, abs=1e-6)  # as good
    assert difference([3, 4, 5]) == pytest.approx(0.25, abs=1e-6)
    assert difference([6, 4, 5]) == pytest.approx(0.35, abs=1e-6)
    assert difference([3, 3, 3], 0.01) == pytest.approx(0.01, abs=1e-6)
    assert difference([3, 3, 2]) == np.inf  # no label
    assert difference([3, 3]) == np.inf  # an observation without an action


@pytest.mark.parametrize("package", ["jax2onnx", "onnxruntime"])
def test_a_missing_package_names_the_install_command(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("jax2onnx", "onnxruntime"):
        stand_in: Any = None if name == package else object()
        monkeypatch.setitem(sys.modules, name, stand_in)
    with pytest.raises(SoftqError, match=r'--format onnx needs .* "softq\[onnx\]"'):
        export.export(POLICIES["box"](), "onnx", tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["missing/policy", "", "/dev/null/policy"])
def test_a_place_that_cannot_be_written_is_named(where: str, tmp_path: Path) -> None:
    out = tmp_path / where
    with pytest.raises(SoftqError, match=f"cannot write {out}: "):
        export.export(POLICIES["box"](), "stablehlo", out)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_told(tmp_path: Path) -> None:
    with pytest.raises(SoftqError, match="--format is onnx or stablehlo; found pickle"):
        export.export(POLICIES["box"](), "pickle", tmp_path / "policy")


def test_the_command_line_exports_a_run(
    pendulum_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.stablehlo"
    args = ["export", str(pendulum_run), "--format", "stablehlo", "--out", str(out)]
    assert cli.main(args) == 0
    assert f"{out}: largest difference" in capsys.readouterr().out
    assert out.stat().st_size > 0
