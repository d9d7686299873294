"""Fast engines on whole models: in every runtime, for every kind of dense layer, the bytes of the reference engine."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lastbit
from lastbit.engines import ENGINES, choose_engine
from lastbit.engines.jit.matmul import available
from lastbit.engines.plan import ChainStep
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import FLOAT32
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import MODELS, needs_shared_models

FAST = [name for name in ENGINES if name != "reference"]
needs_numba = pytest.mark.skipif(not available(), reason="needs Numba: pip install '.[fast]'")
ENGINE = [pytest.param(name, marks=needs_numba if name == "jit" else ()) for name in FAST]
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))

# Input, weights, bias type, granularity, weights zero point.
FAMILIES = {
    "int8 per-tensor": ("int8", "int8", "int32", False, 0),
    "int8 per-channel": ("int8", "int8", "int32", True, 0),
    "int8 weights zero point": ("int8", "int8", "int32", False, -9),
    "uint8": ("uint8", "uint8", "int32", False, 131),
    "int4 per-tensor": ("int8", "int4", "int32", False, 0),
    "int4 per-channel": ("int8", "int4", "int32", True, 0),
    "int16x8 per-tensor": ("int16", "int8", "int64", False, 0),
    "int16x8 per-channel": ("int16", "int8", "int64", True, 0),
    "int16x8 int32 bias": ("int16", "int8", "int32", False, 0),
    "int16x16": ("int16", "int16", "int32", False, 0),
    "hybrid int8": ("float32", "int8", "float32", True, 0),
    "hybrid int4": ("float32", "int4", "float32", False, 0),
    "float32": ("float32", "float32", "float32", False, 0),
}
LIMITS = {"int8": (-127, 127), "uint8": (0, 255), "int4": (-7, 7), "int16": (-32767, 32767)}


def dense_model(family, units, depth, rng, activation="NONE"):
    x, w, bias_type, per_channel, zw = FAMILIES[family]
    low, high = LIMITS.get(w, (-1, 1))
    weights = rng.integers(low, high + 1, (units, depth)) if w != "float32" else rng.normal(size=(units, depth))
    step = 2.0 ** -int(rng.integers(4, 9)) if rng.integers(2) else float(rng.uniform(0.002, 0.02))
    scales = step * (rng.choice([1.0, 0.5, 0.3], units) if per_channel else 1.0)
    real = x == "float32"
    reach = step * np.sqrt(depth) * (high if w != "float32" else 1)
    out_scale = float(2.0 ** round(np.log2(reach / 4))) if not real else None
    bias = rng.integers(-3000, 3000, units) if not real else rng.normal(size=units).astype(np.float32)
    extra = {"quantized_bias_type": "int32"} if family == "int16x8 int32 bias" else {}
    graph = dense_subgraph(
        weights.astype(np.float32 if w == "float32" else "int8" if w == "int4" else w),
        input_quant=None if real else quant(0.5 if x != "int16" else 0.001, 0 if x == "int16" else 3),
        weights_quant=None if w == "float32" else quant(scales, zw),
        output_quant=None if real else quant(out_scale, 0 if x == "int16" else 5),
        bias=bias if rng.integers(4) else None,
        activation=activation,
        input_dtype=x,
        weights_dtype=w,
        bias_dtype=bias_type,
        **extra,
    )
    return load(write(graph))


def random_input(model, rows, rng):
    tensor = model.inputs[0]
    shape = (rows, *tensor.shape[1:])
    if tensor.dtype.name == "float32":
        return rng.normal(scale=3.0, size=shape).astype(np.float32)
    return rng.integers(tensor.dtype.qmin, tensor.dtype.qmax + 1, shape).astype(tensor.dtype.numpy)


def in_one_chain(runtime):
    """Whether compiled chains have a runtime's own rules; those that only ARM64 has stay with the reference."""
    return "-arm64" not in runtime


