"""identify: which runtime printed these numbers?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...layers.layer_input import dense_operator
from ...model.errors import InputError
from ...model.graph import Model, Tensor
from ...model.types import Array
from ...runtimes import Runtime
from ..run.verb import load
from .layer import LayerSearch
from .report import Attribution, Candidate, answer_text
from .version_groups import VersionGroup, version_groups
from .whole import ModelSearch

__all__ = ["Attribution", "Candidate", "answers", "identify"]

Progress = Callable[[int, int, str], None]


def identify(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    output: Any,
    op: int | None = None,
    runtimes: Sequence[Runtime] | None = None,
    *,
    progress: Progress | None = None,
) -> Attribution:
    """Find the runtimes that print exactly these numbers for this input.

    Args:
        model: a Model, a path or a file's bytes.
        x: the input, as `lastbit.run` takes it; with `op` it may be the layer's own.
        output: the numbers: the model's first output, or with `op` that dense layer's output. Dtype and size must be
            the tensor's own; the shape may differ.
        op: the index of a dense layer; None for the whole model.
        runtimes: which to consider; default all of LastBit's, and the older versions that calculate this otherwise.
        progress: called with (steps done, steps in total, the answer as far as it is known).

    Returns:
        The Attribution: what is left, what is excluded and by which element, and an input that would separate the rest.

    Raises:
        ModelError: the model is malformed.
        InputError: an array does not fit.
    """
    *_, last = answers(model, x, output, op, runtimes, progress=progress)
    return last


def answers(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    output: Any,
    op: int | None = None,
    runtimes: Sequence[Runtime] | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[Attribution]:
    """The answer as soon as it is known, then with every difference counted, then with an input that separates.

    Takes what `identify` takes. Whoever stops early has an Attribution whose `unfinished` says what was not done.
    """
    loaded = load(model)
    update = progress if progress is not None else _quiet
    alone = len(loaded.operators) == 1 and len(loaded.dense_operators) == 1
    operator = dense_operator(loaded, op) if op is not None or alone else None
    tensor = loaded.first_output if operator is None else loaded.tensors[operator.outputs[0]]
    given = _check_output(tensor, np.asarray(output))
    if runtimes is None:
        groups = version_groups(loaded, loaded.operators if operator is None else [operator])
    else:
        groups = [VersionGroup(runtime, ()) for runtime in runtimes]
    search: LayerSearch | ModelSearch
    if operator is not None:
        search = LayerSearch(loaded, operator, groups, x, given)
        subject = f"output of {operator.label}"
    else:
        search = ModelSearch(loaded, groups, x, given)
        subject = f"output {tensor.label}"
    for unfinished in search.compare(update):
        names = tuple(search.left())
        yield Attribution(loaded.source, subject, given.size, search.candidates(), names, names, unfinished=unfinished)
    left = search.left()
    said = answer_text(left)
    update(0, 1, said)
    found = search.separate(lambda done, total: update(done, total, f"{said}; trying inputs that tell them apart"))
    together = tuple(tuple(name for i in group for name in left[i]) for group in found.groups)
    yield Attribution(
        loaded.source,
        subject,
        given.size,
        search.candidates(),
        together,
        tuple(left),
        found.value,
        found.outputs,
        found.tried,
    )


def _quiet(done: int, total: int, what: str) -> None:
    """No progress is wanted."""


def _check_output(tensor: Tensor, given: Array) -> Array:
    if given.dtype != tensor.dtype.numpy:
        hint = " (real values say nothing about the last bit: save the integers)" if given.dtype.kind == "f" else ""
        raise InputError(
            f"the numbers are {given.dtype}, but output {tensor.label} is {tensor.dtype.name}; "
            f"wanted its own dtype{hint}"
        )
    return given
