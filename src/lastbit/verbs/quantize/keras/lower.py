"""Keras layers to the converter's operators, before anything is fused.

Source: keras-team/keras keras/src/layers (what each layer calculates); google-ai-edge/LiteRT
tflite/converter/transforms/legalize_tf.cc and prepare_tf.cc (which operator each TensorFlow operator becomes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ....model.errors import ModelError, UnsupportedError
from ....model.types import Array
from .archive import KerasFile
from .arithmetic import Newton, rsqrt
from .graph import ACTIVATION, Node
from .layers import Layer, Network, batch_shape

__all__ = ["LAYERS", "lower"]

_NO_ACTIVATION = {ACTIVATION: "NONE"}
_Pair = tuple[int, int]
_LARGEST_SIZE = 2**31 - 1


class _NotCovered(Exception):
    """A layer that cannot be lowered as the converter does; its text says why."""


def lower(network: Network, file: KerasFile, newton: Newton) -> tuple[list[Node], list[Node]]:
    """Lower a network to nodes, each after those that feed it.

    Args:
        network: the layers.
        file: where the weights are.
        newton: how the converter calculates 1/sqrt.

    Returns:
        The nodes, and those that are returned.

    Raises:
        ModelError: a weight is missing or has another shape, or a layer does not fit the one before.
        UnsupportedError: layers that cannot be lowered; all are listed.
    """
    run = _Lowering(file, newton, network.batch)
    found: dict[str, Node] = {}
    reasons: list[str] = []
    for layer in network.layers:
        sources = [found[name] for name in layer.sources if name in found]
        try:
            run.check(layer)
            if len(sources) == len(layer.sources):
                found[layer.name] = run.layer(layer, sources)
        except _NotCovered as reason:
            reasons.append(f"{layer.label}: {reason}")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            text = " ".join(str(error).split())[:120]
            raise ModelError(
                f"{file.path}: {layer.label}: its configuration is damaged ({type(error).__name__}: {text}); save the "
                "model again with model.save()."
            ) from None
    if reasons:
        raise UnsupportedError(f"{file.path}: cannot be lowered as the converter does", reasons)
    return run.nodes, [found[name] for name in network.outputs]


class _Lowering:
    def __init__(self, file: KerasFile, newton: Newton, batch: int | None) -> None:
        self.file = file
        self.newton = newton
        self.batch = batch
        self.nodes: list[Node] = []

    def check(self, layer: Layer) -> None:
        """Refuse a layer of which nothing is known, without looking at what feeds it."""
        if layer.kind not in LAYERS:
            raise _NotCovered(f"layers of this class are not covered; covered are {', '.join(sorted(LAYERS))}")
        policy = layer.config.get("dtype", "float32")
        if isinstance(policy, Mapping):
            policy = policy.get("config", {}).get("name")
        if policy not in ("float32", None):
            raise _NotCovered(f"calculates in {policy}; float32 is covered")
        if layer.config.get("data_format", "channels_last") not in ("channels_last", None):
            raise _NotCovered("has its channels first; channels_last is covered")
        activation = layer.config.get("activation")
        if activation is not None and _activation_layer(layer, activation) is None:
            _activation_name(activation)

    def layer(self, layer: Layer, sources: list[Node]) -> Node:
        """Lower one layer."""
        least, most = (0, 0) if layer.kind == "InputLayer" else (2, None) if layer.kind in _SEVERAL else (1, 1)
        if len(sources) < least or (most is not None and len(sources) > most):
            raise ModelError(f"{self.file.path}: {layer.label} has {len(sources)} inputs, wanted {least}.")
        return LAYERS[layer.kind](self, layer, sources)

    def add(
        self,
        op: str,
        layer: Layer,
        inputs: list[Node],
        shape: tuple[int, ...],
        constants: tuple[Array | None, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Node:
        """Append a node."""
        if any(size < 1 for size in shape) or math.prod(shape) > _LARGEST_SIZE:
            raise ModelError(f"{self.file.path}: {layer.label} would give {list(shape)}; wanted sizes of at least 1.")
        node = Node(op, layer.name, inputs, shape, constants, options or {})
        self.nodes.append(node)
        return node

    def weights(self, layer: Layer, **shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """A layer's weights by name and shape."""
        return self.file.weights(layer.place, tuple(shapes), tuple(shapes.values()))

    def constant(self, op: str, layer: Layer, source: Node, value: Array) -> Node:
        """ADD or MUL of a constant vector."""
        return self.add(op, layer, [source], source.shape, (value,), _NO_ACTIVATION)

    def activation(self, layer: Layer, source: Node, activation: Any) -> Node:
        """The operator of a Keras activation, which is a name, a function or a layer."""
        if inner := _activation_layer(layer, activation):
            return LAYERS[inner.kind](self, inner, [source])
        name = _activation_name(activation)
        if name == "linear":
            return source
        operator, options = _ACTIVATIONS[name]
        if name == "leaky_relu":
            slope = activation["config"].get("negative_slope", 0.2) if isinstance(activation, Mapping) else 0.2
            options = {"alpha": float(np.float32(slope))}
        return self.add(operator, layer, [source], source.shape, options=options)


