"""Structured damage: small good models in which single fields of the schema have other values.

Random bits mostly break the structure, and the reader says so. What is behind it is only reached by files whose
structure is right: shapes, indices, types, options, scales and constants that do not fit each other. So each field of a
good file is found by the schema that the reader checks with, and gets a value that is legal for its kind.
"""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.cases import activations, variables
from lab.pages import files as files_page
from lab.record.recorded_operators import read_golden
from lastbit import inspect, load
from lastbit.engines import reference
from lastbit.engines.executable import Executable
from lastbit.model.errors import LastBitError
from lastbit.model.graph import Model
from lastbit.model.tflite import write
from lastbit.model.tflite.check import OPTIONS, SCHEMA
from lastbit.ops.prepare import prepare

__all__ = ["RUNTIMES", "Mutants", "exercise", "seeds"]

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
# Inputs with more elements are not made: the model is read and prepared only.
_LARGEST_INPUT = 1 << 14

_WORDS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 255, 256, 65535, 1 << 16, 1 << 24, 2**31 - 1, -1, -2, -3, -(2**31))
_VALUES: dict[str, tuple[Any, ...]] = {
    "u8": (*range(0, 20), 127, 128, 255),
    "i8": (*range(-2, 19), 32, 101, 127, -128),
    "i32": _WORDS,
    "u32": tuple(abs(word) for word in _WORDS),
    "f32": (0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 256.0, 1e-40, 1e-45, 1e38, float("nan"), float("inf"), -float("inf")),
    "i64": (*_WORDS, 127, -128, 128, 2**40, 2**63 - 1, -(2**63)),
    "u64": (0, 1, 2, 2**31, 2**63, 2**64 - 1),
}
_FORMATS = {"u8": "<B", "i8": "<b", "i32": "<i", "u32": "<I", "f32": "<f", "i64": "<q", "u64": "<Q"}


@dataclass(frozen=True)
class Field:
    """One number of a file.

    Attributes:
        position: its first byte.
        kind: its kind, in the words of `lastbit.model.tflite.check.SCHEMA`; `length` for the length of a vector.
    """

    position: int
    kind: str


