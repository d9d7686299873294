"""The operators around dense layers, and whole models of them, against the running interpreters."""

import numpy as np
import pytest

from lastbit.engines import reference
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.model.tflite import load
from lastbit.model.tflite.synthesize import quant
from lastbit.model.tflite.writer import with_outputs
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare
from lastbit.oracles import OracleFailure, on_this_machine, open_oracle
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")


def hold(oracle, cases):
    """Compare every case with one interpreter; the number of outputs compared."""
    compared = 0
    for case in cases:
        model = case.model()
        op, prepared = model.operators[0], prepare(model, oracle.name)
        try:
            run = oracle.run(case.content(), [list(case.values)])
        except OracleFailure:
            run = None
        if run is None:
            assert prepared.refusals, f"{op.name} {op.options}: the interpreter refuses it, LastBit does not"
            continue
        if prepared.refusals:
            assert {refused.kind for refused in prepared.refused.values()} <= {Refusal.NOT_EXACT, Refusal.UNDEFINED}, (
                prepared.refusals
            )
            continue
        entry = prepared.operators[0]
        if run.delegated is not None:
            assert run.delegated == (entry.kernel == "xnnpack"), f"{op.name} {op.options}"
        found = output_values(op, entry.evaluate(case.values)).values()
        for ours, theirs in zip(found, run.outputs[0], strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True, err_msg=f"{op.name} {op.options}")
            compared += theirs.size
    return compared


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fresh_cases_of_every_operator_are_exact(runtime):
    from lab.record.operators import all_cases

    with open_oracle(on_this_machine(runtime)) as oracle:
        assert hold(oracle, all_cases(seed=7, scale=0.05)) > 50_000


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_windows_of_more_taps_than_depthwise_kernels_take_are_exact(runtime):
    from lab.cases.convolutions import windows

    rng = np.random.default_rng(11)
    with open_oracle(on_this_machine(runtime)) as oracle:
        assert hold(oracle, [*windows(rng, 20, "int8"), *windows(rng, 20, "float32")]) > 1000


def changed(case, **inputs):
    """A case with other attributes of its inputs: `changed(case, i2={"zero_point": 3})`."""
    from dataclasses import replace

    operands = list(case.inputs)
    for name, attributes in inputs.items():
        position = int(name[1:])
        operands[position] = replace(operands[position], **attributes) if attributes is not None else None
    return replace(case, inputs=operands)


def convolution(op="CONV_2D", weights_scale=0.01, options=None, dtype="int8"):
    from lab.cases.operators import Case, Operand

    rng = np.random.default_rng(5)
    shape = (5, 3, 3, 4) if op == "CONV_2D" else (1, 3, 3, 4)
    units = shape[0] if op == "CONV_2D" else 4
    x = rng.integers(0, 100, (1, 5, 5, 4)).astype(dtype)
    chosen = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    if op != "CONV_2D":
        chosen["depth_multiplier"] = 1
    return Case(
        op,
        [
            Operand(x.shape, dtype, 0.5, 3),
            Operand(shape, dtype, weights_scale, 0, rng.integers(0, 9, shape)),
            Operand((units,), "int32", np.float32(0.5) * np.float32(weights_scale), 0, rng.integers(-9, 9, units)),
        ],
        [Operand((1, 5, 5, units), dtype, 0.5, 4)],
        [x],
        {**chosen, **(options or {})},
        3 if dtype == "int8" else 2,
    )


def pair(op, first, second, output=1.0):
    from lab.cases.operators import Case, Operand

    x = np.arange(-16, 16, dtype=np.int8).reshape(1, 32)
    operands = [Operand(x.shape, "int8", first, 2), Operand(x.shape, "int8", second, -3)]
    return Case(op, operands, [Operand(x.shape, "int8", output, 1)], [x, x[:, ::-1]], {}, 2)


def half_step_difference():
    """A SUB whose second input is rounded half up before it is subtracted: -82 and -24 give -82, not -81."""
    from lab.cases.operators import Case, Operand

    one, two = (np.full((1, 32), value, np.int8) for value in (-82, -24))
    operands = [Operand(one.shape, "int8", 0.5, -128), Operand(one.shape, "int8", 0.3333333432674408, 0)]
    return Case("SUB", operands, [Operand(one.shape, "int8", 0.6666666865348816, -128)], [one, two], {}, 2)


