"""softq's side of `online.py` and `sql.py`: one measurement a process.

    python benchmarks/children.py loop --begin 1500 --until 3500 --out DIR [--overlap]
    python benchmarks/children.py update | sql | capacity | seeds

Each prints one JSON line last. Nothing heavy is imported before it is needed, so that
the time to the first update is that of the command a person types.
"""

import argparse
import functools
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRODUCT = 2048  # side of the float32 product that measures the machine's ceiling
UPDATE_GFLOP = 0.59  # arithmetic of one SAC update: batch 256, 2 × 256, 17 + 6 dims
# Of one of soft Q-learning: batch 128, 2 × 128, 17 + 6 dims, 64 proposals, 16 + 16
# particles. A pass forward is 2 (23·128 + 128² + 128 outputs) operations. A state takes
# 64 of the target, one of the critic with both its gradients, 16 of the critic with
# the gradient of its action, and 32 of the sampler, half of them with its gradient.
SQL_GFLOP = 0.80
ENV = "HalfCheetah-v5"


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    child = commands.add_parser("loop", help="the whole loop of softq train")
    child.add_argument("--begin", type=int, required=True)
    child.add_argument("--until", type=int, required=True)
    child.add_argument("--learning-starts", type=int, default=500)
    child.add_argument("--log-every", type=int, default=1_000)
    child.add_argument("--seed", type=int, default=0)
    child.add_argument("--out", type=Path, required=True)
    child.add_argument("--overlap", action="store_true")
    for name in ("update", "sql"):
        child = commands.add_parser(name, help="one update, against its arithmetic")
        child.add_argument("--repeats", type=int, default=10)
        child.add_argument("--updates", type=int, default=50)
    child = commands.add_parser("capacity", help="a step with a small and a large ring")
    child.add_argument("--pairs", type=int, default=15)
    child.add_argument("--steps", type=int, default=100)
    child.add_argument("--capacities", type=int, nargs=2, default=(10_000, 1_000_000))
    child = commands.add_parser("seeds", help="several seeds in one program, or one")
    child.add_argument("--pairs", type=int, default=5)
    child.add_argument("--steps", type=int, default=250)
    child.add_argument("--count", type=int, default=8)
    child.add_argument("--hidden", type=int, nargs="+", default=(64, 64))
    args = parser.parse_args()
    measure = {"loop": loop, "update": sac_update, "sql": sql_update,
               "capacity": capacity, "seeds": seeds}  # fmt: skip
    print(json.dumps(measure[args.command](args)), flush=True)


class Watch:
    """Takes the time of every step of a window; ends the run after it."""

    def __init__(self, begin: int, until: int):
        self.begin, self.until = begin, until
        self.times: list[float] = []
        self.peak_mb = 0.0

    def __call__(self, progress: Any) -> bool:
        if progress.step in (self.begin, self.until):
            wait(progress.info)  # the window holds its own updates, whole
        if progress.step >= self.begin:
            self.times.append(time.perf_counter())
        if progress.step < self.until:
            return False
        self.peak_mb = peak_mb()
        return True


def loop(args: argparse.Namespace) -> dict[str, Any]:
    """`softq train sac` itself, watched by a callback; the ceiling afterwards."""
    from softq import api, cli

    watch = Watch(args.begin, args.until)
    # The command line has no callback; the function that it calls has.
    vars(api)["start"] = functools.partial(api.start, on_progress=watch)
    command = [
        "train", "sac", "--env", ENV, "--out", str(args.out), "--seed", str(args.seed),
        "--steps", "1000000", "--capacity", "1000000", "--batch-size", "256",
        "--utd", "1", "--learning-starts", str(args.learning_starts),
        "--log-every", str(args.log_every), "--eval-every", "0",
        "--checkpoint-every", "0", "--algo.hidden", "256", "256",
    ]  # fmt: skip
    if cli.main(command + ["--overlap"] * args.overlap) != 0:
        raise SystemExit("softq train failed")
    gaps = [1e3 * (b - a) for a, b in zip(watch.times, watch.times[1:], strict=False)]
    record = {"steps": len(gaps), "peak_mb": watch.peak_mb, **first_update(args.out)}
    if not gaps:  # a start-up measurement ends with the first update
        return record
    rates = {"mean_ms": statistics.fmean(gaps), "median_ms": statistics.median(gaps)}
    products = [product_s() for _ in range(10)]
    return record | rates | floor(products) | about()


