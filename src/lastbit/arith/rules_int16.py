"""The requantization rules of kernels with a 64-bit accumulator, which int16 activations have in some runtimes.

With int16 activations and a 32-bit accumulator, kernels follow `requantize.RULES`.
"""

from __future__ import annotations

from dataclasses import replace

from .requantize import RULES
from .requantize_types import RequantRule, ScaleProduct

__all__ = ["RULES_64", "RULES_INT16"]

_PRODUCTS: tuple[tuple[ScaleProduct, str], ...] = (("dd", "float64"), ("fd", "float32 then float64"))

RULES_64: dict[str, RequantRule] = {
    rule.name: rule
    for rule in (
        replace(
            RULES["float64-half_away"],
            name="float64-half_away/acc64",
            equation=f"{RULES['float64-half_away'].equation},  acc has 64 bits",
            acc_bits=64,
        ),
        *(
            RequantRule(
                f"q15-half_up/{product}",
                product,
                "q15",
                "half_away",
                "y = clamp(zy + ((acc * q15 + 2^(14-shift)) >> (15-shift))),  q15 = min((q + 2^15) >> 16, 0x7fff),  "
                f"q and shift from s_x*s_w/s_y in {precision},  acc has 64 bits",
                acc_bits=64,
            )
            for product, precision in _PRODUCTS
        ),
    )
}
"""Those on a 64-bit accumulator."""

RULES_INT16: dict[str, RequantRule] = {**RULES, **RULES_64}
"""All that layers with int16 activations could follow: rivals of each other."""
