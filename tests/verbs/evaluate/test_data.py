"""evaluate: arrays as data, what is measured of which output, and bad values, in any row."""

import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit import evaluate
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.report.json_text import json_text
from lastbit.verbs.evaluate import job
from lastbit.verbs.evaluate.data import open_data
from lastbit.verbs.evaluate.metrics import Anomaly, Classes, TargetError, Values
from lastbit.verbs.evaluate.pace import Pace
from tests.support.cli import invoke
from tests.support.models import make_dense_model

ROWS = 60


@pytest.fixture
def here(tmp_path, monkeypatch, rng):
    """Five classes; inputs for them."""
    monkeypatch.chdir(tmp_path)
    model = make_dense_model(units=5, depth=7, output_scale=0.25)
    Path("m.tflite").write_bytes(model.content)
    return model, rng.integers(-128, 128, (ROWS, 7)).astype(np.int8)


def dense(units, depth, shape=None, **extra):
    rng = np.random.default_rng(0)
    return load(
        write(
            dense_subgraph(
                rng.integers(-127, 128, (units, depth)).astype(np.int8),
                input_quant=quant(0.02, 3),
                weights_quant=quant(0.005),
                output_quant=quant(0.02, -5),
                **({"input_shape": shape, "keep_num_dims": True} if shape else {}),
                **extra,
            )
        )
    )


def test_arrays_are_taken_as_run_takes_them(here, rng):
    model, x = here
    y = rng.integers(0, 5, ROWS)
    np.save("x.npy", x)
    np.save("y.npy", y)
    wanted = evaluate(model, "x.npy", labels="y.npy")
    tensor = model.inputs[0]
    for data in (x, x.tolist(), {tensor.name: x}, {tensor.index: x}, x.astype(">i1"), Path("x.npy")):
        if isinstance(data, list):
            data = np.asarray(data, np.int8)
        found = evaluate(model, data, labels=y.tolist() if isinstance(data, dict) else y)
        assert found.measures == wanted.measures
    assert "data" in str(evaluate(model, x))
    with pytest.raises(lastbit.InputError, match="data: holds a single number"):
        evaluate(model, 3)
    with pytest.raises(lastbit.InputError, match="data: "):
        evaluate(model, [[1], [2, 3]])
    with pytest.raises(lastbit.InputError, match=r"data: holds object, wanted numbers"):
        evaluate(model, np.asarray([{}]))
    with pytest.raises(
        lastbit.InputError, match=r"found dtype int64, wanted int8. All values fit int8: use x.astype\(np.int8\)"
    ):
        evaluate(model, x.astype(np.int64))
    with pytest.raises(lastbit.InputError, match=r"found dtype int64, wanted int8. Values from .* do not fit int8"):
        evaluate(model, x.astype(np.int64) + 99)
    with pytest.raises(lastbit.InputError, match=r"Real values must be quantized first .*quantize_input=True"):
        evaluate(model, x / np.float32(3))
    np.save("x.npy", x.astype(np.int32))
    with pytest.raises(lastbit.InputError, match=r"x.npy: holds int32, .*If all values lie in -128 to 127"):
        evaluate(model, "x.npy")


def test_one_sample_without_its_batch(rng):
    model = dense(32, 48, (1, 16, 48))
    x = rng.integers(-128, 128, (16, 48)).astype(np.int8)
    assert evaluate(model, x).measures == evaluate(model, x[None]).measures
    y = np.zeros((16, 32))
    assert evaluate(model, x, labels=y).measures == evaluate(model, x[None], labels=y[None]).measures


@pytest.mark.parametrize("shape", [(1, 16, 48), (1, 3, 48)])
def test_outputs_that_are_no_vector_have_mean_and_range(shape, rng):
    model = dense(32, 48, shape)
    x = rng.integers(-128, 128, (9, *shape[1:])).astype(np.int8)
    report = evaluate(model, x, runtimes=["tflm"])
    y = (lastbit.run(model, x, "tflm").output + 5.0) * float(np.float32(0.02))
    found = report.measures[0]["outputs"]
    assert found["mean"] == pytest.approx(y.mean())
    assert found["standard_deviation"] == pytest.approx(y.std())
    assert (found["smallest"], found["largest"]) == (y.min(), y.max())
    assert re.search(r"runtime +mean +standard deviation +smallest +largest", str(report))
    with pytest.raises(lastbit.InputError, match="labels are one class for each row, but the model"):
        evaluate(model, x, labels=np.zeros(9, int))


