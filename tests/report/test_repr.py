"""What a shell, a debugger and pytest show of every result: the verdict, in five short lines at most."""

import pkgutil
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import lastbit
from lastbit.model.html import few_lines
from lastbit.verbs.bench.verb import bench
from lastbit.verbs.demo.verb import demo
from lastbit.verbs.doctor.verb import doctor
from lastbit.verbs.runtimes.operators import operators_report
from lastbit.verbs.runtimes.verb import runtimes_report
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model

X = np.random.default_rng(2).integers(-128, 128, (4, 7)).astype(np.int8)
RIGHT = lastbit.run(make_dense_model(), X, "tflm").output
LONG = "a folder with a long name/" * 12 + "m.tflite"


def model():
    return replace(make_dense_model(), source=LONG)


def evaluated(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return lastbit.evaluate(model(), str(tmp_path / "x.npy"), runtimes=("tflm", "litert-reference"))


# Verb -> its result for a small layer, and what its repr must say.
RESULTS = {
    "load": (lambda _: model(), "1 operators"),
    "prepare": (lambda _: lastbit.prepare(model(), "tflm"), "tflm, 1 of 1 operators covered"),
    "run": (lambda _: lastbit.run(model(), X, "tflm"), "tflm, 1 of 1 operators ran"),
    "run, a step": (lambda _: lastbit.run(model(), X, "tflm")[0], "acc_scaled"),
    "build": (lambda _: lastbit.build(model(), "tflm", engine="numpy"), "tflm, engine numpy"),
    "inspect": (lambda _: lastbit.inspect(model()), "1 operators, 1 of them dense"),
    "inspect, one": (lambda _: lastbit.inspect(model(), 0), "operator 0 FULLY_CONNECTED"),
    "explain": (lambda _: lastbit.explain(model(), X, at=(0, 1), runtime="tflm"), f"on tflm: {RIGHT[0, 1]}\n"),
    "diagnose, right": (lambda _: lastbit.diagnose(model(), X, RIGHT, runtime="tflm"), "Nothing is wrong"),
    "diagnose, wrong": (
        lambda _: lastbit.diagnose(model(), X, RIGHT + np.int8(5)),
        "1 wrong: output_zero_point_missing",
    ),
    "diagnose, unreadable": (lambda _: lastbit.diagnose(model(), X, RIGHT[:, :2]), "cannot be the layer's output"),
    "diagnose, unexplained": (lambda _: lastbit.diagnose(model(), X, X[:, :5], most=1), "No set of up to 1 known"),
    "thresholds": (lambda _: lastbit.thresholds(model(), "tflm"), "1 of 1 dense layers have tables\n  tflm, "),
    "compare": (lambda _: lastbit.compare(model(), "tflm", "cmsis-nn", oracles=False), "tflm and cmsis-nn"),
    "identify": (lambda _: lastbit.identify(model(), X, RIGHT), ": Left: "),
    "vectors": (lambda _: lastbit.vectors(model(), "tflm", random=0, oracle=False), "rivals that can be caught"),
    "evaluate": (evaluated, "tflm, litert-reference: 4 of 4 rows"),
    "runtimes": (lambda _: runtimes_report(), "exact: litert-xnnpack, "),
    "operators": (lambda _: operators_report(), "variants of operators on"),
}


def check(result, said):
    text = repr(result)
    lines = text.splitlines()
    assert said in text
    assert 1 <= len(lines) <= 5
    assert max(map(len, lines)) <= 100
    # pytest shows a failing `assert result` by its repr; asking for it must not fail.
    assert bool(result) in (True, False)


@pytest.mark.parametrize("verb", RESULTS)
def test_the_repr_of_a_result_is_its_verdict(verb, tmp_path):
    make, said = RESULTS[verb]
    check(make(tmp_path), said)


@needs_all_interpreters
def test_the_repr_of_what_asks_real_interpreters():
    check(lastbit.verify(model(), ["tflm"], samples=8), "EXACT: 0 of ")
    check(lastbit.prove(model(), "tflm"), "PROVED for 1 of 1 dense layers")
    check(demo(), "the corrected one")
    check(doctor(), "Interpreter(model) on this CPU is ")
    check(bench(model(), batches=(1,), runtimes=("tflm",), engine="numpy", seconds=0.05, memory=False), "batch 1: ")


def test_every_report_has_the_repr_of_reports():
    for found in pkgutil.walk_packages(lastbit.__path__, "lastbit."):
        if "worker" not in found.name and "jit" not in found.name and not found.name.endswith("__main__"):
            import_module(found.name)
    reports = lastbit.Report.__subclasses__()
    assert len(reports) >= 17
    for report in reports:
        assert report.__repr__ is lastbit.Report.__repr__, report
        # An array among the fields raises where somebody asks `assert report.field`.
        flags = {"right", "wrong", "exact", "same", "proved", "separating", "complete", "differs"}
        assert not flags & set(getattr(report, "__dataclass_fields__", ()))


def test_right_is_a_flag_and_the_right_output_an_array():
    found = lastbit.diagnose(make_dense_model(), X, RIGHT, runtime="tflm")
    assert found.right
    np.testing.assert_array_equal(found.right_output, RIGHT)
    assert not lastbit.diagnose(make_dense_model(), X, RIGHT + np.int8(1)).right
    assert not lastbit.diagnose(make_dense_model(), X, RIGHT.astype(np.int32)).right


def test_long_texts_are_cut_at_five_lines():
    text = few_lines(["Name: ", *("word " * 40,) * 3])
    assert len(text.splitlines()) == 5
    assert text.endswith(" ...")
    assert max(map(len, text.splitlines())) <= 100
    assert few_lines(["Name: ", "x" * 300]).startswith("Name: x")
