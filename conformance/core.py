"""What a check is, and how an answer is held against its oracle.

A check is a module of `conformance/checks`. Read from the top, it says what is claimed
(its docstring, the first line in short), what number would show a fault, and then:

    QUANTITY            the function that an adapter must offer to be asked
    QUESTIONS           its keyword arguments, one dict a question
    measure(answers)    the numbers that are compared
    oracle()            what they must be, written with numpy alone
    TOLERANCE           the largest error allowed, with its reason
    BROKEN              {what is wrong: a function like the adapter's that is so}

and, where it needs them, `VARIANTS`, {name: another oracle}: other choices that are
known and stated, which a library may declare as its design; and `AFTER`, a check
without which this one's numbers say nothing.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).resolve().parent
Ask = Callable[[dict[str, Any]], Any]


class Verdict(NamedTuple):
    """How far the numbers are from the oracle's; infinitely where one is no number."""

    error: float
    found: list[float]
    expected: list[float]

    @property
    def worst(self) -> int:
        """Which number is furthest off."""
        if len(self.found) != len(self.expected):
            return 0
        gaps = np.abs(np.subtract(self.found, self.expected))
        return int(np.argmax(np.where(np.isfinite(gaps), gaps, np.inf)))


def names() -> list[str]:
    """Every check, in the order of their files."""
    found = sorted((FOLDER / "checks").glob("[a-z]*.py"))
    return [path.stem for path in found]


def load(name: str) -> ModuleType:
    """A check's module."""
    return importlib.import_module(f"conformance.checks.{name}")


def title(check: ModuleType) -> str:
    """The first line of its docstring: the claim in short."""
    return (check.__doc__ or "").strip().splitlines()[0]


def judge(check: ModuleType, answers: list[Any], variant: str = "") -> Verdict:
    """The answers to a check's questions, in their order, against an oracle."""
    oracle = check.VARIANTS[variant] if variant else check.oracle
    found = np.asarray(check.measure(answers), np.float64).ravel()
    expected = np.asarray(oracle(), np.float64).ravel()
    error = float("inf")
    if found.shape == expected.shape and np.isfinite(found).all():
        error = float(np.max(np.abs(found - expected)))
    return Verdict(error, found.tolist(), expected.tolist())


def caught(check: ModuleType) -> dict[str, Verdict]:
    """What the check says to each of its broken variants."""
    return {
        name: judge(check, [broken(**question) for question in check.QUESTIONS])
        for name, broken in check.BROKEN.items()
    }


def ask(check: ModuleType, offered: Mapping[str, Any] | Any) -> list[Any] | None:
    """The answers of an adapter in this process; None where it lacks the piece."""
    function = getattr(offered, check.QUANTITY, None)
    if function is None:
        return None
    return [function(**question) for question in check.QUESTIONS]
