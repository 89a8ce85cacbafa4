"""How fast CQL's update is: against PyTorch, d3rlpy and the arithmetic.

    python benchmarks/offline.py --peers .venv-offline/bin/python

CQL(H) with a fixed weight, HalfCheetah's sizes (17 + 6), three layers of 256, a batch
of 256, 10 actions of each family, 100,000 rows on the device. softq with the exact gap
gradient, with the sampled one, and with that one's scores in bfloat16; a transcription
of the standard PyTorch update (`peers/cql_torch.py`), eager and compiled; and d3rlpy
(`peers/d3rlpy_cql.py`) take turns on the same rows, each in a process of its own; only
ratios within a round count. softq's side is its own offline loop, monitor and all.
softq's and PyTorch's updates draw their batch, d3rlpy's get one that is ready (its
`draw_ms` stands apart). Threads are every library's default.

The floor is the arithmetic of the exact update as the standard one does it, at the
speed of the best large float32 product of softq's process. Then five seeds in one
program take turns with one seed.

Prints a table and writes `benchmarks/results/offline.json`; `--quick` only tries
whether everything runs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import children
import online

HERE = Path(__file__).resolve().parent
OWN: dict[str, dict[str, str]] = {
    "exact": {"gap_gradient": "exact"},
    "sampled": {"gap_gradient": "sampled"},
    "bfloat16": {"gap_gradient": "sampled", "scoring": "bfloat16"},
}
PEERS = {
    "eager": ["cql_torch.py", "eager"],
    "compiled": ["cql_torch.py", "compiled"],
    "d3rlpy": ["d3rlpy_cql.py", "speed"],
}
NAMES = {
    "exact": "softq, exact", "sampled": "softq, sampled",
    "bfloat16": "softq, sampled, bfloat16 scores", "eager": "PyTorch, eager",
    "compiled": "PyTorch, compiled", "d3rlpy": "d3rlpy",
}  # fmt: skip
OBS, ACTION, ROWS, BATCH, SEEDS = 17, 6, 100_000, 256, 5
SIZES = {"hidden": (256, 256, 256), "gap_weight": 5.0, "gap_samples": 10}
# Forward and backward of both critics at 3 · 10 actions a state; the policy's samples,
# 2 · 10 rows a state; and what SAC's update does.
GFLOP = 12.65 + 1.4 + 1.1
COLUMNS = ("mean_ms", "peak_mb", "first_call_s")
Record = dict[str, Any]


def main() -> None:
    """The comparison, or the one measurement of softq's that a child is asked for."""
    args = parse()
    if args.what == "all":
        compare(args)
    elif args.what == "rows":
        rows(args.data)
        print("{}")
    else:
        measure = seeds if args.what == "seeds" else alone
        print(json.dumps(measure(args)), flush=True)


