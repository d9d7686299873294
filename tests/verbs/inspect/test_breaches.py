"""Models against the quantization specification: right values, no false alarm, and what each runtime does about it."""

from dataclasses import replace

import numpy as np
import pytest

from lab.cases.operators import Case, Operand
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import QuantParams
from lastbit.oracles import OracleFailure, open_oracle
from lastbit.verbs.inspect.breaches import CHECKS, Kind, breaches
from lastbit.verbs.inspect.verb import inspect
from tests.support.interpreters import INTERPRETERS, needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models, shared_models

INT16 = {"input_quant": quant(2**-12), "output_quant": quant(0.01), "input_dtype": "int16", "bias_dtype": "int64"}


def dense(weights_quant=None, bias=None, bias_quant=None, least=-127, **options):
    """A dense layer with 4 units; scales of the bias as the converter writes them, or others."""
    values = np.random.default_rng(3).integers(-120, 121, (4, 16)).astype(np.int8)
    values[0, :2] = least
    graph = dense_subgraph(
        values,
        input_quant=options.pop("input_quant", quant(0.02, 3)),
        weights_quant=quant(0.001) if weights_quant is None else weights_quant,
        output_quant=options.pop("output_quant", quant(0.01, -5)),
        bias=np.arange(4) * 100 if bias is None else np.asarray(bias),
        **options,
    )
    if bias_quant is not None:
        tensors = list(graph.tensors)
        tensors[2] = replace(tensors[2], quant=bias_quant)
        graph = replace(graph, tensors=tuple(tensors))
    return load(write(graph))


def unary(op, dtype, scale, zero_point, given=None):
    x = Operand((1, 8), given or dtype, 0.1, 0)
    return load(Case(op, [x], [Operand((1, 8), dtype, scale, zero_point)], []).content())


def kinds(model):
    return [breach.kind for breach in breaches(model)]


def only(model):
    (found,) = inspect(model).as_dict()["specification"]
    return found


def test_layers_as_converters_write_them_have_no_breach():
    assert not breaches(dense())
    assert not breaches(dense(quant([0.001, 0.002, 0.003, 0.004])))
    assert not breaches(dense(**INT16))


@pytest.mark.parametrize("factor", [5.144, 2623.3, 0.5])
def test_a_bias_scale_is_told_with_its_factor(factor):
    product = float(np.float32(0.02)) * float(np.float32(0.001))
    found = only(dense(bias_quant=quant(product * factor)))
    assert found["kind"] == "bias_scale"
    assert found["factor"] == pytest.approx(factor, rel=1e-5)
    assert "s_x*s_w" in found["text"]


def test_rounding_of_the_product_is_no_breach():
    scale = np.float32(0.02) * np.float32(0.001)
    for direction in (0, 1):
        assert not breaches(dense(bias_quant=quant(np.nextafter(scale, np.float32(direction)))))


def test_who_refuses_and_who_ignores_a_bias_scale():
    found = only(dense(bias_quant=quant(0.01)))
    refused = {name for part in found["refused"] for name in part["runtimes"]}
    assert {"litert-reference", "litert-builtin-x86", "tflm"} <= refused
    assert "litert-xnnpack" in found["ignored"]
    assert "cmsis-nn" in found["ignored"]
    assert not found["followed"]
    # Within 2 % of the output's scale everybody takes it, and nobody reads it.
    near = only(dense(bias_quant=quant(0.0002)))
    assert not near["refused"]
    assert "tflm" in near["ignored"]


@pytest.mark.parametrize(
    ("bias", "channels", "dtype"),
    [
        ([500, -(2**31), 300, 0], [1], "int32"),
        ([2**31 - 1, 0, 300, -(2**31) + 1], [0, 3], "int32"),
        ([0, 0, 2**63 - 1, 0], [2], "int64"),
    ],
)
def test_a_bias_at_its_types_limit(bias, channels, dtype):
    wide = (
        {"input_dtype": "int16", "input_quant": quant(2**-12), "output_quant": quant(0.01)} if dtype == "int64" else {}
    )
    model = dense(quant([0.001] * 4), bias=np.array(bias, dtype), bias_dtype=dtype, **wide)
    found = only(model)
    assert (found["kind"], found["channels"]) == ("bias_limit", channels)
    assert "at its type's limit" in found["text"]
    assert "saturated" in found["text"]
    assert not found["refused"]
    assert {"litert-xnnpack", "tflm"} <= {*found["followed"], *found["ignored"]}