def test_one_output_has_mean_and_range_and_chunks_change_nothing(monkeypatch, rng):
    model = dense(1, 7)
    x = rng.integers(-128, 128, (50, 7)).astype(np.int8)
    whole = evaluate(model, x).measures[0]["outputs"]
    monkeypatch.setattr(job, "_MOST_ROWS", 7)
    found = evaluate(model, x).measures[0]["outputs"]
    assert found == pytest.approx(whole)


@pytest.mark.parametrize("classes", [1001, 21_843])
def test_many_classes(here, rng, classes):
    model = dense(classes, 7)
    x = rng.integers(-128, 128, (20, 7)).astype(np.int8)
    predicted = lastbit.run(model, x).output.argmax(axis=1)
    y = predicted.copy()
    y[:4] = (y[:4] + 1) % classes
    report = evaluate(model, x, labels=y)
    found = report.measures[0]["classes"]
    assert (found["correct"], found["accuracy"]) == (16, 0.8)
    pairs = {(int(a), int(b)): int(((y == a) & (predicted == b)).sum()) for a, b in zip(y, predicted, strict=True)}
    assert {(a, b): n for a, b, n in found["confusion_pairs"]} == pairs
    assert "Most frequent mistakes" in str(report)
    plain = evaluate(model, x)
    assert np.array_equal(plain.measures[0]["classes"]["predicted"], np.bincount(predicted, minlength=classes))
    assert "Rows of the most frequent classes" in str(plain)
    np.save("x.npy", x)
    np.save("y.npy", np.full(20, classes))
    Path("m.tflite").write_bytes(model.content)
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", "y.npy")
    assert f"the label of row 0 is {classes}; the model has the classes 0 to {classes - 1}" in result.output


@pytest.mark.parametrize("units", [7, 3])
def test_wanted_outputs_whatever_the_output_s_size(units, rng):
    model = dense(units, 7)
    x = rng.integers(-128, 128, (ROWS, 7)).astype(np.int8)
    wanted = rng.normal(size=(ROWS, units))
    report = evaluate(model, x, labels=wanted, runtimes=["tflm"])
    off = np.abs((lastbit.run(model, x, "tflm").output + 5.0) * float(np.float32(0.02)) - wanted)
    assert report.measures[0]["error"]["mean_absolute_error"] == pytest.approx(off.mean())
    assert list(report.measures[0]) == ["error"]


