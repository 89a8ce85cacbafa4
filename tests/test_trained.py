"""A figure's run: trained once, gone on with where it was stopped."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from softq.figures import trained as figures


@pytest.mark.parametrize(
    ("reached", "wanted"), [(None, "train"), ([], "resume"), ([50], "resume"),
                            ([50, 100], "")],
)  # fmt: skip
def test_a_run_is_trained_resumed_or_there_already(
    reached: list[int] | None, wanted: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run, asked = tmp_path / "run", []

    def train(*given: Any, **options: Any) -> None:
        assert (given, options) == (("sac", "Pendulum-v1"), {"out": run, "steps": 100})
        asked.append("train")

    evaluations = [{"step": step} for step in reached or ()]
    monkeypatch.setattr(figures.api, "train", train)
    monkeypatch.setattr(figures.api, "resume", lambda _: asked.append("resume"))
    monkeypatch.setattr(figures.plan, "read", lambda _: (SimpleNamespace(steps=100),))
    monkeypatch.setattr(figures.records, "evaluations", lambda _: evaluations)
    if reached is not None:
        run.mkdir()
    assert figures.trained(run, "sac", "Pendulum-v1", steps=100) == run
    assert asked == ([wanted] if wanted else [])
