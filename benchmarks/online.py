"""How fast `softq train sac` is: against SBX, Stable-Baselines3 and the arithmetic.

    python benchmarks/online.py --peers .venv-peers/bin/python

One environment of HalfCheetah-v5, batch 256, two layers of 256, one update a step,
learning from step 500 on; a window of steps is timed with metrics logging on, and with
no evaluation and no checkpoint inside. softq with fresh actions, softq with delayed
ones (`--overlap`), SBX and Stable-Baselines3 take turns (A B C D A B C D …), each in
a process of its own. Only ratios within a round count; their medians are quoted.
Threads are left at every library's default.

Prints a table and writes `benchmarks/results/online.json`. `--quick` only tries
whether everything runs: its numbers mean nothing and go elsewhere.

This process imports nothing but the standard library: a child's peak memory may never
come out below that of the process which started it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIDES = ("fresh", "delayed", "sbx", "sb3")
NAMES = {"fresh": "softq, fresh actions", "delayed": "softq, delayed actions",
         "sbx": "SBX", "sb3": "Stable-Baselines3"}  # fmt: skip
LEARNING_STARTS = 500
STARTUP = {"softq --help": ["--help"], "softq train --help": ["train", "--help"],
           "softq train sac --help": ["train", "sac", "--help"]}  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_FLAGS",
           "JAX_PLATFORMS", "NPROC")  # fmt: skip
Record = dict[str, Any]


def main() -> None:
    """Measures, prints the table, writes the result."""
    args = parse()
    if not args.peers.is_file():
        raise SystemExit(f"{args.peers} is missing. `make bench` builds it")
    began, load = time.time(), busy()
    if load is not None and load > 0.5:
        say(f"a load of {load}: what else runs here spoils these figures")
    with tempfile.TemporaryDirectory(prefix="softq-bench-") as folder:
        raw = measure(args, Path(folder))
    result = {
        "benchmark": "online",
        "quick": args.quick,
        "note": "smoke run: these numbers mean nothing" if args.quick else "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.time() - began),
        "protocol": protocol(args),
        "machine": raw["rounds"][0]["fresh"]["machine"] | {"load_before": load},
        "versions": {
            s: raw["rounds"][0][s]["versions"] for s in ("fresh", "sbx", "sb3")
        },
        "commit": commit(),
        **summary(raw),
        "raw": raw,
    }
    result["table"] = table(result)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result, args.out)


def parse() -> argparse.Namespace:
    """The command line; `--quick` shrinks whatever was not given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--rounds", type=int, help="of A B C D (default: 5)")
    parser.add_argument("--begin", type=int, help="first step timed (default: 1500)")
    parser.add_argument("--until", type=int, help="last step timed (default: 3500)")
    parser.add_argument("--out", type=Path, help="default: results/online.json")
    parser.add_argument("--quick", action="store_true", help="one tiny round")
    args = parser.parse_args()
    usual: Record = {"rounds": 5, "begin": 1_500, "until": 3_500,
                     "out": HERE / "results" / "online.json"}  # fmt: skip
    quick: Record = {"rounds": 1, "begin": 550, "until": 600,
                     "out": HERE.parent / "runs" / "online-quick.json"}  # fmt: skip
    for name, value in (quick if args.quick else usual).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.quick and args.out.resolve() == usual["out"]:
        parser.error(f"--quick must not overwrite {args.out}")
    if not LEARNING_STARTS < args.begin < args.until or args.rounds < 1:
        parser.error(f"need {LEARNING_STARTS} < --begin < --until and --rounds >= 1")
    return args


def protocol(args: argparse.Namespace) -> Record:
    """What every side was asked to do."""
    return {
        "env": "HalfCheetah-v5", "num_envs": 1, "batch_size": 256, "hidden": [256, 256],
        "utd": 1, "capacity": 1_000_000, "learning_starts": LEARNING_STARTS,
        "timed": [args.begin, args.until], "rounds": args.rounds, "order": list(SIDES),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
    }  # fmt: skip


def measure(args: argparse.Namespace, folder: Path) -> Record:
    """All raw numbers."""
    small = args.quick
    raw: Record = {"startup_s": startup(1 if small else 5)}
    sizes = ["--pairs", "2", "--steps", "10"] if small else []
    for name in ("capacity", "seeds"):
        say(f"{name} …")
        raw[name] = softq([name, *sizes])
    raw["rounds"] = []
    for number in range(1, args.rounds + 1):
        raw["rounds"].append(one_round(args, folder / str(number), number))
    return raw


