"""Diagnosis of a dense layer or convolution with float32 in and out: of int8 or int4 weights (hybrid), or float32."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...engines.inputs import with_batch
from ...layers.layer_input import layer_input
from ...layers.mistakes.base import Mistake
from ...layers.mistakes.hybrid import (
    OTHER_ORDERS,
)
from ...layers.mistakes.hybrid_case import HybridCase, calculate
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array, Float64Array, fused_bounds
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.dense.layer import DenseLayer
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.window_layer import WindowLayer
from ...runtimes import RUNTIMES
from .calling import Shapes, call
from .function import Function
from .hybrid_cases import FloatLayer, case_of, known_mistakes
from .hybrid_report import HybridAnswer, HybridDiagnosis
from .layer import How, shown_first
from .samples import image_places, options_text, samples_of, size_of_sample

__all__ = ["diagnose_hybrid", "hybrid_layers"]

_ROWS = 24
_IMAGES = 3
_FEW, _FEW_WINDOWS, _MANY_WINDOWS = 5, 48, 2048
"""Rows, of convolutions rows of the output, on which every set of mistakes is tried first; and on which each alone."""
_FARTHER, _EXACT = 8.0, 0.01
"""Of several sets that fit, those come last that are so many times farther off than the nearest, or than this share."""
_MORE = 4.0
"""Times the bound of float32's roundings that an output may be off: scales and bounds are rounded as well."""


def hybrid_layers(model: Model, operator: Operator, how: How) -> dict[str, FloatLayer]:
    """The layer in every runtime that calculates it as a hybrid one or in float32; empty for other layers."""
    found = {}
    for name, runtime in (RUNTIMES if how.runtime is None else {how.runtime.name: how.runtime}).items():
        try:
            prepared = as_dense(prepare_operator(model, operator, runtime))
        except UnsupportedError:
            continue
        if isinstance(prepared, FloatLayer):
            found[name] = prepared
    return found


def diagnose_hybrid(model: Model, layers: Mapping[str, FloatLayer], x: Any, mine: Any, how: How) -> HybridDiagnosis:
    """Name the mistakes in a hybrid or float32 layer's output, or in a function of it; see `lastbit.diagnose`.

    Raises:
        InputError: the input or the output does not fit, or the function cannot be called.
    """
    first = how.runtime.name if how.runtime is not None else shown_first(layers)
    layer = layers[first].layer
    if callable(mine):
        shapes = _shapes(layer)
        rows = _chosen(layer, how.seed) if x is None else samples_of(layer, _read(model, layer, x, first)[0])
        probe = shapes, rows, layers[first].evaluate([rows])["output"]
        function = Function.bind(mine, _values(layers[first]), how.params, probe)
        answer, _, _ = call(function, shapes, rows, size_of_sample(layer, rows))
        what = "images" if isinstance(layer, WindowLayer) else "rows"
        source = f"{len(rows)} {what} chosen to tell mistakes apart (seed {how.seed})" if x is None else "given"
        source += f"; given to {function.text}"
    elif x is None:
        raise InputError("there is no input; give the x that the output was calculated from")
    else:
        values, source = _read(model, layer, x, first)
        rows, answer = samples_of(layer, values), with_batch(np.asarray(mine), layer.output.shape)
    count = len(rows) * size_of_sample(layer, rows) // layer.units
    if answer.dtype.kind not in "iuf" or answer.size != count * layer.units:
        images = isinstance(layer, WindowLayer)
        wanted = list(layer.output_shape(rows.shape)) if images else f"{len(rows)} x {layer.units} elements"
        more = options_text(layer, answer.shape) if isinstance(layer, WindowLayer) else ""
        raise InputError(f"the array is {answer.dtype}{list(answer.shape)}; wanted float32 with {wanted}{more}")
    matrix = answer.reshape(count, layer.units)
    own = {first: rows.astype(np.float32)}
    if not callable(mine) and [tensor.index for tensor in model.inputs] != [layer.input.index]:
        own |= _own_inputs(model, layers, x, first)
    else:
        own = dict.fromkeys(layers, own[first])
    layers = {name: entry for name, entry in layers.items() if name in own}
    return _Search(model.source, layers, first, own, matrix, source, how.most).run()


def _own_inputs(model: Model, layers: Mapping[str, FloatLayer], x: Any, but: str) -> dict[str, Array]:
    """What each runtime's own arithmetic before the layer makes of the model's input, of those that run it so far."""
    found = {}
    for name, entry in layers.items():
        if name != but:
            with contextlib.suppress(UnsupportedError):
                found[name] = samples_of(entry.layer, _read(model, entry.layer, x, name)[0]).astype(np.float32)
    return found


