"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..model.graph import Model, Operator
from ..runtimes.variant import Variant
from .base import PreparedOperator
from .dense import fully_connected
from .dense.layer import dense_variant
from .elements import (
    add_sub,
    arg_max,
    dequantize,
    hard_swish,
    leaky_relu,
    logistic,
    maximum,
    mean,
    mul,
    pool_2d,
    quantize,
    relu,
    softmax,
    tanh,
)
from .moves import concatenation, pack, pad, reshape, shape, split, squeeze, strided_slice, transpose, unpack
from .products import batch_matmul, conv_2d, depthwise_conv_2d, transpose_conv
from .products.convolution import convolution_variant
from .state import variables

__all__ = ["MANY", "OPERATORS", "OperatorEntry"]


@dataclass(frozen=True)
class OperatorEntry:
    """How one operator is handled.

    Attributes:
        prepare: (model, operator, rule name) -> prepared operator.
        variant: (model, operator) -> the variant that its rule is looked up by in a runtime.
        rules: rule name -> what it calculates, in one line.
        inputs: how many inputs it has: the fewest and the most.
        outputs: the same of its outputs.
        reads_scales: whether it reads any; what only moves values takes every scale.
    """

    prepare: Callable[[Model, Operator, str], PreparedOperator]
    variant: Callable[[Model, Operator], Variant]
    rules: Mapping[str, str]
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    reads_scales: bool = True


NONE = (0, 0)
MANY = (1, 2**31 - 1)


def _types_variant(model: Model, op: Operator) -> Variant:
    """The element types of the first input and the output."""
    x = model.operand(op, 0)
    return Variant("absent" if x is None else x.dtype.name, model.tensors[op.outputs[0]].dtype.name)


def _no_variant(model: Model, op: Operator) -> Variant:
    """That of an operator without tensors."""
    return Variant("absent", "absent")


_moves = partial(OperatorEntry, reads_scales=False)

OPERATORS: dict[str, OperatorEntry] = {
    "ADD": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES, (2, 2)),
    "ARG_MAX": _moves(arg_max.prepare_arg_max, _types_variant, arg_max.RULES, (2, 2)),
    "ARG_MIN": _moves(arg_max.prepare_arg_max, _types_variant, arg_max.RULES, (2, 2)),
    "AVERAGE_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.AVERAGE_RULES),
    "ASSIGN_VARIABLE": _moves(
        variables.prepare_assign_variable, variables.assign_variant, variables.RULES, (2, 2), NONE
    ),
    "BATCH_MATMUL": OperatorEntry(batch_matmul.prepare_batch_matmul, _types_variant, batch_matmul.RULES, (2, 2)),
    "CALL_ONCE": _moves(variables.prepare_call_once, _no_variant, variables.RULES, NONE, NONE),
    "CONCATENATION": _moves(concatenation.prepare_concatenation, _types_variant, concatenation.RULES, MANY),
    "CONV_2D": OperatorEntry(conv_2d.prepare_conv_2d, convolution_variant, conv_2d.RULES, (2, 3)),
    "DEPTHWISE_CONV_2D": OperatorEntry(
        depthwise_conv_2d.prepare_depthwise_conv_2d, convolution_variant, depthwise_conv_2d.RULES, (2, 3)
    ),
    "DEQUANTIZE": OperatorEntry(dequantize.prepare_dequantize, _types_variant, dequantize.RULES),
    "EXPAND_DIMS": _moves(squeeze.prepare_expand_dims, _types_variant, squeeze.RULES, (2, 2)),
    "FILL": _moves(shape.prepare_fill, _types_variant, shape.RULES, (2, 2)),
    "FULLY_CONNECTED": OperatorEntry(
        fully_connected.prepare_fully_connected, dense_variant, fully_connected.RULES, (2, 3)
    ),
    "HARD_SWISH": OperatorEntry(hard_swish.prepare_hard_swish, _types_variant, hard_swish.RULES),
    "LEAKY_RELU": OperatorEntry(leaky_relu.prepare_leaky_relu, _types_variant, leaky_relu.RULES),
    "LOGISTIC": OperatorEntry(logistic.prepare_logistic, _types_variant, logistic.RULES),
    "MAXIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES, (2, 2)),
    "MAX_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.MAX_RULES),
    "MEAN": OperatorEntry(mean.prepare_mean, _types_variant, mean.MEAN_RULES, (2, 2)),
    "MINIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES, (2, 2)),
    "MUL": OperatorEntry(mul.prepare_mul, _types_variant, mul.RULES, (2, 2)),
    "PACK": _moves(pack.prepare_pack, _types_variant, pack.RULES, MANY),
    "PAD": _moves(pad.prepare_pad, _types_variant, pad.RULES, (2, 2)),
    "PADV2": _moves(pad.prepare_pad, _types_variant, pad.RULES, (3, 3)),
    "QUANTIZE": OperatorEntry(quantize.prepare_quantize, _types_variant, quantize.RULES),
    "READ_VARIABLE": _moves(variables.prepare_read_variable, _types_variant, variables.RULES),
    "RELU": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU6": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RELU_N1_TO_1": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
    "RESHAPE": _moves(reshape.prepare_reshape, _types_variant, reshape.RULES, (1, 2)),
    "SHAPE": _moves(shape.prepare_shape, _types_variant, shape.RULES),
    "SOFTMAX": OperatorEntry(softmax.prepare_softmax, _types_variant, softmax.RULES),
    "SPLIT": _moves(split.prepare_split, _types_variant, split.RULES, (2, 2), MANY),
    "SPLIT_V": _moves(split.prepare_split, _types_variant, split.RULES, (3, 3), MANY),
    "SQUEEZE": _moves(squeeze.prepare_squeeze, _types_variant, squeeze.RULES),
    "STRIDED_SLICE": _moves(strided_slice.prepare_strided_slice, _types_variant, strided_slice.RULES, (4, 4)),
    "SUB": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES, (2, 2)),
    "SUM": OperatorEntry(mean.prepare_mean, _types_variant, mean.SUM_RULES, (2, 2)),
    "TANH": OperatorEntry(tanh.prepare_tanh, _types_variant, tanh.RULES),
    "TRANSPOSE": _moves(transpose.prepare_transpose, _types_variant, transpose.RULES, (2, 2)),
    "TRANSPOSE_CONV": OperatorEntry(
        transpose_conv.prepare_transpose_conv, transpose_conv.transpose_conv_variant, transpose_conv.RULES, (3, 4)
    ),
    "UNPACK": _moves(unpack.prepare_unpack, _types_variant, unpack.RULES, (1, 1), MANY),
    "VAR_HANDLE": _moves(variables.prepare_var_handle, _types_variant, variables.RULES, NONE),
}
