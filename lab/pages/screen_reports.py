"""The reports whose first screens are kept as texts: of the forum question's layer, without interpreters.

What a machine decides (interpreters that are here, times) is made up here, so that the texts are the same everywhere;
everything else is calculated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import lastbit
from lastbit.layers.differences import compare_arrays
from lastbit.model.graph import Model
from lastbit.model.types import Array
from lastbit.oracles import ORACLES
from lastbit.report.blocks import Report
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.bench.report import BenchReport, BenchRow
from lastbit.verbs.doctor.verb import DoctorReport
from lastbit.verbs.evaluate.report import EvaluateReport
from lastbit.verbs.prove.report import LayerProof, Proof
from lastbit.verbs.quantize.result import QuantizeReport
from lastbit.verbs.quantize.settings import settings_of
from lastbit.verbs.vectors.report import Catch, LayerVectors, VectorSet
from lastbit.verbs.verify.report import Verification
from lastbit.verbs.verify.result import Comparison, OperatorResult, RuntimeResult

ROOT = Path(__file__).parents[2]
DATA = ROOT / "src" / "lastbit" / "data"


def question() -> Model:
    """The forum question's dense layer of 32 units, with a scale for each, as a model of its own."""
    whole = lastbit.load(ROOT / "src" / "lastbit" / "data" / "question.int8.tflite")
    op = whole.dense_operators[0]
    weights = whole.tensors[op.inputs[1]]
    ends = [whole.tensors[index].quant for index in (op.inputs[0], op.outputs[0])]
    assert weights.data is not None
    assert weights.quant is not None
    given = [(float(quant.scale[0]), int(quant.zero_point[0])) for quant in ends if quant is not None]
    scale = weights.quant.scale
    shape = (1, 16, 48)
    layer = lastbit.dense(weights.data, None, input=given[0], weights_scale=scale, output=given[1], input_shape=shape)
    return replace(layer, source="question.tflite")


def verification(wrong: int = 0, gap: str = "") -> Verification:
    """A verification of the question's model on two runtimes.

    Args:
        wrong: outputs of the first one that differ.
        gap: why the second one's operator was not compared; empty: it was.
    """
    model = question()
    results = []
    for name, bad, reason in (("litert-xnnpack", wrong, ""), ("tflm", 0, gap)):
        wanted = np.zeros((25, 32), np.int8)
        found = wanted.copy()
        found.flat[7 : 7 + bad] = 1
        comparison = Comparison("cut out, 25 row(s) a call", "its own kernels")
        comparison.add(compare_arrays(wanted, found))
        op = OperatorResult(0, "FULLY_CONNECTED", "" if reason else "the_rule", "tflm", reason)
        op.comparisons = [] if reason else [comparison]
        results.append(RuntimeResult(model, RUNTIMES[name], {"oracle": "ai-edge-litert"}, [op]))
    return Verification(model, 25, 0, results, [name for name in RUNTIMES if name not in ("litert-xnnpack", "tflm")])


