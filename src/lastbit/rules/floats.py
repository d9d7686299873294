"""The rules of dense layers that are float32 throughout: an order of operations, as data, and the table of them.

Two rules are equal if their fields are; names and equations are printed, and never read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .requantize.forms import no_meaning

__all__ = ["FLOAT_RULES", "FloatRule"]


@dataclass(frozen=True)
class FloatRule:
    """One way of calculating a float32 layer.

    Attributes:
        name: what users know it by.
        equation: the rule in one line of text.
        order: whether products are added one by one, or in four sums side by side.
        fused: whether a product and its addition are rounded once: in all places, in the last `depth % 8`, or in none.
        bias: whether the sum begins with it, or it is added at last.
        flush: whether subnormals are read and written as zero.
        ends: what an activation without ends limits to: `infinite`, or the largest `finite` float32.
        clamp: which operand wins where a comparison with NaN fails: the value, the bound, or the bound with the upper
            one first.
        narrow: the rule of layers with fewer units than `narrow_units`, where that is another one.
        narrow_units: see `narrow`.
    """

    name: str = field(compare=False)
    equation: str = field(compare=False, repr=False)
    order: Literal["one_by_one", "four_lanes"]
    fused: Literal["all", "tail", "none"]
    bias: Literal["first", "last"]
    flush: bool
    ends: Literal["infinite", "finite"]
    clamp: Literal["value_first", "bound_first", "high_first"]
    narrow: FloatRule | None = None
    narrow_units: int = 0

    def __post_init__(self) -> None:
        if self.order == "four_lanes" and (self.fused, self.bias, self.flush) != ("none", "first", True):
            raise no_meaning(self, "the four sums are those of one kernel, which begins with the bias and flushes")
        if self.fused != "all" and self.bias == "first" and self.order == "one_by_one":
            raise no_meaning(self, "no kernel is known that rounds every product and begins with the bias")
        if (self.narrow is None) != (self.narrow_units == 0):
            raise no_meaning(self, "a rule of narrow layers needs to know what is narrow")


_ORDER = "t = 0;  t = t + x_k * w_k for k = 0, 1, ..., each product and sum rounded"
_FUSED = "t = bias;  t = fma(x_k, w_k, t) for k = 0, 1, ...;  y = clamp(t); subnormals are read and written as zero"

_FOUR_LANES = FloatRule(
    "float32-four_lanes-bias_first",
    "four sums side by side",
    "four_lanes",
    "none",
    "first",
    True,
    "infinite",
    "high_first",
)

FLOAT_RULES: dict[str, FloatRule] = {
    rule.name: rule
    for rule in (
        FloatRule("float32-fma-bias_first", _FUSED, "one_by_one", "all", "first", True, "infinite", "value_first"),
        FloatRule(
            "float32-in_order-fma_tail-bias_last",
            f"{_ORDER}, but for the last depth % 8: t = fma(x_k, w_k, t);  y = clamp(t + bias)",
            "one_by_one",
            "tail",
            "last",
            False,
            "finite",
            "value_first",
        ),
        FloatRule(
            "float32-in_order-bias_last",
            f"{_ORDER};  y = clamp(t + bias)",
            "one_by_one",
            "none",
            "last",
            False,
            "finite",
            "value_first",
        ),
        # Fewer units than the matrix product's kernel has columns: XNNPACK took one of two columns for them.
        FloatRule(
            "float32-fma-or-four_lanes",
            "16 units or more: as float32-fma-bias_first;  fewer: four sums side by side, sum i = x_k * w_k for "
            "k = i, i + 4, ..., each product and sum rounded, sum 0 begins at the bias;  y = clamp((sum 0 + sum 2) + "
            "(sum 1 + sum 3)), NaN becomes the upper bound; subnormals are read and written as zero",
            "one_by_one",
            "all",
            "first",
            True,
            "infinite",
            "value_first",
            narrow=_FOUR_LANES,
            narrow_units=16,
        ),
        FloatRule(
            "float32-fma-bias_first-bound_first",
            f"{_FUSED};  NaN becomes the lower clamp bound",
            "one_by_one",
            "all",
            "first",
            True,
            "infinite",
            "bound_first",
        ),
    )
}
"""Name -> rule."""
