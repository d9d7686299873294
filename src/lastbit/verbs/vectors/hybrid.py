"""Golden vectors for hybrid layers: float32 in and out, each row or image quantized by its own range.

No accumulator can be solved for, since the row's grid follows from the row. So many odd rows are tried, and the few are
kept that tell the right arithmetic from every rival that shows a difference on any of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...layers.differences import same_bits
from ...layers.float_inputs import float_rows, normal_rows
from ...model.graph import Model
from ...model.types import Array, Float32Array, hex_float
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.products.hybrid_windows import PreparedHybridWindows
from ...ops.products.window_layer import WindowLayer
from ...rules.hybrid.words import equation
from .candidates import fewest
from .hybrid_rivals import function_of, hybrid_rivals, same_function
from .report import Catch, LayerVectors

__all__ = ["hybrid_vectors"]

BoolArray = npt.NDArray[np.bool_]

# Random rows that are tried, at most, and how many at one time.
_RANDOM, _AT_ONCE = 4096, 512
_ODD_ROWS = 256
_ROWS_OF_A_KIND = 32
# Elements of rows and outputs that are held at one time.
_ELEMENTS = 1 << 20
# Values of all images that are tried, about, and how many images there are at least.
_VALUES, _FEW_IMAGES = 1 << 19, 6
_STEPS = ("input_scale", "input_zero_point", "quantized_input", "acc", "output")


def hybrid_vectors(
    model: Model, prepared: PreparedHybrid, runtime: str, count: int, random: int, rng: np.random.Generator
) -> LayerVectors:
    """The vectors of one hybrid dense layer or convolution.

    Every vector is a row or an image that is an input of its own: some kernels look at a whole input when they look for
    zeros.

    Args:
        model: the model.
        prepared: the layer in the runtime's arithmetic.
        runtime: the runtime's name.
        count: vectors, at most.
        random: rows of standard normal values on which the same rivals are tried, to compare with; 4096 at most.
        rng: the source of all randomness.
    """
    rivals = hybrid_rivals(model, prepared, runtime)
    own = function_of(prepared)
    # Several runtimes share a rule, which is then evaluated once.
    distinct = {key: r.prepared for r in rivals if (key := function_of(r.prepared)) != own}
    place = {key: at for at, key in enumerate(distinct)}
    size, most = math.prod(_shape(prepared)), _most(prepared)
    rows = _candidates(size, rng)
    rows = rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]
    shown: BoolArray = _shown(prepared, list(distinct.values()), rows)
    # Each rival counts once, however many runtimes follow it: what else a vector can show is a unit more.
    chosen = fewest(np.any(shown, axis=2), shown.reshape(len(rows), -1), count)
    caught: BoolArray = np.any(shown[chosen], axis=2)
    random = min(random, _RANDOM, most)
    drawn = np.zeros(len(distinct), np.int64)
    for first in range(0, random, _AT_ONCE):
        some = normal_rows(size, min(_AT_ONCE, random - first), rng)
        drawn += _shown(prepared, list(distinct.values()), some).any(axis=2).sum(axis=0)
    catches = []
    for rival in rivals:
        at = place.get(function_of(rival.prepared))
        catches.append(
            Catch(
                rival.name,
                rival.kind,
                rival.what,
                [] if at is None else [int(i) for i in np.flatnonzero(caught[:, at])],
                same_function(prepared, rival.prepared) if at is None else "",
                None if not random else 0 if at is None else int(drawn[at]),
                random,
                at is not None and bool(shown[:, at].any()),
            )
        )
    steps = _evaluate(prepared, rows[chosen])
    possible = shown.any(axis=0)
    return LayerVectors(
        prepared.operator.index,
        prepared.operator.name,
        layer=prepared.layer,
        rule=prepared.rule,
        equation=equation(prepared.arithmetic),
        x=rows[chosen].reshape(-1, *_shape(prepared)),
        accs=steps["acc"].astype(np.int64),
        outputs=steps["output"],
        catches=catches,
        candidates=len(rows),
        pairs=(int(possible.sum()), int(shown[chosen].any(axis=0).sum())),
        random=random,
        arrays=_arrays(prepared, rows[chosen], steps),
        constants=_constants(prepared),
    )


def _arrays(prepared: PreparedHybrid, rows: Float32Array, steps: Mapping[str, Array]) -> dict[str, Array]:
    """What is written to files."""
    stored = prepared.layer.stored_weights.data
    assert stored is not None
    arrays = {
        "input": rows.reshape(-1, *_shape(prepared)),
        **{key: steps[key] for key in _STEPS[:3]},
        "weights": stored,
    }
    if prepared.bias is not None:
        arrays["bias"] = prepared.bias
    return arrays | {key: steps[key] for key in _STEPS[3:]}


def _constants(prepared: PreparedHybrid) -> dict[str, Any]:
    """What else the files say: the zero point and scale of the input are each row's own."""
    scale, layer = prepared.weights_scale, prepared.layer
    stored = prepared.layer.weights.quant
    return {
        **(layer.convolution.geometry if isinstance(layer, WindowLayer) else {}),
        "quantized_together": prepared.quantized_together,
        "rows_quantized": "symmetric" if prepared.rows.symmetric else "asymmetric",
        "activation": prepared.layer.activation,
        "accumulator_bits": 32,
        "weights_zero_point": 0 if stored is None else int(stored.zero_point.reshape(-1)[0]),
        "weights_scale": {"decimal": [float(v) for v in scale], "hex": [hex_float(v) for v in scale]},
    }


