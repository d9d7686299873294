"""Every operator LastBit computes, in one literal table."""

from __future__ import annotations

from functools import partial

from ..model.graph import Model, Operator
from ..runtimes.variant import Variant
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
from .entry import OperatorEntry, Role
from .moves import (
    concatenation,
    gather,
    pack,
    pad,
    reshape,
    shape,
    space_to_batch_nd,
    split,
    squeeze,
    strided_slice,
    transpose,
    unpack,
)
from .moves import slice as slicing
from .products import batch_matmul, conv_2d, depthwise_conv_2d, transpose_conv
from .products.convolution import convolution_variant
from .state import variables

__all__ = ["MANY", "OPERATORS", "OPERATOR_GROUPS", "OperatorEntry"]


NONE = (0, 0)
_LAYER: tuple[Role, ...] = ("input", "weights", "bias")
MANY = (1, 2**31 - 1)


def _types_variant(model: Model, op: Operator) -> Variant:
    """The element types of the first input and the output."""
    x = model.operand(op, 0)
    return Variant("absent" if x is None else x.dtype.name, model.tensors[op.outputs[0]].dtype.name)


def _no_variant(model: Model, op: Operator) -> Variant:
    """That of an operator without tensors."""
    return Variant("absent", "absent")


_moves = partial(OperatorEntry, reads_scales=False)

