"""A float32 layer's rule in words: its equation in one line."""

from __future__ import annotations

from typing import assert_never

from .forms import ByUnits, FloatRule

__all__ = ["choice_equation", "equation"]


def equation(rule: FloatRule) -> str:
    """The rule in one line of text."""
    start, last = ("bias", "y = clamp(t)") if rule.bias == "first" else ("0", "y = clamp(t + bias)")
    match rule.order:
        case "four_lanes":
            parts = [
                "four sums side by side, sum i = x_k * w_k for k = i, i + 4, ..., each product and sum rounded, sum 0 "
                "begins at the bias",
                "y = clamp((sum 0 + sum 2) + (sum 1 + sum 3))",
            ]
        case "one_by_one":
            parts = [f"t = {start}", *_products(rule), last]
        case never:
            assert_never(never)
    match rule.clamp:
        case "value_first":
            nan = ""
        case "bound_first":
            nan = "NaN becomes the lower clamp bound"
        case "high_first":
            nan = "NaN becomes the upper bound"
        case never_clamp:
            assert_never(never_clamp)
    tiny = "subnormals are read and written as zero" if rule.flush else ""
    if rule.order == "four_lanes":
        parts[-1] = ", ".join(part for part in (parts[-1], nan) if part)
        nan = ""
    parts[-1] = "; ".join(part for part in (parts[-1], tiny) if part)
    return ";  ".join(part for part in (*parts, nan) if part)


def _products(rule: FloatRule) -> list[str]:
    places = "for k = 0, 1, ..."
    match rule.fused:
        case "all":
            return [f"t = fma(x_k, w_k, t) {places}"]
        case "none":
            return [f"t = t + x_k * w_k {places}, each product and sum rounded"]
        case "tail":
            rounded = f"t = t + x_k * w_k {places}, each product and sum rounded"
            return [f"{rounded}, except for the last depth % 8: t = fma(x_k, w_k, t)"]
        case never:
            assert_never(never)


def choice_equation(choice: ByUnits) -> str:
    """Both rules of a choice in one line; that of wide layers by its name."""
    return f"{choice.least} units or more: as {choice.wide.name};  fewer: {equation(choice.narrow)}"
