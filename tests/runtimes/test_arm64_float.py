"""Dense layers with float32 activations on ARM64 against what LiteRT printed there: lab/record/arm64.py."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastbit
from lastbit.engines import ENGINES
from lastbit.layers.differences import same_bits
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph
from lastbit.ops.prepare import prepare_operator
from lastbit.rules.hybrid.neon import NeonLoop, neon_loop
from lastbit.runtimes import Refused, get_runtime
from lastbit.runtimes.variant import key_of
from tests.ops.dense.test_hybrid import exact, round32
from tests.ops.dense.test_hybrid import hybrid_model as newest_model

pytest.importorskip("lab.reach.time_machine")
from tests.support.arm64_recorded import ARM64, TODAY, Recorded, runtime_of

RECORDED = Recorded("dense_arm64_float")
LISTING, arrays, model_of, outputs_of = RECORDED.listing, RECORDED.arrays, RECORDED.model_of, RECORDED.ours
PRINTED = sorted(LISTING["printed"])
F = np.float32


def hybrid_model(weights, **options):
    """A layer under an operator version that the wheels for ARM64 know."""
    model = newest_model(weights, **options)
    graph = model.subgraphs[0]
    return load(write(replace(graph, operators=(replace(graph.operators[0], version=10),))))


def hybrid(weights, runtime, **options):
    model = hybrid_model(weights, **options)
    return prepare_operator(model, model.operators[0], runtime)


@pytest.mark.parametrize("name", PRINTED)
def test_equals_what_was_printed(name):
    runtime = runtime_of(name)
    unknown = name.endswith("-neon@1.4.0")  # builtin kernels with several weights scales follow no rule there
    compared = Counter()
    for number, found, delegated in RECORDED.printed(name):
        mine = outputs_of(number, runtime)
        case = LISTING["cases"][number]
        if isinstance(found, str):
            assert mine is None, (number, case, found)
            continue
        if mine is None:
            rule = get_runtime(runtime).rules.get(key_of("FULLY_CONNECTED", case["variant"]))
            assert unknown or isinstance(rule, Refused | None), case
            continue
        outputs, kernel = mine
        assert same_bits(outputs, found).all(), (number, case)
        assert (kernel == "xnnpack") == delegated, number
        compared[case["variant"]] += outputs.size
    assert sum(compared.values()) > 5000
    assert len(compared) >= (2 if unknown else 4)


@pytest.mark.parametrize("name", [name for name in PRINTED if f"@{TODAY}" in name])
def test_the_golden_set_refutes_every_rival(name):
    from lab.cases import dense_float, dense_hybrid_arm64

    runtime = runtime_of(name)
    refuted, seen = {}, {}
    for number, found, delegated in RECORDED.printed(name):
        case = LISTING["cases"][number]
        if isinstance(found, str) or runtime.startswith("litert-xnnpack") != delegated:
            continue
        if outputs_of(number, runtime) is None:
            continue
        # int8 and int4 weights, where they follow one rule, refute rivals together.
        rule = get_runtime(runtime).rules[key_of("FULLY_CONNECTED", case["variant"])].name
        model = model_of(number)
        families = dense_float if case["variant"] == "float32 unquantized" else dense_hybrid_arm64
        for rival, prepared in families.rivals(model, model.operators[0]).items():
            seen.setdefault(rule, set()).add(rival)
            if rival in refuted.get(rule, ()):
                continue
            ours = np.stack([prepared.evaluate([x])["output"] for x in arrays()[f"{number}/x"]])
            if not same_bits(ours, found).all():
                refuted.setdefault(rule, set()).add(rival)
    for rule, rivals in seen.items():
        assert rivals - refuted[rule] == {rule}, rule


# Of XNNPACK's rules: how many of a row's values are rounded half even, the others half away.
ROUNDING = {
    "hybrid-kleidiai-unfused": lambda depth: depth // 8 * 8,
    "hybrid-kleidiai_away-unfused": lambda depth: 0,
    "hybrid-kleidiai_away-fused_if_one_row": lambda depth: 0,
    "hybrid-qd8-fma-pairs_of_16_bits": lambda depth: depth,
}


def twin(prepared, x, rows):
    """One row of several through the formulas in fractions and Python integers, apart from the fast code."""
    values = [exact(v) for v in x]
    low, high = min(0, *values), max(0, *values)

    def away(value):
        return int(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)

    zero_point, xnnpack = 0, prepared.rule in ROUNDING
    if xnnpack:
        inverse = exact(round32(Fraction(255) / exact(round32(high - low))))
        scale = exact(round32(1 / inverse))
        below, above = exact(round32(low * inverse)), exact(round32(high * inverse))
        errors = exact(round32(exact(round32(-128 + below)) + exact(round32(127 + above))))
        zero = exact(round32(-128 - below if errors > 0 else 127 - above))
        zero_point = round(min(max(zero, -128), 127))
        whole = ROUNDING[prepared.rule](len(values))
        scaled = [exact(round32(v * inverse)) for v in values]
        q = [min(max((round(s) if k < whole else away(s)) + zero_point, -128), 127) for k, s in enumerate(scaled)]
    else:
        scale = exact(round32(max(-low, high) / 127))
        inverse = exact(round32(127 / max(-low, high)))
        q = [away(exact(round32(v * inverse))) for v in values]
    layer = prepared.layer
    fused = rows == 1 and prepared.rule.endswith("fused_if_one_row")
    fused |= not xnnpack and (
        prepared.rule.endswith("never_four_rows") or neon_loop(rows, layer.units, layer.depth) is not NeonLoop.FOUR_ROWS
    )
    outputs = []
    for unit in range(layer.units):
        weights = [int(w) for w in layer.weights_values[unit]]
        acc = exact(round32(Fraction(sum((a - zero_point) * w for a, w in zip(q, weights, strict=True)))))
        w_scale = exact(prepared.weights_scale[unit if prepared.weights_scale.size > 1 else 0])
        bias = exact(prepared.bias[unit])
        if "fma" in prepared.rule:
            outputs.append(round32(exact(round32(acc * scale)) * w_scale + bias))
            continue
        product = acc * exact(round32(w_scale * scale))
        outputs.append(round32((product if fused else exact(round32(product))) + bias))
    return outputs


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 7, 8, 9, 16, 32]),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.sampled_from([*(name for name in ARM64 if "builtin" not in name), "litert-xnnpack-arm64@2.0.2"]),
)
def test_the_engine_equals_a_twin_in_fractions(seed, depth, rows, runtime):
    rng = np.random.default_rng(seed)
    units = int(rng.choice([3, 4, 8]))
    prepared = hybrid(
        rng.integers(-127, 128, (units, depth)),
        runtime,
        scale=rng.uniform(0.001, 0.1, units),
        bias=rng.normal(size=units),
    )
    x = rng.normal(size=(rows, depth)).astype(F)
    if seed % 2:
        x = ((rng.integers(-127, 127, (rows, depth)) + 0.5) * 0.25).astype(F)
    found = prepared.evaluate([x])["output"]
    for row in range(rows):
        assert found[row].tolist() == twin(prepared, x[row], rows)


def test_one_fma_alone_and_two_roundings_beside_three_other_rows():
    rng = np.random.default_rng(5)
    prepared = hybrid(rng.integers(-127, 128, (8, 32)), "litert-builtin-arm64", scale=0.01, bias=rng.normal(size=8))
    row = rng.normal(size=(1, 32)).astype(F)
    alone, four = (prepared.evaluate([np.repeat(row, count, axis=0)]) for count in (1, 4))
    np.testing.assert_array_equal(four["output"], np.repeat(four["output"][:1], 4, axis=0))
    assert (alone["output"] != four["output"][:1]).any()
    assert "scaled" not in alone
    assert "scaled" in four
    np.testing.assert_array_equal(prepared.alone.evaluate([np.repeat(row, 4, axis=0)])["output"][:1], alone["output"])


def test_pairs_of_minus_128_wrap_where_one_row_is_taken_at_a_time():
    weights = np.zeros((4, 32), int)
    weights[:, [2, 10]] = -128
    x = np.full((4, 32), 1.0, F)
    x[:, [2, 10]] = 0.0  # nothing is below zero: zero is quantized to -128
    prepared = hybrid(weights, "litert-reference-arm64", scale=1.0, asymmetric_quantize_inputs=True)
    one, four = prepared.evaluate([x[:1]]), prepared.evaluate([x])
    assert set(four["dot"].reshape(-1).tolist()) == {32768}
    assert set(one["dot"].reshape(-1).tolist()) == {-32768}
    (note,) = [note for note in prepared.notes if "-128" in note]
    assert "4 pairs" in note
    explanation = lastbit.explain(
        hybrid_model(weights, scale=1.0, asymmetric_quantize_inputs=True), x[:1], runtime="litert-reference-arm64"
    )
    assert sum(explanation.products) == -32768


@pytest.mark.parametrize("runtime", ARM64)
@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("rows", [1, 4])
def test_explain_shows_the_operations_that_the_kernel_does(runtime, dtype, rows):
    rng = np.random.default_rng(3)
    weights, bias = rng.integers(-7, 8, (6, 32)), rng.normal(size=6)
    model = hybrid_model(weights, scale=rng.uniform(0.01, 0.02, 6), bias=bias, dtype=dtype, rows=rows)
    for unit in (0, 5):
        explanation = lastbit.explain(model, runtime=runtime, at=(0, unit))
        steps = {step.name: step for step in explanation.steps}
        assert steps["output"].value == explanation.output
        fused = "fma" in steps["with_bias"].formula
        if runtime == "litert-xnnpack-arm64-neon":
            assert fused
            assert "scaled" in steps
            continue
        assert fused == ("scaled" not in steps)
        if runtime == "litert-xnnpack-arm64-sme":
            assert fused == (rows == 1)
        elif "xnnpack" in runtime:
            assert not fused
            assert ("weights_scale" in steps) == (dtype == "int4")
        elif dtype == "int8" or "reference" in runtime:
            assert fused == (rows == 1 or runtime.endswith("-neon"))
        else:
            assert "fma" in steps["correction"].formula
        assert steps["with_bias"].exact or "correction" in steps
        json.loads(explanation.json())


@pytest.mark.parametrize("runtime", ARM64)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "reference"])
def test_fast_engines_take_the_loop_that_the_number_of_rows_asks_for(engine, runtime):
    if not ENGINES[engine]():
        pytest.skip(f"{engine} needs what is not installed")
    rng = np.random.default_rng(7)
    for dtype, depth in (("int8", 32), ("int4", 64)):
        weights = rng.integers(-7, 8, (16, depth))
        model = hybrid_model(weights, scale=rng.uniform(0.01, 0.02, 16), bias=rng.normal(size=16), dtype=dtype)
        for rows in (1, 2, 4, 6, 8, 16, 40):
            x = rng.normal(size=(rows, depth)).astype(F)
            wanted = lastbit.run(model, x, runtime).output
            for threads in (1, 2):
                found = lastbit.build(model, runtime, engine=engine, threads=threads).outputs(x)[0]
                assert same_bits(found, wanted).all(), (dtype, rows, threads)


def test_eight_products_at_a_time_are_rounded_and_the_rest_is_fused():
    rng = np.random.default_rng(2)
    one = F(1 + 2**-12)
    for depth, fused in ((1, True), (8, False), (9, True)):
        weights = np.zeros((1, depth), F)
        weights[0, -1] = one
        if depth == 9:
            weights[0, 0] = -one
        graph = dense_subgraph(
            weights,
            input_quant=None,
            weights_quant=None,
            output_quant=None,
            input_shape=(1, depth),
            input_dtype="float32",
            weights_dtype="float32",
            bias_dtype="float32",
        )
        model = load(write(replace(graph, operators=(replace(graph.operators[0], version=1),))))
        x = np.asarray(rng.normal(size=(1, depth)), F)
        x[0, [0, -1]] = one
        prepared = prepare_operator(model, model.operators[0], "litert-reference-arm64")
        found = float(prepared.evaluate([x])["output"][0, 0])
        rounded = exact(one * one)
        if depth == 9:  # -round(one * one) + one * one: what was rounded off is left where the last step is fused
            assert fused == (found != 0)
            assert found == round32(exact(one) * exact(one) - rounded)
        else:
            assert found == float(rounded)