def _activation_layer(layer: Layer, activation: Any) -> Layer | None:
    """A layer that is given as another one's activation, such as `Dense(3, activation=ReLU())`."""
    kind = activation.get("class_name") if isinstance(activation, Mapping) else None
    if kind not in ("LeakyReLU", "ReLU", "Softmax"):
        return None
    return replace(layer, kind=kind, config=activation["config"])


def _activation_name(activation: Any) -> str:
    name = activation
    if isinstance(activation, Mapping):
        name = activation.get("class_name")
        inner = activation.get("config")
        if name == "function" and isinstance(inner, str):
            name = inner
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise _NotCovered(f"its activation {name!r} is not covered; covered are {', '.join(_ACTIVATIONS)}")
    return name


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("", {}),
    "relu": ("RELU", {}),
    "relu6": ("RELU6", {}),
    "leaky_relu": ("LEAKY_RELU", {}),
    "sigmoid": ("LOGISTIC", {}),
    "softmax": ("SOFTMAX", {"beta": 1.0}),
    "tanh": ("TANH", {}),
}


def _input(run: _Lowering, layer: Layer, _: list[Node]) -> Node:
    shape = batch_shape(layer.config)
    if not isinstance(shape, (list, tuple)) or len(shape) < 2:
        raise _NotCovered(f"its shape is {shape}; a batch and at least one dimension are covered")
    if shape[0] != run.batch:
        raise _NotCovered(f"its batch size is {shape[0]} and another input's {run.batch}; inputs of one are covered")
    if any(not isinstance(size, int) for size in shape[1:]):
        raise _NotCovered(f"its shape is {list(shape)}; only the batch may be open")
    return run.add("INPUT", layer, [], tuple(shape[1:]))


def _dense(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), units = sources, int(layer.config["units"])
    if layer.config.get("lora_rank") or layer.config.get("quantization_config"):
        raise _NotCovered("has LoRA or quantized weights; plain ones are covered")
    depth = source.shape[-1]
    shapes: dict[str, tuple[int, ...]] = {"kernel": (depth, units)}
    if layer.config.get("use_bias", True):
        shapes["bias"] = (units,)
    kernel, *bias = run.weights(layer, **shapes)
    weights = np.ascontiguousarray(kernel.T)
    outer = source.shape[:-1]
    if outer:
        source = _reshaped(run, layer, source, (depth,))
        source.of_rows = run.batch is not None
    node = run.add("FULLY_CONNECTED", layer, [source], (units,), (weights, None), _DENSE)
    node.rows = source.rows
    if outer:
        node = _reshaped(run, layer, node, (*outer, units), reads_shape=False)
        node.of_rows = run.batch is not None
    if bias:
        node = run.constant("ADD", layer, node, bias[0])
    return run.activation(layer, node, layer.config.get("activation", "linear"))


