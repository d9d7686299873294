r"""An explained element as LaTeX: one `align*` with the real numbers, for a thesis or a data sheet."""

from __future__ import annotations

from fractions import Fraction

from .element import Element, decimal_text

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
    return [
        rf"s_{name} &= {_number(Fraction(scale), 60)}, \quad z_{name} = {zero_point}"
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
        rf"&= {sum(element.products)} + {_p(element.bias)} = {element.total}",
        r"&= \sum_k x_k w_k - z_w \sum_k x_k - z_x \sum_k w_k + K z_x z_w + b",
        rf"&= {element.dot} - {_p(zw)} \cdot {_p(sum(element.x))} - {_p(zx)} \cdot {_p(sum(element.w))}",
        rf"&\quad + {depth} \cdot {_p(zx)} \cdot {_p(zw)} + {_p(element.bias)} = {element.total}",
    ]
    if element.lost:
        whole = element.total + element.lost
        lines.append(
            rf"a &\leftarrow a + \sum_{{j}} (\operatorname{{saturate}}_{{16}}(p_j) - p_j) = {element.total} "
            rf"{element.lost:+} = {whole} \quad \text{{({len(element.saturated)} pairs saturate)}}"
        )
    if element.acc != element.total + element.lost:
        bits = element.prepared.acc_bits
        lines.append(rf"a &\leftarrow a \bmod 2^{{{bits}}} = {element.acc} \quad \text{{(as int{bits})}}")
    return lines


def _factor(element: Element) -> list[str]:
    step = element.step("effective_scale")
    formula = {
        "dd": r"\operatorname{f64}(s_x s_w / s_y)",
        "fd": r"\operatorname{f64}(\operatorname{f32}(s_x s_w) / s_y)",
        "ff": r"\operatorname{f32}(\operatorname{f32}(s_x s_w) / s_y)",
    }[element.prepared.requant.rule.scale_product]
    lines = [rf"m &= {formula} = {_number(step.value)}"]
    pair = element.multiplier_and_shift
    if pair is not None:
        q, shift = pair
        fraction, exponent = element.frexp
        lines += [
            rf"&= {_number(fraction)} \cdot 2^{{{exponent}}}",
            rf"q &= \operatorname{{round}}({_number(fraction)} \cdot 2^{{31}})",
            rf"&= {q} \quad \text{{(half away)}}, \quad s = {shift}",
        ]
        if element.reduced_multiplier is None:
            lines.append(rf"q \cdot 2^{{s-31}} &= {_number(element.real_factor)}")
        else:
            lines.append(
                rf"q_{{15}} &= \min(\operatorname{{round}}(q / 2^{{16}}), 2^{{15}} - 1) = {element.reduced_multiplier}"
                r" \quad \text{(half up)}"
            )
            lines.append(rf"q_{{15}} \cdot 2^{{s-15}} &= {_number(element.real_factor)}")
    return lines


