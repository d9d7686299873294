"""What is wrong with a file that some runtime runs all the same. The reader finds it, preparing a model judges it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["LITERT_REFUSES", "TFLM_MISREADS", "UNRUNNABLE", "Fault", "FaultKind"]


class FaultKind(Enum):
    """One kind of fault. docs/files.md lists the file that each interpreter was asked about, and its answer."""

    NO_IDENTIFIER = "no_identifier"
    STRUCTURE = "structure"
    SCHEMA_VERSION = "schema_version"
    RANK = "rank"
    SIZE_NEGATIVE = "size_negative"
    SIZE_LARGE = "size_large"
    BUFFER_MISSING = "buffer_missing"
    BUFFER_SHORT = "buffer_short"
    BUFFER_ZERO = "buffer_zero"
    OUTSIDE_FLATBUFFER = "outside_flatbuffer"
    BEYOND_FILE = "beyond_file"
    VARIABLE_WITH_DATA = "variable_with_data"
    SCALE_COUNT = "scale_count"
    ZERO_POINT_COUNT = "zero_point_count"
    NO_ZERO_POINTS = "no_zero_points"
    ZERO_POINT_RANGE = "zero_point_range"
    QUANTIZED_DIMENSION = "quantized_dimension"
    READ_UNWRITTEN = "read_unwritten"
    WRITTEN_TWICE = "written_twice"
    OUTPUT_UNWRITTEN = "output_unwritten"


LITERT_REFUSES = frozenset(
    {
        FaultKind.NO_IDENTIFIER,
        FaultKind.STRUCTURE,
        FaultKind.SCHEMA_VERSION,
        FaultKind.SIZE_NEGATIVE,
        FaultKind.BUFFER_MISSING,
        FaultKind.BUFFER_SHORT,
        FaultKind.BEYOND_FILE,
        FaultKind.VARIABLE_WITH_DATA,
        FaultKind.SCALE_COUNT,
        FaultKind.ZERO_POINT_COUNT,
        FaultKind.NO_ZERO_POINTS,
        FaultKind.QUANTIZED_DIMENSION,
    }
)
"""LiteRT refuses a file with such a fault, whatever tensor has it. TensorFlow Lite Micro runs it."""

TFLM_MISREADS = frozenset({FaultKind.OUTSIDE_FLATBUFFER, FaultKind.NO_ZERO_POINTS, FaultKind.BUFFER_ZERO})
"""TensorFlow Lite Micro reads something else than the file says wherever an operator uses such a tensor."""

UNRUNNABLE = frozenset(
    {
        FaultKind.RANK,
        FaultKind.SIZE_NEGATIVE,
        FaultKind.SIZE_LARGE,
        FaultKind.BUFFER_MISSING,
        FaultKind.BUFFER_SHORT,
        FaultKind.BEYOND_FILE,
        FaultKind.VARIABLE_WITH_DATA,
        FaultKind.ZERO_POINT_RANGE,
        FaultKind.READ_UNWRITTEN,
        FaultKind.WRITTEN_TWICE,
    }
)
"""An operator that uses such a tensor, or has such a fault itself, is not covered in any runtime."""


@dataclass(frozen=True)
class Fault:
    """One fault of a file.

    Attributes:
        kind: its kind.
        text: where it is, what was found and what was wanted.
        tensor: the tensor of the main subgraph that it is about, or None.
        operator: the operator of the main subgraph that it is about, or None.
    """

    kind: FaultKind
    text: str
    tensor: int | None = None
    operator: int | None = None
