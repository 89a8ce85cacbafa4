"""Published results to hold runs against, each with where it was read.

Only figures of evaluations with the greedy policy, at the end or at a step, never the
best over training. A figure belongs to an environment's id with its version, or to a
dataset's name with its version: MuJoCo's v2, v3, v4 and v5 are not interchangeable.
"""

import re
from typing import Literal, NamedTuple


class Source(NamedTuple):
    """Where figures were read, of how many seeds, and what to know about them."""

    name: str
    seeds: int
    note: str
    steps: tuple[int, ...] = ()


class Published(NamedTuple):
    """A mean and what follows ± of it; `task` is an environment or a dataset.

    `steps` is 0 where the figure is the end of a training on data; `score` says that
    it is on D4RL's scale, no return. `exact` says that the task is the one asked for.
    """

    source: Source
    task: str
    steps: int
    mean: float
    std: float
    unit: Literal["return", "score"]
    exact: bool


K = 1_000
SIMBA = Source(
    "DAVIAN-Robotics/SimbaV2 @ 86899c2, results/baseline", 10,
    "± over seeds; who ran it, and how it was evaluated, is not told there",
    (100 * K, 300 * K, 500 * K, 1_000 * K, 3_000 * K, 5_000 * K),
)  # fmt: skip
JAXRL = Source(
    "ikostrikov/jaxrl @ 7745b27, learning_curves/logs", 10,
    "± over seeds, 10 episodes each", (100 * K, 300 * K, 500 * K, 1_000 * K),
)  # fmt: skip
SPINNING_UP = Source(
    "openai/spinningup @ 038665d, docs/images/plots/pyt", 10,
    "± over seeds, decoded from the vector plots, which are smoothed over 11 epochs",
    (500 * K, 1_000 * K, 2_000 * K, 3_000 * K),
)  # fmt: skip
_ZOO = Source(
    "DLR-RM/rl-baselines3-zoo @ 22e3ff2, benchmark.md", 1,
    "one trained agent: ± over episodes, not seeds",
)  # fmt: skip
ZOO_20K, ZOO_50K, ZOO_500K = (
    _ZOO._replace(steps=(steps * K,)) for steps in (20, 50, 500)
)
CORL = Source(
    "corl-team/CORL @ eeeeef2, README", 4, "± over seeds, the last score, not the best"
)

