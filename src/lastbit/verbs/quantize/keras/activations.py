"""Activations: layers of their own, and those that other layers name or hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .graph import Node
from .layers import Layer
from .lowering import Lowering, NotCovered

__all__ = ["activated", "activation", "check_activation", "check_relu", "leaky_relu", "relu", "softmax"]

_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("", {}),
    "relu": ("RELU", {}),
    "relu6": ("RELU6", {}),
    "leaky_relu": ("LEAKY_RELU", {}),
    "sigmoid": ("LOGISTIC", {}),
    "softmax": ("SOFTMAX", {"beta": 1.0}),
    "tanh": ("TANH", {}),
}


def check_activation(layer: Layer) -> None:
    """Refuse a layer whose activation is not covered."""
    activation = layer.config.get("activation")
    if activation is None:
        return
    inner = _layer(layer, activation)
    if inner is None:
        _name(activation)
    elif inner.kind == "ReLU":
        check_relu(inner)


def activated(run: Lowering, layer: Layer, source: Node, activation: Any) -> Node:
    """The operator of an activation, which is a name, a function or a layer."""
    if inner := _layer(layer, activation):
        return _LAYERS[inner.kind](run, inner, [source])
    name = _name(activation)
    if name == "linear":
        return source
    operator, options = _ACTIVATIONS[name]
    if name == "leaky_relu":
        slope = activation["config"].get("negative_slope", 0.2) if isinstance(activation, Mapping) else 0.2
        options = {"alpha": float(np.float32(slope))}
    return run.add(operator, layer, [source], source.shape, options=options)


def _layer(layer: Layer, activation: Any) -> Layer | None:
    """A layer that is given as another one's activation, such as `Dense(3, activation=ReLU())`."""
    kind = activation.get("class_name") if isinstance(activation, Mapping) else None
    if kind not in _LAYERS:
        return None
    return replace(layer, kind=kind, config=activation["config"])


def _name(activation: Any) -> str:
    name = activation
    if isinstance(activation, Mapping):
        name = activation.get("class_name")
        inner = activation.get("config")
        if name == "function" and isinstance(inner, str):
            name = inner
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise NotCovered(f"its activation {name!r} is not covered; covered are {', '.join(_ACTIVATIONS)}")
    return name


def check_relu(layer: Layer) -> None:
    """Refuse a ReLU whose options are not covered."""
    config = layer.config
    top, slope, threshold = config.get("max_value"), config.get("negative_slope") or 0.0, config.get("threshold") or 0.0
    if threshold or (slope and top is not None) or top not in (None, 6, 6.0):
        raise NotCovered(
            f"has max_value {top}, negative_slope {slope}, threshold {threshold}; max_value 6 or none and, without it, "
            "a negative_slope are covered"
        )


def relu(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """ReLU with its options: RELU, RELU6 or LEAKY_RELU."""
    (source,), top, slope = sources, layer.config.get("max_value"), layer.config.get("negative_slope")
    if slope:
        return run.add("LEAKY_RELU", layer, [source], source.shape, options={"alpha": float(np.float32(slope))})
    return run.add("RELU" if top is None else "RELU6", layer, [source], source.shape)


def leaky_relu(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """LeakyReLU: its slope is `negative_slope` in Keras 3 and `alpha` in 2, where a slope of 0 is RELU."""
    (source,) = sources
    if layer.config.get("alpha") == 0:
        return run.add("RELU", layer, [source], source.shape)
    slope = layer.config.get("negative_slope", layer.config.get("alpha", 0.3))
    return run.add("LEAKY_RELU", layer, [source], source.shape, options={"alpha": float(np.float32(slope))})


def softmax(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Softmax along the last axis."""
    (source,), axis = sources, layer.config.get("axis", -1)
    if axis not in (-1, len(source.shape)):
        raise NotCovered(f"works along axis {axis}; the last axis is covered")
    return activated(run, layer, source, "softmax")


def activation(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Activation: what it names."""
    return activated(run, layer, sources[0], layer.config.get("activation", "linear"))


_LAYERS = {"LeakyReLU": leaky_relu, "ReLU": relu, "Softmax": softmax}