def _evaluate(prepared: PreparedHybrid, rows: Float32Array) -> dict[str, Array]:
    """The steps of rows `[n, depth]`, each an input of its own; those of zeros take a short cut in some kernels."""
    if isinstance(prepared, PreparedHybridWindows):
        return _evaluate_images(prepared, rows.reshape(-1, *_shape(prepared)))
    layer, alone = prepared.layer, prepared.alone
    zero = ~rows.any(axis=1)
    order = np.concatenate([np.flatnonzero(~zero), np.flatnonzero(zero)])
    parts: dict[str, list[Array]] = {key: [] for key in _STEPS}
    step = max(_ELEMENTS // (layer.depth + layer.units), 1)
    for some in (rows[~zero], rows[zero]):
        for first in range(0, len(some), step):
            found = alone.evaluate([some[first : first + step]])
            found["output"] = found["output"].reshape(-1, layer.units)
            for key in _STEPS:
                parts[key].append(found[key])
    if not len(rows):
        return {"output": np.zeros((0, layer.units), np.float32)}
    back = np.argsort(order)
    return {key: np.concatenate(part)[back] for key, part in parts.items()}


def _evaluate_images(prepared: PreparedHybridWindows, images: Float32Array) -> dict[str, Array]:
    """The same of images `[n, h, w, c]`; what holds for an image or pixel once for each, the rest for each output."""
    parts: dict[str, list[Array]] = {key: [] for key in _STEPS}
    step = max(_ELEMENTS // math.prod(prepared.layer.output_shape((1, *images.shape[1:]))), 1)
    for first in range(0, max(len(images), 1), step):
        x = images[first : first + step]
        rows = prepared.prepared.quantized(x)
        windows = prepared.prepared.per_window(rows, x)
        steps = prepared.finish(prepared, windows, prepared.prepared.sums(windows), True)
        shape = prepared.layer.output_shape(x.shape)
        found: dict[str, Array] = {
            "input_scale": rows.scale.reshape(len(x), -1),
            "input_zero_point": rows.zero_point.astype(np.int32).reshape(len(x), -1),
            "quantized_input": rows.quantized.reshape(x.shape).astype(np.int8),
            "acc": steps["acc"].reshape(shape),
            "output": steps["output"].reshape(shape),
        }
        for key in _STEPS:
            parts[key].append(found[key])
    return {key: np.concatenate(part) for key, part in parts.items()}


def _shape(prepared: PreparedHybrid) -> tuple[int, ...]:
    """One input's shape: a row, or an image."""
    windows = isinstance(prepared, PreparedHybridWindows)
    return prepared.layer.input.shape[1:] if windows else (prepared.layer.depth,)


def _most(prepared: PreparedHybrid) -> int:
    """How many inputs are tried at most: of large images few."""
    if not isinstance(prepared, PreparedHybridWindows):
        return _RANDOM
    image = _shape(prepared)
    return max(_VALUES // (math.prod(image) + math.prod(prepared.layer.output_shape((1, *image)))), _FEW_IMAGES)


def _shown(right: PreparedHybrid, rivals: list[PreparedHybrid], rows: Float32Array) -> BoolArray:
    """Where each rival prints something else: bool `[rows, rivals, out]`."""
    wanted = _evaluate(right, rows)["output"]
    shown = np.zeros((len(rows), len(rivals), right.layer.units), np.bool_)
    for at, rival in enumerate(rivals):
        other = ~same_bits(wanted, _evaluate(rival, rows)["output"])
        shown[:, at] = other.reshape(len(rows), -1, right.layer.units).any(axis=1)
    return shown


def _candidates(depth: int, rng: np.random.Generator) -> Float32Array:
    """Rows to choose from, `[n, depth]`: those of `float_rows`, zero points on ties, and more."""
    shape = _ROWS_OF_A_KIND, depth
    low = -(rng.integers(0, 255, (shape[0], 1)) + 0.5)
    ties = rng.uniform(low, 255 + low, shape)
    ties[:, :1], ties[:, -1:] = low, 255 + low
    even = ties.copy()
    even[:, -1] = -even[:, 0]  # as far below zero as above
    # Just below one half: one half more in float32 makes 1 of it.
    half = np.nextafter(np.float32(0.5), np.float32(0))
    below = np.where(rng.random(shape) < 0.4, rng.choice([-half, half], shape), rng.integers(-60, 60, shape))
    below[:, 0], below[:, -1] = -127, 127 + np.arange(shape[0]) % 2  # the symmetric grid, and the asymmetric one
    few = np.where(rng.random(shape) < 2 / depth, rng.normal(size=shape), 0.0)
    kinds = [
        float_rows(depth, _ODD_ROWS, rng),
        ties * 2.0 ** rng.integers(-8, 2, (shape[0], 1)),
        even * 2.0 ** rng.integers(-8, 2, (shape[0], 1)),
        (rng.normal(size=shape) + rng.normal(size=(shape[0], 1))) * 10.0 ** rng.uniform(-6, 6, (shape[0], 1)),
        rng.normal(size=shape) * 2.0 ** rng.integers(-130, -115, (shape[0], 1)),
        rng.uniform(-3.4e38, 3.4e38, shape),
        few,
        below * 2.0 ** rng.integers(-8, 2, (shape[0], 1)),
    ]
    return np.concatenate(kinds).astype(np.float32)
