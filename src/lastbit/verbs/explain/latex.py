r"""An explained element as LaTeX: one `align*` with the real numbers, for a thesis or a data sheet."""

from __future__ import annotations

from fractions import Fraction

from ...layers.differences import ends_of
from ...rules.requantize.latex import bracketed, latex_number, register, rounding_lines, scale_formula
from .element import Element

__all__ = ["derivation", "escape_latex"]

_SHOWN = 2  # products written out at each end of a longer sum

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
}


def escape_latex(text: str) -> str:
    r"""Text that LaTeX prints as it is. What is not printable ASCII becomes a question mark.

    >>> escape_latex("dense_1/BiasAdd 100%")
    'dense\\_1/BiasAdd 100\\%'
    """
    return "".join(_SPECIAL.get(c, c if " " <= c <= "~" else "?") for c in text)


def derivation(element: Element, source: str) -> str:
    """The element's derivation, from the scales to the output.

    Args:
        element: the element's numbers.
        source: the model's path, for the comment at the top.

    Returns:
        One `align*` environment. It needs the package `amsmath`.
    """
    layer = element.layer
    where = f"{layer.operator.label}, row {element.row}, unit {element.unit}"
    how = f"{element.runtime.name}, rule {element.prepared.rule}"
    comment = "".join(c if " " <= c <= "~" else "?" for c in f"{where}, {how}, {source}")
    lines = [
        *_parameters(element),
        *_accumulator(element),
        *_factor(element),
        *_rounding(element),
        *_output(element),
    ]
    body = " \\\\\n".join(f"  {line}" for line in lines)
    return (
        f"% LastBit: {comment}\n% needs \\usepackage{{amsmath}}\n"
        f"\\begin{{align*}}\n"
        f"  & \\text{{{escape_latex(where)}}} \\\\\n  & \\text{{{escape_latex(how)}}} \\\\\n"
        f"{body}\n\\end{{align*}}\n"
    )


def _parameters(element: Element) -> list[str]:
    layer = element.layer
    zero_points = (layer.input_zero_point, layer.weights_zero_point, layer.output_zero_point)
    if element.given:
        return [rf"z_{name} &= {zero_point}" for name, zero_point in zip("xwy", zero_points, strict=True)]
    return [
        rf"s_{name} &= {latex_number(Fraction(scale), 60)}, \quad z_{name} = {zero_point}"
        for name, scale, zero_point in zip("xwy", element.scales, zero_points, strict=True)
    ]


def _accumulator(element: Element) -> list[str]:
    layer = element.layer
    zx, zw, depth = layer.input_zero_point, layer.weights_zero_point, layer.depth
    terms = [rf"({_minus(x, zx)})({_minus(w, zw)})" for x, w in zip(element.x, element.w, strict=True)]
    values = [f"({v})" for v in element.products]
    lines = [
        rf"a &= \sum_{{k=0}}^{{K-1}} (x_k - z_x)(w_k - z_w) + b, \quad K = {depth}",
        *_sum(terms, element.bias),
        *_sum(values, element.bias),
        rf"&= {sum(element.products)} + {bracketed(element.bias)} = {element.total}",
        r"&= \sum_k x_k w_k - z_w \sum_k x_k - z_x \sum_k w_k + K z_x z_w + b",
        rf"&= {element.dot} - {bracketed(zw)} \cdot {bracketed(sum(element.x))}"
        rf" - {bracketed(zx)} \cdot {bracketed(sum(element.w))}",
        rf"&\quad + {depth} \cdot {bracketed(zx)} \cdot {bracketed(zw)} + {bracketed(element.bias)} = {element.total}",
    ]
    if element.lost:
        whole, overflow = element.total + element.lost, element.pairs_words.overflow
        lines.append(
            rf"a &\leftarrow a + \sum_{{j}} (\operatorname{{{overflow}}}_{{16}}(p_j) - p_j) = {element.total} "
            rf"{element.lost:+} = {whole} \quad \text{{({len(element.overflowing)} pairs {overflow})}}"
        )
    if element.acc != element.total + element.lost:
        bits = element.prepared.acc_bits
        lines.append(rf"a &\leftarrow a \bmod 2^{{{bits}}} = {element.acc} \quad \text{{(as int{bits})}}")
    return lines


def _factor(element: Element) -> list[str]:
    pair, step = element.multiplier_and_shift, element.step("effective_scale")
    if pair is not None and element.given:
        return [rf"q &= {pair[0]}, \quad s = {pair[1]} \quad \text{{(given)}}", *_applied(element)]
    formula = scale_formula(element.prepared.requant.rule.scales.product)
    lines = [rf"m &= {formula} = {latex_number(step.value)}"]
    if pair is not None:
        q, shift = pair
        fraction, exponent = element.frexp
        lines += [
            rf"&= {latex_number(fraction)} \cdot 2^{{{exponent}}}",
            rf"q &= \operatorname{{round}}({latex_number(fraction)} \cdot 2^{{31}})",
            rf"&= {q} \quad \text{{(half away)}}, \quad s = {shift}",
            *_applied(element),
        ]
    return lines


def _applied(element: Element) -> list[str]:
    """The factor that multiplier and shift are."""
    factor = latex_number(element.real_factor)
    if element.reduced_multiplier is None:
        return [rf"q \cdot 2^{{s-31}} &= {factor}"]
    return [
        rf"q_{{15}} &= \min(\operatorname{{round}}(q / 2^{{16}}), 2^{{15}} - 1) = {element.reduced_multiplier}"
        r" \quad \text{(half up)}",
        rf"q_{{15}} \cdot 2^{{s-15}} &= {factor}",
    ]


def _rounding(element: Element) -> list[str]:
    requant = element.prepared.requant
    return rounding_lines(requant.rule, {step.name: step for step in element.steps}, ends_of(requant))


def _output(element: Element) -> list[str]:
    requant, zy = element.prepared.requant, element.layer.output_zero_point
    scaled, total = int(element.step("acc_scaled").value), int(element.step("with_zero_point").value)
    low, high = requant.activation_min, requant.activation_max
    added = f"{scaled} + {bracketed(zy)}"
    if scaled + zy != total:
        added = f"{register(requant.rule.requantize.add)}({added})"
    lines = [
        rf"y &= \operatorname{{clamp}}(r + z_y, {low}, {high})",
        rf"&= \operatorname{{clamp}}({added}, {low}, {high}) = {element.output}",
    ]
    return lines if element.given else [*lines, rf"s_y (y - z_y) &= {latex_number(element.real_output)}"]


def _sum(terms: list[str], bias: int) -> list[str]:
    """The one or two lines of a sum and the bias; of a long sum both ends."""
    dots = [r"\cdots"] if len(terms) > 2 * _SHOWN else []
    first, last = [*terms[:_SHOWN], *dots], [*terms[_SHOWN:][-_SHOWN:], bracketed(bias)]
    return ["&= " + " + ".join(first), r"&\quad + " + " + ".join(last)]


def _minus(value: int, zero_point: int) -> str:
    return f"{value} - {bracketed(zero_point)}"
