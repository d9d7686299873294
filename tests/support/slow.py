"""Tests that take more than about a second on a quiet core: `pytest -m "not slow"` leaves them out.

Measured with `--durations=0`, never inside a test. A name stands for all of its parameters.
"""

from __future__ import annotations

SLOW: frozenset[str] = frozenset(
    {
        "cli/test_optimized.py::test_verbs_print_the_same",
    }
)
