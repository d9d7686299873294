"""A model's configuration as a list of layers, each with what feeds it.

A layer that is used several times stands there once for each use, and a model that is used as a layer is replaced by
its own layers.

Source: keras-team/keras keras/src/models/functional.py and sequential.py (get_config: inbound_nodes, keras_history).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....model.errors import ModelError, UnsupportedError

__all__ = ["MODELS", "Layer", "Network", "batch_shape", "name_of", "network"]

MODELS = ("Sequential", "Functional", "Model")
_DEEPEST = 50
_LAYERS_MODULE = "keras.layers"
_SAVE_AGAIN = "save the model again with model.save()."


@dataclass(frozen=True)
class Layer:
    """One use of a layer of a Keras model.

    Attributes:
        name: of this use, unique: the layer's name after the names of the models it is in, `#2` for its second use.
        kind: its class, such as `Dense`.
        config: its own configuration.
        sources: the names of the uses that feed it, in order.
        place: the names of the models it is in, from the outside, and the layer's own.
        stranger: where its class is from, such as `keras.src.ops.numpy`, if that is not Keras's layers. A class of the
            same name as a layer's can stand there.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    sources: tuple[str, ...]
    place: tuple[str, ...]
    stranger: str = ""

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
    def is_keras_2(self) -> bool:
        """Whether Keras 2 wrote the file: it calls the shape of an input layer another name."""
        return any("batch_input_shape" in layer.config for layer in self.layers)

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
        UnsupportedError: it is another kind of model.
    """
    if config.get("class_name") not in MODELS:
        raise UnsupportedError(
            f"{path}: the model is a {config.get('class_name')}",
            ["Sequential and functional models of Keras 2 and 3 are covered"],
        )
    found = _Expansion(path)
    inputs, outputs = found.model(config, (), None)
    if others := [layer.label for layer in found.layers if layer.name in inputs and layer.kind != "InputLayer"]:
        raise ModelError(f"{path}: {others[0]} stands as an input and is not an input layer; {_SAVE_AGAIN}")
    return Network(tuple(found.layers), inputs, outputs)


@dataclass(frozen=True)
class _Use:
    """One use of a layer inside one model: (layer, number) and the outputs that feed it, (layer, number, output)."""

    entry: Mapping[str, Any]
    name: str
    number: int
    sources: tuple[tuple[str, int, int], ...]


class _Expansion:
    """Goes through a model and the models in it, and collects their layers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.layers: list[Layer] = []
        self.used: set[str] = set()

    def model(
        self, entry: Mapping[str, Any], place: tuple[str, ...], fed: tuple[str, ...] | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Add a model's layers.

        Args:
            entry: its class and configuration.
            place: the names of the models it is in and its own; nothing for the file's own model.
            fed: what feeds its inputs, in order; None for the file's own model.

        Returns:
            The names of the uses that are its inputs, and those that are its outputs, in order.
        """
        if len(place) > _DEEPEST:
            raise ModelError(f"{self.path}: models are nested more than {_DEEPEST} deep; {_SAVE_AGAIN}")
        inner = entry.get("config")
        layers = inner.get("layers") if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(layers, list) or not layers:
            raise ModelError(f"{self.path}: {_of(place)} has no layers; add layers, build the model and save it again.")
        for layer in layers:
            if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
                raise ModelError(f"{self.path}: an entry of the layers of {_of(place)} is not a layer; {_SAVE_AGAIN}")
        names = [name_of(layer) for layer in layers]
        if len(set(names)) != len(names):
            raise ModelError(f"{self.path}: two layers of {_of(place)} have the same name; {_SAVE_AGAIN}")
        if entry.get("class_name") == "Sequential":
            uses, inputs, outputs = self.chain(inner, layers, names, place, fed is not None)
        else:
            inputs, outputs = _ends(inner.get("input_layers")), _ends(inner.get("output_layers"))
            calls = {name: _calls(layer) for name, layer in zip(names, layers, strict=True)}
            uses = _uses(dict(zip(names, layers, strict=True)), calls, outputs)
        return self.wire(uses, inputs, outputs, place, fed)

    def chain(
        self, inner: Mapping[str, Any], layers: list[Any], names: list[str], place: tuple[str, ...], is_fed: bool
    ) -> tuple[list[_Use], list[tuple[str, int, int]], list[tuple[str, int, int]]]:
        """The uses of a Sequential model's layers; an input layer is added where the file has none."""
        if layers[0].get("class_name") != "InputLayer":
            first = layers[0]["config"]
            shape = batch_shape(first) or inner.get("build_input_shape")
            if shape is None and not is_fed:
                raise ModelError(
                    f"{self.path}: the input shape of {_of(place)} is not known; build the model (keras.Input as its "
                    "first layer) and save it again."
                )
            added = {"class_name": "InputLayer", "config": {"batch_shape": shape}}
            layers, names = [added, *layers], [f"{names[0]}_input", *names]
        uses = []
        for number, (name, layer) in enumerate(zip(names, layers, strict=True)):
            uses.append(_Use(layer, name, 0, ((names[number - 1], 0, 0),) if number else ()))
        return uses, [(names[0], 0, 0)], [(names[-1], 0, 0)]

    def wire(
        self,
        uses: list[_Use],
        inputs: list[tuple[str, int, int]],
        outputs: list[tuple[str, int, int]],
        place: tuple[str, ...],
        fed: tuple[str, ...] | None,
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Add each use after those that feed it, in the file's order where that is one."""
        if fed is not None and len(fed) != len(inputs):
            raise ModelError(f"{self.path}: {_of(place)} is fed {len(fed)} tensors, wanted {len(inputs)}.")
        given = {} if fed is None else dict(zip((name for name, _, _ in inputs), fed, strict=True))
        results: dict[tuple[str, int], tuple[str, ...]] = {}
        waiting, alone = uses, Counter(use.name for use in uses)
        while waiting:
            left = []
            for use in waiting:
                if not all(source[:2] in results for source in use.sources):
                    left.append(use)
                elif use.name in given:
                    results[use.name, use.number] = (given[use.name],)
                else:
                    results[use.name, use.number] = self.add(use, self.outputs(use.sources, results, place), place)
                    if alone[use.name] == 1 and use.entry.get("class_name") in MODELS:
                        # Keras 3 can call the one use of a model 0 in one place and 1 in another.
                        results[use.name, 1 - use.number] = results[use.name, use.number]
            if len(left) == len(waiting):
                missing = sorted({repr(name) for use in left for name, number, _ in use.sources} - _quoted(results))
                names = ", ".join(missing) or "itself"
                raise ModelError(
                    f"{self.path}: layer {left[0].name!r} is fed by {names}, which the model does not calculate."
                )
            waiting = left
        if not inputs or not outputs or not all(end[:2] in results for end in (*inputs, *outputs)):
            raise ModelError(f"{self.path}: inputs or outputs of {_of(place)} are not layers of it; {_SAVE_AGAIN}")
        return self.outputs(inputs, results, place), self.outputs(outputs, results, place)

    def outputs(
        self, ends: Any, results: Mapping[tuple[str, int], tuple[str, ...]], place: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The names of uses that give some outputs."""
        found = []
        for name, number, output in ends:
            several = results[name, number]
            if not 0 <= output < len(several):
                raise ModelError(f"{self.path}: layer {name!r} of {_of(place)} has no output {output}; {_SAVE_AGAIN}")
            found.append(several[output])
        return tuple(found)

    def add(self, use: _Use, sources: tuple[str, ...], place: tuple[str, ...]) -> tuple[str, ...]:
        """Add one use of a layer, or all layers of a model that is used; the names of what it gives."""
        kind, own = str(use.entry.get("class_name")), (*place, use.name)
        if kind in MODELS:
            return self.model(use.entry, own, sources)[1]
        name = "/".join(own)
        number = 2
        while name in self.used:
            name = f"{'/'.join(own)}#{number}"
            number += 1
        self.used.add(name)
        self.layers.append(Layer(name, kind, use.entry["config"], sources, own, _stranger(use.entry)))
        return (name,)


def name_of(layer: Mapping[str, Any]) -> str:
    """A layer's name. A class of the user's own may keep it out of its configuration."""
    return str(layer["config"].get("name", layer.get("name")))


def _stranger(layer: Mapping[str, Any]) -> str:
    """Where a layer's class is from if it is none of Keras's layers; an .h5 file does not name the module."""
    module = layer.get("module", _LAYERS_MODULE)
    if module != _LAYERS_MODULE:
        return str(module or layer.get("registered_name"))
    is_layer = layer.get("class_name") == "InputLayer" or "trainable" in layer["config"]
    return "" if is_layer or "inbound_nodes" not in layer else "keras.ops"


def _of(place: tuple[str, ...]) -> str:
    return f"the model {'/'.join(place)!r}" if place else "the model"


def _quoted(results: Mapping[tuple[str, int], Any]) -> set[str]:
    return {repr(name) for name, _ in results}


def _calls(layer: Mapping[str, Any]) -> list[list[tuple[str, int, int]]]:
    """What feeds each use of a layer of a functional model: an input layer has one use, fed by nothing."""
    return [_tensors(call) for call in layer.get("inbound_nodes") or [[]]]


def _uses(
    layers: Mapping[str, Any],
    calls: Mapping[str, list[list[tuple[str, int, int]]]],
    outputs: list[tuple[str, int, int]],
) -> list[_Use]:
    """Every use. Keras 2 counts the uses of a model that is a layer from 1, everything else is counted from 0."""
    asked = [*outputs, *(source for of_layer in calls.values() for use in of_layer for source in use)]
    first = {
        name: int(any(other == name and number >= len(calls[name]) for other, number, _ in asked))
        for name, layer in layers.items()
        if layer.get("class_name") in MODELS
    }
    return [
        _Use(layers[name], name, number + first.get(name, 0), tuple(sources))
        for name in layers
        for number, sources in enumerate(calls[name])
    ]


def _tensors(node: Any) -> list[tuple[str, int, int]]:
    """(layer, use, output) of each tensor in a call, of Keras 2 (lists) or Keras 3 (__keras_tensor__ with history)."""
    if isinstance(node, dict):
        history = node.get("config", {}).get("keras_history") if node.get("class_name") == "__keras_tensor__" else None
        if history:
            return [_tensor(history)]
        return [
            tensor for part in (node.get("args", []), *node.get("kwargs", {}).values()) for tensor in _tensors(part)
        ]
    if not isinstance(node, (list, tuple)):
        return []
    if len(node) in (3, 4) and isinstance(node[0], str) and isinstance(node[1], int):
        return [_tensor(node)]
    return [tensor for part in node for tensor in _tensors(part)]


def _tensor(parts: Any) -> tuple[str, int, int]:
    return str(parts[0]), int(parts[1]), int(parts[2])


def _ends(ends: Any) -> list[tuple[str, int, int]]:
    """Input or output tensors: one [name, 0, 0], a list of them, or a mapping."""
    return _tensors(list(ends.values()) if isinstance(ends, dict) else ends)
