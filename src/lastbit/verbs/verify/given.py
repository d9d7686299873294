"""The inputs that a user gives to `verify`, cut into what a model's file takes in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engines.inputs import as_inputs, check_input, match_inputs
from ...model.errors import InputError
from ...model.graph import Model
from ...model.types import Array

__all__ = ["given_samples", "rows_for"]


def given_samples(model: Model, x: Any) -> list[list[Array]]:
    """One list of arrays for each call, in the order of the model's inputs and in their own shapes.

    Interpreters are prepared for the file's batch. A batch that is no whole number of those is filled up with its first
    rows again.

    Args:
        model: the model.
        x: as `lastbit.run` takes it.

    Raises:
        InputError: an input does not fit, or the inputs have different batches.
    """
    parts: list[list[Array]] = []
    for tensor, value in match_inputs(model, as_inputs(model, x)):
        values = check_input(tensor, value)
        rows = max(tensor.shape[0], 1) if len(tensor.shape) > 1 else len(values) if values.ndim else 1
        calls = math.ceil(len(values) / rows) if values.ndim else 1
        if not values.ndim or len(values) == rows:
            parts.append([values])
            continue
        filled = np.resize(values, (calls * rows, *values.shape[1:]))
        parts.append(np.split(filled, calls))
    counts = {len(calls) for calls in parts}
    if len(counts) > 1:
        raise InputError(f"{model.source}: the inputs have different batches; wanted the same number of rows in each")
    return [list(call) for call in zip(*parts, strict=True)]


def rows_for(given: Sequence[Sequence[Array]], position: int) -> Array:
    """All that is given for one of the model's inputs, in one array."""
    return np.concatenate([call[position] for call in given])
