"""Strictness for every test, and the smallest run that does everything."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

# Much of a test's time is compilation, so compile fast rather than well. The older
# emitters take a third of the time; newer versions lack them, and die of the flag.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    + "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    * metadata.version("jaxlib").startswith("0.10."),
)

# Tests compile the same programs again and again: each process keeps its own for as
# long as it lives (a file that another is still writing cannot be read).
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="softq-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

import gymnasium
import jax
import jaxtyping
import pytest

atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Most of a tiny run's time would be evaluation: episodes of 30 steps, not of 200.
gymnasium.register(
    "tests/Pendulum-v0", "gymnasium.envs.classic_control:PendulumEnv",
    max_episode_steps=30,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def forget() -> Iterator[None]:
    """Every compiled program holds some maps of memory, of which a process may have
    65,530: beyond them the compiler dies.
    """
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def untyped() -> Iterator[None]:
    """As users have it: nobody looks at annotations while softq runs."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def clean() -> Iterator[None]:
    """What a page or an example adds to softq's tables goes with it, and so do its
    pictures and compiled programs.
    """
    from matplotlib import pyplot

    from softq.algos import ALGOS
    from softq.envs import JAX_ENVS

    tables = ALGOS, JAX_ENVS, gymnasium.registry
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)
    sys.modules.pop("page", None)
    pyplot.close("all")
    jax.clear_caches()
    gc.collect()


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
