"""Every recorded case of one operator (tests/recorded): its model, its inputs, and what each interpreter printed."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.record.activations import Case
from lab.record.recorded_operators import read_golden
from lastbit.model.graph import Model
from lastbit.model.tflite import load

__all__ = ["RECORDED", "Recorded", "files"]

RECORDED = Path(__file__).parents[2] / "tests" / "recorded"
Array = np.ndarray[Any, np.dtype[Any]]
Recorded = tuple[Model, Sequence[Array], Mapping[str, Sequence[Array] | str]]
"""A model; its inputs; and by runtime its outputs, or why there are none. Samples lie along an axis in front."""


def files() -> dict[str, Callable[[], Iterator[Recorded]]]:
    """Every file of recorded cases: name -> its cases."""
    found: dict[str, Callable[[], Iterator[Recorded]]] = {
        path.name: lambda path=path: _operators(path)  # type: ignore[misc]
        for path in sorted(RECORDED.glob("operators*.npz"))
    }
    found["activations"] = _activations
    found |= {
        name: lambda name=name: _dense(name)  # type: ignore[misc]
        for name in ("dense", "dense_8bit", "dense_int16")
    }
    return found | {"dense_other_runtimes": _libraries, "dense_pairs": _pairs}


def _operators(path: Path) -> Iterator[Recorded]:
    for model, inputs, outcomes in read_golden(path)[1]:
        printed = {name: o if isinstance(o, str) else [y[None] for y in o] for name, o in outcomes.items()}
        yield model, [x[None] for x in inputs], printed


def _activations() -> Iterator[Recorded]:
    folder = RECORDED / "activations"
    with np.load(folder / "inputs.npz") as stored:
        described, inputs = json.loads(str(stored["cases"])), io.BytesIO(stored["inputs"].tobytes())
    runtimes = {}
    for path in sorted(folder.glob("*.npz")):
        if path.stem != "inputs":
            with np.load(path) as stored:
                runtimes[path.stem] = (
                    json.loads(str(stored["outcomes"])), io.BytesIO(stored["outputs"].tobytes())
                )  # fmt: skip
    for number, fields in enumerate(described):
        shape = tuple(fields.pop("shape"))
        given, to = (np.dtype(fields[end][0]) for end in ("source", "output"))
        fields |= {end: tuple(fields[end]) for end in ("source", "output")}
        values = _cut(inputs, shape, given)
        printed: dict[str, Sequence[Array] | str] = {}
        for name, (outcomes, stream) in runtimes.items():
            ran = outcomes[number] in ("ran", "delegated")
            printed[name] = [_cut(stream, shape, to)[None]] if ran else outcomes[number]
        yield Case(values=values, **fields).model(), [values[None]], printed


def _dense(name: str) -> Iterator[Recorded]:
    """Files in which each name's arrays stand one behind the other."""
    listing = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(RECORDED / f"{name}.npz") as stored:
        streams = {key: io.BytesIO(stored[key].tobytes()) for key in stored.files}
    for case in listing["cases"]:
        arrays = {
            key: _cut(streams[key], tuple(shape), np.dtype(kind)) for key, (kind, shape) in case["arrays"].items()
        }
        model, x = load(arrays.pop("model").tobytes()), arrays.pop("x")
        yield model, [x], {**case["refused"], **{key: [y] for key, y in arrays.items()}}


def _libraries() -> Iterator[Recorded]:
    listing = json.loads((RECORDED / "dense_other_runtimes.json").read_text(encoding="utf-8"))
    with np.load(RECORDED / "dense_other_runtimes.npz") as stored:
        streams = {key: io.BytesIO(stored[key].tobytes()) for key in stored.files}
    models, xs = streams.pop("models"), streams.pop("x")
    for case in listing["cases"]:
        model = load(models.read(case["model_bytes"]))
        (x,), (y,) = model.inputs, model.outputs
        inputs = _cut(xs, (case["samples"], *x.shape), np.dtype(x.dtype.numpy))
        there = [name for name in streams if name not in case["refused"]]
        kind, shape = np.dtype(y.dtype.numpy), (case["samples"], *y.shape)
        yield model, [inputs], {**case["refused"], **{name: [_cut(streams[name], shape, kind)] for name in there}}


def _pairs() -> Iterator[Recorded]:
    with np.load(RECORDED / "dense_pairs.npz") as stored:
        for number in range(sum(key.endswith(".model") for key in stored.files)):
            names = ("onnxruntime-avx2", "torch-fbgemm-avx2")
            printed = {name: [stored[f"{number}.{name}"][None]] for name in names}
            yield load(stored[f"{number}.model"].tobytes()), [stored[f"{number}.x"][None]], printed


def _cut(stream: io.BytesIO, shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    return np.frombuffer(stream.read(math.prod(shape) * kind.itemsize), kind).reshape(shape)
