"""A one-layer dense model from plain numbers: what probes, evidence and tests are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..model import Operator, Subgraph, Tensor
from ..types import DTYPES, Array, DType, IntArray, QuantParams

__all__ = ["DTYPE_BY_NAME", "dense_subgraph", "quant"]

DTYPE_BY_NAME: dict[str, DType] = {dtype.name: dtype for dtype in DTYPES.values()}


def quant(scale: npt.ArrayLike, zero_point: npt.ArrayLike = 0, axis: int = 0) -> QuantParams:
    """Quantization parameters from plain numbers; one zero point is repeated for every scale."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
    return QuantParams(scales, zero_points, axis)


def dense_subgraph(
    weights: IntArray,
    *,
    input_quant: QuantParams,
    weights_quant: QuantParams,
    output_quant: QuantParams,
    bias: IntArray | None = None,
    activation: str = "NONE",
    input_shape: Sequence[int] | None = None,
    keep_num_dims: bool = False,
) -> Subgraph:
    """A graph of one int8 FULLY_CONNECTED operator.

    Args:
        weights: int8 `[out, in]`.
        input_quant: s_x and zx.
        weights_quant: s_w, `[1]` or `[out]`.
        output_quant: s_y and zy.
        bias: int32 `[out]`, or None. Its scale is s_x * s_w.
        activation: fused activation.
        input_shape: default `[1, in]`. Its last dimension is the depth.
        keep_num_dims: keep the input's leading dimensions in the output.

    Returns:
        Tensors: 0 input, 1 weights, then the bias if there is one, then the output.
    """
    units, depth = weights.shape
    shape = tuple(input_shape) if input_shape is not None else (1, depth)
    if keep_num_dims:
        output_shape: tuple[int, ...] = (*shape[:-1], units)
    else:
        output_shape = (int(np.prod(shape)) // depth, units)
    int8, int32 = DTYPE_BY_NAME["int8"], DTYPE_BY_NAME["int32"]
    tensors = [
        _tensor(0, "input", shape, int8, input_quant),
        _tensor(1, "weights", weights.shape, int8, weights_quant, weights.astype(np.int8)),
    ]
    if bias is not None:
        bias_scale = np.float32(input_quant.scale[0]) * weights_quant.scale
        tensors.append(_tensor(2, "bias", (units,), int32, quant(bias_scale), bias.astype(np.int32)))
    output = len(tensors)
    tensors.append(_tensor(output, "output", output_shape, int8, output_quant))
    options: dict[str, int | float | bool | str | tuple[int, ...]] = {
        "fused_activation_function": activation,
        "weights_format": "DEFAULT",
        "keep_num_dims": keep_num_dims,
        "asymmetric_quantize_inputs": False,
        "quantized_bias_type": "float32",
    }
    # Version 4 is int8; per-channel weights came with version 12, and runtimes check the number.
    version = 12 if weights_quant.per_channel else 4
    operator = Operator(0, "FULLY_CONNECTED", version, (0, 1, 2 if bias is not None else -1), (output,), options)
    return Subgraph("main", tuple(tensors), (operator,), (0,), (output,))


def _tensor(
    index: int,
    name: str,
    shape: tuple[int, ...],
    dtype: DType,
    params: QuantParams,
    data: Array | None = None,
) -> Tensor:
    return Tensor(index, name, shape, shape, dtype, params, data)
