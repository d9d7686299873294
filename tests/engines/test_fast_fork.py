"""The compiled engine in children of os.fork: they have none of their parent's threads."""

import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

import lastbit
from tests.support.models import make_dense_model

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork")
SECONDS = 60


def _executable_and_input():
    model = make_dense_model(40, 30)
    return lastbit.build(model, "tflm", engine="jit", threads=2), np.ones((500, 30), np.int8)


def _in_child(work):
    """Exit code of a child that does `work`; None where it did not end in time."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_two_threads_work_in_a_child_that_was_forked_after_the_first_use():
    executable, x = _executable_and_input()
    wanted = executable(x)

    def work():
        np.testing.assert_array_equal(executable(x), wanted)

    def work_and_fork():
        work()
        assert _in_child(work) == 0

    assert _in_child(work) == 0
    assert _in_child(work_and_fork) == 0
    np.testing.assert_array_equal(executable(x), wanted)


EXECUTABLE = None


def _sum(number):
    return int(EXECUTABLE(np.full((500, 30), number, np.int8)).astype(np.int64).sum())


@needs_fork
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS ends forked children that use system libraries")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_pool_of_forked_processes_works():
    global EXECUTABLE
    EXECUTABLE, _ = _executable_and_input()
    wanted = [_sum(number) for number in range(6)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_sum, range(6)).get(SECONDS) == wanted
