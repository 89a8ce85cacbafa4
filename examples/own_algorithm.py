"""An algorithm from outside the package: SAC whose temperature follows a schedule.

A module is an algorithm, here this file: what it does not define it imports.
python examples/own_algorithm.py [steps]
"""

import dataclasses
import sys

import jax.numpy as jnp

import softq
from softq.algos import ALGOS, sac
from softq.algos.sac import ACTIONS, NEEDS, State, act, entropy, init, value  # noqa: F401
from softq.types import config


@config
class Config(sac.Config):
    first_alpha: float = 1.0
    half_life: float = 1_000.0


def temperature(state, cfg):
    """From `first_alpha` down, by half every `half_life` updates."""
    updates = state.updates.astype(jnp.float32)
    return cfg.first_alpha * 0.5 ** (updates / cfg.half_life)


def update(key, state, batch, cfg):
    """SAC's, at this moment's temperature."""
    now = dataclasses.replace(cfg, alpha=temperature(state, cfg))
    return sac.update(key, state, batch, now)


ALGOS["cooled_sac"] = sys.modules[__name__]
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12_000
run = softq.train("cooled_sac", env="softq/Pendulum-v0", steps=steps, batch_size=64,
                  learning_starts=100, algo={"hidden": (64, 64)})  # fmt: skip
print(run.evaluations[-1]["greedy"])
