"""Pictures of a run: its learning curve, and what its Q promises."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from softq.records import Records, by_seed, lane_of, lanes_of, settings_of

# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#666666"
DASHES = ("-", "--", "-.", ":")


def curve(records: Records, path: Path, title: str, unit: str, turn: int = 0) -> None:
    """The learning curve as a PNG: returns over steps, a line a seed, the mean bold.

    Greedy and sampled; of a sweep's settings the greedy ones. A dotted line stands at
    `turn`, where updates on data end and steps begin. Needs matplotlib (extra `plot`).
    """
    figure, axes = _figure()
    settings = settings_of(records)
    if len(settings) > 1:
        kinds = [("greedy", one, one) for one in settings]
    else:
        kinds = [(name, settings[0], name) for name in ("greedy", "sampled")]
    for (name, setting, label), colour in zip(kinds, itertools.cycle(COLOURS)):
        own = [r for r in records if r.get("setting", "") == setting]
        steps, values = by_seed(own, name)
        axes.plot(steps, values, color=colour, alpha=0.35, linewidth=1)
        axes.plot(steps, values.mean(axis=1), _marked(steps), color=colour, linewidth=2,
                  label=label)  # fmt: skip
    if turn:
        axes.axvline(turn, color=GREY, linestyle=":", linewidth=1)
    seeds = len({r["seed"] for r in records})
    axes.set(xlabel=unit, ylabel="return")
    _finish(figure, axes, f"{title}  ({seeds} seed{'s' * (seeds > 1)})", path)


def monitor(records: Records, togo: float | None, path: Path) -> None:
    """What Q promises beside what the data returned, and the gap that CQL pays for.

    A line a lane, dashed otherwise for each of a sweep's settings. Without a gap there
    is one panel; α' has a line where it is learned.
    """
    learned = any(r.get("gap_factor", 1.0) != 1.0 for r in records)
    paid = [("gap", "gap", COLOURS[0]), ("gap_factor", "α'", GREY)][: 1 + learned]
    panels = 1 + any("gap" in r for r in records)
    figure, axes = _figure(panels)
    axes = np.ravel(axes)
    names = {"q_data": "the data's actions", "q_policy": "the policy's",
             "q_uniform": "uniform ones"}  # fmt: skip
    for (name, label), colour in zip(names.items(), COLOURS, strict=False):
        _lines_of(axes[0], records, name, colour, label)
    if togo is not None:
        axes[0].axhline(togo, color=GREY, linestyle="--", label="return of the data")
    axes[0].set(xlabel="updates", ylabel="Q")
    for name, label, colour in paid[: len(paid) * (panels - 1)]:
        _lines_of(axes[-1], records, name, colour, label)
    if panels > 1:
        axes[1].set(xlabel="updates", ylabel="gap (units of Q)" + ", α'" * learned)
    if len(settings := settings_of(records)) > 1:
        for setting, dashes in zip(settings, itertools.cycle(DASHES)):
            axes[-1].plot([], [], dashes, color="black", label=setting)
    _finish(figure, axes, "conservatism" if panels > 1 else "what Q promises", path)


def _lines_of(axes: Any, records: Records, name: str, colour: str, label: str) -> None:
    """A metric over steps, a thin line a lane; nothing where it is not recorded."""
    dashes = dict(zip(settings_of(records), itertools.cycle(DASHES)))
    for k, lane in enumerate(lanes_of(records)):
        own = [r for r in records if lane_of(r) == lane and name in r]
        steps, values = [r["step"] for r in own], [r[name] for r in own]
        if own:
            axes.plot(steps, values, _marked(steps) + dashes[lane[0]], color=colour,
                      linewidth=1.2, alpha=0.8, label=None if k else label)  # fmt: skip


def _marked(steps: list[int]) -> str:
    """A point is seen only if it is marked."""
    return "o" if len(steps) == 1 else ""


def _figure(columns: int = 1) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(
        1, columns, figsize=(3 + 4 * columns, 4), dpi=110, layout="constrained"
    )


def _finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    from matplotlib import pyplot

    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
        one.locator_params(axis="x", integer=True)
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=False)
    np.ravel(axes)[0].set_title(title, loc="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
