"""Discrete CQL, the same without its gap, and cloning, on what soft DQN did.

    python benchmarks/offline_discrete.py

Needs `pip install "gymnasium[box2d]"`. Soft DQN learns LunarLander-v3 for 100,000
steps; everything it did is the data. Then discrete CQL with two weights of its gap, the
same learner without it (`gap_weight` 0) and `bc_discrete`: 30,000 updates of 128
transitions, two layers of 128, three seeds in one program, 20 greedy episodes an
evaluation. Runs that are there are gone on with. Writes
`results/offline-discrete.json`.
"""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "offline-discrete"
RESULT = HERE / "results" / "offline-discrete.json"
ENV, STEPS, UPDATES, SEEDS = "LunarLander-v3", 100_000, 30_000, 3
HIDDEN = {"hidden": (128, 128), "lr": 5e-4}
ROWS = {
    "cql": ("cql_discrete", {"gap_weight": 1.0}),
    "cql-weight0.1": ("cql_discrete", {"gap_weight": 0.1}),
    "naive": ("cql_discrete", {"gap_weight": 0.0}),
    "bc": ("bc_discrete", {}),
}


def main() -> None:
    from softq import machine, records
    from softq.data import doctor
    from softq.statistics import interval, iqm

    data = made()
    about = doctor.info(data)
    content = {
        "command": "python benchmarks/offline_discrete.py", "updates": UPDATES,
        "versions": machine.versions(), "machine": machine.about(),
        "data": {name: about[name] for name in ("steps", "returns", "sha256")},
        "rows": {},
    }  # fmt: skip
    for row, (algorithm, knobs) in ROWS.items():
        out = RUNS / f"lunarlander-v3-replay-{row}"
        run(
            out, algorithm, data=data, eval_env=ENV, steps=UPDATES, batch_size=128,
            seeds=SEEDS, eval_every=10_000, eval_episodes=20, algo=HIDDEN | knobs,
        )  # fmt: skip
        shown = records.evaluations(out)
        steps, returns = records.by_seed(shown)
        curve = zip(steps, returns.mean(1).tolist(), strict=True)
        promised = records.metrics(out)[-SEEDS:]
        content["rows"][row] = {
            "last": returns[-1].tolist(), "iqm": iqm(returns[-1]),
            "interval": interval(returns[-1]), "curve": list(curve),
            "sampled": records.by_seed(shown, "sampled")[1][-1].tolist(),
            "q_policy": [record.get("q_policy") for record in promised],
        }  # fmt: skip
        print(row, content["rows"][row], flush=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(RESULT)


def made() -> Path:
    """The data: every step that soft DQN took while it learned."""
    from softq import collect

    path, source = RUNS / "lunarlander-v3-replay.hdf5", RUNS / "soft-dqn"
    if not path.exists():
        run(
            source, "soft_dqn", env=ENV, steps=STEPS, batch_size=128,
            eval_every=20_000, eval_episodes=20, checkpoint_every=10_000,
            algo=HIDDEN | {"alpha": 0.3, "double": True},
        )  # fmt: skip
        collect.collect([str(source)], STEPS, path, ENV, replay=True)
    return path


def run(out: Path, algorithm: str, **options) -> None:
    """Starts a run, or goes on with it; a finished one is left alone."""
    import softq

    if not out.exists():
        softq.train(algorithm, out=out, **options)
    elif not (out / "ended.json").exists():
        softq.resume(out)


if __name__ == "__main__":
    main()
