"""Exact products through BLAS."""

import warnings

import numpy as np

from lastbit.arith.matmul import integer_product


def test_a_flag_of_blas_is_no_warning():
    """NumPy looks at the processor's flags behind BLAS, whoever raised them: here a value that is not a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = integer_product(np.asarray([[np.inf, 1.0]]), np.asarray([[0.0], [1.0]]))
    assert np.isnan(found).all()


def test_integers_are_exact(rng):
    first, second = rng.integers(-1000, 1000, (9, 40)), rng.integers(-1000, 1000, (40, 7))
    found = integer_product(first.astype(np.float64), second.astype(np.float64))
    np.testing.assert_array_equal(found.astype(np.int64), first @ second)
