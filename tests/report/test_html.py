"""A report as one HTML page: nothing of a file becomes markup, every link leads somewhere, nothing asks the network."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lab.pages.json_documents import OFFLINE
from lab.pages.json_documents import fill as fill_every_kind
from lastbit.cli import main
from lastbit.model.tflite import write
from lastbit.report.blocks import Code, Heading, Table, Text
from lastbit.report.html import fragment, page
from lastbit.report.pictures import Bars
from lastbit.report.plot import inline_svg
from tests.support.cli import fill, invoke
from tests.support.models import make_dense_model

HOSTILE = (
    "</table><script>alert(1)</script><img src=x onerror=alert(2)>\" onclick='x' &amp; \x1b[2J \u202e "
    "javascript:alert(3)"
)
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "h4",
    "p",
    "a",
    "nav",
    "ul",
    "li",
    "main",
    "footer",
}
SVG_TAGS = {"svg", "g", "path", "defs", "clippath", "rect", "use", "image", "text", "tspan"}
SVG_ATTRIBUTES = {"xmlns", "xmlns:xlink", "viewbox", "version", "style", "d", "transform", "clip-path", "xlink:href"}
SVG_ATTRIBUTES |= {"x", "y", "width", "height"}
TAGS |= {"pre", "figure", "figcaption", "div", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What a page has: tags with their attributes, text, and whether all is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def checked(text):
    found = Page(text)
    assert {tag for tag, _ in found.tags} <= TAGS | SVG_TAGS
    allowed = {"lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "rel"}
    for tag, attributes in found.tags:
        assert set(attributes) <= allowed | (SVG_ATTRIBUTES if tag in SVG_TAGS else set()), (tag, attributes)
        # Of a picture: what it uses is in it, as parts or as data.
        assert re.match(r"#|data:image/png;base64,|$", attributes.get("xlink:href", ""))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in found.tags:
        if "href" in attributes:
            assert tag == "a"
            target = attributes["href"]
            assert target[1:] in ids if target.startswith("#") else re.match(r"https?://\w", target)
    for style in re.findall(r"<style>(.*?)</style>", text, re.DOTALL):
        assert "url(" not in style
        assert "@import" not in style
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n"}
    return found


def test_every_block_is_escaped_and_every_style_is_known():
    blocks = [Heading(HOSTILE), Text(HOSTILE, "bad"), Code(HOSTILE)]
    blocks += [Table([HOSTILE, "n"], [[HOSTILE, 1], ["b", 2]], HOSTILE, right=("n",), marked=(1,))]
    for text in (page(blocks, HOSTILE, HOSTILE, HOSTILE), fragment(blocks)):
        found = checked(text)
        assert "alert(1)" in "".join(found.texts)
    for style in ("good", "bad", "warning", "dim", "marked", "right"):
        assert f".{style}" in text
    assert [attributes.get("class") for tag, attributes in found.tags if tag == "tr"] == [None, None, "marked"]


def test_addresses_are_links_without_the_sentences_own_signs():
    text = page([Text('see (https://a.org/x?b=1&c="2), and http://b.org/path.')], "t")
    links = [attributes["href"] for tag, attributes in checked(text).tags if tag == "a"]
    assert links == ["https://a.org/x?b=1&c=", "http://b.org/path"]


def test_a_long_page_lists_its_sections():
    blocks = [Heading(f"{number} <b>") for number in range(5)]
    found = checked(page(blocks, "t"))
    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == [f"#s{n}" for n in range(5)]


def test_names_of_tensors_are_text(tmp_path):
    graph = make_dense_model().subgraphs[0]
    names = replace(graph, tensors=tuple(replace(t, name=f"<script>{t.index}()") for t in graph.tensors))
    (tmp_path / "m.tflite").write_bytes(write(names))
    out = tmp_path / "out.html"
    for more in ([], ["--op", "0"]):
        result = invoke("inspect", tmp_path / "m.tflite", *more, "--html", out)
        assert result.exit_code == 0, result.output
        text = out.read_text(encoding="utf-8")
        assert "<script>1()" in "".join(checked(text).texts)


def test_the_step_that_is_wrong_is_marked():
    model, x = make_dense_model(), np.random.default_rng(5).integers(-128, 128, (4, 7)).astype(np.int8)
    wrong = np.clip(lastbit.run(model, x, "tflm")[0].acc_scaled, -128, 127).astype(np.int8)
    text = lastbit.diagnose(model, x, wrong).html("diagnose")
    (row,) = re.findall(r'<tr class="marked">(.*?)</tr>', text)
    assert "&lt;-- here" in row
    checked(text)


def test_every_command_has_the_option_and_none_writes_a_bad_file(tmp_path):
    fill(tmp_path)
    for command in main.commands.values():
        assert "html" in [parameter.name for parameter in command.params]
    (tmp_path / "x.html").write_bytes(Path(tmp_path, "x.npy").read_bytes())
    for target, why in (
        ("out.txt", "wanted .html or .htm"),
        ("no/out.html", "there is no folder"),
        ("x.html", "is being read"),
    ):
        result = invoke(
            "run",
            tmp_path / "m.tflite",
            "-i",
            tmp_path / "x.html",
            "-o",
            tmp_path / "y.npy",
            "--html",
            tmp_path / target,
        )
        assert result.exit_code == 2
        assert why in result.stderr
    assert not (tmp_path / "y.npy").exists()


def test_a_page_holds_the_reports_picture_without_what_only_a_file_needs(monkeypatch):
    pytest.importorskip("matplotlib")
    model, x = make_dense_model(), np.random.default_rng(5).integers(-128, 128, (4, 7)).astype(np.int8)
    report = lastbit.diagnose(model, x, lastbit.run(model, x, "tflm").output ^ 1, most=1)
    text = report.html("diagnose")
    found = checked(text)
    (picture,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert 'id="s1">Pictures</h2>' in text
    assert "currentColor" in picture
    assert "#010203" not in picture
    assert not re.search(r"<metadata|<style|<!DOCTYPE|<[?]xml", picture)
    assert "yours - right" in "".join(found.texts)
    assert text == report.html("diagnose")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "<svg" not in report.html("diagnose")


def test_names_in_a_picture_are_text():
    pytest.importorskip("matplotlib")
    picture = inline_svg([Bars(HOSTILE, [HOSTILE, "b"], [1, 2], HOSTILE, HOSTILE, marked=[1])])
    assert "alert(1)" in "".join(checked(page([], "t", picture=picture)).texts)


@pytest.mark.parametrize("command", OFFLINE)
def test_every_verb_makes_a_page(command, tmp_path):
    names = fill_every_kind(tmp_path)
    result = invoke(*command.format(**names).split(), "--html", tmp_path / "out.html")
    assert result.exit_code in (0, 1, 3), result.stderr
    assert "wrote" in result.stderr
    checked((tmp_path / "out.html").read_text(encoding="utf-8"))