BAD_LABELS = {
    "nan": (np.nan, "holds nan at element 2; wanted finite numbers"),
    "inf": (-np.inf, "holds -inf at element 2; wanted finite numbers"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
@pytest.mark.parametrize("row", [0, 33, ROWS - 1])
def test_a_bad_wanted_output_keeps_the_rows_before_it(here, rng, name, row):
    _, x = here
    value, text = BAD_LABELS[name]
    wanted = rng.normal(size=(ROWS, 5))
    wanted[row, 2] = value
    np.save("x.npy", x)
    np.save("y.npy", wanted)
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", "y.npy", "-o", "r.json", "--json")
    assert result.exit_code == 2, result.output
    assert f"y.npy: the label of row {row} {text}" in result.stderr
    assert f"{row} of {ROWS} rows were evaluated" in result.stderr
    if not row:
        assert not Path("r.json").exists()
        return
    assert json.loads(Path("r.json").read_text())["rows"] == row
    counted = json.loads(result.stdout)
    assert (counted["rows"], counted["complete"]) == (row, False)
    np.save("x2.npy", x[:row])
    np.save("y2.npy", wanted[:row])
    assert counted["runtimes"][0]["error"] == pytest.approx(
        evaluate("m.tflite", "x2.npy", labels="y2.npy").measures[0]["error"]
    )


@pytest.mark.parametrize(("row", "value"), [(ROWS - 1, 5), (17, -1)])
def test_a_bad_class_keeps_the_rows_before_it(here, rng, row, value):
    model, x = here
    y = rng.integers(0, 5, ROWS)
    y[row] = value
    with pytest.raises(lastbit.DataError, match=f"the label of row {row} is {value}; the model has") as caught:
        evaluate(model, x, labels=y)
    assert caught.value.report.rows == row
    assert caught.value.report.measures == evaluate(model, x[:row], labels=y[:row]).measures
    assert "interrupted" not in str(caught.value.report)


@pytest.mark.parametrize(("value", "dtype"), [(1e39, np.float64), (-1e300, np.float64), (np.nan, np.float16)])
def test_data_are_checked_as_float32_without_a_warning(here, value, dtype):
    model, _ = here
    real = np.zeros((ROWS, 7), dtype)
    real[ROWS - 1, 4] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            lastbit.DataError,
            match=rf"row {ROWS - 1} holds {re.escape(str(value))} at \[4\]; wanted finite numbers of fl",
        ):
            evaluate(model, real, quantize_input=True)
        with pytest.raises(lastbit.InputError, match="wanted finite numbers"):
            lastbit.run(model, real, quantize_input=True)


def test_extreme_labels_give_no_warning(here, rng):
    model, x = here
    wanted = np.full((ROWS, 5), 1e308)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate(model, x, labels=wanted)
    assert '"root_mean_squared_error": "Infinity"' in report.json()
    assert report.measures[0]["error"]["largest_error"] == pytest.approx(1e308)


def npy(shape, descr="|i1", content=b"\x00" * 70):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": descr})
    return stream.getvalue() + content


@pytest.mark.parametrize("shape", [(-10, 7), (-10, -7), (10, -7)])
@pytest.mark.parametrize("member", [False, True])
def test_negative_sizes_in_a_header(here, shape, member):
    Path("x.npy").write_bytes(npy(shape))
    name = "x.npy"
    if member:
        import zipfile

        with zipfile.ZipFile("x.npz", "w") as archive:
            archive.write("x.npy")
        name = "x.npz"
    for arguments in (["evaluate", "m.tflite", "--data", name], ["run", "m.tflite", "-i", name, "-o", "o.npz"]):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert f"its header says the shape {list(shape)}; the file is damaged" in result.output.replace("\n", " ")
        assert len(result.output.strip().splitlines()) == 1


def test_an_entry_of_an_archive_that_ends_early(here):
    import zipfile

    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", npy((1000, 7)))
    with pytest.raises(lastbit.InputError, match=r"x.npz \(x\): is cut off: its header promises int8\[1000, 7\]"):
        open_data("x.npz", (), "data")


SHARDS = {
    "the first": ("part_{:03d}.npy", range(2, 6), "but not part_001.npy"),
    "the first of many": ("x{}.npy", range(4, 14), "but not x1.npy, x2.npy, x3.npy"),
    "the last": ("s-{:05d}-of-00004.npy", [0, 1, 2], "but not s-00003-of-00004.npy"),
    "the last, from one": ("s_{}_of_3.npy", [1, 2], "but not s_0_of_3.npy or s_3_of_3.npy"),
    "the second, from one": ("s_{}_of_3.npy", [1, 3], "but not s_2_of_3.npy"),
    "the first of a stated count": ("s-{:05d}-of-00004.npy", [1, 2, 3], "but not s-00000-of-00004.npy"),
    "one in the middle": ("s-{:05d}-of-00004.npy", [0, 1, 3], "but not s-00002-of-00004.npy"),
    "all but one": ("s-{:05d}-of-00002.npy", [1], "but not s-00000-of-00002.npy"),
}


@pytest.mark.parametrize("name", SHARDS)
def test_missing_shards_are_named(here, name):
    form, numbers, text = SHARDS[name]
    Path("s").mkdir()
    for number in numbers:
        np.save(Path("s", form.format(number)), here[1])
    with pytest.raises(lastbit.InputError, match=re.escape(text)) as caught:
        open_data("s", (), "data")
    assert str(caught.value).startswith("s: found ")


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("part_{}.npy", range(3)), ("part_{}.npy", range(1, 12)), ("{}.npy", range(2019, 2025)), ("x{}.npy", [7])],
)
def test_whole_rows_of_shards_are_taken(here, form, numbers):
    Path("s").mkdir()
    for number in numbers:
        np.save(Path("s", form.format(number)), here[1])
    assert open_data("s", (), "data").rows == ROWS * len(numbers)