def first_update(run: Path) -> dict[str, Any]:
    """Seconds from process start to the end of the first update, from the metrics."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line)["first_update_s"] for line in lines]
    return {"first_update_s": next((s for s in found if s is not None), None)}


def sac_update(args: argparse.Namespace) -> dict[str, Any]:
    """SAC's update at its usual sizes."""
    from softq.algos import sac

    return update(args, sac, sac.Config(), 256, UPDATE_GFLOP)


def sql_update(args: argparse.Namespace) -> dict[str, Any]:
    """Soft Q-learning's update at its usual sizes."""
    from softq.algos import sql

    return update(args, sql, sql.Config(), 128, SQL_GFLOP)


def update(
    args: argparse.Namespace, algo: Any, config: Any, batch_size: int, gflop: float
) -> dict[str, Any]:
    """One compiled call an update, waited for; in turns with the large product."""
    import jax

    from softq.ops import threefry
    from softq.types import Spec, cast_knobs

    spec = Spec((17,), low=(-1.0,) * 6, high=(1.0,) * 6)
    cfg, key = cast_knobs(config), threefry.key(0)
    state, batch = algo.init(key, spec, cfg), rows(spec, batch_size)
    step = jax.jit(algo.update)
    for _ in range(10):
        state, info = step(key, state, batch, cfg)
    wait(info)
    products, timed, medians = [], [], []
    for _ in range(args.repeats):
        products.append(product_s())
        taken = []
        for _ in range(args.updates):
            begin = time.perf_counter()
            state, info = step(key, state, batch, cfg)
            wait((state, info))
            taken.append(1e3 * (time.perf_counter() - begin))
        timed.append(statistics.fmean(taken))
        medians.append(statistics.median(taken))
    figures = {
        "mean_ms": statistics.fmean(timed),
        "median_ms": statistics.median(medians),
    }
    raw = {"repeat_mean_ms": timed, "repeat_median_ms": medians}
    return figures | raw | floor(products, gflop) | about()


def capacity(args: argparse.Namespace) -> dict[str, Any]:
    """Two loops in turns, whose rings differ in their number of rows alone.

    Both rings are filled to the last row before, so that both hold their whole memory
    and batches come from all of it.
    """
    loops = [advancer(size) for size in args.capacities]
    for advance in loops:
        advance(400)  # over the first update, and compiled
    pairs = [[advance(args.steps) for advance in loops] for _ in range(args.pairs)]
    ratios = [large / small for small, large in pairs]
    return {
        "capacities": list(args.capacities),
        "block_steps": args.steps,
        "block_ms_a_step": pairs,
        "median_ms": [statistics.median(side) for side in zip(*pairs, strict=True)],
        "ratios": ratios,
        "ratio": statistics.median(ratios),
    }


def advancer(size: int) -> Callable[[int], float]:
    """A loop with a ring of `size` full rows: n steps on, and the ms each took."""
    from softq.algos import sac
    from softq.data.ring import Ring
    from softq.envs import Host, make
    from softq.train import online
    from softq.train.seeds import Seeds

    options = online.Options(steps=10**9, capacity=size, learning_starts=0)
    host, one, cfg = Host([make(ENV)], 0), Seeds(0), sac.Config()
    train = online.start(sac, cfg, options, host.spec, one, host.obs)
    if train.rows.rows.reward.shape[0] != size:
        raise SystemExit(f"the ring has not {size} rows")
    full = Ring(rows(host.spec, size), train.rows.size + size, train.rows.head)
    stream = online.run(sac, cfg, options, [host], one, train._replace(rows=full))

    def advance(n: int) -> float:
        begin = time.perf_counter()
        for _ in range(n):
            progress = next(stream)
        wait((progress.info, progress.train.action))
        return 1e3 * (time.perf_counter() - begin) / n

    return advance


