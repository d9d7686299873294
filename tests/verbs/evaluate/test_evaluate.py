"""evaluate: what it counts, that it goes on where it was, and what it says of bad data."""

import errno
import importlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit import evaluate
from lastbit.verbs.evaluate.data import open_data
from tests.support.cli import invoke
from tests.support.models import make_dense_model

ROWS = 1000
job_module = importlib.import_module("lastbit.verbs.evaluate.job")


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A model with five classes, data for it and labels."""
    monkeypatch.chdir(tmp_path)
    model = make_dense_model(units=5, depth=7, output_scale=0.25)
    Path("m.tflite").write_bytes(model.content)
    x = rng.integers(-128, 128, (ROWS, 7)).astype(np.int8)
    np.save("x.npy", x)
    np.save("y.npy", rng.integers(0, 5, ROWS))
    return model, x


def outputs(model, x, runtime):
    return lastbit.run(model, x, runtime).output


def small_chunks(monkeypatch, rows=64):
    monkeypatch.setattr(job_module, "_MOST_ROWS", rows)


def test_accuracy_and_confusion(folder, monkeypatch):
    model, x = folder
    small_chunks(monkeypatch)
    report = evaluate("m.tflite", "x.npy", labels="y.npy", runtimes=["tflm", "litert-xnnpack"])
    y = np.load("y.npy")
    for name, found in zip(report.runtimes, report.measures, strict=True):
        predicted = outputs(model, x, name).argmax(axis=1)
        confusion = np.zeros((5, 5), int)
        np.add.at(confusion, (y, predicted), 1)
        assert found["classes"]["confusion"] == confusion.tolist()
        assert found["classes"]["correct"] == int((predicted == y).sum())
        assert found["classes"]["accuracy"] == pytest.approx((predicted == y).mean())
    assert report.complete


def test_changes_between_runtimes_and_where_they_begin(folder, monkeypatch):
    model, x = folder
    small_chunks(monkeypatch)
    first, *others = "tflm", "litert-xnnpack", "litert-builtin-x86", "torch-fbgemm"
    report = evaluate("m.tflite", "x.npy", runtimes=[first, *others])
    ours = outputs(model, x, first)
    seen = 0
    for name, found in zip(others, report.changes, strict=True):
        theirs = outputs(model, x, name)
        rows = np.flatnonzero((ours != theirs).any(axis=1))
        assert found["rows"] == len(rows)
        assert found["elements"] == int((ours != theirs).sum())
        assert [example["row"] for example in found["examples"]] == rows[:20].tolist()
        assert found["classes"] == int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
        assert sum(found["begins"].values()) == found["followed"] == min(len(rows), found["followed"])
        assert set(found["begins"]) <= {"0"}
        seen += len(rows)
    assert seen > 0


def test_wanted_outputs_and_real_valued_data(folder):
    model, _ = folder
    real = np.random.default_rng(0).uniform(-3, 3, (50, 7)).astype(np.float32)
    wanted = np.random.default_rng(1).uniform(-9, 9, (50, 5))
    np.save("real.npy", real)
    np.save("wanted.npy", wanted)
    report = evaluate("m.tflite", "real.npy", labels="wanted.npy", runtimes=["tflm"], quantize_input=True)
    y = lastbit.run(model, real, "tflm", quantize_input=True).output
    quant = model.outputs[0].quant
    off = np.abs((y - float(quant.zero_point[0])) * float(quant.scale[0]) - wanted)
    found = report.measures[0]["error"]
    assert found["mean_absolute_error"] == pytest.approx(off.mean())
    assert found["largest_error"] == pytest.approx(off.max())
    assert found["root_mean_squared_error"] == pytest.approx(np.sqrt((off**2).mean()))


def test_anomaly_score_of_a_model_whose_output_is_like_its_input(tmp_path, rng):
    model = make_dense_model(units=7, depth=7, output_scale=0.1)
    x = rng.integers(-128, 128, (90, 7)).astype(np.int8)
    labels = rng.integers(0, 2, 90)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    report = evaluate(model.content, str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"), runtimes=["tflm"])
    y = outputs(model, x, "tflm").astype(float)
    scores = (((x - 3.0) * float(np.float32(0.02)) - (y + 5.0) * float(np.float32(0.1))) ** 2).mean(axis=1)
    found = report.measures[0]["anomaly"]
    assert found["mean"] == pytest.approx(scores.mean())
    assert (found["smallest"], found["largest"]) == pytest.approx((scores.min(), scores.max()))
    assert found["mean_by_label"] == {str(i): pytest.approx(scores[labels == i].mean()) for i in (0, 1)}


def test_shards_archives_and_one_file_give_the_same(folder, monkeypatch):
    _, x = folder
    small_chunks(monkeypatch)
    Path("shards").mkdir()
    for number, part in enumerate(np.array_split(x, 12)):
        np.save(f"shards/part_{number}.npy", part)
    np.savez("x.npz", x=x, other=np.zeros(3))
    np.savez_compressed("c.npz", whatever=x.reshape(ROWS, 1, 7))
    wanted = evaluate("m.tflite", "x.npy", labels="y.npy").measures
    for data in ("shards", "x.npz", "c.npz"):
        assert evaluate("m.tflite", data, labels="y.npy").measures == wanted, data


def test_an_interrupted_evaluation_goes_on(folder, monkeypatch):
    small_chunks(monkeypatch, 100)
    runtimes = ["tflm", "litert-xnnpack"]
    wanted = evaluate("m.tflite", "x.npy", labels="y.npy", runtimes=runtimes).as_dict()

    def interrupt(done, total, what):
        if done == 300:
            signal.raise_signal(signal.SIGINT)

    part = evaluate("m.tflite", "x.npy", labels="y.npy", runtimes=runtimes, output="r.json", progress=interrupt)
    assert (part.complete, part.rows) == (False, 300)
    assert "Run the same command again to go on" in str(part)
    assert json.loads(Path("r.json").read_text())["complete"] is False
    seen = []
    whole = evaluate(
        "m.tflite", "x.npy", labels="y.npy", runtimes=runtimes, output="r.json",
        progress=lambda done, total, what: seen.append(done),
    )  # fmt: skip
    assert seen[0] == 400
    found = whole.as_dict()
    assert (found["runtimes"], found["changes"], found["rows"]) == (wanted["runtimes"], wanted["changes"], ROWS)
    assert json.loads(Path("r.json").read_text())["complete"] is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# The command in a process of its own, in which Ctrl-C comes after 300 rows, however fast the machine is.
INTERRUPTED = """
import contextlib, signal, sys
import lastbit.verbs.evaluate.job
from lastbit.report import terminal
from lastbit.cli import main

