"""Diagnosis of a dense layer with float32 in and out: of int8 or int4 weights (hybrid), or of float32 ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engines.inputs import with_batch
from ...layers.layer_input import layer_input
from ...layers.mistakes.base import Mistake
from ...layers.mistakes.hybrid import FLOAT, HYBRID, HybridCase, calculate
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array, Float64Array, fused_bounds
from ...ops.dense.float32 import PreparedFloat
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.dense.layer import DenseLayer
from ...ops.prepare import prepare_operator
from ...runtimes import RUNTIMES
from .calling import Shapes, call
from .function import Function
from .hybrid_report import HybridAnswer, HybridDiagnosis
from .layer import How, shown_first

__all__ = ["diagnose_hybrid", "hybrid_layers"]

_Layer = PreparedHybrid | PreparedFloat

_ROWS = 24
_FEW = 5
"""Rows on which every set of mistakes is tried first."""
_MORE = 4.0
"""Times the bound of float32's roundings that an output may be off: scales and bounds are rounded as well."""


def hybrid_layers(model: Model, operator: Operator, how: How) -> dict[str, _Layer]:
    """The layer in every runtime that calculates it as a hybrid one or in float32; empty for other layers."""
    found = {}
    for name, runtime in (RUNTIMES if how.runtime is None else {how.runtime.name: how.runtime}).items():
        try:
            prepared = prepare_operator(model, operator, runtime)
        except UnsupportedError:
            continue
        if isinstance(prepared, PreparedHybrid | PreparedFloat):
            found[name] = prepared
    return found


def diagnose_hybrid(model: Model, layers: Mapping[str, _Layer], x: Any, mine: Any, how: How) -> HybridDiagnosis:
    """Name the mistakes in a hybrid or float32 layer's output, or in a function of it; see `lastbit.diagnose`.

    Raises:
        InputError: the input or the output does not fit, or the function cannot be called.
    """
    first = how.runtime.name if how.runtime is not None else shown_first(layers)
    layer = layers[first].layer
    if callable(mine):
        shapes: Shapes = list(dict.fromkeys([(layer.depth,), layer.input.shape[1:]]))
        rows = _chosen(layer, how.seed) if x is None else layer.rows(_read(model, layer, x, first)[0])
        probe = shapes, rows, layers[first].evaluate([rows])["output"]
        function = Function.bind(mine, _values(layers[first]), how.params, probe)
        answer, _, _ = call(function, shapes, rows, layer.units)
        source = f"{len(rows)} rows chosen to tell mistakes apart (seed {how.seed})" if x is None else "given"
        source += f"; given to {function.text}"
    elif x is None:
        raise InputError("there is no input; give the x that the output was calculated from")
    else:
        values, source = _read(model, layer, x, first)
        rows, answer = layer.rows(values), with_batch(np.asarray(mine), layer.output.shape)
    if answer.dtype.kind not in "iuf" or answer.size != len(rows) * layer.units:
        raise InputError(
            f"the array is {answer.dtype}{list(answer.shape)}; wanted float32 with {len(rows)} x {layer.units} elements"
        )
    matrix = answer.reshape(len(rows), layer.units)
    return _Search(model.source, layers, first, rows.astype(np.float32), matrix, source, how.most).run()


def _read(model: Model, layer: DenseLayer, x: Any, first: str) -> tuple[Array, str]:
    return layer_input(model, layer, x, RUNTIMES[first] if first in RUNTIMES else next(iter(RUNTIMES.values())))


