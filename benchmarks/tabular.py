"""Exact solvers on a million states: softq, pymdptoolbox and QuantEcon in one run.

    python benchmarks/tabular.py --peers .venv-tables/bin/python

A gridworld of 5 actions with K = 3 outcomes each, float64, discount 0.99. One sweep of
each library in turns, beside the time to read the table once; then each library's
fastest way to a certified true error of 1e-6. Peers solve the hard problem (α = 0);
softq the same, and the soft one, which needs an exponential a pair.
Writes `benchmarks/results/tabular.json` and its picture; `--quick` is a smoke run with
small tables.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DISCOUNT, TOL, ALPHA = 0.99, 1e-6, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=Path(".venv-tables/bin/python"))
    parser.add_argument("--side", type=int, default=1118, help="of the square map")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", choices=("softq", "slopes", "iteration"))
    args = parser.parse_args()
    if args.quick:
        args.side, args.pairs = 60, 1
    if args.child:
        print(json.dumps(CHILDREN[args.child](args)), flush=True)
        return
    result = measure(args)
    name = "runs/tabular-quick.json" if args.quick else "results/tabular.json"
    out = (HERE.parent if args.quick else HERE) / name
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    picture(result, out.with_suffix(".png"))
    for row in result["table"]:
        print(f"{row['what']:<64}{row['figure']:>9.2f}  {row['target']}")
    print(out)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every side in a process of its own, in turns."""
    from softq import machine, tabular

    folder = HERE.parent / "runs"
    folder.mkdir(exist_ok=True)
    path = folder / f"grid-{args.side}.npz"
    mdp = tabular.from_map(open_map(args.side), DISCOUNT, slip=0.2, stay=True)
    tabular.save(mdp, path)
    rounds = []
    for _ in range(args.pairs):
        rounds.append({
            "softq": child([sys.executable, str(Path(__file__)), "--child", "softq",
                            "--side", str(args.side)]),
            "peers": child([str(args.peers), str(HERE / "peers" / "tables.py"),
                            str(path), str(TOL)]),
        })  # fmt: skip
        print(rounds[-1], flush=True)
    again = [sys.executable, str(Path(__file__)), "--side", str(args.side), "--child"]
    slopes, iteration = child([*again, "slopes"]), child([*again, "iteration"])
    return {
        "benchmark": "tabular", "quick": args.quick, "states": len(mdp.reward),
        "discount": DISCOUNT, "tol": TOL, "alpha": ALPHA,
        "versions": machine.versions(), "machine": machine.about(),
        "rounds": rounds, "slopes": slopes, "iteration": iteration,
        "table": table(rounds, slopes, iteration),
    }  # fmt: skip


def table(rounds: list[Any], slopes: Any, iteration: Any) -> list[dict[str, Any]]:
    """Ratios within a round, their medians, beside the targets."""

    def ratio(over: Callable[[Any], float], under: Callable[[Any], float]) -> float:
        return statistics.median(over(r) / under(r) for r in rounds)

    def sweep(r: Any) -> float:
        return float(r["softq"]["sweep_s"])

    def solved(r: Any) -> float:
        return float(r["softq"]["solve_s"])

    rows = [
        ("sweep: pymdptoolbox's over softq's", lambda r: r["peers"]["toolbox_sweep_s"],
         sweep, ">= 1"),
        ("sweep: QuantEcon's over softq's", lambda r: r["peers"]["quantecon_sweep_s"],
         sweep, ">= 1"),
        ("sweep: softq's over reading the table", sweep,
         lambda r: r["softq"]["stream_s"], "<= 3"),
        ("true error 1e-6: pymdptoolbox's time over softq's",
         lambda r: r["peers"]["toolbox_solve_s"], solved, ">= 10"),
        ("true error 1e-6: QuantEcon's time over softq's",
         lambda r: r["peers"]["quantecon_solve_s"], solved, ">= 3"),
    ]  # fmt: skip
    out = [{"what": w, "figure": ratio(a, b), "target": t} for w, a, b, t in rows]
    gain = iteration["value_iteration_s"] / iteration["policy_iteration_s"]
    what = "S = 10^4, discount 0.999, 1e-8: value over policy iteration"
    out.append({"what": what, "figure": gain, "target": ">= 10"})
    what = "log-log slope of a sweep's cost in S"
    return [*out, {"what": what, "figure": slopes["slope"], "target": "0.9 to 1.15"}]


