"""Zeros around an image become the padding of the convolution after them, where that has as many.

Source: google-ai-edge/LiteRT tflite/converter/transforms/optimize_patterns.td (0f6b97dd17c6): FuseSamePaddingConv2D and
FuseSamePaddingDepthwiseConv, from TensorFlow 2.18 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .ir import Graph, Op
from .new_operators import constant_of

__all__ = ["is_same_padding", "join_padding"]

_AXES = ("h", "w")


def is_same_padding(
    shape: Sequence[int], kernel: Sequence[int], table: Sequence[Sequence[int]], options: Mapping[str, Any]
) -> bool:
    """Whether so many zeros are what the padding SAME adds.

    Args:
        shape: height and width of the image before the zeros.
        kernel: height and width of the convolution's window.
        table: for height and width how many zeros stand before and behind.
        options: the convolution's strides and dilations.
    """
    for side, taps, (before, behind), axis in zip(shape, kernel, table, _AXES, strict=True):
        stride = options[f"stride_{axis}"]
        reach = (taps - 1) * options.get(f"dilation_{axis}_factor", 1) + 1
        needed = (-(-side // stride) - 1) * stride + reach - side
        if before + behind != needed or not 0 <= behind - before <= 1:
            return False
    return any(sum(pair) for pair in table)


def join_padding(graph: Graph, op: Op) -> bool:
    """A convolution without padding behind a PAD reads before it, and pads itself."""
    pad = op.defining(0) if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D") else None
    table = constant_of(pad.operands[1]) if pad is not None and pad.name == "PAD" else None
    given = pad.operands[0] if pad is not None else None
    weights = op.operands[1] if pad is not None else None
    if given is None or weights is None or table is None or op.options.get("padding") != "VALID":
        return False
    rows = table.reshape(-1, 2).tolist()
    signature = (given.tensor.shape_signature or given.tensor.shape)[1:3]
    if len(rows) != 4 or any(rows[0]) or any(rows[3]) or any(size < 0 for size in signature):
        return False
    if not is_same_padding(given.tensor.shape[1:3], weights.tensor.shape[1:3], rows[1:3], op.options):
        return False
    result, options = op.results[0], {**op.options, "padding": "SAME"}
    operands = [given, *op.operands[1:]]
    made = graph.add(op.name, operands, [(result.tensor, result.params)], options, at=graph.ops.index(op))
    graph.replace(op, made.results[0])
    return True
