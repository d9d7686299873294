"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..model import Model, Operator
from . import (
    add_sub,
    arg_max,
    batch_matmul,
    concatenation,
    conv_2d,
    depthwise_conv_2d,
    dequantize,
    fully_connected,
    hard_swish,
    leaky_relu,
    logistic,
    maximum,
    mean,
    mul,
    pack,
    pad,
    pool_2d,
    quantize,
    relu,
    reshape,
    shape,
    softmax,
    split,
    squeeze,
    strided_slice,
    tanh,
    transpose,
    unpack,
)
from ._convolution import convolution_variant
from .base import PreparedOperator
from .dense_layer import dense_variant

__all__ = ["OPERATORS", "OperatorEntry"]


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
        rules: rule name -> what it calculates, in one line.
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    variant: Callable[[Model, Operator], str]
    rules: Mapping[str, str]


def _types_variant(model: Model, op: Operator) -> str:
    """`<input dtype>-><output dtype>`."""
    x = model.operand(op, 0)
    return f"{x.dtype.name if x is not None else 'absent'}->{model.tensors[op.outputs[0]].dtype.name}"


OPERATORS: dict[str, OperatorEntry] = {
    "ADD": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES),
    "ARG_MAX": OperatorEntry(arg_max.prepare_arg_max, _types_variant, arg_max.RULES),
    "ARG_MIN": OperatorEntry(arg_max.prepare_arg_max, _types_variant, arg_max.RULES),
    "AVERAGE_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.AVERAGE_RULES),
    "BATCH_MATMUL": OperatorEntry(batch_matmul.prepare_batch_matmul, _types_variant, batch_matmul.RULES),
    "CONCATENATION": OperatorEntry(concatenation.prepare_concatenation, _types_variant, concatenation.RULES),
    "CONV_2D": OperatorEntry(conv_2d.prepare_conv_2d, convolution_variant, conv_2d.RULES),
    "DEPTHWISE_CONV_2D": OperatorEntry(
        depthwise_conv_2d.prepare_depthwise_conv_2d, convolution_variant, depthwise_conv_2d.RULES
    ),
    "DEQUANTIZE": OperatorEntry(dequantize.prepare_dequantize, _types_variant, dequantize.RULES),
    "EXPAND_DIMS": OperatorEntry(squeeze.prepare_expand_dims, _types_variant, squeeze.RULES),
    "FILL": OperatorEntry(shape.prepare_fill, _types_variant, shape.RULES),
    "FULLY_CONNECTED": OperatorEntry(fully_connected.prepare_fully_connected, dense_variant, fully_connected.RULES),
    "HARD_SWISH": OperatorEntry(hard_swish.prepare_hard_swish, _types_variant, hard_swish.RULES),
    "LEAKY_RELU": OperatorEntry(leaky_relu.prepare_leaky_relu, _types_variant, leaky_relu.RULES),
    "LOGISTIC": OperatorEntry(logistic.prepare_logistic, _types_variant, logistic.RULES),
    "MAXIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES),
    "MAX_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.MAX_RULES),
    "MEAN": OperatorEntry(mean.prepare_mean, _types_variant, mean.MEAN_RULES),
    "MINIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES),
    "MUL": OperatorEntry(mul.prepare_mul, _types_variant, mul.RULES),
    "PACK": OperatorEntry(pack.prepare_pack, _types_variant, pack.RULES),
    "PAD": OperatorEntry(pad.prepare_pad, _types_variant, pad.RULES),
    "PADV2": OperatorEntry(pad.prepare_pad, _types_variant, pad.RULES),
    "QUANTIZE": OperatorEntry(quantize.prepare_quantize, _types_variant, quantize.RULES),
    "RELU": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU6": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU_N1_TO_1": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RESHAPE": OperatorEntry(reshape.prepare_reshape, _types_variant, reshape.RULES),
    "SHAPE": OperatorEntry(shape.prepare_shape, _types_variant, shape.RULES),
    "SOFTMAX": OperatorEntry(softmax.prepare_softmax, _types_variant, softmax.RULES),
    "SPLIT": OperatorEntry(split.prepare_split, _types_variant, split.RULES),
    "SPLIT_V": OperatorEntry(split.prepare_split, _types_variant, split.RULES),
    "SQUEEZE": OperatorEntry(squeeze.prepare_squeeze, _types_variant, squeeze.RULES),
    "STRIDED_SLICE": OperatorEntry(strided_slice.prepare_strided_slice, _types_variant, strided_slice.RULES),
    "SUB": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES),
    "SUM": OperatorEntry(mean.prepare_mean, _types_variant, mean.SUM_RULES),
    "TANH": OperatorEntry(tanh.prepare_tanh, _types_variant, tanh.RULES),
    "TRANSPOSE": OperatorEntry(transpose.prepare_transpose, _types_variant, transpose.RULES),
    "UNPACK": OperatorEntry(unpack.prepare_unpack, _types_variant, unpack.RULES),
}