def test_the_words_of_one_saturated_bias():
    text = only(dense(quant([0.001] * 4), bias=[500, -(2**31), 300, 0]))["text"]
    assert text.startswith(
        "the bias of unit 1 is at its type's limit: the converter saturated it, the real bias is lost"
    )


@pytest.mark.parametrize("near", [2**31 - 2, -(2**31) + 2])
def test_a_bias_next_to_the_limit_is_none(near):
    assert Kind.BIAS_LIMIT not in kinds(dense(bias=[near, 0, 0, 0]))


def with_zero_points(model, zero_points):
    """The model with zero points of its bias."""
    graph = model.subgraphs[0]
    bias = graph.tensors[2]
    zeros = np.asarray(zero_points, np.int64)
    tensors = [replace(t, quant=QuantParams(t.quant.scale, zeros, 0)) if t is bias else t for t in graph.tensors]
    return load(write(replace(graph, tensors=tuple(tensors))))


def convolution(op, channels=1):
    """A convolution with 4 output channels."""
    shape = (4, 3, 3, 2) if op == "CONV_2D" else (1, 3, 3, 4)
    values = np.random.default_rng(1).integers(-120, 121, shape).astype(np.int8)
    axis = 0 if op == "CONV_2D" else 3
    weights = Operand(shape, "int8", [0.001] * channels, [0] * channels, values, axis)
    bias = Operand((4,), "int32", [np.float32(0.02) * np.float32(0.001)] * channels, [0] * channels, np.arange(4))
    options = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
    if op != "CONV_2D":
        options["depth_multiplier"] = 1
    given = Operand((1, 5, 5, 2 if op == "CONV_2D" else 4), "int8", 0.02, 3)
    return load(Case(op, [given, weights, bias], [Operand((1, 5, 5, 4), "int8", 0.01, -5)], [], options).content())


BIASES = {
    "dense": lambda: with_zero_points(dense(), [1]),
    "dense, per channel": lambda: with_zero_points(dense(quant([0.001] * 4)), [0, 0, 1, 0]),
    "dense, int16": lambda: with_zero_points(dense(**INT16), [1]),
    **{
        f"{op}, {channels} scales": lambda op=op, channels=channels: with_zero_points(
            convolution(op, channels), [0] * (channels - 1) + [7]
        )
        for op in ("CONV_2D", "DEPTHWISE_CONV_2D")
        for channels in (1, 4)
    },
}


@pytest.mark.parametrize("case", BIASES)
def test_a_bias_with_a_zero_point(case):
    found = only(BIASES[case]())
    assert found["kind"] == "bias_zero_point"
    refused = {name for part in found["refused"] for name in part["runtimes"]}
    per_channel = case in ("dense, per channel", "CONV_2D, 4 scales", "DEPTHWISE_CONV_2D, 4 scales")
    assert ("litert-xnnpack" in refused) == (per_channel or "CONV" in case)
    assert ("litert-reference" in refused) == ("CONV" in case and not per_channel)
    assert "tflm" in found["ignored"]


def test_outputs_of_a_tensor_that_would_take_minutes_are_not_compared():
    """A small file can declare any shape."""
    small = only(unary("TANH", "int8", 0.2, 0))
    operands = [Operand((1 << 24, 1), "int8", 0.1, 0)], [Operand((1 << 24, 1), "int8", 0.2, 0)]
    large = only(load(Case("TANH", *operands, []).content()))
    assert large["kind"] == small["kind"] == "fixed_output"
    assert small["ignored"] or small["followed"]
    assert large["ignored"] == large["followed"] == []


def test_subgraphs_of_control_flow_are_checked_too():
    inner = dense(bias_quant=quant(0.01)).subgraphs[0]
    outer = dense()
    model = replace(outer, subgraphs=(outer.subgraphs[0], replace(inner, name="then")))
    report = inspect(model)
    (found,) = report.as_dict()["specification"]
    assert (found["subgraph"], found["operator"], found["kind"]) == (1, 0, "bias_scale")
    assert "litert-xnnpack" in found["ignored"]
    assert "subgraph 1, operator 0 FULLY_CONNECTED: the bias scale" in str(report)
    assert not inspect(model, 0).as_dict()["specification"]


