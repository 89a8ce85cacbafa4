"""Sphinx with Furo and MyST-NB; nothing is fetched, to build the site or to read it."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import softq

project = "softq"
author = "the softq authors"
release = version = softq.__version__
html_title = f"softq {release}"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "softq_docs"]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# Pages with `{code-cell}` run when the site is built, and again only when they change.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "cells")
nb_execution_raise_on_error = True
nb_execution_timeout = 120
# Almost all of a cell's time is compilation, so compile fast rather than well.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "ignore-module-all": True}
autodoc_typehints = "signature"
