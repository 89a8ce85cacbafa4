"""`softq reproduce finetune`: what a soft policy is worth as a start.

The slides' figure 4, in small (Haarnoja et al. 2017, section 5.3): a boat is trained
to be fast, whichever way, in open water, and then put into three canals. Soft
Q-learning and DDPG, each from that training and from scratch; ten seeds of an arm in
one program.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softq.algos import ALGOS
from softq.envs.jax_env import JaxEnv
from softq.envs.rower import Rower, State
from softq.figures import draw
from softq.figures.episodes import play
from softq.train import ondevice
from softq.train.seeds import Seeds
from softq.train.step import Given, Options
from softq.types import Key

SEEDS, PRETRAIN, STEPS, EVERY, EPISODES = 10, 15_000, 10_000, 250, 20
CANALS: tuple[Any, ...] = ("east", "north", "u")
TITLES = {"east": "a wide canal, east", "north": "a narrow canal, north",
          "u": "a U"}  # fmt: skip
SHARED = {"lr": 1e-3, "hidden": (64, 64), "polyak": 0.01, "discount": 0.97}
CONFIGS: dict[str, dict[str, Any]] = {
    "sql": {"alpha": 0.12, "particles": 16, "value_samples": 16, **SHARED},
    "ddpg": {"noise": 0.1, **SHARED},
}
BATCH, BEFORE = 64, 250  # steps before the first update
SHARE = 0.8  # of the way from random to the best arm's end: the threshold
NAMES = {"sql": "soft Q-learning", "ddpg": "DDPG"}
COLORS = {"sql": draw.ACCENT, "ddpg": draw.SECOND}


@dataclasses.dataclass(frozen=True)
class AtRest(Rower):
    """Open water without a first push: which way is the policy's own choice."""

    def reset(self, key: Key) -> State:
        return State(jnp.zeros(2), jnp.zeros(2), jnp.zeros(2))


class Arm(NamedTuple):
    """An algorithm's runs in one environment, one a seed."""

    algo: str
    pretrained: bool
    steps: np.ndarray  # (evaluations,), from 0 on
    returns: np.ndarray  # (evaluations, seeds), of sampled episodes
    agents: Any  # a leading axis for the seed

    @property
    def name(self) -> str:
        start = "pre-trained" if self.pretrained else "from scratch"
        return f"{NAMES[self.algo]}, {start}"

    def reached(self, threshold: float) -> np.ndarray:
        """(seeds,): steps to the first evaluation at the threshold; inf where never."""
        good = self.returns >= threshold
        return np.where(good.any(0), self.steps[good.argmax(0)], np.inf)


def train(
    name: str, env: JaxEnv, seeds: int, steps: int, agents: Any = None, every: int = 0
) -> Arm:
    """Trains every seed of an algorithm at once, from scratch or from `agents`."""
    algo: Any = ALGOS[name]
    cfg, group = algo.Config(**CONFIGS[name]), Seeds(0, seeds)
    fresh = agents is None
    options = Options(
        steps=steps, batch_size=BATCH, learning_starts=BEFORE, random_start=fresh
    )
    # What a loop is given it may overwrite.
    given = None if fresh else Given(jax.tree.map(jnp.copy, agents), None)
    state = ondevice.start(algo, cfg, options, env, group, given)
    at, found = [0], [_returns(algo, cfg, env, state.agent)]
    for progress in ondevice.run(algo, cfg, options, env, group, state, every or steps):
        state = progress.train
        at.append(progress.step)
        found.append(_returns(algo, cfg, env, state.agent))
    return Arm(name, not fresh, np.array(at), np.array(found), state.agent)


def _returns(algo: Any, cfg: Any, env: JaxEnv, agents: Any) -> np.ndarray:
    """(seeds,): the mean return of sampled episodes."""
    return play(algo, cfg, env, agents, EPISODES).returns.mean(-1)


def directions(arm: Arm, episodes: int = 200) -> np.ndarray:
    """(seeds, episodes, 2): where episodes from rest in open water end."""
    algo: Any = ALGOS[arm.algo]
    cfg = algo.Config(**CONFIGS[arm.algo])
    states = play(algo, cfg, AtRest(), arm.agents, episodes).states
    return np.asarray(states.position[:, :, -1])


def spread(ends: np.ndarray) -> dict[str, Any]:
    """Of each seed: how much its directions agree (1: all one), and its reach (m)."""
    angle = np.arctan2(ends[..., 1], ends[..., 0])
    agree = np.abs(np.exp(1j * angle).mean(-1))
    reach = np.linalg.norm(ends, axis=-1).mean(-1)
    return {"resultant_length": agree.astype(float).round(3).tolist(),
            "metres": reach.astype(float).round(2).tolist()}  # fmt: skip


