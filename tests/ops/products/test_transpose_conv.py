"""TRANSPOSE_CONV: the definition spelled out, its slow twin, its bounds, and real models."""

import numpy as np
import pytest

import lastbit
from lab.cases.by_operator.transpose_conv import far_transpose_convolutions, transpose_convolutions
from lab.cases.operators import Case, Operand
from lastbit.engines.jit.backend import JitBackend
from lastbit.layers.window_products import window_products
from lastbit.layers.worked_element import exact_element
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.verbs.verify.verb import verify
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")


def cases(dtype, count=12, seed=5):
    return transpose_convolutions(np.random.default_rng(seed), count, dtype)


def accumulators(case):
    """Every product put where it belongs, one by one."""
    _, weights, x, *bias = case.inputs
    values = case.values[0].astype(np.int64) - x.zero_point
    kernel = weights.data.astype(np.int64) - weights.zero_point
    _, height, width, _ = case.outputs[0].shape
    acc = np.zeros(case.outputs[0].shape, np.int64)
    steps = case.options["stride_h"], case.options["stride_w"]
    before = []
    for length, size, step in zip((height, width), kernel.shape[1:3], steps, strict=True):
        missing = max((-(-length // step) - 1) * step + size - length, 0) if case.options["padding"] == "SAME" else 0
        before.append(missing // 2)
    for index in np.ndindex(*values.shape[:3], *kernel.shape[1:3]):
        b, i, j, k, m = index
        row, column = i * steps[0] - before[0] + k, j * steps[1] - before[1] + m
        if 0 <= row < height and 0 <= column < width:
            acc[b, row, column] += kernel[:, k, m] @ values[b, i, j]
    return acc + bias[0].data if bias else acc


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_accumulators_are_the_sums_of_the_definition(dtype):
    for case in cases(dtype):
        model = case.model()
        try:
            prepared = prepare_operator(model, model.operators[0], "litert-reference")
        except UnsupportedError:
            continue
        np.testing.assert_array_equal(prepared.evaluate(case.values)["acc"], accumulators(case))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "litert-xnnpack-avx2"])
def test_the_slow_twin_adds_and_requantizes_the_same(dtype, runtime):
    """From single weights and input values in Python's integers, at places all over the output."""
    rng, compared = np.random.default_rng(3), 0
    for case in (*cases(dtype, 8), *far_transpose_convolutions(rng, 0 if dtype == "int16" else 4, dtype)):
        model = case.model()
        try:
            prepared = prepare_operator(model, model.operators[0], runtime)
        except UnsupportedError:
            continue
        steps = prepared.evaluate(case.values)
        shape = steps["output"].shape
        places = {(0, 0, 0, 0), tuple(n - 1 for n in shape), *(tuple(rng.integers(0, shape)) for _ in range(12))}
        for place in places:
            at = tuple(int(i) for i in place)
            assert window_products(prepared, case.values, at).acc == steps["acc"][at], at
            assert exact_element(prepared, case.values, at)[-1].value == steps["output"][at], at
            compared += 1
    assert compared > 60


def test_uint8_rounds_the_last_elements_of_a_sample_another_way():
    """1 by 1, one channel, factor 1/4: -6 is a tie. 33 outputs: 32 fill groups of 16, the last one does not."""
    values = np.full((1, 1, 33, 1), 94, np.uint8)
    case = Case(
        "TRANSPOSE_CONV",
        [
            Operand((4,), "int32", data=np.array([1, 1, 33, 1])),
            Operand((1, 1, 1, 1), "uint8", 1.0, 0, np.array([1])),
            Operand(values.shape, "uint8", 1.0, 100),
        ],
        [Operand(values.shape, "uint8", 4.0, 50)],
        [values],
        {"padding": "VALID", "stride_h": 1, "stride_w": 1, "fused_activation_function": "NONE"},
    )
    model = case.model()
    prepared = prepare_operator(model, model.operators[0], "litert-builtin-x86")
    assert prepared.evaluate([values])["output"].reshape(-1).tolist() == [49] * 32 + [48]
    two = prepared.evaluate([np.concatenate([values, values])])["output"]  # each sample is a call
    assert two.reshape(2, -1)[1].tolist() == [49] * 32 + [48]
    assert [exact_element(prepared, [values], (0, 0, n, 0))[-1].value for n in (0, 31, 32)] == [49, 49, 48]


def test_every_engine_gives_the_same_with_one_input_channel():
    """The compiled engine once took such a layer for a CONV_2D."""
    found = 0
    for case in cases("int8", 40):
        if case.values[0].shape[3] != 1:
            continue
        model, found = case.model(), found + 1
        wanted = lastbit.run(model, case.values[0], runtime="litert-builtin-x86", engine="reference").output
        for engine in ("numpy", "auto"):
            got = lastbit.run(model, case.values[0], runtime="litert-builtin-x86", engine=engine).output
            np.testing.assert_array_equal(got, wanted)
        assert JitBackend().alone(prepare_operator(model, model.operators[0], "litert-builtin-x86"), model) is None
    assert found > 3


@needs_all_interpreters
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fresh_cases_are_exact(runtime, dtype):
    runtime = on_this_machine(runtime)
    compared = 0
    with open_oracle(runtime) as oracle:
        for case in cases(dtype, 24, 31):
            model = case.model()
            try:
                prepared = prepare_operator(model, model.operators[0], runtime)
            except UnsupportedError:
                continue
            (theirs,) = oracle.run(case.content(), [list(case.values)]).outputs[0]
            np.testing.assert_array_equal(prepared.evaluate(case.values)["output"], theirs, strict=True)
            compared += theirs.size
    takes_none = dtype == "uint8" and runtime == "tflm"
    assert compared > (5000 if "xnnpack" not in runtime or dtype == "int16" else 0) or takes_none


@needs_shared_models
@needs_all_interpreters
@pytest.mark.parametrize("number", [0, 2, 4])
def test_layers_of_a_real_network_are_exact(number):
    model = lastbit.load(MODELS / "more" / f"tflm_seanet_transpose_conv{number}.tflite")
    report = verify(model, ["tflm", "litert-reference", "litert-builtin-x86"], samples=4)
    assert report.exit_code == 0
    assert report.exact


def test_an_input_of_another_shape_is_refused():
    model = next(cases("int8")).model()
    shape = model.tensors[model.operators[0].inputs[0]]
    prepared = prepare_operator(model, model.operators[0], "tflm")
    assert shape.data is not None
    assert prepared.inputs == (model.operators[0].inputs[2],)
    with pytest.raises(InputError, match="found an input of shape"):
        prepared.evaluate([np.zeros((1, 9, 9, 9), np.int8)])


def test_a_stride_that_asks_for_gigabytes_is_refused():
    case = next(case for case in cases("int8") if case.outputs[0].shape[2] > 1 and case.values[0].shape[2] > 1)
    case.options["stride_w"] = 1 << 26
    with pytest.raises(UnsupportedError, match=r"its options or constants ask for a result \["):
        prepare_operator(case.model(), case.model().operators[0], "tflm")
