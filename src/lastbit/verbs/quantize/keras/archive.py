"""Opening Keras files: a model's configuration and its weights, with no trust in what the file says.

Source: keras-team/keras keras/src/saving/saving_lib.py (.keras: config.json and model.weights.h5) and
keras/src/legacy/saving/legacy_h5_format.py (.h5: attributes model_config, layer_names, weight_names).
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ....model.errors import ModelError, OracleMissingError
from ....model.extras import install_text
from ....model.types import Array
from .layers import MODELS, name_of

__all__ = ["KerasFile", "opened"]

# A .tflite file holds less than 2 GiB; weights beyond that cannot be written anyway.
_LARGEST = 2**31
_LARGEST_CONFIG = 2**26
# What is compressed more than this is no trained model's weights.
_LARGEST_RATIO = 200
# What a model's group calls its layers; Keras 2.13 takes the second name.
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_NOT_FINISHED = "save the model again with model.save()."


class KerasFile:
    """An open Keras file.

    Attributes:
        path: how errors name it.
        config: the model's configuration, as Keras wrote it.
    """

    def __init__(
        self, path: str, config: Mapping[str, Any], root: Any, groups: Mapping[tuple[str, ...], str] | None
    ) -> None:
        self.path = path
        self.config = config
        self._root = root
        self._groups = groups
        self._left = _LARGEST

    def weights(
        self, place: tuple[str, ...], names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]
    ) -> tuple[Array, ...]:
        """A layer's weights, float32.

        Args:
            place: the names of the models the layer is in, from the outside, and its own.
            names: what each weight is, such as `kernel`, for errors.
            shapes: the shapes that the configuration asks for.

        Raises:
            ModelError: a weight is missing, or has another shape or type.
        """
        layer, paths = "/".join(place), self._paths(place)
        if len(paths) != len(names):
            raise ModelError(
                f"{self.path}: layer {layer!r} has {len(paths)} weights in the file, wanted {len(names)} "
                f"({', '.join(names)}); {_NOT_FINISHED}"
            )
        found = zip(names, paths, shapes, strict=True)
        return tuple(self._array(path, f"layer {layer!r}: {name}", shape) for name, path, shape in found)

    def _paths(self, place: tuple[str, ...]) -> list[str]:
        if self._groups is not None:
            where = f"{self._groups[place]}/vars"
            group = self._object(where, f"layer {'/'.join(place)!r}", "group")
            return [f"{where}/{number}" for number in range(len(group))]
        # An .h5 file keeps the weights of all layers of a nested model together, under their names.
        group = self._object(f"model_weights/{place[0]}", f"layer {place[0]!r}", "group")
        names = _texts(group.attrs.get("weight_names", ()))
        if len(place) > 1:
            parts = [name.split("/") for name in names]
            own = [part for part in parts if part[-2:-1] == [place[-1]]]
            within = [part for part in own if part[-3:-2] == [place[-2]]]
            names = ["/".join(part) for part in within or own]
        return [f"model_weights/{place[0]}/{name}" for name in names]

    def _object(self, path: str, what: str, kind: str) -> Any:
        """The group or dataset at a path, all of whose parts are in this file."""
        import h5py

        place = self._root
        for part in path.split("/"):
            link = place.get(part, getlink=True) if part and isinstance(place, h5py.Group) else None
            if link is None or not isinstance(link, h5py.HardLink):
                raise ModelError(f"{self.path}: {what}: the file has no {kind} {path!r}; {_NOT_FINISHED}")
            place = place[part]
        if not isinstance(place, h5py.Dataset if kind == "dataset" else h5py.Group):
            raise ModelError(f"{self.path}: {what}: {path!r} is not a {kind}; {_NOT_FINISHED}")
        return place

    def _array(self, path: str, what: str, shape: tuple[int, ...]) -> Array:
        data = self._object(path, what, "dataset")
        if data.shape != shape:
            found = "nothing" if data.shape is None else str(list(data.shape))
            raise ModelError(f"{self.path}: {what} is {found}, wanted {list(shape)}; {_NOT_FINISHED}")
        if data.dtype != np.float32:
            raise ModelError(f"{self.path}: {what} is {data.dtype}, wanted float32; save it in float32.")
        self._left -= data.nbytes
        stored = data.id.get_storage_size()
        if self._left < 0 or data.is_virtual or data.external or data.nbytes > _LARGEST_RATIO * stored + 2**16:
            raise ModelError(
                f"{self.path}: {what} has {data.nbytes} bytes, of which the file holds {stored}; wanted weights that "
                "are stored in the file and fit into a .tflite file (2 GiB)."
            )
        values = np.array(data[()], np.float32, order="C")
        values.flags.writeable = False
        return values


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[KerasFile]:
    """Open a .keras or .h5 file; what is wrong inside ends in a ModelError.

    Raises:
        ModelError: the file is missing, or is no Keras model.
        OracleMissingError: h5py is not installed.
    """
    name = os.fspath(path)
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise OracleMissingError(
            f"{name}: reading Keras files needs h5py, which is not installed: {install_text('keras')}"
        ) from None
    if os.path.isdir(name):
        raise ModelError(f"{name}: is a folder, wanted one file: save the model with model.save('model.keras').")
    if not os.path.isfile(name):
        raise ModelError(f"{name}: there is no such file; wanted a .keras or .h5 file.")
    try:
        with _zip(name) if zipfile.is_zipfile(name) else _h5(name) as file:
            yield file
    except (
        OSError,
        RuntimeError,
        LookupError,
        OverflowError,
        ValueError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        if isinstance(error, RecursionError):
            raise ModelError(f"{name}: its configuration is nested too deep; {_NOT_FINISHED}") from None
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{name}: cannot be read as a Keras model ({text}); {_NOT_FINISHED}") from None


@contextmanager
def _zip(path: str) -> Iterator[KerasFile]:
    import h5py

    with zipfile.ZipFile(path) as archive:
        config = _config(_member(archive, path, "config.json", _LARGEST_CONFIG), path)
        weights = _member(archive, path, "model.weights.h5", _LARGEST)
    with h5py.File(io.BytesIO(weights), "r") as root:
        yield KerasFile(path, config, root, _groups(config, root))


def _member(archive: zipfile.ZipFile, path: str, name: str, largest: int) -> bytes:
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise ModelError(
            f"{path}: has {len(entries)} entries {name!r}, wanted 1: a .keras file that model.save() wrote."
        )
    size, stored = entries[0].file_size, entries[0].compress_size
    if size > largest or size > _LARGEST_RATIO * stored + 2**16:
        raise ModelError(f"{path}: {name} unpacks from {stored} to {size} bytes; that is not a trained model.")
    with archive.open(entries[0]) as stream:
        content = stream.read(size + 1)
    if len(content) != size:
        raise ModelError(f"{path}: {name} has not the {size} bytes that the archive states; {_NOT_FINISHED}")
    return content


@contextmanager
def _h5(path: str) -> Iterator[KerasFile]:
    import h5py

    try:
        root = h5py.File(path, "r")
    except OSError:
        raise ModelError(f"{path}: is neither a .keras file (zip) nor an .h5 file (HDF5); {_NOT_FINISHED}") from None
    with root:
        text = root.attrs.get("model_config")
        if text is None:
            raise ModelError(
                f"{path}: holds no model configuration (weights only?); wanted a whole model: model.save(), not "
                "model.save_weights()."
            )
        yield KerasFile(path, _config(text if isinstance(text, bytes) else str(text).encode(), path), root, None)


def _config(text: bytes, path: str) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: its configuration is not JSON text; {_NOT_FINISHED}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path}: its configuration is not a JSON object; {_NOT_FINISHED}")
    return config


def _groups(config: Mapping[str, Any], root: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """A layer's place -> its group of weights: layers are stored by class and number, in the model's order.

    The numbers of one class rise and may leave gaps (Keras 2.13).

    Args:
        config: a model's configuration.
        root: the group of its weights; None where the file has none.
        place: the model's own place.
    """
    container = next((name for name in _CONTAINERS if _within(root, name) is not None), _CONTAINERS[0])
    stored = _within(root, container)
    names = sorted(stored, key=lambda name: (len(name), name)) if stored is not None else []
    found: dict[tuple[str, ...], str] = {}
    counts: dict[str, int] = {}
    inner = config.get("config")
    layers = inner.get("layers", ()) if isinstance(inner, dict) else ()
    for layer in layers if isinstance(layers, list) else ():
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            continue  # told when the layers are read
        name, kind = name_of(layer), str(layer.get("class_name"))
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z]+)", "_", re.sub(r"\W", "", kind)).lower()
        snake = re.sub(r"_+", "_", snake)
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        own = [stored_name for stored_name in names if re.fullmatch(rf"{re.escape(snake)}(_\d+)?", stored_name)]
        group = own[number] if number < len(own) else f"{snake}_{number}"
        found[(*place, name)] = f"{container}/{group}"
        if kind in MODELS:
            nested = _groups(layer, _within(stored, group), (*place, name))
            found |= {key: f"{container}/{group}/{path}" for key, path in nested.items()}
    return found


def _within(group: Any, name: str) -> Any:
    """A group in a group, None where there is none of this name in this file."""
    import h5py

    if group is None or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    return group[name] if isinstance(group[name], h5py.Group) else None


def _texts(values: Any) -> list[str]:
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
