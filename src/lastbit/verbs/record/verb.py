"""record: a folder with which a machine without LastBit records what its interpreter prints."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np

from ...layers.running import random_inputs
from ...model.errors import InputError
from ...model.graph import Model, Tensor
from ...model.tflite.writer import with_outputs
from ...model.types import Array, IntegerType, integer_type
from ..run.verb import load
from ..verify.given import given_samples
from .micro import micro_source
from .report import Recorder

__all__ = ["record", "recorded_tensors"]

DEFAULT_SAMPLES = 4


def record(
    model: str | os.PathLike[str] | bytes | Model,
    *,
    x: Any = None,
    samples: int | None = None,
    seed: int = 0,
) -> Recorder:
    """Make what a person runs on a board, a phone or a Pi without LastBit.

    Args:
        model: a Model, a path or a file's bytes.
        x: inputs of your own, as `lastbit.run` takes them; default: chosen ones, random and at both ends of the range.
        samples: how many inputs are run; default: all of `x`, or 4 chosen ones.
        seed: of the chosen inputs.

    Returns:
        The Recorder; `files` are its files by name, and nothing is on the disk yet.

    Raises:
        ModelError: the model is malformed.
        InputError: `samples` is below 1, or an input does not fit.
        UnsupportedError: the file's outputs cannot be replaced.
    """
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}; wanted 1 or more")
    loaded = load(model)
    given = _chosen(loaded, samples or DEFAULT_SAMPLES, seed) if x is None else given_samples(loaded, x)[:samples]
    tensors, inputs = recorded_tensors(loaded), [tensor.index for tensor in loaded.inputs]
    content = bytes(loaded.content)
    probe = with_outputs(content, tensors)
    plan = {
        "schema": "lastbit.recorder/1",
        "samples": len(given),
        "inputs": inputs,
        "tensors": tensors,
        "outputs": [tensor.index for tensor in loaded.outputs],
    }
    arrays = {f"{n}/{index}": array for n, call in enumerate(given) for index, array in zip(inputs, call, strict=True)}
    packed = io.BytesIO()
    np.savez_compressed(packed, plan=np.asarray(json.dumps(plan)), **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256(content).hexdigest()
    files = {
        "record.py": (resources.files(__package__) / "recorder.py").read_bytes(),
        "model.tflite": content,
        "probe.tflite": probe,
        "inputs.npz": packed.getvalue(),
        "lastbit_record.h": micro_source(probe, digest, given, inputs, tensors).encode(),
    }
    return Recorder(loaded, len(given), len(tensors), files)


def recorded_tensors(model: Model) -> list[int]:
    """The tensors that operators read or write and that an array can hold, the model's inputs and constants aside."""
    fed = {tensor.index for tensor in model.inputs}
    computed = (i for op in model.operators for i in op.outputs if i >= 0)
    return [i for i in dict.fromkeys(computed) if i not in fed and _holds(model.tensors[i])]


def _holds(tensor: Tensor) -> bool:
    return tensor.dtype.numpy is not None and not tensor.is_variable and math.prod(tensor.shape) > 0


def _chosen(model: Model, samples: int, seed: int) -> list[Sequence[Array]]:
    """Random inputs; the second and the third are patches of the lowest and of the highest value among random ones."""
    rng = np.random.default_rng([seed, 17])
    found: list[Sequence[Array]] = []
    for number in range(samples):
        call = random_inputs(model, rng)
        if number in (1, 2):
            call = list(_with_ends(model, call, rng, number == 2))
        found.append(call)
    return found


def _with_ends(model: Model, call: Sequence[Array], rng: np.random.Generator, highest: bool) -> Iterator[Array]:
    for tensor, values in zip(model.inputs, call, strict=True):
        if not isinstance(tensor.dtype, IntegerType) or tensor.dtype.bits > 16:
            yield values
            continue
        kind = integer_type(tensor.dtype)
        yield np.where(rng.random(values.shape) < 0.5, kind.qmax if highest else kind.qmin, values).astype(values.dtype)
