"""`softq reproduce theorem-cql`: coverage of CQL's bounds over resampled datasets.

Three random MDPs, 500 datasets each, δ = 0.1: theorems 3.1 and 3.2 and the bound of the
empirical Bellman operator should hold in nine of ten, and the controls should not: the
constant scaled down, and the printed form (the true kernel in the resolvent) at a
weight of 10⁴.
"""

from pathlib import Path
from typing import Any

import numpy as np

from softq.figures import draw
from softq.plots import COLOURS
from softq.tabular import MDP, Empirical, from_data, garnet
from softq.tabular import conservative as cons
from softq.tabular.mdp import continuation

DELTA, DATASETS, SIZE, WEIGHT, LARGE = 0.1, 500, 3_000, 2.0, 2e4
SCALES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.0)


def sample(mdp: MDP, behaviour: np.ndarray, n: int, seed: int) -> Empirical:
    """n transitions from uniform states and the behaviour, as an empirical MDP."""
    random = np.random.default_rng(seed)
    s = random.integers(0, len(behaviour), n)
    a = _drawn(random, behaviour[s])
    k = _drawn(random, mdp.prob[s, a])
    return from_data(
        s, a, mdp.reward[s, a], mdp.next_state[s, a, k], mdp.terminated[s, a, k],
        states=len(behaviour), actions=behaviour.shape[1], discount=mdp.discount,
    )  # fmt: skip


def _drawn(random: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """One index a row of probabilities."""
    beyond = random.random((len(rows), 1)) > rows.cumsum(-1)
    return beyond.sum(-1).clip(max=rows.shape[-1] - 1)


def world(seed: int) -> tuple[MDP, np.ndarray, np.ndarray, np.ndarray]:
    """An MDP, a behaviour that does everything, a policy and another one."""
    random, mdp = np.random.default_rng(seed), garnet(seed, 5, 3, 3, 0.8)
    behaviour, policy, mu = random.dirichlet(np.ones(3), (3, 5))
    return mdp, 0.7 * behaviour + 0.1, policy, mu


def operator(data: Empirical, truth: MDP, scale: float, seed: int) -> bool:
    """Whether |B̂ Q − B Q| stays within its bound for a random V."""
    top = float(np.abs(truth.reward).max())
    v = np.random.default_rng(seed).uniform(-1, 1, len(truth.reward))
    v = v * top / (1.0 - truth.discount)
    means = [
        m.discount * (continuation(m) * v[m.next_state]).sum(-1)
        for m in (data.mdp, truth)
    ]
    bound = scale * cons.operator_bound(data, DELTA, top)
    return bool((np.abs(means[0] - means[1]) <= bound)[data.seen].all())


def coverage(seed: int, datasets: int = DATASETS) -> dict[str, Any]:
    """Shares of datasets in which each inequality holds, and the median slack."""
    truth, behaviour, policy, mu = world(seed)
    names = ("operator", "theorem 3.1", "theorem 3.2")
    kept = {name: np.zeros(len(SCALES)) for name in names}
    slack: dict[str, list[float]] = {name: [] for name in names[1:]}
    printed = np.zeros(2)
    for k in range(datasets):
        data = sample(truth, behaviour, SIZE, 10_000 * seed + k)
        for i, scale in enumerate(SCALES):
            one = cons.theorem_31(data, truth, policy, mu, WEIGHT, DELTA, scale=scale)
            two = cons.theorem_32(data, truth, policy, WEIGHT, DELTA, scale=scale)
            kept["operator"][i] += operator(data, truth, scale, k)
            for name, sides in (("theorem 3.1", one), ("theorem 3.2", two)):
                kept[name][i] += sides.slack >= 0
                if scale == 1.0:
                    slack[name].append(sides.slack)
        one = cons.theorem_31(data, truth, policy, mu, LARGE, DELTA, kernel="true")
        two = cons.theorem_32(data, truth, policy, LARGE, DELTA, kernel="true")
        printed += [one.slack >= 0, two.slack >= 0]
    return {
        "coverage": {name: (count / datasets).tolist() for name, count in kept.items()},
        "median_slack": {name: float(np.median(x)) for name, x in slack.items()},
        "printed_form_large_weight": dict(
            zip(names[1:], (printed / datasets).tolist(), strict=True)
        ),
    }


def make(out: Path, datasets: int = DATASETS) -> dict[str, Any]:
    """Draws coverage against the constant's scale; returns all numbers."""
    plt = draw.plots()
    worlds = {seed: coverage(seed, datasets) for seed in (0, 1, 2)}
    figure, axes = plt.subplots(
        1, 3, figsize=(12, 4), layout="constrained", sharey=True
    )
    for panel, name in zip(axes, worlds[0]["coverage"], strict=True):
        for seed, color in zip(
            worlds, (draw.SECOND, draw.ACCENT, COLOURS[2]), strict=True
        ):
            held = 100 * np.array(worlds[seed]["coverage"][name])
            panel.plot(range(len(SCALES)), held, "o-", color=color, label=f"MDP {seed}")
            if name in worlds[seed]["printed_form_large_weight"]:
                share = 100 * worlds[seed]["printed_form_large_weight"][name]
                panel.plot(len(SCALES), share, "x", color=color)
        panel.axhline(90, color="0.6", linestyle="--", linewidth=1)
        ticks = [f"{scale:g}" for scale in SCALES]
        if name != "operator":
            ticks.append("as\nprinted")
        panel.set_xticks(range(len(ticks)), ticks)
        panel.set_xlabel("constant, times")
        draw.plain(panel, name)
    axes[0].set_ylabel(f"holds, % of {datasets} datasets")
    axes[0].legend(frameon=False)
    draw.save(figure, out / "theorem-cql.png")
    return {"delta": DELTA, "datasets": datasets, "size": SIZE, "weight": WEIGHT,
            "large_weight": LARGE, "scales": SCALES, "worlds": worlds}  # fmt: skip
