"""The table of hybrid rules, and its quantizers on rows that are hard for them."""

from __future__ import annotations

import numpy as np
import pytest

from lastbit.rules.floats.table import FLOAT_RULES
from lastbit.rules.hybrid import table
from lastbit.rules.hybrid.rows import quantize_rows
from lastbit.rules.hybrid.table import HYBRID_RULES
from lastbit.rules.hybrid.words import equation
from tests.support import rows_by_hand as by_hand
from tests.support.every_hybrid import hard_rows

QUANTIZERS = {
    "SSE_SYMMETRIC": by_hand.quantize_symmetric,
    "SSE_ASYMMETRIC": by_hand.quantize_asymmetric,
    "SSE_ASYMMETRIC_TAIL_32": by_hand.quantize_asymmetric_tail_32,
    "PORTABLE_SYMMETRIC": by_hand.quantize_symmetric_portable,
    "PORTABLE_ASYMMETRIC": by_hand.quantize_asymmetric_portable,
    "FOR_NIBBLES": by_hand.quantize_for_nibbles,
    "QD8": by_hand.quantize_qd8,
    "QD8_INVERTED": by_hand.quantize_qd8_inverted,
    "QD8_NAN_LOW": by_hand.quantize_qd8_nan_low,
    "NEON_SYMMETRIC": by_hand.quantize_neon_symmetric,
    "NEON_ASYMMETRIC": by_hand.quantize_neon_asymmetric,
    "NEON_FOR_NIBBLES": by_hand.quantize_neon_nibbles,
    "KLEIDIAI": by_hand.quantize_kleidiai,
    "KLEIDIAI_AWAY": by_hand.quantize_kleidiai_away,
    "QD8_NEON": by_hand.quantize_qd8_neon,
}


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("depth", [1, 5, 8, 33, 64])
def test_rows_as_data_are_the_function(name, depth):
    x = hard_rows(depth)
    with np.errstate(all="ignore"):
        wanted, found = QUANTIZERS[name](x), quantize_rows(getattr(table, name), x)
    for field in ("low", "high", "scale", "inverse", "zero_point", "scaled", "quantized"):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field), field)
        assert getattr(found, field).dtype == getattr(wanted, field).dtype


def test_every_rule_has_a_line_with_its_equation_and_no_two_are_equal():
    assert len({equation(rule) for rule in HYBRID_RULES.values()}) == 23
    assert len(set(FLOAT_RULES.values())) == len(FLOAT_RULES) == 5
    assert len(set(HYBRID_RULES.values())) == len(HYBRID_RULES) == 23
    rows = {rule.symmetric for rule in HYBRID_RULES.values()} | {rule.asymmetric for rule in HYBRID_RULES.values()}
    rows |= {rule.nibbles.rows for rule in HYBRID_RULES.values() if rule.nibbles is not None}
    assert len(rows) == len(QUANTIZERS) == 15
    assert len({rule.nibbles for rule in HYBRID_RULES.values()} - {None}) == 3
    finishes = {rule.finish for rule in HYBRID_RULES.values()}
    assert len(finishes) + len({nibbles.fused for nibbles in (table.NIBBLES, table.NIBBLES_NEON)}) == 9
