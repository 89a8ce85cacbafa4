"""Strictness for every test, and the smallest run that does everything."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Almost all of a test's time is compilation, so compile fast rather than well.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

# `cli.main` would keep compiled programs between runs, for the whole process: of tests
# by each other, and across processes that compile at the same time.
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

TINY: dict[str, Any] = {
    "steps": 120, "batch_size": 8, "learning_starts": 20, "log_every": 20,
    "eval_every": 60, "eval_episodes": 2, "checkpoint_every": 40,
    "algo": {"hidden": (8, 8)},
}  # fmt: skip


@pytest.fixture
def tiny() -> Callable[..., dict[str, Any]]:
    """Options of a run of a second, with changes."""

    def options(**changes: Any) -> dict[str, Any]:
        return {**TINY, **changes}

    return options


@pytest.fixture(scope="session")
def pendulum_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run on Pendulum-v1; copy it before changing it."""
    import softq

    out = tmp_path_factory.mktemp("runs") / "pendulum"
    softq.train("sac", env="Pendulum-v1", out=out, **TINY)
    return out
