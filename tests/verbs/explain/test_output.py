"""Explanations as text, JSON, LaTeX and HTML."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest

from lastbit import explain
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.explain.element import decimal_text
from lastbit.verbs.explain.latex import escape_latex
from tests.support.explain_models import dense_model, random_layer


@pytest.fixture(scope="module", params=list(RUNTIMES))
def report(request):
    layer = random_layer(np.random.default_rng(8), per_channel=True, activation="RELU")
    return explain(
        dense_model({**layer, "w": np.random.default_rng(1).integers(-127, 128, (len(layer["w"]), 50))}),
        runtime=request.param,
    )


def test_json_is_exact_and_reads_back(report):
    data = json.loads(report.json())
    assert data == json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert data["schema"] == "lastbit.explain/1"
    accumulation = data["accumulation"]
    zx = data["quantization"]["input"]["zero_point"]
    zw = data["quantization"]["weights"]["zero_point"]
    products = [(x - zx) * (w - zw) for x, w in zip(accumulation["input"], accumulation["weights"], strict=True)]
    assert products == accumulation["products"]
    lost = accumulation["lost_to_saturation"]
    assert sum(products) + accumulation["bias"] + lost == accumulation["acc"]
    assert bool(accumulation["saturated_pairs"]) == bool(lost) == (report.element.runtime.name == "torch-fbgemm-avx2")
    for entry in data["quantization"].values():
        assert Fraction(entry["scale"]["decimal"]) == Fraction(float.fromhex(entry["scale"]["hex"]))
    for step in data["steps"]:
        exact, value, cut = (
            Fraction(step[key]["numerator"], step[key]["denominator"]) for key in ("exact", "value", "cut_off")
        )
        assert exact - value == cut
    assert data["steps"][-1]["value"]["numerator"] == data["output"]
    assert data["runtimes"][0]["runtime"] == report.element.runtime.name
    assert {entry["runtime"] for entry in data["runtimes"]} == set(RUNTIMES)


def test_text_has_eight_sections_and_fits_a_terminal(report):
    text = str(report)
    assert re.findall(r"(?m)^(\d)\. ", text) == list("12345678")
    assert max(map(len, text.splitlines())) <= 100
    assert "offset" not in text
    assert f"all {report.element.layer.depth}" in text
    assert "38 more" in text
    assert report.element.prepared.rule in text
    assert "tie rule" in text


def test_products_left_out_are_summed(report):
    rows = re.findall(r"(?m)^ +(\d+)((?: +-?\d+){5}) *$", str(report))
    shown = sum(int(rest.split()[-1]) for _, rest in rows)
    (left_out,) = re.findall(r"(?m)^ +38 more +(-?\d+)", str(report))
    assert len(rows) == 12
    assert shown + int(left_out) == sum(report.element.products)


def test_latex_is_one_balanced_environment(report):
    latex = report.latex()
    assert latex.isascii()
    assert latex.count(r"\begin{align*}") == latex.count(r"\end{align*}") == 1
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    body = latex.split(r"\begin{align*}")[1].split(r"\end{align*}")[0].strip()
    lines = body.split("\n")
    assert all(line.endswith(r"\\") for line in lines[:-1])
    assert not lines[-1].endswith(r"\\")
    assert all(line.count("&") == 1 for line in lines)
    assert body.count("(") == body.count(")")
    for text in re.findall(r"\\text\{([^}]*)\}", body):
        assert not re.search(r"(?<!\\)[_%#$&]", text)
    assert f"= {report.output}" in body
    assert str(report.element.acc) in body


def test_latex_escapes_names():
    assert escape_latex("a_b{50%}\\#\n\u00e9") == r"a\_b\{50\%\}\textbackslash{}\#??"


def test_html_for_notebooks(report):
    html = report._repr_html_()
    assert "<h4>1. operator 0 FULLY_CONNECTED" in html
    assert "<table>" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(-3), "-3"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 3), "-0.33333..."),
        (Fraction(1, 10**9), "1e-9"),
        (Fraction(10**9 * 3 + 1, 3), "1000000000.3333333333"),
    ],
)
def test_decimal_text(value, text):
    if text.startswith("1000000000"):
        assert decimal_text(value, 20) == text + "..."
    else:
        assert decimal_text(value, 5) == text
