"""Float32 dense layers and the float arithmetic below them. Golden files: test_dense_golden.py."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastbit.arith.exact_floats import nearest_float32
from lastbit.arith.floats import clamp_bound_first, clamp_value_first, fma32, multiply32, round_away32
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph
from lastbit.ops.prepare import prepare_operator
from tests.support.interpreters import XNNPACK, needs_all_interpreters

F = np.float32
TINY = 2.0**-126
floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def float_layer(weights, runtime, *, bias=None, rows=1, activation="NONE"):
    weights = np.asarray(weights, F)
    graph = dense_subgraph(
        weights,
        input_quant=None,
        weights_quant=None,
        output_quant=None,
        bias=None if bias is None else np.asarray(bias, F),
        input_shape=(rows, weights.shape[1]),
        activation=activation,
        input_dtype="float32",
        weights_dtype="float32",
        bias_dtype="float32",
    )
    model = load(write(graph))
    return prepare_operator(model, model.operators[0], runtime)


def held(found, exact, flush=False):
    """Whether a float32 is what an exact value rounds to."""
    wanted = nearest_float32(exact, flush)
    if wanted is None:
        return np.isinf(found) and (found > 0) == (exact > 0)
    return Fraction(float(found)) == wanted


@settings(max_examples=400, deadline=None)
@given(floats32, floats32, floats32, st.booleans())
@example(1 + 2**-12, 1 + 2**-12, -(1 + 2**-11), False)
@example(2.0**-75, 2.0**-75, 0.0, False)  # a tie between zero and the smallest subnormal
@example(2.0**-63, 2.0**-63 * (1 - 2**-24), 0.0, True)  # nearest to 2^-126, yet tiny
@example(2.0**-70, 2.0**-70, 1.0, False)
def test_fma_rounds_once(a, b, c, flush):
    if flush and any(0 < abs(v) < TINY for v in (a, b, c)):
        return
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    assert held(fma32(F(a), F(b), F(c), flush)[()], exact, flush)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**24), st.integers(1, 2**24), st.integers(-90, 40), st.integers(-2, 2))
def test_fma_next_to_ties(a, b, exponent, beside):
    """The product and an addend that takes it to a tie of float32, or one unit of the product beside it."""
    product = Fraction(a * b) * Fraction(2) ** exponent
    nearest = nearest_float32(product)
    assert nearest is not None
    step = Fraction(2) ** (max(product.numerator.bit_length() - product.denominator.bit_length(), -140) - 24)
    addend = nearest_float32(nearest + step - product + beside * Fraction(2) ** exponent)
    x, y, z = F(a), F(float(b * 2.0**exponent)), F(float(addend))
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    assert held(fma32(x, y, z)[()], exact)


@settings(max_examples=300, deadline=None)
@given(floats32, floats32, st.booleans())
@example(2.0**-63, 2.0**-63 * (1 - 2**-24), True)
def test_multiplication_and_its_flush(a, b, flush):
    exact = Fraction(float(F(a))) * Fraction(float(F(b)))
    assert held(multiply32(F(a), F(b), flush)[()], exact, flush)


def test_flush_looks_at_the_rounding_with_an_unbounded_exponent():
    # 2^-126 * (1 - 2^-25) is a tie that 24 bits round to 2^-126; a little less is tiny, though it is
    # nearer to 2^-126 than to any subnormal.
    half = F(2.0**-63)
    just_tiny = F(2.0**-63 * (1 - 2.0**-24))
    assert multiply32(half, just_tiny, flush=True) == 0
    assert multiply32(half, just_tiny) == F(TINY)
    assert multiply32(half, half, flush=True) == F(TINY)


def test_fma_keeps_ieee_specials():
    with np.errstate(all="ignore"):
        assert np.isnan(fma32(F(np.inf), F(0), F(1)))
        assert fma32(F(np.inf), F(1), F(1)) == np.inf
        assert np.signbit(fma32(F(-0.0), F(1), F(-0.0)))
        assert not np.signbit(fma32(F(-0.0), F(1), F(0.0)))
        assert fma32(F(3e38), F(3e38), F(0)) == np.inf


def test_rounding_and_clamps_at_their_ends():
    assert round_away32(F([0.49999997, -0.5, 8388607.5])).tolist() == [0.0, -1.0, 8388608.0]
    specials = F([np.nan, -0.0, -np.inf, np.inf])
    assert clamp_bound_first(specials, "RELU").tolist() == [0, 0, 0, np.inf]
    assert not np.signbit(clamp_bound_first(specials, "RELU")[1])
    kept = clamp_value_first(specials, "RELU_N1_TO_1")
    assert np.isnan(kept[0])
    assert np.signbit(kept[1])
    assert kept[2:].tolist() == [-1, 1]
    assert clamp_bound_first(specials, "NONE", always=True)[0] == -np.inf


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_orders_of_summation_equal_a_twin_in_fractions(seed, depth):
    rng = np.random.default_rng(seed)
    x, w, bias = rng.normal(size=depth).astype(F), rng.normal(size=(1, depth)).astype(F), rng.normal(size=1).astype(F)
    exact = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, w[0], strict=True)]
    fused, plain = Fraction(float(bias[0])), Fraction(0)
    for product in exact:
        fused = nearest_float32(fused + product)
        plain = nearest_float32(plain + nearest_float32(product))
    plain = nearest_float32(plain + Fraction(float(bias[0])))
    for runtime, wanted in (("litert-xnnpack", fused), ("litert-reference", plain), ("tflm", plain)):
        assert float_layer(w, runtime, bias=bias).evaluate([x[None]])["output"].item() == float(wanted)


def test_infinities_are_limited_where_the_kernel_limits_them():
    x = F([[np.inf, 1.0]])
    for runtime, wanted in (("litert-xnnpack", np.inf), ("litert-reference", np.finfo(F).max), ("tflm", 3.4028235e38)):
        assert float_layer([[1, 1]], runtime).evaluate([x])["output"].item() == F(wanted)
        assert float_layer([[1, 1]], runtime, activation="RELU6").evaluate([x])["output"].item() == 6


def test_xnnpack_flushes_subnormals_and_the_others_do_not():
    x, small = F([[1.0]]), 1e-40
    assert float_layer([[small]], "litert-xnnpack").evaluate([x])["output"].item() == 0
    assert float_layer([[1.0]], "litert-xnnpack", bias=[small]).evaluate([0 * x])["output"].item() == 0
    assert float_layer([[small]], "litert-reference").evaluate([x])["output"].item() == float(F(small))


def test_the_builtin_kernel_is_refused_as_not_exact():
    with pytest.raises(UnsupportedError, match="not exact"):
        float_layer([[1.0, 2.0]], "litert-builtin-x86")


@needs_all_interpreters
def test_every_runtime_equals_its_interpreter_on_every_family():
    from lab.cases import dense_float
    from lab.collect.dense import Tally
    from lastbit.oracles import open_oracle

    for runtime in (XNNPACK, "litert-reference", "tflm"):
        tally = Tally()
        with open_oracle(runtime) as oracle:
            for case in dense_float.all_cases(123, 3):
                tally.compare(case, oracle, dense_float.rivals)
        assert tally.first_mismatch == ""
        assert sum(tally.outputs.values()) > 10_000
