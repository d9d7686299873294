"""An explained element of any operator for people: six short sections of text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from fractions import Fraction

from ...arith.exact import ExactStep
from ...model.types import IntegerType, hex_float
from ...ops import OPERATORS
from ...ops.products.convolution import PreparedConvolution
from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import not_the_same
from ...rules.operators.rule import Choice
from ...rules.operators.words import equation
from .element import decimal_text
from .operator_numbers import OperatorNumbers
from .real_numbers import real_rows, real_sum_text

__all__ = ["blocks", "followed", "latex"]

_WIDTH = 78
_DIGITS = 24
_MANY, _ENDS = 16, 5


def blocks(made: OperatorNumbers) -> list[Block]:
    """The sections: operator and element, scales, inputs, stages, output, runtimes."""
    return [*_head(made), *_scales(made), *_inputs(made), *_stages(made), *_output(made), *_runtimes(made)]


def _facts(*pairs: tuple[str, str]) -> Code:
    lines = []
    for name, text in pairs:
        parts = textwrap.wrap(text, _WIDTH - 14, break_on_hyphens=False) or [""]
        lines += [f"{name if n == 0 else '':<13} {part}".rstrip() for n, part in enumerate(parts)]
    return Code("\n".join(lines))


def _head(made: OperatorNumbers) -> Iterable[Block]:
    op, element = made.prepared.operator, made.element
    yield Heading(f"1. {op.label}, element {list(element.index)}, on {made.runtime.name}: {element.output}")
    equation = followed(made)
    activation = str(op.options.get("fused_activation_function", ""))
    yield _facts(
        ("model", made.model.source),
        ("runtime", f"{made.runtime.name} ({made.runtime.title})"),
        ("kernel", str(made.prepared.kernel)),
        ("rule", made.prepared.rule),
        *(("", part) for part in re.split(r"[,;]  ", equation)),
        *([("activation", activation)] if activation else []),
        ("input", made.input_source),
        ("element", made.choice),
    )
    for note in made.prepared.notes:
        yield Text(note, "warning")


def followed(made: OperatorNumbers) -> str:
    """The rule's equation; of a choice, the part that this element follows."""
    staged = made.prepared.staged
    if staged is None:
        return OPERATORS[made.prepared.operator.name].rules[made.prepared.rule]
    rule = staged.calculator.rule
    for _, met in made.element.conditions:
        assert isinstance(rule, Choice)
        rule = rule.then if met else rule.otherwise
    return equation(rule)


def _scales(made: OperatorNumbers) -> Iterable[Block]:
    tensors = made.tensors
    if not tensors:
        return
    yield Heading("2. Scales (float32, exact) and zero points: real = scale * (q - zero_point)")
    lines = []
    for role, tensor in tensors:
        assert tensor.quant is not None
        scales = tensor.quant.scale
        channel = made.element.index[-1] if scales.size > 1 and made.element.index else 0
        place = channel if scales.size > channel else 0
        scale = scales[place]
        name = f"{role}[{place}]" if scales.size > 1 else role
        zero = int(tensor.quant.zero_point[place if tensor.quant.zero_point.size > place else 0])
        digits, _, exponent = hex_float(float(scale)).partition("p")
        lines.append(f"{name:<13} zero point {zero:<7} scale {decimal_text(float(scale), 45)}")
        lines.append(f"{'':<31} = {digits.rstrip('0').rstrip('.')}p{exponent}")
    yield Code("\n".join(lines))


def _inputs(made: OperatorNumbers) -> Iterable[Block]:
    element = made.element
    yield Heading("3. What the element is made of")
    if element.products is not None:
        yield from _product_table(made)
        return
    if element.real is not None:
        headers, rows = real_rows(element.real)
        yield Table(headers, _shortened(rows), right=headers[1:])
        yield _facts(("sum", real_sum_text(element.real)))
        return
    facts = [(f"tensor {number}", _plain(value)) for number, value in element.inputs]
    if element.members:
        what = "row" if made.prepared.recipe is not None else "elements"
        facts.append((what, f"{len(element.members)}: {_list(element.members)}"))
    if element.moved is not None:
        number, place = element.moved
        facts.append(("moved from", f"tensor {made.prepared.inputs[number]}, element {list(place)}, as it is"))
    for text, met in element.conditions:
        facts.append(("holds here" if met else "does not hold", text))
    yield _facts(*(facts or [("inputs", "the whole input tensors")]))


def _product_table(made: OperatorNumbers) -> Iterable[Block]:
    products = made.element.products
    assert products is not None
    assert isinstance(made.prepared, PreparedConvolution)
    layer = made.prepared.convolution
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    rows = [
        (str(list(place)), x, x - zx, w, w - zw, (x - zx) * (w - zw))
        for place, x, w in zip(products.places, products.x, products.weights, strict=True)
    ]
    shown = rows if len(rows) <= _MANY else [*rows[:_ENDS], *rows[-_ENDS:]]
    total = sum(row[-1] for row in rows)
    table: list[tuple[object, ...]] = list(shown)
    if len(shown) < len(rows):
        table.insert(_ENDS, (f"{len(rows) - len(shown)} more", "", "", "", "", total - sum(row[-1] for row in shown)))
    table.append(("sum", "", "", "", "", total))
    headers = ("[row, column, channel]", "x", "x - zx", "w", "w - zw", "product")
    yield Table(headers, table, right=headers[1:])
    padding = f"; {products.padding} taps meet no input value, which adds nothing" if products.padding else ""
    yield _facts(("bias", str(products.bias)), ("acc", f"{total} + ({products.bias}) = {products.acc}{padding}"))


