"""Windows, batches, several outputs and refusals of the operators around dense layers, without interpreters."""

import numpy as np
import pytest

from lastbit.arith.elementwise import InnerLoop, inner_loop
from lastbit.arith.windows import WindowAxis, patches, taps
from lastbit.engines import reference
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.tflite.options import OPTION_DEFAULTS
from lastbit.model.types import INT16
from lastbit.ops.prepare import prepare


def case_of(op, **wanted):
    from lab.record.operators import all_cases

    for case in all_cases(seed=1, scale=0.02):
        if case.op == op and all(getattr(case.outputs[0], name) == value for name, value in wanted.items()):
            return case
    raise AssertionError(op)


@pytest.mark.parametrize("same", [True, False])
def test_patches_and_taps_see_the_same_elements(same):
    rng = np.random.default_rng(0)
    for _ in range(40):
        windows = [WindowAxis(*(int(n) for n in rng.integers(1, 4, 3)), same) for _ in range(2)]
        height, width = (w.reach + int(rng.integers(0, 6)) for w in windows)
        x = rng.integers(-9, 9, (2, height, width, 3))
        seen = patches(x, *windows, 7)
        assert seen.shape[1:3] == (windows[0].outputs(height), windows[1].outputs(width))
        for i, j, tap in taps(x, *windows, 7):
            np.testing.assert_array_equal(seen[:, :, :, i, j], tap)


def test_a_window_that_does_not_fit_has_no_outputs():
    assert WindowAxis(3, 1, 2, False).outputs(4) == 0
    assert WindowAxis(3, 1, 2, True).outputs(4) == 4


@pytest.mark.parametrize(
    ("first", "second", "loop"),
    [
        ((4, 8), (4, 8), InnerLoop(32)),
        ((1, 8), (8,), InnerLoop(8)),
        ((2, 3, 8), (3, 8), InnerLoop(24)),
        ((2, 3, 8), (2, 3, 1), InnerLoop(8, scalar=True)),
        ((2, 3, 8), (), InnerLoop(48, scalar=True)),
        ((2, 1, 8), (1, 3, 1), InnerLoop(0)),
    ],
)
def test_the_inner_loop_is_the_same_whichever_input_is_repeated(first, second, loop):
    assert inner_loop(first, second) == inner_loop(second, first) == loop


def test_xnnpack_on_vnni_saturates_where_it_has_a_depthwise_kernel():
    from lab.cases.convolutions import windows

    seen = {}
    for case in windows(np.random.default_rng(2), 60, "int8"):
        own_input = case.outputs[0].shape[3] == case.values[0].shape[3]
        entries = [prepare(case.model(), name).operators[0] for name in ("litert-xnnpack", "litert-xnnpack-avx2")]
        wrapping, saturating = (entry.evaluate(case.values)["output"] for entry in entries)
        few = int(np.prod(case.inputs[1].shape[1:3])) <= 25
        key = "all alike" if own_input and few else "may differ"
        seen[key] = seen.get(key, 0) + int((wrapping != saturating).sum())
        assert (entries[0].parts[0].params.rule == entries[1].parts[0].params.rule) == (key == "all alike")
    assert seen["all alike"] == 0
    assert seen["may differ"] > 100


def test_leaky_relu_of_minus_zero_and_of_subnormals_is_the_kernels():
    from lab.cases.operators import Case, Operand

    x = np.asarray([[-1e-39, 1e-39, -0.0, -2.0, -1.5e-38]], np.float32)
    operand = Operand(x.shape, "float32")
    model = Case("LEAKY_RELU", [operand], [operand], [x], {"alpha": -0.5}, 1).model()
    zero = np.float32(0)
    # The product of the last is subnormal. By the sign bit: AVX2; where x < 0, for which a subnormal counts as zero:
    # AVX512. Both were run, the latter under an emulator.
    for name, wanted in {
        "litert-xnnpack-avx2": [zero, x[0, 1], zero, 1.0, zero],
        "litert-xnnpack": [x[0, 0], x[0, 1], -zero, 1.0, zero],
    }.items():
        found = prepare(model, name).operators[0].evaluate([x])["output"]
        np.testing.assert_array_equal(found.view("u4"), np.asarray([wanted], np.float32).view("u4"))


