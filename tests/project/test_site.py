"""The site of the documents: Sphinx builds it without a warning, and every link in it leads somewhere."""

import re
import subprocess
import sys

import pytest

from lab.checks.site import problems
from tests.support.places import ROOT


def test_the_site_is_built_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    for module in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(module, reason="the extra [docs] is not installed")
    command = [sys.executable, "-m", "lab", "check", "site", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d+ pages: every link leads somewhere", result.stdout)
    pages = {path.stem for path in (tmp_path / "site").rglob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages


def test_a_link_that_leads_nowhere_and_what_comes_from_elsewhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">x</a> <a href="https://example.org/">y</a> <p id="z"></p>')
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1> <a href="a.html#z">back</a>')
    assert problems(tmp_path) == []
    (tmp_path / "b.html").write_text(
        '<a href="c.html">1</a> <a href="a.html#none">2</a> <script src="https://example.org/s.js"></script>'
    )
    assert problems(tmp_path) == [
        "a.html: b.html#here: there is no such place on the page",
        "b.html: loads https://example.org/s.js",
        "b.html: c.html: there is no such file",
        "b.html: a.html#none: there is no such place on the page",
    ]
