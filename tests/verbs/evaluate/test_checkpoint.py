"""The report file of evaluate: damaged ones are refused by name, none is taken up with wrong counts."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit import evaluate
from lastbit.verbs.evaluate import checkpoint, job
from lastbit.verbs.evaluate.checkpoint import _digest
from tests.support.cli import invoke
from tests.support.models import make_dense_model

ROWS = 300
RUNTIMES = ["tflm", "litert-xnnpack"]


@pytest.fixture
def half(tmp_path, monkeypatch, rng):
    """An evaluation that was interrupted after 100 rows: a function that goes on with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_MOST_ROWS", 100)
    Path("m.tflite").write_bytes(make_dense_model(units=5, depth=7, output_scale=0.25).content)
    np.save("x.npy", rng.integers(-128, 128, (ROWS, 7)).astype(np.int8))
    np.save("y.npy", rng.integers(0, 5, ROWS))

    def interrupt(done, total, what):
        signal.raise_signal(signal.SIGINT)

    def go(**extra):
        return evaluate("m.tflite", "x.npy", labels="y.npy", runtimes=RUNTIMES, output="r.json", **extra)

    assert go(progress=interrupt).rows == 100
    return go


def test_it_has_a_schema_a_version_and_a_digest(half):
    content = json.loads(Path("r.json").read_text())
    assert content["schema"] == "lastbit.evaluate/1"
    assert content["checkpoint"]["schema"] == "lastbit.evaluate_checkpoint/1"
    assert content["checkpoint"]["lastbit"] == lastbit_version()
    assert re.fullmatch("[0-9a-f]{64}", content["checkpoint"]["sha256"])
    assert half().complete


def lastbit_version():
    from lastbit.verbs.doctor.verb import lastbit_version as version

    return version()


def test_any_number_that_was_changed_is_noticed(half):
    good = Path("r.json").read_text()
    numbers = [match.span() for match in re.finditer(r"(?<![\w.\"])\d+(?![\w.\"])", good)]
    assert len(numbers) > 60
    wanted = evaluate("m.tflite", "x.npy", labels="y.npy", runtimes=RUNTIMES).measures
    for begin, end in numbers:
        Path("r.json").write_text(good[:begin] + str(int(good[begin:end]) + 1) + good[end:])
        with pytest.raises(lastbit.InputError, match=r"r\.json: (is damaged|is a damaged report|was written by)"):
            half()
    Path("r.json").write_text(good)
    assert half().measures == wanted


@pytest.mark.parametrize("at", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_file_cut_off_is_refused_by_name(half, at):
    good = Path("r.json").read_bytes()
    Path("r.json").write_bytes(good[: int(len(good) * at)])
    result = invoke("evaluate", "m.tflite", "--data", "x.npy", "--labels", "y.npy", "-o", "r.json")
    assert result.exit_code == 2
    assert re.search(r"r\.json: .*(damaged report|not a report) of lastbit evaluate.*--restart", result.output)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b'"x"', b"[1]", b"1" * 9999, b"NaN"])
def test_what_is_no_report_is_refused(half, content):
    Path("r.json").write_bytes(content)
    with pytest.raises(lastbit.InputError, match=r"r\.json: exists and is not a report of lastbit evaluate"):
        half()


def change(make):
    """A file that somebody changed, digest and all."""
    content = json.loads(Path("r.json").read_text())
    point = content["checkpoint"]
    make(point["state"])
    del point["sha256"]
    point["sha256"] = _digest(content)
    Path("r.json").write_text(json.dumps(content))


