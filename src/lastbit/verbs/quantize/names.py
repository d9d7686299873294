"""Which tensor of the float model a tensor of a quantized file stands for: converters tell it by names alone."""

from __future__ import annotations

from ...model.graph import Model, Tensor

__all__ = ["float_tensor"]


def float_tensor(made: Tensor, source: Model) -> int | None:
    """The index of the float model's tensor that a tensor of a quantized file stands for; None where names do not tell.

    Where a float tensor has an integer one beside it, one of them has another name: LastBit adds the type and the
    number, the older quantizer the type, TensorFlow's MLIR quantizer a number.

    Args:
        made: a tensor of the quantized file.
        source: the float model.
    """
    numbered = made.name.rstrip("0123456789")
    names = (
        made.name,
        made.name.removesuffix(f"_{made.dtype.name}_{made.index}"),
        made.name.removesuffix(f"_{made.dtype.name}"),
        *(made.name[:end] for end in range(len(made.name) - 1, len(numbered) - 1, -1)),
    )
    for name in names:
        same = [tensor.index for tensor in source.tensors if tensor.name == name]
        if len(same) == 1:
            return same[0]
    return None
