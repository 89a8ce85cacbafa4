"""The multi-goal figure, in small: everything in it is drawn and counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from softq.figures import multigoal


def test_it_draws_every_algorithm_and_counts_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multigoal, "EPISODES", 8)
    numbers = multigoal.make(tmp_path, seeds=2, steps=150)
    assert (tmp_path / "multigoal.png").stat().st_size > 20_000
    assert set(numbers["results"]) == {"sql", "sac", "ddpg", "langevin"}
    json.dumps(numbers)
    for found in numbers["results"].values():
        shares = np.array(found["shares"])
        assert shares.shape == (2, 4)
        np.testing.assert_allclose(shares.sum(-1), found["success"], atol=2e-3)
