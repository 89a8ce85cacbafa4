"""d3rlpy's CQL: how fast its update is, and how well it learns.

    python d3rlpy_cql.py speed --data ROWS.npz
    python d3rlpy_cql.py learn --data D4RL.hdf5 --env HalfCheetah-v5 --out CURVE.json

Runs in the environment of `benchmarks/requirements-offline.txt`. The weight of the gap
is `conservative_weight` alone: an `alpha_learning_rate` of 0 takes the Lagrange step
away, and `initial_alpha` 1 then stays (its threshold is a constant in the loss). Both
commands take the same sizes and rates; the defaults are those of the other sides.

`speed` times `update` on a batch already drawn, and apart from it the drawing; it
prints one JSON line last. `learn` trains on a file in D4RL's format, seed after seed,
with its greedy policy evaluated as it goes; everything so far is written each time.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import d3rlpy
import gymnasium
import h5py
import numpy as np

PACKAGES = ("d3rlpy", "torch", "numpy", "gymnasium", "mujoco")
Arrays = dict[str, np.ndarray]


def main() -> None:
    """Runs the command that the command line names."""
    args = parse()
    if args.command == "speed":
        print(json.dumps(speed(args)), flush=True)
    else:
        learn(args)


def parse() -> argparse.Namespace:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True)
    common.add_argument("--hidden", type=int, nargs="+", default=(256, 256, 256))
    common.add_argument("--batch-size", type=int, default=256)
    common.add_argument("--samples", type=int, default=10, help="of each family")
    common.add_argument("--weight", type=float, default=5.0, help="of the gap")
    common.add_argument("--actor-lr", type=float, default=1e-4)
    common.add_argument("--critic-lr", type=float, default=3e-4)
    common.add_argument("--alpha-lr", type=float, default=1e-4, help="temperature's")
    common.add_argument("--normalize", action="store_true", help="observations")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    child = commands.add_parser("speed", parents=[common], help="ms an update")
    child.add_argument("--repeats", type=int, default=5)
    child.add_argument("--updates", type=int, default=50)
    child = commands.add_parser("learn", parents=[common], help="returns as it learns")
    child.add_argument("--env", required=True)
    child.add_argument("--updates", type=int, default=100_000)
    child.add_argument("--eval-every", type=int, default=5_000)
    child.add_argument("--episodes", type=int, default=10)
    child.add_argument("--seeds", type=int, nargs="+", default=[0])
    child.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def build(args: argparse.Namespace, data: Any, scaler: Any = None) -> Any:
    """The library's CQL with every number of the protocol spelt out."""
    encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=list(args.hidden))
    standard = None
    if args.normalize:
        standard = d3rlpy.preprocessing.StandardObservationScaler()
        standard.fit_with_transition_picker(data.episodes, data.transition_picker)
    agent = d3rlpy.algos.CQLConfig(
        batch_size=args.batch_size, gamma=0.99, tau=0.005, n_critics=2,
        actor_encoder_factory=encoder, critic_encoder_factory=encoder,
        actor_learning_rate=args.actor_lr, critic_learning_rate=args.critic_lr,
        temp_learning_rate=args.alpha_lr, initial_temperature=1.0,
        alpha_learning_rate=0.0, initial_alpha=1.0, conservative_weight=args.weight,
        n_action_samples=args.samples, soft_q_backup=False, action_scaler=scaler,
        observation_scaler=standard,
    ).create(device="cpu:0")  # fmt: skip
    agent.build_with_dataset(data)
    return agent


