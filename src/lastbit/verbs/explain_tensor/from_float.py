"""What the float model, its ranges and its samples add to the story of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.graph import Model, Tensor
from ..quantize.lstm import LSTM, joined_range
from ..quantize.names import float_tensor
from ..quantize.numbers import activation
from ..quantize.per_sample import SampleRanges
from ..quantize.ranges import Ranges
from .deciding_rule import Decided, ScaleRule
from .worked import cell_lines, label_text, range_lines, weights_float_lines, widened_lines

__all__ = ["FromFloat"]

# The calibrator's kernels and the run that looks for samples may add in another order.
_NEAR = 1e-4


@dataclass(frozen=True, eq=False)
class FromFloat:
    """What the float model and its ranges add.

    Attributes:
        model: the quantized model.
        source: the float model.
        limits: the ranges by min and max, as the calibrator keeps them; None where activations are float32.
        averaged: a moving average of them, where the samples are known.
        samples: float tensor -> each sample's range, where the samples are known.
        index: the float tensor that `root` stands for.
        root: the quantized tensor whose scale is told.
        found: the rule that decided it.
        channel: the channel to work.
    """

    model: Model
    source: Model
    limits: Ranges | None
    averaged: Ranges | None
    samples: Mapping[int, SampleRanges]
    index: int
    root: Tensor
    found: Decided
    channel: int

    def sections(self) -> list[tuple[str, tuple[str, ...]]]:
        """Titles and lines."""
        float_one = self.source.tensors[self.index]
        match self.found.base:
            case ScaleRule.WEIGHTS:
                return [("From the float weights", tuple(self._weights(float_one)))]
            case ScaleRule.BIAS:
                return [("From the float bias", tuple(self._bias(float_one)))]
            case ScaleRule.CONSTANT | ScaleRule.FIXED:
                return []
            case ScaleRule.RANGE | ScaleRule.SHARED | ScaleRule.CELL:
                return self._range()

    def _range(self) -> list[tuple[str, tuple[str, ...]]]:
        if self.limits is None or self.index not in self.limits:
            return [("The range", ("the ranges have none for this tensor",))]
        low, high = joined_range(self.source, self.limits, self.index)
        label = label_text(self.source.tensors[self.index])
        lines = [f"{label}: {float(low):.9g} to {float(high):.9g}, by {self.limits.calibrator}"]
        if self.index in self.samples:
            lines += self._ends(low, high)
        if self.found.base is ScaleRule.CELL:
            return [("The range", tuple(lines)), ("Range to scale", tuple(cell_lines(low, high)))]
        worked = range_lines(low, high, self.root.dtype.name)
        sections = [("The range", tuple(lines)), ("Range to scale and zero point", tuple(worked))]
        average = self.averaged.limits.get(self.index) if self.averaged is not None else None
        if average is not None and self._near(average) and not self._near((low, high)):
            lines = [
                "min and max do not give this file's scale; a moving average does: 0.95 of what was and 0.05 of each",
                f"further sample (ai-edge-quantizer): {float(average[0]):.9g} to {float(average[1]):.9g}",
                *range_lines(*average, self.root.dtype.name),
            ]
            sections.append(("A moving average", tuple(lines)))
        return sections

    def _near(self, limits: tuple[np.float32, np.float32]) -> bool:
        """Whether a range gives the file's scale, except its last bits."""
        assert self.root.quant is not None
        scale = activation(*limits).scale[0]
        return abs(float(self.root.quant.scale[0]) / scale - 1) < _NEAR if scale else False

    def _ends(self, low: np.float32, high: np.float32) -> list[str]:
        """The sample and element of each end, or what else set it."""
        part = self.samples[self.index]
        lines = []
        for name, greatest, end in (("minimum", False, low), ("maximum", True, high)):
            sample, element = part.place(greatest)
            own = part.min_and_max[greatest]
            lines.append(f"{name} {float(own):.9g}: sample {sample}, element {list(element)}")
            size = max(abs(float(low)), abs(float(high)), 1e-30)
            if abs(float(own) - float(end)) > _NEAR * size:
                lines += self._in_place(greatest, end)
            elif own != end:
                lines.append(f"  (the calibrator found {float(end):.9g}; float sums differ in their last bits)")
        return lines

    def _in_place(self, greatest: bool, end: np.float32) -> list[str]:
        """An end that is no value of the tensor itself: an operator that wrote its result over it."""
        for op in self.source.operators:
            if self.index not in op.inputs:
                continue
            for output in op.outputs:
                other = self.samples.get(output)
                if other is None:
                    continue
                if abs(float(other.min_and_max[greatest]) - float(end)) <= _NEAR * abs(float(end)):
                    return [
                        f"  but the calibrator kept {float(end):.9g}, which is the output of {op.label}: that writes",
                        "  its result over this tensor, and the calibrator reads its inputs once more afterwards",
                        "  (a known fault, fixed in later sources). The scale is larger than the tensor needs",
                    ]
        return [f"  but the calibrator kept {float(end):.9g}"]

    def _weights(self, float_one: Tensor) -> list[str]:
        assert self.root.quant is not None
        if float_one.data is None:
            return [f"{float_one.label} is not a constant"]
        quant = self.root.quant
        axis = quant.axis if quant.per_channel else -1
        most = 7 if self.root.dtype.name == "int4" else 127
        lines = weights_float_lines(float_one.data, axis, self.channel, quant.scale[self.channel], most)
        op = self.found.operator
        given = self.model.operand(op, 0) if op is not None else None
        # An LSTM's weights are not widened for a bias.
        bias = self._float_bias(op.inputs[2]) if op is not None and op.name != LSTM and len(op.inputs) > 2 else None
        if bias is not None and given is not None and given.quant is not None:
            own = np.abs(float_one.data if axis < 0 else np.take(float_one.data, self.channel, axis)).max() / 127
            value = float(np.abs(bias).max() if axis < 0 else np.abs(bias[self.channel]))
            lines += widened_lines(value, float(given.quant.scale[0]), float(own), float(quant.scale[self.channel]))
        return lines

    def _float_bias(self, index: int) -> Any:
        """The float values of the bias beside these weights."""
        if index < 0:
            return None
        known = float_tensor(self.model.tensors[index], self.source)
        data = self.source.tensors[known].data if known is not None else None
        return None if data is None or data.dtype != np.float32 else data.reshape(-1)

    def _bias(self, float_one: Tensor) -> list[str]:
        assert self.root.quant is not None
        if float_one.data is None or self.root.data is None:
            return [f"{float_one.label} is not a constant"]
        scale = self.root.quant.scale[min(self.channel, self.root.quant.scale.size - 1)]
        value = np.float32(float_one.data.reshape(-1)[self.channel])
        with np.errstate(all="ignore"):
            inverse = np.float32(1) / scale
            product = value * inverse
        stored = int(self.root.data.reshape(-1)[self.channel])
        return [
            f"the real bias is {float(value):.9g}",
            f"times float32(1/scale) = {float(inverse):.9g} it is {float(product):.9g}",
            f"rounded to nearest, ties away from zero; the file has {stored}",
        ]
