"""What a run tells: JSON lines for machines, a live panel or plain lines for people.

`metrics.jsonl` has a line a seed every `log_every` steps, `evals.jsonl` one a seed an
evaluation. Everything in them but `wall_s` and `steps_per_s` is a function of the
run's options alone.
"""

import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

import numpy as np
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from softq.types import Episode, SoftqError

TIMING = ("wall_s", "steps_per_s", "first_update_s")


@runtime_checkable
class Sink(Protocol):
    """Somewhere that records go."""

    def metrics(self, record: dict[str, Any]) -> None: ...

    def evaluation(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Jsonl:
    """`metrics.jsonl` and `evals.jsonl` in a run's directory."""

    def __init__(self, run: Path, offsets: dict[str, int] | None = None):
        self.files = {
            name: _open_at(run / name, offsets.get(name, 0) if offsets else None)
            for name in ("metrics.jsonl", "evals.jsonl")
        }

    def metrics(self, record: dict[str, Any]) -> None:
        self._line("metrics.jsonl", record)

    def evaluation(self, record: dict[str, Any]) -> None:
        self._line("evals.jsonl", record)

    def _line(self, name: str, record: dict[str, Any]) -> None:
        self.files[name].write(json.dumps(record) + "\n")
        self.files[name].flush()

    def offsets(self) -> dict[str, int]:
        """How long each file is, once it is on the disk."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self.files.items()}

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _open_at(path: Path, offset: int | None) -> TextIO:
    """A file to append to; cut at `offset`, so that a resumed run repeats no line."""
    file = path.open("a", encoding="utf-8")
    if offset is not None:
        file.truncate(min(offset, file.tell()))
    return file


class Lines:
    """Plain lines on standard output, where it is no terminal."""

    def metrics(self, record: dict[str, Any]) -> None:
        print(f"step {record['step']:>9,}  {_short(record)}", flush=True)

    def evaluation(self, record: dict[str, Any]) -> None:
        print(f"step {record['step']:>9,}  evaluation  {_returns(record)}", flush=True)

    def close(self) -> None: ...


class Board:
    """A live panel: progress, steps a second, time left, the last evaluation."""

    def __init__(self, title: str, total: int):
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(None),
                            TaskProgressColumn(), expand=True)  # fmt: skip
        self.task = self.bar.add_task("steps", total=total)
        self.title, self.total = title, total
        self.now: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.live = Live(self._panel(), refresh_per_second=4)
        self.live.start()

    def metrics(self, record: dict[str, Any]) -> None:
        self.now = record
        self.bar.update(self.task, completed=record["step"])
        self.live.update(self._panel())

    def evaluation(self, record: dict[str, Any]) -> None:
        self.last = record
        self.live.update(self._panel())

    def close(self) -> None:
        self.live.stop()

    def _panel(self) -> Panel:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="dim", width=12)
        grid.add_column()
        rate = self.now.get("steps_per_s", 0.0)
        left = (self.total - self.now.get("step", 0)) / rate if rate else None
        speed = (
            f"{rate:,.0f} steps/s, {duration(left)} left" if left is not None else "…"
        )
        grid.add_row("speed", speed)
        grid.add_row("training", _short(self.now) if self.now else "…")
        grid.add_row("evaluation", _at(self.last) if self.last else "…")
        outer = Table.grid(expand=True)
        outer.add_row(self.bar)
        outer.add_row(grid)
        return Panel(outer, title=self.title, title_align="left", border_style="cyan")


class TensorBoard:
    """TensorBoard scalars, one writer a seed (extra `tensorboard`)."""

    def __init__(self, run: Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise missing("tensorboard", "--tensorboard") from error
        self.make, self.run = SummaryWriter, run / "tensorboard"
        self.writers: dict[str, Any] = {}

    def metrics(self, record: dict[str, Any]) -> None:
        self._add("train", record)

    def evaluation(self, record: dict[str, Any]) -> None:
        self._add("eval", flat(record))

    def _add(self, group: str, record: dict[str, Any]) -> None:
        lane = lane_of(record)
        if lane not in self.writers:
            self.writers[lane] = self.make(str(self.run / lane))
        for name, number in record.items():
            if name not in ("step", "seed", "setting") and number is not None:
                self.writers[lane].add_scalar(f"{group}/{name}", number, record["step"])

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


class Wandb:
    """Weights & Biases (extra `wandb`)."""

    def __init__(self, run: Path, config: dict[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb", "--wandb") from error
        self.session = wandb.init(
            project="softq", name=run.name, config=config, dir=run
        )

    def metrics(self, record: dict[str, Any]) -> None:
        self._log("train", record)

    def evaluation(self, record: dict[str, Any]) -> None:
        self._log("eval", flat(record))

    def _log(self, group: str, record: dict[str, Any]) -> None:
        lane = lane_of(record)
        named = {
            f"{group}/{name}/{lane}": number
            for name, number in record.items()
            if name not in ("seed", "setting")
        }
        self.session.log(named, step=record["step"])

    def close(self) -> None:
        self.session.finish()


def lane_of(record: dict[str, Any]) -> str:
    """What to call the run that a record is of: seed-0, or gap_weight=5-seed-0."""
    told = f"{record['setting']}-" if "setting" in record else ""
    return f"{told}seed-{record['seed']}"


def missing(extra: str, what: str) -> SoftqError:
    """The error for an extra that is not installed."""
    return SoftqError(f'{what} needs a package: pip install "softq[{extra}]"')


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """Nested records with their names joined by a slash."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out |= {f"{name}/{inner}": v for inner, v in value.items()}
        else:
            out[name] = value
    return out


class Meter:
    """Turns what a loop yields into metric records, one a lane (seed and setting)."""

    def __init__(self, seeds: list[int], settings: list[str], began: float):
        self.seeds, self.settings = seeds, settings
        self.episodes = [deque[Episode](maxlen=20) for _ in seeds]
        self.began = began
        self.first_update_s: float | None = None
        self.begin(0)

    def begin(self, step: int) -> None:
        """From here on the speed is measured: a resumed run's first steps took none."""
        self.mark = (time.time(), step)

    def snapshot(self) -> dict[str, Any]:
        """What `restore` needs to go on with the same averages."""
        recent = [[list(episode) for episode in lane] for lane in self.episodes]
        return {"episodes": recent, "first_update_s": self.first_update_s}

    def restore(self, record: dict[str, Any]) -> None:
        known = record["episodes"]
        if isinstance(known, dict):  # by seed, as it was before sweeps had episodes
            known = [known[str(seed)] for seed in self.seeds]
        for recent, lane in zip(self.episodes, known, strict=True):
            recent += [Episode(*episode) for episode in lane]
        self.first_update_s = record["first_update_s"]

    def add(self, episodes: list[Episode]) -> None:
        for episode in episodes:
            self.episodes[episode.lane].append(episode)

    def records(self, step: int, info: dict[str, Any]) -> list[dict[str, Any]]:
        """One record a lane; reading `info` waits for the device."""
        now = time.time()
        rate = (step - self.mark[1]) / max(now - self.mark[0], 1e-9)
        self.mark = (now, step)
        timing = {
            "wall_s": round(now - self.began, 3),
            "steps_per_s": round(rate, 1),
            "first_update_s": self.first_update_s,
        }
        return [
            {"step": step, "seed": self.seeds[k], **self._lane(k, info), **timing}
            for k in range(len(self.seeds))
        ]

    def _lane(self, k: int, info: dict[str, Any]) -> dict[str, Any]:
        recent = self.episodes[k]
        return {
            **({"setting": self.settings[k]} if self.settings[k] else {}),
            "return": _mean([e.ret for e in recent]),
            "length": _mean([e.length for e in recent]),
            **{name: float(np.ravel(x)[k]) for name, x in sorted(info.items())},
        }


def _mean(numbers: list[float] | list[int]) -> float | None:
    return float(np.mean(numbers)) if numbers else None


def _short(record: dict[str, Any]) -> str:
    names = ("return", "q", "gap", "entropy", "alpha", "critic_loss")
    pairs = [(n, record.get(n)) for n in names]
    shown = [f"{n} {x:,.4g}" for n, x in pairs if x is not None]
    return "  ".join(shown) or "collecting"


def _returns(record: dict[str, Any]) -> str:
    greedy, sampled = record["greedy"], record["sampled"]
    return (
        f"greedy {greedy['return']:,.1f} (sd {greedy['return_std']:,.1f})  "
        f"sampled {sampled['return']:,.1f}  soft {sampled['soft']:,.1f}"
    )


def _at(record: dict[str, Any]) -> str:
    return f"{_returns(record)}  (step {record['step']:,}, seed {record['seed']})"


def duration(seconds: float) -> str:
    """Seconds as 1 h 02 min, 3 min 20 s or 12 s."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def screen(title: str, total: int) -> Sink:
    """The panel on a terminal, plain lines elsewhere."""
    return Board(title, total) if sys.stdout.isatty() else Lines()
