"""What a run says of where it was made."""

import subprocess
from pathlib import Path

import pytest

from softq import machine

ROOT = Path(machine.__file__).parents[2]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", *who, *words]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_checkout_tells_its_commit() -> None:
    assert machine.commit() == git(ROOT, "rev-parse", "HEAD")


def test_below_anothers_repository_it_tells_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    assert len(git(tmp_path, "rev-parse", "HEAD")) == 40
    installed = tmp_path / "lib" / "machine.py"
    installed.parent.mkdir()
    installed.write_text("")
    monkeypatch.setattr(machine, "__file__", str(installed))
    assert machine.commit() is None
