"""One output element of any operator, worked out line by line; what `verify` shows of the first bad one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model.types import Array, fraction_of
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.products.convolution import PreparedConvolution
from ..rules.requantize.exact import exact_requantize
from .differences import ends_of, worked_element

__all__ = ["worked_operator_element"]


def worked_operator_element(
    prepared: PreparedOperator, values: Sequence[Array], index: tuple[int, ...], output: int = 0
) -> list[str]:
    """Every step of the calculation of one output element, a line each.

    Dense layers and quantized convolutions are worked in exact numbers by the slow twin, with what each rounding cut
    off; of other operators every named step is shown at this place.

    Args:
        prepared: the operator.
        values: its inputs.
        index: the element's place in the output.
        output: which output.
    """
    if isinstance(prepared, PreparedDense):
        return worked_element(prepared, values[0], index)
    steps = prepared.evaluate(values)
    name = f"output_{output}" if output else "output"
    head = f"element {list(index)}, rule {prepared.rule}"
    if isinstance(prepared, PreparedConvolution):
        return [head + f": acc = {int(steps['acc'][index])}", *_convolution_lines(prepared, steps, index)]
    shape = steps[name].shape
    lines = [head]
    for value, tensor in zip(values, prepared.inputs, strict=True):
        here = _at(value, index, shape)
        lines.append(f"{f'tensor {tensor}':16} {'-' if here is None else here}")
    for step, value in steps.items():
        here = _at(np.asarray(value), index, shape)
        if here is not None and not (step.startswith("output") and step != name):
            lines.append(f"{step:16} {here}")
    return lines


def _convolution_lines(prepared: PreparedConvolution, steps: dict[str, Array], index: tuple[int, ...]) -> list[str]:
    layer, channel = prepared.convolution, index[-1]
    assert layer.input.quant is not None
    assert layer.weights.quant is not None
    assert layer.output.quant is not None
    params = next(params for start, stop, params in prepared.requant if start <= channel < stop)
    scales = layer.weights.quant.scale
    lines = []
    for step in exact_requantize(
        params.rule,
        int(steps["acc"][index]),
        input_scale=fraction_of(layer.input.quant.scale[0]),
        weights_scale=fraction_of(scales[channel if scales.size > 1 else 0]),
        output_scale=fraction_of(layer.output.quant.scale[0]),
        ends=ends_of(params),
    ):
        value = step.value.numerator if step.value.denominator == 1 else repr(float(step.value))
        lost = f"   ({step.effect}; cut off {float(step.cut_off):.6g})" if step.effect else ""
        lines.append(f"{step.name:16} {step.formula} = {step.numbers} = {value}{lost}")
    return lines


def _at(value: Array, index: tuple[int, ...], shape: tuple[int, ...]) -> object:
    """The element of an array that meets this place of the output by broadcasting, or None where none does."""
    try:
        return np.broadcast_to(value, shape)[index].item()
    except (ValueError, IndexError):
        return None
