"""What an interpreter printed on another machine, read and checked: a recording.npz, or what a board printed."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...model.errors import InputError
from ...model.graph import Model
from ...model.types import Array
from ...report.input_files import read_file
from ...report.output_files import reason
from .printed import read_printed

__all__ = ["Recording", "read_recording"]

SCHEMA = "lastbit.recording/1"
# What /proc/cpuinfo lists of a CPU at length; `--json` has it.
_LISTS = ("flags", "Features")
_MAKE = "`lastbit record MODEL -o FOLDER` makes what records it."


@dataclass(frozen=True, repr=False)
class Recording:
    """What an interpreter printed for some inputs, tensor by tensor.

    Attributes:
        interpreter: its distribution and version.
        kernels: `default`, `builtin` or `reference`.
        machine: the CPU and the system.
        samples: for each input tensor index -> value, of the inputs and of what operators computed.
        ends: for each input the outputs of the unchanged model, tensor index -> value; empty where it was not run.
    """

    interpreter: str
    kernels: str
    machine: str
    samples: tuple[Mapping[int, Array], ...] = field(repr=False)
    ends: tuple[Mapping[int, Array], ...] = field(repr=False)

    @property
    def where(self) -> str:
        """Who printed it, in words."""
        known = [part for part in self.machine.split("; ") if part.partition(":")[0] not in _LISTS]
        return f"{self.interpreter}, {self.kernels} kernels, {'; '.join(known) or 'unknown CPU'}"


def read_recording(path: str | os.PathLike[str], model: Model) -> Recording:
    """Read what record.py wrote, or what `lastbit_record` printed.

    Args:
        path: the file.
        model: the model that it should be of.

    Raises:
        InputError: the file cannot be read, is not a recording, or is one of another model.
    """
    name = os.fspath(path)
    content = read_file(name, "the recording.npz that record.py writes, or what lastbit_record printed")
    if content.startswith(b"PK"):
        return _of_arrays(name, model)
    return _of_lines(name, content, model)


def _of_arrays(name: str, model: Model) -> Recording:
    try:
        with np.load(name, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        about = json.loads(str(arrays.pop("about")))
        if about["schema"] != SCHEMA:
            raise InputError(f"{name}: found the schema {about['schema']!r}; wanted {SCHEMA}")
        digest, count = str(about["model_sha256"]), int(about["samples"])
        told = [str(about[key]) for key in ("interpreter", "kernels", "cpu", "platform")]
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{name}: is not a recording, or not a whole one: {reason(error)}; wanted what record.py writes. {_MAKE}"
        ) from None
    _check_model(name, digest, model)
    samples: list[dict[int, Array]] = [{} for _ in range(count)]
    ends: list[dict[int, Array]] = [{} for _ in range(count)]
    for key, array in arrays.items():
        parts = key.split("/")
        if not all(part.isdigit() or part == "end" for part in parts) or int(parts[0]) >= count:
            raise InputError(f"{name}: found an array named {key!r}; wanted SAMPLE/TENSOR or SAMPLE/end/TENSOR")
        target = ends if parts[1] == "end" else samples
        target[int(parts[0])][int(parts[-1])] = _checked(name, key, array, model, int(parts[-1]))
    return Recording(told[0], told[1], "; ".join(filter(None, told[2:])), tuple(samples), tuple(ends))


def _of_lines(name: str, content: bytes, model: Model) -> Recording:
    printed = read_printed(name, content)
    _check_model(name, printed.digest, model)
    samples = tuple(
        {index: _of_bytes(name, values, model, index) for index, values in sample.items()} for sample in printed.samples
    )
    return Recording("tflite-micro, built for the board", "default", "", samples, tuple({} for _ in samples))


def _check_model(name: str, digest: str, model: Model) -> None:
    own = hashlib.sha256(bytes(model.content)).hexdigest()
    if digest != own:
        raise InputError(
            f"{name}: recorded with another model (SHA-256 {digest[:12]}...); {model.source} has {own[:12]}... "
            "Give the model that the recorder was made of."
        )


def _checked(name: str, key: str, array: Array, model: Model, index: int) -> Array:
    if not 0 <= index < len(model.tensors):
        raise InputError(f"{name}: found tensor {index}; the model has tensors 0 to {len(model.tensors) - 1}")
    tensor = model.tensors[index]
    computed = index in {i for op in model.operators for i in op.outputs}  # the file may not know its shape
    if array.dtype != tensor.dtype.numpy or not (computed or array.shape == tensor.shape):
        raise InputError(
            f"{name}: {key} is {array.dtype} {list(array.shape)}; {tensor.label} is {tensor.dtype.name} "
            f"{list(tensor.shape)}"
        )
    return array


def _of_bytes(name: str, content: bytes, model: Model, index: int) -> Array:
    if not 0 <= index < len(model.tensors):
        raise InputError(f"{name}: found tensor {index}; the model has tensors 0 to {len(model.tensors) - 1}")
    tensor = model.tensors[index]
    wanted = int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype.numpy).itemsize
    if len(content) != wanted:
        raise InputError(f"{name}: found {len(content)} bytes of {tensor.label}; wanted {wanted}")
    return np.frombuffer(content, tensor.dtype.numpy).reshape(tensor.shape)
