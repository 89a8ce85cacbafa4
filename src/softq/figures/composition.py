"""`softq reproduce composition`: two policies added, and nothing learned again.

After Haarnoja et al. 2018 (arXiv 1803.06773): one agent learns to come to x = −1 and
one to come to y = −1; the policy of Q_1 + Q_2 goes where the lines cross, though
neither agent was ever paid for that. Five seeds of each. On a table, the same
composition is held against the exact optimum.
"""

from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from softq import compose, tabular
from softq.algos import sql
from softq.envs.reach import BORDER, GOAL, Reach
from softq.figures import draw
from softq.figures.episodes import play
from softq.tabular.compose import compose as compose_table
from softq.train import ondevice
from softq.train.seeds import Seeds
from softq.train.step import Options

SEEDS, STEPS, UPDATES, EPISODES, NEAR = 5, 6_000, 3_000, 200, 0.3
CONFIG = sql.Config(
    alpha=0.1, lr=1e-3, polyak=0.01, particles=16, value_samples=32, hidden=(64, 64),
    discount=0.95,
)  # fmt: skip
WIDE = sql.Config(alpha=0.1, particles=16, hidden=(128, 128))
TABLE = "G#########\n#########S\n" + "#.........\n" * 8


def train(axis: Any, seeds: int, steps: int) -> Any:
    """Every seed's state after training to come to one line."""
    options = Options(steps=steps, batch_size=64, learning_starts=250, num_envs=1)
    env, group = Reach(axis), Seeds(0, seeds)
    state = ondevice.start(sql, CONFIG, options, env, group)
    for progress in ondevice.run(sql, CONFIG, options, env, group, state, steps):
        state = progress.train
    return state


def make(
    out: Path, seeds: int = SEEDS, steps: int = STEPS, updates: int = UPDATES
) -> dict[str, Any]:
    """Draws episodes of both agents and of their sum; returns how many arrive."""
    plt = draw.plots()
    parts = [train(axis, seeds, steps) for axis in ("x", "y")]
    env = Reach()
    made = []
    for k in range(seeds):
        one = [jax.tree.map(lambda x, k=k: x[k], part.agent) for part in parts]
        seen = np.concatenate([np.asarray(p.rows.rows.obs[k]) for p in parts])
        state = compose.combine(one, env.spec, WIDE, 1.0, k)
        made.append(compose.fit(state, jax.numpy.asarray(seen), WIDE, updates, k))
    both = jax.tree.map(lambda *x: jax.numpy.stack(x), *made)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    results = {}
    for panel, (name, cfg, agents) in zip(
        axes,
        (("Q₁: to x = −1", CONFIG, parts[0].agent),
         ("Q₂: to y = −1", CONFIG, parts[1].agent), ("Q₁ + Q₂", WIDE, both)),
        strict=True,
    ):  # fmt: skip
        paths = np.asarray(play(sql, cfg, env, agents, EPISODES).states)
        arrived = (np.abs(paths[:, :, -1] - GOAL) < NEAR).all(-1).mean(-1)
        results[name] = [round(float(x), 3) for x in arrived]
        picture(panel, paths[0, :40], f"{name}: {100 * arrived.mean():.0f} % arrive")
    draw.save(figure, out / "composition.png")
    return {"seeds": seeds, "steps": steps, "updates_of_the_sampler": updates,
            "episodes": EPISODES, "within_m": NEAR, "arrive": results,
            "table": on_a_table()}  # fmt: skip


def picture(panel: Any, paths: np.ndarray, title: str) -> None:
    """Episodes over the two lines."""
    panel.axvline(GOAL, color="0.8")
    panel.axhline(GOAL, color="0.8")
    for path in paths:
        panel.plot(*path.T, color=draw.SECOND, alpha=0.4, linewidth=1)
        panel.plot(*path[-1], "o", color=draw.ACCENT, markersize=3)
    draw.plain(panel, title)
    panel.set(xlim=(-BORDER, BORDER), ylim=(-BORDER, BORDER), aspect="equal")


def on_a_table() -> dict[str, Any]:
    """The gap of the composed Q to the exact optimum, on a grid with the two tasks."""
    mdp = tabular.from_map(TABLE, discount=0.95, slip=0.0)
    assert mdp.cells is not None
    rewards = [
        np.repeat(-np.abs(mdp.cells[:, axis, None] - 1.0), mdp.reward.shape[1], 1)
        for axis in (1, 0)
    ]
    found: dict[str, Any] = {}
    hows: tuple[Literal["mean", "sum"], ...] = ("mean", "sum")
    for how in hows:
        made = compose_table(mdp, rewards[0], rewards[1], CONFIG.alpha, how)
        span = float(made.optimum.q.max() - made.optimum.q.min())
        found[how] = {
            "largest_gap_of_q": round(float(made.gap.max()), 4),
            "range_of_q": round(span, 2),
            "largest_loss_of_the_policy": round(float(made.loss.max()), 4),
        }
    return found
