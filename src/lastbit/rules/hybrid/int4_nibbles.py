"""The weights that LiteRT's 4-bit kernel really multiplies with: its packing is right for -7 to 7, not for -8.

Weights are stored as w + 7 in a nibble. For -8 that is -1: its sign bits spill into neighbouring nibbles.
"""

from __future__ import annotations

from typing import Literal, assert_never

import numpy as np

from ...model.types import Int64Array, IntArray

__all__ = [
    "BLOCK",
    "NIBBLE_ZERO_POINT",
    "lost_weights",
    "packed_nibbles",
]


BLOCK = 32
"""Weights in one block of a unit."""

NIBBLE_ZERO_POINT = 7
"""What a nibble holds for the weight 0."""

_HALF = BLOCK // 4  # bytes of a half block


Code = Literal["vector", "scalar", "first_16"]
"""What packs a block: LiteRT's SSE code for whole ones, in which -8 spills a nibble further; code that goes byte by
byte; or the same, which takes the first 16 weights only: those after them are as good as 0."""


def packed_nibbles(weights: IntArray, full: Code, last: Code) -> Int64Array:
    """What each weight is after packing, as a nibble 0 to 15: the weight plus 7, or what -8 made of it.

    Args:
        weights: -8 to 7, `[out, depth]`, depth even.
        full: what packs blocks of 32 weights.
        last: what packs a last, shorter block.

    Returns:
        int64 `[out, depth]`.

    >>> w = np.zeros((1, 32), np.int8)
    >>> w[0, 17] = -8
    >>> [(k, int(v)) for k, v in enumerate(packed_nibbles(w, "vector", "scalar")[0] - 7) if v]
    [(1, 8), (17, 8)]
    >>> (packed_nibbles(np.full((1, 50), 3, np.int8), "scalar", "first_16")[0, 46:] - 7).tolist()
    [3, 3, 0, 0]

    Source: google-ai-edge/LiteRT tflite/kernels/internal/optimized/4bit/sse_fully_connected.cc @7d88950ea445
    (SsePackInner), neon_fully_connected.cc @01d971c556e3 (NeonPackInner) and fully_connected_common.h (merge). Shown on
    ai-edge-litert 2.0.2 for aarch64; `first_16` on tflite-runtime 2.14.0 for x86-64.
    """
    units, depth = weights.shape
    blocks = [np.zeros((units, 0), np.int64)]
    for start in range(0, depth, BLOCK):
        block = weights[:, start : start + BLOCK].astype(np.int64)
        packed = _pack(block, full if block.shape[1] == BLOCK else last)
        blocks.append(np.concatenate([packed >> 4, packed & 15], axis=1)[:, : block.shape[1]])
    return np.concatenate(blocks, axis=1)


def _pack(block: Int64Array, code: Code) -> Int64Array:
    match code:
        case "vector":
            return _vector(block)
        case "scalar":
            return _scalar(block)
        case "first_16":
            return _scalar(block[:, : BLOCK // 2])
        case never:
            assert_never(never)


def lost_weights(depth: int) -> int:
    """How many of a unit's weights, the last ones, packing by `first_16` loses.

    >>> lost_weights(50), lost_weights(48)
    (2, 0)
    """
    return max(depth % BLOCK - BLOCK // 2, 0)


def _scalar(block: Int64Array) -> Int64Array:
    """A block of fewer than 32 weights to 16 bytes, `[out, 16]`: byte k holds weights k (high nibble) and k + 16."""
    full = np.zeros((len(block), BLOCK), np.int64)
    full[:, : block.shape[1]] = block
    high, low = full[:, : BLOCK // 2], full[:, BLOCK // 2 :]
    # Each is an 8-bit register: -1 is 255, all ones.
    merged: Int64Array = ((((high + 7) & 255) << 4) | ((low + 7) & 255)) & 255
    return merged


def _vector(block: Int64Array) -> Int64Array:
    """A block of 32 weights to 16 bytes, `[out, 16]`, by 16-bit lanes.

    The file's bytes hold an even weight in the low and the next one in the high nibble. Even weights are gathered in
    one register and odd ones in another, a byte each; two such bytes share a 16-bit lane when the first half of the
    block is shifted up by four.
    """
    out = np.zeros((len(block), BLOCK // 2), np.int64)
    for parity in (0, 1):
        values = (block[:, parity::2] + 7) & 255
        lanes = values[:, 0::2] | (values[:, 1::2] << 8)
        merged = ((lanes << 4) & 0xFFFF)[:, : _HALF // 2] | lanes[:, _HALF // 2 :]
        out[:, parity::4] = merged & 255
        out[:, parity + 2 :: 4] = merged >> 8
    return out
