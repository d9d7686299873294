"""Pictures and tables for notebooks: what they show is what was found, and their libraries are asked for by name."""

import subprocess
import sys

import numpy as np
import pytest

import lastbit
from lab.cases.operators import Case, Operand
from lab.pages.json_documents import fill
from lastbit.report.pictures import Bars, HeatMap, Steps, histogram
from lastbit.report.plot import draw
from tests.support.cli import invoke
from tests.support.models import make_dense_model

MODEL = make_dense_model()
X = np.random.default_rng(5).integers(-128, 128, (6, 7)).astype(np.int8)


def value_at(runs, place):
    starts, values = runs
    return values[np.searchsorted(starts, place, side="right") - 1]


def test_a_histogram_counts_every_element_once():
    differences = np.random.default_rng(1).integers(-300, 40, 5000)
    bars = histogram("t", differences, "by", "elements")
    assert sum(bars.values) == 5000
    assert len(bars.values) == len(bars.names) <= 61
    small = histogram("t", np.array([-1, 0, 0, 2]), "by", "elements")
    assert dict(zip(small.names, small.values, strict=True)) == {"-1": 1, "0": 2, "+1": 0, "+2": 1}


def test_a_diagnosis_shows_where_and_by_how_much():
    right = lastbit.run(MODEL, X, "tflm").output
    wrong = right.copy()
    wrong[2, 3] ^= 1
    report = lastbit.diagnose(MODEL, X, wrong, runtime="tflm", most=1)
    plane, bars = report.pictures()
    assert (plane.values == wrong.astype(int) - right).all()
    assert sum(bars.values) == right.size
    assert lastbit.diagnose(MODEL, X, right, runtime="tflm").pictures() == []


def test_a_convolutions_plane_counts_channels_at_each_position():
    rng = np.random.default_rng(3)
    options = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "SAME"}
    kernel = Operand((4, 2, 2, 2), scale=0.004, data=rng.integers(-127, 128, (4, 2, 2, 2)))
    bias = Operand((4,), "int32", 0.00008, data=rng.integers(-200, 200, 4))
    inputs, outputs = (Operand((1, 3, 5, 2), scale=0.02), kernel, bias), (Operand((1, 3, 5, 4), scale=0.05),)
    case = Case("CONV_2D", inputs, outputs, (), {**options, "fused_activation_function": "NONE"}, 3)
    x = rng.integers(-128, 128, (2, 3, 5, 2)).astype(np.int8)
    right = lastbit.run(case.content(), x, "tflm").output
    wrong = right.copy()
    wrong[1, 2, 4, 0] ^= 1
    wrong[1, 2, 4, 3] ^= 1
    wrong[1, 0, 1, 2] ^= 1
    plane, _ = lastbit.diagnose(case.content(), x, wrong, runtime="tflm", most=0).pictures()
    wanted = np.zeros((3, 5), int)
    wanted[2, 4], wanted[0, 1] = 2, 1
    assert (plane.values == wanted).all()
    assert "image 1" in plane.title


def test_compare_draws_the_steps_of_both_runtimes_where_they_differ():
    report = lastbit.compare(MODEL, "litert-xnnpack", "tflm", samples=10, oracles=False)
    whole, closer = [picture for picture in report.pictures() if isinstance(picture, Steps)]
    assert list(whole.lines) == ["litert-xnnpack", "tflm"]
    unit = int(closer.title.split("unit ")[1].split(",")[0])
    difference = next(d for d in report.layers[0].differences if d.unit == unit)
    places = np.concatenate([np.arange(first, last + 1) for first, last, _, _ in difference.rows()])
    first, second = closer.lines.values()
    for place in range(first[0][0], closer.end + 1):
        differ = value_at(first, place) != value_at(second, place)
        assert differ == (place in places) == any(a <= place <= b for a, b in closer.marked)
    for name, runs in whole.lines.items():
        table = lastbit.thresholds(MODEL, name)[0].table(unit)
        for place in np.linspace(runs[0][0], whole.end, 50).astype(int):
            assert value_at(runs, place) == value_at((table.starts, table.values), place)


