"""What `lastbit quantize` tells: the converter, the calibrator, and what became of the tensors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...model.graph import Model, Tensor
from ...model.types import IntegerType, hex_float
from ...report.blocks import Block, Report, Table, Text
from ...report.one_screen import one_screen
from .settings import Method, Settings

__all__ = ["QuantizeReport"]

# MLIR makes the range of a tensor that was always 0 this wide: a millionth at each end, and less than that between.
_FLAT = 3e-6


@dataclass(frozen=True, eq=False, repr=False)
class QuantizeReport(Report):
    """A quantized model beside its float one.

    Attributes:
        source: the float model.
        model: the quantized one.
        output: where it was written.
        settings: what was asked for.
    """

    source: Model
    model: Model
    output: str
    settings: Settings

    @property
    def types(self) -> dict[str, int]:
        """How many tensors have each type."""
        return dict(Counter(tensor.dtype.name for tensor in self.model.tensors).most_common())

    @property
    def left_float(self) -> list[str]:
        """Operators that still work on float32, apart from QUANTIZE and DEQUANTIZE."""
        return [
            op.label
            for op in self.model.operators
            if op.name not in ("QUANTIZE", "DEQUANTIZE")
            and any(self.model.tensors[i].dtype.name == "float32" for i in (*op.inputs, *op.outputs) if i >= 0)
        ]

    @property
    def flat(self) -> list[str]:
        """Fed or computed tensors whose whole range is a few millionths: they were zero in every sample."""
        return [
            tensor.label
            for tensor in self.model.tensors
            if tensor.quant is not None
            and tensor.data is None
            and isinstance(tensor.dtype, IntegerType)
            and float(tensor.quant.scale[0]) * (tensor.dtype.qmax - tensor.dtype.qmin) <= _FLAT
        ]

    def _constants(self) -> list[int]:
        """The constants of the new file that were float32."""
        kinds = ("float32", "float16", "int8", "int4")
        return [
            t.index
            for t in self.model.tensors
            if t.data is not None
            and t.dtype.name in kinds
            and (t.quant is not None or t.dtype.name.startswith("float"))
        ]

    def as_dict(self) -> dict[str, Any]:
        """See `Report`; scales are hexadecimal floats."""
        return {
            "schema": "lastbit.quantize/1",
            "model": self.source.source,
            "output": self.output,
            "like": self.settings.converter.label,
            "method": self.settings.method.value,
            "description": self.model.description,
            "bytes": len(self.model.content),
            "left_float": self.left_float,
            "tensors": [_as_dict(tensor) for tensor in self.model.tensors],
        }

    def in_short(self) -> list[str]:
        """See `Report`."""
        types = ", ".join(f"{count} {name}" for name, count in self.types.items())
        lines = [
            f"{self.source.source} {self.model.description}.",
            f"{len(self.model.operators)} operators; {len(self.model.tensors)} tensors: {types}.",
            f"{len(self.source.content):,} bytes before, {len(self.model.content):,} now.",
        ]
        if self.settings.method is not Method.STATIC:
            smaller = sum(self.model.tensors[i].quant is not None for i in self._constants())
            if self.settings.method is Method.FLOAT16:
                smaller = self.types.get("float16", 0)
            lines.append(
                f"{smaller} of {len(self._constants())} float32 constants became smaller; activations stay float32."
            )
        elif self.left_float:
            count = len(self.left_float)
            lines.append(
                f"{count} operators stay float32, as in the converter's file: {', '.join(self.left_float[:4])}."
            )
        if self.flat:
            lines.append(
                f"{len(self.flat)} tensors have a range of almost nothing: {', '.join(self.flat[:2])}. "
                "Were the samples zero?"
            )
        return lines

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks())

    def blocks(self) -> list[Block]:
        """See `Report`."""
        scaled = [tensor for tensor in self.model.tensors if tensor.quant is not None]
        rows = [(t.index, t.name[:28], t.dtype.name, *_numbers(t)) for t in scaled]
        table = Table(["tensor", "name", "type", "scale", "zero point"], rows, right=["tensor"])
        return [*(Text(line) for line in self.in_short()), table]


def _numbers(tensor: Tensor) -> tuple[str, str]:
    assert tensor.quant is not None
    scale, zero = tensor.quant.scale, tensor.quant.zero_point
    if scale.size == 1:
        return f"{scale[0]:.9g}", str(zero[0])
    return f"{scale[0]:.9g} and {scale.size - 1} more", "0" if not zero.any() else "several"


def _as_dict(tensor: Tensor) -> dict[str, Any]:
    entry: dict[str, Any] = {"tensor": tensor.index, "name": tensor.name, "type": tensor.dtype.name}
    if tensor.quant is not None:
        entry["scale"] = [hex_float(scale) for scale in tensor.quant.scale]
        entry["zero_point"] = tensor.quant.zero_point.tolist()
        entry["axis"] = tensor.quant.axis
    return entry
