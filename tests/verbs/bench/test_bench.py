"""bench: what is timed gives the right outputs, and the report says what was measured. No test looks at a time."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lastbit.engines.jit.matmul import available
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.oracles import on_this_machine
from lastbit.verbs.bench.measure import by_turns, machine_peak
from lastbit.verbs.bench.peers import Contender, contenders, operations
from lastbit.verbs.bench.report import BenchReport, BenchRow, time_text
from lastbit.verbs.bench.verb import bench
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model

QUICK = {"batches": [1, 20], "seconds": 0.01, "memory": False}


@needs_all_interpreters
def test_every_real_interpreter_is_timed_and_agrees():
    model = make_dense_model(units=6, depth=9)
    report = bench(model, engine="numpy", **QUICK)
    default = on_this_machine("litert-xnnpack")
    names = [row.name for row in report.rows if row.batch == 20]
    ours = [f"LastBit {name}" for name in (default, "litert-builtin-x86", "litert-reference", "tflm")]
    real = ["LiteRT", "LiteRT builtin", "LiteRT reference", "TensorFlow Lite Micro"]
    assert names[:8] == ours + real
    assert names[-1] == "NumPy int32"
    for row in report.rows:
        assert row.seconds > 0
        assert row.same is (True if row.ours else None), row.name
        assert (row.to_real is not None) is row.ours


@needs_all_interpreters
def test_peers_give_what_their_runtimes_give(rng):
    model = make_dense_model(units=6, depth=9)
    x = rng.integers(-128, 128, (5, 9)).astype(np.int8)
    seen = 0
    for contender in contenders(model, ["tflm"], "numpy", 1):
        if contender.runtime:
            wanted = lastbit.run(model, x, contender.runtime).output
            np.testing.assert_array_equal(contender.make(5)(x), wanted, contender.name)
            seen += 1
    assert seen == 5


@needs_all_interpreters
def test_peers_take_an_input_of_three_dimensions(rng):
    """ONNX Runtime's products take rows; a layer's input may have more dimensions."""
    model = lastbit.dense(
        rng.integers(-127, 128, (6, 9)).astype(np.int8),
        input=(0.02, 3),
        weights_scale=0.004,
        output=(0.05, -5),
        input_shape=(1, 4, 9),
    )
    x = rng.integers(-128, 128, (2, 4, 9)).astype(np.int8)
    sizes = {one.name: one.make(2)(x).size for one in contenders(model, ["tflm"], "numpy", 1)}
    assert sizes["ONNX Runtime"] == sizes["LastBit tflm"] == 2 * 4 * 6


def test_a_real_interpreter_that_fails_while_it_runs_is_left_out_and_told(monkeypatch):
    def fails(x):
        raise RuntimeError("Interpreter invocation failed.")

    def with_one_more(*given):
        return [*contenders(*given), Contender("A real one", "tflm", False, lambda rows: fails)]

    monkeypatch.setattr("lastbit.verbs.bench.verb.contenders", with_one_more)
    report = bench(make_dense_model(units=6, depth=9), runtimes=["tflm"], engine="numpy", **QUICK)
    assert "A real one" not in {row.name for row in report.rows}
    assert report.as_dict()["failed"] == {"A real one": "Interpreter invocation failed"}
    for blocks in (report.blocks(), report.first_screen()):
        assert any("A real one takes the model and fails on it" in getattr(block, "text", "") for block in blocks)


def test_where_nothing_can_be_timed_the_report_says_so():
    report = BenchReport("m.tflite", 0, "cpu", None, "numpy", 1, (), {}, failed={"LiteRT": "why"})
    assert report.exit_code == 3
    first, second = report.first_screen()
    assert first.text.startswith("NOTHING TIMED")
    assert "LiteRT takes the model and fails on it: why" in second.text


def test_operations_count_two_for_each_product():
    assert operations(make_dense_model(units=6, depth=9)) == 2 * 6 * 9


def test_by_turns_calls_all_alike():
    calls = []
    times = by_turns([lambda: calls.append("a"), lambda: calls.append("b")], 0.0)
    assert len(times) == 2
    assert min(times) > 0
    assert min(calls.count("a"), calls.count("b")) >= 5


@pytest.mark.skipif(not available(), reason="needs Numba: pip install '.[fast]'")
def test_the_peak_is_measured():
    assert machine_peak(0.02) > 1e8


def test_report_says_ratios_peak_and_scaled_rows():
    rows = (
        BenchRow(4096, "LastBit tflm", True, 0.001, 4096, 200.0, 1.2, True),
        BenchRow(4096, "TensorFlow Lite Micro", False, 0.2, 64, None, 0.006, None),
        BenchRow(4096, "LastBit other", True, 0.001, 4096, 1.0, None, False),
    )
    report = BenchReport("m", 1000, "cpu", 8.192e9, "jit", 1, rows, {"LastBit tflm": 2**20})
    text = str(report)
    for words in ("200.00", "1.20", "50 %", "(64 rows timed)", "NO", "8 GOPS", "LastBit tflm 1 MiB"):
        assert words in text
    assert report.as_dict()["rows"][0]["gops"] == pytest.approx(4.096)


def test_times_as_text():
    assert [time_text(t) for t in (3.2e-6, 0.0042, 0.9, 7)] == ["3.2 us", "4.2 ms", "900 ms", "7 s"]


@needs_all_interpreters
def test_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes(make_dense_model(units=6, depth=9).content)
    result = invoke(
        "bench", "m.tflite", "--batch", "3", "--runtime", "tflm", "--seconds", "0.01", "--engine", "numpy", "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["schema"] == "lastbit.bench/1"
    assert set(found["peak_memory_bytes"]) == {"LastBit tflm", "LiteRT"}
    assert min(found["peak_memory_bytes"].values()) > 10 * 2**20
    assert {row["same_outputs"] for row in found["rows"] if row["ours"]} == {True}
    assert invoke("bench", "m.tflite", "--batch", "0").exit_code == 2
    assert invoke("bench", "nothing.tflite").exit_code == 2


@needs_all_interpreters
def test_the_benchmark_of_pytest_runs_and_agrees():
    """bench/test_speed.py on one small layer, each contender once."""
    command = [sys.executable, "-m", "pytest", "bench/test_speed.py", "--benchmark-disable", "-q", "-k", "128x128-16-"]
    root = Path(__file__).parents[3]
    if importlib.util.find_spec("numba") is None or not (root / "bench").exists():
        pytest.skip("needs Numba and a checkout")
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= 9, result.stdout


@pytest.mark.parametrize(("rows", "batch"), [(2, 1), (2, 3), (3, 2)])
def test_a_file_of_a_fixed_batch_is_no_contender_for_other_batches(rows, batch, rng):
    weights = rng.integers(-9, 9, (3, 5)).astype(np.int8)
    scales = {"input_quant": quant(0.1), "weights_quant": quant(0.1), "output_quant": quant(0.1)}
    model = load(write(dense_subgraph(weights, input_shape=(rows, 5), **scales)))
    for contender in contenders(model, ["tflm"], "numpy", 1):
        call = contender.make(batch)
        if call is not None:
            assert len(call(np.zeros((batch, 5), np.int8))) == batch