def picture(result: dict[str, Any], path: Path) -> None:
    """A sweep's cost against the states, and what each library needs for the goal."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from softq.plots import COLOURS

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    grown = result["slopes"]
    states, taken = (np.array(grown[k]) for k in ("states", "sweep_s"))
    fit = np.exp(np.mean(np.log(taken)) - grown["slope"] * np.mean(np.log(states)))
    axes[0].loglog(states, 1e3 * taken, "o", color=COLOURS[0])
    axes[0].loglog(states, 1e3 * fit * states ** grown["slope"], color=COLOURS[0],
                   label=f"slope {grown['slope']:.2f}")  # fmt: skip
    axes[0].set(xlabel="states", ylabel="ms", title="one soft sweep")
    axes[0].legend(frameon=False)
    rounds = result["rounds"]
    goal = (
        ("softq, α = 0", "softq", "solve_s"),
        (f"softq, α = {ALPHA:g}", "softq", "solve_soft_s"),
        ("QuantEcon, α = 0", "peers", "quantecon_solve_s"),
        ("pymdptoolbox, α = 0", "peers", "toolbox_solve_s"),
    )
    names = [name for name, _, _ in goal]
    seconds = [statistics.median(r[side][key] for r in rounds) for _, side, key in goal]
    bars = axes[1].barh(names, seconds, color=[COLOURS[1], COLOURS[1], "0.7", "0.7"])
    axes[1].bar_label(bars, [f"{x:,.1f} s" for x in seconds], padding=4)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="seconds", xlim=(0, 1.2 * max(seconds)))
    axes[1].set_title(f"{result['states']:,} states to a true error of {TOL:g}")
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def open_map(side: int) -> str:
    """A square with walls in every fifth row, each with two gaps; goal far away."""
    rows = []
    for i in range(side):
        row = ["."] * side
        if i % 5 == 4 and i < side - 1:
            row = ["#"] * side
            row[(7 * i) % side] = row[(13 * i + 3) % side] = "."
        rows.append(row)
    rows[0][0], rows[-1][-1] = "S", "G"
    return "\n".join("".join(row) for row in rows)


def child(command: list[str]) -> dict[str, Any]:
    """Runs a process to its end; the JSON of its last line."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=7200)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{ran.stderr[-3000:]}")
    return dict(json.loads(ran.stdout.strip().splitlines()[-1]))


def timed(fn: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    fn()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        fn()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def softq_side(args: argparse.Namespace) -> dict[str, Any]:
    """A soft sweep, the table read once, and both problems solved."""
    import jax
    import jax.numpy as jnp

    from softq import tabular

    mdp = tabular.from_map(open_map(args.side), DISCOUNT, slip=0.2, stay=True)
    sweep = sweeper(mdp, ALPHA)
    # The fastest of several ways to have read every number of the table once.
    weight, index = mdp.prob.ravel(), mdp.next_state.ravel()
    with jax.enable_x64(True):
        held = jnp.asarray(weight), jnp.asarray(index)
        read = jax.jit(lambda w, i: (jnp.sum(w), jnp.sum(i)))
        ways = (
            lambda: jax.block_until_ready(read(*held)),
            lambda: (weight.sum(), index.sum(dtype=np.int32)),
            lambda: (weight.max(), index.max()),
            lambda: (weight @ weight, index.max()),
        )
        stream = min(timed(way, 7) for way in ways)
    out = {"sweep_s": timed(sweep, 7), "stream_s": stream}
    for name, alpha in (("solve_s", 0.0), ("solve_soft_s", ALPHA)):
        tabular.soft_policy_iteration(mdp, alpha, 100.0)  # compiles
        begin = time.perf_counter()
        found = tabular.soft_policy_iteration(mdp, alpha, TOL)
        out[name] = time.perf_counter() - begin
        out[f"{name[:-2]}_iterations"] = found.iterations
        assert found.error <= TOL
    return out


def sweeper(mdp: Any, alpha: float) -> Callable[[], Any]:
    """One soft sweep of a table, waited for."""
    import jax
    import jax.numpy as jnp

    from softq.tabular import sweep

    with jax.enable_x64(True):
        held, v = sweep.on_device(mdp), jnp.zeros(len(mdp.reward))
        a = jnp.float64(alpha)
        once = jax.jit(lambda t, v, a: sweep.soft_max(t, sweep.backup(t, v), a))

    def call() -> Any:
        with jax.enable_x64(True):
            return jax.block_until_ready(once(held, v, a))

    return call


def slopes(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a sweep from 10^4 to 10^6 states, and the slope of their logs.

    As value iteration makes them, 64 in one call: a call alone costs as much as a sweep
    of the smallest table.
    """
    import jax
    import jax.numpy as jnp

    from softq import tabular
    from softq.tabular.sweep import CHUNK, on_device, sweeps

    sizes, seconds = [], []
    for side in (100, 178, 316, 562, 1000):
        if side > args.side:
            break
        mdp = tabular.from_map(open_map(side), DISCOUNT, slip=0.2, stay=True)
        sizes.append(len(mdp.reward))
        with jax.enable_x64(True):
            held, v, a = on_device(mdp), jnp.zeros(len(mdp.reward)), jnp.float64(ALPHA)
            call = functools.partial(sweeps, held, v, a, jnp.float64(0.0))
            taken = timed(lambda call=call: jax.block_until_ready(call()), 7)
        seconds.append(taken / CHUNK)
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0] if len(sizes) > 1 else 1.0
    return {"states": sizes, "sweep_s": seconds, "slope": float(slope)}


def iteration(args: argparse.Namespace) -> dict[str, Any]:
    """Policy against value iteration, S = 10^4, discount 0.999, true error 1e-8."""
    from softq import tabular

    side = min(args.side, 110)
    mdp = tabular.from_map(open_map(side), 0.999, slip=0.2, stay=True)
    out: dict[str, Any] = {"states": len(mdp.reward)}
    solvers = {
        "policy_iteration": tabular.soft_policy_iteration,
        "value_iteration": tabular.soft_value_iteration,
    }
    for name, solver in solvers.items():
        solver(mdp, ALPHA, 1e-2)  # compiles
        begin = time.perf_counter()
        out[f"{name}s"] = solver(mdp, ALPHA, 1e-8).iterations
        out[f"{name}_s"] = time.perf_counter() - begin
    return out


CHILDREN = {"softq": softq_side, "slopes": slopes, "iteration": iteration}

if __name__ == "__main__":
    main()