def one_round(args: argparse.Namespace, folder: Path, seed: int) -> Record:
    """First updates from an empty cache, an update alone, then every side in turn."""
    out: Record = {"load_before": busy()}
    sizes = ["--repeats", "2", "--updates", "5"] if args.quick else []
    first, logs = str(LEARNING_STARTS), "100" if args.quick else "1000"
    common = ["--learning-starts", first, "--seed", str(seed)]
    window = ["--begin", first, "--until", first, "--log-every", first, *common]
    for side in SIDES[:2]:  # fills the cache that the same side's loop then finds
        out[f"{side}_cold"] = train(side, window, folder, "cold")
    out["update"] = softq(["update", *sizes])
    window = ["--begin", str(args.begin), "--until", str(args.until), *common]
    for side in SIDES:
        if side in SIDES[:2]:
            out[side] = train(side, [*window, "--log-every", logs], folder, "warm")
        else:
            out[side] = peer(args.peers, side, window, folder)
        say(f"round {seed}/{args.rounds}  {NAMES[side]:<24}{line(out[side])}")
    return out


def line(record: Record) -> str:
    """A side's figures for the log."""
    return (
        f"{record['mean_ms']:7.2f} ms a step  {record['peak_mb']:6.0f} MB  "
        f"first update after {record['first_update_s']:.1f} s"
    )


def train(side: str, window: list[str], folder: Path, name: str) -> Record:
    """softq's whole loop with the side's own compilation cache."""
    cache = folder / f"cache-{side}"
    cache.mkdir(parents=True, exist_ok=True)
    out = ["--out", str(folder / f"{side}-{name}")]
    flags = ["--overlap"] if side == "delayed" else []
    return softq(["loop", *window, *out, *flags], cache)