def _rounding(element: Element) -> list[str]:
    values = {step.name: step for step in element.steps}
    form = element.prepared.requant.rule.form
    scaled = int(values["acc_scaled"].value)
    if form in ("float64", "float64_saturate", "float32_saturate"):
        product, bits = values["product"].value, int(form[5:7])
        acc = "a" if bits == 64 else r"\operatorname{f32}(a)"
        rounded = r"\operatorname{round}(p)"
        if form.endswith("_saturate"):
            rounded = rf"\operatorname{{saturate}}_{{{32 if bits == 64 else 16}}}({rounded})"
        return [
            rf"p &= \operatorname{{f{bits}}}({acc} \cdot m) = {_number(product)}",
            rf"r &= {rounded} = {scaled} \quad \text{{(half {'away' if bits == 64 else 'even'})}}",
        ]
    if form.startswith(("float32_clip", "float32_bias")):
        lines = []
        if form.startswith("float32_bias"):
            lines.append(
                rf"b' &= {_number(values['bias_float'].value)}, \quad a_0 = {int(values['acc_without_bias'].value)}"
            )
        start = "a_0" if lines else "a"
        added = " + b'" if lines else ""
        summed, exact = _number(values["acc_float"].value), _number(values["acc_scaled"].exact)
        return [
            *lines,
            rf"a_f &= \operatorname{{f32}}(\operatorname{{f32}}({start}){added}) = {summed}",
            rf"p &= \operatorname{{f32}}(a_f \cdot m) = {_number(values['product'].value)}",
            rf"r &= \operatorname{{round}}({exact}) = {scaled} \quad \text{{(half even)}}",
        ]
    if form == "float32":
        product, limited = values["product"].value, values["limited"].value
        highest = element.prepared.requant.activation_max - element.layer.output_zero_point
        return [
            rf"p &= \operatorname{{f32}}(\operatorname{{f32}}(a) \cdot m) = {_number(product)}",
            rf"r &= \operatorname{{round}}(\min(p, {highest})) = \operatorname{{round}}({_number(limited)})",
            rf"&= {scaled} \quad \text{{(half even)}}",
        ]
    pair = element.multiplier_and_shift
    assert pair is not None
    q, shift = pair
    if form in ("q31_single", "q31_single_wrap"):
        return [
            rf"r &= \operatorname{{round}}(a \cdot q / 2^{{{31 - shift}}})",
            rf"&= \operatorname{{round}}({_number(values['acc_scaled'].exact)}) = {scaled}"
            r" \quad \text{(half up)}",
        ]
    if form in ("q15", "q15_wrap"):
        wide = int(values["product"].value)
        return [
            rf"p &= a \cdot q_{{15}} = {wide} \quad \text{{(64 bits)}}",
            rf"r &= \operatorname{{round}}(p / 2^{{{15 - shift}}})",
            rf"&= \operatorname{{round}}({_number(values['acc_scaled'].exact)}) = {scaled} \quad \text{{(half up)}}",
        ]
    high, shifted = values["high_mul"], int(values["acc_shifted"].value)
    tie = "half away" if form.startswith("q31_up_away") else "half up"
    floor = form.startswith("q31_floor")
    right = max(-shift, int(floor))
    left = shift + right
    lines = []
    if left > 0:
        register = "saturate" if form.endswith("_saturate") else "wrap"
        lines.append(rf"a' &= \operatorname{{{register}}}_{{32}}(a \cdot 2^{{{left}}}) = {shifted}")
    first, how = ("floor", "down") if floor else ("round", "half up")
    return [
        *lines,
        rf"v &= \operatorname{{{first}}}({_p(shifted)} \cdot {q} / 2^{{31}})",
        rf"&= \operatorname{{{first}}}({_number(high.exact)}) = {int(high.value)} \quad \text{{({how})}}",
        rf"r &= \operatorname{{round}}(v / 2^{{{right}}}) = "
        rf"\operatorname{{round}}({_number(values['acc_scaled'].exact)}) = {scaled} \quad \text{{({tie})}}",
    ]


def _output(element: Element) -> list[str]:
    requant, zy = element.prepared.requant, element.layer.output_zero_point
    scaled, total = int(element.step("acc_scaled").value), int(element.step("with_zero_point").value)
    low, high = requant.activation_min, requant.activation_max
    added = f"{scaled} + {_p(zy)}" if scaled + zy == total else rf"\operatorname{{wrap}}_{{32}}({scaled} + {_p(zy)})"
    return [
        rf"y &= \operatorname{{clamp}}(r + z_y, {low}, {high})",
        rf"&= \operatorname{{clamp}}({added}, {low}, {high}) = {element.output}",
        rf"s_y (y - z_y) &= {_number(element.real_output)}",
    ]


def _sum(terms: list[str], bias: int) -> list[str]:
    """The one or two lines of a sum and the bias; of a long sum both ends."""
    dots = [r"\cdots"] if len(terms) > 2 * _SHOWN else []
    first, last = [*terms[:_SHOWN], *dots], [*terms[_SHOWN:][-_SHOWN:], _p(bias)]
    return ["&= " + " + ".join(first), r"&\quad + " + " + ".join(last)]


def _minus(value: int, zero_point: int) -> str:
    return f"{value} - {_p(zero_point)}"


def _p(value: int) -> str:
    return f"({value})" if value < 0 else str(value)


def _number(value: Fraction, digits: int = 20) -> str:
    r"""A number for mathematics mode: `1.5 \cdot 10^{-7}`, with dots where digits were left out."""
    text = decimal_text(value, digits)
    dots = r"\ldots" if text.endswith("...") else ""
    mantissa, _, exponent = text.removesuffix("...").partition("e")
    power = rf" \cdot 10^{{{exponent}}}" if exponent else ""
    return f"{mantissa}{dots}{power}"
