"""The float32 calculations of one element of a hybrid layer, each with its exact value before it was rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, assert_never

import numpy as np

from ...arith.exact_floats import nearest_float32
from ...arith.floats import multiply32
from ...ops.dense.hybrid import PreparedHybrid
from ...rules.hybrid.forms import Finish

__all__ = ["HybridStep", "hybrid_steps"]


@dataclass(frozen=True)
class HybridStep:
    """One calculation in float32.

    Attributes:
        name: the step's name, as in the trace where it is there.
        formula: with names.
        numbers: the same with numbers.
        value: the result.
        exact: the result before it was rounded to float32, where that is a finite number, as text; else empty.
    """

    name: str
    formula: str
    numbers: str
    value: float
    exact: str = ""


def hybrid_steps(prepared: PreparedHybrid, t: Mapping[str, Any], unit: int, any_input: bool) -> list[HybridStep]:
    """Every calculation in float32 of one element, from the row's scale to the output."""
    w_scale = prepared.weights_scale[unit if prepared.weights_scale.size > 1 else 0]
    bias = np.float32(0) if prepared.bias is None else prepared.bias[unit]
    steps = [_row_scale(prepared, t)]
    if prepared.nibbles:
        steps += _nibble_steps(prepared, t, w_scale, bias)
    else:
        finish = prepared.arithmetic.finish_of(unit, prepared.layer.units)
        match finish.order:
            case "row_first":
                steps += _one_by_one(finish, t, ("s_row", t["input_scale"]), ("s_w", w_scale), bias)
            case "weights_first":
                steps += _one_by_one(finish, t, ("s_w", w_scale), ("s_row", t["input_scale"]), bias)
            case "scales_first":
                steps += _scales_first(prepared, finish, t, w_scale, bias)
            case never:
                assert_never(never)
        if finish.zeros == "skipped" and not any_input:
            text = "the whole input is zeros: nothing is multiplied"
            steps[-1] = HybridStep("with_bias", "bias", text, float(bias))
    text = f"activation {prepared.layer.activation}"
    steps.append(HybridStep("output", "clamp(with_bias)", text, float(t["output"])))
    return steps


def _row_scale(prepared: PreparedHybrid, t: Mapping[str, Any]) -> HybridStep:
    low, high, scale = (float(t[name]) for name in ("range_low", "range_high", "input_scale"))
    match prepared.rows.range:
        case "largest" | "largest_or_127":
            text = "max(|low|, |high|) / 127"
        case "ends" | "ends_in_float64":
            text = "float32(high - low) / 255"
        case "flushed" | "flushed_arm":
            text = "float32(1 / float32(255 / float32(high - low)))"
        case never:
            assert_never(never)
    return HybridStep("input_scale", text, f"low = {low!r}, high = {high!r}", scale)


def _one_by_one(
    finish: Finish,
    t: Mapping[str, Any],
    first: tuple[str, np.float32],
    second: tuple[str, np.float32],
    bias: np.float32,
) -> list[HybridStep]:
    """One scale, then the other, each with its name."""
    acc, (name, scale), (last, factor) = int(t["acc"]), first, second
    flush, arm = finish.flush != "none", finish.flush == "arm"
    scaled = np.float32(t.get("scaled", multiply32(np.float32(acc), scale, flush, arm)))
    numbers = f"float32({acc}) * {float(scale)!r}"
    steps = [_rounded("scaled", f"float32(acc) * {name}", numbers, [(np.float32(acc), scale)], scaled)]
    product, one = f"{float(scaled)!r} * {float(factor)!r}", np.float32(1)
    if finish.fused:
        terms = [(scaled, factor), (bias, one)]
        text, formula = f"{product} + {float(bias)!r}", f"fma(scaled, {last}, bias), rounded once"
        return [*steps, _rounded("with_bias", formula, text, terms, t["with_bias"])]
    multiplied = np.float32(multiply32(scaled, factor, flush, arm))
    steps.append(_rounded("product", f"scaled * {last}", product, [(scaled, factor)], multiplied))
    return [*steps, _added("product", multiplied, bias, t["with_bias"])]


