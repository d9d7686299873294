"""The compiled engine's part of a plan: dense layers packed for the CPU's dot product instructions."""

from __future__ import annotations

from collections.abc import Callable

from ...model.graph import Model, Tensor
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.hybrid import PreparedHybrid
from ...rules.base import Unsupported
from ..blas import DenseByBlas, Runnable, Softmax
from ..plan import Around, Backend
from . import matmul, softmax
from .hybrid import pack_hybrid
from .images import pack_image_operator
from .matmul import Chain
from .slots import form_slots

__all__ = ["JitBackend"]


class JitBackend(Backend):
    """Chains in compiled code; what its kernels do not cover runs by NumPy."""

    branches = True

    def dense(self, entry: PreparedDense, rows: int) -> tuple[object, str] | None:
        """See `Backend.dense`."""
        layer = entry.layer
        params, bias = entry.requant, entry.folded_bias
        if layer.input.data is not None or entry.pairs is not None:
            return None  # sums of pairs that saturate run as the reference does
        if params.bias is not None:
            bias = bias - params.bias  # these forms add it themselves
        packed = None
        try:
            slots = form_slots(params, layer.input_scale, layer.weights_scale)
        except Unsupported:
            slots = None
        if slots is not None:
            packed = matmul.pack(
                layer.weights_values,
                weights_zero_point=layer.weights_zero_point,
                bias=bias,
                epilogue=matmul.Epilogue(params, slots, cheapest=True),
                acc_bits=entry.acc_bits,
                input_type=layer.input.dtype.name,
                rows=rows,
            )
        if packed is None:
            made = super().dense(entry, rows)
            return None if made is None else (made[0], "numpy")
        return packed, "compiled"

    def hybrid(self, entry: PreparedHybrid, rows: int) -> tuple[object, str] | None:
        """See `Backend.hybrid`."""
        packed = pack_hybrid(entry, rows)
        return None if packed is None else (packed, "compiled")

    def image(self, entry: PreparedOperator, model: Model, around: Around | None) -> object | None:
        """See `Backend.image`."""
        return pack_image_operator(entry, model, around or ((0, 0), (0, 0)))

    def softmax(self, entry: PreparedOperator, source: Tensor, output: Tensor, elements: int) -> Softmax | None:
        """See `Backend.softmax`."""
        return softmax.make_softmax(entry, source, output, elements)

    def chain(
        self, operators: list[object], refuse: Callable[[Array], Array], wiring: list[tuple[int, ...]]
    ) -> Runnable | None:
        """See `Backend.chain`."""
        if any(isinstance(op, DenseByBlas) for op in operators):
            return super().chain(operators, refuse, wiring)
        return Chain(operators, refuse, wiring)  # type: ignore[arg-type]
