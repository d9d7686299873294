"""The float model that a quantized one was made of, with its samples or ranges, as several commands take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.errors import InputError
from ..model.graph import Model

__all__ = ["read_float_model"]


def read_float_model(
    source: str | None, data: Sequence[str], ranges: str | None
) -> tuple[Model | None, Any, Mapping[int, Any] | None]:
    """What --float, --data and --ranges name: the model, its samples and its ranges; None for each that is not given.

    Raises:
        InputError: samples or ranges without the model that they belong to.
    """
    from ..report.input_arrays import read_inputs
    from ..verbs.quantize.verb import read_ranges
    from ..verbs.run.verb import load

    if source is None:
        if data or ranges is not None:
            raise InputError("--data and --ranges are the float model's; give it with --float FILE.")
        return None, None, None
    model = load(source)
    arrays = read_inputs(data, model) if data else None
    return model, arrays, read_ranges(ranges, model) if ranges is not None else None
