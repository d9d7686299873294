"""Which part of this reader writes which operator; what none writes is told by name."""

from __future__ import annotations

from ....model.graph import Model
from ....ops.base import PreparedOperator
from ....ops.dense.eight_bit import PreparedDense
from ....ops.elements.binary import PreparedBinary
from ....ops.products.batch_matmul import PreparedProduct
from ....ops.products.convolution import PreparedConvolution
from ....rules.base import Unsupported
from ..program import Piece
from .comparisons import extreme, position
from .curves import curve
from .dense import dense
from .elements import has_table, tabulated
from .library import Library
from .matrices import matrix_product
from .moves import copied, moved
from .requantize import READER
from .softmax import softmax
from .staged import binary, pool, reduction, unary
from .text import C_TYPES
from .windows import convolution

__all__ = ["pieces", "why_not"]

_JOINS = ("CONCATENATION", "PACK", "PAD", "PADV2", "SPLIT", "SPLIT_V", "UNPACK")
_VIEWS = ("EXPAND_DIMS", "GATHER", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE")
_IMAGES = ("BATCH_TO_SPACE_ND", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_BATCH_ND")
_MOVES = frozenset((*_JOINS, *_VIEWS, *_IMAGES))
_OF_ONE = frozenset(
    ("DEQUANTIZE", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
)


def pieces(entry: PreparedOperator, model: Model, library: Library) -> list[Piece]:
    """One operator as calls of functions.

    Args:
        entry: the operator.
        model: its model.
        library: where functions and constants go.

    Raises:
        Unsupported: what C does not have.
    """
    op = entry.operator
    prefix = f"op{op.index}_{op.name.lower()}"
    if op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
        return [copied(entry, model, library)]
    for index in (*entry.inputs, *op.outputs):
        if model.tensors[index].dtype.name not in C_TYPES:
            raise Unsupported(READER, "element type", model.tensors[index].dtype.name)
    match entry:
        case PreparedDense():
            return [dense(entry, prefix, library)]
        case PreparedConvolution():
            return convolution(entry, prefix, library)
        case PreparedProduct():
            return [matrix_product(entry, prefix, library)]
        case PreparedBinary() if entry.staged is not None:
            return [binary(entry, model, prefix, library)]
        case PreparedBinary() if op.name in ("MAXIMUM", "MINIMUM"):
            return [extreme(entry, model, prefix, library)]
        case _:
            return [_other(entry, model, prefix, library)]


def why_not(entry: PreparedOperator, model: Model, lack: Unsupported) -> str:
    """Why an operator is not written, in words."""
    kinds = {model.tensors[i].dtype.name for i in (*entry.inputs, *entry.operator.outputs)}
    words = f"C has no code for {lack.field} = {lack.value}"
    if "float32" in kinds and entry.operator.name not in _MOVES | _OF_ONE:
        return f"{words}: it calculates with float32 values, and only operators on integers are written"
    return words


def _other(entry: PreparedOperator, model: Model, prefix: str, library: Library) -> Piece:
    op = entry.operator
    filled = op.name == "FILL" and len(entry.inputs) == 1 and entry.inputs[0] == op.inputs[1]
    if op.name in _MOVES or filled:
        return moved(entry, model, prefix, library)
    if op.name in ("ARG_MAX", "ARG_MIN"):
        return position(entry, model, prefix, library)
    if len(entry.inputs) == 1 and len(op.outputs) == 1:
        source, output = model.tensors[entry.inputs[0]], model.tensors[op.outputs[0]]
        if op.name in _OF_ONE and has_table(source, output):
            return tabulated(entry, source, output, prefix, library)
        if entry.recipe is not None:
            return (softmax if op.name == "SOFTMAX" else curve)(entry, source, output, prefix, library)
        if entry.staged is not None and op.name in _OF_ONE:
            return unary(entry, model, prefix, library)
        if entry.staged is not None and op.name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            return pool(entry, model, prefix, library)
        if entry.staged is not None and op.name in ("MEAN", "SUM"):
            return reduction(entry, model, prefix, library)
    raise Unsupported(READER, "rule", f"{entry.rule} of {op.name}")
