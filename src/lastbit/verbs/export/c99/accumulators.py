"""What dense layers, convolutions and matrix products have in common as C: sums, and from there to the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ....model.graph import Tensor
from ....model.types import Array, Int64Array, integer_type
from ....rules.base import Pairs, Sums, Unsupported, Whole
from ....rules.requantize.fold import RequantParams
from ..program import Probed
from .library import Library
from .requantize import READER, Requantizer
from .text import C_TYPES, integer

__all__ = [
    "Accumulator",
    "IntegerLayer",
    "accumulator",
    "constants_of",
    "finish",
    "multiply_add",
    "probed",
    "reach_of",
    "requantization",
    "start_of",
    "types_of",
]


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """What dense layers and convolutions have in common.

    Attributes:
        prefix: what its constants' names begin with.
        tensors: input and output.
        weights: as the kernel reads them, and their element type.
        bias: int64 `[channels]`.
        offsets: what is added to each input, and to each weight.
        reach: for each channel the largest magnitude that its sum can have on the way.
    """

    prefix: str
    tensors: tuple[Tensor, Tensor]
    weights: Array
    bias: Int64Array
    offsets: tuple[int, int]
    reach: int


@dataclass(frozen=True)
class Accumulator:
    """How sums are kept: their type, that of one product, and what reads the register at last."""

    type: str
    factor: str
    read: str
    name: str

    @property
    def wide(self) -> bool:
        """Whether it has 64 bits, and so its bias."""
        return self.type in ("int64_t", "uint64_t")


def accumulator(sums: Sums, reach: int, library: Library) -> Accumulator:
    """The smallest registers of C that give what the rule's give."""
    match sums.products:
        case Whole():
            pass
        case Pairs():
            raise Unsupported(READER, "products", sums.products)
        case never:
            assert_never(never)
    match sums.bits:
        case 64:
            if reach < 1 << 63:
                return Accumulator("int64_t", "(int64_t)", "acc", "s64")
            library.helper("wrap64")
            return Accumulator("uint64_t", "(uint64_t)", "wrap64(acc)", "wrap64")
        case 32 | 28:
            if reach < 1 << (sums.bits - 1):
                return Accumulator("int32_t", "", "acc", "s32")
            library.helper(f"wrap{sums.bits}")
            return Accumulator("uint32_t", "(uint32_t)", f"wrap{sums.bits}(acc)", f"wrap{sums.bits}")
        case never_bits:
            assert_never(never_bits)


def reach_of(weights: Array, zero_point: int, bias: Int64Array, source: Tensor, offset: int) -> int:
    """The largest magnitude of a sum or of a part of it; weights `[channels, products]`."""
    dtype = integer_type(source.dtype)
    largest = max(abs(dtype.qmin + offset), abs(dtype.qmax + offset))
    sums = np.abs(weights.astype(np.float64) - zero_point).sum(axis=1) * largest + np.abs(bias.astype(np.float64))
    return int(sums.max(initial=0.0) * 1.0000001) + 1


def probed(params: RequantParams, made: Requantizer, channels: tuple[int, int], structure: str) -> tuple[Probed, ...]:
    """The requantization of some channels, which a self-test asks alone."""
    return (Probed(params, *channels, made.function, (made.structure, structure), made.names),)


def types_of(layer: IntegerLayer, acc: Accumulator) -> tuple[str, str, str, str]:
    """The C types of input, weights, bias and output."""
    source, output = layer.tensors
    bias = "int64_t" if acc.wide else "int32_t"
    return C_TYPES[source.dtype.name], C_TYPES[layer.weights.dtype.name], bias, C_TYPES[output.dtype.name]


def constants_of(layer: IntegerLayer, acc: Accumulator, library: Library) -> tuple[str, str]:
    """The arrays of a layer's weights and bias."""
    kind = np.dtype(np.int64 if acc.wide else np.int32)
    weights = library.array(f"{layer.prefix}_filter", layer.weights.dtype, layer.weights)
    return weights, library.array(f"{layer.prefix}_bias", kind, layer.bias.astype(kind))


def requantization(
    prefix: str, offsets: tuple[int, int], params: RequantParams, made: Requantizer, library: Library
) -> str:
    """The constants of an operator's requantization as a structure; offsets are those of input and weights."""
    numbers = (
        library.array(f"{prefix}_{name}", values.dtype, values)
        for name, values in zip(made.names, made.factors, strict=True)
    )
    values = (
        f"{', '.join(numbers)}, {int(made.factors[0].size > 1)} /* per_channel */",
        f"{offsets[0]} /* input_offset */, {offsets[1]} /* filter_offset */, "
        f"{params.output_zero_point} /* output_offset */",
        f"{integer(params.activation_min)} /* activation_min */, {integer(params.activation_max)} /* activation_max */",
    )
    text = ",\n    ".join(values)
    return library.constant(f"{prefix}_requantization", f"static const {made.structure} @ = {{\n    {text}}};")


def finish(acc: Accumulator, made: Requantizer, channel: str, first: str = "") -> list[str]:
    """From the accumulator to the output, in CMSIS-NN's names."""
    place = f"q->per_channel * {channel}" if not first else f"q->per_channel * ({channel} - {first})"
    numbers = ", ".join(f"q->{name}[at]" for name in made.names)
    return [
        f"const int32_t at = {place};",
        f"{made.function}({acc.read}, {numbers}, q);",
    ]


def multiply_add(acc: Accumulator, value: str, weight: str) -> str:
    """One product, added to the accumulator."""
    return f"acc += {acc.factor}({value} + q->input_offset) * {acc.factor}({weight} + q->filter_offset);"


def start_of(acc: Accumulator, bias: str) -> str:
    """The accumulator with its first value."""
    cast = acc.factor if acc.read != "acc" else ""
    return f"{acc.type} acc = {cast}{bias};"
