"""lastbit explain --tensor: where one tensor's scale and zero point come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...model.errors import InputError
from ...model.graph import Model, Tensor
from ...model.types import IntegerType, hex_float
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.one_screen import LINES, one_screen
from ..quantize.names import float_tensor
from ..quantize.operators import TRAITS
from ..quantize.per_sample import SampleRanges, average_ranges, sample_ranges
from ..quantize.ranges import ranges_from
from ..quantize.requests import is_static
from ..quantize.verb import Converter, Ranges, measure
from ..run.verb import load
from .deciding_rule import Decided, ScaleRule, decided
from .each_converter import Other, label_of, others
from .from_float import FromFloat
from .worked import (
    bias_lines,
    cell_file_lines,
    implied_lines,
    label_text,
    scale_text,
    weights_file_lines,
)

__all__ = ["TensorStory", "explain_tensor"]


@dataclass(frozen=True, eq=False, repr=False)
class TensorStory(Report):
    """A tensor's scale and zero point with their story.

    Attributes:
        source: the model's path.
        tensor: the tensor.
        decided: the rule that decided its scale.
        sections: (title, lines) in order.
        others: what each converter writes; empty without the float model.
        limits: the calibrated range, where it is known.
        ends: for each end of the range (sample, element) that set it, where the samples are known.
    """

    source: str
    tensor: Tensor
    decided: Decided
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    others: tuple[Other, ...] = ()
    limits: tuple[np.float32, np.float32] | None = None
    ends: tuple[tuple[int, tuple[int, ...]], ...] = field(default=())

    def in_short(self) -> list[str]:
        """See `Report`."""
        return [f"{label_text(self.tensor)}: {_numbers(self.tensor)}", _rule_text(self.decided)]

    def as_dict(self) -> dict[str, Any]:
        """See `Report`; scales are hexadecimal floats."""
        quant, root = self.tensor.quant, self.decided.root
        assert quant is not None
        return {
            "schema": "lastbit.explain_tensor/1",
            "model": self.source,
            "tensor": self.tensor.index,
            "name": self.tensor.name,
            "type": self.tensor.dtype.name,
            "shape": list(self.tensor.shape),
            "scale": [hex_float(scale) for scale in quant.scale],
            "zero_point": quant.zero_point.tolist(),
            "rule": self.decided.rule.value,
            "operator": None if self.decided.operator is None else self.decided.operator.index,
            "scale_of": None if root is None else root.index,
            "range": None if self.limits is None else [hex_float(end) for end in self.limits],
            "ends": [{"sample": sample, "element": list(element)} for sample, element in self.ends],
            "story": [{"title": title, "lines": list(lines)} for title, lines in self.sections],
            "converters": [
                {"label": other.label, "ranges": other.ranges, **_quantization(other.tensor)} for other in self.others
            ],
        }

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks(), LINES)

    def blocks(self) -> list[Block]:
        """The numbers, the rule, the story, and what other converters write."""
        head, rule = self.in_short()
        blocks: list[Block] = [Text(head), Text(rule)]
        for title, lines in self.sections:
            blocks += [Heading(title), Code("\n".join(lines))]
        if self.others:
            merged: dict[tuple[str, ...], list[Converter]] = {}
            for other in self.others:
                row = (other.ranges, other.method, *_row(other.tensor, self.tensor))
                merged.setdefault(row, []).extend(other.converters)
            rows = [
                (label_of(converters, ranges, method), *row) for (ranges, method, *row), converters in merged.items()
            ]
            blocks.append(Heading("What converters write for this tensor"))
            blocks.append(Table(("converter", "scale", "this is", "zero point"), rows, right=("zero point",)))
        return blocks


def _quantization(tensor: Tensor | None) -> dict[str, Any]:
    if tensor is None or tensor.quant is None:
        return {"scale": None, "zero_point": None}
    return {"scale": [hex_float(s) for s in tensor.quant.scale], "zero_point": tensor.quant.zero_point.tolist()}


def _numbers(tensor: Tensor) -> str:
    assert tensor.quant is not None
    kind = f"{tensor.dtype.name}{list(tensor.shape)}"
    if tensor.quant.per_channel:
        return f"{kind}, {tensor.quant.scale.size} scales along axis {tensor.quant.axis}"
    return f"{kind}, scale {scale_text(tensor.quant.scale[0])}, zero point {int(tensor.quant.zero_point[0])}"


def _row(other: Tensor | None, tensor: Tensor) -> tuple[str, str, str]:
    if other is None or other.quant is None or tensor.quant is None:
        return "-", "not there", "-"
    ours, theirs = tensor.quant, other.quant
    many = f" and {theirs.scale.size - 1} more" if theirs.scale.size > 1 else ""
    zero = str(int(theirs.zero_point[0]))
    if ours.scale.shape != theirs.scale.shape:
        return f"{theirs.scale[0]:.9g}{many}", f"{ours.scale.size} scales", zero
    if ours.scale.tobytes() == theirs.scale.tobytes():
        return f"{theirs.scale[0]:.9g}{many}", "the same", zero
    at = int(np.argmax(np.abs(np.log(np.maximum(ours.scale, 1e-45) / np.maximum(theirs.scale, 1e-45)))))
    return f"{theirs.scale[0]:.9g}{many}", f"x {ours.scale[at] / theirs.scale[at]:.9g}", zero


def _rule_text(found: Decided) -> str:
    """The rule in one sentence."""
    op = found.operator
    match found.rule:
        case ScaleRule.FIXED:
            assert op is not None
            return f"Fixed: the output of {op.name} has this scale and zero point in every file, whatever the data."
        case ScaleRule.SHARED:
            assert found.root is not None
            way = " and ".join(step.label for step in found.through)
            return f"Same scale as {label_text(found.root)}, through {way}. Its story:"
        case ScaleRule.BIAS:
            return "Bias: its scale follows from the input's and the weights' scales."
        case ScaleRule.WEIGHTS:
            return "Weights: the scale follows from their largest magnitude, the zero point is 0."
        case ScaleRule.CELL:
            return "Cell state: int16, and the scale is a power of two by 32768; the zero point is 0."
        case ScaleRule.CONSTANT:
            return "A constant that is not a weight: the scale follows from its own least and greatest value."
        case ScaleRule.RANGE:
            by = f"the output of {op.label}" if op is not None else "an input of the model"
            if op is not None and found.tensor.index in op.intermediates:
                by = f"the hidden state of {op.label} (noted for its kernel)"
            return f"Measured: {by} has a range from calibration, which gives scale and zero point."


def explain_tensor(
    model: str | os.PathLike[str] | bytes | Model,
    tensor: int | str,
    *,
    float_model: str | os.PathLike[str] | bytes | Model | None = None,
    data: Any = None,
    ranges: Mapping[Any, Any] | Ranges | None = None,
    calibrator: str = "litert",
    channel: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> TensorStory:
    """Tell where a tensor's scale and zero point come from.

    Args:
        model: a quantized Model, a path or a file's bytes.
        tensor: the tensor's index or name.
        float_model: the float32 model that it was made of.
        data: the float model's representative samples, as `lastbit.ranges` takes them.
        ranges: (least, greatest) of each of its tensors, instead of `data`.
        calibrator: `litert` or `lastbit`, for `data`.
        channel: the channel to work, of several.
        progress: told samples done and how many there are.

    Returns:
        The TensorStory. Without the float model it says what the file alone tells.

    Raises:
        ModelError: a file is malformed.
        InputError: there is no such tensor, it is not quantized, or data and ranges do not fit.
        OracleMissingError: LiteRT is not installed, and `data` is given.
        OracleError: LiteRT cannot run the float model.
        UnsupportedError: LastBit's own float operators do not cover it.
    """
    loaded = load(model)
    loaded.subgraphs[0].require_scales("it has no scales, so there is nothing that they come from")
    chosen = _tensor(loaded, tensor)
    _check_arguments(loaded, float_model, data, ranges)
    found = decided(loaded, chosen)
    root = found.root if found.root is not None else chosen
    count = 1 if chosen.quant is None else chosen.quant.scale.size
    if not 0 <= channel < count:
        raise InputError(f"{chosen.label} has {count} scales; wanted a channel from 0 to {count - 1}, found {channel}.")
    sections = [("What the file says", tuple(_from_file(loaded, found, root, channel)))]
    if float_model is None:
        return TensorStory(loaded.source, chosen, found, tuple(sections))
    source = load(float_model)
    samples: Mapping[int, SampleRanges] = {}
    limits, averaged = None, None
    if data is not None:
        limits = measure(source, lambda: data, calibrator)
        samples = sample_ranges(source, data, calibrator, progress)
        averaged = average_ranges(source, data, calibrator)
    elif ranges is not None:
        limits = ranges if isinstance(ranges, Ranges) else ranges_from(ranges, source, "ranges")
    written = others(loaded, root, source, limits, averaged)
    index = _float_index(root, written, source)
    if index is None:
        sections.append(("The float model", (f"no tensor of it stands for {root.label}: names and operators differ",)))
        return TensorStory(loaded.source, chosen, found, tuple(sections), tuple(written))
    story = FromFloat(loaded, source, limits, averaged, samples, index, root, found, channel)
    sections += story.sections()
    shown = limits.limits.get(index) if limits is not None and found.base is ScaleRule.RANGE else None
    ends = tuple(samples[index].place(end) for end in (False, True)) if shown is not None and index in samples else ()
    return TensorStory(loaded.source, chosen, found, tuple(sections), tuple(written), shown, ends)


def _check_arguments(model: Model, float_model: Any, data: Any, ranges: Any) -> None:
    if float_model is None and (data is not None or ranges is not None):
        raise InputError(
            "data and ranges are the float model's, which is not given",
            python="; give float_model=.",
            command="; give --float FILE.",
        )
    if data is not None and ranges is not None:
        raise InputError("data and ranges exclude each other; give one of them.")
    if float_model is not None and data is None and ranges is None and is_static(model):
        raise InputError(
            "the float model's ranges come from data or from a file; give one of the two",
            python=": data= or ranges=.",
            command=": --data FILE or --ranges FILE.",
        )


def _tensor(model: Model, key: int | str) -> Tensor:
    named = [tensor for tensor in model.tensors if tensor.name == str(key)]
    if len(named) > 1:
        raise InputError(f"{len(named)} tensors of {model.source} are named {key!r}; use the index.")
    if not named and str(key).isdigit() and int(key) < len(model.tensors):
        named = [model.tensors[int(key)]]
    if not named:
        raise InputError(
            f"{model.source}: there is no tensor {key!r}; `lastbit inspect` lists names and numbers 0 to "
            f"{len(model.tensors) - 1}."
        )
    if named[0].quant is None:
        raise InputError(
            f"{model.source}: {named[0].label} is {named[0].dtype.name} without a scale: not quantized."
            + _quantized_twin(model, named[0].index)
        )
    return named[0]


def _quantized_twin(model: Model, index: int) -> str:
    """A sentence that names the quantized form of a float32 input or output, where the model has one."""
    for op in model.operators:
        for name, own, other in (("QUANTIZE", op.inputs, op.outputs), ("DEQUANTIZE", op.outputs, op.inputs)):
            if op.name == name and index in own:
                return f" Its integers are those of {model.tensors[other[0]].label}."
    return ""


def _from_file(model: Model, found: Decided, root: Tensor, channel: int) -> list[str]:
    """What the quantized file alone tells."""
    op = found.operator
    if found.rule is ScaleRule.BIAS and op is not None:
        given, weights = dict(TRAITS[op.name].biases)[found.position]
        return bias_lines(root, model.operand(op, given), model.operand(op, weights), channel)
    if found.base is ScaleRule.WEIGHTS and root.quant is not None:
        return weights_file_lines(root, root.quant.axis, channel)
    if found.base is ScaleRule.FIXED and op is not None:
        return [f"the output of {op.name} has this scale and zero point in every file: no calibration enters"]
    if root.quant is None or not isinstance(root.dtype, IntegerType):
        return ["the tensor is not quantized"]
    return cell_file_lines(root) if found.base is ScaleRule.CELL else implied_lines(root)


def _float_index(root: Tensor, written: list[Other], source: Model) -> int | None:
    """The float tensor: by the place in a converter's own file, else by the name."""
    for other in written:
        if other.made is not None and other.tensor is not None:
            index = float_tensor(other.tensor, source)
            if index is not None:
                return index
    return float_tensor(root, source)
