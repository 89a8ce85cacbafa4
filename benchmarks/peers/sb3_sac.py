"""SAC of Stable-Baselines3 or SBX under the protocol of `benchmarks/online.py`.

    python sb3_sac.py sbx --begin 1500 --until 3500 --logs DIR

Runs in the peers' own environment, which has no softq. Prints one JSON line last.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

BEGAN = time.time()
PACKAGES = ("stable_baselines3", "sbx-rl", "torch", "jax", "jaxlib", "flax", "optax",
            "numpy", "gymnasium", "mujoco")  # fmt: skip


def main() -> None:
    """Trains until the timed window ends, then prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("sb3", "sbx"))
    parser.add_argument("--begin", type=int, required=True)
    parser.add_argument("--until", type=int, required=True)
    parser.add_argument("--learning-starts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--logs", required=True, help="where its logger writes")
    args = parser.parse_args()
    record = measure(args)
    print(json.dumps(record), flush=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One run with the library's logger on, watched by a callback."""
    from stable_baselines3.common.logger import configure

    model = build(args)
    model.set_logger(configure(args.logs, ["stdout", "csv"]))
    watch = watcher(args)
    model.learn(1_000_000, callback=watch, log_interval=1)
    gaps = [1e3 * (b - a) for a, b in zip(watch.times, watch.times[1:], strict=False)]
    return {
        "mean_ms": statistics.fmean(gaps),
        "median_ms": statistics.median(gaps),
        "steps": len(gaps),
        "peak_mb": watch.peak_mb,
        "first_update_s": watch.first_update_s,
        "device": str(model.device),
        "versions": versions(),
    }


def build(args: argparse.Namespace) -> Any:
    """The library's SAC with every number of the protocol spelt out."""
    if args.library == "sbx":
        from sbx import SAC
    else:
        from stable_baselines3 import SAC
    return SAC(
        "MlpPolicy", "HalfCheetah-v5", learning_rate=3e-4, buffer_size=1_000_000,
        learning_starts=args.learning_starts, batch_size=256, tau=0.005, gamma=0.99,
        train_freq=1, gradient_steps=1, ent_coef="auto", target_entropy="auto",
        policy_kwargs={"net_arch": [256, 256]}, seed=args.seed, verbose=1,
    )  # fmt: skip


def watcher(args: argparse.Namespace) -> Any:
    """A callback that takes the times, and stops the run after the window."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watch(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []
            self.first_update_s: float | None = None
            self.peak_mb = 0.0

        def _on_rollout_start(self) -> None:
            # The loop is collect one step, train, collect …: a step begins here,
            # and the update of the step before it has been called.
            if (
                self.first_update_s is None
                and self.num_timesteps > args.learning_starts
            ):
                wait(self.model)
                self.first_update_s = round(process_age(), 3)

        def _on_step(self) -> bool:
            if self.num_timesteps >= args.begin:
                self.times.append(time.perf_counter())
            if self.num_timesteps < args.until:
                return True
            self.peak_mb = peak_mb()
            return False

    return Watch()


def wait(model: Any) -> None:
    """Until the last update's results are there; PyTorch's calls have waited."""
    jax, policy = sys.modules.get("jax"), model.policy
    if jax is not None and hasattr(policy, "qf_state"):
        jax.block_until_ready((policy.qf_state.params, policy.actor_state.params))


def peak_mb() -> float:
    """The largest resident memory so far (MB)."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def process_age() -> float:
    """Seconds since this process started; the same as softq's `first_update_s`."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - BEGAN


def versions() -> dict[str, str]:
    """Versions of what decides these numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
