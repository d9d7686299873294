"""An explained element for people: eight short sections of text, aligned for 80 to 100 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...arith.exact import ExactStep
from ...report.blocks import Block, Code, Heading, Table, Text
from ...rules.base import Pairs
from ...rules.requantize.forms import Float
from ...rules.requantize.latex import bracketed
from .deciding_step import OtherRuntime
from .element import Element, decimal_text
from .pairs import pairs_text
from .paragraphs import error_text, facts, paragraph, short_hex, steps_text
from .runtimes_text import section_runtimes

__all__ = ["Head", "explanation_blocks"]

_DIGITS = 34  # of numbers before and after a rounding step
_MANY = 16  # products: up to so many are all shown
_ENDS, _LARGEST = 3, 6  # of more: so many at each end, and so many of the largest between them

_TIE_TEXT = {
    "half_up": "towards plus infinity",
    "half_away": "away from zero",
    "half_even": "to the even neighbour",
}


@dataclass(frozen=True)
class Head:
    """What a report says beside the numbers: the model's path, the input's origin, why this element."""

    source: str
    input_source: str
    choice: str


def explanation_blocks(
    element: Element, head: Head, others: Sequence[OtherRuntime], differing: int, size: int
) -> list[Block]:
    """The eight sections.

    Args:
        element: the element's numbers.
        head: model, input and choice, in words.
        others: every runtime, the explained one included.
        differing: how many elements of the whole output are not the same in all runtimes.
        size: how many elements the output has.
    """
    return [
        *_section_layer(element, head),
        *_section_scales(element),
        *_section_products(element),
        *_section_expansion(element),
        *_section_multiplier(element),
        *_section_rounding(element),
        *_section_output(element),
        *section_runtimes(element, others, differing, size),
    ]


def _section_layer(element: Element, head: Head) -> Iterable[Block]:
    layer, prepared = element.layer, element.prepared
    count, kind = layer.weights_scale.size, "given multiplier" if element.given else "weights scale"
    yield Heading(f"1. {element.label}, {element.runtime.name}")
    yield facts(
        ("model", head.source),
        (
            "weights",
            f"{layer.weights.dtype.name} [{layer.units}, {layer.depth}] ([out, in]), {layer.weights.label}",
        ),
        ("activation", layer.activation),
        ("runtime", f"{element.runtime.name} ({element.runtime.title})"),
        ("kernel", prepared.kernel),
        ("rule", f"{prepared.rule}, chosen by {prepared.choice}" if prepared.choice else prepared.rule),
        *(("", part) for part in re.split(r"[,;]  ", prepared.equation)),
        ("granularity", f"{layer.granularity} ({count} {kind}{'s' * (count != 1)})"),
        ("input", head.input_source),
        (
            "element",
            f"row {element.row} of 0..{element.rows - 1}, unit {element.unit} of 0..{layer.units - 1}: {head.choice}",
        ),
    )
    for note in prepared.notes:
        yield paragraph(note, "warning")


def _section_scales(element: Element) -> Iterable[Block]:
    layer = element.layer
    quant = layer.weights.quant
    assert quant is not None
    zero_points = (layer.input_zero_point, layer.weights_zero_point, layer.output_zero_point)
    names = (
        "input",
        f"weights[{element.channel}]" if layer.granularity == "per_channel" else "weights",
        "output",
    )
    if element.given:
        yield Heading("2. Zero points; multiplier and shift are given, so the scales are not known")
        pairs = zip("xwy", names, zero_points, strict=True)
        yield Code("\n".join(f"{name:<12}z{c} = {zero_point}" for c, name, zero_point in pairs))
        return
    yield Heading("2. Scales (float32, exact) and zero points: real = scale * (q - zero_point)")
    lines = [
        f"{name:<12}z{c} = {zero_point:<6}s_{c} = {decimal_text(scale, 60)}\n{'':<26}= {short_hex(scale)}"
        for c, name, scale, zero_point in zip("xwy", names, element.scales, zero_points, strict=True)
    ]
    yield Code("\n".join(lines))
    stored = int(quant.zero_point[element.channel])
    if stored != layer.weights_zero_point:
        yield paragraph(
            f"The file has weights zero point {stored} here; per-channel kernels take it to be 0.", "warning"
        )


def _section_products(element: Element) -> Iterable[Block]:
    depth, products = element.layer.depth, element.products
    zx, zw = element.layer.input_zero_point, element.layer.weights_zero_point
    shown = _shown(products)
    rows: list[Sequence[object]] = [
        (k, element.x[k], element.x[k] - zx, element.w[k], element.w[k] - zw, products[k]) for k in shown
    ]
    if len(shown) < depth:
        rest = sum(products) - sum(products[k] for k in shown)
        rows.append((f"{depth - len(shown)} more", "", "", "", "", rest))
    rows.append((f"all {depth}", "", "", "", "", sum(products)))
    yield Heading(f"3. Products, with zx = {zx} and zw = {zw}")
    headers = ("k", "x", "x - zx", "w", "w - zw", "product")
    yield Table(headers, rows, right=headers)
    if len(shown) < depth:
        yield Text(f"Shown: the first and last {_ENDS}, and the {_LARGEST} largest of the others.", "dim")


def _section_expansion(element: Element) -> Iterable[Block]:
    zx, zw = element.layer.input_zero_point, element.layer.weights_zero_point
    depth, sum_x, sum_w = element.layer.depth, sum(element.x), sum(element.w)
    centred = element.dot - zw * sum_x - zx * sum_w + depth * zx * zw
    rows: list[tuple[str, str, int]] = [
        ("sum(x * w)", "", element.dot),
        ("- zw * sum(x)", f"- {bracketed(zw)} * {bracketed(sum_x)}", -zw * sum_x),
        ("- zx * sum(w)", f"- {bracketed(zx)} * {bracketed(sum_w)}", -zx * sum_w),
        ("+ depth * zx * zw", f"+ {depth} * {bracketed(zx)} * {bracketed(zw)}", depth * zx * zw),
        ("= sum((x - zx) * (w - zw))", "the sum of section 3", centred),
        ("+ bias", "" if element.layer.bias is not None else "the layer has none", element.bias),
        ("= acc", "", element.total),
    ]
    count, whole = len(element.overflowing), element.total + element.lost
    if count:
        words = element.pairs_words
        many = f"{count} {words.overflowed} {'pair' if count == 1 else 'pairs'}"
        rows[-1:] = [("= exact sum", "", element.total), (f"+ {words.noun}", many, element.lost), ("= acc", "", whole)]
    if element.acc != whole:
        bits = element.prepared.acc_bits
        rows[-1] = ("= sum", f"does not fit int{bits}", whole)
        rows.append((f"acc = wrap{bits}(sum)", f"the low {bits} bits are kept", element.acc))
    yield Heading("4. The same sum with the zero points multiplied out, as firmware calculates it")
    yield Code("\n".join(f"{a:<27}{b:<28}{c:>14}" for a, b, c in rows))
    if isinstance(element.prepared.products, Pairs):
        told, worked = pairs_text(element, element.prepared.products)
        yield paragraph(told, "warning" if worked else "")
        yield from [Code(worked)] if worked else []
    yield paragraph(
        f"What no input changes can be folded into the bias: bias - zx * sum(w) + depth * zx * zw = "
        f"{element.folded_bias}. " + _acc_of_folded(element)
    )


def _acc_of_folded(element: Element) -> str:
    """The accumulator from the folded bias, in numbers."""
    zw, sum_x = element.layer.weights_zero_point, sum(element.x)
    middle = f" - {bracketed(zw)} * {bracketed(sum_x)}" if zw else ""
    whole = element.total + element.lost
    end = "" if element.acc == whole else f", which wraps to {element.acc}"
    lost = f" + {bracketed(element.lost)}" if element.lost else ""
    return f"Then acc = {element.dot}{middle} + {bracketed(element.folded_bias)}{lost} = {whole}{end}."


def _section_multiplier(element: Element) -> Iterable[Block]:
    pair, step = element.multiplier_and_shift, element.step("effective_scale")
    if pair is not None and element.given:
        yield Heading("5. Multiplier and shift, as given")
        yield facts(("q", str(pair[0])), ("shift", f"{pair[1]}  (positive = left)"), *_applied_factor(element, pair))
        return
    exact, rounded = element.exact_scale, step.value
    lines = [
        ("formula", step.formula),
        ("exact", f"s_x * s_w / s_y = {decimal_text(exact)}"),
        ("m", f"{decimal_text(rounded)}  ({short_hex(float(rounded))})"),
        ("", f"relative error of m: {error_text(rounded, exact)}"),
    ]
    if pair is None:
        yield Heading("5. The effective scale")
        form = element.prepared.requant.rule.requantize
        assert isinstance(form, Float)
        yield facts(*lines, ("multiplier", f"none: this rule multiplies acc by the float{form.bits} m itself"))
        return
    fraction, exponent = element.frexp
    (q, shift), multiplier = pair, element.step("multiplier")
    lines += [
        ("frexp", f"m = fraction * 2^exponent: fraction {decimal_text(fraction)}, exponent {exponent}"),
        ("q", f"round_half_away(fraction * 2^31) = round_half_away({decimal_text(fraction * 2**31)}) = {q}"),
        ("shift", f"{shift}  (positive = left)"),
    ]
    if q == 0:
        lines[-1] = ("shift", "0; the exponent is below -31, where kernels take the factor to be 0")
    elif shift != exponent:
        lines.insert(-1, ("", f"the fraction was rounded up to 1, so it becomes 1/2 and the shift {exponent} + 1"))
    lines += _applied_factor(element, pair)
    lines.append(("", f"relative error of the factor: {error_text(element.real_factor, exact)}"))
    yield Heading("5. From the scales to multiplier and shift")
    yield facts(*lines)
    if multiplier.cut_off and q:
        yield Text(f"Rounding q cut off {steps_text(multiplier.cut_off)} of its last bit.", "dim")


def _applied_factor(element: Element, pair: tuple[int, int]) -> list[tuple[str, str]]:
    """The factor that multiplier and shift are, and the multiplier of 15 bits where the rule makes one."""
    (q, shift), lines = pair, []
    power = f"q * 2^(shift-31) = {q} * 2^{shift - 31}"
    if element.reduced_multiplier is not None:
        q15 = element.step("multiplier_q15")
        lines.append(("q15", f"{q15.formula.removeprefix('q15 = ')} = {decimal_text(q15.exact)}, rounded {q15.value}"))
        power = f"q15 * 2^(shift-15) = {q15.value} * 2^{shift - 15}"
    return [*lines, ("factor", f"{power} = {decimal_text(element.real_factor)}")]


def _section_rounding(element: Element) -> Iterable[Block]:
    yield Heading("6. From acc to acc_scaled, rounding by rounding")
    skipped = ("effective_scale", "multiplier", "shift", "multiplier_q15", "with_zero_point", "output")
    for step in element.steps:
        if step.name in skipped:
            continue
        start = f"{step.numbers} = " if " " in step.numbers else ""
        lines = [("", f"{step.name} = {step.formula}"), ("exact", start + decimal_text(step.exact, _DIGITS))]
        cut = step.operation in ("", "wrap32", "wrap64", "clamp") or step.operation.startswith("floor")
        if not cut and not (step.name == "acc_float" and not step.cut_off):
            lines.append(("rounded", decimal_text(step.value, _DIGITS)))
            lines.append(("tie rule", _tie_rule(step)))
            lines.append(("cut off", _cut_text(step, element)))
        elif step.cut_off:
            lines.append((step.operation, decimal_text(step.value, _DIGITS)))
        yield Code("\n".join(f"    {name:<10}{text}" if name else text for name, text in lines))


def _section_output(element: Element) -> Iterable[Block]:
    requant, layer = element.prepared.requant, element.layer
    low, high, zy = requant.activation_min, requant.activation_max, layer.output_zero_point
    total = element.step("with_zero_point")
    wrapped = " (wrapped to int32)" if total.effect else ""
    if "activation_range" in layer.operator.options:
        origin = "as given"
    elif layer.activation == "NONE":
        origin = f"the range of {requant.dtype.name}"
    else:
        origin = f"{layer.activation} in quantized steps, rounded {requant.rule.bounds}"
    effect = f"clamped to {element.output}" if element.clamped else "inside: nothing is clamped"
    yield Heading("7. Output")
    real = [] if element.given else [("real value", f"s_y * (output - zy) = {decimal_text(element.real_output)}")]
    yield facts(
        ("zero point", f"{int(element.step('acc_scaled').value)} + {bracketed(zy)} = {int(total.value)}{wrapped}"),
        ("clamp", f"[{low}, {high}], {origin}; {effect}"),
        ("output", str(element.output)),
        *real,
    )


def _shown(products: Sequence[int]) -> list[int]:
    """Which products are shown: all of a few; else both ends and the largest between them."""
    if len(products) <= _MANY:
        return list(range(len(products)))
    between = range(_ENDS, len(products) - _ENDS)
    largest = sorted(between, key=lambda k: -abs(products[k]))[:_LARGEST]
    return sorted([*range(_ENDS), *largest, *range(len(products) - _ENDS, len(products))])


def _tie_rule(step: ExactStep) -> str:
    """A step's rounding in words."""
    tie = next((name for name in _TIE_TEXT if name in step.operation), None)
    if tie is None:
        return f"nearest {step.operation}, half_even"
    more = step.operation.removeprefix(tie)
    return f"{tie}: a tie goes {_TIE_TEXT[tie]}{more}"


def _cut_text(step: ExactStep, element: Element) -> str:
    """What a rounding lost, and how near to a tie it was."""
    lost = step.cut_off
    if not lost:
        return "nothing: exact"
    if step.operation.startswith("float"):
        return f"{float(lost):+.6g} (relative {float(lost / step.exact):+.3g})"
    pair = element.multiplier_and_shift
    unit = f"a step of 2^{pair[1]} output steps" if step.name == "high_mul" and pair and pair[1] < 0 else "a step"
    if abs(lost) == Fraction(1, 2):
        return f"{steps_text(lost)} of {unit}: an exact tie"
    return f"{steps_text(lost)} of {unit}; {float(Fraction(1, 2) - abs(lost)):.6g} from a tie"
