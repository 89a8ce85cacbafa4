"""`softq reproduce maze`: the greedy policy commits to a route, the soft keeps both.

Everything is exact: shares of the routes and chances of arrival are solved or
propagated, never sampled. A step costs 1, and the temperature is just below the one at
which walking about would earn more entropy than it costs.
"""

from pathlib import Path
from typing import Any

import numpy as np

from softq.figures import draw
from softq.tabular import MDP, from_map, soft_policy_iteration
from softq.tabular.flow import Flow

MAP = """
#######
#.....#
#.###.#
#S###G#
#.###.#
#.###.#
#.....#
#######
"""
WALLED = MAP.replace("#.....#", "#..#..#", 1)  # the shorter route, at test
COLUMN = 3  # both routes pass it: row 1 above, row 6 below
TEMPERATURE, DISCOUNT, STEPS = 0.705, 0.999, 200


def build(text: str) -> MDP:
    """A maze where a step costs 1 and arriving nothing."""
    return from_map(text, DISCOUNT, step_cost=1.0, goals={"G": 0.0})


def shares(mdp: MDP, policy: np.ndarray) -> tuple[float, float]:
    """Chances of passing the upper gate before the lower one, and the reverse."""
    assert mdp.cells is not None
    gates = np.flatnonzero(mdp.cells[:, 1] == COLUMN)
    alive = mdp._replace(discount=1.0, terminated=mdp.terminated.copy())
    alive.terminated[gates] = True  # nothing is followed beyond a gate
    visits = Flow(alive).visits(policy, mdp.start)[gates]
    return float(visits[0]), float(visits[1])


def arrival(mdp: MDP, policy: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Chance of having arrived after 1, 2, … steps."""
    flow = Flow(mdp._replace(discount=1.0)).matrix(policy).T
    here, arrived = mdp.start, []
    for _ in range(steps):
        here = flow @ here
        arrived.append(1.0 - here.sum())
    return np.array(arrived)


def transfer(policy: np.ndarray, trained: MDP, test: MDP) -> np.ndarray:
    """A policy of one maze in another that has lost cells, state by state."""
    assert trained.cells is not None
    assert test.cells is not None
    where = {tuple(cell): i for i, cell in enumerate(trained.cells.tolist())}
    return policy[[where[tuple(cell)] for cell in test.cells.tolist()]]


def make(out: Path) -> dict[str, Any]:
    """Draws both policies, and their arrivals in the walled maze; the numbers."""
    plt = draw.plots()
    maze, walled = build(MAP), build(WALLED)
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
    numbers: dict[str, Any] = {"temperature": TEMPERATURE, "steps": STEPS}
    colors = {"greedy": draw.SECOND, "soft": draw.ACCENT}
    for panel, (name, alpha) in zip(
        axes, (("greedy", 0.0), ("soft", TEMPERATURE)), strict=False
    ):
        solution = soft_policy_iteration(maze, alpha, 1e-7)
        upper, lower = shares(maze, solution.policy)
        curve = arrival(walled, transfer(solution.policy, maze, walled))
        numbers[name] = {"upper": upper, "lower": lower, "arrives": float(curve[-1])}
        title = f"{name}: {100 * upper:.0f} % above, {100 * lower:.0f} % below"
        draw.on_map(panel, maze, solution.v, title, "soft value")
        draw.arrows(panel, maze, solution.policy)
        axes[2].plot(100 * curve, color=colors[name], label=name)
    axes[2].set(xlabel="steps", ylabel="arrived (%)", ylim=(-3, 100))
    draw.plain(axes[2], "the upper route walled up at test")
    axes[2].legend(frameon=False)
    draw.save(figure, out / "maze.png")
    return numbers