OPERATOR_GROUPS: dict[str, dict[str, OperatorEntry]] = {
    "Dense layers": {
        "FULLY_CONNECTED": OperatorEntry(
            fully_connected.prepare_fully_connected, dense_variant, fully_connected.RULES, (2, 3), roles=_LAYER
        ),
    },
    "Convolutions, products and pools": {
        "CONV_2D": OperatorEntry(conv_2d.prepare_conv_2d, convolution_variant, conv_2d.RULES, (2, 3), roles=_LAYER),
        "DEPTHWISE_CONV_2D": OperatorEntry(
            depthwise_conv_2d.prepare_depthwise_conv_2d,
            convolution_variant,
            depthwise_conv_2d.RULES,
            (2, 3),
            roles=_LAYER,
        ),
        "TRANSPOSE_CONV": OperatorEntry(
            transpose_conv.prepare_transpose_conv,
            transpose_conv.transpose_conv_variant,
            transpose_conv.RULES,
            (3, 4),
            roles=("output shape", "weights", "input", "bias"),
        ),
        "BATCH_MATMUL": OperatorEntry(
            batch_matmul.prepare_batch_matmul, _types_variant, batch_matmul.RULES, (2, 2), roles=("input", "weights")
        ),
        "AVERAGE_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.AVERAGE_RULES),
        "MAX_POOL_2D": OperatorEntry(pool_2d.prepare_pool_2d, _types_variant, pool_2d.MAX_RULES),
        "MEAN": OperatorEntry(mean.prepare_mean, _types_variant, mean.MEAN_RULES, (2, 2)),
        "SUM": OperatorEntry(mean.prepare_mean, _types_variant, mean.SUM_RULES, (2, 2)),
    },
    "Element by element": {
        "ADD": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES, (2, 2)),
        "SUB": OperatorEntry(add_sub.prepare_add_sub, _types_variant, add_sub.RULES, (2, 2)),
        "MUL": OperatorEntry(mul.prepare_mul, _types_variant, mul.RULES, (2, 2)),
        "MAXIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES, (2, 2)),
        "MINIMUM": OperatorEntry(maximum.prepare_maximum, _types_variant, maximum.RULES, (2, 2)),
    },
    "Activations": {
        "RELU": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
        "RELU6": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
        "RELU_N1_TO_1": OperatorEntry(relu.prepare_relu, _types_variant, relu.RULES),
        "LEAKY_RELU": OperatorEntry(leaky_relu.prepare_leaky_relu, _types_variant, leaky_relu.RULES),
        "HARD_SWISH": OperatorEntry(hard_swish.prepare_hard_swish, _types_variant, hard_swish.RULES),
        "LOGISTIC": OperatorEntry(logistic.prepare_logistic, _types_variant, logistic.RULES),
        "TANH": OperatorEntry(tanh.prepare_tanh, _types_variant, tanh.RULES),
        "SOFTMAX": OperatorEntry(softmax.prepare_softmax, _types_variant, softmax.RULES),
    },
    "Between types": {
        "QUANTIZE": OperatorEntry(quantize.prepare_quantize, _types_variant, quantize.RULES),
        "DEQUANTIZE": OperatorEntry(dequantize.prepare_dequantize, _types_variant, dequantize.RULES),
    },
    "State between calls": {
        "CALL_ONCE": _moves(variables.prepare_call_once, _no_variant, variables.RULES, NONE, NONE),
        "VAR_HANDLE": _moves(variables.prepare_var_handle, _types_variant, variables.RULES, NONE),
        "READ_VARIABLE": _moves(variables.prepare_read_variable, _types_variant, variables.RULES),
        "ASSIGN_VARIABLE": _moves(
            variables.prepare_assign_variable, variables.assign_variant, variables.RULES, (2, 2), NONE
        ),
    },
    "Shapes, copies and positions": {
        "BATCH_TO_SPACE_ND": _moves(
            space_to_batch_nd.prepare_batch_to_space_nd, _types_variant, space_to_batch_nd.RULES, (3, 3)
        ),
        "CONCATENATION": _moves(concatenation.prepare_concatenation, _types_variant, concatenation.RULES, MANY),
        "EXPAND_DIMS": _moves(squeeze.prepare_expand_dims, _types_variant, squeeze.RULES, (2, 2)),
        "FILL": _moves(shape.prepare_fill, _types_variant, shape.RULES, (2, 2), roles=("output shape", "input")),
        "GATHER": _moves(gather.prepare_gather, _types_variant, gather.RULES, (2, 2)),
        "PACK": _moves(pack.prepare_pack, _types_variant, pack.RULES, MANY),
        "PAD": _moves(pad.prepare_pad, _types_variant, pad.RULES, (2, 2)),
        "PADV2": _moves(pad.prepare_pad, _types_variant, pad.RULES, (3, 3)),
        "RESHAPE": _moves(reshape.prepare_reshape, _types_variant, reshape.RULES, (1, 2)),
        "SHAPE": _moves(shape.prepare_shape, _types_variant, shape.RULES),
        "SLICE": _moves(slicing.prepare_slice, _types_variant, slicing.RULES, (3, 3)),
        "SPACE_TO_BATCH_ND": _moves(
            space_to_batch_nd.prepare_space_to_batch_nd, _types_variant, space_to_batch_nd.TO_BATCH_RULES, (3, 3)
        ),
        "SPLIT": _moves(split.prepare_split, _types_variant, split.RULES, (2, 2), MANY),
        "SPLIT_V": _moves(split.prepare_split, _types_variant, split.RULES, (3, 3), MANY),
        "SQUEEZE": _moves(squeeze.prepare_squeeze, _types_variant, squeeze.RULES),
        "STRIDED_SLICE": _moves(strided_slice.prepare_strided_slice, _types_variant, strided_slice.RULES, (4, 4)),
        "TRANSPOSE": _moves(transpose.prepare_transpose, _types_variant, transpose.RULES, (2, 2)),
        "UNPACK": _moves(unpack.prepare_unpack, _types_variant, unpack.RULES, (1, 1), MANY),
        "ARG_MAX": _moves(arg_max.prepare_arg_max, _types_variant, arg_max.RULES, (2, 2)),
        "ARG_MIN": _moves(arg_max.prepare_arg_max, _types_variant, arg_max.RULES, (2, 2)),
    },
}
"""Every operator, as docs/operators.md groups them."""

OPERATORS: dict[str, OperatorEntry] = {
    name: entry for group in OPERATOR_GROUPS.values() for name, entry in group.items()
}
"""Name -> operator."""
