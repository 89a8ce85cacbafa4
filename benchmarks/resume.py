"""Exact resume under fire: stops at random moments, then compares bit for bit.

    python benchmarks/resume.py            (needs root, for a small tmpfs)

One run is left alone. Others are stopped again and again, by kill −9, by SIGTERM and
by a disk that is full, and resumed until they are done. Their metrics and their final
state must equal those of the run left alone.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from softq import machine
from softq.log import TIMING

STEPS, EVERY = 8_000, 500
TRAIN = [
    "train", "sac", "--env", "Pendulum-v1", "--steps", str(STEPS), "--learning-starts",
    "300", "--checkpoint-every", str(EVERY), "--eval-every", "2000", "--eval-episodes",
    "2", "--log-every", "250", "--algo.hidden", "32", "32", "--batch-size", "64",
]  # fmt: skip
SOFTQ = [sys.executable, "-m", "softq"]


def summary(run: Path) -> dict[str, Any]:
    """What must be equal: records without times, and the final files' hashes."""
    out: dict[str, Any] = {}
    for name in ("metrics.jsonl", "evals.jsonl"):
        lines = [json.loads(x) for x in (run / name).read_text().splitlines()]
        out[name] = [{k: v for k, v in r.items() if k not in TIMING} for r in lines]
    for name in ("state.safetensors", "replay.safetensors"):
        content = (run / "checkpoints" / str(STEPS) / name).read_bytes()
        out[name] = hashlib.sha256(content).hexdigest()
    return out


def newest(run: Path) -> int:
    found = [int(p.name) for p in (run / "checkpoints").glob("[0-9]*")]
    return max(found, default=0)


def reached(run: Path) -> int:
    """The last step that the run reported before it was stopped."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, ValueError):
        return 0


def fill(folder: Path) -> Path:
    """Takes what is left of a small disk, but for a few kilobytes."""
    filler = folder / "filler"
    free = shutil.disk_usage(folder).free
    filler.write_bytes(bytes(max(free - 40_000, 0)))
    return filler


def stop(run: Path, folder: Path, how: str, delay: float) -> dict[str, Any] | None:
    """Starts or resumes the run and stops it; None where it was done before that."""
    args = ["resume", str(run)] if newest(run) else [*TRAIN, "--out", str(run)]
    if not newest(run):
        shutil.rmtree(run, ignore_errors=True)
    process = subprocess.Popen([*SOFTQ, *args], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    time.sleep(delay)
    filler = None
    if process.poll() is None and how == "full disk":
        filler = fill(folder)
    elif process.poll() is None:
        process.send_signal(signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
    _, told = process.communicate()
    if filler is not None:
        filler.unlink()
    if process.returncode == 0:
        return None
    kept, seen = newest(run), reached(run)
    last = told.strip().splitlines()[-1:] if how == "full disk" else []
    return {"how": how, "after_s": round(delay, 2), "exit": process.returncode,
            "checkpoint": kept, "reported": seen, "lost": max(seen - kept, 0),
            "said": [line.replace(str(run), "RUN") for line in last]}  # fmt: skip


def chain(folder: Path, name: str, rng: random.Random, stops: int) -> dict[str, Any]:
    """One run, stopped up to `stops` times at random moments."""
    run, record = folder / name, []
    for _ in range(stops):
        how = rng.choice(("kill -9", "SIGTERM", "full disk"))
        stopped = stop(run, folder, how, rng.uniform(4.0, 9.0))
        if stopped is None:
            break
        record.append(stopped)
        print(name, stopped, flush=True)
    if newest(run) < STEPS:
        subprocess.run([*SOFTQ, "resume", str(run)], check=True, capture_output=True)
    return {"stops": record, "summary": summary(run)}


def main() -> None:
    wanted, rng = 20, random.Random(0)
    folder = Path(tempfile.mkdtemp(prefix="softq-resume-"))
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True
    )
    try:
        whole = folder / "whole"
        subprocess.run(
            [*SOFTQ, *TRAIN, "--out", whole], check=True, capture_output=True
        )
        expected, stops, equal = summary(whole), [], []
        shutil.rmtree(whole)
        while len(stops) < wanted:
            run = chain(folder, f"run-{len(equal)}", rng, min(7, wanted - len(stops)))
            stops += run["stops"]
            equal.append(run["summary"] == expected)
            shutil.rmtree(folder / f"run-{len(equal) - 1}")
            print(f"{len(stops)} stops so far; equal: {equal}", flush=True)
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
    result = {"command": " ".join(TRAIN), "runs_equal": equal, "stops": stops,
              "most_steps_lost": max(s["lost"] for s in stops),
              "versions": machine.versions(), "machine": machine.about()}  # fmt: skip
    out = Path(__file__).parent / "results" / "resume.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{len(stops)} stops, {sum(equal)} of {len(equal)} runs equal: {out}")


if __name__ == "__main__":
    main()
