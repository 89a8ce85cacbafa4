"""`softq train …`: a command line as a plan."""

import itertools
from pathlib import Path
from typing import Any

from softq import api, options, plan
from softq.algos import ALGOS
from softq.presets import find
from softq.types import SoftqError


def usage() -> str:
    """What `softq train --help` says."""
    return (
        "softq train ALGO --env ID [options]\n\n"
        f"ALGO is one of: {', '.join(ALGOS)}\n"
        "Its options: softq train ALGO --help"
    )


def planned(args: list[str]) -> tuple[plan.Plan, Path]:
    """The plan that a command line asks for, and where the run goes.

    Raises SoftqError for what cannot be meant together.
    """
    if not args or args[0].startswith("-"):
        raise SoftqError(
            "train what? Try: softq train sac --env ID. There are: " + ", ".join(ALGOS)
        )
    name = plan.algorithm(args[0])
    kind = options.train(name, _preset(args))
    given = options.parse(kind, args[1:], f"softq train {args[0]}")
    fixed, data = given.data.chosen, given.data
    _check(given, args[0], bool(find(name, given.preset).data))
    where = data.eval_env
    if fixed is not None:
        where = where or data.finetune_env or api.home(fixed)
    made = plan.Plan(
        name, given.env or where or "", given.algo, given.loop, given.cadence,
        given.seed, given.seeds, data=fixed, finetune_env=data.finetune_env,
        finetune_steps=data.finetune_steps, sweep=options.swept(name, given.sweep),
    )  # fmt: skip
    if given.init_from is not None:
        made = plan.starting_from(made, given.init_from)
    return made, given.out or _fresh_folder(made)


def _check(given: Any, name: str, for_data: bool) -> None:
    """Raises SoftqError unless there is one thing to learn from, and options fit it."""
    fixed = given.data.chosen
    if (not given.env) == (fixed is None):
        both = "; found both. Data that are evaluated: --data FILE --eval-env ID"
        raise SoftqError(
            f"softq train {name} needs --env ID or --data FILE, one of them"
            + (both if given.env else "")
        )
    if fixed is None and for_data:
        raise SoftqError(f"--preset {given.preset} is for data: give --data FILE")
    if fixed is None and (stray := given.data.given):
        raise SoftqError(f"{stray[0]} goes with --data FILE")


def _preset(args: list[str]) -> str | None:
    """What `--preset` names: it changes the defaults that the rest is read over."""
    for flag, value in itertools.pairwise([*args, ""]):
        if flag == "--preset":
            return value
    return next((a.partition("=")[2] for a in args if a.startswith("--preset=")), None)


def _fresh_folder(made: plan.Plan) -> Path:
    """runs/<algorithm>-<environment>-<seed>, numbered where that is taken."""
    env = made.env.replace("/", "-")
    world = Path(made.data.path).stem if made.data else env
    base = Path("runs") / f"{made.algorithm}-{world}-{made.seed}"
    names = (base.with_name(f"{base.name}-{n}") for n in range(2, 10**6))
    return base if not base.exists() else next(p for p in names if not p.exists())
