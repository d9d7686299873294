"""A model's configuration as a list of layers, each with the layers that feed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....model.errors import ModelError, UnsupportedError

__all__ = ["Layer", "Network", "batch_shape", "network"]


@dataclass(frozen=True)
class Layer:
    """One layer of a Keras model.

    Attributes:
        name: its name in the model, unique.
        kind: its class, such as `Dense`.
        config: its own configuration.
        sources: the names of the layers that feed it, in order.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    sources: tuple[str, ...]

    @property
    def label(self) -> str:
        """How errors name it."""
        return f"layer {self.name!r} ({self.kind})"


@dataclass(frozen=True)
class Network:
    """Layers, each after those that feed it, and the names of those that are fed and returned."""

    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def batch(self) -> int | None:
        """The batch size of the first input; None where it is open."""
        shapes = [batch_shape(layer.config) for layer in self.layers if layer.name in self.inputs]
        first = shapes[0][0] if shapes and isinstance(shapes[0], (list, tuple)) and shapes[0] else None
        return first if isinstance(first, int) and first > 0 else None


def batch_shape(config: Mapping[str, Any]) -> Any:
    """An input layer's shape with its batch, as the file has it: `batch_shape` in Keras 3, `batch_input_shape` in 2."""
    return config.get("batch_shape") or config.get("batch_input_shape")


def network(config: Mapping[str, Any], path: str) -> Network:
    """The layers of a Sequential or functional model.

    Raises:
        ModelError: the configuration is malformed.
        UnsupportedError: it is another kind of model, or a layer is used several times.
    """
    kind, inner = config.get("class_name"), config.get("config")
    if kind not in ("Sequential", "Functional", "Model"):
        raise UnsupportedError(
            f"{path}: the model is a {kind}", ["Sequential and functional models of Keras 2 and 3 are covered"]
        )
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(layers, list) or not layers:
        raise ModelError(f"{path}: the model has no layers; add layers, build the model and save it again.")
    for layer in layers:
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ModelError(f"{path}: an entry of its layers is no layer; save the model again with model.save().")
    names = [str(layer["config"].get("name")) for layer in layers]
    if len(set(names)) != len(names):
        raise ModelError(f"{path}: two layers have the same name; save the model again with model.save().")
    return _sequential(inner, layers, names, path) if kind == "Sequential" else _functional(inner, layers, names, path)


def _sequential(inner: Mapping[str, Any], layers: list[Any], names: list[str], path: str) -> Network:
    made: list[Layer] = []
    if layers[0].get("class_name") != "InputLayer":
        first = layers[0]["config"]
        shape = batch_shape(first) or inner.get("build_input_shape")
        if shape is None:
            raise ModelError(
                f"{path}: the model's input shape is not known; build the model (keras.Input as its first layer) and "
                "save it again."
            )
        made.append(Layer(f"{names[0]}_input", "InputLayer", {"batch_shape": shape}, ()))
    for name, layer in zip(names, layers, strict=True):
        sources = (made[-1].name,) if made else ()
        made.append(Layer(name, str(layer.get("class_name")), layer["config"], sources))
    return Network(tuple(made), (made[0].name,), (made[-1].name,))


def _functional(inner: Mapping[str, Any], layers: list[Any], names: list[str], path: str) -> Network:
    waiting: list[Layer] = []
    shared: list[str] = []
    for name, layer in zip(names, layers, strict=True):
        kind, nodes = str(layer.get("class_name")), layer.get("inbound_nodes") or []
        made = Layer(name, kind, layer["config"], tuple(_names(nodes[0])) if nodes else ())
        if len(nodes) > 1:
            shared.append(f"{made.label}: is used {len(nodes)} times; layers that are used once are covered")
        waiting.append(made)
    if shared:
        raise UnsupportedError(f"{path}: cannot be lowered as the converter does", shared)
    inputs, outputs = _ends(inner.get("input_layers")), _ends(inner.get("output_layers"))
    ordered: list[Layer] = []
    known: set[str] = set()
    while waiting:
        ready = [layer for layer in waiting if known.issuperset(layer.sources)]
        if not ready:
            missing = ", ".join(repr(name) for name in sorted(set(waiting[0].sources) - known))
            raise ModelError(f"{path}: {waiting[0].label} is fed by {missing}, which the model does not calculate.")
        known.update(layer.name for layer in ready)
        ordered += ready
        waiting = [layer for layer in waiting if layer.name not in known]
    ordered.sort(key=lambda layer: names.index(layer.name)) if _in_order(ordered, names) else None
    if not inputs or not outputs or not known.issuperset((*inputs, *outputs)):
        raise ModelError(f"{path}: its inputs or outputs are no layers of the model; save it again.")
    return Network(tuple(ordered), inputs, outputs)


def _in_order(layers: list[Layer], names: list[str]) -> bool:
    """Whether the file's own order has each layer after those that feed it."""
    place = {name: number for number, name in enumerate(names)}
    return all(place[source] < place[layer.name] for layer in layers for source in layer.sources)


def _names(node: Any) -> list[str]:
    """The names of the layers in one call, of Keras 2 (lists) or Keras 3 (__keras_tensor__ with its history)."""
    if isinstance(node, dict):
        history = node.get("config", {}).get("keras_history") if node.get("class_name") == "__keras_tensor__" else None
        if history:
            return [str(history[0])]
        return [name for part in (node.get("args", []), *node.get("kwargs", {}).values()) for name in _names(part)]
    if not isinstance(node, (list, tuple)):
        return []
    if len(node) in (3, 4) and isinstance(node[0], str) and isinstance(node[1], int):
        return [node[0]]
    return [name for part in node for name in _names(part)]


def _ends(ends: Any) -> tuple[str, ...]:
    """Names of input or output layers: one [name, 0, 0], a list of them, or a mapping."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    return tuple(_names(ends))
