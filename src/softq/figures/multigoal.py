"""`softq reproduce multigoal`: who finds all four goals, and keeps finding them.

Haarnoja et al. 2017, section 5.1, with the authors' first version of the environment
and its settings: 10,000 steps, batches of 64, two layers of 100, one copy of the target
every 1,000 updates, temperature 10 (their reward scale of 0.1), 16 proposals a state.
Ten seeds of each algorithm train in one program. Soft Q-learning's agents also act by
Langevin steps on the same Q, without their network.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softq.algos import ALGOS
from softq.envs.multigoal import BORDER, GOALS, REACH, MultiGoal
from softq.figures import draw
from softq.figures.episodes import play
from softq.plots import COLOURS
from softq.train import ondevice
from softq.train.seeds import Seeds
from softq.train.step import Options

ENV = MultiGoal(early=True)
SEEDS, STEPS, EPISODES = 10, 10_000, 200
STATES = ((-2.5, 0.0), (0.0, 0.0), (2.5, 2.5))  # of the paper's action samples
ALPHA = 10.0
SHARED = {"lr": 1e-3, "hidden": (100, 100), "target_period": 1_000}
CONFIGS: dict[str, dict[str, Any]] = {
    "sql": {"alpha": ALPHA, "value_samples": 16, **SHARED},
    "sac": {"alpha": ALPHA, **SHARED},
    "ddpg": SHARED,
}
NAMES = {"sql": "soft Q-learning", "sac": "SAC", "ddpg": "DDPG",
         "langevin": "Langevin on its Q"}  # fmt: skip
COLORS = {"sql": draw.SECOND, "sac": draw.ACCENT, "ddpg": COLOURS[4]}


class Trained(NamedTuple):
    """Every seed's agent, and where its sampled episodes went."""

    name: str
    cfg: Any
    agents: Any  # a leading axis for the seed
    paths: np.ndarray  # (seeds, episodes, horizon + 1, 2); still after the end
    reached: np.ndarray  # (seeds, episodes): which goal, or -1

    @property
    def shares(self) -> np.ndarray:
        """(seeds, 4): the share of episodes that end in each goal."""
        return np.stack([(self.reached == g).mean(-1) for g in range(4)], -1)

    @property
    def complete(self) -> int:
        """Seeds that keep going to every goal: each is the end of 15 % or more."""
        return int((self.shares >= 0.15).all(-1).sum())


def train(name: str, seeds: int = SEEDS, steps: int = STEPS) -> Trained:
    """Trains all seeds at once, then samples episodes."""
    algo: Any = ALGOS[name]
    cfg, group = algo.Config(**CONFIGS[name]), Seeds(0, seeds)
    options = Options(steps=steps, batch_size=64, learning_starts=100)
    state = ondevice.start(algo, cfg, options, ENV, group)
    for progress in ondevice.run(algo, cfg, options, ENV, group, state, steps):
        state = progress.train
    agents = state.agent if group.axes else jax.tree.map(lambda x: x[None], state.agent)
    return visits(name, algo, cfg, agents)


def visits(name: str, algo: Any, cfg: Any, agents: Any) -> Trained:
    """Samples episodes of every agent and says where they end."""
    paths = play(algo, cfg, ENV, agents, EPISODES).states.position
    # A goal is noticed where a move begins; what follows the last one is not a place.
    far = np.sum((paths[:, :, :-1, None] - GOALS) ** 2, -1)
    hit = (far < REACH**2).any(2)
    return Trained(name, cfg, agents, paths, np.where(hit.any(-1), hit.argmax(-1), -1))


