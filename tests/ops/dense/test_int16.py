"""Dense layers with int16 activations: which rule, what is refused, misread biases, and the verbs.

What real interpreters print is in test_dense_golden.py (the set `dense_int16`); the arithmetic in test_rules_int16.py.
"""

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.cases.dense_int16 import KINDS, MISREAD, Kind
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import quant
from lastbit.ops.dense.fully_connected import RULES
from lastbit.ops.dense.layer import dense_variant
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import open_oracle
from lastbit.runtimes import RUNTIMES, Rule
from tests.support.int16_models import LITERT, NAMES, layer, layer_of, prepared
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models


def outputs(model, x, runtime):
    return lastbit.run(model, np.asarray(x, np.int16), runtime).output.reshape(-1).tolist()


def refusal(model, runtime):
    with pytest.raises(UnsupportedError) as caught:
        prepared(model, runtime)
    return str(caught.value)


# Which rule, and what is refused


def test_every_rule_that_a_runtime_names_is_described():
    for runtime in RUNTIMES.values():
        for (operator, variant), rule in runtime.rules.items():
            if operator == "FULLY_CONNECTED" and variant.input == "int16" and isinstance(rule, Rule):
                assert rule.name in RULES


@pytest.mark.parametrize(
    ("more", "variant"),
    [
        ({"bias": [1], "bias_dtype": "int64"}, "int16 x int8 -> int16 per_tensor int64_bias"),
        ({"quantized_bias_type": "int64"}, "int16 x int8 -> int16 per_tensor int64_bias"),
        ({"bias": [1], "bias_dtype": "int32"}, "int16 x int8 -> int16 per_tensor int32_bias"),
        (
            {"bias": [1], "bias_dtype": "int32", "quantized_bias_type": "int32"},
            "int16 x int8 -> int16 per_tensor int32_bias_type",
        ),
        ({"zero_points": (0, 4, 0)}, "int16 x int8 -> int16 per_tensor weights_zero_point no_bias"),
        ({"dtype": "int4"}, "int16 x int4 -> int16 per_tensor no_bias"),
        ({"dtype": "int16", "bias": [1]}, "int16 per_tensor"),
    ],
)
def test_the_variant_says_what_the_rule_depends_on(more, variant):
    model = layer([[1, 2]], **more)
    assert str(dense_variant(model, model.operators[0])) == variant


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (
            Kind("int8", False, "int64_bias"),
            ("float64-half_away/acc64", "float64-half_away/acc64", "float64-half_away/acc64", "q15-half_up/dd"),
        ),
        (
            Kind("int8", True, "no_bias"),
            ("q31-half_up-half_up/dd", "q31-half_up-half_up/dd", "float64-half_away/acc64", "q15-half_up/dd"),
        ),
        (
            Kind("int8", False, "int32_bias_type"),
            ("q31-half_up-half_up/fd", "q31-half_up-half_up/fd", "float64-half_away", "q31-half_up-half_away/dd"),
        ),
    ],
    ids=["int64_bias", "no_bias", "int32_bias_type"],
)
def test_the_bias_decides_about_accumulator_and_rounding(kind, rules):
    model = layer_of(kind)
    assert tuple(prepared(model, name).rule for name in NAMES) == rules
    for name in NAMES:
        entry = prepared(model, name)
        steps = entry.evaluate([np.ones(model.inputs[0].shape, np.int16)])
        assert steps["acc"].dtype == (np.int64 if entry.acc_bits == 64 else np.int32)
        assert steps["output"].dtype == np.int16


def test_a_sum_beyond_int32_wraps_where_the_accumulator_has_32_bits():
    # 700 products of 32767 * 127: 2.9e9, which is -1.38e9 in 32 bits.
    model = layer(np.full((1, 700), 127), scales=(1.0, 2.0**-17, 1.0))
    x = np.full((1, 700), 32767)
    total = 700 * 32767 * 127
    wrapped = total - 2**32
    assert outputs(model, x, "litert-reference") == [round(total / 2**17)]
    assert outputs(model, x, "tflm") == [round(total / 2**17)]
    assert outputs(model, x, "litert-builtin-x86") == [round(wrapped / 2**17)]


@pytest.mark.parametrize("runtime", LITERT)
def test_litert_refuses_what_it_refuses(runtime):
    assert "the input's zero point is 5" in refusal(layer([[1]], zero_points=(5, 0, 0)), runtime)
    assert "the output's zero point is -5" in refusal(layer([[1]], zero_points=(0, 0, -5)), runtime)
    assert "int4 weights with a zero point of 0" in refusal(layer([[1]], dtype="int4", zero_points=(0, 1, 0)), runtime)
    wrong = layer([[1]], bias=[1], bias_dtype="int64", quantized_bias_type="int32")
    assert "the bias is int64 and quantized_bias_type says int32" in refusal(wrong, runtime)
    odd = layer([[1]], quantized_bias_type="int8")
    assert "quantized_bias_type is int8" in refusal(odd, runtime)