def fields(content: bytes) -> list[Field]:
    """Every number that the reader reads from a good file, and the numbers of small constants."""
    found: list[Field] = []

    def table(name: str, start: int) -> None:
        vtable = start - struct.unpack_from("<i", content, start)[0]
        length = struct.unpack_from("<H", content, vtable)[0]

        def at(slot: int) -> int:
            entry = 4 + 2 * slot
            return struct.unpack_from("<H", content, vtable + entry)[0] if entry < length else 0

        for slot, (_, kind) in SCHEMA[name].items():
            offset = at(slot)
            if not offset:
                continue
            position = start + offset
            if kind in _FORMATS:
                found.append(Field(position, kind))
            elif kind == "union":
                options = OPTIONS.get(content[start + at(3)]) if at(3) else None
                if options:
                    table(options, position + struct.unpack_from("<I", content, position)[0])
            else:
                follow(kind, position + struct.unpack_from("<I", content, position)[0])

    def follow(kind: str, target: int) -> None:
        if kind in SCHEMA:
            table(kind, target)
        elif kind != "str":
            vector("u8" if kind == "view" else kind[1:-1], target)

    def vector(element: str, start: int) -> None:
        count = struct.unpack_from("<I", content, start)[0]
        found.append(Field(start, "length"))
        if element in _FORMATS:
            width = struct.calcsize(_FORMATS[element])
            found.extend(Field(start + 4 + width * i, element) for i in range(min(count, 24)))
            if element == "u8" and count % 4 == 0:  # a constant: axes, shapes, biases
                found.extend(Field(start + 4 + 4 * i, "i32") for i in range(min(count // 4, 8)))
            return
        for i in range(count):
            place = start + 4 + 4 * i
            table(element, place + struct.unpack_from("<I", content, place)[0])

    table("Model", struct.unpack_from("<I", content)[0])
    return found


def seeds() -> list[bytes]:
    """The smallest model of each operator and element type: of those that are recorded, and of made ones."""
    smallest: dict[tuple[str, ...], bytes] = {}
    for name in ("litert-xnnpack", "litert-xnnpack.transpose_conv", "emulated"):
        _, cases = read_golden(files_page.GOLDEN.with_name(f"operators.{name}.npz"))
        for model, _, _ in cases:
            _keep(smallest, model)
    for case in activations.cases(1, 1):
        _keep(smallest, load(write(case.graph)))
    for dtype in ("int8", "float32"):
        for stream in variables.streams(np.random.default_rng(1), dtype):
            _keep(smallest, stream.model())
    for entry in files_page.recorded():
        if entry["group"] in ("weights scale 0", "graph"):
            content = files_page.content_of(entry)
            try:
                _keep(smallest, load(content))
            except LastBitError:
                continue
    return [smallest[key] for key in sorted(smallest)]


def _keep(smallest: dict[tuple[str, ...], bytes], model: Model) -> None:
    content = bytes(model.content)
    types = tuple(tensor.dtype.name for tensor in model.tensors)
    key = (*(op.name for op in model.operators), types[0], types[min(1, len(types) - 1)])
    if key not in smallest or len(content) < len(smallest[key]):
        smallest[key] = content


class Mutants:
    """An endless, reproducible supply of damaged files."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.files = [(content, fields(content)) for content in seeds()]

    def seeded(self, seed: int) -> Mutants:
        """The same models with other damage."""
        other = copy.copy(self)
        other.rng = random.Random(seed)
        return other

    def __iter__(self) -> Iterator[bytes]:
        while True:
            content, places = self.rng.choice(self.files)
            changed = bytearray(content)
            for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3))):
                self._change(changed, self.rng.choice(places))
            yield bytes(changed)

    def _change(self, content: bytearray, field: Field) -> None:
        rng = self.rng
        if field.kind == "length":
            (old,) = struct.unpack_from("<I", content, field.position)
            struct.pack_into("<I", content, field.position, rng.choice((0, 1, 2, max(old - 1, 0), old // 2)))
            return
        form = _FORMATS[field.kind]
        value = rng.choice(_VALUES[field.kind])
        if field.kind == "i32" and rng.random() < 0.4:
            (old,) = struct.unpack_from(form, content, field.position)
            value = max(min(old + rng.choice((-2, -1, 1, 2, old)), 2**31 - 1), -(2**31))
        struct.pack_into(form, content, field.position, value)


def exercise(content: bytes, *, shown: bool = True, wide: bool = False) -> str:
    """Load, inspect, prepare for four runtimes and run. Only LastBit's own errors are caught.

    Args:
        content: the file.
        shown: inspect it.
        wide: inspect in every runtime and run on the fast engine, too.

    Returns:
        How far it came: `unreadable`, `opened`, or `ran`.
    """
    try:
        model = load(content)
    except LastBitError:
        return "unreadable"
    if shown:
        str(inspect(model, runtimes=None if wide else RUNTIMES[3:]))
    came = "opened"
    for runtime in RUNTIMES:
        prepared = prepare(model, runtime)
        inputs = _inputs(model)
        if inputs is None:
            continue
        try:
            trace = reference.run(prepared, inputs, partial=bool(prepared.refusals))
            outputs = trace.outputs
            came = "ran"
            if wide:
                other = Executable(prepared, "numpy").outputs(inputs if len(inputs) > 1 else inputs[0])
                assert all(a.tobytes() == b.tobytes() for a, b in zip(outputs, other, strict=True)), "engines differ"
        except LastBitError:
            pass
    return came


def _inputs(model: Model) -> list[np.ndarray[Any, Any]] | None:
    """An array for each input, None where one cannot be made or is large."""
    values = []
    for tensor in model.inputs:
        size = 1
        for length in tensor.shape:
            size *= length
        if tensor.dtype.numpy is None or not 0 <= size <= _LARGEST_INPUT or min(tensor.shape, default=0) < 0:
            return None
        values.append((np.arange(size) % 97 - 40).astype(tensor.dtype.numpy).reshape(tensor.shape))
    return values
