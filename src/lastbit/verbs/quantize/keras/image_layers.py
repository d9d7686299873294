"""Layers on images: convolutions, pools, means, paddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....model.types import Array
from .activations import activated
from .graph import ACTIVATION, Node
from .layers import Layer
from .lowering import Lowering, NotCovered

__all__ = ["check_window", "convolution", "mean", "padding_layer", "pool"]

_Pair = tuple[int, int]


def check_window(layer: Layer) -> None:
    """Refuse a window whose padding is not covered."""
    padding = str(layer.config.get("padding", "valid")).lower()
    if padding not in ("same", "valid"):
        raise NotCovered(f"its padding is {padding}; same and valid are covered")


def _window(layer: Layer, source: Node, window: _Pair, strides: _Pair, dilation: _Pair = (1, 1)) -> tuple[_Pair, str]:
    """Height and width of what a window gives, and its padding."""
    padding = str(layer.config.get("padding", "valid")).upper()
    _images(layer, source)
    sizes = source.shape[:2]
    if padding == "SAME":
        height, width = (-(-size // step) for size, step in zip(sizes, strides, strict=True))
        return (height, width), padding
    (down, across), (h, w) = window, dilation
    return _valid(sizes, ((down - 1) * h + 1, (across - 1) * w + 1), strides), padding


def _valid(sizes: tuple[int, ...], window: _Pair, strides: _Pair) -> _Pair:
    """Height and width of what a window without padding gives."""
    height, width = ((size - one) // step + 1 for size, one, step in zip(sizes, window, strides, strict=True))
    return height, width


def _paddings(kernel: _Pair, dilation: _Pair, padding: str) -> list[_Pair]:
    """How many zeros stand before and behind each side of an image for a convolution with dilation."""
    totals = [(size - 1) * step if padding == "SAME" else 0 for size, step in zip(kernel, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _to_batch(run: Lowering, layer: Layer, source: Node, dilation: _Pair, paddings: list[_Pair]) -> tuple[Node, Array]:
    """Every so many pixels become an image of the batch, so that a convolution without dilation can follow.

    The converter puts the three operators together again where the batch size is fixed.

    Returns:
        What is convolved, and how much is cut off when the images are put together again.
    """
    sides = list(zip(source.shape[:2], paddings, dilation, strict=True))
    more = [-(size + before + behind) % step for size, (before, behind), step in sides]
    table = [(before, behind + extra) for (before, behind), extra in zip(paddings, more, strict=True)]
    sizes = [(size + sum(pair)) // step for (size, _, step), pair in zip(sides, table, strict=True)]
    constants = (np.array(dilation, np.int32), np.array(table, np.int32))
    node = run.add("SPACE_TO_BATCH_ND", layer, [source], (*sizes, source.shape[-1]), constants)
    node.rows = source.rows * math.prod(dilation)
    return node, np.array([(0, extra) for extra in more], np.int32)


def _images(layer: Layer, source: Node) -> None:
    if len(source.shape) != 3:
        raise ValueError(f"its input is {list(source.shape)}, wanted [height, width, channels]")


def _pair(value: Any) -> _Pair:
    first, second = (value, value) if isinstance(value, int) else value
    if int(first) < 1 or int(second) < 1:
        raise ValueError(f"a size is {value}, wanted at least 1")
    return int(first), int(second)


def convolution(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Conv2D, with groups and dilations, and DepthwiseConv2D."""
    (source,), config = sources, layer.config
    kernel, strides = _pair(config["kernel_size"]), _pair(config.get("strides", 1))
    dilation = _pair(config.get("dilation_rate", 1))
    place, padding = _window(layer, source, kernel, strides, dilation)
    crops = None
    if dilation != (1, 1):
        source, crops = _to_batch(run, layer, source, dilation, _paddings(kernel, dilation, padding))
        inner, padding = _valid(source.shape[:2], kernel, strides), "VALID"
    depthwise = layer.kind == "DepthwiseConv2D"
    groups = 1 if depthwise else int(config.get("groups", 1))
    if groups < 1 or source.shape[-1] % groups:
        raise ValueError(f"{source.shape[-1]} channels in {groups} groups")
    channels = source.shape[-1] // groups
    last = int(config.get("depth_multiplier", 1)) if depthwise else int(config["filters"])
    out = channels * last if depthwise else last
    shapes: dict[str, tuple[int, ...]] = {"kernel": (*kernel, channels, last)}
    if config.get("use_bias", True):
        shapes["bias"] = (out,)
    values, *bias = run.weights(layer, **shapes)
    options = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1], ACTIVATION: "NONE"}
    options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
    if depthwise:
        weights, operator = values.reshape(1, *kernel, out), "DEPTHWISE_CONV_2D"
        options["depth_multiplier"] = last
    else:
        weights, operator = np.ascontiguousarray(values.transpose(3, 0, 1, 2)), "CONV_2D"
    # The converter gives every convolution a bias, of zeros at first.
    constants = (weights, np.zeros(out, np.float32))
    node = run.add(operator, layer, [source], (*(place if crops is None else inner), out), constants, options)
    node.rows = source.rows
    if crops is not None:
        node = run.add("BATCH_TO_SPACE_ND", layer, [node], (*place, out), (np.array(dilation, np.int32), crops))
    if bias:
        node = run.constant("ADD", layer, node, bias[0])
    return activated(run, layer, node, config.get("activation", "linear"))


def pool(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """MaxPooling2D and AveragePooling2D."""
    (source,) = sources
    window = _pair(layer.config["pool_size"])
    strides = _pair(layer.config.get("strides") or window)
    place, padding = _window(layer, source, window, strides)
    options = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1], ACTIVATION: "NONE"}
    options |= {"filter_height": window[0], "filter_width": window[1]}
    operator = "MAX_POOL_2D" if layer.kind == "MaxPooling2D" else "AVERAGE_POOL_2D"
    return run.add(operator, layer, [source], (*place, source.shape[-1]), options=options)


def mean(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """GlobalAveragePooling2D."""
    (source,) = sources
    _images(layer, source)
    keep = bool(layer.config.get("keepdims", False))
    shape = (1, 1, source.shape[-1]) if keep else (source.shape[-1],)
    return run.add("MEAN", layer, [source], shape, (np.array([1, 2], np.int32),), {"keep_dims": keep})


def padding_layer(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """ZeroPadding2D."""
    (source,), padding = sources, layer.config["padding"]
    _images(layer, source)
    first, second = (padding, padding) if isinstance(padding, int) else padding
    pairs = [(one, one) if isinstance(one, int) else (int(one[0]), int(one[1])) for one in (first, second)]
    if any(size < 0 for pair in pairs for size in pair):
        raise ValueError(f"padding is {padding}")
    (top, bottom), (left, right) = pairs
    height, width, channels = source.shape
    table = np.array([(0, 0), *pairs, (0, 0)], np.int32)
    return run.add("PAD", layer, [source], (height + top + bottom, width + left + right, channels), (table,))