def softq(arguments: list[str], cache: Path | None = None) -> Record:
    """One of softq's measurements, in a process of its own."""
    env = os.environ | (
        {} if cache is None else {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    )
    if cache is None:
        env.pop("JAX_COMPILATION_CACHE_DIR", None)
    return child([sys.executable, str(HERE / "children.py"), *arguments], env)


def peer(python: Path, library: str, window: list[str], folder: Path) -> Record:
    """A peer's whole loop; as it ships, so without a compilation cache."""
    hidden = ("JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    script, logs = str(HERE / "peers" / "sb3_sac.py"), str(folder / library)
    return child([str(python), script, library, *window, "--logs", logs], env)


def child(command: list[str], env: dict[str, str]) -> Record:
    """Runs a process to its end; the JSON of the last line it prints."""
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3600)
    if ran.returncode != 0:
        tail = (ran.stderr or ran.stdout)[-3000:]
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{tail}")
    return dict(json.loads(ran.stdout.strip().splitlines()[-1]))


def startup(repeats: int) -> dict[str, list[float]]:
    """Seconds that each help text takes, after one run that is not counted."""
    out: dict[str, list[float]] = {name: [] for name in STARTUP}
    for repeat in range(repeats + 1):
        for name, arguments in STARTUP.items():
            begin = time.perf_counter()
            command = [sys.executable, "-m", "softq", *arguments]
            subprocess.run(command, capture_output=True, check=True)
            if repeat:
                out[name].append(time.perf_counter() - begin)
    return out


def summary(raw: Record) -> Record:
    """Medians of every side, and ratios pair by pair."""
    rounds, own = raw["rounds"], SIDES[:2]

    def middle(name: str, field: str) -> float:
        return statistics.median(r[name][field] for r in rounds)

    def ratio(over: str, under: str, above: str, below: str) -> Record:
        return pairs([r[over][above] / r[under][below] for r in rounds])

    fields = ("mean_ms", "median_ms", "peak_mb", "first_update_s")
    medians: Record = {side: {f: middle(side, f) for f in fields} for side in SIDES}
    ratios: Record = {}
    for side in own:
        cold = middle(f"{side}_cold", "first_update_s")
        floor = middle(side, "floor_ms")
        medians[side] |= {"first_update_cold_s": cold, "floor_ms": floor}
        for other in SIDES[2:]:
            ratios[f"{side} over {other}"] = ratio(other, side, "mean_ms", "mean_ms")
    fields = ("mean_ms", "median_ms", "floor_ms", "gflop_per_s")
    medians["update"] = {f: middle("update", f) for f in fields}
    medians["startup_s"] = {
        k: statistics.median(v) for k, v in raw["startup_s"].items()
    }
    for name in (*own, "update"):
        ratios[f"{name} of the floor"] = ratio(name, name, "floor_ms", "mean_ms")
    ratios["fresh memory over sbx"] = ratio("fresh", "sbx", "peak_mb", "peak_mb")
    ratios["large over small ring"] = pairs(raw["capacity"]["ratios"])
    ratios["seeds over one seed"] = pairs(raw["seeds"]["ratios"])
    return {"medians": medians, "ratios": ratios}


def pairs(values: list[float]) -> Record:
    """Ratios pair by pair, and their median."""
    return {"median": statistics.median(values), "pairs": values}


def table(result: Record) -> list[Record]:
    """Every figure beside its target."""
    ratio = {name: x["median"] for name, x in result["ratios"].items()}
    seeds, ring = result["raw"]["seeds"], result["raw"]["capacity"]["capacities"]
    net = "×".join(str(n) for n in seeds["hidden"])
    rows: list[tuple[str, float, str, float, str]] = []
    for name, least in (("fresh", 1.2), ("delayed", 1.35)):
        loop, medians = f"whole loop, {name}", result["medians"][name]
        cold = medians["first_update_cold_s"]
        rows += [
            (f"{loop}: speed over SBX", ratio[f"{name} over sbx"], ">=", least, "×"),
            (f"{loop}: speed over SB3", ratio[f"{name} over sb3"], ">=", 1.9, "×"),
            (f"{loop}: of the floor", ratio[f"{name} of the floor"], ">=", 58, "%"),
            (f"first update, {name}, cold cache", cold, "<=", 6, "s"),
            (
                f"first update, {name}, warm cache",
                medians["first_update_s"],
                "<=",
                3,
                "s",
            ),
        ]
    large = f"step cost, ring of {ring[1]:,} over {ring[0]:,}"
    many = f"{seeds['count']} seeds over one, updates/s, {net}"
    gain = 4.0 if result["machine"]["kind"] == "gpu" else 0.9
    rows += [
        ("update alone: of the floor", ratio["update of the floor"], ">=", 65, "%"),
        (large, ratio["large over small ring"], "<=", 1.05, "×"),
        ("peak memory, fresh over SBX", ratio["fresh memory over sbx"], "<=", 1, "×"),
        (many, ratio["seeds over one seed"], ">=", gain, "×"),
    ]
    for command, seconds in result["medians"]["startup_s"].items():
        rows.append(
            (command, seconds, "<=", 0.5 if command == "softq --help" else 2, "s")
        )
    return [judged(*row) for row in rows]


def judged(what: str, figure: float, sign: str, target: float, unit: str) -> Record:
    """A row of the table; shares come as fractions and are shown in per cent."""
    figure = 100 * figure if unit == "%" else figure
    met = figure >= target if sign == ">=" else figure <= target
    goal = f"{sign} {target} {unit}"
    return {"what": what, "figure": figure, "unit": unit, "target": goal, "met": met}


def show(result: Record, out: Path) -> None:
    """The sides' own figures, then the table."""
    heads = f"{'mean ms':>9}{'median ms':>11}{'steps/s':>9}{'peak MB':>9}"
    print(f"\n{'':<26}{heads}{'1st update s':>14}")
    for side in SIDES:
        m = result["medians"][side]
        speed = f"{m['mean_ms']:>9.2f}{m['median_ms']:>11.2f}{1e3 / m['mean_ms']:>9.0f}"
        rest = f"{m['peak_mb']:>9.0f}{m['first_update_s']:>14.2f}"
        print(f"{NAMES[side]:<26}{speed}{rest}")
    alone = result["medians"]["update"]
    floor = f"floor {alone['floor_ms']:.2f} ms at {alone['gflop_per_s']:.0f} GFLOP/s"
    print(f"{'softq, update alone':<26}{alone['mean_ms']:>9.2f}   {floor}\n")
    print(f"{'what':<46}{'figure':>10}  {'target':>10}")
    for row in result["table"]:
        figure = f"{row['figure']:.2f} {row['unit']}"
        missed = "" if row["met"] else "   missed"
        print(f"{row['what']:<46}{figure:>10}  {row['target']:>10}{missed}")
    if result["quick"]:
        print("\n--quick: a smoke run, these numbers mean nothing")
    print(f"\n{result['duration_s']} s; {os.path.relpath(out)}")


def busy() -> float | None:
    """How many programs want the processor, averaged over the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def commit() -> str | None:
    """The git commit measured, marked where the source differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        ran = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
