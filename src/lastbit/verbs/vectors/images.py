"""vectors for convolutions: images whose windows are solved for, and random ones for the windows in the padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...layers.mistakes import applicable
from ...layers.running import LayerSums
from ...layers.step_tables import LayerTables
from ...layers.window_images import images_of, inner_places
from ...model.types import IntArray, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.prepare import PreparedModel
from ...ops.products.window_layer import WindowLayer
from .candidates import fewest
from .pool import Pool, caught_by
from .random_catches import random_catches
from .report import Catch, LayerVectors
from .rivals import Rival, rivals_of
from .trial import Trial

__all__ = ["image_vectors"]

_SPREADS = (1 << 16, 1 << 16, 12, 4)
"""How far the values of random images lie from the zero point: some over the whole type, some near it."""

_ALONE = 12
"""Times as many random images where no window can be chosen freely."""

_VARIANTS = 24
"""Windows with one accumulator that are compared: an image has many windows, so each need show little."""

_OUTPUTS = 1 << 20
"""Output elements of all candidates, about; two images at least."""


def image_vectors(
    side: PreparedModel, tables: LayerTables, layer: WindowLayer, count: int, random: int, rng: np.random.Generator
) -> LayerVectors:
    """Images of a convolution that tell its arithmetic from rivals, with what each catches.

    Windows are solved for as rows of a dense layer are, and put into images side by side. Beside those stand random
    images: windows that reach into the padding cannot be chosen freely.

    Args:
        side: the model in the runtime's arithmetic.
        tables: the convolution's tables, seen as a dense layer.
        layer: the convolution.
        count: images, at most.
        random: random windows on which the same rivals are tried, to compare with.
        rng: random source.
    """
    right = tables.prepared
    rivals = rivals_of(side.model, tables, side.runtime.name, rng)
    pool = Pool(tables, rivals, rng, _VARIANTS)
    drawn = random_catches(tables, rivals, random, rng, caught_by) if random else [(None, 0)] * len(rivals)
    known = {rival.name for rival in rivals}
    own = [m for m in applicable(right, images=True) if m.name not in known]
    rivals += [Rival(m.name, "mistake", m.why, mistake=m) for m in own]
    images = _candidates(layer, pool.rows[pool.choose(len(pool.rows))], rng)
    caught, pairs = _caught(right, rivals, pool, images)
    chosen = fewest(caught, pairs, count)
    x = images[chosen]
    steps = right.evaluate([x])
    tried = [*drawn, *[(None, 0)] * len(own)]
    catches = [
        Catch(
            rival.name,
            rival.kind,
            rival.what,
            [int(i) for i in np.flatnonzero(caught[chosen, k])],
            rival.equal,
            random=tried[k][0],
            tried=tried[k][1],
            candidate=bool(caught[:, k].any()),
        )
        for k, rival in enumerate(rivals)
    ]
    shown = pairs[chosen].any(axis=0)
    return LayerVectors(
        right.operator.index,
        right.operator.name,
        layer=layer,
        tables=tables,
        rule=right.rule,
        equation=right.equation,
        x=x,
        accs=steps["acc"].astype(np.int64),
        outputs=steps["output"],
        catches=catches,
        candidates=len(images),
        pairs=(int((pool.pairs_possible | pairs.any(axis=0)).sum()), int(shown.sum())),
        random=random,
    )


def _candidates(layer: WindowLayer, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """Random images, and images of the rows, the most useful rows first: `[n, h, w, c]`, no more than there is room."""
    dtype = integer_type(layer.input.dtype)
    shape = layer.input.shape[1:]
    drawn = []
    for spread in _SPREADS * (1 if inner_places(layer) else _ALONE):
        near = layer.input_zero_point + rng.integers(-spread, spread, shape, endpoint=True)
        # A value beyond the type's end is drawn again, not put at the end, where everything saturates.
        anywhere = rng.integers(dtype.qmin, dtype.qmax, shape, endpoint=True)
        drawn.append(np.where((near < dtype.qmin) | (near > dtype.qmax), anywhere, near))
    images: IntArray = np.stack(drawn).astype(dtype.numpy)
    most = max(_OUTPUTS // int(np.prod(layer.output_shape((1, *shape)))), 2)
    if inner_places(layer):
        images = np.concatenate([images_of(layer, rows)[0][:most], images])
    return images[: most + len(_SPREADS)]


def _caught(
    right: PreparedDense, rivals: Sequence[Rival], pool: Pool, images: IntArray
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which images catch which rivals, and for which rules and units each shows a difference."""
    sums, caught, pairs = LayerSums(right), [], []
    for image in images:
        x = image[None]
        rows = right.layer.rows(x)
        trial = Trial(sums, right, rows, x)
        caught.append([trial.shows(rival) for rival in rivals])
        pairs.append(pool.pairs_of(rows).any(axis=0))
    return np.asarray(caught, bool).reshape(len(images), len(rivals)), np.stack(pairs)