def parse() -> argparse.Namespace:
    """The command line; `--quick` shrinks whatever was not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("all", "rows", *OWN, "seeds")
    parser.add_argument("what", nargs="?", choices=kinds, default="all")
    parser.add_argument("--peers", type=Path, default=Path(".venv-offline/bin/python"))
    parser.add_argument("--rounds", type=int, help="of every side (default: 5)")
    parser.add_argument("--repeats", type=int, help="blocks a side (default: 5)")
    parser.add_argument("--updates", type=int, help="a block (default: 50)")
    parser.add_argument("--out", type=Path, help="default: results/offline.json")
    parser.add_argument("--quick", action="store_true", help="one tiny round")
    parser.add_argument("--data", type=Path, help="a child's rows")
    args = parser.parse_args()
    usual: Record = {"rounds": 5, "repeats": 5, "updates": 50,
                     "out": HERE / "results" / "offline.json"}  # fmt: skip
    quick: Record = {"rounds": 1, "repeats": 2, "updates": 2,
                     "out": HERE.parent / "runs" / "offline-quick.json"}  # fmt: skip
    for name, value in (quick if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.quick and args.out.resolve() == usual["out"]:
        parser.error(f"--quick must not overwrite {args.out}")
    return args


def compare(args: argparse.Namespace) -> None:
    """Measures every side, prints the table, writes the result."""
    if not args.peers.is_file():
        raise SystemExit(f"{args.peers} is missing. `make bench` builds it")
    began, load = time.time(), online.busy()
    if load is not None and load > 0.5:
        online.say(f"a load of {load}: what else runs here spoils these figures")
    with tempfile.TemporaryDirectory(prefix="softq-bench-") as folder:
        data = Path(folder) / "rows.npz"
        own(["rows", "--data", str(data)])
        sizes = ["--data", str(data), "--repeats", str(args.repeats)]
        sizes += ["--updates", str(args.updates)]
        rounds = [one_round(args, sizes, n + 1) for n in range(args.rounds)]
        online.say("seeds …")
        many = own(["seeds", *sizes])
    result = {
        "benchmark": "offline", "quick": args.quick,
        "note": "smoke run: these numbers mean nothing" if args.quick else "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.time() - began), "protocol": protocol(args),
        "machine": rounds[0]["exact"]["machine"] | {"load_before": load},
        "versions": {s: rounds[0][s]["versions"] for s in ("exact", "eager", "d3rlpy")},
        "commit": online.commit(), **summary(rounds), "seeds": many, "rounds": rounds,
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result, args.out)


def protocol(args: argparse.Namespace) -> Record:
    """What every side was asked to do."""
    threads = {name: os.environ[name] for name in online.THREADS if name in os.environ}
    return SIZES | {
        "obs": OBS, "action": ACTION, "rows": ROWS, "batch_size": BATCH,
        "rounds": args.rounds, "repeats": args.repeats, "updates": args.updates,
        "order": [*OWN, *PEERS], "floor_gflop": GFLOP, "threads": threads,
    }  # fmt: skip


def one_round(args: argparse.Namespace, sizes: list[str], number: int) -> Record:
    """Each side once."""
    out: Record = {"load_before": online.busy()}
    for side in (*OWN, *PEERS):
        if side in OWN:
            out[side] = own([side, *sizes])
        else:
            script, mode = PEERS[side]
            command = [str(args.peers), str(HERE / "peers" / script), mode, *sizes]
            out[side] = online.child(command, clean())
        ms = f"{out[side]['mean_ms']:7.2f} ms an update"
        online.say(f"round {number}/{args.rounds}  {NAMES[side]:<34}{ms}")
    return out


def own(arguments: list[str]) -> Record:
    """One of softq's measurements, in a process of its own."""
    return online.child([sys.executable, str(HERE / "offline.py"), *arguments], clean())


