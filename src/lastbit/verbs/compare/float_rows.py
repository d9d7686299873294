"""compare for dense layers with a float output: equal arithmetic proves equal outputs; else inputs are tried.

Such a layer has no table of integers. Two runtimes that do the same operations on the same constants print the same for
every input, and that is a proof. Where their operations differ, an input shows it or none is found.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from ...layers.differences import same_bits
from ...layers.float_inputs import float_rows, normal_rows
from ...model.types import Array
from ...ops.dense.float32 import PreparedFloat
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.dense.layer import PreparedLayer
from .layer_result import Occurrence, Witness

__all__ = ["compare_rows", "evaluate_rows", "has_float_output", "same_operations", "separating_row"]

_ODD_ROWS = 200
# Elements of rows and outputs that are held at one time.
_ELEMENTS = 1 << 20


def has_float_output(prepared: object) -> bool:
    """Whether a prepared operator is a dense layer that takes and gives float32."""
    return isinstance(prepared, PreparedHybrid | PreparedFloat)


def same_operations(a: PreparedLayer, b: PreparedLayer) -> bool:
    """Whether two runtimes do the same operations on the same constants: then every output is the same."""
    if type(a) is not type(b):
        return False
    own = {f.name for f in fields(a)} - {f.name for f in fields(PreparedLayer)}
    return all(_equal(getattr(a, name), getattr(b, name)) for name in own)


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


def evaluate_rows(prepared: PreparedLayer, rows: Array) -> Array:
    """What a layer makes of rows `[n, depth]`, none of them beside another one: `[n, out]`."""
    layer = prepared.layer
    if isinstance(prepared, PreparedHybrid):
        prepared = prepared.alone
    step = max(_ELEMENTS // (layer.depth + layer.units), 1)
    parts = [prepared.evaluate([rows[i : i + step]])["output"] for i in range(0, len(rows), step)]
    return np.concatenate([part.reshape(-1, layer.units) for part in parts])


def compare_rows(a: PreparedLayer, b: PreparedLayer, rows: Array, found: Occurrence) -> None:
    """Count the elements that differ on rows."""
    found.add(~same_bits(evaluate_rows(a, rows), evaluate_rows(b, rows)))


def separating_row(a: PreparedLayer, b: PreparedLayer, rng: np.random.Generator) -> Witness | None:
    """A row for which two runtimes print different bits, or None where none of a few hundred odd ones shows any."""
    rows = np.concatenate([normal_rows(a.layer.depth, 16, rng), float_rows(a.layer.depth, _ODD_ROWS, rng)])
    first, second = evaluate_rows(a, rows), evaluate_rows(b, rows)
    bad = ~same_bits(first, second)
    if not bad.any():
        return None
    row, unit = (int(i) for i in np.argwhere(bad)[0])
    return Witness(rows[row], unit, None, first[row, unit].item(), second[row, unit].item())