def doctor(works: Sequence[str] = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")) -> DoctorReport:
    """What doctor finds on a machine where some interpreters run and two packages are missing."""
    detail = {True: "starts and computes a small layer (0.1 s)", False: "for another CPU"}
    oracles = [
        {"name": name, "mode": "", "state": "works" if name in works else "missing", "detail": detail[name in works]}
        for name in ORACLES
    ]
    there = [{"distribution": name, "extra": name, "status": "installed"} for name in ("litert", "tflm", "keras")]
    install = 'pip install "onnxruntime==1.0"'
    missing = [
        {"distribution": name, "extra": name, "status": "missing", "available": True, "install": install}
        for name in ("onnxruntime", "torch", "plot", "pandas", "docs")
    ]
    core = {"works": True, "detail": "works (a layer worked by hand has the right values on every runtime)"}
    return DoctorReport(
        {
            "lastbit": "0.1.0",
            "platform": "Linux-x86_64, Python 3.11.7",
            "this_cpu": {"runtime": "litert-xnnpack", "why_none": None},
            "core": core,
            "oracles": oracles,
            "extras": [*there, *missing],
            "compiled_code": {"folder": "kept", "problem": None},
        }
    )


def vector_set() -> VectorSet:
    """Vectors of the question's layer that catch six things, four of which random vectors catch too."""
    six = [Catch(f"mistake_{i}", "mistake", "", [i], "", max(i - 1, 0), 1000, True) for i in range(6)]
    never = Catch("another_runtime", "runtime", "", [], "the same rule", 0, 1000, False)
    layer = LayerVectors(0, "FULLY_CONNECTED", x=np.zeros((25, 48), np.int8), catches=[*six, never])
    layer.random, layer.confirmed = 1000, 800
    oracle = {"oracle": "tflite-micro", "version": "0.dev20261023182759", "mode": "TensorFlow Lite Micro"}
    made = VectorSet(question(), RUNTIMES["tflm"], [layer], oracle, 1000, 0)
    made.files = [f"vectors/op0.{ending}" for ending in ("npz", "json", "h")]
    return made


def inputs(rows: int) -> Array:
    """Random inputs of the question's layer."""
    return np.random.default_rng(0).integers(-128, 128, (rows, 16, 48)).astype(np.int8)


def samples() -> Array:
    """Representative samples of the question's float model."""
    return np.random.default_rng(0).standard_normal((4, 16, 48)).astype(np.float32)


def quantized() -> QuantizeReport:
    """The question's float model, quantized with ranges that LastBit measured."""
    source = replace(lastbit.load(DATA / "question.float.tflite"), source="question.float.tflite")
    made = lastbit.quantize(source, samples(), calibrator="lastbit")
    return QuantizeReport(source, made, "question.tflite", settings_of("tflite", ranged=True))


def tensor_story() -> Report:
    """Where the scale of the dense layer's output comes from."""
    found = quantized()
    model = replace(found.model, source="question.tflite")
    output = model.dense_operators[0].outputs[0]
    return lastbit.explain_tensor(model, output, float_model=found.source, data=samples(), calibrator="lastbit")


def proof(wrong: int = 0) -> Proof:
    """A proof of the question's layer.

    Args:
        wrong: accumulators at which the interpreter printed another output.
    """
    model = question()
    first = (3, 27058, 46, 47) if wrong else None
    layer = LayerProof(0, "FULLY_CONNECTED", "float32-half_even", "xnnpack", 32, 32, 8160, 24549902, wrong, first)
    layer.real_outputs, layer.exhaustive = 1536, True
    made = {"oracle": "ai-edge-litert", "version": "2.3.0", "mode": "default delegates (XNNPACK)"}
    made |= {"cpu": "Intel(R) Xeon(R) Processor (avx2 avx512_vnni)", "platform": "Linux-x86_64, Python 3.11.7"}
    return Proof(model, RUNTIMES["litert-xnnpack"], made, [layer], model.operators)


def difference() -> Report:
    """The forum's two files: one scale for each unit, and one for all."""
    files = [DATA / f"forum_dense_{kind}.tflite" for kind in ("per_channel", "per_tensor")]
    return lastbit.diff(*(replace(lastbit.load(path), source=path.name) for path in files))


def evaluation() -> EvaluateReport:
    """A data set with labels on two runtimes, without its time."""
    layer = lastbit.dense(
        np.random.default_rng(0).integers(-127, 128, (4, 48)).astype(np.int8),
        input=(0.03, 3),
        weights_scale=0.004,
        output=(0.1, -5),
    )
    model = replace(layer, source="classes.tflite")
    x = np.random.default_rng(1).integers(-128, 128, (400, 48)).astype(np.int8)
    labels = lastbit.run(model, x, "tflm").output.argmax(axis=1)
    labels[::7] = 0
    made = lastbit.evaluate(model, x, labels=labels, runtimes=("tflm", "torch-fbgemm-avx2"), engine="numpy", top=(2,))
    return replace(made, data="x.npy", seconds=0.0)


def identified() -> Report:
    """Who printed what TensorFlow Lite Micro prints."""
    x = inputs(60)
    return lastbit.identify(question(), x, lastbit.run(question(), x, "tflm").output)


def benchmark() -> BenchReport:
    """A benchmark with made-up times."""
    rows = [
        BenchRow(batch, name, ours, batch * seconds, batch, 2.0 if ours else None, 1.5, True if ours else None)
        for batch in (1, 256)
        for name, ours, seconds in (("LastBit tflm", True, 1e-6), ("TensorFlow Lite Micro", False, 2e-6))
    ]
    return BenchReport("question.tflite", 49152, "a CPU", 5e11, "jit", 1, tuple(rows), {"LastBit tflm": 2**27})