def test_an_evaluation_draws_its_confusion():
    labels = np.array([0, 1, 2, 3, 4, 0])
    report = lastbit.evaluate(MODEL, X, labels=labels, runtimes=("tflm",), engine="reference")
    (grid,) = [picture for picture in report.pictures() if isinstance(picture, HeatMap)]
    found = lastbit.run(MODEL, X, "tflm").output.argmax(axis=1)
    wanted = np.zeros((5, 5), int)
    np.add.at(wanted, (labels, found), 1)
    assert (grid.values == wanted).all()


def test_names_of_files_are_no_mathematics_and_the_same_picture_is_the_same_file():
    pytest.importorskip("matplotlib")
    grid = HeatMap("$x^{", np.array([[0, -2], [1, 0]]), "$\\frac{", "\u65e5", "_$")
    pictures = [grid, Bars("\x1b$", ["$^", "b"], [1, 1000], "x", "y", log=True)]
    pictures += [Steps("t", {"$_{": (np.array([0, 3]), np.array([1, 2]))}, 9, "x", "y", [(2, 3)])]
    first, second = (draw(pictures).content() for _ in range(2))
    assert first.startswith(b"\x89PNG")
    assert first == second
    assert draw(pictures).content(".svg").startswith(b"<?xml")


def test_the_command_draws_or_says_that_there_is_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    names = fill(tmp_path)
    result = invoke(*"diagnose {m} -i {x} --output {wrong} --plot".format(**names).split(), tmp_path / "a.png")
    assert "wrote" in result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    result = invoke(*"diagnose {m} -i {x} --output {y} --plot".format(**names).split(), tmp_path / "b.svg")
    assert result.exit_code == 0
    assert "there is nothing to draw" in result.stderr
    assert not (tmp_path / "b.svg").exists()
    with pytest.raises(lastbit.InputError, match="nothing to draw"):
        lastbit.inspect(names["m"]).plot()


def test_where_a_library_is_missing_its_extra_is_named_before_any_work(tmp_path, monkeypatch):
    names = fill(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = invoke(*"thresholds {m} --runtime tflm --plot".format(**names).split(), tmp_path / "a.png")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "[plot]" in result.stderr
    assert 'pip install "' in result.stderr
    report = lastbit.thresholds(names["m"], "tflm")
    with pytest.raises(lastbit.InputError, match="matplotlib"):
        report.plot()
    with pytest.raises(lastbit.InputError, match="to_pandas needs pandas"):
        report.to_pandas()


def test_tables_for_pandas():
    pytest.importorskip("pandas")
    right = lastbit.run(MODEL, X, "tflm").output
    frame = lastbit.diagnose(MODEL, X, right ^ 1, runtime="tflm", most=1).to_pandas()
    assert (frame.right.to_numpy().reshape(right.shape) == right).all()
    assert (frame.difference.abs() == 1).all()
    frame = lastbit.thresholds(MODEL, "tflm").to_pandas()
    assert (frame.last_acc >= frame.first_acc).all()
    frame = lastbit.compare(MODEL, "tflm", "cmsis-nn", samples=10, oracles=False).to_pandas()
    assert list(frame.status) == ["same"]
    frame = lastbit.evaluate(MODEL, X, runtimes=("tflm", "litert-reference"), engine="reference").to_pandas()
    assert list(frame.runtime) == ["tflm", "litert-reference"]
    frame = lastbit.identify(MODEL, X, right).to_pandas()
    assert list(frame[frame.name == "tflm"].status) == ["reproduces all"]
    assert list(lastbit.inspect(MODEL).to_pandas().name) == ["FULLY_CONNECTED"]
    with pytest.raises(lastbit.InputError, match="no table"):
        lastbit.explain(MODEL, X, at=(0, 0), runtime="tflm").to_pandas()


def test_nothing_is_imported_before_it_is_drawn():
    code = "import sys, lastbit.cli, lastbit; lastbit.compare, lastbit.diagnose, lastbit.evaluate, lastbit.thresholds\n"
    code += "print([name for name in ('matplotlib', 'pandas') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
