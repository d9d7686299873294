"""20,000 structured mutants of small models: only LastBit's own errors come out, and no NumPy warning."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from functools import cache

import pytest

from lab.cases.mutants import Mutants, exercise

PARTS, EACH = 16, 1250


@cache
def supply() -> Mutants:
    return Mutants(0)


@pytest.mark.parametrize("part", range(PARTS))
def test_only_errors_of_lastbit_come_out(part):
    mutants = supply().seeded(part)
    came: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, content in enumerate(itertools.islice(mutants, EACH)):
            came[exercise(content, shown=number % 8 == 0)] += 1
    assert came.total() == EACH
    # Mutants that all break early would test the reader only.
    assert came["ran"] > EACH // 10
    assert came["opened"] > EACH // 10
