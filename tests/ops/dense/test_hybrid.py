"""Hybrid dense layers: float32 activations, int8 or int4 weights. Golden files: test_dense_golden.py."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastbit
from lab.cases.dense import HERE
from lastbit.arith.exact_floats import nearest_float32
from lastbit.layers.differences import same_bits
from lastbit.layers.float_inputs import float_rows
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.rules.hybrid.int4_nibbles import packed_nibbles
from lastbit.rules.hybrid.rows import quantize_rows
from lastbit.rules.hybrid.sse_sums import sums_in_16_bits
from lastbit.rules.hybrid.table import QD8, SSE_ASYMMETRIC, SSE_SYMMETRIC
from lastbit.verbs.verify.verb import verify
from tests.support.interpreters import XNNPACK, needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

LITERT = ("litert-xnnpack", "litert-builtin-x86", "litert-reference")
F = np.float32


def hybrid_model(weights, *, scale=0.5, zero_point=0, bias=None, dtype="int8", rows=1, **options):
    return load(
        write(
            dense_subgraph(
                np.asarray(weights, np.int8),
                input_quant=None,
                weights_quant=quant(scale, zero_point),
                output_quant=None,
                bias=None if bias is None else np.asarray(bias, np.float32),
                input_shape=(rows, np.shape(weights)[1]),
                input_dtype="float32",
                weights_dtype=dtype,
                bias_dtype="float32",
                **options,
            )
        )
    )


def hybrid(weights, runtime="litert-builtin-x86", **options):
    model = hybrid_model(weights, **options)
    return prepare_operator(model, model.operators[0], runtime)


def exact(value):
    return Fraction(float(value))


def round32(value):
    return float(nearest_float32(value))


def twin(prepared, x):
    """One row through the formulas in fractions and Python integers, apart from the fast code."""
    values = [exact(v) for v in x]
    low, high = min(0, *values), max(0, *values)
    if prepared.rule == "hybrid-qd8-fma":
        inverse = exact(round32(Fraction(255) / exact(round32(high - low))))
        scale = exact(round32(1 / inverse))
        below, above = exact(round32(low * inverse)), exact(round32(high * inverse))
        errors = exact(round32(exact(round32(-128 + below)) + exact(round32(127 + above))))
        exact_zero = exact(round32(-128 - below if errors > 0 else 127 - above))
        zero_point = round(min(max(exact_zero, -128), 127))
        q = [min(max(round(exact(round32(v * inverse))) + zero_point, -128), 127) for v in values]
    else:
        zero_point = 0
        scale = exact(round32(max(-low, high) / 127))
        inverse = exact(round32(127 / max(-low, high)))
        q = []
        for k, v in enumerate(values):
            scaled = exact(round32(v * inverse))
            half = Fraction(1, 2) if scaled >= 0 else Fraction(-1, 2)
            # int() truncates; the vector part rounds the sum to float32 first.
            q.append(int(exact(round32(scaled + half)) if k < len(values) // 8 * 8 else scaled + half))
    outputs = []
    for unit in range(prepared.layer.units):
        weights = [int(w) for w in prepared.layer.weights_values[unit]]
        acc = exact(round32(Fraction(sum((a - zero_point) * w for a, w in zip(q, weights, strict=True)))))
        w_scale = exact(prepared.weights_scale[unit if prepared.weights_scale.size > 1 else 0])
        bias = exact(prepared.bias[unit])
        if prepared.rule == "hybrid-qd8-fma":
            outputs.append(round32(exact(round32(acc * scale)) * w_scale + bias))
        else:
            outputs.append(round32(bias + exact(round32(acc * exact(round32(w_scale * scale))))))
    return outputs


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 19), st.sampled_from(["litert-xnnpack", "litert-reference"]))
def test_the_engine_equals_a_twin_in_fractions(seed, depth, runtime):
    rng = np.random.default_rng(seed)
    prepared = hybrid(
        rng.integers(-127, 128, (3, depth)), runtime, scale=rng.uniform(0.001, 0.1, 3), bias=rng.normal(size=3)
    )
    x = rng.normal(size=depth).astype(F)
    if seed % 2:
        x = ((rng.integers(-127, 127, depth) + 0.5) * 0.25).astype(F)
    assert prepared.evaluate([x[None]])["output"][0].tolist() == twin(prepared, x)


def test_a_row_worked_by_hand():
    prepared = hybrid([[1, 2, 3]], scale=0.5, bias=[0.25])
    steps = prepared.evaluate([F([[127.0, -1.0, 0.5]])])
    assert steps["quantized_input"].tolist() == [[127, -1, 1]]  # half away: depth 3 has no vector part
    assert steps["acc"].tolist() == [[128]]
    assert steps["output"].tolist() == [[64.25]]
    steps = hybrid([[1, 2, 3]], "litert-xnnpack", bias=[0.25]).evaluate([F([[254.0, -1.0, 0.5]])])
    assert steps["input_zero_point"].tolist() == [-127]
    assert steps["quantized_input"].tolist() == [[127, -128, -127]]  # 0.5 to even
    assert steps["output"].tolist() == [[(254 - 2) * 0.5 + 0.25]]


@pytest.mark.parametrize("runtime", LITERT)
def test_minus_128_meets_a_negative_input_with_the_wrong_sign_on_x86_only_in_whole_sixteens(runtime):
    x = np.zeros((1, 18), F)
    x[0, :] = -127.0
    weights = np.zeros((3, 18), int)
    weights[0, 3], weights[1, 17], weights[2, 3] = -128, -128, -127
    prepared = hybrid(weights, runtime, scale=1.0)
    right = 127 * 128.0
    wanted = [right, right, 127 * 127.0] if runtime == "litert-xnnpack" else [-right, right, 127 * 127.0]
    found = prepared.evaluate([x])["output"][0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    warned = [note for note in prepared.notes if "-128" in note]
    assert len(warned) == (runtime != "litert-xnnpack")
    if warned:
        assert "unit 0" in warned[0]
        assert "wrong sign" in warned[0]


def test_minus_8_acts_as_plus_8_in_the_4_bit_kernel_only():
    weights = np.zeros((4, 32), int)
    weights[0, 1], weights[1, 20] = -8, -8
    x = np.zeros((1, 32), F)
    x[0, 1], x[0, 20], x[0, 4] = 127, 127, 127
    builtin, reference = (
        hybrid(weights, r, dtype="int4", scale=1.0) for r in ("litert-builtin-x86", "litert-reference")
    )
    assert reference.evaluate([x])["output"][0, :2].tolist() == [-8 * 127, -8 * 127]
    assert builtin.evaluate([x])["output"][0, :2].tolist() == [8 * 127, (8 + 8) * 127]  # weight 4 changed too
    assert "+8" in builtin.notes[0]
    assert reference.notes == ()
    for changed in ({"dtype": "int8"}, {"dtype": "int4"}):
        few = hybrid(weights[:3], scale=1.0, **changed)  # fewer than four units: the ordinary kernel
        assert few.evaluate([x])["output"][0, 0] == -8 * 127


def test_packing_is_harmless_without_minus_8(rng):
    for depth in (32, 34, 48, 62, 64, 96):
        weights = rng.integers(-7, 8, (5, depth))
        np.testing.assert_array_equal(packed_nibbles(weights, "vector", "scalar") - 7, weights)


def test_sums_of_weights_overflow_16_bits_and_that_is_said():
    deep = np.full((1, 2080), 127)
    assert sums_in_16_bits(deep).tolist() != [2080 * 127]
    assert any("16 bits" in n for n in hybrid(deep, asymmetric_quantize_inputs=True).notes)
    assert not any("16 bits" in n for n in hybrid(deep).notes)
    assert not any("16 bits" in n for n in hybrid(deep[:, :2000], asymmetric_quantize_inputs=True).notes)
    assert not any("16 bits" in n for n in hybrid(deep, "litert-xnnpack", asymmetric_quantize_inputs=True).notes)


def test_xnnpack_says_that_it_ignores_symmetric_quantization_and_builtin_that_it_ignores_a_zero_point():
    assert "asymmetrically" in hybrid([[1, 2]], "litert-xnnpack").notes[0]
    assert hybrid([[1, 2]], "litert-xnnpack", asymmetric_quantize_inputs=True).notes == ()
    assert "ignores it" in hybrid([[1, 2]], zero_point=3).notes[0]


@pytest.mark.parametrize(
    ("runtime", "options", "reason"),
    [
        ("tflm", {}, "float32 weights only"),
        ("litert-xnnpack", {"zero_point": 3}, "zero point that is not 0"),
        ("litert-xnnpack", {"scale": 1e-40}, "positive normal"),
        ("litert-builtin-x86", {"zero_point": 3, "dtype": "int4"}, "zero point 0 only"),
        ("litert-reference", {"zero_point": 3, "dtype": "int4"}, "zero point 0 only"),
        ("litert-xnnpack", {"zero_point": 3, "dtype": "int4"}, "zero point 0 only"),
    ],
)
def test_what_real_kernels_refuse_is_refused(runtime, options, reason):
    with pytest.raises(UnsupportedError, match=reason):
        hybrid([[1, 2, 3, 4]], runtime, **options)


def test_xnnpack_leaves_int4_weights_of_odd_depth_to_the_builtin_kernel():
    assert hybrid([[1, 2, 3]], "litert-xnnpack", dtype="int4").kernel == "builtin"
    assert hybrid([[1, 2, 3, 4]], "litert-xnnpack", dtype="int4").kernel == "xnnpack"


def test_an_input_of_zeros_leaves_the_bias_alone_but_a_row_of_zeros_does_not():
    prepared = hybrid([[1, 2, 3]], bias=[-0.0], rows=2)
    zeros = np.zeros((2, 3), F)
    assert np.signbit(prepared.evaluate([zeros])["output"]).tolist() == [[True], [True]]
    one = zeros.copy()
    one[1, 0] = 1
    assert np.signbit(prepared.evaluate([one])["output"]).tolist() == [[False], [False]]
    assert not np.signbit(hybrid([[1, 2, 3]], "litert-xnnpack", bias=[-0.0]).evaluate([zeros[:1]])["output"]).any()


@pytest.mark.parametrize("runtime", LITERT)
def test_nan_is_an_input_error_that_says_where(runtime):
    x = np.zeros((3, 4), F)
    x[2, 1] = np.nan
    with pytest.raises(InputError, match="NaN in row 2, column 1"):
        hybrid([[1, 2, 3, 4]], runtime, rows=3).evaluate([x])


@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_rows_do_not_depend_on_each_other(runtime, dtype, rng):
    prepared = hybrid(rng.integers(-8, 8, (6, 34)), runtime, dtype=dtype, bias=rng.normal(size=6), rows=5)
    x = rng.normal(size=(5, 34)).astype(F)
    whole = prepared.evaluate([x])["output"]
    for row in range(5):
        np.testing.assert_array_equal(prepared.evaluate([x[row : row + 1]])["output"][0], whole[row])


def test_the_last_of_a_row_are_rounded_otherwise_than_the_first():
    below_half = np.nextafter(F(0.5), F(0))
    x = np.full((1, 9), below_half, F)
    x[0, 1] = 127
    q = quantize_rows(SSE_SYMMETRIC, x).quantized[0]
    assert q[0] == 1  # 0.49999997 + 0.5 is 1 in float32
    assert q[8] == 0


def test_verify_inputs_separate_the_quantizations(rng):
    layer = hybrid(np.ones((1, 24))).layer
    rows = float_rows(layer.depth, 40, rng)
    assert rows.shape == (40, 24)
    assert rows.dtype == F
    assert np.isfinite(rows).all()
    assert (rows == 0).all(axis=1).any()
    results = [quantize_rows(how, rows) for how in (SSE_SYMMETRIC, SSE_ASYMMETRIC, QD8)]
    half = [np.abs(np.abs(np.nan_to_num(r.scaled, posinf=0, neginf=0)) % 1 - 0.5) < 1e-6 for r in results]
    assert all(h.sum() > 30 for h in half)
    assert float_rows(layer.depth, 1, rng).shape == (1, 24)


def test_explain_shows_every_step_of_one_element(rng):
    model = hybrid_model(rng.integers(-127, 128, (3, 20)), bias=rng.normal(size=3), scale=0.01, rows=2)
    x = rng.normal(size=(2, 20)).astype(F)
    for runtime in LITERT:
        explanation = lastbit.explain(model, x, at=(1, 2), runtime=runtime)
        prepared = prepare_operator(model, model.operators[0], runtime)
        output = prepared.evaluate([x])["output"][1, 2]
        assert explanation.output == float(output)
        data = json.loads(explanation.json())
        assert data["schema"] == "lastbit.explain.hybrid/1"
        assert float.fromhex(data["output"]["hex"]) == float(output)
        assert sum(data["accumulation"]["products"]) == data["accumulation"]["dot"]
        assert data["steps"][0]["name"] == "input_scale"
        assert data["steps"][-1]["name"] == "output"
        text = str(explanation)
        for word in ("x * inverse", "zero point", "acc = dot", "exact", "row 1, unit 2", *LITERT):
            assert word in text
        assert r"\begin{align*}" in explanation.latex()
    others = {other.runtime: other for other in explanation.others}
    assert "row's scale" in others["litert-xnnpack"].first_difference
    assert others["litert-builtin-x86"].mismatched == 0
    assert "float32 weights only" in others["tflm"].refused


def test_explain_counts_faulty_products_as_the_kernel_does():
    weights = np.full((4, 16), -128)
    x = -np.ones((1, 16), F)
    explanation = lastbit.explain(hybrid_model(weights), x, runtime="litert-reference")
    assert explanation.products == [-127 * 128] * 16
    assert any("wrong sign" in note for note in explanation.as_dict()["notes"])
    nibbles = lastbit.explain(hybrid_model(np.ones((4, 32)), dtype="int4"), runtime="litert-builtin-x86")
    assert "sum(q * (w + 7))" in str(nibbles)
    assert {"correction", "scaled", "with_bias"} <= {step.name for step in nibbles.steps}
    with pytest.raises(InputError, match="row 0 to 0 and unit 0 to 3"):
        lastbit.explain(hybrid_model(weights), x, at=(0, 4))
    zeros = lastbit.explain(hybrid_model(weights), np.zeros((1, 16), F), runtime="litert-reference")
    assert "nothing is multiplied" in str(zeros)


@needs_all_interpreters
def test_every_runtime_equals_its_interpreter_on_every_family():
    from lab.cases import dense_hybrid
    from lab.cases.versions import inverse_cases
    from lab.collect.dense import Tally
    from lastbit.oracles import open_oracle

    for runtime in HERE:
        tally = Tally()
        with open_oracle(runtime) as oracle:
            for case in (*dense_hybrid.all_cases(123, 1), *inverse_cases(123, 1)):
                tally.compare(case, oracle, dense_hybrid.rivals)
        assert tally.first_mismatch == ""
        if "xnnpack" in runtime:
            # The rule of LiteRT 1.0, which the families alone do not exclude.
            refuted = [found["hybrid-qd8-scale_inverted-fma-bound_first"] for found in tally.rivals.values()]
            assert sum(count > 0 for count in refuted) >= 4
        assert sum(tally.outputs.values()) > 1000 or runtime == "tflm"


def test_a_row_of_negative_zeros_has_a_range_of_positive_ones():
    # Which of two zeros is the smaller, NumPy leaves to the CPU: ARM's instruction says -0.0, x86's the second one.
    for depth in (1, 3, 4, 7, 8, 64):
        for x in (np.full((2, depth), -0.0, np.float32), np.full((2, depth), -1e-42, np.float32)):
            for how in (SSE_SYMMETRIC, SSE_ASYMMETRIC, QD8):
                rows = quantize_rows(how, x)
                assert not np.signbit(rows.high).any()
                assert not np.signbit(rows.low[rows.low == 0]).any()


@needs_all_interpreters
@needs_shared_models
def test_the_dynamic_range_autoencoder_verifies_end_to_end():
    report = verify(MODELS / "mlt_toycar_quant_v01bench.tflite", (XNNPACK, *LITERT[1:]), samples=8)
    assert report.exit_code == 0
    for result in report.results:
        assert result.end_to_end is not None
        assert result.end_to_end.outputs
        assert not result.end_to_end.differs


@needs_shared_models
def test_the_dynamic_range_autoencoder_is_covered_and_runtimes_differ_on_a_real_input():
    model = load(MODELS / "mlt_toycar_quant_v01bench.tflite")
    x = np.fromfile(MODELS / "inputs" / "toycar_normal_id_01.f32", "<f4").reshape(40, 640)[:1]
    outputs = {}
    for runtime in LITERT:
        prepared = prepare(model, runtime)
        prepared.require_all()
        outputs[runtime] = lastbit.run(model, x, runtime=runtime).outputs[0]
    assert same_bits(outputs["litert-builtin-x86"], outputs["litert-reference"]).all()
    assert not same_bits(outputs["litert-xnnpack"], outputs["litert-reference"]).all()
