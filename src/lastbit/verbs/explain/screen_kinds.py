"""What the first screen tells of each kind of explained element: dense, hybrid, and any other operator."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.graph import Tensor
from ...ops.products.convolution import PreparedConvolution
from ...ops.products.window_layer import WindowLayer
from ...report.phrases import not_the_same
from ...rules.hybrid.words import equation as hybrid_equation
from ...rules.requantize.latex import bracketed
from .deciding_step import OtherRuntime
from .element import Element
from .hybrid_numbers import HybridNumbers
from .operator_numbers import OperatorNumbers
from .real_numbers import real_rows, real_sum_text
from .runtimes_text import cause_text
from .screen import InShort, Printed, Products, plain_steps, whole_output

__all__ = ["dense_in_short", "hybrid_in_short", "operator_in_short"]

_INTEGERS = ("x", "x - zx", "w", "w - zw", "product")


def dense_in_short(
    element: Element, source: str, origin: str, others: Sequence[OtherRuntime], differing: int, size: int
) -> InShort:
    """An element of a dense layer of integers.

    Args:
        element: the element's numbers.
        source: the model's path.
        origin: where the input came from, and why this element.
        others: every runtime, the explained one included.
        differing: how many elements of the whole output are not the same in all runtimes.
        size: how many elements the output has.
    """
    layer, prepared = element.layer, element.prepared
    weights = "weights" if layer.granularity == "per_tensor" else f"weights[{element.channel}]"
    zero_points = (layer.input_zero_point, layer.weights_zero_point, layer.output_zero_point)
    scales: Sequence[float | None] = [None] * 3 if element.given else element.scales
    zx, zw = zero_points[:2]
    rows = [
        (k, x, x - zx, w, w - zw, product)
        for k, (x, w, product) in enumerate(zip(element.x, element.w, element.products, strict=True))
    ]
    pairs = f" + {bracketed(element.lost)} lost where 16 bits overflow" if element.lost else ""
    kept = "" if element.acc == element.total + element.lost else f", kept in {prepared.acc_bits} bits"
    acc = f"acc = {sum(element.products)} + {bracketed(element.bias)} (bias){pairs} = {element.acc}{kept}"
    printed = [
        Printed(
            other.name,
            None if other.output is None else str(other.output),
            "" if other.output in (None, element.output) else cause_text(element, other),
            other.refused,
        )
        for other in others
    ]
    return InShort(
        f"{element.label}, on {element.runtime.name}: {element.output}",
        source,
        prepared.rule,
        prepared.equation,
        origin,
        prepared.notes,
        list(zip(("input", weights, "output"), zero_points, scales, strict=True)),
        (),
        Products(("k", *_INTEGERS), rows, acc),
        plain_steps(element.steps),
        printed,
        not_the_same(differing, size, "layer"),
    )


def operator_in_short(made: OperatorNumbers, equation: str) -> InShort:
    """An element of an operator that is no dense layer.

    Args:
        made: its numbers.
        equation: what the part of the rule that the element follows calculates.
    """
    op, element = made.prepared.operator, made.element
    steps = plain_steps(element.steps) or [(_plain(value), name) for name, value in element.trace]
    printed = [
        Printed(
            other.name,
            None if other.output is None else _plain(other.output),
            other.first_difference,
            other.refused,
        )
        for other in made.others
    ]
    place = element.index[-1] if element.index else 0
    return InShort(
        f"{op.label}, element {list(element.index)}, on {made.runtime.name}: {element.output}",
        made.model.source,
        made.prepared.rule,
        equation,
        f"Input: {made.input_source}. Element: {made.choice}.",
        made.prepared.notes,
        [_scale(role, tensor, place) for role, tensor in made.tensors],
        _facts(made),
        _window(made),
        steps,
        printed,
        not_the_same(made.differing, made.size, "operator"),
    )


def hybrid_in_short(made: HybridNumbers) -> InShort:
    """An element of a hybrid layer."""
    trace, prepared = made.trace, made.prepared
    q, used, products = trace["quantized_input"], prepared.weights_used[made.unit], made.products
    rows = [
        (
            made.tap(k),
            f"{float(made.x[k]):.9g}",
            f"{float(trace['scaled_input'][k]):.9g}",
            int(q[k]),
            int(used[k]),
            product,
        )
        for k, product in enumerate(products)
    ]
    low, high = float(trace["range_low"]), float(trace["range_high"])
    k = "i, j, c" if isinstance(prepared.layer, WindowLayer) else "k"
    zero_point = int(trace["input_zero_point"])
    facts = [
        (prepared.quantized_together, f"values from {low:.9g} to {high:.9g}, zero point {zero_point}"),
        ("q", f"round(x * inverse) + zero point, inverse {float(trace['input_inverse']):.9g}"),
    ]
    printed = [
        Printed(
            other.runtime,
            None if other.output is None else _plain(other.output),
            other.first_difference,
            other.refused,
        )
        for other in made.others
    ]
    return InShort(
        made.answer,
        made.source,
        prepared.rule,
        hybrid_equation(prepared.arithmetic),
        f"Input: {made.input_source}.",
        prepared.notes,
        (),
        facts,
        Products((k, "x", "x * inverse", "q", "w", "q * w"), rows, f"acc = {int(trace['acc'])}"),
        [(f"{step.value:.9g}", f"{step.name} = {step.formula}") for step in made.steps],
        printed,
        whole_output([(o.runtime, o.mismatched) for o in made.others], [o.runtime for o in made.others]),
    )


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _scale(role: str, tensor: Tensor, channel: int) -> tuple[str, int, float]:
    """A tensor's scale and zero point; of several, those of the element's channel."""
    assert tensor.quant is not None
    scales, zero_points = tensor.quant.scale, tensor.quant.zero_point
    place = channel if scales.size > channel else 0
    name = f"{role}[{place}]" if scales.size > 1 else role
    return name, int(zero_points[place if zero_points.size > place else 0]), float(scales[place])


def _facts(made: OperatorNumbers) -> list[tuple[str, str]]:
    """What an element that adds up no products is made of."""
    element = made.element
    facts = [(f"tensor {number}", _plain(value)) for number, value in element.inputs]
    if element.members:
        facts.append((f"{len(element.members)} elements", ", ".join(map(str, element.members))))
    if element.moved is not None:
        number, place = element.moved
        facts.append(("moved, as it is, from", f"tensor {made.prepared.inputs[number]}, element {list(place)}"))
    return [*facts, *(("holds here" if met else "does not hold", text) for text, met in element.conditions)]


def _window(made: OperatorNumbers) -> Products | None:
    """What an element of a convolution adds up."""
    if made.element.real is not None:
        headers, real = real_rows(made.element.real)
        values = [float("nan") if product is None else float(product) for product in made.element.real.products]
        return Products(headers, real, real_sum_text(made.element.real), values)
    products = made.element.products
    if products is None or not isinstance(made.prepared, PreparedConvolution):
        return None
    layer = made.prepared.convolution
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    rows = [
        (str(list(place)), x, x - zx, w, w - zw, (x - zx) * (w - zw))
        for place, x, w in zip(products.places, products.x, products.weights, strict=True)
    ]
    total = sum(row[-1] for row in rows)
    padding = f"; {products.padding} taps meet no input value" if products.padding else ""
    acc = f"acc = {total} + {bracketed(products.bias)} (bias) = {products.acc}{padding}"
    return Products(("[row, column, channel]", *_INTEGERS), rows, acc)
