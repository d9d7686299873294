"""A one-layer dense model from plain numbers: what probes, evidence and tests are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..graph import Operator, Subgraph, Tensor
from ..types import DTYPES, Array, DType, QuantParams

__all__ = ["DTYPE_BY_NAME", "dense_subgraph", "quant"]

DTYPE_BY_NAME: dict[str, DType] = {dtype.name: dtype for dtype in DTYPES.values()}


def quant(scale: npt.ArrayLike, zero_point: npt.ArrayLike = 0, axis: int = 0) -> QuantParams:
    """Quantization parameters from plain numbers; one zero point is repeated for every scale."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return QuantParams(scales, zero_points, axis)


def dense_subgraph(
    weights: npt.NDArray[np.integer | np.floating],
    *,
    input_quant: QuantParams | None,
    weights_quant: QuantParams | None,
    output_quant: QuantParams | None,
    bias: npt.NDArray[np.integer | np.floating] | None = None,
    activation: str = "NONE",
    input_shape: Sequence[int] | None = None,
    keep_num_dims: bool = False,
    input_dtype: str = "int8",
    weights_dtype: str = "int8",
    output_dtype: str | None = None,
    bias_dtype: str = "int32",
    quantized_bias_type: str = "float32",
    asymmetric_quantize_inputs: bool = False,
) -> Subgraph:
    """A graph of one FULLY_CONNECTED operator; int8 throughout unless other element types are named.

    Args:
        weights: `[out, in]`; int4 held in int8.
        input_quant: s_x and zx; None for a float32 input.
        weights_quant: s_w, `[1]` or `[out]`; None for float32 weights.
        output_quant: s_y and zy; None for a float32 output.
        bias: `[out]`, or None. The scale of an integer bias is s_x * s_w; a float32 one has none.
        activation: fused activation.
        input_shape: default `[1, in]`. Its last dimension is the depth.
        keep_num_dims: keep the input's leading dimensions in the output.
        input_dtype: the input's element type.
        weights_dtype: the weights' element type.
        output_dtype: the output's; None for the input's.
        bias_dtype: the bias's, where there is one.
        quantized_bias_type: the option of that name.
        asymmetric_quantize_inputs: the option of that name.

    Returns:
        Tensors: 0 input, 1 weights, then the bias if there is one, then the output.
    """
    units, depth = weights.shape
    shape = tuple(input_shape) if input_shape is not None else (1, depth)
    if keep_num_dims:
        output_shape: tuple[int, ...] = (*shape[:-1], units)
    else:
        output_shape = (int(np.prod(shape)) // depth, units)
    tensors = [
        _tensor(0, "input", shape, input_dtype, input_quant),
        _tensor(1, "weights", weights.shape, weights_dtype, weights_quant, weights),
    ]
    if bias is not None:
        bias_quant = None
        if input_quant is not None and weights_quant is not None and bias_dtype != "float32":
            with np.errstate(all="ignore"):
                bias_quant = quant(np.float32(input_quant.scale[0]) * weights_quant.scale)
            bias_quant = replace(bias_quant, known=input_quant.known and weights_quant.known)
        tensors.append(_tensor(2, "bias", (units,), bias_dtype, bias_quant, bias))
    output = len(tensors)
    tensors.append(_tensor(output, "output", output_shape, output_dtype or input_dtype, output_quant))
    options: dict[str, int | float | bool | str | tuple[int, ...]] = {
        "fused_activation_function": activation,
        "weights_format": "DEFAULT",
        "keep_num_dims": keep_num_dims,
        "asymmetric_quantize_inputs": asymmetric_quantize_inputs,
        "quantized_bias_type": quantized_bias_type,
    }
    per_channel = weights_quant is not None and weights_quant.per_channel
    version = _version(input_dtype, weights_dtype, per_channel, keep_num_dims, quantized_bias_type)
    operator = Operator(0, "FULLY_CONNECTED", version, (0, 1, 2 if bias is not None else -1), (output,), options)
    return Subgraph("main", tuple(tensors), (operator,), (0,), (output,))


def _version(input_dtype: str, weights_dtype: str, per_channel: bool, keep_num_dims: bool, bias_type: str) -> int:
    """The operator version that converters write. Runtimes refuse numbers that they do not know."""
    if per_channel:
        return 12
    if bias_type != "float32":
        return 11
    if weights_dtype == "int4":
        return 10
    if input_dtype == "int16":
        return 7
    if input_dtype == "int8":
        return 4
    hybrid = input_dtype == "float32" and weights_dtype != "float32"
    return 5 if keep_num_dims else 3 if hybrid else 1


def _tensor(
    index: int,
    name: str,
    shape: tuple[int, ...],
    dtype_name: str,
    params: QuantParams | None,
    data: Array | None = None,
) -> Tensor:
    dtype = DTYPE_BY_NAME[dtype_name]
    return Tensor(
        index, name, shape, shape, dtype, params, None if data is None else np.asarray(data).astype(dtype.numpy)
    )
