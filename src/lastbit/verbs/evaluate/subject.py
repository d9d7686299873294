"""What an evaluation measures: chosen by the model's shapes and by the labels, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines.inputs import wrong_dtype
from ...model.errors import InputError, RealInputError
from ...model.graph import Model, Tensor
from ...model.types import IntegerType
from .data import ArrayShard, DataSet
from .metrics import MOST_CLASSES, Anomaly, Classes, Measure, TargetError, Values

__all__ = ["Subject", "choose"]

# Of more classes than this, the labels among the five largest outputs are counted too.
_TOP = 5


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        kinds: makes each measure anew.
        labelled: whether the labels are one integer for each row.
        classes: classes that the largest output stands for; 0 where it stands for none.
        positions: classes that each row has: 1, or one at each place of an output such as `[1, 16, 32]`.
    """

    kinds: tuple[Callable[[], Measure], ...] = ()
    labelled: bool = False
    classes: int = 0
    positions: int = 1

    def measures(self) -> list[Measure]:
        """Each measure with nothing counted."""
        return [kind() for kind in self.kinds]


def choose(
    model: Model, source: DataSet, targets: DataSet | None, quantize_input: bool, tops: Sequence[int] = ()
) -> Subject:
    """Refuse data and labels that do not fit a model, and choose what is measured.

    Args:
        model: the model.
        source: the data.
        targets: the labels, if there are any.
        quantize_input: whether real values are quantized.
        tops: for which K the labels among the K largest outputs are counted; none for 5 where there are more classes.

    Raises:
        InputError: with what was found and what is wanted.
    """
    tensor, out = model.inputs[0], model.outputs[0]
    elements, values = math.prod(tensor.shape[1:]), math.prod(out.shape[1:])
    _check_type(source, tensor, quantize_input)
    if source.sample != tensor.shape[1:] and math.prod(source.sample) != elements:
        raise InputError(
            f"{source.path}: rows have shape {list(source.sample)}, wanted {list(tensor.shape[1:])} (or {elements} "
            f"values) for {tensor.label}."
        )
    # One vector for each row: its largest element may be a class.
    vector = values > 1 and max(out.shape[1:]) == values
    few = values <= MOST_CLASSES
    # A layer that is given by multiplier and shift has no real values, so only the largest one is known.
    known = model.subgraphs[0].scales_known
    if targets is None:
        if values == elements > 1 and known:
            return Subject((Anomaly,))
        others = Subject((Values,) if known else ())
        return Subject((lambda: Classes(values, False),), classes=values) if vector and few else others
    if targets.rows != source.rows:
        raise InputError(f"{targets.path}: found {targets.rows} labels for {source.rows} rows of data.")
    size = math.prod(targets.sample)
    if size == 1 and targets.dtype.kind in "biu" and values > 1:
        if values == elements and known:
            return Subject((Anomaly,), labelled=True)
        if not vector:
            places = math.prod(out.shape[1:-1])
            raise InputError(
                f"{targets.path}: labels are one class for each row, but the model's output has the shape "
                f"{list(out.shape)}; wanted {places} classes for each row ({list(out.shape[1:-1])}), or labels of "
                f"{values} values (the wanted output)."
            )
        return _classes(values, 1, tops, targets)
    positions = math.prod(out.shape[1:-1])
    if size == positions and targets.dtype.kind in "biu" and 1 < out.shape[-1] < values:
        return _classes(out.shape[-1], positions, tops, targets)
    if size != values:
        hint = " Class numbers are integers: labels.astype(int)." if size == 1 and targets.dtype.kind == "f" else ""
        raise InputError(
            f"{targets.path}: labels are {targets.dtype}{list(targets.sample)} for each row; wanted one integer (a "
            f"class), or {values} values (the wanted output).{hint}"
        )
    if not known:
        raise InputError(
            f"{targets.path}: labels are wanted outputs in real units, and a layer given by multiplier and shift has "
            "no output scale; wanted one integer (a class) for each row."
        )
    return Subject((TargetError,))


def _classes(classes: int, positions: int, tops: Sequence[int], targets: DataSet) -> Subject:
    """Labels that are classes."""
    wrong = [top for top in tops if not 1 <= top <= classes]
    if wrong:
        raise InputError(
            f"{targets.path}: found top {wrong[0]} for a model of {classes} classes; wanted 1 to {classes}."
        )
    chosen = tuple(dict.fromkeys(tops)) or ((_TOP,) if classes > _TOP else ())
    return Subject((lambda: Classes(classes, True, chosen, positions),), True, classes, positions)


def _check_type(source: DataSet, tensor: Tensor, quantize_input: bool) -> None:
    found, wanted = source.dtype, tensor.dtype.numpy
    if found == wanted or (found.kind == "f" and (wanted == np.float32 or quantize_input)):
        return
    only = source.shards[0]
    if isinstance(only, ArrayShard):
        error = wrong_dtype(tensor, only.values, "x")
        raise error.offering_to_quantize() if isinstance(error, RealInputError) else error
    text = f"{source.path}: holds {found}, wanted {tensor.dtype.name} for {tensor.label}."
    if found.kind == "f":
        raise InputError(
            f"{text} Quantize real values with ", python="quantize_input=True.", command="--quantize-input."
        )
    dtype = tensor.dtype
    if isinstance(dtype, IntegerType):
        text += f" If all values lie in {dtype.qmin} to {dtype.qmax}, save x.astype(np.{dtype.name})."
    raise InputError(text)
