"""What each command takes, as dataclasses that tyro reads."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from softq.algos import ALGOS
from softq.plan import Cadence
from softq.train.step import Options


def train(name: str) -> type:
    """The options of `softq train NAME`, its algorithm's beneath `--algo`."""
    flat = tyro.conf.arg(name="")
    fields: list[Any] = [
        ("env", str, _doc("The id of a Gymnasium environment.")),
        ("seed", int, _doc("The first seed.", 0)),
        ("seeds", int, _doc("How many seeds to train in one program.", 1)),
        ("out", Path | None, _doc("The run's directory (default: a new one).", None)),
        ("init_from", Path | None, _doc("A run to start from as it ended.", None)),
        ("loop", Annotated[Options, flat], dataclasses.field(default=Options())),
        ("cadence", Annotated[Cadence, flat], dataclasses.field(default=Cadence())),
        ("algo", ALGOS[name].Config, dataclasses.field(default=ALGOS[name].Config())),
    ]
    documented = [
        (
            n,
            Annotated[t, tyro.conf.arg(help=f.metadata["help"])] if f.metadata else t,
            f,
        )
        for n, t, f in fields
    ]
    return dataclasses.make_dataclass("Train", documented, frozen=True)


def _doc(text: str, default: Any = dataclasses.MISSING) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
    """Continue a run from its newest valid checkpoint."""

    run: Positional[Path]


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Greedy and sampled episodes of a run's policy in fresh environments."""

    run: Positional[Path]
    env: str | None = None
    """Another environment than the run's own."""
    episodes: int = 10
    seed: int = 0
    """Of the episodes."""
    checkpoint: str = "last"
    """last, best, or a step."""
    json: bool = False
    """Print one JSON line instead of a table."""


@dataclasses.dataclass(frozen=True)
class PlayOptions:
    """Film one episode."""

    run: Positional[Path]
    video: Path
    """The file to write, .mp4 or .gif."""
    env: str | None = None
    sampled: bool = False
    """Sample actions instead of taking the greedy ones."""
    seed: int = 0
    checkpoint: str = "last"


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The greedy policy as a file that runs without softq."""

    run: Positional[Path]
    format: Literal["onnx", "stablehlo"]
    out: Path | None = None
    """The file to write (default: policy.onnx or policy.stablehlo in the run)."""
    checkpoint: str = "last"


@dataclasses.dataclass(frozen=True)
class SolveOptions:
    """Solve a table exactly, with a bound on the true error."""

    method: Positional[Literal["soft-vi", "soft-pi", "cql"]]
    mdp: str
    """frozenlake, cliffwalking, taxi, gridworld, maze, chain; a .npz or .txt file."""
    alpha: float = 0.1
    """Temperature, in reward units a nat; 0 is standard value and policy iteration."""
    discount: float = 0.99
    tol: float = 1e-8
    """Largest true error of Q and V."""
    slip: float = 0.1
    """Of the maps and the chain: how often a move goes astray."""
    gap_weight: float = 1.0
    """Of cql."""
    out: Path | None = None
    """Folder for the solution and its pictures (default: runs/solve-…)."""


@dataclasses.dataclass(frozen=True)
class ReproduceOptions:
    """Make a figure of the papers and lectures again."""

    figure: Positional[str]
    out: Path | None = None
    """Folder for the picture and its numbers (default: runs/figures)."""