def _chosen(layer: DenseLayer, seed: int) -> Array:
    """Rows of several sizes, some of them with positive values alone."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(_ROWS, layer.depth)) * rng.choice([0.3, 2.0, 11.0], (_ROWS, 1))
    rows[::6] = np.abs(rows[::6])
    chosen: Array = rows.astype(np.float32)
    return chosen


def _values(prepared: _Layer) -> dict[str, Any]:
    """What a function of such a layer can be given, by the keys of PARAMETERS."""
    layer = prepared.layer
    bias = np.zeros(layer.units, np.float32) if prepared.bias is None else prepared.bias
    if isinstance(prepared, PreparedFloat):
        return {"weights": prepared.weights, "bias": bias}
    return {"weights": layer.weights_values, "bias": bias, "weights_scale": layer.weights_scale}


@dataclass(frozen=True, eq=False)
class _Search:
    """One search: the layer in every runtime, the input `[rows, depth]` and the output `[rows, out]`."""

    source: str
    layers: Mapping[str, _Layer]
    first: str
    rows: Array
    mine: Array
    input_source: str
    most: int

    def run(self) -> HybridDiagnosis:
        """A runtime's own output; else the fewest mistakes with which every element lies within float32's bound."""
        own = {name: entry.evaluate([self.rows])["output"] for name, entry in self.layers.items()}
        right = own[self.first].reshape(self.mine.shape)
        same = [name for name, output in own.items() if np.array_equal(output.reshape(self.mine.shape), self.mine)]
        if same:
            return self._answer(right, [HybridAnswer((), tuple(same), exact=True)])
        bases = self._bases()
        small = {name: _first_rows(base, _FEW) for name, base in bases.items()}
        for count in range(self.most + 1):
            found = self._level(bases, small, count)
            if found:
                return self._answer(right, found)
        return self._answer(right, [], float(np.abs(right - self.mine).max()))

    def _answer(self, right: Array, answers: Sequence[HybridAnswer], largest: float | None = None) -> HybridDiagnosis:
        label, source = self.layers[self.first].layer.operator.label, self.input_source
        given = self.source, label, self.mine, right, source, self.first
        return HybridDiagnosis(*given, tuple(answers), largest, self.real)

    @property
    def real(self) -> bool:
        """Whether the weights are real numbers too."""
        return isinstance(self.layers[self.first], PreparedFloat)

    def _bases(self) -> dict[str, HybridCase]:
        """The right calculation of every runtime: those with the same quantized rows and scales once, the first's."""
        found: dict[str, HybridCase] = {}
        seen: list[tuple[Float64Array, Float64Array]] = []
        for name in sorted(self.layers, key=lambda name: name != self.first):
            entry = self.layers[name]
            if isinstance(entry, PreparedFloat):
                # They differ in the order of summation alone, which the bound covers.
                return {name: _real_case(entry, self.rows)}
            rows = entry.quantize(entry.rows, self.rows)
            q = (rows.quantized - rows.zero_point[:, None]).astype(np.float64)
            scales = entry.weights_scale.astype(np.float64)
            if any(np.array_equal(q, q2) and np.array_equal(scales, s2) for q2, s2 in seen):
                continue
            seen.append((q, scales))
            bias = np.zeros(entry.layer.units) if entry.bias is None else entry.bias.astype(np.float64)
            low, high = fused_bounds(entry.layer.activation)
            w = entry.layer.weights_values.astype(np.float64)
            x = self.rows.astype(np.float64)
            found[name] = HybridCase(x, q, rows.scale.astype(np.float64), w, scales, bias, low, high)
        return found

    def _level(
        self, bases: Mapping[str, HybridCase], small: Mapping[str, HybridCase], count: int
    ) -> list[HybridAnswer]:
        """Every set of this many mistakes that reproduces the output, the likeliest first."""
        found: dict[tuple[str, ...], list[str]] = {}
        for name, base in bases.items():
            usable = _telling(base, FLOAT if self.real else HYBRID)
            for chosen in itertools.combinations(usable, count):
                if len({mistake.slot for mistake in chosen}) < count:
                    continue
                by_slot = {mistake.slot: mistake for mistake in chosen}
                if self._fits(small[name], by_slot) and self._fits(base, by_slot):
                    found.setdefault(tuple(mistake.name for mistake in chosen), []).append(name)
        answers = [HybridAnswer(names, tuple(runtimes)) for names, runtimes in found.items()]
        return sorted(answers, key=lambda one: (self.first not in one.runtimes, one.rarity))

    def _fits(self, base: HybridCase, chosen: Mapping[str, Mistake]) -> bool:
        """Whether every element lies within what float32 may lose."""
        if "hybrid_scale_of_whole_batch" in {m.name for m in chosen.values()} and len(base.x) < len(self.rows):
            return True  # a few rows have another largest value than all
        made = calculate(base, chosen)
        assert made.y is not None
        assert made.bound is not None
        wanted: Float64Array = self.mine[: len(base.x)].astype(np.float64)
        return bool((np.abs(made.y - wanted) <= _MORE * made.bound).all())


def _first_rows(base: HybridCase, count: int) -> HybridCase:
    return HybridCase(
        base.x[:count], base.q[:count], base.s_x[:count], base.w, base.s_w, base.bias, base.low, base.high
    )


def _real_case(entry: PreparedFloat, rows: Array) -> HybridCase:
    """A float32 layer: nothing is quantized, and every scale is 1."""
    x, low_high = rows.astype(np.float64), fused_bounds(entry.layer.activation)
    bias = np.zeros(entry.layer.units) if entry.bias is None else entry.bias.astype(np.float64)
    return HybridCase(x, x, np.ones(len(x)), entry.weights.astype(np.float64), np.ones(1), bias, *low_high)


def _telling(base: HybridCase, known: Mapping[str, Mistake]) -> list[Mistake]:
    """The mistakes that change this layer's output."""
    right = calculate(base, {})
    assert right.y is not None
    assert right.bound is not None
    found = []
    for mistake in known.values():
        made = calculate(base, {mistake.slot: mistake}).y
        if made is not None and (np.abs(made - right.y) > 2 * _MORE * right.bound).any():
            found.append(mistake)
    return found
