"""Every kernel, in one literal table; and what each version of a runtime refuses whatever kernel it runs."""

from __future__ import annotations

from ...model.errors import Refusal
from ...runtimes.base import Family, Refused, Runtime
from ...runtimes.variant import Variant
from ..base import PreparedOperator, refuse
from ..dense.eight_bit import PreparedDense
from ..dense.layer import PreparedLayer
from ..products.batch_matmul import PreparedProduct
from ..products.convolution import PreparedConvolution
from .base import Kernel, first_refusal, refused
from .libraries import CMSIS_NN, FBGEMM, ONNXRUNTIME
from .litert import BUILTIN, REFERENCE
from .tflm import TFLM
from .xnnpack import XNNPACK

__all__ = ["DELEGATE", "KERNELS", "Kernel", "check_kernel"]

KERNELS: dict[Family, Kernel] = {
    kernel.family: kernel for kernel in (XNNPACK, BUILTIN, REFERENCE, TFLM, CMSIS_NN, ONNXRUNTIME, FBGEMM)
}

DELEGATE = XNNPACK
"""The kernels of runtimes that have a fallback."""


def check_kernel(prepared: PreparedOperator, kernel: Kernel, variant: Variant, runtime: Runtime) -> None:
    """Refuse what the real kernel refuses when it prepares an operator, in this version of its runtime.

    Args:
        prepared: the operator with its constants folded.
        kernel: what calculates it.
        variant: the operator's variant.
        runtime: the runtime.

    Raises:
        UnsupportedError: with the kernel's reason.
    """
    found = (
        first_refusal(kernel.checks, prepared, runtime)
        or _operator_version(prepared, runtime)
        or first_refusal(kernel.version_checks, prepared, runtime)
        or _overflow(prepared, kernel, runtime)
        or _written_in_part(prepared, variant, runtime)
    )
    if found is not None:
        raise refuse(prepared.operator, found.reason, found.kind)


def _operator_version(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    op = prepared.operator
    largest = runtime.operator_versions.get(op.name)
    if largest is None or op.version <= largest:
        return None
    return refused(f"operator version {op.version}; this version of the runtime knows versions up to {largest}")


def _overflow(prepared: PreparedOperator, kernel: Kernel, runtime: Runtime) -> Refused | None:
    if kernel.family not in runtime.overflowing:
        return None
    match prepared:
        case PreparedDense():
            return kernel.overflowing_pairs(prepared)
        case PreparedConvolution() if prepared.operator.name != "DEPTHWISE_CONV_2D":
            return kernel.lowest_weights(prepared.convolution)
        case PreparedProduct() if kernel.family is Family.XNNPACK:
            return Refused(
                Refusal.NOT_EXACT,
                "not exact: this CPU's kernel adds two products in 16 bits; which of them share a sum is not known",
            )
        case _:
            return None


def _written_in_part(prepared: PreparedOperator, variant: Variant, runtime: Runtime) -> Refused | None:
    if not isinstance(prepared, PreparedLayer) or variant not in runtime.written_in_part:
        return None
    layer = prepared.layer
    if not layer.keep_num_dims or len(layer.output.shape) <= 2:
        return None
    return Refused(
        Refusal.UNDEFINED,
        f"output of rank {len(layer.output.shape)}: this version's kernel takes it for two dimensions and "
        "leaves the rest unwritten, or ends the process",
    )