_DENSE: dict[str, Any] = {
    **_NO_ACTIVATION,
    "weights_format": "DEFAULT",
    "keep_num_dims": False,
    "asymmetric_quantize_inputs": False,
}


def _reshaped(run: _Lowering, layer: Layer, source: Node, shape: tuple[int, ...], reads_shape: bool = True) -> Node:
    first = -1 if run.batch is None else run.batch
    node = run.add("RESHAPE", layer, [source], shape, (np.array([first, *shape], np.int32),))
    node.rows = math.prod(source.shape) * source.rows // math.prod(shape)
    node.shape_of = source if reads_shape and run.batch is None else None
    return node


def _flatten(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,) = sources
    size = math.prod(source.shape)
    return _reshaped(run, layer, source, (size,))


def _reshape(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), target = sources, [int(size) for size in layer.config["target_shape"]]
    size = math.prod(source.shape)
    if target.count(-1) == 1:
        rest = math.prod(n for n in target if n != -1)
        target = [size // max(rest, 1) if n == -1 else n for n in target]
    if math.prod(target) != size:
        raise ModelError(f"{run.file.path}: {layer.label} reshapes {list(source.shape)} to {target}; sizes differ.")
    return _reshaped(run, layer, source, tuple(target))


def _window(
    layer: Layer, source: Node, window: tuple[int, int], strides: tuple[int, int]
) -> tuple[tuple[int, int], str]:
    """Height and width of what a window gives, and its padding."""
    padding = str(layer.config.get("padding", "valid")).upper()
    if padding not in ("SAME", "VALID"):
        raise _NotCovered(f"its padding is {padding.lower()}; same and valid are covered")
    _images(layer, source)
    sizes = source.shape[:2]
    if padding == "SAME":
        height, width = (-(-size // step) for size, step in zip(sizes, strides, strict=True))
    else:
        height, width = ((size - one) // step + 1 for size, one, step in zip(sizes, window, strides, strict=True))
    return (height, width), padding


def _images(layer: Layer, source: Node) -> None:
    if len(source.shape) != 3:
        raise ValueError(f"its input is {list(source.shape)}, wanted [height, width, channels]")


def _pair(value: Any) -> _Pair:
    first, second = (value, value) if isinstance(value, int) else value
    if int(first) < 1 or int(second) < 1:
        raise ValueError(f"a size is {value}, wanted at least 1")
    return int(first), int(second)


def _convolution(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), config = sources, layer.config
    kernel, strides = _pair(config["kernel_size"]), _pair(config.get("strides", 1))
    if _pair(config.get("dilation_rate", 1)) != (1, 1):
        raise _NotCovered(f"has the dilation {config['dilation_rate']}; 1 is covered")
    place, padding = _window(layer, source, kernel, strides)
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
    node = run.add(operator, layer, [source], (*place, out), (weights, np.zeros(out, np.float32)), options)
    if bias:
        node = run.constant("ADD", layer, node, bias[0])
    return run.activation(layer, node, config.get("activation", "linear"))


def _pool(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,) = sources
    window = _pair(layer.config["pool_size"])
    strides = _pair(layer.config.get("strides") or window)
    place, padding = _window(layer, source, window, strides)
    options = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1], ACTIVATION: "NONE"}
    options |= {"filter_height": window[0], "filter_width": window[1]}
    operator = "MAX_POOL_2D" if layer.kind == "MaxPooling2D" else "AVERAGE_POOL_2D"
    return run.add(operator, layer, [source], (*place, source.shape[-1]), options=options)


def _mean(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,) = sources
    _images(layer, source)
    keep = bool(layer.config.get("keepdims", False))
    shape = (1, 1, source.shape[-1]) if keep else (source.shape[-1],)
    return run.add("MEAN", layer, [source], shape, (np.array([1, 2], np.int32),), {"keep_dims": keep})


def _batch_normalization(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), config = sources, layer.config
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(source.shape)):
        raise _NotCovered(f"normalizes axis {axis}; the last axis is covered")
    channels = (source.shape[-1],)
    names = [
        name for name, there in (("gamma", config.get("scale", True)), ("beta", config.get("center", True))) if there
    ]
    shapes = dict.fromkeys((*names, "moving_mean", "moving_variance"), channels)
    values = dict(zip(shapes, run.weights(layer, **shapes), strict=True))
    variance = values["moving_variance"] + np.float32(config.get("epsilon", 1e-3))
    if not (variance > 0).all() or not np.isfinite(variance).all():
        raise ModelError(
            f"{run.file.path}: {layer.label}: a variance is not positive and finite; train the model again."
        )
    scale = rsqrt(variance, run.newton)
    if "gamma" in values:
        scale = scale * values["gamma"]
    offset = values["moving_mean"] * scale
    offset = values["beta"] - offset if "beta" in values else -offset
    return run.constant("ADD", layer, run.constant("MUL", layer, source, scale), offset)


def _relu(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), config = sources, layer.config
    top, slope, threshold = config.get("max_value"), config.get("negative_slope") or 0.0, config.get("threshold") or 0.0
    if threshold or (slope and top is not None) or top not in (None, 6, 6.0):
        raise _NotCovered(
            f"has max_value {top}, negative_slope {slope}, threshold {threshold}; max_value 6 or none and, without it, "
            "a negative_slope are covered"
        )
    if slope:
        return run.add("LEAKY_RELU", layer, [source], source.shape, options={"alpha": float(np.float32(slope))})
    return run.add("RELU" if top is None else "RELU6", layer, [source], source.shape)


def _leaky(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,) = sources
    slope = layer.config.get("negative_slope", layer.config.get("alpha", 0.3))
    return run.add("LEAKY_RELU", layer, [source], source.shape, options={"alpha": float(np.float32(slope))})


def _softmax(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    (source,), axis = sources, layer.config.get("axis", -1)
    if axis not in (-1, len(source.shape)):
        raise _NotCovered(f"works along axis {axis}; the last axis is covered")
    return run.activation(layer, source, "softmax")


def _activation(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    return run.activation(layer, sources[0], layer.config.get("activation", "linear"))


def _nothing(_: _Lowering, __: Layer, sources: list[Node]) -> Node:
    return sources[0]


def _add(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    total = sources[0]
    for source in sources[1:]:
        if source.shape != total.shape:
            raise _NotCovered(f"adds {list(total.shape)} and {list(source.shape)}; inputs of one shape are covered")
        total = run.add("ADD", layer, [total, source], total.shape, options=_NO_ACTIVATION)
    return total


def _concatenate(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
    axis, rank = int(layer.config.get("axis", -1)), len(sources[0].shape) + 1
    place = axis + rank if axis < 0 else axis
    if not 1 <= place < rank:
        raise _NotCovered(f"joins along axis {axis}, the batch or none; other axes are covered")
    shapes = [list(source.shape) for source in sources]
    sizes = [shape.pop(place - 1) for shape in shapes]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"its inputs are {[list(source.shape) for source in sources]}")
    shape = (*shapes[0][: place - 1], sum(sizes), *shapes[0][place - 1 :])
    return run.add("CONCATENATION", layer, list(sources), shape, options={"axis": place, **_NO_ACTIVATION})


def _padding(run: _Lowering, layer: Layer, sources: list[Node]) -> Node:
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


_SEVERAL = ("Add", "Concatenate")
LAYERS: dict[str, Callable[[_Lowering, Layer, list[Node]], Node]] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling2D": _pool,
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _nothing,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _mean,
    "InputLayer": _input,
    "LeakyReLU": _leaky,
    "MaxPooling2D": _pool,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "ZeroPadding2D": _padding,
}