def test_rows_are_taken_at_once_as_they_are_quick():
    pace = Pace(dense(64, 1 << 14), 8192)
    first = pace.rows
    assert 1 <= first * 64 * (1 << 14) <= 1e9
    pace.adapt(0.01)
    assert pace.rows == min(2 * first, (8 << 20) // (8 << 14))
    for _ in range(40):
        pace.adapt(10.0)
    assert pace.rows == 1
    assert Pace(make_dense_model(), 100).rows == 100


OTHER_FILES = {
    "w.safetensors": (b'=\x00\x00\x00\x00\x00\x00\x00{"w": {}}', "safetensors.numpy.load_file"),
    "t.csv": (b"1.5,2\n", "numpy.loadtxt(path, delimiter"),
    "p.pt": (b"\x80\x04\x95abcdefghi", "Python pickle"),
    "i.png": (b"\x89PNG\r\n\x1a\n0000", "decode it"),
    "m.tflite": (None, "This is a .tflite model, not its input."),
    "odd": (b"\x01\x02\x03", "with numpy.save"),
    "empty": (b"", "with numpy.save"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_files_of_other_kinds_say_what_to_do(here, name):
    content, text = OTHER_FILES[name]
    if content is not None:
        Path(name).write_bytes(content)
    reading = [["evaluate", "m.tflite", "--data", name], ["run", "m.tflite", "-i", name, "-o", "o.npz"]]
    for arguments in reading[1:] if name.endswith(".csv") else reading:  # evaluate takes tables of text
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert text in result.output
    if name.endswith(("safetensors", "pt")):
        result = invoke("inspect", name)
        assert result.exit_code == 2
        assert "Download it or convert the model again" not in result.output
        assert {"w.safetensors": "weights alone", "p.pt": "Python pickle"}[name] in result.output


@pytest.mark.parametrize("labels", [None, "wanted", "classes"])
@pytest.mark.parametrize("shape", [(1, 2), (1, 4), (1, 3, 4)])
def test_outputs_that_are_not_finite_are_counted_without_a_warning(labels, shape):
    weights = np.full((3 if len(shape) == 3 or shape[-1] == 4 else 2, shape[-1]), 3e38, np.float32)
    weights[0] *= -1
    ends = {"input_quant": None, "weights_quant": None, "output_quant": None}
    more = {"input_shape": shape, "keep_num_dims": True} if len(shape) == 3 else {}
    graph = dense_subgraph(weights, input_dtype="float32", weights_dtype="float32", **ends, **more)
    model = load(write(graph))
    x = np.asarray([0.0, 1e3, -1e3, 1.0], np.float32).reshape(4, *[1] * (len(shape) - 1)) * np.ones(shape, np.float32)
    given = {
        None: None,
        "wanted": np.zeros((4, *model.outputs[0].shape[1:])),
        "classes": np.zeros(4, int),
    }[labels]
    if labels == "classes" and len(shape) == 3:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate(model, x, labels=given, runtimes=["litert-reference", "litert-xnnpack-avx2"], engine="numpy")
        text = report.json()
    assert report.complete
    json.loads(text, parse_constant=pytest.fail)
    if labels == "wanted":
        assert report.measures[0]["error"]["largest_error"] > 3e38
    assert str(report)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [TargetError, Anomaly, Values, lambda: Classes(3, False)])
def test_measures_of_values_that_are_not_finite(make, bad):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure = make()
        y = np.zeros((4, 3))
        y[2, 1] = bad
        for part in (slice(0, 2), slice(2, 3), slice(3, 4)):
            labels = np.zeros((4, 3) if make is TargetError else 4, int)
            measure.add(np.ones((4, 3))[part], y[part], labels[part])
        text = json_text(measure.saved())
        again = make()
        again.restore(json.loads(text, parse_constant=pytest.fail), 4)
        assert json_text(again.summary()) == json_text(measure.summary())