def dataset(rows: Arrays) -> Any:
    """Its replay buffer; an episode's next observation is that of its next row."""
    return d3rlpy.dataset.MDPDataset(
        rows["obs"], rows["action"], rows["reward"], rows["terminated"],
        rows["truncated"],
    )  # fmt: skip


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """One update a call."""
    d3rlpy.seed(0)
    with np.load(args.data) as file:
        rows = {name: file[name].astype(np.float32) for name in file.files}
    rows["truncated"] = np.zeros_like(rows["terminated"])
    rows["truncated"][-1] = 1.0 - rows["terminated"][-1]
    data = dataset(rows)
    agent = build(args, data)

    def advance(updates: int) -> tuple[float, float]:
        drawn = updated = 0.0
        for _ in range(updates):
            begin = time.perf_counter()
            batch = data.sample_transition_batch(args.batch_size)
            ready = time.perf_counter()
            agent.update(batch)
            drawn += ready - begin
            updated += time.perf_counter() - ready
        return 1e3 * drawn / updates, 1e3 * updated / updates

    first = advance(1)
    advance(9)
    drawn, updated = zip(
        *(advance(args.updates) for _ in range(args.repeats)), strict=True
    )
    return {
        "mean_ms": statistics.fmean(updated), "repeat_mean_ms": updated,
        "draw_ms": statistics.fmean(drawn), "first_call_s": sum(first) / 1e3,
        "peak_mb": peak_mb(), "versions": versions(),
    }  # fmt: skip


def learn(args: argparse.Namespace) -> None:
    """Every seed's curve, into one file."""
    env = gymnasium.make(args.env)
    data = dataset(read(args.data, env.spec.max_episode_steps))
    begin, runs = time.perf_counter(), []
    record = {
        "benchmark": "learn", "library": "d3rlpy", "env": args.env,
        "data": args.data.name, "transitions": data.transition_count,
        "arguments": {k: v for k, v in vars(args).items() if k not in ("data", "out")},
        "versions": versions(), "processor": processor(), "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0], "runs": runs,
    }  # fmt: skip
    for seed in args.seeds:
        runs.append({"seed": seed, "evaluations": []})
        for step, returns in curve(args, data, env, seed):
            mean = round(statistics.fmean(returns), 2)
            runs[-1]["evaluations"].append(
                {"step": step, "return": mean, "returns": returns}
            )
            record["seconds"] = round(time.perf_counter() - begin)
            print(f"seed {seed}  update {step:>9,}  return {mean:.1f}", flush=True)
            args.out.write_text(json.dumps(record, indent=1) + "\n")


def curve(args: argparse.Namespace, data: Any, env: Any, seed: int) -> Any:
    """(updates, returns) at every evaluation of one seed; the last is at the end."""
    d3rlpy.seed(seed)
    box = env.action_space
    scaler = d3rlpy.preprocessing.MinMaxActionScaler(box.low, box.high)
    agent = build(args, data, scaler)
    worlds = range(10_000 * (seed + 1), 10_000 * (seed + 1) + args.episodes)
    for step in range(1, args.updates + 1):
        agent.update(data.sample_transition_batch(args.batch_size))
        if step % args.eval_every == 0 or step == args.updates:
            yield step, [play(agent, env, world) for world in worlds]


def play(agent: Any, env: Any, seed: int) -> float:
    """The return of one episode of the greedy policy."""
    (obs, _), total, ended = env.reset(seed=seed), 0.0, False
    while not ended:
        action = agent.predict(np.asarray(obs, np.float32)[None])[0]
        obs, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    return round(total, 3)


def read(path: Path, horizon: int | None) -> Arrays:
    """A file in D4RL's format, where a time limit ends an episode but not the world."""
    with h5py.File(path) as file:
        obs, action, reward, terminated = (
            file[name][()].astype(np.float32)
            for name in ("observations", "actions", "rewards", "terminals")
        )
        marked = file["timeouts"][()] if "timeouts" in file else None
    if marked is None:
        marked = limits(terminated, horizon)
    truncated = marked.astype(np.float32) * (1.0 - terminated)
    truncated[-1] = 1.0 - terminated[-1]
    return {"obs": obs, "action": action, "reward": reward, "terminated": terminated,
            "truncated": truncated}  # fmt: skip


def limits(terminated: np.ndarray, horizon: int | None) -> np.ndarray:
    """Which rows the time limit ends, where a file does not say."""
    marked, length = np.zeros_like(terminated), 0
    for row, ended in enumerate(terminated):
        length += 1
        marked[row] = length == horizon
        if ended or marked[row]:
            length = 0
    return marked


def peak_mb() -> float:
    """The largest resident memory so far (MB)."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def versions() -> dict[str, str]:
    """Versions of what decides these numbers."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