def rows(spec: Any, n: int) -> Any:
    """n random transitions on the device; of what sort does not change the cost."""
    import jax

    from softq.types import Batch

    keys = jax.random.split(jax.random.key(1), 5)
    obs, next_obs = (jax.random.normal(k, (n, *spec.obs_shape)) for k in keys[:2])
    action = jax.random.uniform(keys[2], (n, spec.action_dim), minval=-1.0)
    reward = jax.random.normal(keys[3], (n,))
    return Batch(
        obs, action, reward, next_obs, jax.random.bernoulli(keys[4], 0.01, (n,))
    )


def seeds(args: argparse.Namespace) -> dict[str, Any]:
    """On-device Pendulum: several seeds in one program and one alone, in turns."""
    sides = [
        chunker(count, args.steps, tuple(args.hidden)) for count in (1, args.count)
    ]
    first = [side() for side in sides]  # compiles; the second is already learning
    pairs = [[side() for side in sides] for _ in range(args.pairs)]
    rates = [[args.steps / one, args.count * args.steps / all_] for one, all_ in pairs]
    ratios = [all_ / one for one, all_ in rates]
    return {
        "env": "softq/Pendulum-v0",
        "count": args.count,
        "hidden": list(args.hidden),
        "batch_size": 256,
        "compile_and_first_chunk_s": first,
        "chunk_steps": args.steps,
        "updates_per_s": rates,
        "median_updates_per_s": [
            statistics.median(x) for x in zip(*rates, strict=True)
        ],
        "ratios": ratios,
        "ratio": statistics.median(ratios),
    }


def chunker(count: int, length: int, hidden: tuple[int, ...]) -> Callable[[], float]:
    """A run of `count` seeds that learns at every step: seconds of its next chunk."""
    from softq.algos import sac
    from softq.envs import device_env
    from softq.train import ondevice
    from softq.train.seeds import Seeds

    env, many, cfg = (
        device_env("softq/Pendulum-v0"),
        Seeds(0, count),
        sac.Config(hidden=hidden),
    )
    options = ondevice.Options(
        steps=10**9, capacity=100_000, learning_starts=0, batch_size=256
    )
    train = ondevice.start(sac, cfg, options, env, many)
    # As if the steps before the first update were over, and the ring had their rows.
    train = train._replace(iteration=train.iteration + options.first_update)
    train = train._replace(rows=train.rows._replace(size=train.rows.size + 256))
    stream = ondevice.run(sac, cfg, options, env, many, train, length)

    def advance() -> float:
        begin = time.perf_counter()
        wait(next(stream).info)
        return time.perf_counter() - begin

    return advance


@functools.cache
def factors() -> tuple[Any, Callable[..., Any]]:
    """A square matrix and the compiled product, warmed up."""
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(2), (PRODUCT, PRODUCT), jnp.float32)
    product = jax.jit(jnp.matmul)
    wait(product(matrix, matrix))
    return matrix, product


def product_s() -> float:
    """Seconds of one large float32 product."""
    matrix, product = factors()
    begin = time.perf_counter()
    wait(product(matrix, matrix))
    return time.perf_counter() - begin


def floor(products: list[float], gflop: float = UPDATE_GFLOP) -> dict[str, Any]:
    """What an update's arithmetic would take at the best product's speed."""
    gflops = 2e-9 * PRODUCT**3 / min(products)
    return {
        "product_s": products,
        "gflop_per_s": gflops,
        "floor_ms": 1e3 * gflop / gflops,
    }


def about() -> dict[str, Any]:
    """Versions, the machine and the device."""
    import jax

    from softq import machine

    device = jax.devices()[0]
    return {
        "versions": machine.versions(),
        "machine": machine.about()
        | {"device": device.device_kind, "kind": device.platform},
    }


def wait(tree: Any) -> None:
    """Until every array of a pytree has been computed."""
    import jax

    jax.block_until_ready(tree)


def peak_mb() -> float:
    """The largest resident memory so far (MB)."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
