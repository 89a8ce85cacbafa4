"""Behaviour cloning of the two real files of experts, on the scale random to expert.

    SOFTQ_DATA=DIR python benchmarks/cloning.py

`bc_discrete` on CartPole and `bc` on Pendulum: 10,000 updates of 256 transitions, two
layers of 128, three seeds in one program, 50 greedy episodes a seed at the end. Expert
(100) is the mean return of the file, random (0) that of 200 episodes of uniform
actions here. Writes `results/cloning.json`.
"""

import json
import os
from pathlib import Path

import gymnasium
import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "cloning.json"
SETS = {
    "CartPole-v1": ("bc_discrete", "cartpole-expert-imitation.hdf5"),
    "Pendulum-v1": ("bc", "pendulum-expert-imitation.hdf5"),
}
SEEDS, UPDATES, EPISODES = 3, 10_000, 50


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


def chance(env: str, episodes: int = 200) -> float:
    """The mean return of uniform actions."""
    made, returns = gymnasium.make(env), []
    made.action_space.seed(0)
    for episode in range(episodes):
        made.reset(seed=episode)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = made.step(made.action_space.sample())
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


if __name__ == "__main__":
    main()