FORGED = {
    "rows": lambda s: s.update(rows=99),
    "more rows than there are": lambda s: s.update(rows=ROWS + 1),
    "rows below zero": lambda s: s.update(rows=-1),
    "half a row": lambda s: s.update(rows=0.5),
    "no rows": lambda s: s.pop("rows"),
    "a count more": lambda s: s["measures"][0][0]["pairs"][0].__setitem__(2, 10**6),
    "a negative count": lambda s: s["measures"][0][0]["pairs"][0].__setitem__(2, -1),
    "a class that is none": lambda s: s["measures"][1][0]["pairs"][0].__setitem__(1, 5),
    "no measure": lambda s: s["measures"].pop(),
    "measures of another kind": lambda s: s["measures"][0].__setitem__(0, {"rows": 100}),
    "a text": lambda s: s["changes"][0].update(rows="100"),
    "more changes than rows": lambda s: s["changes"][0].update(rows=101),
    "an operator that is none": lambda s: s["changes"][0].update(begins={"7": 1}),
    "a list": lambda s: s.update(changes=[[]]),
    "time": lambda s: s.update(seconds="Infinity"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_state_that_cannot_be_is_refused_whoever_signed_it(half, name):
    change(FORGED[name])
    with pytest.raises(lastbit.InputError, match=r"r\.json: is damaged: it holds no state of this evaluation"):
        half()


def test_another_version_is_refused_by_name(half, monkeypatch):
    monkeypatch.setattr(checkpoint, "_version", lambda: "9.9")
    with pytest.raises(lastbit.InputError, match=r"r\.json: was written by LastBit .*; this is 9\.9"):
        half()


@pytest.mark.parametrize("name", ["x.npy", "y.npy"])
def test_data_that_changed_under_the_same_size_and_time_are_noticed(half, name):
    before = os.stat(name)
    content = bytearray(Path(name).read_bytes())
    content[-1] ^= 1
    Path(name).write_bytes(content)
    os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (os.stat(name).st_size, os.stat(name).st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(
        lastbit.InputError, match=f"another evaluation .another {'data' if name[0] == 'x' else 'labels'}"
    ):
        half()


def test_a_large_file_is_sampled_at_both_ends_and_in_between(tmp_path):
    from lastbit.verbs.evaluate.data import open_data

    path = tmp_path / "x.npy"
    values = np.zeros((1 << 20, 4), np.int8)
    np.save(path, values)
    before, stat = open_data(str(path), (), "data").identity(), path.stat()
    for rows in (slice(0, 1), slice(-1, None), slice(1 << 18, 1 << 19)):
        changed = values.copy()
        changed[rows] = 1
        np.save(path, changed)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert open_data(str(path), (), "data").identity() != before
    np.save(path, values)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_data(str(path), (), "data").identity() == before


def test_arrays_go_on_too_and_other_arrays_do_not(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_MOST_ROWS", 100)
    model, x = make_dense_model(), rng.integers(-128, 128, (ROWS, 7)).astype(np.int8)
    first = evaluate(model, x, output="r.json", progress=lambda *_: signal.raise_signal(signal.SIGINT))
    assert first.rows == 100
    other = x.copy()
    other[150, 3] ^= 1
    with pytest.raises(lastbit.InputError, match="another data"):
        evaluate(model, other, output="r.json")
    assert evaluate(model, x, output="r.json").measures == evaluate(model, x).measures


def test_numbers_that_are_not_finite_are_taken_up(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_MOST_ROWS", 10)
    model, x = make_dense_model(units=5), rng.integers(-128, 128, (30, 7)).astype(np.int8)
    wanted = np.zeros((30, 5))
    wanted[3, 1] = 1e300  # its square is infinite
    part = evaluate(model, x, labels=wanted, output="r.json", progress=lambda *_: signal.raise_signal(signal.SIGINT))
    assert part.rows == 10
    text = Path("r.json").read_text()
    assert '"Infinity"' in text
    json.loads(text, parse_constant=pytest.fail)
    whole = evaluate(model, x, labels=wanted, output="r.json")
    assert whole.measures[0]["error"] == evaluate(model, x, labels=wanted).measures[0]["error"]
    assert whole.measures[0]["error"]["root_mean_squared_error"] == np.inf
