"""Driving a run: what a loop yields becomes metrics, evaluations and checkpoints."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import gymnasium
import jax

from softq import checkpoint, log, records, report
from softq.envs import EnvLike, another, make
from softq.envs.host import Failed
from softq.evaluate import Evaluator
from softq.plan import Plan
from softq.policy import Policy
from softq.source import Source
from softq.types import Progress, SoftqError

OnProgress = Callable[[Progress], bool | None]


@dataclasses.dataclass
class Run:
    """A run that has ended: where it lies, what it showed, and its policy."""

    path: Path | None
    plan: Plan
    step: int
    evaluations: list[dict[str, Any]]
    policy: Policy
    stopped: int = 0
    """The signal that stopped it; 0 where it was finished or stopped by a callback."""
    trouble: str = ""
    """Why learning was given up before the end, where it was."""


class Stop:
    """SIGINT and SIGTERM as a flag, so that a step is finished before the end."""

    def __init__(self) -> None:
        self.signal = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        return False

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal:  # asked twice: not even the step is waited for
            raise KeyboardInterrupt
        self.signal = number


class Driver:
    """One run under way: its sinks, its evaluator, its last state."""

    def __init__(
        self, made: Plan, env: EnvLike | None, source: Source, out: Path | None,
        on_progress: OnProgress | None, resumed: dict[str, Any] | None = None,
    ):  # fmt: skip
        self.plan, self.source, self.out = made, source, out
        self.on_progress, self.exact = on_progress, True
        self.resumed = resumed
        self.sinks: list[log.Sink] = []
        self.files: log.Jsonl | None = None
        settings = [made.setting(k) for k in range(made.seed_range.lanes)]
        began = time.time() - process_age()
        self.meter = log.Meter(made.seed_range.all, settings, began)
        if resumed is not None:
            self.meter.restore(resumed["meter"])
        self.evaluations: list[dict[str, Any]] = []
        self.evaluator = self._evaluator(env)
        self.last: Progress | None = None
        self.evaluated_at = 0

    def _open(self, out: Path) -> None:
        made, offsets = self.plan, self.resumed["logs"] if self.resumed else None
        title = f"{made.algorithm} on {made.world}  →  {out}"
        (out / "ended.json").unlink(missing_ok=True)
        self.files = log.Jsonl(out, offsets)
        self.sinks.append(self.files)
        if made.cadence.tensorboard:
            self.sinks.append(log.TensorBoard(out))
        if made.cadence.wandb:
            self.sinks.append(log.Wandb(out, dataclasses.asdict(made)))
        self.sinks.append(log.screen(title, made.steps))
        self.evaluations = records.evaluations(out)

    def _evaluator(self, env: EnvLike | None) -> Evaluator | None:
        cadence = self.plan.cadence
        if not cadence.eval_every or env is None:
            return None
        if isinstance(env, gymnasium.Env):
            env = another(env)
            if env is None:
                print("no evaluation: an environment object that does not say how it "
                      "was made cannot be made again. Give its id, or a function that "
                      "makes it")  # fmt: skip
                return None
        envs = [make(env) for _ in range(cadence.eval_episodes)]
        return Evaluator(self.plan, envs)

    def drive(self, train: Any, step: int) -> Run:
        """Runs to the end, or to a signal, a callback's word or a failure."""
        loop = self.plan.loop
        if self.plan.data is None and loop.first_update > loop.steps:
            print(f"note: nothing is learned in {loop.steps:,} steps, for the first "
                  f"update is at step {loop.first_update:,}. Try: --learning-starts "
                  f"{loop.steps // 10}", file=sys.stderr)  # fmt: skip
        try:
            if self.out is not None:
                self._open(self.out)
            self.meter.begin(step)
            with Stop() as stop:
                self._loop(train, step, stop)
            train, step = self._state(train, step)
            if self.out is not None:
                self._end(self.out, step, stop.signal)
                report.after(self.out)
            policies = Policy.of_train(self.plan, self.source.spec, train)
            return Run(
                self.out, self.plan, step, self.evaluations, policies, stop.signal,
                self.source.trouble,
            )  # fmt: skip
        except OSError as error:
            if self.out is None:  # nothing is written: it is a callback's own
                raise
            raise self._cannot_write(error) from error
        finally:
            for sink in self.sinks:
                sink.close()

    def _end(self, out: Path, step: int, stopped: int) -> None:
        """Says in `ended.json` that there is nothing to go on with, and why."""
        if self.source.trouble or (step >= self.plan.steps and not stopped):
            told = {"step": step, "trouble": self.source.trouble}
            (out / "ended.json").write_text(json.dumps(told) + "\n")

    def _state(self, train: Any, step: int) -> tuple[Any, int]:
        return (train, step) if self.last is None else (self.last.train, self.last.step)

    def _loop(self, train: Any, step: int, stop: Stop) -> None:
        saved = step
        try:
            for progress in self.source.run(train):
                self.last = progress
                self._report(step, progress)
                step = progress.step
                if self._due(saved, step, self.plan.cadence.checkpoint_every):
                    self.save()
                    saved = step
                told = self.on_progress is not None and self.on_progress(progress)
                if stop.signal or told or self.source.trouble:
                    break
        except Failed as error:
            kept = self.source.consistent and self.last is not None and self.out
            if kept and saved < step:
                self.save()
            where = f" Continue with: softq resume {self.out}" if kept else ""
            raise SoftqError(
                f"{error}. The run stops at step {step:,}.{where}"
            ) from error
        ended = step >= self.plan.steps or bool(self.source.trouble)
        if saved < step and self.source.trouble:  # whatever evaluating it may do
            self.save()
        if ended and self.last and self.evaluated_at != self.last.step:
            self._evaluate(self.last)
        if saved < step:
            self.save()

    def _due(self, before: int, now: int, every: int) -> bool:
        return every > 0 and before // every < now // every

    def _report(self, before: int, progress: Progress) -> None:
        cadence, meter = self.plan.cadence, self.meter
        meter.add(progress.episodes)
        if progress.info and meter.first_update_s is None:
            jax.block_until_ready(progress.info)
            meter.first_update_s = round(time.time() - meter.began, 3)
        if self._due(before, progress.step, cadence.log_every):
            for record in meter.records(progress.step, jax.device_get(progress.info)):
                for sink in self.sinks:
                    sink.metrics(record)
        if self._due(before, progress.step, cadence.eval_every):
            self._evaluate(progress)

    def _evaluate(self, progress: Progress) -> None:
        if self.evaluator is None:
            return
        self.evaluated_at = progress.step
        for record in self.evaluator.evaluate(progress.step, progress.train):
            self.evaluations.append(record)
            for sink in self.sinks:
                sink.evaluation(record)

    def save(self) -> None:
        """Writes a checkpoint of the last state, and prunes the older ones."""
        if self.out is None or self.last is None or self.files is None:
            return
        host, actions = self.source.snapshot()
        record = {
            "algorithm": self.plan.algorithm,
            "exact": self.exact,
            "host": host,
            "logs": self.files.offsets(),
            "meter": self.meter.snapshot(),
        }
        checkpoint.save(self.out, self.last.step, self.last.train, actions, record)
        checkpoint.prune(self.out, records.best_step(self.evaluations))

    def _cannot_write(self, error: OSError) -> SoftqError:
        kept = next(checkpoint.newest(self.out), None) if self.out else None
        hint = "" if kept is None else (
            f" The checkpoint at step {kept:,} is whole. Make room, then: "
            f"softq resume {self.out}"
        )  # fmt: skip
        return SoftqError(
            f"cannot write to {self.out}: {error.strerror or error}.{hint}"
        )


def process_age() -> float:
    """Seconds since this process started, where the system tells; else since import."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - IMPORTED


IMPORTED = time.time()
