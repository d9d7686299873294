"""A hybrid layer's rule in words: its equation in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from .forms import Finish, HybridConvolution, HybridRule, Nibbles, Rows
from .table import line_of

__all__ = ["convolution_equation", "equation"]


def equation(rule: HybridRule) -> str:
    """The rule in one line of text."""
    parts = [_weights_scale(rule)]
    if rule.nibbles is None:
        parts += [*_rows(rule), _finish(rule, rule.finish), *_notes(rule)]
    else:
        plain = line_of(replace(rule, nibbles=None, weights_scale="own"))
        parts += [_nibbles(rule.nibbles), f"depth odd or < 32, or < 4 units: as {plain.name}"]
    return ";  ".join(part for part in parts if part)


def convolution_equation(rule: HybridConvolution) -> str:
    """A hybrid convolution's rule in one line of text."""
    parts = [f"rows are whole images: {equation(rule.several)}"]
    if rule.one is not rule.several:
        parts.append(f"where all channels have one scale and there are no groups: {equation(rule.one)}")
    if rule.pixels is not None:
        same = "as above" if rule.pixels is rule.several else equation(rule.pixels)
        parts.append(f"windows of one tap with stride 1 and no groups: rows are pixels, {same}")
    if rule.one_output is not None:
        parts.append(f"other windows where an image has a single one: {equation(rule.one_output)}")
    if rule.several.pairs is not None:
        parts.append(f"pairs are of {'the whole window' if rule.pairs_across_taps else 'one tap'}")
    return ";  ".join(parts)


def _weights_scale(rule: HybridRule) -> str:
    except_nibbles = "" if rule.nibbles is None else ", but in the 4-bit kernel"
    match rule.weights_scale:
        case "own":
            return ""
        case "zero":
            return f"s_w = 0 where weights have more than one scale{except_nibbles}, so y = bias"
        case "one":
            return f"s_w = 1 where weights have more than one scale and rows are symmetric{except_nibbles}"
        case never:
            assert_never(never)


def _rows(rule: HybridRule) -> list[str]:
    """How rows are quantized; of a kernel that has two ways, the symmetric one in full."""
    if rule.always_asymmetric:
        return _one_way(rule.symmetric, "" if rule.symmetric.symmetric else "always asymmetric")
    *before, last = _one_way(rule.symmetric, "")
    exact = ""
    if rule.asymmetric.head.add == "before":
        exact = f": the range in float64, q = {_rounding(rule.asymmetric.head.tie, 'x/s_row + zp')}"
    return [*before, f"{last} (or asymmetric, as the model says{exact})"]


def _one_way(rows: Rows, asymmetric: str) -> list[str]:
    reach = "127/max|x|" if rows.symmetric else "255/(max-min)"
    inverted = rows.inverts_scale
    text = f"q = {_rounding(rows.head.tie, 'x * (1/s_row)' if inverted else f'x * {reach}')}"
    text += "" if rows.symmetric else " + zp"
    if rows.tail.tie != rows.head.tie:
        text += f", last depth % 8 {rows.tail.tie}"
    if inverted:
        return [part for part in (f"s_row = 1/({reach}), and {text}", asymmetric) if part]
    return [", ".join(part for part in (text, asymmetric) if part)]


def _rounding(tie: str, value: str) -> str:
    return f"trunc({value} +- 0.5)" if tie == "nudged" else f"round_{tie}({value})"


def _finish(rule: HybridRule, finish: Finish) -> str:
    match finish.order:
        case "row_first":
            scaled = "float32(acc) * s_row"
            return f"y = fma({scaled}, s_w, bias)" if finish.fused else f"y = {scaled} * s_w + bias"
        case "weights_first":
            scaled = "float32(acc) * s_w"
            return f"y = fma({scaled}, s_row, bias)" if finish.fused else f"y = {scaled} * s_row + bias"
        case "scales_first":
            unfused = _scales_first(finish)
            if not finish.fused:
                return f"y = {unfused}"
            text = "y = fma(float32(acc), s_row * s_w, bias)"
            if finish.four_rows == "same":
                return text
            match rule.loops:
                case "by_size":
                    return f"{text}, but {unfused} where four rows are taken at once"
                case "one_row":
                    return f"{text} of one row, {unfused} of several"
                case "none" | "by_size_without_dot" | "pairs":
                    return text
                case never_loops:
                    assert_never(never_loops)
        case never:
            assert_never(never)


def _scales_first(finish: Finish) -> str:
    """A kernel that adds to an output which holds the bias has nothing to do for an input of zeros."""
    match finish.zeros:
        case "skipped":
            return "bias + float32(acc) * (s_row * s_w)"
        case "multiplied":
            return "float32(acc) * (s_w * s_row) + bias"
        case never:
            assert_never(never)


def _notes(rule: HybridRule) -> list[str]:
    """What differs for odd inputs."""
    notes = []
    if rule.asymmetric.tail.beyond == "int32_min" and rule.asymmetric.tail.add == "float32":
        notes.append("if asymmetric, of the last depth % 8, q = -128 where x/s_row is beyond int32")
    if rule.asymmetric.nan_takes == "low":
        notes.append("zp = -128 where the row has an infinity")
    if rule.last_units is not None:
        notes.append(f"of the last units % 4 {_finish(rule, rule.last_units)}")
    if rule.finish.clamp == "bound_first":
        in_fours = "" if rule.last_units is None or rule.last_units.clamp == "bound_first" else ", but in these"
        notes.append(f"NaN becomes the lower clamp bound{in_fours}")
    tiny = []
    if rule.finish.flush == "arm" and rule.finish.fused:
        tiny.append("what is below 2^-126 before it is rounded becomes zero")
    if rule.loops == "pairs" and rule.pairs is not None:
        verb = "wrap" if rule.pairs.overflow == "wrap16" else "saturate"
        away = rule.pairs.partner
        places = f"k and k + {away} of every {'sixteen' if away == 8 else 2 * away}"
        tiny.insert(0, f"columns {places} are added in 16 bits, which {verb}")
    return [*notes, "; ".join(tiny)]


def _nibbles(nibbles: Nibbles) -> str:
    parts = [f"4-bit kernel: q = {_rounding(nibbles.rows.head.tie, 'x * 127/max|x|')}, n = w + 7"]
    if nibbles.fused:
        parts.append("t = fma(float32(-7 * sum q) * s_row, s_w, bias)")
        last = "y = fma(float32(sum n*q) * s_row, s_w, t), of several rows t + float32(sum n*q) * s_row * s_w"
        last += " but in the last units % 4"
    else:
        last = "y = (float32(-7 * sum q) * s_row * s_w + bias) + float32(sum n*q) * s_row * s_w"
    match nibbles.last:
        case "scalar":
            pass
        case "first_16":
            last += ", but n = 7 for the weights after the last depth % 32's first 16"
        case never:
            assert_never(never)
    return ";  ".join([*parts, last])
