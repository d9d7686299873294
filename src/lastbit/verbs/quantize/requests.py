"""What a quantized file was asked to be: the options of `lastbit quantize` that may have made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...model.graph import Model
from ...model.types import IntegerType

__all__ = ["Request", "io_types", "is_static", "requests_of"]

_IO = ("float32", "int8", "uint8", "int16")


@dataclass(frozen=True)
class Request:
    """One way to ask for a file of this kind.

    Attributes:
        ranged: whether ranges are needed.
        activations: `int8` or `int16`, None without ranges.
        weights: `int8`, `int4` or `float16`.
        weight_only: whether a DEQUANTIZE stands before each weight.
        io: the types of inputs and outputs, None without ranges.
    """

    ranged: bool
    activations: str | None = None
    weights: str = "int8"
    weight_only: bool = False
    io: tuple[str, str] | None = None

    @property
    def method(self) -> str:
        """What is quantized, in words; empty where weights and activations are."""
        if self.ranged:
            return ""
        if self.weights == "float16":
            return "float16 weights"
        return ("int4 " if self.weights == "int4" else "int8 ") + (
            "weights only" if self.weight_only else "dynamic range"
        )

    @property
    def arguments(self) -> Mapping[str, Any]:
        """As `lastbit.quantize` takes them."""
        names = ("activations", "weights", "weight_only", "io")
        return {name: getattr(self, name) for name in names}


def requests_of(model: Model) -> tuple[Request, ...]:
    """The ways to ask for a file like this one: several where the file does not tell."""
    types = {tensor.dtype.name for tensor in model.tensors if tensor.data is not None}
    weights = "int4" if "int4" in types else "int8"
    if is_static(model):
        # The cell of an LSTM is int16 with int8 activations.
        computed = {tensor.dtype.name for tensor in model.tensors if tensor.data is None and not tensor.is_variable}
        return (Request(True, "int16" if "int16" in computed else "int8", weights, io=io_types(model)),)
    if "float16" in types:
        return (Request(False, weights="float16"),)
    return (Request(False, weights=weights), Request(False, weights=weights, weight_only=True))


def is_static(model: Model) -> bool:
    """Whether activations are integers: something is quantized that is not a constant."""
    quantized = any(tensor.quant is not None and isinstance(tensor.dtype, IntegerType) for tensor in model.inputs)
    return quantized or any(op.name == "QUANTIZE" for op in model.operators)


def io_types(model: Model) -> tuple[str, str]:
    """The types of a file's inputs and outputs, as the option --io names them; float32 where it has no such one."""
    found = [{t.dtype.name for t in part} & set(_IO) for part in (model.inputs, model.outputs)]
    # Beside integers, float32 is an end that no operator quantized.
    inputs, outputs = (min(types - {"float32"}, default="float32") for types in found)
    return inputs, outputs
