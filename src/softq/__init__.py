"""softq: maximum-entropy reinforcement learning.

run = softq.train("sac", env="HalfCheetah-v5", steps=1_000_000, out="runs/hc")
policy = softq.load("runs/hc")
result = softq.evaluate(policy, env="HalfCheetah-v5", episodes=10)
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softq import tabular
    from softq.api import Policy, Result, Run, evaluate, load, resume, train
    from softq.types import SoftqError

__version__ = "0.1.0"
__all__ = [
    "Policy", "Result", "Run", "SoftqError", "evaluate", "load", "resume", "tabular",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then, so that `softq --help` need not wait."""
    if name not in __all__:
        raise AttributeError(f"module 'softq' has no attribute {name!r}")
    if name == "tabular":
        return importlib.import_module("softq.tabular")
    home = "softq.types" if name == "SoftqError" else "softq.api"
    return getattr(importlib.import_module(home), name)


class _Face(types.ModuleType):
    """`softq.train` and `softq.evaluate` are functions, and also where code lives.

    Importing `softq.train.online` would put the package in the function's place; as
    properties the functions stay (write `from softq.train import …` for the code).
    """

    train = property(lambda _: __getattr__("train"), lambda *_: None)
    evaluate = property(lambda _: __getattr__("evaluate"), lambda *_: None)


sys.modules[__name__].__class__ = _Face
