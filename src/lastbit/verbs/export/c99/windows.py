"""Convolutions as C: one kernel for each kind, pair of element types and rule, shared by its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ....ops.products.convolution import OutputPart, PreparedConvolution
from ....rules.base import Unsupported
from ..program import Piece, elements
from .accumulators import (
    Accumulator,
    IntegerLayer,
    accumulator,
    constants_of,
    finish,
    multiply_add,
    probed,
    reach_of,
    requantization,
    start_of,
    types_of,
)
from .library import Library
from .requantize import READER, Requantizer, requantizer

__all__ = ["convolution"]

_SHAPE = """\
typedef struct {
  int32_t batches, input_height, input_width, input_channels;
  int32_t output_height, output_width, output_channels;
  int32_t filter_height, filter_width, filter_channels; /* channels of the input that one output channel sees */
  int32_t stride_height, stride_width, dilation_height, dilation_width, padding_top, padding_left;
  int32_t first_channel, last_channel; /* the channels of the output that are calculated, without the last */
} @;"""


def convolution(entry: PreparedConvolution, prefix: str, library: Library) -> list[Piece]:
    """A convolution with integer inputs: a call for each part of its outputs with a rule of its own.

    Raises:
        Unsupported: a value of a field that C does not have, or an output shape that is computed.
    """
    layer = entry.convolution
    kind = layer.operator.name
    if len(entry.inputs) > 1:
        raise Unsupported(READER, "output shape", "one that is an input, or is calculated from one")
    assert layer.weights.data is not None
    weights, bias, offset = layer.weights.data, layer.bias_values, -layer.input_zero_point
    depthwise = kind == "DEPTHWISE_CONV_2D"
    per_channel = weights.reshape(-1, layer.channels).T if depthwise else weights.reshape(layer.channels, -1)
    reach = reach_of(per_channel, layer.weights_zero_point, bias, layer.input, offset)
    common = IntegerLayer(
        prefix, (layer.input, layer.output), weights, bias, (offset, -layer.weights_zero_point), reach
    )
    library.function("window_shape", _SHAPE)
    pieces = []
    for number, part in enumerate(entry.parts):
        suffix = f"_{number}" if len(entry.parts) > 1 else ""
        made = requantizer(part.params, library)
        acc = accumulator(part.params.rule.sums, reach, library)
        only, share = _only(part, elements(layer.output))
        text = _window_kernel(types_of(common, acc), acc, made, kind, only)
        kernel = library.function(f"{_STEMS[kind]}_{acc.name}", text)
        shape = library.constant(f"{prefix}{suffix}_shape", _window_shape(entry, part.first, part.end))
        structure = requantization(f"{prefix}{suffix}", common.offsets, part.params, made, library)
        leading = (f"&{shape}", f"&{structure}", *constants_of(common, acc, library))
        adds = _multiply_adds(entry) * (part.end - part.first) * share // (layer.channels * elements(layer.output))
        probes = probed(part.params, made, (part.first, part.end), structure)
        pieces.append(Piece(entry, kernel, leading, adds, probes))
    return pieces


_STEMS = {"CONV_2D": "convolution", "DEPTHWISE_CONV_2D": "depthwise", "TRANSPOSE_CONV": "transposed_convolution"}
"""Operator -> what its kernels are called."""


def _only(part: OutputPart, count: int) -> tuple[str, int]:
    """Which of so many outputs in flat order a part does not calculate, as a condition, and how many it does."""
    whole = count - count % part.group
    match part.outputs:
        case "all":
            return "", count
        case "groups":
            return f"place >= {whole}", whole
        case "last":
            return f"place < {whole}", count - whole
        case never:
            assert_never(never)


def _multiply_adds(entry: PreparedConvolution) -> int:
    """Products of a whole call, those with the padding too."""
    layer = entry.convolution
    taps = layer.weights.shape[1] * layer.weights.shape[2]
    match layer.operator.name:
        case "DEPTHWISE_CONV_2D":
            return elements(layer.output) * taps
        case "TRANSPOSE_CONV":
            return elements(layer.input) * taps * layer.channels
        case _:
            return elements(layer.output) * taps * layer.weights.shape[3]


def _window_shape(entry: PreparedConvolution, start: int, stop: int) -> str:
    layer = entry.convolution
    (n, h, w, c), (_, out_h, out_w, _) = layer.input.shape, layer.output.shape
    rows, columns, kernel = layer.rows, layer.columns, layer.weights.shape
    seen = 1 if layer.operator.name == "DEPTHWISE_CONV_2D" else kernel[3]
    # What a transposed convolution is padded with is what the convolution of its output would have.
    padded = (out_h, out_w) if layer.operator.name == "TRANSPOSE_CONV" else (h, w)
    lines = (
        f"{n}, {h}, {w}, {c} /* input */",
        f"{out_h}, {out_w}, {layer.channels} /* output */",
        f"{kernel[1]}, {kernel[2]}, {seen} /* filter */",
        f"{rows.stride}, {columns.stride} /* strides */, {rows.dilation}, {columns.dilation} /* dilations */, "
        f"{rows.padding(padded[0])[0]}, {columns.padding(padded[1])[0]} /* padding */",
        f"{start}, {stop} /* channels */",
    )
    text = ",\n    ".join(lines)
    return f"static const window_shape @ = {{\n    {text}}};"


_WORDS = {
    "CONV_2D": "A convolution in which each output channel sees the channels of its group",
    "DEPTHWISE_CONV_2D": "A convolution in which each output channel sees one channel of the input",
    "TRANSPOSE_CONV": "A transposed convolution, asked by each output which inputs reach it",
}

_TAP = """\
const int32_t ROW = y * s->stride_height - s->padding_top + i * s->dilation_height;
if (ROW < 0 || ROW >= s->input_height) {
  continue;
}"""

_TAP_TRANSPOSED = """\
const int32_t ROW_by_stride = y + s->padding_top - i;
const int32_t ROW = ROW_by_stride / s->stride_height;
if (ROW_by_stride < 0 || ROW_by_stride % s->stride_height != 0 || ROW >= s->input_height) {
  continue;
}"""


def _tap(kind: str) -> tuple[list[str], list[str]]:
    """Where a tap of a window lies in the input: the row from `y` and `i`, the column from `x` and `j`."""
    text = _TAP_TRANSPOSED if kind == "TRANSPOSE_CONV" else _TAP
    columns = text.replace("ROW", "column").replace("height", "width").replace("padding_top", "padding_left")
    columns = columns.replace("= y ", "= x ").replace("- i;", "- j;").replace("+ i *", "+ j *")
    return text.replace("ROW", "row").splitlines(), columns.splitlines()


def _window_kernel(types: Sequence[str], acc: Accumulator, made: Requantizer, kind: str, only: str) -> str:
    x, w, b, y = types
    place, call = finish(acc, made, "c", "s->first_channel")
    if kind == "DEPTHWISE_CONV_2D":
        taps = [
            "const int32_t seen = c / (s->output_channels / s->input_channels);",
            multiply_add(
                acc,
                "image[(row * s->input_width + column) * s->input_channels + seen]",
                "filter[(i * s->filter_width + j) * s->output_channels + c]",
            ),
        ]
    else:
        taps = [
            "const int32_t group = c / (s->output_channels / (s->input_channels / s->filter_channels));",
            f"const {x} *in = image + (row * s->input_width + column) * s->input_channels +",
            "    group * s->filter_channels;",
            f"const {w} *weights = filter + ((c * s->filter_height + i) * s->filter_width + j) * s->filter_channels;",
            "for (int32_t k = 0; k < s->filter_channels; k++) {",
            f"  {multiply_add(acc, 'in[k]', 'weights[k]')}",
            "}",
        ]
    rows, columns = _tap(kind)
    inner = "\n".join(f"              {line}" for line in [*columns, *taps])
    outer = "\n".join(f"            {line}" for line in rows)
    skip = f"\n          if ({only}) {{\n            continue;\n          }}" if only else ""
    return f"""\
/* {_WORDS[kind]}; what lies outside of the image counts as 0. */
static void @(const window_shape *s, const {made.structure} *q, const {w} *filter, const {b} *bias,
    const {x} *input, {y} *output) {{
  for (int32_t n = 0; n < s->batches; n++) {{
    const {x} *image = input + n * s->input_height * s->input_width * s->input_channels;
    for (int32_t y = 0; y < s->output_height; y++) {{
      for (int32_t x = 0; x < s->output_width; x++) {{
        for (int32_t c = s->first_channel; c < s->last_channel; c++) {{
          const int32_t place = ((n * s->output_height + y) * s->output_width + x) * s->output_channels + c;{skip}
          {start_of(acc, "bias[c]")}
          for (int32_t i = 0; i < s->filter_height; i++) {{
{outer}
            for (int32_t j = 0; j < s->filter_width; j++) {{
{inner}
            }}
          }}
          {place}
          output[place] = ({y}){call}
        }}
      }}
    }}
  }}
}}"""
