"""Every rule of float32 layers that a runtime follows, one line each."""

from __future__ import annotations

from dataclasses import replace

from ..base import text_of_fields
from .forms import ByUnits, FloatRule

__all__ = ["FLOAT_CHOICES", "FLOAT_RULES", "line_of"]

_FUSED = FloatRule("float32-fma-bias_first", "one_by_one", "all", "first", True, "infinite", "value_first")
_IN_ORDER = FloatRule("float32-in_order-bias_last", "one_by_one", "none", "last", False, "finite", "value_first")
_LANES = FloatRule("float32-four_lanes-bias_first", "four_lanes", "none", "first", True, "infinite", "high_first")

FLOAT_RULES: dict[str, FloatRule] = {
    rule.name: rule
    for rule in (
        _FUSED,
        replace(_IN_ORDER, name="float32-in_order-fma_tail-bias_last", fused="tail"),
        _IN_ORDER,
        _LANES,
        replace(_FUSED, name="float32-fma-bias_first-bound_first", clamp="bound_first"),
    )
}
"""Name -> rule."""

FLOAT_CHOICES: dict[str, ByUnits] = {
    choice.name: choice
    for choice in (
        # Fewer units than the matrix product's kernel has columns: XNNPACK took one of two columns for them.
        ByUnits("float32-fma-or-four_lanes", 16, wide=_FUSED, narrow=_LANES),
    )
}
"""Name -> choice of two."""

_BY_FIELDS = {rule: rule for rule in FLOAT_RULES.values()}


def line_of(rule: FloatRule) -> FloatRule:
    """The table's line with these fields; without one, the rule by a name that is made of its fields."""
    return _BY_FIELDS.get(rule) or replace(rule, name=f"float32/{text_of_fields(rule)}")
