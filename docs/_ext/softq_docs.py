"""What the pages need beside Sphinx: MathML, tables of knobs, links into the source."""

import ast
import dataclasses
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from softq.statistics import interval, iqm

ROOT = Path(__file__).parents[2]
SOURCE, RESULTS = ROOT / "src", ROOT / "benchmarks" / "results"
log = logging.getLogger(__name__)


# Formulas: MathML, which browsers draw by themselves.


def inline_math(self: Any, node: nodes.math) -> None:
    self.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def display_math(self: Any, node: nodes.math_block) -> None:
    self.body.append(
        f'<div class="math">{convert(node.astext(), display="block")}</div>'
    )
    raise nodes.SkipNode


# Knobs: a table of an algorithm's Config, read from the code, so that it is never old.


class Knobs(SphinxDirective):
    """`{knobs} sac`: every field of that Config, its default, its words."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        config = importlib.import_module(f"softq.algos.{self.arguments[0]}").Config
        told = ModuleAnalyzer.for_module(config.__module__).find_attr_docs()
        rows = ["| `--algo.` | default | |", "|---|---|---|"]
        for field in dataclasses.fields(config):
            words = " ".join(told.get((config.__name__, field.name), [])).strip()
            flag, default = field.name.replace("_", "-"), str(field.default)
            rows.append(
                f"| `{flag}` | `{default}` | {words.replace('|', chr(92) + '|')} |"
            )
        box = nodes.container()
        self.state.nested_parse(StringList(rows), self.content_offset, box)
        return box.children


class Learned(SphinxDirective):
    """`{learned} iql`: what algorithms have learned from our data, beside cloning."""

    required_arguments, optional_arguments = 1, 9

    def run(self) -> list[nodes.Node]:
        found = json.loads((RESULTS / "offline-learning.json").read_text())
        self.env.note_dependency(str(RESULTS / "offline-learning.json"))
        rows = ["| data | row | return | |", "|---|---|---|---|"]
        for name, kinds in found["sets"].items():
            for kind, row in kinds.items():
                if kind.partition("-")[0] in ("bc", *self.arguments):
                    low, high = row["interval"]
                    said = " diverged" if row["trouble"] else ""
                    rows.append(
                        f"| {name} | {kind} | {row['iqm']:,.0f} | "
                        f"{low:,.0f} to {high:,.0f}{said} |"
                    )
        if "cql" in self.arguments:
            rows += [self.peer(*one) for one in peers(found["peers"]).items()]
        up = os.path.relpath(RESULTS, Path(self.env.doc2path(self.env.docname)).parent)
        rows += [
            "",
            f"Greedy, after {found['updates']:,} updates: interquartile mean and 95 % "
            f"interval of {found['seeds']} seeds "
            f"([`offline-learning.json`]({up}/offline-learning.json)). Light sizes: "
            "batch 128, two layers of 128; CQL and Cal-QL with weight 10 and N = 4, "
            "unless the row says otherwise; `-sampled`, and Cal-QL, with the sampled "
            "gradient.",
        ]
        box = nodes.container()
        self.state.nested_parse(StringList(rows), self.content_offset, box)
        return box.children

    def peer(self, what: tuple[str, str], returns: list[float]) -> str:
        """The row of another library's CQL."""
        low, high = interval(returns)
        return (f"| {what[1]} | {what[0]}'s CQL | {iqm(returns):,.0f} | "
                f"{low:,.0f} to {high:,.0f} |")  # fmt: skip


def peers(found: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Of a library and a data set, every seed's last return."""
    told: dict[tuple[str, str], list[float]] = {}
    for one in found:
        last = [run["evaluations"][-1]["return"] for run in one["runs"]]
        told.setdefault((one["library"], Path(one["data"]).stem), []).extend(last)
    return told


# Links to src/softq/….py lead to the highlighted source, and to a name in it.


class SourceLinks(SphinxTransform):
    """`[`update`](../src/softq/algos/sac.py)` goes to that function."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        for node in list(self.document.findall(addnodes.download_reference)):
            path = Path(self.env.relfn2path(node["reftarget"], self.env.docname)[1])
            file = Path(os.path.normpath(path))
            if file.suffix != ".py" or not file.is_relative_to(SOURCE):
                continue
            page = file.relative_to(SOURCE).with_suffix("")
            page = page.parent if page.name == "__init__" else page
            name = node.astext()
            code = isinstance(node.children[0], nodes.literal) and name.isidentifier()
            anchor = f"#{name}" if code else ""
            if anchor and name not in defined(file):
                log.warning("%s defines no %s", page, name, location=node)
            up = "../" * self.env.docname.count("/")
            link = nodes.reference(
                "", "", *node.children, internal=True,
                refuri=f"{up}_modules/{page.as_posix()}.html{anchor}",
            )  # fmt: skip
            node.replace_self(link)


def defined(file: Path) -> set[str]:
    """The functions and classes at the top of a file."""
    kinds = ast.FunctionDef, ast.ClassDef
    body = ast.parse(file.read_text()).body
    return {node.name for node in body if isinstance(node, kinds)}


# Docstrings are plain text with `code`.


def plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]):
    """Escapes what reStructuredText would read into a docstring."""
    # A list begins after an empty line.
    text = re.sub(r"(\n[^-\s][^\n]*)\n- ", r"\1\n\n- ", "\n" + "\n".join(lines))
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return
    for k, part in enumerate(parts):
        if k % 2:
            parts[k] = f"``{' '.join(part.split())}``"
            if parts[k + 1][:1].isalnum():
                parts[k + 1] = "\\ " + parts[k + 1]
        else:
            parts[k] = re.sub(r"([*|_\\])", r"\\\1", part)
    lines[:] = "".join(parts).splitlines()


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any):
    """Fields of tuples have no words of their own."""
    return True if "Alias for field number" in str(obj.__doc__) else None


def short(app: Sphinx, what: str, name: str, obj: Any, options: Any, *signs: Any):
    """`Array`, not where JAX happens to keep it."""
    homes = re.compile(r"jaxlib\._jax\.|jax\._src\.[a-z_.]*|numpy\.(?=ndarray)")
    return tuple(sign and homes.sub("", sign) for sign in signs)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.add_directive("knobs", Knobs)
    app.add_directive("learned", Learned)
    app.add_transform(SourceLinks)
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", short)
    app.connect("autodoc-skip-member", skip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