def _scales_first(
    prepared: PreparedHybrid, finish: Finish, t: Mapping[str, Any], w_scale: np.float32, bias: np.float32
) -> list[HybridStep]:
    """The product of both scales first."""
    steps = []
    units, name = int(t["acc"]), "acc"
    if prepared.int4 and finish.int4 == "sixteenfold":
        # The kernel's sums are sixteen times as large, its weights' scales a sixteenth.
        units, name = 16 * units, "16 * acc"
        w_scale = np.float32(multiply32(w_scale, np.float32(0.0625)))
        value = float(w_scale)
        steps.append(HybridStep("weights_scale", "s_w / 16", f"{16 * value!r} / 16", value))
    scale = t["input_scale"]
    factor = np.float32(multiply32(w_scale, scale, finish.flush != "none", finish.flush == "arm"))
    text = f"{float(w_scale)!r} * {float(scale)!r}"
    steps.append(_rounded("factor", "s_w * s_row", text, [(w_scale, scale)], factor))
    text, term = f"float32({units}) * {float(factor)!r}", (np.float32(units), factor)
    if "scaled" in t:
        steps.append(_rounded("scaled", f"float32({name}) * factor", text, [term], t["scaled"]))
        return [*steps, _added("scaled", t["scaled"], bias, t["with_bias"])]
    formula, terms = "fma(float32(acc), factor, bias), rounded once", [term, (bias, np.float32(1))]
    return [*steps, _rounded("with_bias", formula, f"{text} + {float(bias)!r}", terms, t["with_bias"])]


def _added(name: str, value: np.float32, bias: np.float32, total: np.float32) -> HybridStep:
    terms = [(bias, np.float32(1)), (value, np.float32(1))]
    return _rounded("with_bias", f"bias + {name}", f"{float(bias)!r} + {float(value)!r}", terms, total)


def _nibble_steps(
    prepared: PreparedHybrid, t: Mapping[str, Any], w_scale: np.float32, bias: np.float32
) -> list[HybridStep]:
    """Those of the 4-bit kernels; the one for ARM64 has fused multiply-adds."""
    correction, scaled, with_bias = (float(t[name]) for name in ("correction", "scaled", "with_bias"))
    product = f"(float32({int(t['dot'])}) * {float(t['input_scale'])!r}) * {float(w_scale)!r}"
    nibbles = prepared.arithmetic.nibbles
    if nibbles is None or not nibbles.fused:
        text = f"({correction!r} + {float(bias)!r}) + {scaled!r}"
        return [
            HybridStep("correction", "(float32(-7 * sum(q)) * s_row) * s_w", "", correction),
            HybridStep("scaled", "(float32(dot) * s_row) * s_w", product, scaled),
            HybridStep("with_bias", "(correction + bias) + scaled", text, with_bias),
        ]
    steps = [HybridStep("correction", "fma(float32(-7 * sum(q)) * s_row, s_w, bias)", "", correction)]
    part = np.float32(np.float32(int(t["dot"])) * t["input_scale"])
    together = np.float32(t["scaled"] + t["correction"])
    if together == t["with_bias"] or np.isnan(together):
        steps.append(HybridStep("scaled", "(float32(dot) * s_row) * s_w", product, scaled))
        steps.append(HybridStep("with_bias", "correction + scaled", f"{correction!r} + {scaled!r}", with_bias))
    else:
        text = f"{float(part)!r} * {float(w_scale)!r} + {correction!r}"
        terms = [(part, w_scale), (t["correction"], np.float32(1))]
        formula = "fma(float32(dot) * s_row, s_w, correction), rounded once"
        steps.append(_rounded("with_bias", formula, text, terms, t["with_bias"]))
    return steps


def _rounded(
    name: str, formula: str, numbers: str, terms: Sequence[tuple[np.float32, np.float32]], value: np.float32
) -> HybridStep:
    """A step that rounds a sum of products once, with its exact value, compared with the slow twin."""
    if not all(np.isfinite(f) for pair in terms for f in pair):
        return HybridStep(name, formula, numbers, float(value))
    exact = sum((Fraction(float(a)) * Fraction(float(b)) for a, b in terms), Fraction(0))
    subnormal = abs(exact) < Fraction(2) ** -125 or any(0 < abs(float(f)) < 2.0**-126 for pair in terms for f in pair)
    if not subnormal and np.isfinite(value) and nearest_float32(exact) != Fraction(float(value)):
        raise RuntimeError(
            f"{name}: the engine gives {float(value)!r}, exact arithmetic another float32. This is a fault in "
            "LastBit, not in your model: please report it, with the model."
        )
    return HybridStep(name, formula, numbers, float(value), _exact_text(exact))


def _exact_text(value: Fraction) -> str:
    """A binary fraction in decimal, 34 significant digits, with dots where it goes on."""
    digits = Context(prec=34).divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{digits}{'' if Fraction(digits) == value else '...'}"
