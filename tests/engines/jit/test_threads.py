"""Helpers that do shares of a call: asleep, awake, and slower than their caller."""

import sys
import time

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

from lastbit.engines.jit import matmul, threads

LONGER_THAN_A_HELPER_LOOKS_OUT = 0.02


@pytest.fixture
def chain_and_rows():
    rng = np.random.default_rng(5)
    x, w = (rng.integers(-128, 128, shape, np.int8) for shape in ((4000, 64), (96, 64)))
    chain = matmul.Chain([matmul.pack(w)])
    chain._prepare(len(x))
    return chain, x, x.astype(np.int32) @ w.T.astype(np.int32)


def _share(chain, x):
    return threads.Share(chain._take(), x, len(x), np.full((len(x), 96), 7, np.int32))


@pytest.mark.parametrize("pause", [0, LONGER_THAN_A_HELPER_LOOKS_OUT])
def test_a_helper_does_one_part_after_the_other_awake_or_asleep(chain_and_rows, pause):
    chain, x, wanted = chain_and_rows
    helper = threads._Helper()
    for _ in range(5):
        time.sleep(pause)
        share = _share(chain, x[:3])
        helper.post(share)
        assert helper.finish() == 0
        np.testing.assert_array_equal(share.out, wanted[:3])
    time.sleep(pause)
    helper.end()
    assert not helper._thread.is_alive()


def test_the_caller_sleeps_where_a_helper_takes_long(chain_and_rows):
    chain, x, wanted = chain_and_rows
    for _ in range(3):
        shares = [_share(chain, x[:1]), _share(chain, x), _share(chain, x)]
        assert threads.together(shares) == 0
        for share in shares:
            np.testing.assert_array_equal(share.out, wanted[: share.rows])


def test_nothing_holds_the_arrays_of_a_call_that_is_over(chain_and_rows):
    chain, x, _ = chain_and_rows
    shares = [_share(chain, x[:50]), _share(chain, x[:50])]
    counts = [sys.getrefcount(share.out) for share in shares]
    threads.together(shares)
    assert [sys.getrefcount(share.out) for share in shares] == counts
