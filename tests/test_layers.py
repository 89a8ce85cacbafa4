"""Layers import downwards only, and nothing is ever unpickled."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "softq"
# What each layer may import of softq. What is not named may import everything.
BELOW = {"types": {"types"}, "ops": {"types", "ops"}}
BELOW |= {"maps": {"types"}, "machine": set()}
BELOW["nets"] = BELOW["ops"] | {"nets"}
BELOW["algos"] = BELOW["nets"] | {"algos"}
BELOW["data"] = {"types", "machine", "data"}
BELOW["reference"] = BELOW["published"] = set()
BELOW["envs"] = {"types", "maps", "envs"}
BELOW["tabular"] = BELOW["ops"] | {"maps", "machine", "tabular"}
BELOW["train"] = BELOW["algos"] | {"data", "envs", "train"}
ABOVE = {"api", "cli", "drive", "film", "export"}
HIGHEST = dict.fromkeys(("plan", "policy", "evaluate", "report", "log"), ABOVE)
HIGHEST["pages"] = ABOVE | {"report", "policy", "evaluate"}
HIGHEST["figures"] = {"cli", "film", "export", "drive"}  # they train as a user does
HIGHEST |= {"checkpoint": ABOVE | {"plan", "policy"}, "api": {"cli", "figures"}}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The parts of softq that a file imports, by their first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "softq":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("softq."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "softq" and name[1:]}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    layer = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if layer in BELOW:
        assert imported(path) <= BELOW[layer]
    assert not imported(path) & HIGHEST.get(layer, set())


def test_the_check_sees_imports() -> None:
    assert {"ops", "nets", "types"} <= imported(SOURCE / "algos" / "sac.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_is_unpickled(path: Path) -> None:
    text = path.read_text()
    assert "import pickle" not in text
    assert "cloudpickle" not in text
    assert "allow_pickle" not in text
    assert "from __future__ import annotations" not in text
