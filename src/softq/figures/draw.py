"""Pictures of tables: values and policies on their map, convergence, temperatures."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from softq.plots import COLOURS
from softq.tabular import MDP, Solution
from softq.types import SoftqError

INK, PAPER, WALL = "#2b2b2b", "white", "#3e4654"
SECOND, ACCENT = COLOURS[:2]
ARROWS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # (x, y) of up, right, down, left


def plots() -> Any:
    """matplotlib, drawing to files; raises SoftqError where it is missing."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise SoftqError('pictures need: pip install "softq[plot]"') from error
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, path: Path) -> None:
    """Writes a picture in 256 colours, a third of the bytes, and forgets it."""
    from PIL import Image  # matplotlib needs it too

    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    plots().close(figure)
    Image.open(drawn).convert("RGB").quantize(256).save(path, "PNG", optimize=True)


def on_map(axes: Any, mdp: MDP, values: np.ndarray, title: str, label: str) -> None:
    """One number a state as a heat map over the table's map, walls dark."""
    assert mdp.letters is not None
    assert mdp.cells is not None
    picture = np.full(mdp.letters.shape, np.nan)
    picture[tuple(mdp.cells.T)] = np.where(_goals(mdp), np.nan, values)
    axes.set_facecolor(WALL)
    shown = axes.imshow(picture, cmap="viridis")
    axes.figure.colorbar(shown, ax=axes, shrink=0.8, label=label)
    for (row, column), letter in np.ndenumerate(mdp.letters):
        if letter not in "#.F":
            axes.text(
                column, row, letter, ha="center", va="center", color="white",
                weight="bold", fontsize=_size(mdp),
            )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, loc="left", fontsize=11)


def _size(mdp: MDP) -> float:
    assert mdp.letters is not None
    return float(np.clip(110 / max(mdp.letters.shape), 4, 12))


def _goals(mdp: MDP) -> np.ndarray:
    """States that are only ever entered to end there."""
    possible = mdp.prob > 0
    ended = np.zeros(len(mdp.reward), bool)
    ended[mdp.next_state[possible & mdp.terminated]] = True
    ended[mdp.next_state[possible & ~mdp.terminated]] = False
    return ended & (mdp.start == 0)


def arrows(axes: Any, mdp: MDP, policy: np.ndarray, directions: Any = ARROWS) -> None:
    """An arrow for each likely move of each state, as long as it is likely."""
    assert mdp.cells is not None
    cells = mdp.cells[~_goals(mdp)]
    rows = policy[~_goals(mdp)]
    if len(cells) > 900:  # nothing could be seen
        return
    for a, (dx, dy) in enumerate(directions):
        length = np.where(rows[:, a] > 0.05, 0.42 * rows[:, a], np.nan)
        axes.quiver(
            cells[:, 1], cells[:, 0], dx * length, dy * length, angles="xy",
            scale_units="xy", scale=1, color="white", width=0.006, headwidth=4.5,
        )  # fmt: skip


def entropies(policy: np.ndarray) -> np.ndarray:
    """H(π(·|s)) in nats."""
    return -(policy * np.log(np.where(policy > 0, policy, 1.0))).sum(-1)


def convergence(axes: Any, solution: Solution, discount: float) -> None:
    """Changes of V beside the line γ^k that they may not exceed."""
    k = np.arange(1, len(solution.changes) + 1)
    line = solution.changes[0] * discount ** (k - 1.0)
    axes.semilogy(k, line, color="0.6", linestyle="--", label="γᵏ, the guarantee")
    axes.semilogy(k, np.maximum(solution.changes, 1e-17), color=ACCENT,
                  marker="o" if len(k) < 30 else None, label="‖TV − V‖∞")  # fmt: skip
    axes.set(xlabel="iteration", ylabel="change of V")
    plain(axes, "convergence")
    axes.legend(frameon=False)


def temperatures(axes: Any, alphas: np.ndarray, path: list[Solution], mdp: MDP) -> None:
    """Entropy and task return of the optimal policy against its temperature."""
    from softq.tabular import evaluate, occupancy

    nats, task = [], []
    for found in path:
        visits = occupancy(mdp, found.policy).sum(-1)
        nats.append(float(visits @ entropies(found.policy) / visits.sum()))
        task.append(float(mdp.start @ evaluate(mdp, found.policy).task))
    axes.semilogx(alphas, task, color=SECOND, marker="o", label="task return")
    axes.set(xlabel="temperature α (reward a nat)", ylabel="discounted task return")
    other = axes.twinx()
    other.semilogx(alphas, nats, color=ACCENT, marker="s", label="entropy")
    other.set_ylabel("entropy a step (nats)", color=ACCENT)
    other.spines[["top"]].set_visible(False)
    axes.yaxis.label.set_color(SECOND)
    plain(axes, "from greedy to uniform")


def plain(axes: Any, title: str) -> None:
    """A quiet pair of axes."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
