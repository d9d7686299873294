"""What the finishing of hybrid layers is told: paired sums of weights, and rows without subnormal results."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

from lastbit.engines.jit.hybrid_forms import least_scale, paired

SMALLEST = Fraction(2) ** -126


def test_pairs_times_a_zero_point_subtract_its_part():
    edges = [0, 1, -1, 255, 256, -256, -257, 2**23 - 1, 1 - 2**23]
    sums = np.asarray([*edges, *np.random.default_rng(0).integers(1 - 2**23, 2**23, 500)])
    low, high = paired(sums).view(np.int16).reshape(-1, 2).astype(np.int64).T
    for zero in (-128, -1, 0, 7, 127):
        np.testing.assert_array_equal(zero * low + np.int16(256 * zero) * high, -zero * sums)


def random_floats(rng, exponents, count):
    """Float32 of random bits behind the point, with these exponents."""
    return (rng.uniform(1, 2, count) * 2.0 ** rng.integers(*exponents, count)).astype(np.float32)


@pytest.mark.parametrize("exponents", [(-30, -20), (-70, -60), (-3, 3)])
def test_no_result_is_subnormal_from_the_least_scale_on(exponents):
    rng = np.random.default_rng(2)
    factor = random_floats(rng, exponents, 400)
    least = least_scale(factor, np.zeros(0, np.float32))
    below = 0
    for scale in (least, np.float32(least * np.float32(2.0**-46))):
        scaled = (rng.integers(1, 2000, 400).astype(np.float32) * scale).astype(np.float32)
        # An addend that cancels the product but for its last bits.
        addend = -(factor * scaled).astype(np.float32)
        enough = scale >= least_scale(factor, addend)
        exact = [
            abs(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
            for a, b, c in zip(scaled, factor, addend, strict=True)
        ]
        small = sum(0 < value < SMALLEST for value in exact)
        assert not (enough and small)
        below += small
    assert below


def test_tiny_addends_make_every_row_unusual():
    assert least_scale(np.ones(1, np.float32), np.asarray([2.0**-110], np.float32)) == np.inf
    assert np.isfinite(least_scale(np.ones(1, np.float32), np.asarray([2.0**-102, 0], np.float32)))