def test_tflm_takes_zero_points_and_refuses_other_weights():
    model = layer([[2, 1]], zero_points=(10, 0, -7), bias=[3], bias_dtype="int32")
    assert outputs(model, [[11, 10]], "tflm") == [2 + 3 - 7]
    for dtype in ("int4", "int16"):
        assert "int8 weights only" in refusal(layer([[1]], dtype=dtype), "tflm")


def test_an_int32_bias_that_is_read_as_int64_is_refused():
    model = layer([[1], [1]], bias=[1, 2], bias_dtype="int32")
    text = refusal(model, "litert-reference")
    assert "not exact: this kernel reads the int32 bias as int64" in text
    assert "quantized_bias_type say INT32" in text
    # ruy and TFLM read it as it is, and so does the reference kernel where it is told.
    for name in ("litert-xnnpack", "litert-builtin-x86", "tflm"):
        assert outputs(model, [[5]], name) == [6, 7]
    told = layer([[1], [1]], bias=[1, 2], bias_dtype="int32", quantized_bias_type="int32")
    assert outputs(told, [[5]], "litert-reference") == [6, 7]
    # Weights with a zero point go from ruy to that kernel.
    zero_point = layer([[1], [1]], bias=[1, 2], bias_dtype="int32", zero_points=(0, 1, 0))
    assert "reads the int32 bias as int64" in refusal(zero_point, "litert-builtin-x86")


@pytest.mark.parametrize("runtime", LITERT)
def test_an_int64_bias_that_is_read_as_int32_is_reproduced_with_a_warning(runtime):
    bias = [5, -1, 2**32 + 9, 7]
    model = layer(np.ones((4, 1)), dtype="int16", bias=bias)
    assert outputs(model, [[100]], runtime) == [105, 100, 99, 99]  # the words 5, 0, -1, -1
    (note,) = prepared(model, runtime).notes
    assert "reads it as int32" in note
    assert note in lastbit.inspect(model, op=0).json()
    assert "unit i gets the 32-bit word i" in " ".join(str(lastbit.explain(model, runtime=runtime)).split())
    told = layer(np.ones((4, 1)), dtype="int16", bias=bias, quantized_bias_type="int64", scales=(1.0, 1.0, 2.0**20))
    assert outputs(told, [[100]], runtime) == [0, 0, 4096, 0]
    assert prepared(told, runtime).notes == ()


@needs_all_interpreters
def test_the_reference_kernel_really_reads_pairs_of_int32_biases():
    """The first half of the units gets pairs of biases; what the second half gets lies behind the bias in the file."""
    bias = np.asarray([3, 0, -7, -1, 11, 0, 1, 2], np.int32)
    model = layer(np.ones((8, 1)), bias=bias, bias_dtype="int32")
    pairs = bias.view(np.int64)
    with open_oracle("litert-reference") as oracle:
        (printed,) = oracle.run(model.content, [[np.asarray([[20]], np.int16)]]).outputs[0]
    expected = np.clip(20 + pairs.astype(object), -32768, 32767).astype(np.int64)
    expected[3] = -(2**15)  # 2 * 2^32: beyond int32, which x86 converts to INT32_MIN
    assert printed[0, :4].tolist() == expected.tolist() == [23, 13, 31, -32768]


# The verbs


@pytest.mark.parametrize("kind", [*KINDS, *MISREAD], ids=lambda kind: kind.group)
def test_explain_agrees_with_the_engine_on_every_runtime(kind):
    model = layer_of(kind)
    covered = 0
    for name in NAMES:
        try:
            entry = prepared(model, name)
        except UnsupportedError:
            continue
        covered += 1
        report = lastbit.explain(model, runtime=name)
        assert report.as_dict()["accumulation"]["acc_bits"] == entry.acc_bits
        assert "random int16 from -32768 to 32767" in report.input_source
        assert ("q15 * 2^(shift-15)" in str(report)) == ("q_{15}" in report.latex()) == entry.rule.startswith("q15")
    assert covered


def test_explain_shows_the_reduced_multiplier_and_names_it_as_the_cause():
    model = layer([[1]], scales=(1.0, 1.0, 3.0), bias=[95000])
    report = lastbit.explain(model, np.asarray([[0]], np.int16), runtime="tflm", at=(0, 0))
    assert report.output == 31666
    text = " ".join(str(report).split())
    assert "q15 min(round_half_up(q / 2^16), 0x7fff) = 21845.3333282470703125, rounded 21845" in text
    assert "factor q15 * 2^(shift-15) = 21845 * 2^-16 = 0.3333282470703125" in text
    assert "product = wrap64(acc * q15) exact 95000 * 21845 = 2075275000" in text
    cause = next(other.cause for other in report.others if other.name == "litert-reference")
    assert cause.step == "multiplier_form"
    assert "tflm 15-bit multiplier and shift: 0.3333282470703125" in text
    assert "tflm prints 31666, litert-reference 31667." in text


