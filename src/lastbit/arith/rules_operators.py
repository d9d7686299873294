"""The requantization rules of convolutions and matrix products: those of dense layers, as far as a kernel has them."""

from __future__ import annotations

from .cpu_rules import CPU_RULES
from .requantize import RequantRule
from .rules_int16 import RULES_INT16

__all__ = ["OPERATOR_REQUANT_RULES"]

_SATURATING = "float32-half_even-saturate"

OPERATOR_REQUANT_RULES: dict[str, RequantRule] = {**RULES_INT16, _SATURATING: CPU_RULES[_SATURATING]}
"""Rivals of each other."""
