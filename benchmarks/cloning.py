"""Behaviour cloning of the two real files of experts, on the scale random to expert.

    SOFTQ_DATA=DIR python benchmarks/cloning.py

`bc_discrete` on CartPole and `bc` on Pendulum: 10,000 updates of 256 transitions, two
layers of 128, three seeds in one program, 50 greedy episodes a seed at the end. Expert
(100) is the mean return of the file, random (0) that of 40,000 steps
of uniform actions here. Writes `results/cloning.json`.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "cloning.json"
SETS = {
    "CartPole-v1": ("bc_discrete", "cartpole-expert-imitation.hdf5"),
    "Pendulum-v1": ("bc", "pendulum-expert-imitation.hdf5"),
}
SEEDS, UPDATES, EPISODES, CHANCE = 3, 10_000, 50, 40_000


def main() -> None:
    from softq import machine

    folder = Path(os.environ["SOFTQ_DATA"])
    found = {env: row(env, algo, folder / name) for env, (algo, name) in SETS.items()}
    content = {
        "command": "SOFTQ_DATA=DIR python benchmarks/cloning.py", "updates": UPDATES,
        "episodes_a_seed": EPISODES, "versions": machine.versions(),
        "machine": machine.about(), "rows": found,
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(RESULT)


def row(env: str, algorithm: str, data: Path) -> dict:
    """The greedy returns of every seed, and their scores."""
    import softq
    from softq.data import doctor
    from softq.statistics import interval, iqm

    run = softq.train(
        algorithm, data=data, eval_env=env, steps=UPDATES, seeds=SEEDS,
        eval_every=UPDATES, eval_episodes=EPISODES, algo={"hidden": (128, 128)},
    )  # fmt: skip
    low, high = chance(env), doctor.info(data)["returns"]["mean"]
    returns = [record["greedy"]["return"] for record in run.evaluations]
    scores = 100 * (np.array(returns) - low) / (high - low)
    told = {
        "algorithm": algorithm, "random": low, "expert": high, "returns": returns,
        "score": iqm(scores), "interval": interval(scores),
    }  # fmt: skip
    print(env, told)
    return told


def chance(env: str) -> float:
    """The mean return of uniform actions."""
    from softq.collect import collect

    with tempfile.TemporaryDirectory() as folder:
        told = collect(["random"], CHANCE, Path(folder) / "random.hdf5", env)
    return told["mean_return"]


if __name__ == "__main__":
    main()
