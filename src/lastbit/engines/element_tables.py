"""Element-wise operators for a chain: tables asked from the reference, and QUANTIZE.

Tables are asked for all 256 values at every place of a sample, since some kernels calculate the last elements of a
sample otherwise than the rest.
"""

from __future__ import annotations

import numpy as np

from ..arith.floats import flush_subnormals
from ..model.graph import Tensor
from ..ops.base import PreparedOperator
from ..ops.elements.unary import per_tensor
from ..rules.base import ElementGroups
from ..rules.operators.fold import leaves
from ..rules.operators.forms import Quotient
from ..rules.operators.rule import Choice
from ..rules.operators.table import QUANTIZE
from .blas import ElementTable, QuantizeStep

__all__ = ["ELEMENTWISE", "element_table", "quantizer"]

ELEMENTWISE = (
    *("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH"),
    *("QUANTIZE", "DEQUANTIZE"),
)
"""Operators of one input and one output whose elements depend on one element each, and on its place."""

# 256 samples of this size are probed for a table.
_LARGEST_SAMPLE = 1 << 14

# The rules that compiled code has, by its number: see `jit_elements`.
_QUANTIZE_RULES = tuple(
    QUANTIZE[name]
    for name in ("float32_divide_half_away", "vector8_inverse_half_even", "float32_inverse_half_even_saturate")
)


def quantizer(entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> QuantizeStep | None:
    """QUANTIZE from float32 to 8 bits for a chain; None where it does not go in one."""
    kind, staged = output.dtype.numpy, entry.staged
    if entry.operator.name != "QUANTIZE" or staged is None or kind not in (np.int8, np.uint8):
        return None
    rule = staged.calculator.rule
    if rule not in _QUANTIZE_RULES:
        return None
    if source.data is not None:
        return None
    group = rule.when.elements if isinstance(rule, Choice) and isinstance(rule.when, ElementGroups) else 1
    if group > 1 and source.shape[0] != 1:
        return None  # places begin anew with every run of the file's batch
    to = per_tensor(entry.operator, output)
    number = _QUANTIZE_RULES.index(rule)
    with np.errstate(under="ignore"):
        floats = np.asarray([to.scale, np.float32(1) / to.scale], np.float32)
    if any(isinstance(stage, Quotient) and stage.flush for leaf in leaves(rule) for stage in leaf.stages):
        floats[1:] = flush_subnormals(floats[1:])
    whole = np.asarray([to.zero_point, to.qmin, to.qmax, number], np.int32)
    shape = source.shape[1:]
    assert kind is not None
    return QuantizeStep(
        constants=np.concatenate([floats.view(np.int32), whole]),
        split=elements - elements % group,
        period=elements,
        elements=elements,
        output=kind,
        evaluate=lambda x: entry.evaluate([x.reshape(-1, *shape)])["output"],
    )


def element_table(entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> ElementTable | None:
    """An element-wise operator as a table; None where it has none."""
    kind, made = source.dtype.numpy, output.dtype.numpy
    if kind not in (np.int8, np.uint8) or made not in (np.int8, np.uint8, np.float32) or elements > _LARGEST_SAMPLE:
        return None
    batch = source.shape[0]
    values = np.arange(-128, 128).astype(np.int8) if kind == np.int8 else np.arange(256).astype(np.uint8)
    # 256 runs of the file's shape, each with one value at every place.
    probe = np.repeat(values, batch * elements).reshape(256 * batch, *source.shape[1:])
    found = entry.evaluate([probe])["output"].reshape(256, batch * elements)
    bits = found.view(np.int32) if found.dtype == np.float32 else found
    first, last = bits[:, :1], bits[:, -1:]
    as_first = (bits == first).all(axis=0)
    split = int(np.argmin(as_first)) if not as_first.all() else batch * elements
    if not (bits[:, split:] == last).all():
        return None
    if split < batch * elements and batch > 1:
        return None  # places begin anew with every run of the file's batch, which need not end with the samples given
    table = np.ascontiguousarray(np.stack([found[:, 0], found[:, -1]]))
    period = batch * elements
    if split >= period:
        split = period = elements
    return ElementTable(values=table, split=split, period=period, elements=elements, unsigned=kind == np.uint8)
