"""The greedy policy as one file that runs without softq, checked against the policy.

The file maps `obs` (n, …) in the environment's units (flattened unless an image) to
`action`: (n, d) float32 in the Box's units, or (n,) int32 labels, followed by
`probability` (n, actions). n is free. Normalisation and weights are inside.
"""

import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from softq import checkpoint, log
from softq.data import normalize
from softq.policy import Policy
from softq.types import SoftqError

Function = Callable[[np.ndarray], list[np.ndarray]]

LIMIT = 1e-5  # of the action's half range where that is above 1, as float32 rounds
COUNT, CHUNK = 10_000, 500  # observations: in all, and at a time
SPREAD = 2.0  # of those observations, in standard deviations or plain units
Struct: Any = jax.ShapeDtypeStruct  # which jax leaves without types
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
OPSET = 17  # an old one is enough, and runs on old runtimes too


def export(policy: Policy, format: str, out: Path) -> float:
    """Writes the greedy policy to `out`, atomically; returns its largest error.

    The file is loaded again and compared with the policy on 10,000 observations:
    largest |Δ action| in the environment's units; for discrete actions |Δ π|, or the
    probability given up where another one was chosen. Raises SoftqError, with no
    file written, where that is above 1e-5 (times half the widest range of an action,
    where that is above 1), a package is missing or the disk refuses.
    """
    if format not in ("onnx", "stablehlo"):
        raise SoftqError(f"--format is onnx or stablehlo; found {format}")
    encode, decode = (_onnx, _load_onnx) if format == "onnx" else (_hlo, _load_hlo)
    if format == "onnx":
        _need("jax2onnx"), _need("onnxruntime")
    candidate = out.with_name(f".{out.name}.unchecked")
    try:
        checkpoint.write(candidate, b"")  # a refusal should not come after the work
        # Accelerators round products to fewer bits unless told not to.
        with jax.default_matmul_precision("highest"):
            checkpoint.write(candidate, encode(policy))
            difference = _compare(policy, decode(candidate))
        limit = _limit(policy)
        if not difference <= limit:  # NaN is no agreement
            raise SoftqError(
                f"the {format} file would differ from the policy by {difference:.1e}, "
                f"which is more than {limit:.0e}; nothing was written"
            )
        candidate.replace(out)
    except OSError as error:
        raise SoftqError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        if out.parent.is_dir():
            candidate.unlink(missing_ok=True)
    return difference


def greedy(policy: Policy) -> Callable[[Array], Array | tuple[Array, Array]]:
    """obs (n, …) → greedy actions in the environment's units, as a pure function.

    Discrete policies also give the probability of every action, (n, actions).
    """
    spec, key = policy.spec, jax.random.key(0)

    def choose(obs: Array) -> Array | tuple[Array, Array]:
        shown = normalize.apply(policy.stats, obs)
        if spec.num_actions:
            log_p = _log_policy(policy, shown)
            # What `act` does too, but then the network would be in the file twice.
            index = jnp.argmax(log_p, axis=-1).astype(jnp.int32)
            return index + spec.action_start, jnp.exp(log_p)
        action = policy.algo.act(key, policy.agent, shown, policy.cfg, False)
        low, high = (
            jnp.asarray([bound], jnp.float32) for bound in (spec.low, spec.high)
        )
        return jnp.clip(low + 0.5 * (action + 1.0) * (high - low), low, high)

    return choose


def _log_policy(policy: Policy, shown: Array) -> Array:
    """log π(·|s) of a discrete policy on a batch of normalised observations."""
    algo: Any = policy.algo
    return algo.log_policy(policy.agent, shown, policy.cfg)


def _hlo(policy: Policy) -> bytes:
    (batch,) = jax.export.symbolic_shape("batch")
    shape = batch, *policy.spec.obs_shape
    made = jax.export.export(jax.jit(greedy(policy)), platforms=PLATFORMS)
    return bytes(made(Struct(shape, policy.spec.obs_dtype)).serialize())


def _load_hlo(path: Path) -> Function:
    function: Any = jax.export.deserialize(bytearray(path.read_bytes()))
    call = function.call
    return lambda obs: [np.asarray(x) for x in jax.tree.leaves(call(jnp.asarray(obs)))]


def _onnx(policy: Policy) -> bytes:
    # It warns of every intermediate result whose type a runtime has to infer.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    shape = "batch", *policy.spec.obs_shape
    model = _need("jax2onnx").to_onnx(
        greedy(policy),
        inputs=[Struct(shape, policy.spec.obs_dtype)],
        model_name="softq",
        opset=OPSET,
        input_names=["obs"],
        output_names=["action", "probability"][: 2 if policy.spec.num_actions else 1],
    )
    return bytes(model.SerializeToString())


def _load_onnx(path: Path) -> Function:
    runtime = _need("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda obs: list(session.run(None, {"obs": obs}))


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise log.missing("onnx", "--format onnx") from error


def _compare(policy: Policy, function: Function) -> float:
    """The largest difference between a loaded file and the policy."""
    pairs = ((obs, function(obs)) for obs in _observations(policy))
    return float(np.max([_difference(policy, obs, found) for obs, found in pairs]))


def _limit(policy: Policy) -> float:
    """How far an action may be off, in the environment's units."""
    pairs = zip(policy.spec.low, policy.spec.high, strict=True)
    return LIMIT * max([1.0, *(0.5 * (high - low) for low, high in pairs)])


def _difference(policy: Policy, obs: np.ndarray, found: list[np.ndarray]) -> float:
    """As `export` returns it, on one batch; infinite for what is no action at all."""
    wanted, spec = policy(obs), policy.spec
    if found[0].shape != wanted.shape:
        return np.inf
    if not spec.num_actions:
        off = np.max(np.abs(found[0] - wanted), axis=-1)
        if hasattr(policy.algo, "BEST_OF"):  # of two draws as good, either may win
            off = np.where(_as_good(policy, obs, found[0], wanted), 0.0, off)
        return float(np.max(off))
    chosen = np.stack([wanted, found[0]], axis=-1) - spec.action_start
    if not np.isin(chosen, np.arange(spec.num_actions)).all():
        return np.inf
    # Labels alone would hide what is nearly a tie, and object to what is one.
    shown = normalize.apply(policy.stats, jnp.asarray(obs))
    p = np.exp(np.asarray(_log_policy(policy, shown)))
    best, taken = np.take_along_axis(p, chosen, axis=-1).T
    return float(max(np.max(best - taken), np.max(np.abs(found[1] - p))))


def _as_good(
    policy: Policy, obs: np.ndarray, action: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Where two actions' values differ by no more than rounding does."""
    one, two = (np.asarray(policy.value(obs, a)) for a in (action, other))
    return np.asarray(np.abs(one - two) <= LIMIT * np.maximum(np.abs(two), 1.0))


def _observations(policy: Policy) -> Iterator[np.ndarray]:
    """Random bytes, or normal numbers around what the policy has seen."""
    random, stats = np.random.default_rng(0), policy.stats
    shape = CHUNK, *policy.spec.obs_shape
    mean, std = np.zeros(()), np.ones(())
    if stats is not None:
        variance = np.asarray(stats.deviation) / max(int(stats.seen), 1)
        mean, std = np.asarray(stats.mean), np.sqrt(variance + 1e-8)
    for _ in range(COUNT // CHUNK):
        if policy.spec.obs_dtype == "uint8":
            yield random.integers(0, 256, shape, np.uint8)
        else:
            noise = random.standard_normal(shape, np.float32)
            yield (mean + SPREAD * std * noise).astype(np.float32)