@contextlib.contextmanager
def progress(title):
    yield lambda done, total, what: signal.raise_signal(signal.SIGINT) if done == 300 else None

sys.modules["lastbit.verbs.evaluate.job"]._MOST_ROWS = 100
terminal.progress = progress
main()
"""


def test_ctrl_c_on_the_command_line(folder):
    arguments = ["evaluate", "m.tflite", "--data", "x.npy", "-o", "r.json", "--engine", "numpy"]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert "Run the same command again to go on" in " ".join(done.stdout.split())
    assert json.loads(Path("r.json").read_text())["rows"] == 300
    assert "Traceback" not in done.stderr


def test_another_evaluations_file_is_not_continued(folder):
    evaluate("m.tflite", "x.npy", output="r.json")
    with pytest.raises(lastbit.InputError, match=r"result of another evaluation .*--restart"):
        evaluate("m.tflite", "x.npy", runtimes=["tflm"], output="r.json")
    assert evaluate("m.tflite", "x.npy", runtimes=["tflm"], output="r.json", restart=True).complete
    Path("r.json").write_text("{}")
    with pytest.raises(lastbit.InputError, match="is not a report of lastbit evaluate"):
        evaluate("m.tflite", "x.npy", output="r.json")


def test_nan_in_the_middle_keeps_what_was_done(folder, monkeypatch):
    small_chunks(monkeypatch, 10)
    real = np.zeros((45, 7), np.float32)
    real[33, 2] = np.nan
    np.save("real.npy", real)
    result = invoke("evaluate", "m.tflite", "--data", "real.npy", "--quantize-input", "-o", "r.json")
    assert result.exit_code == 2
    assert "real.npy: row 33 holds nan at [2]; wanted finite numbers" in result.output
    assert "33 of 45 rows were evaluated; their result is in r.json" in result.output
    assert json.loads(Path("r.json").read_text())["rows"] == 33


def test_a_full_disk_keeps_the_last_result(folder, monkeypatch):
    small_chunks(monkeypatch, 100)
    monkeypatch.setattr(job_module, "_SECONDS_BETWEEN_WRITES", 0.0)
    real_fsync = __import__("os").fsync
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "-o", "r.json")
    assert result.exit_code == 2
    assert "no space left on device" in result.output
    assert "400 of 1000 rows were evaluated; r.json has what was written last" in result.output
    assert json.loads(Path("r.json").read_text())["rows"] == 300
    assert [path.name for path in Path.cwd().glob(".lastbit*")] == []


def truncate(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


BAD = {
    "missing": (lambda: "nothing.npy", "nothing.npy: no such file or folder"),
    "cut off": (
        lambda: truncate("x.npy", 500),
        r"is cut off: its header promises int8\[1000, 7\], so 7128 bytes",
    ),
    "no array": (lambda: Path("x.npy").write_bytes(b"hello world"), "is neither .npy nor .npz"),
    "empty": (lambda: Path("x.npy").write_bytes(b""), "it is empty"),
    "wrong type": (lambda: np.save("x.npy", np.zeros((5, 7), np.int32)), "holds int32, wanted int8"),
    "real": (lambda: np.save("x.npy", np.zeros((5, 7))), "Quantize real values with --quantize-input"),
    "wrong shape": (lambda: np.save("x.npy", np.zeros((5, 8), np.int8)), r"rows have shape \[8\], wanted \[7\]"),
    "no rows": (lambda: np.save("x.npy", np.zeros((0, 7), np.int8)), "has no rows"),
    "scalar": (lambda: np.save("x.npy", np.int8(3)), "holds a single number"),
    "objects": (
        lambda: np.save("x.npy", np.asarray([{}]), allow_pickle=True),
        "x.npy: the file holds Python objects, not numbers",
    ),
    "columns": (lambda: np.save("x.npy", np.zeros((5, 7), np.int8, order="F")), "Fortran order"),
    "labels short": (lambda: np.save("y.npy", np.zeros(3, int)), "found 3 labels for 1000 rows"),
    "labels shape": (lambda: np.save("y.npy", np.zeros((1000, 3))), "wanted one integer .a class., or 5 values"),
    "label range": (lambda: np.save("y.npy", np.full(1000, 5)), "the label of row 0 is 5; the model has"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(folder, name):
    make, text = BAD[name]
    data = make() if name == "missing" else (make(), "x.npy")[1]
    result = invoke("evaluate", "m.tflite", "--data", data, "--labels", "y.npy", "-o", "r.json")
    assert result.exit_code == 2, result.output
    assert re.search(text, result.output), result.output
    assert not Path("r.json").exists()


def test_a_missing_or_odd_shard(folder):
    _, x = folder
    Path("s").mkdir()
    with pytest.raises(lastbit.InputError, match=r"has no \.npy or \.npz files"):
        open_data("s", (), "data")
    for number in (1, 2, 4):
        np.save(f"s/part_{number:03d}.npy", x)
    with pytest.raises(lastbit.InputError, match=r"found 3 shards, part_001.npy to part_004.npy, but not part_003.npy"):
        open_data("s", (), "data")
    np.save("s/part_003.npy", x[:, :3])
    with pytest.raises(lastbit.InputError, match="all shards must agree"):
        open_data("s", (), "data")
    np.save("s/part_003.npy", x)
    assert open_data("s", (), "data").rows == 4 * ROWS
    np.savez("two.npz", a=x, b=x)
    with pytest.raises(lastbit.InputError, match=r"holds 2 arrays \(a, b\); wanted one, or one named 'x'"):
        open_data("two.npz", ("x",), "data")


def test_a_damaged_archive_keeps_what_was_done(folder, monkeypatch):
    _, x = folder
    small_chunks(monkeypatch)
    np.savez_compressed("x.npz", x=x)
    content = bytearray(Path("x.npz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    Path("x.npz").write_bytes(content)
    result = invoke("evaluate", "m.tflite", "--data", "x.npz")
    assert result.exit_code == 2, result.output
    assert re_any(("is damaged", "cannot be read"), result.output)
    assert "rows were evaluated" in result.output


def re_any(texts, where):
    return any(text in where for text in texts)


def test_uncovered_models_and_several_inputs(folder):
    from tests.support.cli import partial_model

    Path("p.tflite").write_bytes(partial_model(folder[0]))
    assert invoke("evaluate", "p.tflite", "--data", "x.npy").exit_code == 3
    assert invoke("evaluate", "m.tflite", "--data", "x.npy", "--runtime", "nope").exit_code == 2


def test_json_and_text(folder):
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", "y.npy", "--runtime", "tflm", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["schema"] == "lastbit.evaluate/1"
    text = invoke("evaluate", "m.tflite", "--data", "x.npy", "--runtime", "tflm", "--runtime", "litert-xnnpack").output
    assert "1,000 of 1,000 rows" in text
    assert "rows of each class" in text


def test_memory_does_not_grow_with_the_data(folder):
    import tracemalloc

    peaks = []
    for rows in (20_000, 200_000):
        np.save("big.npy", np.zeros((rows, 7), np.int8))
        tracemalloc.start()
        evaluate("m.tflite", "big.npy", engine="numpy")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


@pytest.mark.parametrize(("shape", "units", "batch"), [((1, 16, 48), 32, 5), ((1, 3, 4, 6), 2, 3), ((1, 2, 9), 7, 1)])
def test_an_output_that_is_no_vector_of_classes_is_a_result(tmp_path, shape, units, batch):
    """Exit code 3 is for no result: outputs of any shape give one, and 0."""
    model = make_dense_model(units=units, depth=shape[-1], input_shape=shape, keep_num_dims=True)
    (tmp_path / "m.tflite").write_bytes(model.content)
    np.save(tmp_path / "x.npy", np.random.default_rng(1).integers(-128, 128, (batch, *shape[1:])).astype(np.int8))
    result = invoke("evaluate", tmp_path / "m.tflite", "--data", tmp_path / "x.npy", "--runtime", "tflm", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["rows"] == batch
    assert set(data["runtimes"][0]) > {"name"}
