"""The layers and networks that bench/user_code/ is written for: made here, so that no file is needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import lastbit
from lab.cases.operators import Operand
from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant

__all__ = ["LAYERS", "model_of", "numbers_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_SX, _SW, _SY = 0.0745098039, 0.01782345, 1.5403
_DENSE_OPTIONS = {
    "fused_activation_function": "NONE",
    "weights_format": "DEFAULT",
    "keep_num_dims": False,
    "asymmetric_quantize_inputs": False,
    "quantized_bias_type": "float32",
}
_CONV_OPTIONS = {
    "padding": "SAME",
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h_factor": 1,
    "dilation_w_factor": 1,
    "fused_activation_function": "NONE",
}


def _dense(units: int = 10, depth: int = 64, **changes: Any) -> Subgraph:
    """An int8 dense layer; what a layer has otherwise is named."""
    rng = np.random.default_rng([units, depth])
    low, high = changes.pop("weights", (-127, 127))
    scale_x, zero_x = changes.pop("x", (_SX, -5))
    scale_w, zero_w = changes.pop("w", (_SW, 0))
    scale_y, zero_y = changes.pop("y", (_SY, 4))
    bias = rng.integers(-4000, 4000, units)
    weights = rng.integers(low, high + 1, (units, depth))
    return dense_subgraph(
        weights,
        input_quant=quant(scale_x, zero_x),
        weights_quant=quant(scale_w, zero_w),
        output_quant=quant(scale_y, zero_y),
        bias=bias,
        **changes,
    )


def _hybrid(scale: Any, dtype: str = "int8", bias: bool = True) -> Subgraph:
    rng = np.random.default_rng(7)
    low, high = (-127, 127) if dtype == "int8" else (-8, 7)
    return dense_subgraph(
        rng.integers(low, high + 1, (9, 32)),
        input_quant=None,
        weights_quant=quant(scale),
        output_quant=None,
        bias=rng.normal(size=9).astype(np.float32) if bias else None,
        input_dtype="float32",
        weights_dtype=dtype,
        bias_dtype="float32",
    )


def _chained(operands: list[Operand], operators: list[tuple[str, tuple[int, ...], int, dict[str, Any]]]) -> Subgraph:
    tensors: tuple[Tensor, ...] = tuple(operand.tensor(index) for index, operand in enumerate(operands))
    made = [
        Operator(index, name, 3 if name != "RESHAPE" else 1, inputs, (output,), options)
        for index, (name, inputs, output, options) in enumerate(operators)
    ]
    return Subgraph("main", tensors, tuple(made), (0,), (operators[-1][2],))


def _convolution(
    side: int, channels: int, units: int, kernel: int = 3, op: str = "CONV_2D", **changes: Any
) -> Subgraph:
    rng = np.random.default_rng([side, channels, units, kernel])
    options = _CONV_OPTIONS | changes
    if op == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = units // channels
    reach = (kernel - 1) * options["dilation_h_factor"] + 1
    stride = options["stride_h"]
    out = -(-side // stride) if options["padding"] == "SAME" else (side - reach) // stride + 1
    scale_w = rng.uniform(0.004, 0.02, units).astype(np.float32)
    shape = (units, kernel, kernel, channels) if op == "CONV_2D" else (1, kernel, kernel, units)
    products = kernel * kernel * (channels if op == "CONV_2D" else 1)
    operands = [
        Operand((1, side, side, channels), "int8", 0.0235, -11),
        Operand(shape, "int8", scale_w, 0, rng.integers(-127, 128, shape), 0 if op == "CONV_2D" else 3),
        Operand((units,), "int32", np.float32(0.0235) * scale_w, 0, rng.integers(-3000, 3000, units)),
        Operand((1, out, out, units), "int8", 0.0235 * 0.012 * 74 * 74 * products**0.5 / 40, -20),
    ]
    return _chained(operands, [(op, (0, 1, 2), 3, options)])


def _flatten() -> Subgraph:
    rng = np.random.default_rng(40)
    operands = [
        Operand((1, 3, 2, 4), "int8", 0.02, -3),
        Operand((2,), "int32", None, 0, np.array([1, 24])),
        Operand((1, 24), "int8", 0.02, -3),
        Operand((5, 24), "int8", 0.01, 0, rng.integers(-127, 128, (5, 24))),
        Operand((5,), "int32", np.float32(0.02) * np.float32(0.01), 0, rng.integers(-400, 400, 5)),
        Operand((1, 5), "int8", 0.12, 2),
    ]
    return _chained(
        operands,
        [("RESHAPE", (0, 1), 2, {"new_shape": (1, 24)}), ("FULLY_CONNECTED", (2, 3, 4), 5, _DENSE_OPTIONS)],
    )


def _mlp() -> Subgraph:
    rng = np.random.default_rng(3)
    scales, zeros, sizes = (0.0235, 0.31, 0.42, 0.9), (-3, -128, -100, 5), (32, 24, 16, 10)
    operands = [Operand((1, 32), "int8", scales[0], zeros[0])]
    operators = []
    for layer in range(3):
        depth, units = sizes[layer : layer + 2]
        scale_w = 0.011 + 0.004 * layer
        first = len(operands)
        operands += [
            Operand((units, depth), "int8", scale_w, 0, rng.integers(-127, 128, (units, depth))),
            Operand(
                (units,), "int32", np.float32(scales[layer]) * np.float32(scale_w), 0, rng.integers(-900, 900, units)
            ),
            Operand((1, units), "int8", scales[layer + 1], zeros[layer + 1]),
        ]
        options = _DENSE_OPTIONS | {"fused_activation_function": "RELU" if layer < 2 else "NONE"}
        operators.append(("FULLY_CONNECTED", (first - 1, first, first + 1), first + 2, options))
    return _chained(operands, operators)


def _cnn() -> Subgraph:
    rng = np.random.default_rng(8)
    scale_w = rng.uniform(0.004, 0.02, 4).astype(np.float32)
    operands = [
        Operand((1, 6, 6, 2), "int8", 0.0235, 20),
        Operand((4, 3, 3, 2), "int8", scale_w, 0, rng.integers(-127, 128, (4, 3, 3, 2))),
        Operand((4,), "int32", np.float32(0.0235) * scale_w, 0, rng.integers(-900, 900, 4)),
        Operand((1, 6, 6, 4), "int8", 0.14, -128),
        Operand((2,), "int32", None, 0, np.array([1, 144])),
        Operand((1, 144), "int8", 0.14, -128),
        Operand((5, 144), "int8", 0.012, 0, rng.integers(-127, 128, (5, 144))),
        Operand((5,), "int32", np.float32(0.14) * np.float32(0.012), 0, rng.integers(-900, 900, 5)),
        Operand((1, 5), "int8", 1.1, 3),
    ]
    return _chained(
        operands,
        [
            ("CONV_2D", (0, 1, 2), 3, _CONV_OPTIONS | {"fused_activation_function": "RELU"}),
            ("RESHAPE", (3, 4), 5, {"new_shape": (1, 144)}),
            ("FULLY_CONNECTED", (5, 6, 7), 8, _DENSE_OPTIONS),
        ],
    )


def _residual() -> Subgraph:
    """CONV_2D, ADD with its input, AVERAGE_POOL_2D over the whole image, FULLY_CONNECTED."""
    rng = np.random.default_rng(12)
    scale_w = rng.uniform(0.004, 0.02, 4).astype(np.float32)
    operands = [
        Operand((1, 6, 6, 4), "int8", 0.0235, -11),
        Operand((4, 3, 3, 4), "int8", scale_w, 0, rng.integers(-127, 128, (4, 3, 3, 4))),
        Operand((4,), "int32", np.float32(0.0235) * scale_w, 0, rng.integers(-900, 900, 4)),
        Operand((1, 6, 6, 4), "int8", 0.081, -128),
        Operand((1, 6, 6, 4), "int8", 0.094, -97),
        Operand((1, 1, 1, 4), "int8", 0.094, -97),
        Operand((2,), "int32", None, 0, np.array([1, 4])),
        Operand((1, 4), "int8", 0.094, -97),
        Operand((5, 4), "int8", 0.012, 0, rng.integers(-127, 128, (5, 4))),
        Operand((5,), "int32", np.float32(0.094) * np.float32(0.012), 0, rng.integers(-900, 900, 5)),
        Operand((1, 5), "int8", 0.05, 3),
    ]
    return _chained(
        operands,
        [
            ("CONV_2D", (0, 1, 2), 3, _CONV_OPTIONS | {"fused_activation_function": "RELU"}),
            ("ADD", (0, 3), 4, {"fused_activation_function": "NONE", "pot_scale_int16": False}),
            ("AVERAGE_POOL_2D", (4,), 5, _pool_options(6, 1, "VALID")),
            ("RESHAPE", (5, 6), 7, {"new_shape": (1, 4)}),
            ("FULLY_CONNECTED", (7, 8, 9), 10, _DENSE_OPTIONS),
        ],
    )


def _pool_options(kernel: int, stride: int, padding: str) -> dict[str, Any]:
    return {
        "padding": padding,
        "stride_h": stride,
        "stride_w": stride,
        "filter_height": kernel,
        "filter_width": kernel,
        "fused_activation_function": "NONE",
    }


def _pooled(kind: str, zero: int) -> Subgraph:
    """CONV_2D, a pool of 3x3 with stride 2 and SAME, FULLY_CONNECTED."""
    rng = np.random.default_rng(13)
    scale_w = rng.uniform(0.004, 0.02, 3).astype(np.float32)
    operands = [
        Operand((1, 8, 8, 2), "int8", 0.0235, 20),
        Operand((3, 3, 3, 2), "int8", scale_w, 0, rng.integers(-127, 128, (3, 3, 3, 2))),
        Operand((3,), "int32", np.float32(0.0235) * scale_w, 0, rng.integers(-900, 900, 3)),
        Operand((1, 8, 8, 3), "int8", 0.09, zero),
        Operand((1, 4, 4, 3), "int8", 0.09, zero),
        Operand((2,), "int32", None, 0, np.array([1, 48])),
        Operand((1, 48), "int8", 0.09, zero),
        Operand((5, 48), "int8", 0.012, 0, rng.integers(-127, 128, (5, 48))),
        Operand((5,), "int32", np.float32(0.09) * np.float32(0.012), 0, rng.integers(-900, 900, 5)),
        Operand((1, 5), "int8", 0.4, 3),
    ]
    return _chained(
        operands,
        [
            ("CONV_2D", (0, 1, 2), 3, _CONV_OPTIONS | {"fused_activation_function": "RELU"}),
            (kind, (3,), 4, _pool_options(3, 2, "SAME")),
            ("RESHAPE", (4, 5), 6, {"new_shape": (1, 48)}),
            ("FULLY_CONNECTED", (6, 7, 8), 9, _DENSE_OPTIONS),
        ],
    )


def _classifier() -> Subgraph:
    """FULLY_CONNECTED, SOFTMAX."""
    rng = np.random.default_rng(14)
    operands = [
        Operand((1, 32), "int8", 0.0235, -3),
        Operand((6, 32), "int8", 0.011, 0, rng.integers(-127, 128, (6, 32))),
        Operand((6,), "int32", np.float32(0.0235) * np.float32(0.011), 0, rng.integers(-900, 900, 6)),
        Operand((1, 6), "int8", 0.07, 5),
        Operand((1, 6), "int8", 1 / 256, -128),
    ]
    return _chained(
        operands,
        [("FULLY_CONNECTED", (0, 1, 2), 3, _DENSE_OPTIONS), ("SOFTMAX", (3,), 4, {"beta": 1.0})],
    )


def _softmax() -> Subgraph:
    operands = [Operand((1, 10), "int8", 0.07, 5), Operand((1, 10), "int8", 1 / 256, -128)]
    return _chained(operands, [("SOFTMAX", (0,), 1, {"beta": 1.0})])


def _pool() -> Subgraph:
    operands = [Operand((1, 8, 8, 3), "int8", 0.09, -20), Operand((1, 4, 4, 3), "int8", 0.09, -20)]
    return _chained(operands, [("AVERAGE_POOL_2D", (0,), 1, _pool_options(3, 2, "SAME"))])


def _add() -> Subgraph:
    operands = [Operand((1, 40), "int8", scale, zero) for scale, zero in ((0.05, -7), (0.081, 20), (0.12, 3))]
    options = {"fused_activation_function": "NONE", "pot_scale_int16": False}
    made = _chained(operands, [("ADD", (0, 1), 2, options)])
    return replace(made, inputs=(0, 1))


def _unit_scales(units: int) -> Array:
    return np.random.default_rng(units).uniform(0.4, 1.6, units) * _SW


LAYERS = {
    "fc": _dense,
    "fc_channels": lambda: _dense(w=(_unit_scales(10), 0)),
    "fc_ties": lambda: _dense(weights=(-3, 3), x=(2.0**-5, 9), w=(2.0**-6, 0), y=(2.0**-6, -7)),
    "fc_loud": lambda: _dense(y=(0.4, 4)),
    "fc_relu": lambda: _dense(y=(_SY, -40), activation="RELU"),
    "fc_odd": lambda: _dense(depth=50),
    "fc_far": lambda: _dense(x=(_SX, -128)),
    "fc_rows": lambda: _dense(input_shape=(1, 16, 64), keep_num_dims=True),
    "fc_u8": lambda: _dense(
        weights=(0, 255), x=(_SX, 113), w=(_SW, 114), y=(_SY, 118), input_dtype="uint8", weights_dtype="uint8"
    ),
    "fc_u8_relu": lambda: _dense(
        weights=(0, 255), x=(1 / 255, 0), w=(_SW, 131), y=(0.06, 0), input_dtype="uint8", weights_dtype="uint8",
        activation="RELU",
    ),
    "fc_zp6": lambda: _dense(w=(_SW, 6)),
    "fc_16x8": lambda: _dense(
        6, 1024, x=(1 / 4096, 0), y=(0.02, 0), input_dtype="int16", weights_dtype="int8", bias_dtype="int64"
    ),
    "fc_int4": lambda: _dense(weights=(-8, 7), w=(0.2, 0), weights_dtype="int4"),
    "flatten": _flatten,
    "hybrid": lambda: _hybrid(0.011),
    "hybrid_channels": lambda: _hybrid(_unit_scales(9)),
    "hybrid_int4": lambda: _hybrid(0.05, "int4", bias=False),
    "conv": lambda: _convolution(8, 3, 4),
    "conv_stride2": lambda: _convolution(8, 3, 4, stride_h=2, stride_w=2),
    "conv_dilated": lambda: _convolution(9, 3, 4, dilation_h_factor=2, dilation_w_factor=2),
    "conv_pointwise": lambda: _convolution(6, 8, 5, 1),
    "conv_valid": lambda: _convolution(7, 3, 4, padding="VALID", fused_activation_function="RELU"),
    "depthwise": lambda: _convolution(8, 4, 4, op="DEPTHWISE_CONV_2D"),
    "depthwise_x2": lambda: _convolution(8, 4, 8, op="DEPTHWISE_CONV_2D"),
    "fc_square": lambda: _dense(16, 16, w=(_unit_scales(16), 0), y=(_SY / 2, 4)),
    "conv_relu6": lambda: _convolution(8, 3, 4, fused_activation_function="RELU6"),
    "conv_5_stride2": lambda: _convolution(8, 3, 4, 5, stride_h=2, stride_w=2),
    "residual": _residual,
    "pooled": lambda: _pooled("AVERAGE_POOL_2D", -128),
    "max_pooled": lambda: _pooled("MAX_POOL_2D", -128),
    "classifier": _classifier,
    "softmax": _softmax,
    "pool": _pool,
    "add": _add,
    "mlp": _mlp,
    "cnn": _cnn,
}  # fmt: skip
"""Name -> what makes the model."""


@cache
def model_of(name: str) -> Model:
    """A layer's model."""
    return lastbit.load(write(LAYERS[name]()))


