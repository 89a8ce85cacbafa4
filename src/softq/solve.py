"""`softq solve`: a table, its exact solution, and what there is to see of it."""

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softq import tabular
from softq.envs.grid import TWO_WAYS
from softq.figures import draw, maze
from softq.tabular import MDP, Solution
from softq.tabular.conservative import cql
from softq.tabular.policies import uniform
from softq.types import SoftqError

GYMNASIUM = {
    "frozenlake": "FrozenLake-v1", "cliffwalking": "CliffWalking-v1", "taxi": "Taxi-v4",
}  # fmt: skip
MAPS = {"gridworld": TWO_WAYS, "maze": maze.MAP}
NAMES = (*GYMNASIUM, *MAPS, "chain")
# FrozenLake counts its moves from the left, CliffWalking and the maps from the top.
LEFT_DOWN_RIGHT_UP = ((-1, 0), (0, 1), (1, 0), (0, -1))
ALPHAS = np.geomspace(1e-3, 10.0, 13)


@dataclasses.dataclass(frozen=True)
class Solved:
    """A table, the solution that was asked for, and the optimum beside it."""

    mdp: MDP
    solution: Solution
    optimum: Solution | None = None


def table(name: str, discount: float, slip: float = 0.1) -> MDP:
    """A table by name, or from a file: `.npz` of `tabular.save`, `.txt` a map."""
    if name.endswith(".npz"):
        return tabular.load(name)
    if name.endswith(".txt"):
        try:
            text = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SoftqError(f"{name} cannot be read: {error}") from error
        return tabular.from_map(text, discount, slip=slip)
    if name in GYMNASIUM:
        return tabular.from_gymnasium(GYMNASIUM[name], discount)
    if name == "chain":
        return tabular.chain(20, discount, slip)
    if name in MAPS:
        return tabular.from_map(MAPS[name], discount, slip=slip)
    near = difflib.get_close_matches(name, NAMES, 1, 0.4)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(NAMES)}"
    raise SoftqError(
        f"no table is called {name}, and a file ends in .npz or .txt. {hint}"
    )


def solve(
    method: str, mdp: MDP, alpha: float, tol: float, gap_weight: float, tell: Any = None
) -> Solved:
    """Solves a table; `tell(iterations, error bound)` hears of progress.

    `cql` is CQL(H)'s fixed point for data of the uniform behaviour, without sampling
    error, backed up softly at `alpha` (by the maximum at 0).
    """
    if method == "soft-vi":
        found = tabular.soft_value_iteration(mdp, alpha, tol, on_sweep=tell)
        return Solved(mdp, found)
    best = tabular.soft_policy_iteration(mdp, alpha, tol, on_policy=tell)
    if method == "soft-pi":
        return Solved(mdp, best)
    backup: Any = "soft" if alpha > 0 else "max"
    q, sweeps, error = cql(
        mdp, uniform(mdp), gap_weight, backup=backup, alpha=alpha, tol=tol
    )
    q0 = q - q.max(-1, keepdims=True)
    tilt = np.exp(q0 / alpha) if alpha > 0 else (q0 == 0.0).astype(float)
    policy = tilt / tilt.sum(-1, keepdims=True)
    v = q.max(-1) + (alpha * np.log(tilt.sum(-1)) if alpha > 0 else 0.0)
    return Solved(mdp, Solution(q, v, policy, sweeps, error, np.empty(0)), best)


def show(method: str, solved: Solved, alpha: float) -> None:
    """The convergence and the result, as tables."""
    found, console = solved.solution, Console()
    if len(found.changes):
        steps = Table(title=f"{method}: ‖TV − V‖∞", title_justify="left")
        for name in ("iteration", "change", "of the one before"):
            steps.add_column(name, justify="right")
        for k in sorted({*np.geomspace(1, len(found.changes), 8).round().astype(int)}):
            before = found.changes[k - 2] if k > 1 else np.nan
            rate = f"{found.changes[k - 1] / before:.4f}" if before > 0 else ""
            steps.add_row(f"{k:,}", f"{found.changes[k - 1]:.2e}", rate)
        console.print(steps)
    console.print(_result(solved, alpha))


def _result(solved: Solved, alpha: float) -> Table:
    mdp, found = solved.mdp, solved.solution
    value = tabular.evaluate(mdp, found.policy, alpha)
    out = Table(title="from the start", title_justify="left", show_header=False)
    rows = [
        ("states, actions", f"{mdp.reward.shape[0]:,}, {mdp.reward.shape[1]}"),
        ("value", f"{mdp.start @ found.v:,.6f}"),
        ("task return of its policy", f"{mdp.start @ value.task:,.6f}"),
        ("entropy return (nats)", f"{mdp.start @ value.entropy:,.6f}"),
        ("iterations", f"{found.iterations:,}"),
        ("true error, at most", f"{found.error:.1e}"),
    ]
    if solved.optimum is not None:
        rows.append(("the optimum's value", f"{mdp.start @ solved.optimum.v:,.6f}"))
    for row in rows:
        out.add_row(*row)
    return out


def pictures(
    method: str, solved: Solved, alpha: float, name: str, out: Path
) -> list[Path]:
    """Value and entropy maps with arrows, convergence, and the temperature path."""
    plt, mdp, found = draw.plots(), solved.mdp, solved.solution
    paths: list[Path] = []
    if mdp.letters is not None:
        ways = LEFT_DOWN_RIGHT_UP if name == "frozenlake" else draw.ARROWS
        wide = mdp.letters.shape[1] > 1.6 * mdp.letters.shape[0]
        grid = (2, 1) if wide else (1, 2)
        size = (9, 6.5) if wide else (11, 5)
        figure, axes = plt.subplots(*grid, figsize=size, layout="constrained")
        title = f"{name}: {method}, α = {alpha:g}"
        draw.on_map(axes[0], mdp, found.v, title, "value")
        draw.arrows(axes[0], mdp, found.policy, ways)
        nats = draw.entropies(found.policy)
        draw.on_map(axes[1], mdp, nats, "entropy of the policy", "nats")
        paths.append(out / "map.png")
        draw.save(figure, paths[-1])
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    if len(found.changes):
        draw.convergence(axes[0], found, mdp.discount)
    else:
        axes[0].set_visible(False)
    path = [tabular.soft_policy_iteration(mdp, float(a), 1e-6) for a in ALPHAS]
    draw.temperatures(axes[1], ALPHAS, path, mdp)
    paths.append(out / "convergence.png")
    draw.save(figure, paths[-1])
    return paths


def write(solved: Solved, out: Path, about: dict[str, Any]) -> None:
    """`solution.npz`, and `solve.json` with what was asked for."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        q, v, policy, _, _, changes = solved.solution
        np.savez_compressed(
            out / "solution.npz", q=q, v=v, policy=policy, changes=changes
        )
        record = about | {"iterations": solved.solution.iterations,
                          "error": solved.solution.error}  # fmt: skip
        (out / "solve.json").write_text(json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise SoftqError(f"cannot write to {out}: {error.strerror or error}") from error