@pytest.mark.parametrize("channel", [0, 3])
def test_a_scale_of_zero(channel):
    scales = [0.001] * 4
    scales[channel] = 0.0
    found = only(dense(quant(scales)))
    assert (found["kind"], found["channels"]) == ("zero_scale", [channel])
    refused = {name for part in found["refused"] for name in part["runtimes"]}
    assert "torch-fbgemm" in refused
    assert "tflm" in found["followed"]


@pytest.mark.parametrize("scale", [1e-12, 3e30])
def test_absurd_scales_of_activations(scale):
    assert Kind.ABSURD_SCALE in kinds(dense(input_quant=quant(scale, 3)))
    assert Kind.ABSURD_SCALE in kinds(dense(output_quant=quant(scale, 3)))


def test_the_narrowest_range_of_the_converter_is_not_absurd():
    assert not kinds(dense(input_quant=quant(2e-6 / 255, 3)))


@pytest.mark.parametrize("granularity", [quant(0.001), quant([0.001, 0.002, 0.003, 0.004])])
def test_weights_of_minus_128(granularity):
    found = only(dense(granularity, least=-128))
    assert found["kind"] == "weights_least"
    assert found["text"].startswith("2 of 64 weights are -128")
    assert "tflm" in found["followed"]


@pytest.mark.parametrize(("zero_points", "channels"), [([6], []), ([0, -3, 0, 1], [1, 3])])
def test_weights_with_a_zero_point(zero_points, channels):
    scales = [0.001] * len(zero_points)
    found = only(dense(quant(scales, zero_points), least=-128))
    assert (found["kind"], found["channels"]) == ("weights_zero_point", channels)
    if channels:
        assert "tflm" in found["ignored"]
        assert any("XNNPACK" in part["reason"] for part in found["refused"])
    else:
        assert "tflm" in found["followed"]


@pytest.mark.parametrize(
    ("op", "dtype", "scale", "zero_point"),
    [
        ("SOFTMAX", "int8", 1 / 256, -128),
        ("SOFTMAX", "uint8", 1 / 256, 0),
        ("SOFTMAX", "int16", 1 / 32768, 0),
        ("LOGISTIC", "int8", 1 / 256, -128),
        ("LOGISTIC", "int16", 1 / 32768, 0),
        ("TANH", "int8", 1 / 128, 0),
        ("TANH", "uint8", 1 / 128, 128),
        ("TANH", "int16", 1 / 32768, 0),
    ],
)
def test_fixed_outputs(op, dtype, scale, zero_point):
    assert not breaches(unary(op, dtype, scale, zero_point))
    for other in ((scale * 1.01, zero_point), (scale / 2, zero_point)):
        found = only(unary(op, dtype, *other))
        assert found["kind"] == "fixed_output"
        assert found["factor"] == pytest.approx(other[0] / scale)
    if dtype != "int16":
        assert Kind.FIXED_OUTPUT in kinds(unary(op, dtype, scale, zero_point + 1 if zero_point < 0 else 5))


@pytest.mark.parametrize(
    ("op", "scale", "zero_point"), [("L2_NORMALIZATION", 1 / 128, 0), ("LOG_SOFTMAX", 1 / 16, 127)]
)
def test_fixed_outputs_of_operators_that_are_not_covered(op, scale, zero_point):
    def model(scale, zero_point):
        graph = unary("TANH", "int8", scale, zero_point).subgraphs[0]
        changed = replace(graph, operators=(replace(graph.operators[0], name=op),))
        return Model((changed,), "", 3, b"")

    assert not breaches(model(scale, zero_point))
    assert kinds(model(scale * 1.5, zero_point)) == kinds(model(scale, zero_point - 1)) == [Kind.FIXED_OUTPUT]
    assert only(model(scale * 1.5, zero_point))["kind"] == "fixed_output"


def test_softmax_from_int8_to_int16_has_a_form_of_its_own():
    assert not breaches(unary("SOFTMAX", "int16", 1 / 65536, -32768, given="int8"))


def test_who_follows_another_scale_of_logistic():
    found = only(unary("LOGISTIC", "int8", 0.0041, -128))
    assert any("litert-reference" in part["runtimes"] for part in found["refused"])
    assert "tflm" in found["ignored"]
    assert "litert-xnnpack" in found["followed"]


@pytest.mark.parametrize("zero_point", [1, -300])
def test_int16_activations_want_zero_point_0(zero_point):
    model = dense(**{**INT16, "input_quant": quant(2**-12, zero_point)})
    assert kinds(model) == [Kind.INT16_ZERO_POINT]