def _shapes(layer: DenseLayer) -> Shapes:
    """The shapes of one sample that code for a layer may take."""
    own = layer.input.shape[1:]
    return [own] if isinstance(layer, WindowLayer) else list(dict.fromkeys([(layer.depth,), own]))


def _read(model: Model, layer: DenseLayer, x: Any, first: str) -> tuple[Array, str]:
    return layer_input(model, layer, x, RUNTIMES[first] if first in RUNTIMES else next(iter(RUNTIMES.values())))


def _chosen(layer: DenseLayer, seed: int) -> Array:
    """Rows or images of several sizes, some of them with positive values alone."""
    rng = np.random.default_rng(seed)
    if isinstance(layer, WindowLayer):
        images = rng.normal(size=(_IMAGES, *layer.input.shape[1:])) * np.array([0.3, 2.0, 11.0]).reshape(-1, 1, 1, 1)
        images[0] = np.abs(images[0])
        drawn: Array = images.astype(np.float32)
        return drawn
    rows = rng.normal(size=(_ROWS, layer.depth)) * rng.choice([0.3, 2.0, 11.0], (_ROWS, 1))
    rows[::6] = np.abs(rows[::6])
    chosen: Array = rows.astype(np.float32)
    return chosen


def _values(prepared: FloatLayer) -> dict[str, Any]:
    """What a function of such a layer can be given, by the keys of PARAMETERS."""
    layer = prepared.layer
    bias = np.zeros(layer.units, np.float32) if prepared.bias is None else prepared.bias
    low, high = fused_bounds(layer.activation)
    found = {"weights": layer.stored_weights.data, "bias": bias, "activation_min": low, "activation_max": high}
    if isinstance(prepared, PreparedHybrid):
        found |= {"weights_scale": layer.weights_scale, "weights_zero_point": 0, "minus_weights_zero_point": 0}
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    """One search: the layer in every runtime, its input (rows `[n, depth]` or images), the output `[rows, out]`.

    The input is each runtime's own, where it comes through operators that runtimes calculate in different ways.
    """

    source: str
    layers: Mapping[str, FloatLayer]
    first: str
    inputs: Mapping[str, Array]
    mine: Array
    input_source: str
    most: int

    def run(self) -> HybridDiagnosis:
        """A runtime's own output; else the fewest mistakes with which every element lies within float32's bound."""
        own = {name: entry.evaluate([self.inputs[name]])["output"] for name, entry in self.layers.items()}
        right = own[self.first].reshape(self.mine.shape)
        same = [name for name, output in own.items() if np.array_equal(output.reshape(self.mine.shape), self.mine)]
        if same:
            return self._answer(right, [HybridAnswer((), tuple(same), exact=True)])
        bases = self._bases()
        small = {name: self._fewer(base, _FEW, _FEW_WINDOWS) for name, base in bases.items()}
        for count in range(self.most + 1):
            found = self._level(bases, small, count)
            if found:
                return self._answer(right, found)
        return self._answer(right, [], float(np.abs(right - self.mine).max()))

    def _answer(self, right: Array, answers: Sequence[HybridAnswer], largest: float | None = None) -> HybridDiagnosis:
        label, source = self.layers[self.first].layer.operator.label, self.input_source
        given = self.source, label, self.mine, right, source, self.first
        made = HybridDiagnosis(*given, tuple(answers), largest, self.real, self.known)
        return made if made.verdict in ("right", "form") else replace(made, places=self._places())

    def _places(self) -> tuple[str, ...]:
        """Where in the images of a convolution the wrong elements lie."""
        layer, base = self.layers[self.first].layer, self._bases()[self.first]
        right = calculate(base, {})
        assert right.y is not None
        assert right.bound is not None
        wrong = np.abs(right.y - self.mine.astype(np.float64)) > _MORE * right.bound
        return tuple(image_places(layer, self.rows, wrong))

    @property
    def rows(self) -> Array:
        """The input of the runtime that is shown first."""
        return self.inputs[self.first]

    @property
    def real(self) -> bool:
        """Whether the weights are real numbers too."""
        return not isinstance(self.layers[self.first], PreparedHybrid)

    @property
    def known(self) -> Mapping[str, Mistake]:
        """The mistakes that can be made in such a layer."""
        return known_mistakes(self.layers[self.first])

    def _bases(self) -> dict[str, HybridCase]:
        """The right calculation of every runtime: those with the same quantized rows and scales once, the first's."""
        found: dict[str, HybridCase] = {}
        seen: list[tuple[Float64Array, Float64Array]] = []
        for name in sorted(self.layers, key=lambda name: name != self.first):
            entry = self.layers[name]
            made = case_of(entry, self.inputs[name])
            if not isinstance(entry, PreparedHybrid):
                return {name: made}  # they differ in the order of summation alone, which the bound covers
            if any(np.array_equal(made.q, q) and np.array_equal(made.s_w, scales) for q, scales in seen):
                continue
            seen.append((made.q, made.s_w))
            found[name] = made
        return found

    def _fewer(self, base: HybridCase, rows: int, windows: int) -> HybridCase:
        """The same for a few rows; of a convolution for the outermost windows of all images and some others."""
        if base.windows is None:
            return _first_rows(base, rows)
        every = base.windows.rows
        if len(every) <= windows:
            return base
        chosen = np.random.default_rng(len(every)).choice(every, windows, replace=False)
        edges = every[:: base.windows.taps.pixels], every[base.windows.taps.pixels - 1 :: base.windows.taps.pixels]
        kept = np.unique(np.concatenate([chosen, *edges]))
        return replace(base, windows=replace(base.windows, rows=kept))

    def _level(
        self, bases: Mapping[str, HybridCase], small: Mapping[str, HybridCase], count: int
    ) -> list[HybridAnswer]:
        """Every set of this many mistakes that reproduces the output, the likeliest first."""
        found: dict[tuple[str, ...], dict[str, float]] = {}
        orders = [name for name in OTHER_ORDERS if not np.array_equal(self._in_order(name), self.mine)]
        for name, base in bases.items():
            usable = _telling(self._fewer(base, len(base.x), _MANY_WINDOWS), self.known)
            usable += [self.known[name] for name in orders]
            for chosen in itertools.combinations(usable, count):
                if len({mistake.slot for mistake in chosen}) < count:
                    continue
                by_slot = {mistake.slot: mistake for mistake in chosen}
                if self._off(small[name], by_slot) > 1:
                    continue
                off = self._off(base, by_slot)
                if off <= 1:
                    found.setdefault(tuple(mistake.name for mistake in chosen), {})[name] = off
        answers = [HybridAnswer(names, tuple(runtimes)) for names, runtimes in found.items()]
        offs = {names: min(runtimes.values()) for names, runtimes in found.items()}
        # A calculation that is right loses far less than float32 may.
        near = _FARTHER * max(min(offs.values(), default=0.0), _EXACT)
        return sorted(
            answers, key=lambda one: (self.first not in one.runtimes, offs[one.mistakes] > near, self._rarity(one))
        )

    def _in_order(self, layout: str) -> Array:
        """The output `[rows, out]` as it was before a mistake in its order in memory."""
        if layout not in OTHER_ORDERS:
            return self.mine
        images = isinstance(self.layers[self.first].layer, WindowLayer)
        if images != (layout == "output_channels_first"):
            return self.mine
        units = self.mine.shape[1]
        parts = self.mine.reshape(len(self.rows) if images else 1, units, -1)
        return np.ascontiguousarray(parts.transpose(0, 2, 1)).reshape(self.mine.shape)

    def _rarity(self, answer: HybridAnswer) -> float:
        """How unlikely, among explanations of one length."""
        return sum(self.known[name].rarity for name in answer.mistakes)

    def _off(self, base: HybridCase, chosen: Mapping[str, Mistake]) -> float:
        """How far the farthest element is off, as a share of what float32 may lose: more than 1 does not fit."""
        if "hybrid_scale_of_whole_batch" in {m.name for m in chosen.values()} and len(base.x) < len(self.rows):
            return 0.0  # a few rows have another largest value than all
        made = calculate(base, chosen)
        assert made.y is not None
        assert made.bound is not None
        seen = slice(len(base.x)) if base.windows is None else base.windows.rows
        layout = chosen["layout"].name if "layout" in chosen else ""
        wanted: Float64Array = self._in_order(layout)[seen].astype(np.float64)
        off = np.abs(made.y - wanted) / (_MORE * made.bound)
        return float(np.where(np.isnan(off), np.inf, off).max(initial=0.0))


def _first_rows(base: HybridCase, count: int) -> HybridCase:
    zero_point = None if base.zero_point is None else base.zero_point[:count]
    return replace(base, x=base.x[:count], q=base.q[:count], s_x=base.s_x[:count], zero_point=zero_point)


def _telling(base: HybridCase, known: Mapping[str, Mistake]) -> list[Mistake]:
    """The mistakes that change this layer's output."""
    right = calculate(base, {})
    assert right.y is not None
    assert right.bound is not None
    found = []
    for mistake in known.values():
        if base.windows is not None and not mistake.applies(base):
            continue
        made = calculate(base, {mistake.slot: mistake}).y
        if made is not None and (np.abs(made - right.y) > 2 * _MORE * right.bound).any():
            found.append(mistake)
    return found