def test_every_output_of_an_operator_reaches_the_trace():
    case = case_of("UNPACK")
    prepared = prepare(case.model(), "litert-reference")
    trace = reference.run(prepared, case.values)
    axis = case.options["axis"]
    for number, output in enumerate(trace.outputs):
        np.testing.assert_array_equal(output, np.take(case.values[0], number, axis))
    assert list(trace[0].steps)[-1] == "output"


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin-x86", "tflm"])
def test_a_batch_gives_what_its_samples_give(op, runtime):
    case = case_of(op, dtype="int8")
    prepared = prepare(case.model(), runtime)
    rng = np.random.default_rng(1)
    batch = rng.integers(-128, 128, (5, *case.values[0].shape[1:])).astype(np.int8)
    together = reference.run(prepared, [batch]).output
    alone = np.concatenate([reference.run(prepared, [x[None]]).output for x in batch])
    np.testing.assert_array_equal(together, alone)


def test_an_image_of_another_size_is_an_input_error():
    case = case_of("CONV_2D")
    entry = prepare(case.model(), "tflm").operators[0]
    with pytest.raises(InputError, match="wanted"):
        entry.evaluate([np.zeros((1, 99, 99, 1), case.values[0].dtype)])


def replaced(case, **attributes):
    from dataclasses import replace

    return replace(case, **attributes)


def refusal(case, runtime="litert-builtin-x86"):
    with pytest.raises(UnsupportedError) as caught:
        prepare(case.model(), runtime).require_all()
    return str(caught.value)


def test_what_is_not_covered_is_refused_with_its_reason():
    from dataclasses import replace

    conv = case_of("CONV_2D")
    assert "fused activation TANH" in refusal(
        replaced(conv, options={**conv.options, "fused_activation_function": "TANH"})
    )
    assert "strides and dilations" in refusal(replaced(conv, options={**conv.options, "stride_h": 0}))
    pool = case_of("MAX_POOL_2D")
    assert "one scale" in refusal(replaced(pool, outputs=[replace(pool.outputs[0], scale=9.0)]))
    add = case_of("ADD")
    assert "the output has [1, 7]" in refusal(replaced(add, outputs=[replace(add.outputs[0], shape=(1, 7))]))
    transpose = case_of("TRANSPOSE")
    twice = replace(transpose.inputs[1], data=np.zeros_like(transpose.inputs[1].data))
    if transpose.values[0].ndim > 1:
        assert "is not a permutation of 2 axes" in refusal(replaced(transpose, inputs=[transpose.inputs[0], twice]))
    joined = case_of("PAD", dtype="int8")
    assert "different quantization" in refusal(replaced(joined, outputs=[replace(joined.outputs[0], scale=77.0)]))


@pytest.mark.parametrize("op", ["CONV_2D", "STRIDED_SLICE", "SQUEEZE", "LEAKY_RELU", "MEAN", "ADD"])
def test_options_are_read_as_they_were_written(op):
    from lastbit.model.tflite.operator_options import TABLES
    from tests.support.models import ModelBuilder

    values = {}
    for number, (field, kind, default) in enumerate(TABLES[op].fields):
        values[field] = {
            "padding": "VALID",
            "activation": "RELU6",
            "dtype": INT16.name,
            "bool": not default,
            "i32": number + 2,
            "f32": 0.25,
            "[i32]": (1, -2),
        }[kind]
    assert set(values) == set(OPTION_DEFAULTS[op])
    build = ModelBuilder()
    x, y = (build.tensor((1, 2), "float32") for _ in range(2))
    build.operator(op, [x], [y], **values)
    assert build.model([x], [y]).operators[0].options == values