# Returns of soft actor-critic, mean±sd at the steps of its source.
SAC = {
    (SIMBA, "Ant-v4"): "747±528 3532±1645 4970±1587 5734±674 4602±2962 6071±945",
    (
        SIMBA,
        "HalfCheetah-v4",
    ): "6156±738 8593±1016 9838±972 11321±1108 14298±1802 15129±1698",
    (SIMBA, "Hopper-v4"): "1103±388 2160±1034 2887±882 2787±868 2460±997 2556±996",
    (SIMBA, "Humanoid-v4"): "632±179 3015±1736 3275±2429 4826±1679 5179±1811 5106±2482",
    (SIMBA, "Walker2d-v4"): "690±254 2470±1656 3603±1232 4536±495 5234±487 5465±412",
    (SPINNING_UP, "Ant-v3"): "2833±1107 3949±1050 4683±1188 4973±1111",
    (SPINNING_UP, "HalfCheetah-v3"): "10351±792 11500±792 12379±568 13548±1364",
    (SPINNING_UP, "Hopper-v3"): "3231±170 3535±106 3367±290 3449±238",
    (SPINNING_UP, "Swimmer-v3"): "40.8±1.1 41.8±1.0 43.0±0.6 43.3±0.7",
    (SPINNING_UP, "Walker2d-v3"): "3664±524 4111±508 4584±494 5050±635",
    (JAXRL, "Ant-v2"): "539±150 1786±413 3028±1063 4292±1193",
    (JAXRL, "HalfCheetah-v2"): "5794±460 8651±272 10128±296 11450±435",
    (JAXRL, "Hopper-v2"): "2014±1010 2850±688 3183±487 3022±821",
    (JAXRL, "Humanoid-v2"): "734±144 2739±986 3727±1195 4521±1353",
    (JAXRL, "Walker2d-v2"): "521±194 3185±647 4166±445 4756±386",
    (ZOO_500K, "BipedalWalker-v3"): "298±33.1",
    (ZOO_500K, "LunarLanderContinuous-v2"): "260±65.5",
    (ZOO_50K, "MountainCarContinuous-v0"): "94.7±1.1",
    (ZOO_20K, "Pendulum-v1"): "-157±88.7",
}
# Scores on D4RL's scale of learning from data: BC, TD3+BC, CQL, IQL.
OFFLINE = ("bc", "td3_bc", "cql", "iql")
D4RL = {
    "halfcheetah-medium-v2": "42.4±0.19 48.1±0.18 47.04±0.22 48.31±0.22",
    "halfcheetah-medium-replay-v2": "35.66±2.33 44.84±0.59 45.04±0.27 44.46±0.22",
    "halfcheetah-medium-expert-v2": "55.95±7.35 90.78±6.04 95.63±0.42 94.74±0.52",
    "hopper-medium-v2": "53.51±1.76 60.37±3.49 59.08±3.77 67.53±3.78",
    "hopper-medium-replay-v2": "29.81±2.07 64.42±21.52 95.11±5.27 97.43±6.39",
    "hopper-medium-expert-v2": "52.3±4.01 101.17±9.07 99.26±10.91 107.42±7.8",
    "walker2d-medium-v2": "63.23±16.24 82.71±4.78 80.75±3.28 80.91±3.17",
    "walker2d-medium-replay-v2": "21.8±10.15 85.62±4.01 73.09±13.22 82.15±3.03",
    "walker2d-medium-expert-v2": "98.96±15.98 110.03±0.36 109.56±0.39 111.72±0.86",
    "antmaze-umaze-v2": "55.25±4.15 70.75±39.18 92.75±1.92 77.0±5.52",
    "antmaze-umaze-diverse-v2": "47.25±4.09 44.75±11.61 37.25±3.7 54.25±5.54",
    "antmaze-medium-play-v2": "0.0±0.0 0.25±0.43 65.75±11.61 65.75±11.71",
    "antmaze-medium-diverse-v2": "0.75±0.83 0.25±0.43 67.25±3.56 73.75±5.45",
    "antmaze-large-play-v2": "0.0±0.0 0.0±0.0 20.75±7.26 42.0±4.53",
    "antmaze-large-diverse-v2": "0.0±0.0 0.0±0.0 20.5±13.24 30.25±3.63",
}
VERSION = re.compile(r"(.+)-v(\d+)")


def published(algorithm: str, env: str, dataset: str = "") -> list[Published]:
    """What is known of an algorithm in an environment, or on data of that name.

    Of another version of the environment or dataset too, marked as not `exact`.
    """
    if dataset:
        if algorithm not in OFFLINE:
            return []
        column = OFFLINE.index(algorithm)
        rows = ((name, figures.split()[column]) for name, figures in D4RL.items())
        return [Published(CORL, name, 0, *_pair(figure), "score", name == dataset)
                for name, figure in rows if _alike(name, dataset)]  # fmt: skip
    if algorithm != "sac":
        return []
    return [Published(source, name, steps, *_pair(figure), "return", name == env)
            for (source, name), figures in SAC.items() if _alike(name, env)
            for steps, figure in zip(source.steps, figures.split(), strict=True)
           ]  # fmt: skip


def _pair(figure: str) -> tuple[float, float]:
    mean, _, std = figure.partition("±")
    return float(mean), float(std)


def _alike(one: str, other: str) -> bool:
    """The same but for the version."""
    named = [VERSION.fullmatch(name) for name in (one, other)]
    return all(named) and named[0][1] == named[1][1]  # type: ignore[index]