def float_to_float_model(depth, kind, rng):
    """QUANTIZE, dense, RELU, DEQUANTIZE."""
    dense = (
        make_dense_model(units=depth - 2, depth=depth)
        if kind == "int8"
        else dense_model("uint8", depth - 2, depth, rng)
    )
    graph = dense.subgraphs[0]
    (x,), (y,) = graph.inputs, graph.outputs
    build = ModelBuilder(graph)
    real = build.like(x, dtype=FLOAT32, quant=None)
    build.operator("QUANTIZE", [real], [x], first=True)
    relu = build.operator("RELU", [y], [build.like(y)], version=2)
    end = build.operator("DEQUANTIZE", [relu], [build.like(y, dtype=FLOAT32, quant=None)], version=2)
    return build.model([real], [end])


def same(model, x, runtime, engine, **options):
    wanted = lastbit.run(model, x, runtime)
    found = lastbit.build(model, runtime, engine=engine, **options).outputs(x)
    for got, want in zip(found, wanted.outputs, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.tobytes() == want.tobytes(), f"{runtime}, {engine}: {int((got != want).sum())} differ"


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_runtime_and_kind_of_layer(family, engine, rng):
    compared = 0
    for seed, activation in enumerate(("NONE", "RELU6")):
        model = dense_model(family, 9, 37, np.random.default_rng(seed), activation)
        for runtime in lastbit.RUNTIMES:
            if lastbit.prepare(model, runtime).refusals:
                continue
            for rows in (1, 4, 13):
                same(model, random_input(model, rows, rng), runtime, engine)
                compared += 1
    assert compared >= 6


@pytest.mark.parametrize("engine", ENGINE)
@QUICK
@given(
    st.sampled_from([name for name, spec in FAMILIES.items() if spec[0] != "float32"]),
    st.integers(0, 1000),
    st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300)),
    st.integers(0, 2**32 - 1),
)
def test_any_shape(engine, family, which, shape, seed):
    rows, depth, units = shape
    rng = np.random.default_rng(seed)
    model = dense_model(family, units, depth, rng)
    covered = [name for name in lastbit.RUNTIMES if not lastbit.prepare(model, name).refusals]
    same(model, random_input(model, rows, rng), covered[which % len(covered)], engine)


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantize_and_tables_in_a_chain(engine, kind, rng):
    # Samples of 13 and 15 elements: vector loops of 8 and 16 leave some over.
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-42, -1e-42, 1e-30, 0.25, -0.25, 0.75, 1e9, -1e9]
    compared = 0
    for depth in (13, 15, 16):
        model = float_to_float_model(depth, kind, rng)
        for runtime in lastbit.RUNTIMES:
            if lastbit.prepare(model, runtime).refusals:
                continue
            if in_one_chain(runtime):
                steps = lastbit.build(model, runtime, engine=engine).steps
                assert [len(step.entries) for step in steps] == [4]
            x = rng.normal(scale=1.5, size=(40, depth)).astype(np.float32)
            x[:20] = np.rint(x[:20] * 100) / 200  # ties
            x[20:30] = rng.choice(special, (10, depth))
            for batch in (x, x[:1]):
                same(model, batch, runtime, engine)
                compared += 1
    assert compared >= 18


def softmax_model(kind, classes, scale, beta):
    """SOFTMAX, then DEQUANTIZE."""
    low = LIMITS["uint8"][0] if kind == "uint8" else -128
    build, shape = ModelBuilder(), (1, classes)
    x = build.tensor(shape, kind, quant(scale, low + 100))
    y = build.operator("SOFTMAX", [x], [build.tensor(shape, kind, quant(1 / 256, low))], beta=beta)
    return build.model([x], [build.operator("DEQUANTIZE", [y], [build.tensor(shape, "float32")], version=2)])


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_softmax(engine, kind, rng):
    compared = 0
    for classes, scale, beta in ((2, 0.05, 1.0), (12, 0.3, 1.0), (17, 0.004, 0.5), (100, 2.0, 1.0), (1, 0.1, 1.0)):
        model = softmax_model(kind, classes, scale, beta)
        for runtime in lastbit.RUNTIMES:
            if lastbit.prepare(model, runtime).refusals:
                continue
            x = random_input(model, 60, rng)
            x[:20] = np.minimum(x[:20], x[:20].min() + 3)
            for batch in (x, x[:1]):
                same(model, batch, runtime, engine)
                compared += 1
    assert compared >= 20


