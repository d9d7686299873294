"""Data to ranges: LiteRT's own calibrator in a process of its own, or LastBit's float32 operators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError, OracleError, OracleMissingError, UnsupportedError
from ...model.extras import install_text
from ...model.graph import Model, Tensor
from ...model.types import Array
from ..run.verb import run
from .ranges import Ranges

__all__ = ["CALIBRATORS", "calibrate", "samples_of"]

Progress = Callable[[int, int, str], None]

CALIBRATORS = ("litert", "lastbit")
_SECONDS = 3600
_DISTRIBUTION = "ai-edge-litert"
# Whose float32 arithmetic the calibration of LastBit's own has: the one that covers dense layers and convolutions.
_RUNTIME = "litert-reference"


def samples_of(model: Model, data: Any) -> list[dict[int, Array]]:
    """The samples of a data set: for each input an array of the input's own shape.

    Args:
        model: the model.
        data: the array of a model with one input; or a mapping from input name or index, or a sequence in order. The
            first dimension counts samples times the input's own first dimension.

    Raises:
        InputError: an array has the wrong shape or type, no rows or NaN, or there are too many or too few of them.
    """
    arrays = _by_index(model, data)
    counts = {}
    for tensor in model.inputs:
        array = arrays[tensor.index] = _checked(tensor, arrays[tensor.index])
        counts[tensor.index] = array.shape[0] // max(tensor.shape[0], 1) if tensor.shape else array.shape[0]
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{model.tensors[i].label}: {n}" for i, n in counts.items())
        raise InputError(f"the inputs have different numbers of samples: {each}. Give every input as many.")
    total = next(iter(counts.values()), 0)
    return [{t.index: _sample(t, arrays[t.index], row) for t in model.inputs} for row in range(total)]


def _sample(tensor: Tensor, array: Array, row: int) -> Array:
    size = max(tensor.shape[0], 1) if tensor.shape else 1
    part = array[row * size : (row + 1) * size]
    return part.reshape(tensor.shape)


def _by_index(model: Model, data: Any) -> dict[int, Array]:
    if isinstance(data, Mapping):
        named = {t.name: t.index for t in model.inputs}
        given = {named.get(str(key), key): value for key, value in data.items()}
    elif isinstance(data, Sequence) and not isinstance(data, str | bytes) and len(model.inputs) > 1:
        given = {t.index: value for t, value in zip(model.inputs, data, strict=False)}
    else:
        given = {model.inputs[0].index: data} if model.inputs else {}
    found: dict[int, Array] = {}
    for key, value in given.items():
        index = int(str(key)) if str(key).isdigit() else -1
        if index not in {t.index for t in model.inputs}:
            wanted = ", ".join(t.label for t in model.inputs)
            raise InputError(
                f"the data has {key!r}, which is not an input of {model.source}; its inputs are: {wanted}."
            )
        found[index] = np.asarray(value)
    if missing := [t.label for t in model.inputs if t.index not in found]:
        raise InputError(f"the data lacks {', '.join(missing)}; give an array for each input of {model.source}.")
    return found


def _checked(tensor: Tensor, array: Array) -> Array:
    own = tensor.shape
    rows = max(own[0], 1) if own else 1
    if array.ndim == len(own) - 1 and array.shape == own[1:]:
        array = array[None]
    if array.ndim != max(len(own), 1) or array.shape[1:] != own[1:] or array.shape[0] % rows or not array.shape[0]:
        wanted = [f"n x {rows}" if rows > 1 else "n", *own[1:]]
        raise InputError(
            f"the data for input {tensor.label} has the shape {list(array.shape)}, wanted "
            f"[{', '.join(str(part) for part in wanted)}] with n >= 1 samples."
        )
    dtype = tensor.dtype.numpy
    if array.dtype != dtype and not (array.dtype == np.float64 and dtype == np.float32):
        raise InputError(f"the data for input {tensor.label} is {array.dtype}, wanted {tensor.dtype.name}.")
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise InputError(
            f"the data for input {tensor.label} has {array[tuple(at)]} at {at}. A calibrator skips NaN without a word "
            "and takes infinities for ends of ranges; give finite numbers."
        )
    return array


def calibrate(model: Model, data: Any, calibrator: str = "litert", progress: Progress | None = None) -> Ranges:
    """Run samples and note every float tensor's least and greatest value.

    Args:
        model: a float32 model.
        data: see `samples_of`.
        calibrator: `litert` or `lastbit`.
        progress: told (samples done, how many there are, what runs).

    Raises:
        InputError: the data does not fit, or there is no such calibrator.
        OracleMissingError: LiteRT is not installed.
        OracleError: its calibrator failed.
        UnsupportedError: LastBit's own float operators do not cover the model.
    """
    if calibrator not in CALIBRATORS:
        raise InputError(f"there is no calibrator {calibrator!r}; wanted one of {', '.join(CALIBRATORS)}.")
    samples = samples_of(model, data)
    update = progress or (lambda done, total, what: None)
    limits, name = _litert(model, samples, update) if calibrator == "litert" else _lastbit(model, samples, update)
    return Ranges(limits, name, {t.index: t.name for t in model.tensors}, len(samples))


def _lastbit(model: Model, samples: list[dict[int, Array]], progress: Progress) -> tuple[dict[int, Any], str]:
    limits: dict[int, Any] = {}
    for number, sample in enumerate(samples):
        progress(number, len(samples), "samples")
        try:
            trace = run(model, dict(sample), _RUNTIME)
        except UnsupportedError as error:
            raise UnsupportedError(
                f"{model.source}: --calibrator lastbit has no float32 form of every operator", error.reasons
            ) from None
        for index, value in trace.tensors.items():
            if value.dtype == np.float32 and value.size:
                low, high = np.fmin.reduce(value, axis=None), np.fmax.reduce(value, axis=None)
                old = limits.get(index, (low, high))
                limits[index] = (min(old[0], low), max(old[1], high))
    return limits, f"lastbit ({_RUNTIME})"


def _ended(command: Sequence[str], tick: Callable[[], None]) -> tuple[int, bytes]:
    """The exit code and stderr of a process; each second it is told that it runs still.

    Raises:
        OracleError: it does not end.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(_SECONDS):
                tick()
                try:
                    _, said = process.communicate(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
                return process.returncode, said
        finally:
            process.kill()
    raise OracleError(f"LiteRT's calibrator gave no answer within {_SECONDS} s and was ended.")


def _litert(model: Model, samples: list[dict[int, Array]], progress: Progress) -> tuple[dict[int, Any], str]:
    try:
        version = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise OracleMissingError(
            f"data to ranges is LiteRT's own calibrator's work, and {_DISTRIBUTION} is not installed: "
            f"{install_text('litert')}. LastBit's own float32 operators do it for models that they cover",
            python=' (calibrator="lastbit").',
            command=" (--calibrator lastbit).",
        ) from None
    order = [t.index for t in model.inputs]
    arrays = {f"{row}/{i}": sample[i] for row, sample in enumerate(samples) for i in order}
    with tempfile.TemporaryDirectory(prefix="lastbit-calibrate-") as folder:
        np.savez(Path(folder, "data.npz"), **arrays)  # type: ignore[arg-type]
        Path(folder, "model.tflite").write_bytes(model.content)
        job = {"inputs": order, "samples": len(samples), "shapes": [list(model.tensors[i].shape) for i in order]}
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        script = os.path.join(os.path.dirname(__file__), "calibration_worker.py")
        code, said = _ended(
            [sys.executable, "-P", script, folder], lambda: progress(0, len(samples), "samples in LiteRT's calibrator")
        )
        answer = Path(folder, "ranges.json")
        if code or not answer.exists():
            raise OracleError(_failure(said.decode("utf-8", "replace"), code, version))
        content = json.loads(answer.read_text(encoding="utf-8"))
    # What the calibrator adds inside fused operators is no tensor of the file.
    pairs = {int(index): ends for index, ends in content.items() if int(index) < len(model.tensors)}
    limits = {index: (np.float32(low), np.float32(high)) for index, (low, high) in pairs.items()}
    return limits, f"{_DISTRIBUTION} {version}"


def _failure(log: str, code: int, version: str) -> str:
    said = [line.strip() for line in log.splitlines() if line.strip()]
    told = said[-1] if said else f"it ended with exit code {code}"
    return f"LiteRT's calibrator ({_DISTRIBUTION} {version}) could not run the model: {told}"
