"""How fast soft Q-learning's update is: against PyTorch and the arithmetic.

    python benchmarks/sql.py --peers .venv-peers/bin/python

HalfCheetah's sizes (17 + 6), two layers of 128, a batch of 128, 64 proposals and 32
particles a state. softq and a PyTorch transcription (`peers/sql_torch.py`), eager and
compiled, take turns, each in a process of its own; only ratios within a round count.
The floor is the arithmetic of every (state, action) pair that goes through a network,
at the speed of the best large float32 product of the same process.

Prints a table and writes `benchmarks/results/sql.json`; `--quick` only tries whether
everything runs.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import online

HERE = Path(__file__).resolve().parent
TORCH = HERE / "peers" / "sql_torch.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if not args.peers.is_file():
        raise SystemExit(f"{args.peers} is missing. `make bench` builds it")
    load, sizes = online.busy(), []
    if args.quick:
        args.rounds, sizes = 1, ["--repeats", "2", "--updates", "5"]
    rounds = [one_round(args.peers, sizes) for _ in range(args.rounds)]
    ratios = {
        f"softq over PyTorch, {mode}": online.pairs(
            [r[mode]["mean_ms"] / r["softq"]["mean_ms"] for r in rounds]
        )
        for mode in ("eager", "compiled")
    }
    ratios["of the floor"] = online.pairs(
        [r["softq"]["floor_ms"] / r["softq"]["mean_ms"] for r in rounds]
    )
    result = {
        "benchmark": "sql", "quick": args.quick, "load_before": load,
        "machine": rounds[0]["softq"]["machine"], "commit": online.commit(),
        "versions": {s: rounds[0][s]["versions"] for s in ("softq", "eager")},
        "median_ms": {
            s: statistics.median(r[s]["mean_ms"] for r in rounds) for s in rounds[0]
        },
        "ratios": ratios, "table": table(ratios), "rounds": rounds,
    }  # fmt: skip
    name = "runs/sql-quick.json" if args.quick else "results/sql.json"
    out = (HERE.parent if args.quick else HERE) / name
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["table"]:
        print(f"{row['what']:<46}{row['figure']:.2f} {row['unit']}  {row['target']}")
    print(result["median_ms"], out)


def one_round(peers: Path, sizes: list[str]) -> dict[str, Any]:
    """Each side once."""
    hidden = ("JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    found = {"softq": online.softq(["sql", *sizes])}
    for mode in ("eager", "compiled"):
        found[mode] = online.child([str(peers), str(TORCH), mode, *sizes], env)
    online.say("  ".join(f"{s} {r['mean_ms']:.2f} ms" for s, r in found.items()))
    return found


def table(ratios: dict[str, Any]) -> list[dict[str, Any]]:
    """Every figure beside its target."""
    better = min(ratio["median"] for name, ratio in ratios.items() if "over" in name)
    return [
        online.judged("speed over the faster PyTorch", better, ">=", 1.3, "×"),
        online.judged("of the floor", ratios["of the floor"]["median"], ">=", 55, "%"),
    ]


if __name__ == "__main__":
    main()