def make(out: Path, seeds: int = SEEDS, scale: float = 1.0) -> dict[str, Any]:
    """Draws every arm's curve and the directions; returns steps to the thresholds."""
    plt = draw.plots()
    long, short = int(PRETRAIN * scale), int(STEPS * scale)
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    before = {name: train(name, Rower(), seeds, long) for name in CONFIGS}
    ends = {name: directions(arm) for name, arm in before.items()}
    rose(axes[1, 1], ends)
    table: dict[str, Any] = {}
    for panel, canal in zip(axes.flat, CANALS, strict=False):
        arms = [
            train(name, Rower(canal), seeds, short, agents, EVERY)
            for name in CONFIGS
            for agents in (before[name].agents, None)
        ]
        threshold = level(canal, arms)
        curves(panel, arms, threshold, TITLES[canal])
        table[canal] = {"threshold": round(threshold, 2)} | {
            arm.name: summary(arm, threshold) for arm in arms
        }
    draw.save(figure, out / "finetune.png")
    return {
        "seeds": seeds, "pretraining_steps": long, "steps": short,
        "configs": CONFIGS, "spread": {n: spread(e) for n, e in ends.items()},
        "canals": table,
    }  # fmt: skip


def level(canal: Any, arms: list[Arm]) -> float:
    """SHARE of the way from uniformly random actions to the best arm's last return."""
    env = Rower(canal)

    def episode(key: Key) -> Any:
        def step(state: State, key: Key) -> Any:
            action = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
            after, reward, _ = env.step(key, state, action)
            return after, reward

        keys = jax.random.split(key, env.horizon)
        return jnp.sum(jax.lax.scan(step, env.reset(key), keys)[1])

    random = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 200))
    best = max(float(arm.returns[-1].mean()) for arm in arms)
    least = float(random.mean())
    return least + SHARE * (best - least)


def summary(arm: Arm, threshold: float) -> dict[str, Any]:
    """Steps to the threshold (None: never), of the median seed and of the mean."""
    each = np.sort(arm.reached(threshold))
    middle = float(each[len(each) // 2])
    mean = arm.returns.mean(-1, keepdims=True)
    whole = float(arm._replace(returns=mean).reached(threshold)[0])
    return {
        "median_steps": middle if np.isfinite(middle) else None,
        "steps_of_the_mean": whole if np.isfinite(whole) else None,
        "seeds_that_reach_it": int(np.isfinite(each).sum()),
        "steps_a_seed": [x if np.isfinite(x) else None for x in each.tolist()],
        "first_return": round(float(arm.returns[0].mean()), 2),
        "last_return": round(float(arm.returns[-1].mean()), 2),
    }


def curves(panel: Any, arms: list[Arm], threshold: float, title: str) -> None:
    """Means over seeds with 95 % bootstrap intervals."""
    for arm in arms:
        low, high = interval(arm.returns)
        line = "-" if arm.pretrained else "--"
        panel.plot(arm.steps, arm.returns.mean(-1), line, color=COLORS[arm.algo],
                   label=arm.name)  # fmt: skip
        panel.fill_between(
            arm.steps, low, high, color=COLORS[arm.algo], alpha=0.15, linewidth=0
        )
    panel.axhline(threshold, color="0.6", linestyle=":", linewidth=1)
    draw.plain(panel, title)
    panel.set(xlabel="environment steps", ylabel="metres made good / 0.5")
    if title == TITLES["east"]:
        panel.legend(frameon=False, fontsize=8)


def interval(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval of the mean over seeds (the last axis)."""
    seeds = returns.shape[-1]
    pick = np.random.default_rng(0).integers(0, seeds, (2_000, seeds))
    low, high = np.quantile(returns[:, pick].mean(-1), (0.025, 0.975), axis=-1)
    return low, high


def rose(panel: Any, ends: dict[str, np.ndarray]) -> None:
    """Where the pre-trained policies end, from rest, in open water."""
    for name, places in ends.items():
        panel.plot(*places.reshape(-1, 2).T, ".", color=COLORS[name], markersize=2,
                   label=f"{NAMES[name]}, {len(places)} seeds")  # fmt: skip
    draw.plain(panel, "open water after pre-training: ends of episodes (m)")
    panel.set(aspect="equal")
    panel.legend(frameon=False, fontsize=8, markerscale=4)