@pytest.mark.parametrize(("scale", "zero_point"), [(0.11, 0), (0.1, 1)])
def test_pools_and_moves_have_one_scale(scale, zero_point):
    def moved(scale, zero_point):
        shape = Operand((2,), "int32", None, 0, np.array([2, 4], np.int32))
        output = Operand((2, 4), "int8", scale, zero_point)
        return load(Case("RESHAPE", [Operand((1, 8), "int8", 0.1, 0), shape], [output], []).content())

    assert not breaches(moved(0.1, 0))
    assert kinds(moved(scale, zero_point)) == [Kind.SAME_SCALE]


def test_every_kind_has_a_check_and_a_breach_is_shown_first():
    assert len(CHECKS) == len(Kind)
    text = str(inspect(dense(bias_quant=quant(0.01))))
    assert text.index("Against the quantization specification") < text.index("Operators")
    assert "Refused by LiteRT's builtin kernels, LiteRT's reference kernels" in text
    assert "Against" not in str(inspect(dense()))


# What is in third-party models, looked at one by one; all others have nothing.
EXPECTED = {
    "tflm_keyword_scrambled": {Kind.WEIGHTS_LEAST},
    **{f"tflm_seanet_transpose_conv{number}": {Kind.WEIGHTS_LEAST} for number in (0, 2, 4)},
}


@needs_shared_models
@pytest.mark.parametrize(
    "path", [*shared_models(), *sorted((MODELS / "more").glob("*.tflite"))], ids=lambda path: path.stem
)
def test_no_false_alarm_on_public_models(path):
    assert set(kinds(load(path))) == EXPECTED.get(path.stem, set())


LIVE = {
    "bias scale, far": lambda: dense(bias_quant=quant(0.01)),
    "bias scale, near": lambda: dense(bias_quant=quant(0.0002)),
    "bias scale, no float's product": lambda: dense(quant([0.001, 0.002, 0.003, 0.004]), bias_quant=quant([0.01] * 4)),
    "zero point": lambda: dense(quant(0.001, 6)),
    "zero points": lambda: dense(quant([0.001] * 4, [0, -3, 0, 1])),
    "zero scale": lambda: dense(quant([0.001, 0, 0.003, 0.004])),
    "LOGISTIC": lambda: unary("LOGISTIC", "int8", 0.0041, -128),
    "SOFTMAX": lambda: unary("SOFTMAX", "int8", 0.01, -128),
    "TANH": lambda: unary("TANH", "int8", 1 / 100, 0),
    **BIASES,
    "int16 zero point": lambda: dense(**{**INT16, "input_quant": quant(2**-12, 5)}),
}


@needs_all_interpreters
@pytest.mark.parametrize("case", LIVE)
def test_the_real_interpreters_refuse_and_ignore_what_is_told(case):
    model = LIVE[case]()
    (breach,) = breaches(model)
    found = only(model)
    graph = model.subgraphs[0]
    tensors = tuple(breach.repaired if t.index == breach.tensor.index else t for t in graph.tensors)
    right = write(replace(graph, tensors=tensors))
    x = model.first_input
    ends = np.iinfo(x.dtype.numpy)
    samples = [
        [np.random.default_rng(s).integers(ends.min, ends.max + 1, x.shape).astype(x.dtype.numpy)] for s in range(9)
    ]
    refused = {name for part in found["refused"] for name in part["runtimes"]}
    told = 0
    for name in INTERPRETERS:
        with open_oracle(name) as oracle:
            if name in refused:
                with pytest.raises(OracleFailure):
                    oracle.run(bytes(model.content), samples)
            elif name in found["ignored"]:
                outputs = [oracle.run(content, samples).outputs for content in (bytes(model.content), right)]
                assert all(np.array_equal(a[0], b[0]) for a, b in zip(*outputs, strict=True)), name
            elif name in found["followed"]:
                oracle.run(bytes(model.content), samples)
            else:
                continue
            told += 1
    assert told


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [0.0, np.inf, np.nan, 1e-45])
@pytest.mark.parametrize("other", [0.0, np.inf, np.nan, 3e38])
@pytest.mark.parametrize("of_bias", [0.0, np.inf, 0.5])
def test_scales_of_any_value_are_told_without_a_warning(scale, other, of_bias):
    model = dense(
        quant([other, 1.0, 0.5, scale]), bias_quant=quant([of_bias, 1.0, 0.5, 0.1]), input_quant=quant(scale, 3)
    )
    assert str(inspect(model))
    assert kinds(model)
