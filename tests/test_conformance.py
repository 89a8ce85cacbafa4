"""softq passes every formula check, and every check catches its broken variants."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from conformance import child, core, report, runner

ROOT = Path(__file__).parent.parent
NAMES = core.names()


@pytest.fixture(scope="module")
def adapter() -> ModuleType:
    return child.load(runner.ADAPTERS / "softq.py")


@pytest.mark.parametrize("name", NAMES)
def test_softq_passes(name: str, adapter: ModuleType) -> None:
    check = core.load(name)
    answers = core.ask(check, adapter)
    assert answers is not None
    verdict = core.judge(check, answers)
    assert verdict.error <= check.TOLERANCE, (verdict.found, verdict.expected)


@pytest.mark.parametrize("name", NAMES)
def test_broken_variants_are_caught(name: str) -> None:
    check = core.load(name)
    assert check.BROKEN
    for label, verdict in core.caught(check).items():
        assert not verdict.error <= check.TOLERANCE, label


@pytest.mark.parametrize("name", NAMES)
def test_a_known_variant_is_no_pass(name: str) -> None:
    check = core.load(name)
    assert "Claim: " in check.__doc__
    assert "Oracle: " in check.__doc__
    right = np.ravel(check.oracle())
    for oracle in getattr(check, "VARIANTS", {}).values():
        other = np.ravel(oracle())
        assert other.shape == right.shape
        assert abs(other - right).max() > check.TOLERANCE


ADAPTER = """
from conformance.checks import sac_temperature, sac_truncation

DIFFERS = {"sac_temperature": ("not in the logarithm", "why not")}

def versions():
    return {"mine": "1"}

def sac_update(row, alpha, learn_alpha, **question):
    if learn_alpha:
        slopes = zip(sac_temperature.ALPHAS, sac_temperature.papers_form())
        return {"log_alpha_gradient": dict(slopes)[alpha]}
    if not row["reward"]:
        raise ValueError("no reward")
    return sac_truncation.done(row)

def gap_actions(policy, samples, seed):
    return {"action": [float("nan")]}

def iql_value_gradient(**question):
    return {}

def td3_bc_gradient(**question):
    return {"actor_gradient": {1, 2}}

import atexit
atexit.register(print, "goodbye")
"""


def test_a_library_is_asked_in_its_own_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER)
    mine = runner.Library("mine", tmp_path / "mine.py", Path(sys.executable))
    asked = ["sac_temperature", "sac_truncation", "sac_actor", "sql_stein",
             "cql_uniform", "td3_bc", "iql_expectile"]  # fmt: skip
    versions, found = runner.ask(mine, asked)
    assert versions == {"mine": "1"}
    said = [found[name]["status"] for name in asked]
    kinds = "design fails error absent fails error error"
    assert said == kinds.split()
    assert found["sac_truncation"]["found"] == pytest.approx(0.5)
    assert found["sac_truncation"]["expected"] == pytest.approx(3.2)
    assert "no reward" in found["sac_actor"]["why"]


def test_who_prints_no_answers_could_not_be_asked(tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text("import os\nos._exit(0)\n")
    mute = runner.Library("mute", tmp_path / "mute.py", Path(sys.executable))
    with pytest.raises(runner.Failed, match="mute gave no answers"):
        runner.ask(mute, ["td3_bc"])


def test_what_comes_after_a_failure_is_not_judged() -> None:
    said = {
        "cql_integral": [{"value": {"gap": 0.0}}],
        "cql_floor": [{"value": {"gap": 0.0}}],
    }
    assert runner.judged("cql_floor", said, {})["status"] == "after"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--check", "nope"], "there is no check nope; there are cql_backup"),
        (["--library", "nope=python"], "no adapter for nope; there are d3rlpy"),
        (["--library", "sb3"], "which Python has sb3?"),
        (["--library", "sb3=/no/python"], "/no/python is no program"),
        (["--script", "no.py"], "there is no file no.py"),
        (["--script", "conformance/adapters/softq.py"], "softq is asked already"),
        (["--check", "td3_bc", "--write"], "leave out --check"),
    ],
)
def test_mistakes(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "conformance", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_record_is_of_these_checks() -> None:
    record = json.loads((ROOT / "conformance" / "results.json").read_text())
    assert list(record["checks"]) == NAMES
    own = record["libraries"]["softq"]["verdicts"]
    assert {verdict["status"] for verdict in own.values()} == {"pass"}
    assert (ROOT / "docs" / "conformance.md").read_text() == report.page(record)


def test_every_failure_is_shown_by_a_file_that_needs_the_library_alone() -> None:
    record = json.loads((ROOT / "conformance" / "results.json").read_text())
    failures = {
        f"{library}_{name}"
        for library, of in record["libraries"].items()
        for name, verdict in of["verdicts"].items()
        if verdict["status"] == "fails"
    }
    files = {path.stem: path for path in report.ALONE.glob("*.py")}
    assert files.keys() == failures
    for path in files.values():
        assert not re.search(r"(import|from) (softq|conformance)", path.read_text())
