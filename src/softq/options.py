"""What each command takes, as dataclasses that tyro reads."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from softq.algos import ALGOS
from softq.plan import Cadence, Data, Sweep, sweeps
from softq.presets import find
from softq.train.step import Options
from softq.types import SoftqError


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Learning from data instead of an environment, and going on in one."""

    data: Path | None = None
    """Data to learn from: D4RL or Minari HDF5, OGBench npz; steps are updates."""
    eval_env: str | None = None
    """Where to evaluate it (default: the file's own environment)."""
    finetune_env: str | None = None
    """Go on in this environment afterwards, half of every batch from the data."""
    finetune_steps: int = 0
    """For so many steps."""
    reward_scale: Annotated[float, tyro.conf.arg(name="data.reward-scale")] = 1.0
    """Multiplies every reward of the data."""
    reward_shift: Annotated[float, tyro.conf.arg(name="data.reward-shift")] = 0.0
    """Added to every reward after that."""
    strict: bool = False
    """Refuse data with actions outside the bounds instead of clipping them."""

    @property
    def given(self) -> list[str]:
        """The flags that are not as they would be without them."""
        flags = {
            "reward_scale": "data.reward-scale",
            "reward_shift": "data.reward-shift",
        }
        changed = [f.name for f in dataclasses.fields(self)
                   if getattr(self, f.name) != f.default]  # fmt: skip
        return [f"--{flags.get(n, n.replace('_', '-'))}" for n in changed]

    @property
    def chosen(self) -> Data | None:
        if self.data is None:
            return None
        return Data(str(self.data), self.reward_scale, self.reward_shift, self.strict)


def swept(name: str, asked: tuple[str, ...]) -> tuple[Sweep, ...]:
    """`algo.gap-weight=1,5,10` as sweeps; raises SoftqError for what is none."""
    found: dict[str, list[float]] = {}
    for one in asked:
        knob, _, values = one.partition("=")
        try:
            numbers = [float(x) for x in values.split(",")]
        except ValueError:
            numbers = []
        if not knob.startswith("algo.") or not numbers:
            raise SoftqError(
                f"a sweep names a knob and its values, as in "
                f"--sweep algo.gap-weight=1,5,10; found {one}"
            )
        found[knob.removeprefix("algo.").replace("-", "_")] = numbers
    return sweeps(name, found)


def train(name: str, preset: str | None = None) -> type:
    """The options of `softq train NAME`, its algorithm's beneath `--algo`.

    Their defaults are those of the preset, where one is named.
    """
    chosen = find(name, preset)
    algo, loop = ALGOS[name].Config(**chosen.algo), Options(**chosen.loop)
    data = DataOptions(**chosen.data)
    flat = tyro.conf.arg(name="")
    fields: list[Any] = [
        ("env", str | None, _doc("The id of a Gymnasium environment.", None)),
        ("preset", str | None, _doc("Named settings for a family of data.", None)),
        ("data", Annotated[DataOptions, flat], dataclasses.field(default=data)),
        ("sweep", tyro.conf.UseAppendAction[tuple[str, ...]],
         _doc("A knob and its values, as in algo.gap-weight=1,5,10; again for each.",
              ())),
        ("seed", int, _doc("The first seed.", 0)),
        ("seeds", int, _doc("How many seeds to train in one program.", 1)),
        ("out", Path | None, _doc("The run's directory (default: a new one).", None)),
        ("init_from", Path | None, _doc("A run to start from as it ended.", None)),
        ("loop", Annotated[Options, flat], dataclasses.field(default=loop)),
        ("cadence", Annotated[Cadence, flat], dataclasses.field(default=Cadence())),
        ("algo", ALGOS[name].Config, dataclasses.field(default=algo)),
    ]  # fmt: skip
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
    run_seed: int | None = None
    """Which of the run's seeds (default: the first)."""
    setting: int = 0
    """Which of a sweep's settings, counted from 0."""
    perturb: str | None = None
    """Changed worlds, every combination: friction=0.5..2,mass:torso=0.5,1,2,delay=0,2.
    absolute-friction=0.1..3 sets instead of multiplying; a name that the environment
    lacks lists those it has. Writes RUN/robustness."""
    json: bool = False
    """Print one JSON line instead of a table; of changed worlds one each."""


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
    run_seed: int | None = None
    """Which of the run's seeds (default: the first)."""
    setting: int = 0
    """Which of a sweep's settings, counted from 0."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The greedy policy as a file that runs without softq."""

    run: Positional[Path]
    format: Literal["onnx", "stablehlo"]
    out: Path | None = None
    """The file to write (default: policy.onnx or policy.stablehlo in the run)."""
    checkpoint: str = "last"
    run_seed: int | None = None
    """Which of the run's seeds (default: the first)."""
    setting: int = 0
    """Which of a sweep's settings, counted from 0."""


@dataclasses.dataclass(frozen=True)
class CollectOptions:
    """Steps of policies as a file of offline data."""

    runs: Positional[tuple[str, ...]]
    """Runs, in equal shares; `random` for uniform actions."""
    steps: int
    out: Path
    """The file to write (a folder with --format minari)."""
    env: str | None = None
    """Where to act (default: the runs' own environment)."""
    greedy: bool = False
    """Take the greedy actions instead of sampling."""
    replay: bool = False
    """What the run itself did while it learned, instead of new episodes."""
    seed: int = 0
    format: Literal["d4rl", "minari"] = "d4rl"


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
    data: Path | None = None
    """A file of offline data, for figures that learn from one."""


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Runs side by side, as one HTML page that needs nothing else."""

    runs: Positional[tuple[Path, ...]]
    """Their folders; runs that differ in their seeds alone are one arm."""
    out: Path = Path("report")
    """The folder for index.html, its pictures (PNG) and its numbers (CSV)."""


def parse(kind: Any, args: list[str], prog: str) -> Any:
    """`args` as the dataclass `kind`; tyro prints its own errors and exits with 2."""
    return tyro.cli(kind, args=args, prog=prog)
