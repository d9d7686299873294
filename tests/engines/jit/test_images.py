"""Compiled convolutions and sums of images against the reference, bit for bit, in every runtime's arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from lab.cases.dense import RUNTIMES
from lastbit.engines.jit.images import fast_image_operator
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.ops import OPERATORS
from lastbit.ops.prepare import prepare
from lastbit.ops.products.convolution import PreparedConvolution
from tests.support.places import MODELS, needs_shared_models


def batch(rng, case, count):
    """A case with several images, or its own values where it has more than one input."""
    x = case.values[0]
    info = np.iinfo(x.dtype)
    return rng.integers(info.min, info.max, (count, *x.shape[1:]), x.dtype, endpoint=True)


def hold(case, model, entry, rng):
    function = fast_image_operator(entry)
    if function is None:
        return 0
    values = list(case.values) if len(case.values) > 1 else [batch(rng, case, 3)]
    ours = function(values, 1)
    wanted = entry.evaluate(values)["output"]
    np.testing.assert_array_equal(ours, wanted, strict=True, err_msg=f"{entry.operator.name} {entry.operator.options}")
    return ours.size


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_compiled_convolutions_are_the_reference(runtime, dtype):
    from lab.cases.convolutions import convolutions, far_convolutions

    rng = np.random.default_rng(11)
    cases = list(convolutions(rng, 25, dtype))
    if dtype != "int16":
        cases += far_convolutions(rng, 10, dtype)
    compared = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0}
    for case in cases:
        model = case.model()
        prepared = prepare(model, runtime)
        if not prepared.refusals:
            compared[case.op] += hold(case, model, prepared.operators[0], rng)
    if runtime == "tflm" and dtype == "uint8":
        return
    assert compared["CONV_2D"] > 3000
    assert dtype == "int16" or compared["DEPTHWISE_CONV_2D"] > 3000


@pytest.mark.parametrize("rule", ["float32-half_even", "float32-half_even-saturate", "q31-by_channel/dd"])
def test_every_depthwise_form_is_compiled(rule):
    from lab.cases.convolutions import convolutions, far_convolutions

    rng = np.random.default_rng(12)
    compared = 0
    for case in (*convolutions(rng, 15), *far_convolutions(rng, 15)):
        if case.op != "DEPTHWISE_CONV_2D":
            continue
        model = case.model()
        entry = OPERATORS[case.op].prepare(model, model.operators[0], rule)
        assert isinstance(entry, PreparedConvolution)
        assert fast_image_operator(entry) is not None
        compared += hold(case, model, entry, rng)
    assert compared > 5000


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_compiled_sums_are_the_reference(runtime):
    from lab.cases.operators import Case, Operand

    rng = np.random.default_rng(13)
    compared = 0
    for dtype in ("int8", "uint8"):
        for op in ("ADD", "SUB", "MUL"):
            info = np.iinfo(dtype)
            one, two = (rng.integers(info.min, info.max, (1, 16, 16, 16), dtype, endpoint=True) for _ in "ab")
            operands = [Operand(one.shape, dtype, 0.5, 3), Operand(one.shape, dtype, 0.3, 7)]
            case = Case(op, operands, [Operand(one.shape, dtype, 0.6, 100)], [one, two], {}, 2)
            for size in (16, 17):
                shape = (1, 16, 16, size)
                sized = replace(
                    case,
                    inputs=[replace(o, shape=shape) for o in operands],
                    outputs=[replace(case.outputs[0], shape=shape)],
                    values=[np.resize(one, shape), np.resize(two, shape)],
                )
                model = sized.model()
                try:
                    prepare(model, runtime).require_all()
                except UnsupportedError:
                    continue
                compared += hold(sized, model, prepare(model, runtime).operators[0], rng)
    assert compared >= 3 * 4096


def test_images_of_another_size_are_refused():
    from lab.cases.convolutions import convolutions

    for case in convolutions(np.random.default_rng(1), 2):
        entry = prepare(case.model(), "litert-reference").operators[0]
        function = fast_image_operator(entry)
        x = case.values[0]
        with pytest.raises(InputError, match="wanted"):
            function([np.zeros((1, x.shape[1] + 1, *x.shape[2:]), x.dtype)], 1)


@needs_shared_models
@pytest.mark.parametrize("name", ["mlt_resnet8_quant", "mlt_kws_ref", "tfliters_mnistnet_u8"])
def test_whole_models_are_the_reference(name):
    from lastbit import load
    from lastbit.engines import reference
    from lastbit.engines.executable import Executable
    from lastbit.engines.plan import OperatorStep

    model = load(MODELS / f"{name}.tflite")
    tensor = model.inputs[0]
    rng = np.random.default_rng(4)
    shape = (3, *tensor.shape[1:])
    x = rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, shape, tensor.dtype.numpy, endpoint=True)
    for runtime in RUNTIMES:
        prepared = prepare(model, runtime)
        if not prepared.refusals:
            executable = Executable(prepared, "jit")
            np.testing.assert_array_equal(executable(x), reference.run(prepared, [x]).output, strict=True)
            alone = [step for step in executable.steps if isinstance(step, OperatorStep)]
            slow = [step.entry.operator.name for step in alone if step.function is None]
            assert "CONV_2D" not in slow
            assert "DEPTHWISE_CONV_2D" not in slow
