"""Reference scores: what a return is worth between a random and an expert policy.

score = 100 · (return − random) / (expert − random), D4RL's constants of
Farama-Foundation/D4RL @ 89141a6, `d4rl/infos.py`; they are the same in all versions
(v0, v1, v2) of an environment's datasets.

Gymnasium's MuJoCo environments (`Hopper-v5`) are other environments than D4RL's of
2020: their returns are put on D4RL's scale as a declared convention. Minari's datasets
have policies and scales of their own, so none of them gets a score here.
"""

import re
from typing import Literal, NamedTuple

SOURCE = "Farama-Foundation/D4RL @ 89141a6, d4rl/infos.py"

# Return of a random and of an expert policy, by the beginning of the dataset's name.
D4RL = {
    "ant": (-325.6, 3879.7),
    "antmaze": (0.0, 1.0),
    "bullet-ant": (373.705955, 2650.495),
    "bullet-halfcheetah": (-1275.766996, 2381.6725),
    "bullet-hopper": (20.058972, 1441.8059623430963),
    "bullet-maze2d-large": (1.82, 285.92),
    "bullet-maze2d-medium": (14.87, 238.05),
    "bullet-maze2d-open": (8.75, 64.15),
    "bullet-maze2d-umaze": (32.46, 153.99),
    "bullet-walker2d": (16.523877, 1623.6476303317536),
    "carla-lane": (-0.8503839912088142, 1023.5784385429523),
    "carla-town": (-114.81579500772153, 2440.1772022247314),
    "door": (-56.512833, 2880.5693087298737),
    "flow-merge": (118.67993, 330.03179),
    "flow-ring": (-165.22, 24.42),
    "halfcheetah": (-280.178953, 12135.0),
    "hammer": (-274.856578, 12794.134825156867),
    "hopper": (-20.272305, 3234.3),
    "kitchen": (0.0, 4.0),
    "maze2d-large": (6.7, 273.99),
    "maze2d-large-dense": (30.569041, 303.4857382709002),
    "maze2d-medium": (13.13, 277.39),
    "maze2d-medium-dense": (44.264742, 297.4552547777125),
    "maze2d-open": (0.01, 20.66),
    "maze2d-open-dense": (11.17817, 27.166538620695782),
    "maze2d-umaze": (23.85, 161.86),
    "maze2d-umaze-dense": (68.537689, 193.66285642381482),
    "minigrid-fourrooms": (0.01442, 2.89685),
    "pen": (96.262799, 3076.8331017826877),
    "relocate": (-6.425911, 4233.877797728884),
    "walker2d": (1.629008, 4592.3),
}
GYMNASIUM = re.compile(r"(HalfCheetah|Hopper|Walker2d|Ant)-v[2-5]")
DATASET = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)-v[0-2]")


class Score(NamedTuple):
    """A normalised score: its scale, whose constants, and 0 and 100 in returns.

    `convention` says that the constants are of a related environment, not this one.
    """

    value: float
    scale: Literal["D4RL"]
    base: str
    random: float
    expert: float
    convention: bool


def base(name: str) -> str | None:
    """Whose constants a D4RL dataset's name or a Gymnasium id uses; None: nobody's."""
    if found := GYMNASIUM.fullmatch(name):
        return found[1].lower()
    dataset = DATASET.fullmatch(name)
    if not dataset:
        return None
    words = dataset[1].split("-")
    begun = ("-".join(words[:n]) for n in range(len(words), 0, -1))
    return next((start for start in begun if start in D4RL), None)


def score(name: str, ret: float) -> Score | None:
    """The undiscounted return `ret` on D4RL's scale; None where there are no constants.

    `name` is a D4RL dataset (`hopper-medium-v2`) or a Gymnasium id (`Hopper-v5`).
    """
    found = base(name)
    if found is None:
        return None
    low, high = D4RL[found]
    value = 100 * (ret - low) / (high - low)
    convention = GYMNASIUM.fullmatch(name) is not None
    return Score(value, "D4RL", found, low, high, convention)


def normalised(name: str, ret: float) -> float | None:
    """100 · (ret − random)/(expert − random) on D4RL's scale; see `score`."""
    found = score(name, ret)
    return None if found is None else found.value