def make(out: Path, seeds: int = SEEDS, steps: int = STEPS) -> dict[str, Any]:
    """Draws trajectories and action samples; returns the shares of the goals."""
    plt = draw.plots()
    runs = [train(name, seeds, steps) for name in CONFIGS]
    runs.append(by_langevin(runs[0]))
    figure, axes = plt.subplots(2, 4, figsize=(14, 7.2), layout="constrained")
    for panel, run in zip(axes[0], runs, strict=True):
        trajectories(panel, run)
    for panel, state in zip(axes[1], STATES, strict=False):
        samples(panel, runs[:3], np.asarray(state, np.float32))
    bars(axes[1, 3], runs)
    draw.save(figure, out / "multigoal.png")
    table = {
        run.name: {
            "shares": run.shares.round(3).tolist(),
            "success": (run.reached >= 0).mean(-1).round(3).tolist(),
            "seeds_with_every_goal_15_percent": run.complete,
        }
        for run in runs
    }
    return {"seeds": seeds, "steps": steps, "episodes": EPISODES, "alpha": ALPHA,
            "results": table}  # fmt: skip


def by_langevin(run: Trained) -> Trained:
    """The same agents, whose actions come from MALA chains on Q."""
    cfg = dataclasses.replace(run.cfg, acting="langevin")
    return visits("langevin", ALGOS["sql"], cfg, run.agents)


def bars(panel: Any, runs: list[Trained]) -> None:
    """Each seed's least visited goal: none may be forgotten."""
    for place, run in enumerate(runs):
        least = 100 * run.shares.min(-1)
        offsets = np.linspace(-0.25, 0.25, len(least)) if len(least) > 1 else [0.0]
        panel.plot(place + np.asarray(offsets), least, "o", markersize=4,
                   color=COLORS.get(run.name, "0.4"))  # fmt: skip
    panel.axhline(15, color="0.6", linestyle=":", linewidth=1)
    panel.set_xticks(range(len(runs)), ["SQL", "SAC", "DDPG", "Langevin"])
    panel.set(ylim=(-1, 30))
    draw.plain(panel, "least visited goal, % of episodes")


def first(run: Trained) -> Any:
    """The agent of the first seed."""
    return jax.tree.map(lambda x: x[0], run.agents)


def trajectories(panel: Any, run: Trained) -> None:
    """Forty episodes of one seed over the cost of standing somewhere."""
    line = np.linspace(-BORDER, BORDER, 80)
    grid = np.stack(np.meshgrid(line, line), -1)
    cost = -np.min(np.sum((grid[:, :, None] - GOALS) ** 2, -1), -1)
    panel.contour(line, line, cost, 12, colors="0.8", linewidths=0.7)
    for path in run.paths[0, :40]:
        panel.plot(*path.T, color=draw.SECOND, alpha=0.45, linewidth=1)
    panel.plot(*GOALS.T, "o", color=draw.ACCENT, markersize=9)
    share = ", ".join(f"{100 * x:.0f}" for x in run.shares[0])
    draw.plain(panel, f"{NAMES[run.name]}: {share} %")
    panel.set(xlim=(-BORDER, BORDER), ylim=(-BORDER, BORDER), aspect="equal")


def samples(panel: Any, runs: list[Trained], state: np.ndarray) -> None:
    """Actions that each samples in one state, over soft Q-learning's Q."""
    line = np.linspace(-1, 1, 60, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    here = np.broadcast_to(state, grid.shape)
    algo: Any = ALGOS["sql"]
    q = algo.value(first(runs[0]), jnp.asarray(here), jnp.asarray(grid), runs[0].cfg)
    panel.contourf(line, line, np.asarray(q).reshape(60, 60), 20, cmap="Greys_r")
    many = jnp.asarray(np.broadcast_to(state, (150, 2)))
    for run in runs:
        module: Any = ALGOS[run.name]
        action = module.act(jax.random.key(0), first(run), many, run.cfg, True)
        panel.plot(*np.asarray(action).T, ".", color=COLORS[run.name], markersize=4,
                   label=NAMES[run.name])  # fmt: skip
    draw.plain(panel, f"actions at ({state[0]:g}, {state[1]:g}), over Q")
    panel.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    if state[0] < 0:
        panel.legend(frameon=True, fontsize=8, loc="upper left")
