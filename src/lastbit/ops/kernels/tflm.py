"""TensorFlow Lite Micro's portable kernels."""

from __future__ import annotations

from ...model.errors import Refusal
from ...model.faults import TFLM_MISREADS
from ...runtimes.base import Family, Refused, Runtime
from ..base import PreparedOperator
from ..products.convolution import PreparedConvolution
from ..validity import FileLimits
from .base import Kernel, refused
from .dense import bias_scale, depth_multiplier, finite_scale, hybrid_int4_zero_point, weight_notes

__all__ = ["TFLM"]


def _fill(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    op = prepared.operator
    computed = op.name == "FILL" and op.inputs[0] in prepared.inputs
    return refused("the interpreter wants a constant shape") if computed else None


def _no_bias(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    op = prepared.operator
    if not isinstance(prepared, PreparedConvolution) or op.name != "DEPTHWISE_CONV_2D":
        return None
    if prepared.convolution.bias is not None or len(op.inputs) <= 2:
        return None
    return refused("the interpreter crashes on a depthwise convolution without a bias")


TFLM = Kernel(
    Family.TFLM,
    checks=(
        finite_scale,
        bias_scale("float64"),
        hybrid_int4_zero_point,
        _fill,
        _no_bias,
        depth_multiplier("the interpreter calculates without meaning for", Refusal.UNDEFINED),
    ),
    notes=weight_notes,
    file=FileLimits(misreads=TFLM_MISREADS),
)
