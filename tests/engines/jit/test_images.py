"""Compiled convolutions and sums of images against the reference, bit for bit, in every runtime's arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from lab.cases.convolutions import convolutions, far_convolutions, pools
from lab.cases.copies import copies
from lab.cases.dense import RUNTIMES
from lab.cases.operators import Case, Operand
from lab.cases.reductions import reductions
from lastbit import load
from lastbit.engines import reference
from lastbit.engines.executable import Executable
from lastbit.engines.jit.compile import python_function
from lastbit.engines.jit.fields import Fields, State
from lastbit.engines.jit.image_kernels import pairs, weighted_pairs
from lastbit.engines.jit.images import pack_image_operator
from lastbit.engines.jit.matmul import Chain
from lastbit.engines.jit.memory import address
from lastbit.engines.jit.pairs import PackedPairs, fit_pairs
from lastbit.engines.jit.vectors import ISAS
from lastbit.engines.plan import MOVES, ChainStep, OperatorStep
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Operator, Subgraph
from lastbit.model.tflite import load as read
from lastbit.model.tflite import write
from lastbit.ops import OPERATORS
from lastbit.ops.prepare import prepare
from lastbit.ops.products.convolution import PreparedConvolution
from tests.support.places import MODELS, needs_shared_models


def batch(rng, case, count):
    """A case with several images, or its own values where it has more than one input."""
    x = case.values[0]
    info = np.iinfo(x.dtype)
    return rng.integers(info.min, info.max, (count, *x.shape[1:]), x.dtype, endpoint=True)


def pair(packed, first, second):
    """An operator of two arrays by its compiled function; in a chain the second would lie in its memory."""
    reads = np.asarray([-1, 0], np.int64)
    fields = np.asarray([{**packed.fields, "reads": address(reads)}.get(name, 0) for name in Fields._fields], np.int64)
    state, out = np.zeros(len(State._fields), np.int64), np.empty(first.shape, packed.output)
    function = pairs if "table" in packed.fields else weighted_pairs
    python_function(function)(
        address(fields), address(state), address(second), address(first), len(first), address(out)
    )
    return out


def hold(case, model, entry, rng):
    packed = pack_image_operator(entry, model)
    if packed is None:
        return 0
    values = [batch(rng, case, 3)] if len(case.values) == 1 else list(case.values)
    wanted = entry.evaluate(values)["output"]
    if isinstance(packed, PackedPairs):
        ours = pair(packed, *values)
    else:
        ours = Chain([packed])(values[0]).reshape(wanted.shape)
    np.testing.assert_array_equal(ours, wanted, strict=True, err_msg=f"{entry.operator.name} {entry.operator.options}")
    return ours.size


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_compiled_convolutions_are_the_reference(runtime, dtype):
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
    assert compared["DEPTHWISE_CONV_2D"] > 3000


@pytest.mark.parametrize(("dtype", "runtime"), [("int8", "litert-xnnpack"), ("int16", "litert-reference")])
def test_compiled_groups_are_the_reference(dtype, runtime):
    rng = np.random.default_rng(17)
    compared = 0
    for case in convolutions(rng, 6, dtype, grouped=True):
        model = case.model()
        prepared = prepare(model, runtime)
        if not prepared.refusals:
            compared += hold(case, model, prepared.operators[0], rng)
    assert compared > 1000


@pytest.mark.parametrize("isa", ["portable", "plain_signed", "plain_unsigned"])
def test_kernels_of_other_cpus(isa, monkeypatch):
    # ARM's and AVX512-VNNI's ways in plain instructions.
    monkeypatch.setattr("lastbit.engines.jit.cpu.host_isa", lambda: ISAS[isa])
    rng = np.random.default_rng(15)
    compared = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), 0)
    grouped = convolutions(rng, 2, grouped=True)
    for case in (*convolutions(rng, 4, "int8"), *convolutions(rng, 4, "uint8"), *grouped):
        model = case.model()
        compared[case.op] += hold(case, model, prepare(model, "litert-reference").operators[0], rng)
    assert all(compared.values())


@pytest.mark.parametrize("rule", ["float32-half_even", "float32-half_even-saturate", "q31-by_channel/dd"])
def test_every_depthwise_form_is_compiled(rule):
    rng = np.random.default_rng(12)
    compared = 0
    for case in (*convolutions(rng, 15), *far_convolutions(rng, 15)):
        if case.op != "DEPTHWISE_CONV_2D":
            continue
        model = case.model()
        entry = OPERATORS[case.op].prepare(model, model.operators[0], rule)
        assert isinstance(entry, PreparedConvolution)
        assert pack_image_operator(entry, model) is not None
        compared += hold(case, model, entry, rng)
    assert compared > 5000


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_compiled_sums_are_the_reference(runtime):
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


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_compiled_pools_are_the_reference(runtime, dtype):
    rng = np.random.default_rng(14)
    compared = dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN"), 0)
    for case in (*pools(rng, 12, dtype), *reductions(rng, 12, dtype)):
        model = case.model()
        prepared = prepare(model, runtime)
        if not prepared.refusals and case.op in compared and len(case.values[0].shape) == 4:
            compared[case.op] += hold(case, model, prepared.operators[0], rng)
    assert all(compared.values()) or (runtime == "tflm" and dtype == "uint8")


def test_sums_of_pairs_have_constants_where_there_are_some():
    values = np.arange(-128, 128)
    exact = np.add.outer(values * 700_001, values * 300_017) + 12_345_678
    table = np.clip(exact >> 20, -100, 120)
    one, two, addend, right, low, high = fit_pairs(table, -128, 700_001 / 2**20, 300_017 / 2**20).tolist()
    made = (np.add.outer(values * one, values * two) + addend) >> right
    np.testing.assert_array_equal(np.clip(made, low, high), table)
    table[3, 5] += 1
    assert fit_pairs(table, -128, 700_001 / 2**20, 300_017 / 2**20) is None


def network(rng, nodes, shapes):
    """A graph of int8 operators: (name, inputs, output, options); weights and bias are made for convolutions."""
    operands = [Operand(shape, "int8", 0.05, -3) for shape in shapes]
    operators = []
    for name, ins, out, options in nodes:
        ins, options = list(ins), dict(options)
        for constant in options.pop("constants", ()):
            values = np.asarray(constant, np.int32)
            operands.append(Operand(values.shape, "int32", None, 0, values))
            ins.append(len(operands) - 1)
        if "CONV_2D" in name:
            depth, units = shapes[ins[0]][3], shapes[out][3]
            deep = name == "DEPTHWISE_CONV_2D"
            shape = (1, 3, 3, units) if deep else (units, 3, 3, depth)
            step = rng.uniform(0.002, 0.01, units)
            operands.append(Operand(shape, "int8", step, 0, rng.integers(-127, 128, shape), 3 if deep else 0))
            operands.append(Operand((units,), "int32", 0.05 * step, 0, rng.integers(-2000, 2000, units)))
            ins += [len(operands) - 2, len(operands) - 1]
            options = {"stride_h": 1, "stride_w": 1, "padding": "SAME"} | options
            options |= {"depth_multiplier": units // depth} if deep else {}
        operators.append((name, tuple(ins), out, options))
    written = tuple(Operator(i, op, 2, ins, (out,), options) for i, (op, ins, out, options) in enumerate(operators))
    tensors = tuple(operand.tensor(i) for i, operand in enumerate(operands))
    ends = tuple(out for _, _, out, _ in operators if not any(out in ins for _, ins, _, _ in operators))
    return read(write(Subgraph("main", tensors, written, (0,), ends)))


IMAGE = (1, 8, 8, 8)
POOL = {"filter_height": 3, "filter_width": 3, "stride_h": 1, "stride_w": 1, "padding": "VALID"}
MASKS = {"begin_mask": 1, "end_mask": 1}


@pytest.mark.parametrize(
    ("nodes", "shapes", "chains"),
    [
        pytest.param(
            [("CONV_2D", (0,), 1, {}), ("CONV_2D", (1,), 2, {}), ("ADD", (2, 1), 3, {}), ("ADD", (3, 0), 4, {})],
            [IMAGE] * 5,
            [4],
            id="residual",
        ),
        pytest.param(
            [("CONV_2D", (0,), 1, {}), ("CONV_2D", (1,), 2, {}), ("CONV_2D", (1,), 3, {})],
            [IMAGE] * 4,
            [1, 1, 1],
            id="two heads",
        ),
        pytest.param(
            [
                ("PAD", (0,), 1, {"constants": [[[0, 0], [1, 2], [0, 3], [0, 0]]]}),
                ("CONV_2D", (1,), 2, {"padding": "VALID"}),
                ("PAD", (2,), 3, {"constants": [[[0, 0], [1, 1], [1, 1], [0, 0]]]}),
                ("DEPTHWISE_CONV_2D", (3,), 4, {"stride_w": 2}),
            ],
            [IMAGE, (1, 11, 11, 8), (1, 9, 9, 8), (1, 11, 11, 8), (1, 11, 6, 8)],
            [4],
            id="padding",
        ),
        pytest.param(
            [
                ("PAD", (0,), 1, {"constants": [[[0, 0], [1, 1], [1, 1], [0, 0]]]}),
                ("CONV_2D", (1,), 2, {"padding": "VALID"}),
                ("CONV_2D", (1,), 3, {}),
                ("CONV_2D", (3,), 4, {}),
            ],
            [IMAGE, (1, 10, 10, 8), IMAGE, (1, 10, 10, 8), (1, 10, 10, 8)],
            [1, 1, 2],
            id="padding read twice",
        ),
        pytest.param(
            [
                ("TRANSPOSE", (0,), 1, {"constants": [[0, 2, 3, 1]]}),
                ("CONV_2D", (1,), 2, {}),
                ("DEPTHWISE_CONV_2D", (1,), 3, {}),
                ("PAD", (1,), 4, {"constants": [[[0, 0], [1, 1], [1, 1], [0, 0]]]}),
                ("MAX_POOL_2D", (4,), 5, POOL),
                ("CONCATENATION", (2, 3, 5, 2), 6, {"axis": 3}),
                ("STRIDED_SLICE", (6,), 7, {"constants": [[0, 7, 1, 3], [0, 0, 8, 22], [1, -2, 1, 2]], **MASKS}),
                ("CONCATENATION", (7, 7), 8, {"axis": 1}),
            ],
            [
                (1, 8, 9, 8),  # eight channels of 9 x 8
                (1, 9, 8, 8),
                (1, 9, 8, 10),
                (1, 9, 8, 8),
                (1, 11, 10, 8),
                (1, 9, 8, 8),
                (1, 9, 8, 36),
                (1, 4, 7, 10),
                (1, 8, 7, 10),
            ],
            [8],
            id="inception",
        ),
    ],
)
def test_graphs_are_cut_where_one_tensor_is_left(nodes, shapes, chains):
    rng = np.random.default_rng(3)
    model = network(rng, nodes, shapes)
    x = rng.integers(-128, 128, (3, *shapes[0][1:]), np.int8)
    for runtime in ("litert-reference", "tflm"):
        prepared = prepare(model, runtime)
        executable = Executable(prepared, "jit", threads=2)
        found, wanted = executable.outputs(x), reference.run(prepared, [x])
        for ours, tensor in zip(found, model.outputs, strict=True):
            np.testing.assert_array_equal(ours, wanted.tensors[tensor.index], strict=True)
        assert [len(step.entries) for step in executable.steps if isinstance(step, ChainStep)] == chains


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_compiled_moves_are_the_reference(dtype):
    rng = np.random.default_rng(16)
    compiled = dict.fromkeys(MOVES, 0)
    for case in copies(rng, 12, dtype):
        model = case.model()
        prepared = prepare(model, "litert-reference")
        if case.op in MOVES and not prepared.refusals:
            executable, wanted = Executable(prepared, "jit"), reference.run(prepared, list(case.values))
            np.testing.assert_array_equal(executable.trace(case.values).output, wanted.output, strict=True)
            compiled[case.op] += any(isinstance(step, ChainStep) for step in executable.steps)
    # Of the others most change the batch, or fill with bytes that differ.
    assert compiled["TRANSPOSE"], compiled
    assert compiled["CONCATENATION"], compiled


@needs_shared_models
@pytest.mark.parametrize("name", ["mlt_resnet8_quant", "mlt_kws_ref", "tfliters_mnistnet_u8"])
def test_whole_models_are_the_reference(name):
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
