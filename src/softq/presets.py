"""Named settings of an algorithm for a family of data, each with its source.

`softq train cql --preset antmaze …`; what is typed beside it wins. A Lagrange target of
other code is converted (docs/cql.md): `gap_target` = gap_weight · (τ − log 3N).
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from softq.types import SoftqError


@dataclass(frozen=True)
class Preset:
    """Changes to the defaults of algorithm, loop and data; `source` says whose."""

    source: str
    algo: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def unnormalised(weight: float, tau: float, samples: int = 10) -> float:
    """The target of code whose log Σ exp lacks −log 3N, as `gap_target`."""
    return weight * (tau - math.log(3 * samples))


PRESETS: dict[str, dict[str, Preset]] = {
    "cql": {
        "mujoco": Preset(
            "min_q_weight 10, policy_lr 1e-4, no Lagrange: the authors' code, rerun in "
            "d3rlpy-benchmarks (1771c9b, baselines/cql)",
            {"gap_weight": 10.0, "actor_lr": 1e-4},
        ),
        "antmaze": Preset(
            "young-geng/CQL, issue 2: weight 5, τ 0.2, max backup, reward · 10 − 5; "
            "not its BC epochs, nor its policy of two layers",
            {"gap_weight": 5.0, "gap_target": unnormalised(5.0, 0.2), "max_backup": 10},
            data={"reward_scale": 10.0, "reward_shift": -5.0},
        ),
        "antmaze-corl": Preset(
            "CORL (eeeeef2), configs/offline: weight 5, τ 0.8, five hidden Q layers; "
            "here the policy has as many",
            {
                "gap_weight": 5.0, "gap_target": unnormalised(5.0, 0.8),
                "max_backup": 10, "hidden": (256,) * 5,
            },
            data={"reward_scale": 10.0, "reward_shift": -5.0},
        ),
    },
    "iql": {
        "mujoco": Preset(
            "Kostrikov et al. 2021, section 5: τ 0.7, β 3; not its rewards, which are "
            "scaled by 1000 over the range of the episodes' returns",
            {"expectile": 0.7, "sharpness": 3.0},
        ),
        "antmaze": Preset(
            "Kostrikov et al. 2021, section 5: τ 0.9, β 10, reward − 1",
            {"expectile": 0.9, "sharpness": 10.0},
            data={"reward_shift": -1.0},
        ),
    },
    "td3_bc": {
        "mujoco": Preset("Fujimoto & Gu 2021, table 3: α 2.5", {"q_weight": 2.5}),
    },
}  # fmt: skip
PRESETS["calql"] = PRESETS["cql"]


def find(algorithm: str, name: str | None) -> Preset:
    """A preset of the algorithm; no changes for None.

    Raises SoftqError for a name that there is not, with those that there are.
    """
    if name is None:
        return Preset("softq's own defaults")
    known = PRESETS.get(algorithm, {})
    if name in known:
        return known[name]
    if not known:
        raise SoftqError(f"{algorithm} has no presets: leave --preset out")
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}"
    raise SoftqError(f"{algorithm} has no preset {name}. {hint}")