def below(value):
    return float(np.nextafter(np.float32(value), np.float32(0)))


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_declined_or_refused_at_its_limits(runtime):
    cases = [
        *(pair(op, *scales) for op in ("ADD", "SUB") for scales in ((2**-10, 1), (below(2**-10), 1), (256, 1))),
        *(pair(op, below(256), 1) for op in ("ADD", "SUB")),
        *(pair("MUL", *s) for s in ((2**-8, 2**-8), (below(2**-8), 2**-8), (16, 16), (below(16), 16))),
        *(convolution(weights_scale=scale) for scale in (255.0, 256.0, 2.0**-34)),
        *(convolution("DEPTHWISE_CONV_2D", weights_scale=scale) for scale in (255.0, 256.0)),
        changed(convolution(), i2={"zero_point": 3}),
        changed(convolution(), i2={"scale": None}),
        changed(convolution(), i2={"scale": 0.1}),
        changed(convolution(dtype="uint8"), i2={"scale": 0.1}),
        changed(convolution("DEPTHWISE_CONV_2D", dtype="uint8"), i2={"scale": 0.1}),
        changed(convolution("DEPTHWISE_CONV_2D", dtype="uint8"), i1={"axis": 3}),
        changed(convolution(), i2=None),
        convolution("DEPTHWISE_CONV_2D", options={"depth_multiplier": 0}),
        half_step_difference(),
        convolution("DEPTHWISE_CONV_2D", options={"depth_multiplier": 2}),
    ]
    with open_oracle(on_this_machine(runtime)) as oracle:
        assert hold(oracle, cases) > 500


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_sum_that_aborts_the_process_is_refused(runtime):
    case = pair("ADD", 2.0**19, 1)
    with pytest.raises(UnsupportedError, match="2\\^19 output scales"):
        prepare(case.model(), on_this_machine(runtime)).require_all()
    with open_oracle(on_this_machine(runtime)) as oracle, pytest.raises(OracleFailure):
        oracle.run(case.content(), [list(case.values)])


@needs_all_interpreters
@needs_shared_models
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "name",
    [
        "adi_dtln_int16_1",
        "arm_kws_cnn_s",
        "arm_kws_dnn_s",
        "arm_kws_lstm_s",
        "cpetig_hello_cc_0",
        "mlt_kws_ref",
        "mlt_resnet8_quant",
        "mlt_toycar_fullint_micro_v01",
        "mlt_toycar_quant_v01bench",
        "tfliters_mnistnet_u8",
        "tflm_hello_world_int8",
    ],
)
def test_whole_models_are_exact_at_every_tensor(name, runtime):
    from lab.checks.verify_models import inputs_for

    model = load(MODELS / f"{name}.tflite")
    prepared = prepare(model, on_this_machine(runtime))
    samples = inputs_for(model, 5, 3, MODELS / "inputs")[-2:]
    every = [index for op in model.operators for index in op.outputs]
    with open_oracle(on_this_machine(runtime)) as oracle:
        if prepared.refusals:
            assert runtime == "tflm"
            with pytest.raises(OracleFailure):
                oracle.run(model.content, samples)
            return
        inside = oracle.run(with_outputs(model.content, every), samples)
        outside = oracle.run(model.content, samples)
    for x, tensors, outputs in zip(samples, inside.outputs, outside.outputs, strict=True):
        trace = reference.run(prepared, x)
        for index, theirs in zip(every, tensors, strict=True):
            np.testing.assert_array_equal(trace.tensors[index], theirs, strict=True, err_msg=f"tensor {index}")
        np.testing.assert_array_equal(trace.output, outputs[0], strict=True)


@needs_all_interpreters
@pytest.mark.parametrize("exposed", [True, False])
def test_a_pad_that_xnnpack_fuses_into_a_convolution_changes_nothing(exposed):
    from tests.support.models import ModelBuilder

    case = convolution(options={"padding": "VALID"})
    x, weights, bias = case.inputs
    widths = np.asarray([[0, 0], [2, 1], [1, 2], [0, 0]], np.int32)
    build = ModelBuilder()
    build.tensors = [part.tensor(index) for index, part in enumerate((x, weights, bias, case.outputs[0]))]
    small = build.tensor((1, 4, 4, 4), "int8", quant(0.5, 3))
    large = build.like(0, shape=(1, 7, 7, 4), shape_signature=(1, 7, 7, 4))
    build.operator("PAD", [small, build.constant(widths, "int32")], [large], version=2)
    build.operator("CONV_2D", [large, 1, 2], [3], version=3, **case.options)
    content = build.content([small], [large, 3] if exposed else [3])
    values = [np.random.default_rng(n).integers(-128, 128, (1, 4, 4, 4)).astype(np.int8) for n in range(20)]
    prepared = prepare(load(content), on_this_machine("litert-xnnpack"))
    with open_oracle(on_this_machine("litert-xnnpack")) as oracle:
        run = oracle.run(content, [[value] for value in values])
    assert run.delegated
    for value, theirs in zip(values, run.outputs, strict=True):
        for ours, wanted in zip(reference.run(prepared, [value]).outputs, theirs, strict=True):
            np.testing.assert_array_equal(ours, wanted, strict=True)
