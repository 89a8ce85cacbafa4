"""What made a run, so that its numbers can be made again: a card."""

import dataclasses
import shlex
from typing import Any

from softq.pages.markup import Html, details, table, tag
from softq.pages.runs import Run, clean
from softq.plan import Cadence, Data, Plan
from softq.train.step import Options


def command(made: Plan) -> str:
    """The command line that asks for this plan; empty where only Python can."""
    worlds = (made.env, made.data.path if made.data else "", made.finetune_env or "")
    if any(world.startswith("python:") for world in worlds):
        return ""
    words = ["softq", "train", made.algorithm]
    if made.data:
        words += ["--data", made.data.path, *_named("--eval-env", made.env)]
        words += _changed(made.data, Data(made.data.path), "data.")
    else:
        words += ["--env", made.env]
    if made.finetune_env:
        words += ["--finetune-env", made.finetune_env]
        words += ["--finetune-steps", str(made.finetune_steps)]
    words += ["--seed", str(made.seed)]
    words += _named("--seeds", str(made.seeds) if made.seeds > 1 else None)
    words += _named("--init-from", made.init_from)
    for one in made.sweep:
        values = ",".join(f"{value:g}" for value in one.values)
        words += ["--sweep", f"algo.{_flag(one.knob)}={values}"]
    words += _changed(made.loop, Options(), "") + _changed(made.cadence, Cadence(), "")
    words += _changed(made.algo, type(made.algo)(), "algo.")
    return shlex.join(words)


def _named(flag: str, value: str | None) -> list[str]:
    return [flag, value] if value else []


def _changed(given: Any, default: Any, above: str) -> list[str]:
    """The flags of what is not as it is by default."""
    words = []
    for field in dataclasses.fields(given):
        value, usual = getattr(given, field.name), getattr(default, field.name)
        # The one flag of data that is no number has no `data.` before it.
        start = "" if field.name == "strict" else above
        if value == usual:
            continue
        if isinstance(value, bool):
            words.append(f"--{start}{'' if value else 'no-'}{_flag(field.name)}")
        else:
            several = isinstance(value, tuple)
            words += [f"--{start}{_flag(field.name)}",
                      *map(str, value if several else [value])]  # fmt: skip
    return words


def _flag(name: str) -> str:
    return name.replace("_", "-")


def card(run: Run) -> Html:
    """A run's command, data, versions and machine, folded away."""
    told = clean(command(run.plan), 4_000)
    how = tag("pre", told) if told else tag("p", "started from Python", class_="note")
    first, count = run.plan.seed, run.plan.seeds
    rows = [
        ("algorithm", run.plan.algorithm),
        ("environment", run.plan.env or "–"),
        ("seeds", f"{first} to {first + count - 1}" if count > 1 else first),
    ]
    rows += _about(
        run.config.get("data"),
        ("format", "env_id", "transitions", "episodes", "sha256"),
        "data: ",
    )
    rows += _about(run.config.get("versions"), None, "version of ")
    rows += [("commit", run.config.get("commit") or "not told")]
    rows += _about(run.config.get("machine"), None, "machine: ")
    cells = [(clean(str(name), 60), clean(str(value))) for name, value in rows]
    notes = [tag("p", one, class_="note") for one in run.told]
    return details(run.name, how, *notes, table(("what", "is"), cells, words=(0, 1)))


def _about(
    found: Any, names: tuple[str, ...] | None, above: str
) -> list[tuple[str, Any]]:
    """Pairs of a part of the config, which may be missing or damaged."""
    if not isinstance(found, dict):
        return []
    kept = [name for name in found if names is None or name in names][:20]
    return [(f"{above}{name}", found[name]) for name in kept]