def test_plain_outputs_are_not_all_alike(rng):
    # What the comparisons above would not notice: a model whose outputs are all at one end.
    for family in FAMILIES:
        model = dense_model(family, 9, 37, np.random.default_rng(0))
        runtime = next(name for name in lastbit.RUNTIMES if not lastbit.prepare(model, name).refusals)
        assert len(np.unique(lastbit.run(model, random_input(model, 13, rng), runtime).output)) > 20, family


@needs_shared_models
@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize(
    "name",
    ["arm_kws_dnn_s", "mlt_toycar_fullint_micro_v01", "mlt_toycar_quant_v01bench", "tfliters_mnistnet_u8"],
)
def test_whole_models(name, engine, rng):
    model = lastbit.load(MODELS / f"{name}.tflite")
    compared = 0
    for runtime in ("litert-xnnpack", "litert-builtin-x86", "litert-builtin-portable", "tflm"):
        if not lastbit.prepare(model, runtime).refusals:
            for rows in (1, 5):
                same(model, random_input(model, rows, rng), runtime, engine, threads=2)
                compared += 1
    assert compared


@needs_shared_models
@needs_numba
def test_the_autoencoders_layers_run_in_one_pass():
    steps = lastbit.build(MODELS / "mlt_toycar_fullint_micro_v01.tflite", "tflm", engine="jit").steps
    assert max(len(step.entries) for step in steps if isinstance(step, ChainStep)) >= 10


@pytest.mark.parametrize("engine", ENGINE)
def test_one_executable_serves_threads_at_once(engine, rng):
    model = make_dense_model(units=40, depth=50)
    executable = lastbit.build(model, "tflm", engine=engine, threads=2)
    inputs = [random_input(model, rows, rng) for rows in (1, 100, 33, 64)]
    wanted = [lastbit.run(model, x, "tflm").output for x in inputs]
    wrong = []

    def work(x, want):
        for _ in range(30):
            if not np.array_equal(executable(x), want):
                wrong.append(len(x))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("engine", ENGINE)
def test_views_and_read_only_inputs(engine, rng):
    model = make_dense_model(units=8, depth=12)
    executable = lastbit.build(model, engine=engine)
    x = random_input(model, 20, rng)
    wanted = lastbit.run(model, x).output
    backwards = np.asfortranarray(x)
    x.flags.writeable = False
    for given_x in (x, backwards, x[::2], x[3:4]):
        rows = {20: slice(None), 10: slice(None, None, 2), 1: slice(3, 4)}[len(given_x)]
        np.testing.assert_array_equal(executable(given_x), wanted[rows])


def test_run_takes_an_engine_and_says_that_it_has_no_steps(rng):
    model = make_dense_model()
    x = random_input(model, 3, rng)
    trace = lastbit.run(model, x, engine="numpy")
    assert trace.complete
    np.testing.assert_array_equal(trace.output, lastbit.run(model, x).output)
    with pytest.raises(AttributeError, match="numpy engine keeps the model's outputs only; engine='reference'"):
        _ = trace[0].acc


def test_wrong_engines_threads_and_inputs_are_refused(monkeypatch):
    model = make_dense_model()
    with pytest.raises(lastbit.InputError, match="unknown engine 'gpu'; wanted one of: reference, numpy, jit, auto"):
        lastbit.build(model, engine="gpu")
    with pytest.raises(lastbit.InputError, match="found 0 threads, wanted 1 or more"):
        lastbit.build(model, engine="numpy", threads=0)
    executable = lastbit.build(model, engine="numpy")
    with pytest.raises(lastbit.InputError, match="found dtype float64, wanted int8"):
        executable(np.zeros((1, 7)))
    with pytest.raises(lastbit.InputError, match=r"found shape \[1, 8\], wanted \[1, 7\]"):
        executable(np.zeros((1, 8), np.int8))
    monkeypatch.setitem(ENGINES, "jit", lambda: False)
    with pytest.raises(lastbit.OracleMissingError, match=r'needs Numba.*pip install "numba>='):
        lastbit.build(model, engine="jit")


def test_auto_is_numpy_for_little_work():
    assert choose_engine("auto", 1000.0) == "numpy"
    assert choose_engine("auto", 1e12) == ("jit" if available() else "numpy")
