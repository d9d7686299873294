"""Links of every document: to files and headings that exist, also where the documents are a site. No network."""

import re
from pathlib import Path

import pytest

from lab.checks.site import problems
from tests.support.places import ROOT

FOLDERS = ("docs", "lab", "bench", "examples", "changelog.d", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def text_of(path):
    """A document without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def places(path):
    """What GitHub and Sphinx call a document's headings: in lower case, without signs, spaces as hyphens."""
    found, counts = set(), {}
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text_of(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = counts[slug] = counts.get(slug, -1) + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(path):
    for address in LINK.findall(text_of(path)):
        if re.match(r"[a-z]+:", address):
            continue
        file, _, heading = address.partition("#")
        # A piece of news becomes a line of CHANGELOG.md, in the root.
        target = ((ROOT if path.parent.name == "changelog.d" else path.parent) / file).resolve() if file else path
        assert target.exists(), address
        assert target.is_relative_to(ROOT), address
        if heading:
            assert heading in places(target), address


def test_every_document_stands_in_the_sites_contents():
    entries = set()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / "docs" / "index.md").read_text("utf-8"), re.DOTALL):
        entries |= {line for line in block.splitlines() if line and not line.startswith(":")}
    documents = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert entries == documents - {"index"}


def test_a_site_is_refused_for_a_link_that_leads_nowhere_and_for_what_it_would_load(tmp_path):
    Path(tmp_path, "a.html").write_text('<p id="x"><a href="#x"></a><a href="b.html#y"></a><a href="https://z"></a>')
    Path(tmp_path, "b.html").write_text('<h1 id="y"></h1>')
    assert problems(tmp_path) == []
    Path(tmp_path, "c.html").write_text(
        '<a href="b.html#no"></a><a href="no.html"></a><script src="https://z"></script>'
    )
    assert len(problems(tmp_path)) == 3