def clean() -> dict[str, str]:
    """The environment, without what would help one side alone."""
    hidden = ("JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def summary(rounds: list[Record]) -> Record:
    """Medians of every side, and ratios round by round."""
    medians: Record = {
        side: {f: middle(rounds, side, f) for f in COLUMNS} for side in NAMES
    }
    medians["d3rlpy"]["draw_ms"] = middle(rounds, "d3rlpy", "draw_ms")
    ratios: Record = {}
    for side in OWN:
        medians[side]["floor_ms"] = middle(rounds, side, "floor_ms")
        found = [against(one, side) for one in rounds]
        for name in found[0]:
            ratios[f"{side} {name}"] = online.pairs([one[name] for one in found])
    return {"medians": medians, "ratios": ratios}


def middle(rounds: list[Record], side: str, field: str) -> float:
    """The median over the rounds."""
    return statistics.median(one[side][field] for one in rounds)


def against(one: Record, side: str) -> dict[str, float]:
    """A side's ratios within a round: how much faster, how near, how much leaner."""
    own_, peers = one[side], {name: one[name] for name in PEERS}
    speed = {f"over {p}": r["mean_ms"] / own_["mean_ms"] for p, r in peers.items()}
    leanest = min(r["peak_mb"] for r in peers.values())
    return speed | {
        "over the best peer": min(speed.values()),
        "of the floor": own_["floor_ms"] / own_["mean_ms"],
        "memory over the leanest peer": own_["peak_mb"] / leanest,
    }


def show(result: Record, out: Path) -> None:
    """Every side's figures, then softq's ratios."""
    print(f"\n{'':<34}{'mean ms':>9}{'peak MB':>9}{'1st call s':>12}")
    for side, name in NAMES.items():
        ms, peak, first = (result["medians"][side][f] for f in COLUMNS)
        print(f"{name:<34}{ms:>9.2f}{peak:>9.0f}{first:>12.2f}")
    draw = result["medians"]["d3rlpy"]["draw_ms"]
    floor = result["medians"]["exact"]["floor_ms"]
    print(f"\nfloor {floor:.2f} ms; d3rlpy draws a batch in {draw:.2f} ms besides")
    for name, ratio in result["ratios"].items():
        print(f"{name:<46}{ratio['median']:>8.2f} ×")
    for side, many in result["seeds"]["sides"].items():
        what = f"{SEEDS} seeds over one, updates/s, {side}"
        print(f"{what:<46}{many['median']:>8.2f} ×")
    print(f"\n{result['note']}\n{result['duration_s']} s; {os.path.relpath(out)}")


def rows(path: Path) -> None:
    """Writes the rows; a next observation is the next row's, as d3rlpy has it."""
    import numpy as np

    rng = np.random.default_rng(0)
    obs = rng.standard_normal((ROWS, OBS), np.float32)
    np.savez(
        path, obs=obs, action=rng.uniform(-1, 1, (ROWS, ACTION)).astype(np.float32),
        reward=rng.standard_normal(ROWS, np.float32), next_obs=np.roll(obs, -1, axis=0),
        terminated=rng.random(ROWS) < 0.01,
    )  # fmt: skip


def alone(args: argparse.Namespace) -> Record:
    """One side of softq's; in turns with the large product."""
    advance = learner(args.what, args.data, args.updates)
    first = advance()
    advance()
    peak, products, timed = children.peak_mb(), [], []
    for _ in range(args.repeats):
        products += [children.product_s() for _ in range(-(-10 // args.repeats))]
        timed.append(1e3 * advance() / args.updates)
    record = {"mean_ms": statistics.fmean(timed), "repeat_mean_ms": timed}
    record |= {"peak_mb": peak, "first_call_s": first}
    return record | children.floor(products, GFLOP) | children.about()


def seeds(args: argparse.Namespace) -> Record:
    """Several seeds in one program and one alone, in turns."""
    found: Record = {}
    for side in ("exact", "sampled"):
        sides = [learner(side, args.data, args.updates // 2, n) for n in (1, SEEDS)]
        for advance in sides:
            advance()
        taken = [[advance() for advance in sides] for _ in range(args.repeats)]
        found[side] = online.pairs([SEEDS * one / all_ for one, all_ in taken])
        found[side] |= {"seconds": taken, "updates": args.updates // 2}
    return {"count": SEEDS, "sides": found}


def learner(
    side: str, data: Path, updates: int, number: int = 1
) -> Callable[[], float]:
    """softq's own loop for so many seeds: seconds of its next call of updates."""
    from softq.algos import cql
    from softq.train import offline
    from softq.train.seeds import Seeds
    from softq.train.step import Options
    from softq.types import Spec

    vars(offline)["CHUNK"] = updates
    spec = Spec((OBS,), low=(-1.0,) * ACTION, high=(1.0,) * ACTION)
    cfg, many = cql.Config(**SIZES, **OWN[side]), Seeds(0, number)
    options = Options(steps=10**9, batch_size=BATCH)
    train = offline.start(cql, cfg, options, spec, many, None, 0)
    stream = offline.run(cql, cfg, options, spec, many, load(data), train)

    def advance() -> float:
        begin = time.perf_counter()
        progress = next(stream)
        children.wait((progress.train.agent, progress.info))
        return time.perf_counter() - begin

    return advance


def load(path: Path) -> Any:
    """The rows on the device."""
    import jax.numpy as jnp
    import numpy as np

    from softq.types import Batch

    names = ("obs", "action", "reward", "next_obs", "terminated")
    with np.load(path) as file:
        return Batch(*(jnp.asarray(file[name]) for name in names))


if __name__ == "__main__":
    main()
