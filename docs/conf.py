"""How Sphinx makes the site: `python -m lab check site` builds it and checks every link in it (extra `[docs]`)."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "LastBit"
author = copyright = "The LastBit authors"
version = release = installed_version("lastbit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "schemas"]
html_theme = "furo"
html_title = f"LastBit {release}"
html_show_sphinx = False
html_copy_source = False

# Links between documents name headings as they do where the files are read without a site.
myst_heading_anchors = 4
# Signatures stand with their types; Source: is a section of this project's docstrings.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes_style")]


# A document beside the README; the site has only the README as a page, and the others as files.
_BESIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+(?!README)[A-Z]+\.md)[^)]*\)")


def _within_the_site(_app: object, _document: str, source: list[str]) -> None:
    """Documents link to the README where it is; the site has it as a page of its own."""
    text = re.sub(r"\]\((?:\.\./)+README\.md", "](readme.md", source[0])
    source[0] = _BESIDE.sub(r"{download}`\1 <\2>`", text)


def _from_the_root(_app: object, _path: object, _document: str, content: list[str]) -> None:
    """The README links to files beside it; the page that has it stands in docs. Links to docs are Sphinx's business."""
    text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", content[0])
    content[0] = _BESIDE.sub(r"{download}`\1 <\2>`", text)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _within_the_site)
    app.connect("include-read", _from_the_root)
