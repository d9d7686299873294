"""The float32 calculations of one element of a hybrid layer, each with its exact value before it was rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ..arith.exact_floats import nearest_float32
from ..arith.floats import multiply32
from ..ops.dense_hybrid import PreparedHybrid
from ..ops.hybrid_finish import (
    finish_fma,
    finish_fma_bound_first,
    finish_fma_neon,
    finish_kleidiai,
    finish_neon_nibbles,
)

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
    flush = prepared.finish in (finish_fma, finish_fma_bound_first, finish_fma_neon)
    kleidiai = prepared.finish is finish_kleidiai
    w_scale = prepared.weights_scale[unit if prepared.weights_scale.size > 1 else 0]
    bias = np.float32(0) if prepared.bias is None else prepared.bias[unit]
    low, high, scale = (float(t[name]) for name in ("range_low", "range_high", "input_scale"))
    steps = []
    if prepared.asymmetric:
        whole = flush or kleidiai
        text = "float32(1 / float32(255 / float32(high - low)))" if whole else "float32(high - low) / 255"
        steps.append(HybridStep("input_scale", text, f"low = {low!r}, high = {high!r}", scale))
    else:
        steps.append(HybridStep("input_scale", "max(|low|, |high|) / 127", f"low = {low!r}, high = {high!r}", scale))
    acc, fused = int(t["acc"]), "scaled" not in t
    if prepared.nibbles:
        steps += _nibble_steps(prepared, t, w_scale, bias)
    elif flush:
        scaled = t["scaled"]
        text = f"float32({acc}) * {scale!r}"
        steps.append(_rounded("scaled", "float32(acc) * s_row", text, [(np.float32(acc), t["input_scale"])], scaled))
        text = f"{float(scaled)!r} * {float(w_scale)!r} + {float(bias)!r}"
        terms = [(scaled, w_scale), (bias, np.float32(1))]
        steps.append(_rounded("with_bias", "fma(scaled, s_w, bias), rounded once", text, terms, t["with_bias"]))
    else:
        units, name = acc, "acc"
        if kleidiai and prepared.layer.weights.dtype.name == "int4":
            # The kernel's sums are sixteen times as large, its weights' scales a sixteenth.
            units, name = 16 * acc, "16 * acc"
            w_scale = np.float32(multiply32(w_scale, np.float32(0.0625)))
            value = float(w_scale)
            steps.append(HybridStep("weights_scale", "s_w / 16", f"{16 * value!r} / 16", value))
        factor = np.float32(multiply32(w_scale, t["input_scale"], kleidiai, kleidiai))
        text = f"{float(w_scale)!r} * {scale!r}"
        steps.append(_rounded("factor", "s_w * s_row", text, [(w_scale, t["input_scale"])], factor))
        if not fused:
            text = f"float32({units}) * {float(factor)!r}"
            terms = [(np.float32(units), factor)]
            steps.append(_rounded("scaled", f"float32({name}) * factor", text, terms, t["scaled"]))
        if fused:
            text = f"float32({units}) * {float(factor)!r} + {float(bias)!r}"
            terms = [(np.float32(units), factor), (bias, np.float32(1))]
            formula = "fma(float32(acc), factor, bias), rounded once"
            steps.append(_rounded("with_bias", formula, text, terms, t["with_bias"]))
        elif any_input or kleidiai:
            text = f"{float(bias)!r} + {float(t['scaled'])!r}"
            terms = [(bias, np.float32(1)), (t["scaled"], np.float32(1))]
            steps.append(_rounded("with_bias", "bias + scaled", text, terms, t["with_bias"]))
        else:
            text = "the whole input is zeros: nothing is multiplied"
            steps.append(HybridStep("with_bias", "bias", text, float(bias)))
    text = f"activation {prepared.layer.activation}"
    steps.append(HybridStep("output", "clamp(with_bias)", text, float(t["output"])))
    return steps


def _nibble_steps(
    prepared: PreparedHybrid, t: Mapping[str, Any], w_scale: np.float32, bias: np.float32
) -> list[HybridStep]:
    """Those of the 4-bit kernels; the one for ARM64 has fused multiply-adds."""
    correction, scaled, with_bias = (float(t[name]) for name in ("correction", "scaled", "with_bias"))
    product = f"(float32({int(t['dot'])}) * {float(t['input_scale'])!r}) * {float(w_scale)!r}"
    if prepared.finish is not finish_neon_nibbles:
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
    """A step that rounds a sum of products once, with its exact value, held against the slow twin."""
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
