"""JSON as the dataclass that it is meant to be, and what it cannot be."""

import dataclasses
from typing import Any, Literal

import pytest

from softq.typed import typed


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float
    sizes: tuple[int, ...] = (8,)


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    kind: Literal["exact", "sampled"] = "exact"
    alpha: float | None = None


WHOLE: dict[str, Any] = {
    "name": "a", "inner": {"rate": 1, "sizes": [4, 4]}, "kind": "sampled", "alpha": 2,
}  # fmt: skip


def test_nested_json_becomes_what_it_was() -> None:
    found = typed(Outer, WHOLE)
    assert found == Outer("a", Inner(1.0, (4, 4)), "sampled", 2.0)
    assert type(found.inner.rate) is type(found.alpha) is float


def test_what_an_older_version_did_not_write_has_its_default() -> None:
    found = typed(Outer, {"name": "a", "inner": {"rate": 0.5}})
    assert found == Outer("a", Inner(0.5, (8,)), "exact", None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inner": {}}, "Inner must have rate, sizes"),
        ({"inner": 3}, "Inner must have"),
        ({"more": 1}, "Outer must have name, inner, kind, alpha"),
        ({"alpha": True}, "True is no float"), ({"alpha": "1"}, "'1' is no float"),
        ({"inner": {"rate": 1.0, "sizes": [4, 4.0]}}, "4.0 is no int"),
        ({"inner": {"rate": 1.0, "sizes": [True]}}, "True is no int"),
        ({"kind": "other"}, "'other' is none of"), ({"name": 1}, "1 is no str"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        typed(Outer, WHOLE | changes)