def _shortened(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """All rows, or the first and the last."""
    if len(rows) <= _MANY:
        return rows
    more = (f"{len(rows) - 2 * _ENDS} more", *[""] * (len(rows[0]) - 1))
    return [*rows[:_ENDS], more, *rows[-_ENDS:]]


def _stages(made: OperatorNumbers) -> Iterable[Block]:
    element = made.element
    yield Heading("4. Stage by stage, with what each one cut off")
    if element.steps:
        yield Code("\n".join(line for step in element.steps for line in _step_lines(step)))
        return
    lines = [f"{name:<16} {_plain(value)}" for name, value in element.trace]
    yield Code("\n".join(lines))
    if element.moved is not None:
        yield Text("The value is moved; nothing is calculated.", "dim")
    else:
        yield Text("Steps as they were calculated; this operator has no second arithmetic.", "dim")


def _step_lines(step: ExactStep) -> Iterable[str]:
    value = _number(step.value)
    start = f"{step.name} = {step.formula}"
    yield from textwrap.wrap(start, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    numbers = step.numbers if step.numbers != value else ""
    line = f"{numbers} = {value}" if numbers else f"= {value}"
    yield from textwrap.wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False)
    if step.effect:
        yield f"    {step.effect}: exact {_number(step.exact)}, cut off {_lost(step.cut_off)}"


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else decimal_text(value, _DIGITS)


def _lost(lost: Fraction) -> str:
    ratio = f" = {lost.numerator}/{lost.denominator}" if 1 < lost.denominator <= 2**16 else ""
    tie = ": an exact tie" if abs(lost) == Fraction(1, 2) else ""
    return f"{float(lost):+.6g}{ratio}{tie}"


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _paragraph(text: str, style: str = "") -> Text:
    return Text(textwrap.fill(text, _WIDTH, break_on_hyphens=False), style)


def _list(values: tuple[int, ...]) -> str:
    if len(values) <= 2 * _MANY:
        return ", ".join(map(str, values))
    return ", ".join([*map(str, values[:_MANY]), "...", *map(str, values[-_MANY:])])


def _output(made: OperatorNumbers) -> Iterable[Block]:
    element, outputs = made.element, made.prepared.operator.outputs
    facts = [("output", _plain(element.output))]
    tensor = made.model.tensors[outputs[0] if outputs else made.prepared.inputs[0]]
    if isinstance(tensor.dtype, IntegerType) and tensor.quant is not None and tensor.quant.scale.size:
        scale, zero = Fraction(float(tensor.quant.scale[0])), int(tensor.quant.zero_point[0])
        facts.append(("real value", f"s_y * (output - zy) = {decimal_text(scale * (int(element.output) - zero))}"))
    yield Heading("5. Output")
    yield _facts(*facts)


def _runtimes(made: OperatorNumbers) -> Iterable[Block]:
    yield Heading("6. What every runtime prints for this element, from the same inputs")
    rows: list[tuple[str, str, str]] = []
    marked = []
    rules: dict[str, list[str]] = {}
    for other in made.others:
        if other.output is None:
            continue
        rules.setdefault(other.rule, []).append(other.name)
        whole = "(this one)" if other.name == made.runtime.name else "equal"
        if other.mismatched:
            whole = f"{other.mismatched} of {made.size} differ"
        if repr(other.output) != repr(made.output):
            marked.append(len(rows))
        rows.append((other.name, _plain(other.output), whole))
    yield Table(("runtime", "output", "whole output"), rows, right=("output",), marked=marked)
    for rule, names in rules.items():
        yield _paragraph(f"rule {rule}: {', '.join(names)}")
    causes: dict[tuple[object, str], list[str]] = {}
    for other in made.others:
        if other.first_difference:
            causes.setdefault((other.output, other.first_difference), []).append(other.name)
    for (value, first), names in causes.items():
        verb = "prints" if len(names) == 1 else "print"
        yield _paragraph(f"{', '.join(names)} {verb} {value}. First step that differs: {first}.", "warning")
    reasons: dict[str, list[str]] = {}
    for other in made.others:
        if other.refused:
            reasons.setdefault(other.refused, []).append(other.name)
    for reason, names in reasons.items():
        verb = "refuses" if len(names) == 1 else "refuse"
        yield _paragraph(f"{', '.join(names)} {verb} this operator: {reason}.", "warning")
    if all(other.output is None or repr(other.output) == repr(made.output) for other in made.others):
        yield Text("No runtime prints another value for this element.", "good")
    yield Text(not_the_same(made.differing, made.size, "operator"))


def latex(made: OperatorNumbers) -> str:
    """The stages as one `align*`."""
    pairs = [(step.name, step.formula, _number(step.value)) for step in made.element.steps]
    pairs = pairs or [(name, "", _plain(value)) for name, value in made.element.trace]
    rule = _escaped(f"{made.runtime.name}, rule {made.prepared.rule}, element {list(made.element.index)}")
    lines = [rf"  & \text{{{rule}}}"]
    for name, formula, value in pairs:
        lines.append(rf"  \mathrm{{{_escaped(name).replace(' ', '~')}}} &= {value} && \text{{{_escaped(formula)}}}")
    body = " \\\\\n".join(lines)
    return f"% LastBit, needs \\usepackage{{amsmath}}\n\\begin{{align*}}\n{body}\n\\end{{align*}}\n"


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    for character in "#$%&_{}":
        text = text.replace(character, "\\" + character)
    return text.replace("^", r"\^{}").replace("~", r"\~{}").replace("<", r"\textless{}").replace(">", r"\textgreater{}")