def numbers_of(model: Model) -> list[dict[str, Any]]:
    """What a user takes from the file, layer by layer: weights, bias, scales and zero points."""
    found = []
    for op in model.operators:
        weights = model.operand(op, 1)
        if op.name == "RESHAPE":
            continue
        read, bias, made = model.tensors[op.inputs[0]], model.operand(op, 2), model.tensors[op.outputs[0]]
        if weights is None or weights.data is None:
            found.append(_without_weights([model.tensors[index] for index in op.inputs], made))
            continue
        assert weights.quant is not None
        assert weights.data is not None
        found.append(
            {
                "weights": weights.data,
                "bias": 0 if bias is None else bias.data,
                "input_scale": np.float32(1) if read.quant is None else read.quant.scale[0],
                "weights_scale": weights.quant.scale,
                "output_scale": np.float32(1) if made.quant is None else made.quant.scale[0],
                "zx": 0 if read.quant is None else int(read.quant.zero_point[0]),
                "zw": int(weights.quant.zero_point[0]),
                "zy": 0 if made.quant is None else int(made.quant.zero_point[0]),
            }
        )
    return found


def _without_weights(read: list[Tensor], made: Tensor) -> dict[str, Any]:
    """Scales and zero points of an operator without weights."""
    known = [tensor.quant for tensor in read if tensor.quant is not None]
    assert made.quant is not None
    return {
        "input_scales": [quant.scale[0] for quant in known],
        "input_zeros": [int(quant.zero_point[0]) for quant in known],
        "output_scale": made.quant.scale[0],
        "zy": int(made.quant.zero_point[0]),
    }