def test_explain_says_when_the_accumulators_width_makes_the_difference():
    model = layer(np.full((1, 700), 127), scales=(1.0, 2.0**-17, 1.0))
    x = np.full((1, 700), 32767, np.int16)
    text = " ".join(str(lastbit.explain(model, x, runtime="litert-builtin-x86", at=(0, 0))).split())
    assert "acc = wrap32(sum) the low 32 bits are kept" in text
    assert "The first step that makes the difference: the accumulator's width." in text
    assert r"\bmod 2^{32}" in lastbit.explain(model, x, runtime="litert-builtin-x86", at=(0, 0)).latex()
    wide = lastbit.explain(model, x, runtime="litert-reference", at=(0, 0))
    assert "wrap" not in str(wide).split("5.")[0]


def test_explain_wraps_at_64_bits_too():
    model = layer([[1]], bias=[2**63 - 1], scales=(1.0, 1.0, 2.0**50))
    report = lastbit.explain(model, np.asarray([[1]], np.int16), runtime="litert-reference", at=(0, 0))
    assert report.output == -(2**13)
    text = " ".join(str(report).split())
    assert "does not fit int64" in text
    assert "acc = wrap64(sum)" in text


def test_inspect_says_which_accumulators_can_overflow():
    model = layer(np.full((2, 700), [[127], [1]]), scales=(1.0, 2.0**-17, 1.0))
    text = " ".join(str(lastbit.inspect(model, op=0)).split())
    assert "CAN OVERFLOW int32 (it wraps) in units 0 on litert-xnnpack," in text
    entry = lastbit.inspect(model, op=0).as_dict()["dense"][0]
    assert entry["runtimes"]["tflm"]["multiplier_q15"] == [2**14]
    assert entry["runtimes"]["litert-builtin-x86"]["multiplier_q15"] is None
    wide = layer(np.full((1, 700), 127), scales=(1.0, 2.0**-17, 1.0), bias=[0])
    text = " ".join(str(lastbit.inspect(wide, op=0)).split())
    assert "int64, which every kernel here has, cannot overflow" in text
    assert "OVERFLOWS" not in str(lastbit.inspect(wide))
    end = layer([[1]], bias=[2**63 - 2], scales=(1.0, 1.0, 1.0))
    assert "CAN OVERFLOW int64 (it wraps) in units 0" in " ".join(str(lastbit.inspect(end, op=0)).split())
    assert "OVERFLOWS" in str(lastbit.inspect(end))


def test_run_takes_batches_and_keeps_dimensions():
    model = layer([[1, 2], [3, 4]], input_shape=(1, 3, 2), keep_num_dims=True, bias=[0, 1])
    x = np.arange(-12, 12, dtype=np.int16).reshape(4, 3, 2)
    for name in ("litert-reference", "tflm"):
        trace = lastbit.run(model, x, name)
        assert trace.output.shape == (4, 3, 2)
        assert trace[0].acc.dtype == np.int64
        np.testing.assert_array_equal(trace.output, (x @ np.asarray([[1, 3], [2, 4]]) + [0, 1]).astype(np.int16))


def test_a_bias_scale_that_kernels_check_is_checked():
    model = layer([[1]], bias=[1], scales=(0.5, 0.5, 0.25))
    graph = model.subgraphs[0]
    tensors = list(graph.tensors)
    tensors[2] = replace(tensors[2], quant=quant(0.3))
    wrong = load(write(replace(graph, tensors=tuple(tensors))))
    for name in NAMES:
        assert "more than 2 % of the output scale" in refusal(wrong, name)


@needs_all_interpreters
@pytest.mark.parametrize("kind", [KINDS[1], KINDS[14], MISREAD[0]], ids=lambda kind: kind.group)
def test_verify_finds_every_kind_exact(kind):
    model = layer_of(kind, seed=8)
    report = lastbit.verify(model, NAMES, samples=12)
    assert not report.differs, str(report)
    # What the reference kernel misreads has no exact outputs there: that runtime leaves the layer out.
    misread = kind is MISREAD[0]
    assert [r.runtime.name for r in report.results if r.coverage.missing] == ["litert-reference"] * misread
    assert report.exit_code == (3 if misread else 0), str(report)


@needs_shared_models
def test_the_int16_model_is_covered():
    model = lastbit.load(MODELS / "adi_dtln_int16_1.tflite")
    assert len(model.dense_operators) == 5
    for op in model.dense_operators:
        assert [prepare_operator(model, op, name).acc_bits for name in NAMES] == [64] * 4


@needs_shared_models
@needs_all_interpreters
def test_the_int16_model_verifies():
    report = lastbit.verify(MODELS / "adi_dtln_int16_1.tflite", NAMES, samples=16)
    assert report.exit_code == 0, str(report)
