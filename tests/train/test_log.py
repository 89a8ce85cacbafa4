"""What is shown while a run goes on, and what other loggers are told."""

import io
import json
import re
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import rich
from rich.console import Console

from softq import log
from softq.types import Episode, SoftqError

METRICS = {"step": 2_500, "seed": 1, "return": 12.5, "length": 20.0, "alpha": 0.25,
           "wall_s": 5.0, "steps_per_s": 500.0, "first_update_s": None}  # fmt: skip
RETURNS = {"return": 100.0, "return_std": 3.0, "soft": 107.0}
EVALUATION = {"step": 2_000, "seed": 1, "greedy": RETURNS,
              "sampled": RETURNS | {"return": 90.0}}  # fmt: skip


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 100 columns, in place of the one that rich writes to."""
    drawn = io.StringIO()
    monkeypatch.setattr(
        rich, "_console", Console(file=drawn, force_terminal=True, width=100)
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    return drawn


def seen(drawn: io.StringIO) -> str:
    """What stands there at the end: the last panel, without its colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.getvalue())
    return plain[plain.rindex("╭") :]


def test_the_panel_begins_with_nothing_to_tell(terminal: io.StringIO) -> None:
    log.screen("sac on Pendulum-v1", 10_000).close()
    shown = seen(terminal)
    assert "sac on Pendulum-v1" in shown
    assert "0%" in shown
    assert [line.count("…") for line in shown.splitlines()[2:5]] == [1, 1, 1]


def test_the_panel_tells_progress_speed_time_left_and_returns(
    terminal: io.StringIO,
) -> None:
    board = log.screen("sac on Pendulum-v1", 10_000)
    board.metrics(METRICS)
    board.evaluation(EVALUATION)
    board.close()
    shown = seen(terminal)
    assert "25%" in shown
    assert "500 steps/s, 15 s left" in shown  # 7,500 steps
    assert "return 12.5  alpha 0.25" in shown
    told = "greedy 100.0 (sd 3.0)  sampled 90.0  soft 107.0"
    assert f"{told}  (step 2,000, seed 1)" in shown


def test_without_a_terminal_there_are_plain_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = log.screen("sac on Pendulum-v1", 10_000)
    lines.metrics(METRICS)
    lines.metrics({"step": 10, "seed": 0, "return": None})
    lines.evaluation(EVALUATION)
    lines.close()
    assert capsys.readouterr().out.splitlines() == [
        "step     2,500  return 12.5  alpha 0.25",
        "step        10  collecting",
        "step     2,000  evaluation  greedy 100.0 (sd 3.0)  sampled 90.0  soft 107.0",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.9, "0 s"), (59.9, "59 s"), (60.0, "1 min 00 s"), (3_599.9, "59 min 59 s"),
        (3_600.0, "1 h 00 min"), (90_061.0, "25 h 01 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, told: str) -> None:
    assert log.duration(seconds) == told


class Writer:
    """TensorBoard's writer, and what it was given."""

    made: ClassVar[dict[str, "Writer"]] = {}

    def __init__(self, folder: str):
        self.scalars: list[tuple[str, float, int]] = []
        self.open = True
        self.made[Path(folder).name] = self

    def add_scalar(self, name: str, number: float, step: int) -> None:
        self.scalars.append((name, number, step))

    def close(self) -> None:
        self.open = False


def test_tensorboard_has_a_writer_a_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "made", {})
    module: Any = types.ModuleType("tensorboardX")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    board = log.TensorBoard(tmp_path)
    board.metrics(METRICS)
    board.metrics({"step": 5, "seed": 1, "setting": "gap_weight=5", "gap": 2.0})
    board.evaluation(EVALUATION)
    board.close()
    one, other = Writer.made["seed-1"], Writer.made["gap_weight=5-seed-1"]
    assert ("train/alpha", 0.25, 2_500) in one.scalars
    assert ("eval/greedy/return", 100.0, 2_000) in one.scalars
    assert ("eval/sampled/return", 90.0, 2_000) in one.scalars
    names = {name for name, _, _ in one.scalars}
    assert not names & {"train/step", "train/seed", "train/first_update_s"}
    assert other.scalars == [("train/gap", 2.0, 5)]
    assert not one.open
    assert not other.open


def test_wandb_is_told_every_lane_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, Any] = {}
    logged: list[tuple[dict[str, Any], int]] = []
    ended: list[bool] = []

    def begin(**options: Any) -> Any:
        begun.update(options)
        return types.SimpleNamespace(
            log=lambda named, step: logged.append((named, step)),
            finish=lambda: ended.append(True),
        )

    module: Any = types.ModuleType("wandb")
    module.init = begin
    monkeypatch.setitem(sys.modules, "wandb", module)
    run = tmp_path / "runs" / "one"
    sink = log.Wandb(run, {"alpha": 1.0})
    sink.metrics({"step": 5, "seed": 2, "gap": 2.0})
    sink.evaluation(EVALUATION)
    sink.close()
    wanted = {"project": "softq", "name": "one", "config": {"alpha": 1.0}, "dir": run}
    assert begun == wanted
    assert logged[0] == ({"train/step/seed-2": 5, "train/gap/seed-2": 2.0}, 5)
    assert logged[1][0]["eval/greedy/return/seed-1"] == 100.0
    assert ended == [True]


@pytest.mark.parametrize(
    ("module", "extra"), [("tensorboardX", "tensorboard"), ("wandb", "wandb")]
)
def test_a_missing_logger_says_what_to_type(
    module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(SoftqError, match=rf'--{extra}.*pip install "softq\[{extra}\]"'):
        log.TensorBoard(tmp_path) if extra == "tensorboard" else log.Wandb(tmp_path, {})


def test_recent_episodes_are_a_lanes_and_once_were_a_seeds() -> None:
    """Runs of before go on: their manifests hold episodes by seed."""
    lanes = [3, 4, 3, 4], ["a", "a", "b", "b"], 0.0
    meter, again = log.Meter(*lanes), log.Meter(*lanes)
    meter.add([Episode(4, 1.5, 7, 1), Episode(4, 2.5, 8, 3)])
    again.restore(json.loads(json.dumps(meter.snapshot())))
    assert [r["return"] for r in again.records(0, {})] == [None, 1.5, None, 2.5]
    old = log.Meter([3, 4], ["", ""], 0.0)
    old.restore({"episodes": {"3": [], "4": [[4, 1.5, 7]]}, "first_update_s": 0.5})
    assert [r["return"] for r in old.records(0, {})] == [None, 1.5]
