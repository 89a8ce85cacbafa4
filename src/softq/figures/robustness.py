"""`softq reproduce robustness`: do soft policies survive a changed world?

The lectures' claim, as a measurement (Eysenbach & Levine 2022, arXiv 2103.06257, prove
a bound; "When Maximum Entropy Misleads Policy Optimization", arXiv 2506.05615, is the
counter-evidence). SAC at three fixed temperatures and what is left of it without its
entropy: the same twin critics, networks and steps, a deterministic actor and noise
(`ddpg` with `twin`). Each is trained in the world as it is and then put into others,
one change at a time; a bar across the way stands in for the slides' Minitaur on blocks.
"""

from pathlib import Path
from typing import Any

import numpy as np

from softq import api, records, robustness
from softq.envs import perturb
from softq.figures import draw
from softq.figures.trained import trained
from softq.plots import COLOURS, GREY
from softq.statistics import interval, iqm

STEPS, SEEDS, EPISODES, BATCH = 100_000, 3, 10, 128
TEMPERATURES = (0.05, 0.2, 0.8)
# Where each is trained, and the same world where it is changed.
HOME = {"Pendulum-v1": "softq/Pendulum-v0", "Hopper-v5": "Hopper-v5"}
HIDDEN = {"Pendulum-v1": (64, 64), "Hopper-v5": (128, 128)}
WORLDS = {
    "Pendulum-v1": (
        "gravity=0.5..2", "mass=0.5..2", "length=0.5..2", "actuator-noise=0..0.8",
        "obs-noise=0..0.4", "delay=0,1,2,3,4",
    ),
    "Hopper-v5": (
        "friction=0.25..4", "mass=0.5..2", "gravity=0.5..2", "obstacle=0..0.2",
        "actuator-noise=0..0.8", "delay=0,1,2,3,4",
    ),
}  # fmt: skip
AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"SAC, α = {a}": ("sac", {"alpha": a}) for a in TEMPERATURES},
    "without entropy": ("ddpg", {"twin": True, "noise": 0.1}),
}
Told = dict[str, dict[str, Any]]


def make(out: Path) -> dict[str, Any]:
    """Trains what is not there yet in `out`, plays every world, and draws."""
    found = {env: {name: played(out, env, name) for name in AGENTS} for env in WORLDS}
    picture(found, out / "robustness.png")
    return {
        "steps": STEPS, "seeds": SEEDS, "episodes": EPISODES, "batch_size": BATCH,
        "hidden": HIDDEN, "worlds": WORLDS, "environments": found,
    }  # fmt: skip


def played(out: Path, env: str, name: str) -> dict[str, Any]:
    """Every seed of an agent in every world: returns, their worst and their mean."""
    run = learned(out, env, name)
    grids = [perturb.parse(text) for text in WORLDS[env]]
    policies = [api.load(run, seed=seed) for seed in range(SEEDS)]
    told: dict[str, Any] = {}
    for kind in robustness.POLICIES:
        told[kind] = {"worlds": {}}
    for changes in grids:
        (key,) = changes
        cells = [robustness.grid(p, env, changes, EPISODES) for p in policies]
        for kind in robustness.POLICIES:
            rows = np.array([robustness.returns(c, kind) for c in cells])
            told[kind]["worlds"][key] = {
                "values": list(changes[key]), "returns": rows.T.round(2).tolist()
            }  # fmt: skip
    for kind in robustness.POLICIES:
        told[kind] |= over(told[kind]["worlds"])
    steps, returns = records.by_seed(records.evaluations(run))
    return told | {"trained": returns[-1].tolist(), "at": steps[-1]}


def over(worlds: Told) -> dict[str, Any]:
    """Of each seed the mean and the worst over all worlds; of these the middle."""
    every = np.concatenate([np.array(one["returns"]) for one in worlds.values()])
    told: dict[str, Any] = {}
    for what, seeds in (("mean", every.mean(0)), ("worst", every.min(0))):
        told |= {what: iqm(seeds), f"{what}_interval": interval(seeds)}
    return told


def learned(out: Path, env: str, name: str) -> Path:
    """The run of an agent in the world as it is."""
    algorithm, knobs = AGENTS[name]
    slug = name.replace(" ", "").replace(",", "").replace("=", "")
    return trained(
        out / "robustness" / f"{env}-{slug}", algorithm, HOME[env], steps=STEPS,
        algo=knobs | {"hidden": HIDDEN[env]}, seeds=SEEDS, batch_size=BATCH,
        eval_every=STEPS // 5, checkpoint_every=STEPS // 5,
    )  # fmt: skip


def picture(found: dict[str, Told], path: Path) -> None:
    """A row an environment, a panel a change: greedy returns, mean and every seed."""
    columns = max(len(texts) for texts in WORLDS.values())
    figure, axes = draw.plots().subplots(
        len(found), columns, figsize=(2.6 * columns, 2.9 * len(found)),
        layout="constrained", squeeze=False, sharey="row",
    )  # fmt: skip
    for row, (env, agents) in zip(axes, found.items(), strict=True):
        for panel, text in zip(row, WORLDS[env], strict=True):
            (key,) = perturb.parse(text)
            for (name, told), colour in zip(agents.items(), _colours(), strict=True):
                _line(panel, told["greedy"]["worlds"][key], colour, name)
            _dress(panel, key)
        row[0].set_ylabel("greedy return")
        row[0].set_title(env, loc="left", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels),
                  frameon=False, fontsize=9)  # fmt: skip
    draw.save(figure, path)


def _colours() -> tuple[str, ...]:
    return (*COLOURS[: len(TEMPERATURES)], GREY)


def _line(axes: Any, world: dict[str, Any], colour: str, label: str) -> None:
    returns = np.array(world["returns"])
    axes.plot(world["values"], returns, color=colour, alpha=0.3, linewidth=0.8)
    style = "o--" if colour == GREY else "o-"
    axes.plot(world["values"], returns.mean(1), style, color=colour, markersize=3,
              label=label)  # fmt: skip


def _dress(axes: Any, key: str) -> None:
    if perturb.multiplies(key):
        axes.set_xscale("log", base=2)
        axes.axvline(1.0, color=GREY, linestyle=":", linewidth=1)
    axes.set_xlabel(key)
    axes.spines[["top", "right"]].set_visible(False)
