"""TRANSPOSE_CONV: every input value times every weight, added where the window of the output lies; requantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...arith.matmul import pack_weights
from ...arith.windows import WindowAxis
from ...model.errors import InputError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...rules.base import OneRow, ThreeByThree, Window
from ...rules.requantize.table import CHOICES_AROUND_DENSE
from ...runtimes.variant import Variant
from ..base import PreparedOperator, constant_operand, refuse, required_operand
from ..dense.layer import int16_bias
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .convolution import RULES as CONVOLUTION_RULES
from .convolution import Convolution, check_activation, check_types, finish

__all__ = ["ENTRIES", "RULES", "narrow_window", "prepare_transpose_conv", "transpose_conv_variant"]

# The matrix product that the kernels make has no windows of few taps, and is requantized apart from it.
_BY_OTHERS = {
    name for name, choice in CHOICES_AROUND_DENSE.items() if isinstance(choice.when, OneRow | ThreeByThree | Window)
}
RULES: dict[str, str] = {name: text for name, text in CONVOLUTION_RULES.items() if name not in _BY_OTHERS}


def transpose_conv_variant(model: Model, op: Operator) -> Variant:
    """The variant that a runtime's rule for it is looked up by: types, granularity, and of int16 the bias."""
    weights, x = model.operand(op, 1), model.operand(op, 2)
    quant = weights.quant if weights is not None else None
    found = Variant(
        "absent" if x is None else x.dtype.name,
        model.tensors[op.outputs[0]].dtype.name,
        "absent" if weights is None else weights.dtype.name,
        quant.granularity if quant is not None and quant.scale.size else "unquantized",
    )
    shifted = quant is not None and found.weights in ("int8", "int4") and quant.shifted
    bias = int16_bias(model, op, 3) if found.input == "int16" else ""
    return replace(found, weights_zero_point=shifted, bias=bias)


def narrow_window(model: Model, op: Operator) -> bool:
    """Whether padding is SAME and a side of the window is shorter than its stride."""
    weights = model.operand(op, 1)
    if weights is None or len(weights.shape) != 4 or op.options.get("padding", "SAME") != "SAME":
        return False
    strides = (int(op.options.get(f"stride_{axis}", 0)) for axis in "hw")  # type: ignore[arg-type]
    return any(size < stride for size, stride in zip(weights.shape[1:3], strides, strict=True))


