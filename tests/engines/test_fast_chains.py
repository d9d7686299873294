"""Chains of dense layers with SOFTMAX, QUANTIZE, DEQUANTIZE and functions around them: the bytes of the reference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lastbit
from lastbit.engines.jit.matmul import available
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from tests.engines.test_fast import ENGINE, dense_model, in_one_chain, random_input, same
from tests.support.models import ModelBuilder
from tests.support.places import MODELS, needs_shared_models

needs_numba = pytest.mark.skipif(not available(), reason="needs Numba: pip install '.[fast]'")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LOW = {"int8": -128, "uint8": 0}
# Operator -> the output's scale and zero point above the smallest value; None: those of its input.
AFTER = {"SOFTMAX": (1 / 256, 0), "LOGISTIC": (1 / 256, 0), "TANH": (1 / 128, 128), "RELU": None, "RESHAPE": None}


def continued(graph, names, first=False, beta=1.0):
    """The graph with operators of one input behind its end, and QUANTIZE before its begin."""
    build = ModelBuilder(graph)
    start, end = graph.inputs[0], graph.outputs[0]
    if first:
        x = build.tensor(build.tensors[start].shape, "float32")
        build.operator("QUANTIZE", [x], [start], first=True)
        start = x
    for name in names:
        x = build.tensors[end]
        kind, params = x.dtype.name, x.quant
        if name == "DEQUANTIZE":
            kind, params = "float32", None
        elif name == "QUANTIZE":
            kind = "int8" if kind == "float32" else kind
            params = quant(0.011, LOW[kind] + 31)
        elif AFTER[name] is not None:
            scale, above = AFTER[name]
            params = quant(scale, LOW[kind] + above)
        shape = (x.shape[0], 1, *x.shape[1:]) if name == "RESHAPE" else x.shape
        options = {"beta": beta} if name == "SOFTMAX" else {"new_shape": shape} if name == "RESHAPE" else {}
        end = build.operator(name, [end], [build.tensor(shape, kind, params)], **options)
    return build.model([start], [end])


def covered(model):
    return [name for name in lastbit.RUNTIMES if not lastbit.prepare(model, name).refusals]


CHAINS = [
    (False, ["SOFTMAX", "DEQUANTIZE"]),
    (True, ["SOFTMAX"]),
    (True, ["SOFTMAX", "DEQUANTIZE"]),
    (False, ["DEQUANTIZE"]),
    (True, ["LOGISTIC", "SOFTMAX", "QUANTIZE", "SOFTMAX", "DEQUANTIZE", "QUANTIZE"]),
    (True, ["TANH", "RESHAPE", "SOFTMAX", "RELU"]),
]


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("family", ["int8 per-tensor", "int8 per-channel", "uint8", "int4 per-channel"])
@pytest.mark.parametrize("chain", range(len(CHAINS)))
def test_chains_in_every_runtime(chain, family, engine, rng):
    first, names = CHAINS[chain]
    compared = 0
    for units, depth, beta in ((12, 37, 1.0), (67, 5, 0.25)):
        graph = dense_model(family, units, depth, np.random.default_rng(units)).subgraphs[0]
        model = continued(graph, names, first, beta)
        for runtime in covered(model):
            x = random_input(model, 41, rng)
            same(model, x, runtime, engine)
            same(model, x[:1], runtime, engine)
            compared += 1
            if engine == "jit" and in_one_chain(runtime):
                steps = lastbit.build(model, runtime, engine=engine).steps
                assert [len(step.entries) for step in steps] == [len(model.operators)], runtime
    assert compared >= 10


@needs_numba
def test_threads_share_the_units_of_each_layer_where_rows_are_few(rng, monkeypatch):
    monkeypatch.setattr("lastbit.engines.jit.pack._LARGE_WEIGHTS", 1)
    model = continued(dense_model("int8 per-channel", 67, 5, rng).subgraphs[0], CHAINS[4][1], first=True)
    for runtime in covered(model)[:4]:
        for rows in (1, 7):
            same(model, random_input(model, rows, rng), runtime, "jit", threads=3)


@needs_numba
@QUICK
@given(
    st.sampled_from(["int8", "uint8"]),
    st.booleans(),
    st.lists(st.sampled_from([*AFTER, "DEQUANTIZE", "QUANTIZE"]), min_size=1, max_size=5),
    st.tuples(st.integers(1, 200), st.integers(1, 40), st.integers(1, 70)),
    st.sampled_from([0.0625, 1.0, 30.0]),
    st.integers(0, 2**32 - 1),
)
def test_any_chain(kind, first, names, shape, beta, seed):
    rows, depth, units = shape
    rng = np.random.default_rng(seed)
    # Only QUANTIZE takes float32, and it gives int8.
    kept, real = [], False
    for name in names:
        if not real or name == "QUANTIZE":
            kept.append(name)
            real = name == "DEQUANTIZE"
    model = continued(
        dense_model({"int8": "int8 per-channel"}.get(kind, kind), units, depth, rng).subgraphs[0], kept, first, beta
    )
    for runtime in covered(model):
        same(model, random_input(model, rows, rng), runtime, "jit", threads=2)


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("bits", ["int8", "numpy"])
def test_softmax_without_dense_layers(engine, bits, rng):
    # Behind a shape of several rows in one sample; `numpy`: more elements than tables take.
    shape = (1, 5, 7) if bits == "int8" else (1, 170, 100)
    build = ModelBuilder()
    x = build.tensor(shape, "int8", quant(0.1, 3))
    model = continued(build.graph([x], [x]), ["SOFTMAX", "DEQUANTIZE"], first=True)
    assert len(covered(model)) >= 4
    for runtime in covered(model):
        for rows in (1, 9):
            same(model, random_input(model, rows, rng), runtime, engine)


def softmax_16(classes, scale, beta, rng, dense=True):
    """A dense layer of int16 activations and SOFTMAX of 16 bits, or SOFTMAX alone."""
    graph = dense_subgraph(
        rng.integers(-127, 128, (classes, 9)).astype(np.int8),
        input_quant=quant(0.001),
        weights_quant=quant(0.02),
        output_quant=quant(scale),
        input_dtype="int16",
    )
    (end,) = graph.outputs
    build = ModelBuilder(graph if dense else replace(graph, operators=()))
    last = build.operator("SOFTMAX", [end], [build.like(end, quant=quant(1 / 32768))], beta=beta)
    return build.model(graph.inputs if dense else [end], [last])


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("dense", [True, False])
def test_softmax_of_16_bits(engine, dense):
    compared = 0
    for seed, (classes, scale, beta) in enumerate(
        [(12, 0.0005, 1.0), (1, 0.01, 1.0), (2, 0.001, 4.0), (100, 1e-6, 1.0), (70, 0.1, 0.5), (9, 0.001, 0.0)]
    ):
        rng = np.random.default_rng(seed)
        model = softmax_16(classes, scale, beta, rng, dense)
        for runtime in covered(model):
            x = random_input(model, 60, rng)
            x[:10] = x[:10, :1]  # all alike
            x[10:20] = np.where(rng.random(x[10:20].shape) < 0.5, 32767, -32768)
            for rows in (x, x[:1], x[10:11]):
                same(model, rows, runtime, engine, threads=2)
                compared += 1
            if engine == "jit" and in_one_chain(runtime):
                steps = lastbit.build(model, runtime, engine=engine).steps
                assert [len(step.entries) for step in steps] == [len(model.operators)], runtime
    assert compared >= 50


# One runtime without such rows, two with them.
ABORTING = ("litert-builtin-x86", "litert-reference", "tflm")


def aborting_model(first):
    """600 classes that are alike for an input of zeros: the sum of exponentials is 600, above what kernels have."""
    weights = np.zeros((600, 8), np.int8)
    weights[0] = 100
    graph = dense_subgraph(
        weights, input_quant=quant(0.1, 0), weights_quant=quant(0.1, 0), output_quant=quant(0.5, 0), bias=None
    )
    return continued(graph, ["SOFTMAX", "DEQUANTIZE"], first)


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_on_which_the_real_kernel_aborts_are_refused_in_the_same_words(engine, first, threads):
    model = aborting_model(first)
    good = np.ones((300, 8), np.float32) if first else np.full((300, 8), 10, np.int8)
    refused = 0
    for runtime in ABORTING:
        same(model, good, runtime, engine, threads=threads)
        executable = lastbit.build(model, runtime, engine=engine, threads=threads)
        for place, rows in ((0, 1), (299, 300)):
            bad = good[:rows].copy()
            bad[place] = 0
            try:
                lastbit.run(model, bad, runtime)
            except lastbit.InputError as error:
                wanted = str(error)
            else:
                same(model, bad, runtime, engine, threads=threads)
                continue
            assert "exponentials sum to 600; the kernel aborts the process" in wanted
            for _ in range(2):  # the second time an input's shape is known
                with pytest.raises(lastbit.InputError) as caught:
                    executable(bad)
                assert str(caught.value) == wanted
            refused += 1
            assert executable(good[:rows]).tobytes() == lastbit.run(model, good[:rows], runtime).output.tobytes()
    assert refused == 4


@pytest.mark.parametrize("engine", ENGINE)
def test_functions_behind_rows_that_are_no_samples(engine, rng):
    # The dense layer's output has five rows for one sample, so its first dimension is no batch.
    weights = rng.integers(-127, 128, (6, 8)).astype(np.int8)
    graph = dense_subgraph(
        weights,
        input_quant=quant(0.1, 0),
        weights_quant=quant(0.02, 0),
        output_quant=quant(0.2, 0),
        input_shape=(1, 5, 8),
    )
    model = continued(graph, ["RELU", "SOFTMAX", "DEQUANTIZE"])
    for runtime in covered(model):
        for rows in (1, 3):
            same(model, random_input(model, rows, rng), runtime, engine)


@needs_shared_models
@needs_numba
def test_the_keyword_spotter_is_one_call():
    for runtime in ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm"):
        steps = lastbit.build(MODELS / "arm_kws_dnn_s.tflite", runtime, engine="jit").steps
        assert [len(step.entries) for step in steps] == [7], runtime
