"""Labels in files of text, of many classes and of places; top K, precision, recall and F1; a file with each row."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit import evaluate
from lastbit.verbs.evaluate.class_scores import class_scores
from lastbit.verbs.evaluate.text_data import read_text
from tests.support.cli import invoke
from tests.support.models import make_dense_model

ROWS, CLASSES = 200, 12


@pytest.fixture
def here(tmp_path, monkeypatch, rng):
    """A model of twelve classes, data, and labels that are right more often than not."""
    monkeypatch.chdir(tmp_path)
    model = make_dense_model(units=CLASSES, depth=7, output_scale=0.25)
    Path("m.tflite").write_bytes(model.content)
    x = rng.integers(-128, 128, (ROWS, 7)).astype(np.int8)
    y = lastbit.run(model, x, "tflm").output
    labels = np.where(rng.random(ROWS) < 0.7, y.argmax(axis=1), rng.integers(0, CLASSES, ROWS))
    np.save("x.npy", x)
    return model, x, y, labels


TEXTS = {
    "lines.txt": lambda y: "".join(f"{v}\n" for v in y),
    "comments.txt": lambda y: "# labels of the test set\n\n" + "".join(f"{v}  # class\n" for v in y),
    "plain.csv": lambda y: "".join(f"{v}\n" for v in y),
    "head.csv": lambda y: "label\n" + "".join(f"{v}\n" for v in y),
    "columns.csv": lambda y: "\ufefffile,Label,note\r\n" + "".join(f"{i}.png,{v},ok\r\n" for i, v in enumerate(y)),
    "semicolons.csv": lambda y: "id;y\n" + "".join(f"{i};{v}\n" for i, v in enumerate(y)),
    "tabs.tsv": lambda y: "id\ttarget\n" + "".join(f"{i}\t{v}\n" for i, v in enumerate(y)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_labels_in_text_are_those_of_an_array(here, name):
    model, x, _, labels = here
    Path(name).write_text(TEXTS[name](labels), encoding="utf-8", newline="")
    wanted = evaluate(model, x, labels=labels, runtimes=["tflm"])
    assert evaluate(model, x, labels=name, runtimes=["tflm"]).measures == wanted.measures
    found = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", name, "--runtime", "tflm", "--json")
    assert json.loads(found.stdout)["runtimes"][0]["classes"]["correct"] == wanted.measures[0]["classes"]["correct"]


def test_data_and_wanted_outputs_in_text(here):
    model, x, y, _ = here
    np.savetxt("x.csv", x, "%d", ",")
    wanted = lastbit.run(model, x, "tflm").output.astype(np.float64) * 0.25
    np.savetxt("wanted.txt", wanted, "%.2f")
    report = evaluate(model, "x.csv", labels="wanted.txt", runtimes=["tflm"])
    assert report.measures[0]["error"]["largest_error"] < 256 * 0.25
    assert len(read_text("wanted.txt", (), "labels")) == len(y)
    assert report.measures == evaluate(model, x, labels="wanted.txt", runtimes=["tflm"]).measures
    np.savetxt("x.csv", x.astype(int) + 1, "%d", ",")
    result = invoke("evaluate", "m.tflite", "--data", "x.csv")
    assert (result.exit_code == 2) == (int(x.max()) == 127)
    assert "found dtype int64, wanted int8" in result.stderr


BAD_TEXTS = {
    "words": ("a.csv", "label\ncat\ndog\n", "a.csv: line 2 has 'cat', wanted a number. Give each class its number."),
    "one word": ("a.txt", "1\n2\nthree\n", "a.txt: line 3 has 'three', wanted a number"),
    "uneven": ("a.csv", "1,2\n3\n", "a.csv: line 2 has 1 values, the first one has 2"),
    "empty": ("a.csv", "", "a.csv: has no rows"),
    "head alone": ("a.csv", "label\n", "a.csv: has no rows"),
    "no text": ("a.txt", b"\xff\xfe\x00", "a.txt: cannot be read as text"),
    "other rows": ("a.txt", "1\n2\n", "a.txt: found 2 labels for 200 rows of data"),
    "not there": ("b.csv", None, "b.csv: no such file or folder. Check the path of the labels."),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_text_is_told_with_its_line(here, name):
    path, content, text = BAD_TEXTS[name]
    if content is not None:
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", path)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())


def test_top_k_counts_ties_as_argmax_does(here):
    model, x, y, labels = here
    report = evaluate(model, x, labels=labels, runtimes=["tflm"], top=[1, 3, 12])
    order = np.argsort(-y.astype(int), axis=1, kind="stable")  # equal outputs in the order of the classes
    rank = (order == labels[:, None]).argmax(axis=1)
    found = report.measures[0]["classes"]
    assert found["top"] == [{"k": k, "share": float((rank < k).mean())} for k in (1, 3, 12)]
    assert found["top"][0]["share"] == found["accuracy"]
    assert [entry["k"] for entry in evaluate(model, x, labels=labels).measures[0]["classes"]["top"]] == [5]
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", "l.npy", "--top", 13)
    assert result.exit_code == 2
    with pytest.raises(lastbit.InputError, match="found top 13 for a model of 12 classes; wanted 1 to 12"):
        evaluate(model, x, labels=labels, top=[13])


def test_precision_recall_and_f1_of_each_class(here):
    model, x, y, labels = here
    found = evaluate(model, x, labels=labels, runtimes=["tflm"]).measures[0]["classes"]
    predicted = y.argmax(axis=1)
    for row in found["by_class"]:
        mine, given = labels == row["class"], predicted == row["class"]
        hits = int((mine & given).sum())
        assert row["rows"] == mine.sum()
        assert row["precision"] == (pytest.approx(hits / given.sum()) if given.any() else None)
        assert row["recall"] == (pytest.approx(hits / mine.sum()) if mine.any() else None)
        assert row["f1"] == pytest.approx(2 * hits / (mine.sum() + given.sum()))
    assert {row["class"] for row in found["by_class"]} == {*labels.tolist(), *predicted.tolist()}
    assert found["macro"]["f1"] == pytest.approx(np.mean([row["f1"] for row in found["by_class"]]))
    text = str(evaluate(model, x, labels=labels))
    assert "precision, recall and F1 are means over the classes" in text
    assert "each class" in text


def test_scores_worked_by_hand():
    # Labels 0 0 0 0 1 1 2, results 0 0 0 1 1 1 1: class 2 is never printed.
    found = class_scores([(0, 0, 3), (0, 1, 1), (1, 1, 2), (2, 1, 1)])
    assert [(row["precision"], row["recall"]) for row in found["by_class"]] == [(1.0, 0.75), (0.5, 1.0), (None, 0.0)]
    assert [row["f1"] for row in found["by_class"]] == pytest.approx([6 / 7, 2 / 3, 0.0])
    assert found["macro"] == pytest.approx({"precision": 0.5, "recall": 1.75 / 3, "f1": (6 / 7 + 2 / 3) / 3})


def test_more_classes_than_any_table_shows(rng):
    classes = 70_000
    model = make_dense_model(units=classes, depth=2)
    x = rng.integers(-128, 128, (3, 2)).astype(np.int8)
    labels = lastbit.run(model, x).output.argmax(axis=1)
    report = evaluate(model, x, labels=labels)
    assert report.measures[0]["classes"]["correct"] == 3
    assert len(report.measures[0]["classes"]["confusion_pairs"]) == len(set(labels.tolist()))


def test_a_class_at_each_place_of_an_output(rng, tmp_path):
    weights = rng.integers(-128, 128, (32, 8))
    given = {"input": (0.02, 3), "weights_scale": 0.01, "output": (0.1, 0), "input_shape": (1, 16, 8)}
    model = lastbit.dense(weights, np.zeros(32, np.int32), **given)
    x = rng.integers(-128, 128, (9, 16, 8)).astype(np.int8)
    y = lastbit.run(model, x, "tflm").output
    assert y.shape == (9, 16, 32)
    labels = np.where(rng.random((9, 16)) < 0.5, y.argmax(axis=2), 0)
    report = evaluate(model, x, labels=labels, runtimes=["tflm", "litert-reference"], rows=str(tmp_path / "r.csv"))
    found = report.measures[0]["classes"]
    assert found["correct"] == (y.argmax(axis=2) == labels).sum()
    assert np.sum(found["confusion"]) == 9 * 16
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["tflm/right"]) for row in rows] == (y.argmax(axis=2) == labels).sum(axis=1).tolist()
    assert "get another class" not in str(report)


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_the_result_of_each_row(here, monkeypatch, ending):
    import importlib

    monkeypatch.setattr(importlib.import_module("lastbit.verbs.evaluate.job"), "_MOST_ROWS", 64)
    _, x, _, labels = here
    np.save("l.npy", labels)
    options = ["--labels", "l.npy", "--runtime", "tflm", "--runtime", "litert-xnnpack", "--rows", f"r.{ending}"]
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", *options)
    assert result.exit_code == 0
    assert f"wrote r.{ending}" in result.stderr
    if ending == "npz":
        with np.load("r.npz") as file:
            table = {name: file[name] for name in file.files}
    else:
        with open("r.csv", newline="") as file:
            read = list(csv.DictReader(file))
        table = {name: np.array([float(row[name]) for row in read]) for name in read[0]}
    assert table["row"].tolist() == list(range(ROWS))
    assert table["label"].tolist() == labels.tolist()
    for name in ("tflm", "litert-xnnpack"):
        printed = lastbit.run("m.tflite", x, name).output
        assert table[f"{name}/class"].tolist() == printed.argmax(axis=1).tolist()
        assert table[f"{name}/right"].sum() == (printed.argmax(axis=1) == labels).sum()


@pytest.mark.parametrize("labels", [None, "wanted"])
def test_rows_of_outputs_that_are_no_classes(rng, tmp_path, labels):
    model = make_dense_model(units=1, depth=7)
    x = rng.integers(-128, 128, (20, 7)).astype(np.int8)
    path = str(tmp_path / "r.npz")
    evaluate(model, x, labels=None if labels is None else np.zeros((20, 1)), rows=path)
    with np.load(path) as file:
        columns = [name.split("/")[-1] for name in file.files]
    assert columns == (
        ["row", "mean_absolute_error", "largest_error"] if labels else ["row", "mean", "smallest", "largest"]
    )


def test_rows_are_refused_where_a_part_was_evaluated_before(here):
    model, x, _, _ = here
    evaluate("m.tflite", "x.npy", output="r.json")
    with pytest.raises(lastbit.InputError, match=r"rows\.csv: 200 rows were evaluated before.*--restart"):
        evaluate("m.tflite", "x.npy", output="r.json", rows="rows.csv")
    assert not Path("rows.csv").exists()
    assert evaluate("m.tflite", "x.npy", output="r.json", rows="rows.csv", restart=True).complete
    with pytest.raises(lastbit.InputError, match="csv"):
        evaluate(model, x, rows="rows.txt")