def prepare_transpose_conv(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare TRANSPOSE_CONV: int8, uint8 or int16 x int8, with or without a bias.

    (input[n, i, j] - zx)(weights[o, k, l] - zw), summed up over the channels, is added to
    acc[n, i * stride_h - top + k, j * stride_w - left + l, o] for all i, j, k, l; then the bias; in an int32 that
    wraps, or in 64 bits where the rule says so. What falls outside of the output is left out. top and left are the
    padding that a convolution of the output with this window would have.

    Args:
        model: the model.
        op: the operator: output shape int32 `[4]`, weights `[out, kh, kw, in]`, input `[n, h, w, in]`, bias `[out]`.
        rule: a key of `RULES`.

    Returns:
        Steps: `acc`, those of the requantization, `output`, all `[n, out_h, out_w, out]`.

    Raises:
        UnsupportedError: shapes, types or options outside of what LastBit covers.

    Source: google-ai-edge/LiteRT, tflite/kernels/transpose_conv.cc @9320c268153a; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/transpose_conv.cc @90b983c2b3f1.
    """
    layer, shape_index = _layer(model, op, rule)
    assert layer.weights.data is not None
    height, width, out = layer.output.shape[1:]
    rows, columns = layer.rows, layer.columns
    top, left = rows.padding(height)[0], columns.padding(width)[0]
    reached = (
        (x - 1) * axis.stride + axis.size for x, axis in zip(layer.input.shape[1:3], (rows, columns), strict=True)
    )
    check_growth(op, (layer.input.shape[0], *map(max, reached, (height + top, width + left)), out), layer.input.shape)
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    weights = layer.weights.data.astype(np.int64) - zw
    info = np.iinfo(layer.input.dtype.numpy)
    # [kh * kw * out, in]: the products of one input place with the whole window.
    packed = pack_weights(
        weights.transpose(1, 2, 0, 3).reshape(-1, weights.shape[3]), max(zx - info.min, info.max - zx)
    )

    def accumulate(x: Array) -> npt.NDArray[np.int64]:
        kind = packed.kind
        centered = x.astype(kind) - kind.type(zx)
        products = packed.dot(centered.reshape(-1, x.shape[3])).reshape(*x.shape[:3], rows.size, columns.size, out)
        # Room for what falls outside; cut off at the end.
        reach_h = max((x.shape[1] - 1) * rows.stride + rows.size, height + top)
        reach_w = max((x.shape[2] - 1) * columns.stride + columns.size, width + left)
        sums = np.zeros((x.shape[0], reach_h, reach_w, out), np.int64)
        for k in range(rows.size):
            last = k + (x.shape[1] - 1) * rows.stride + 1
            for m in range(columns.size):
                end = m + (x.shape[2] - 1) * columns.stride + 1
                sums[:, k : last : rows.stride, m : end : columns.stride] += products[:, :, :, k, m].astype(np.int64)
        return sums[:, top : top + height, left : left + width]

    prepared = finish(layer, rule, accumulate)
    if shape_index is None:
        return prepared
    wanted, inner = layer.output.shape, prepared.evaluate

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if tuple(np.asarray(values[0]).reshape(-1).tolist()) != (len(values[1]), *wanted[1:]):
            raise InputError(f"{op.label}: found the output shape {values[0]}, wanted {list(wanted)}, as in the file")
        return inner(values[1:])

    return replace(prepared, inputs=(shape_index, *prepared.inputs), evaluate=evaluate)


def _layer(model: Model, op: Operator, rule: str) -> tuple[Convolution, int | None]:
    """The operator as its file has it, checked; and the index of the output shape's tensor if it is computed."""
    if rule not in RULES:
        raise refuse(op, f"has no arithmetic rule named {rule!r}; it has {', '.join(sorted(RULES))}")
    shape = required_operand(model, op, 0, "output shape")
    weights = constant_operand(model, op, 1, "weights")
    x = required_operand(model, op, 2, "input")
    bias = model.operand(op, 3)
    output = model.tensors[op.outputs[0]]
    if any(len(tensor.shape) != 4 or 0 in tensor.shape for tensor in (x, weights, output)):
        raise refuse(op, f"input {list(x.shape)} and weights {list(weights.shape)} must have four dimensions each")
    rows, columns = (
        WindowAxis(
            weights.shape[position],
            int(op.options.get(f"stride_{axis}", 0)),  # type: ignore[arg-type]
            1,
            op.options.get("padding", "SAME") == "SAME",
        )
        for position, axis in ((1, "h"), (2, "w"))
    )
    layer = Convolution(op, x, weights, bias, output, rows, columns)
    problems = check_activation(op)
    if min(rows.stride, columns.stride) < 1:
        problems.append("strides must be 1 or more")
    if weights.shape[3] != x.shape[3] or weights.shape[0] != output.shape[3] or x.shape[0] != output.shape[0]:
        problems.append(
            f"input {list(x.shape)}, weights {list(weights.shape)} and output {list(output.shape)} do not fit"
        )
    if shape.data is not None and tuple(shape.data.reshape(-1).tolist()) != output.shape:
        problems.append(f"the output shape is {shape.data.reshape(-1).tolist()}, the output {list(output.shape)}")
    if x.data is not None:
        problems.append(f"the input ({x.label}) is a constant; LastBit covers computed input only")
    if bias is not None and bias.data is None:
        problems.append(f"the bias ({bias.label}) is computed at run time; LastBit covers constant bias only")
    if bias is not None and bias.shape != (weights.shape[0],):
        problems.append(f"the bias ({bias.label}) has the shape {list(bias.shape)}, wanted [out]")
    problems += check_types(layer)
    if problems:
        raise refuse(op, "; ".join(problems))
    return layer, None if shape.data is not None else shape.index


ENTRIES = {
    "TRANSPOSE_CONV": OperatorEntry(
        prepare_transpose_conv,
        RULES,
        OperatorGroup.PRODUCTS,
        transpose_conv_variant,
        (3, 4),
        roles=("output shape", "weights", "input", "bias"),
    ),
}
