"""argv → typed options → `softq.api`. No reinforcement learning here.

What `softq --help` shows imports nothing heavy; a command imports what it needs.
"""

import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

USAGE = """softq: maximum-entropy reinforcement learning

  softq train ALGO --env ID      train online; `softq train ALGO --help` has the options
  softq train ALGO --data FILE   train on fixed data, and with --finetune-env go on
  softq resume RUN               continue a run exactly where it stopped
  softq evaluate RUN             greedy and sampled: task, entropy and soft return;
                                 --perturb friction=0.5..2,delay=0,2 in changed worlds
  softq play RUN --video FILE    film an episode (mp4 or gif)
  softq export RUN --format F    the policy as onnx or stablehlo, checked against it
  softq collect RUN --steps N --out FILE   a policy's steps as offline data
  softq data info|doctor|convert FILE   look into a file of offline data
  softq solve METHOD --mdp NAME  a table, exactly: soft-vi, soft-pi or cql
  softq reproduce FIGURE         a figure of the papers; `softq reproduce` lists them
  softq report RUN…              runs side by side: a web page, pictures and tables
  softq list                     algorithms, softq's own environments, your runs

Example: softq train sac --env softq/Pendulum-v0 --steps 20000
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command line; returns the exit code (2: a mistake of the user's)."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if args[0] == "--version":
        from softq import __version__

        print(__version__)
        return 0
    from softq.types import SoftqError

    try:
        return _command(args[0])(args[1:])
    except SoftqError as error:
        print(f"softq: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # what the system says of a name, or of its disk
        print(f"softq: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _command(name: str) -> Callable[[list[str]], int]:
    if name in COMMANDS:
        return COMMANDS[name]
    from softq.types import SoftqError

    near = difflib.get_close_matches(name, COMMANDS, 1, 0.4)
    hint = f"Did you mean {near[0]}?" if near else "See: softq --help"
    raise SoftqError(f"there is no command {name}. {hint}")


def _train(args: list[str]) -> int:
    from softq import api, traincli

    if args[:1] in (["-h"], ["--help"]):
        print(traincli.usage())
        return 0
    made, out = traincli.planned(args)
    _cache()
    return _ended(api.start(made, made.env or None, out))


def _ended(run: Any) -> int:
    """Says how a run ended; 128 + the signal that stopped it, as shells do."""
    if run.stopped:
        print(f"stopped at step {run.step:,}. Continue with: softq resume {run.path}")
        return 128 + int(run.stopped)
    if run.trouble:
        print(f"softq: {run.trouble}. The run ends: {run.path}", file=sys.stderr)
        return 1
    print(f"done: {run.path}")
    return 0


def _data(args: list[str]) -> int:
    from softq import datacli

    return datacli.main(args)


def _cache() -> None:
    """Compiled programs are kept between runs, so that the second starts faster."""
    import os

    import jax

    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.join(base, "softq"))
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _resume(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.ResumeOptions, args, "softq resume")
    from softq import api

    _cache()
    return _ended(api.resume(given.run))


def _load(given: Any) -> tuple[Any, str]:
    """The policy that options ask for, and the environment to use it in."""
    from softq import plan
    from softq.policy import load
    from softq.types import SoftqError

    which = given.checkpoint
    number = which.isascii() and which.isdigit() and len(which) < 20
    if which not in ("last", "best") and not number:
        raise SoftqError(f"--checkpoint is last, best or a step; found {which}")
    step = int(which) if number else which
    policy = load(given.run, step, given.run_seed, given.setting)
    return policy, getattr(given, "env", None) or plan.read(given.run)[0].env


def _where(env: str, run: Path) -> str:
    """The environment to act in; a run on data may know of none."""
    from softq.types import SoftqError

    if not env or env.startswith("python:"):
        known = f"only its {env.removeprefix('python:')}" if env else "no environment"
        raise SoftqError(f"{run} names {known}. Where? Add --env ID")
    return env


def _evaluate(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.EvaluateOptions, args, "softq evaluate")
    from softq import api, report
    from softq.envs import perturb
    from softq.types import SoftqError

    if given.episodes < 1:
        raise SoftqError(f"--episodes must be more than zero; found {given.episodes}")
    changes = None if given.perturb is None else perturb.parse(given.perturb)
    policy, env = _load(given)
    env = _where(env, given.run)
    if changes is None:
        result = api.evaluate(policy, env, given.episodes, given.seed)
        report.show(result, env, given.json)
        return 0
    from softq import robustness

    robustness.evaluate(given, changes, policy, env, _over)
    return 0


def _play(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.PlayOptions, args, "softq play")
    from softq import film

    policy, env = _load(given)
    env = _where(env, given.run)
    seconds, total = film.play(policy, env, given.video, given.seed, given.sampled)
    print(f"{given.video}: {seconds:.1f} s, return {total:,.1f}")
    return 0


def _export(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.ExportOptions, args, "softq export")
    from softq import export

    policy, _ = _load(given)
    out = given.out or given.run / f"policy.{given.format}"
    difference = export.export(policy, given.format, out)
    print(f"{out}: largest difference {difference:.1e} on 10,000 observations")
    return 0


def _collect(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.CollectOptions, args, "softq collect")
    from softq.collect import collect

    told = collect(
        list(given.runs), given.steps, given.out, given.env, seed=given.seed,
        greedy=given.greedy, replay=given.replay, form=given.format,
    )  # fmt: skip
    mean = told["mean_return"]
    said = "no whole episode"
    if mean is not None:
        said = f"whole episodes: {told['episodes']:,}, mean return {mean:,.1f}"
    print(f"{given.out}: {told['steps']:,} steps, {said}")
    return 0


def _solve(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.SolveOptions, args, "softq solve")
    from softq import solve
    from softq.types import SoftqError

    if not given.tol > 0:
        raise SoftqError(f"--tol must be more than zero; found {given.tol}")
    mdp = solve.table(given.mdp, given.discount, given.slip)
    name = Path(given.mdp).stem
    solved = solve.solve(
        given.method, mdp, given.alpha, given.tol, given.gap_weight, _progress
    )
    solve.show(given.method, solved, given.alpha)
    out = given.out or Path("runs") / f"solve-{given.method}-{name}"
    about = {"method": given.method, "mdp": given.mdp, "alpha": given.alpha,
             "discount": mdp.discount, "tol": given.tol}  # fmt: skip
    solve.write(solved, out, about)
    for path in solve.pictures(given.method, solved, given.alpha, name, out):
        print(path)
    return 0


def _progress(iterations: int, error: float) -> None:
    _over(f"{iterations:,} iterations, error at most {error:.1e} ")


def _over(text: str) -> None:
    """One line that is written over, where someone looks."""
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr)


def _reproduce(args: list[str]) -> int:
    from softq.figures import FIGURES, reproduce
    from softq.types import SoftqError

    if not args:
        for name, told in FIGURES.items():
            print(f"{name:14} {told}")
        return 0
    from softq import options

    given = options.parse(options.ReproduceOptions, args, "softq reproduce")
    if given.figure not in FIGURES:
        near = difflib.get_close_matches(given.figure, FIGURES, 1, 0.5)
        every = f"There are: {', '.join(FIGURES)}"
        hint = f"Did you mean {near[0]}?" if near else every
        raise SoftqError(f"no figure is called {given.figure}. {hint}")
    from softq import machine

    out = given.out or Path("runs") / "figures"
    try:
        found = reproduce(given.figure, out, given.data)
        asked = f"softq reproduce {given.figure}"
        asked += f" --data {given.data}" if given.data else ""
        found |= {"command": asked, "versions": machine.versions(),
                  "machine": machine.about()}  # fmt: skip
        (out / f"{given.figure}.json").write_text(json.dumps(found, indent=1) + "\n")
    except OSError as error:
        raise SoftqError(f"cannot write to {out}: {error.strerror or error}") from error
    print(f"{out / given.figure}.png and .json")
    return 0


def _report(args: list[str]) -> int:
    from softq import options

    given = options.parse(options.ReportOptions, args, "softq report")
    from rich.console import Console

    from softq.pages import build
    from softq.types import SoftqError

    if not given.runs:
        raise SoftqError("report on which runs? Try: softq report runs/*")
    made = build.build(given.runs, given.out)
    for told in made.left_out:
        print(f"softq: left out: {told}", file=sys.stderr)
    for told in made.said:
        print(f"note: {told}", file=sys.stderr)
    screen = Console() if sys.stdout.isatty() else Console(width=120)
    screen.print(build.summary(made))
    print(f"{made.page} and {len(made.files) - 1} files beside it")
    return 0


def _list(args: list[str]) -> int:
    from softq import report

    report.listing(Path("runs"))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train, "resume": _resume, "evaluate": _evaluate, "play": _play,
    "export": _export, "collect": _collect, "data": _data, "solve": _solve,
    "reproduce": _reproduce, "report": _report, "list": _list,
}  # fmt: skip
