"""Inputs of a real layer whose accumulator, at a chosen unit, is a chosen integer.

A unit's accumulator is `bias + sum_k w_k * v_k` with `v = x - zx` within the input type's range: a bounded sum over the
integers. It is solved greedily, the largest weights first: each value is the wanted one, moved only as far as needed
for the rest to stay within what the smaller weights can make up. Where the smallest weight divides all others and no
gap between neighbours is wider than what the smaller ones span, that always succeeds, and every multiple of the
greatest common divisor between the ends is reachable. Elsewhere pairs of values are tried to make up what is left.
No solver library is needed: dense layers have far more freedom than one equation takes away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.types import Int64Array, IntArray, integer_type
from ..ops.dense.layer import DenseLayer

__all__ = ["Reach", "UnitSolver", "reach_of", "variants"]


_ATTEMPTS = 24
# Values that the search of pairs takes part in, and the moves of each.
_PAIR_VALUES = 48
_PAIR_MOVES = 256
# Sets of reachable sums are written out as bits up to this much work.
_EXACT_WORK = 1 << 31


@dataclass(frozen=True)
class Reach:
    """Which accumulators of a unit some input reaches.

    Attributes:
        low: the smallest, before any wrap.
        high: the largest.
        divisor: greatest common divisor of the unit's weights; 0 where all are 0.
        gapless: whether every accumulator from `low` to `high` in steps of `divisor` is reached. Where it is false
            most are, but not all.
    """

    low: int
    high: int
    divisor: int
    gapless: bool

    def allows(self, accs: IntArray) -> npt.NDArray[np.bool_]:
        """Where accumulators are within the range and in step with it: no other is reached."""
        values = np.asarray(accs, np.int64)
        inside: npt.NDArray[np.bool_] = (values >= self.low) & (values <= self.high)
        inside &= (values - self.low) % max(self.divisor, 1) == 0
        return inside


def reach_of(layer: DenseLayer, unit: int) -> Reach:
    """What a unit of a layer reaches over all inputs."""
    return UnitSolver(layer, unit).reach


class UnitSolver:
    """Finds inputs for one unit of a layer.

    Attributes:
        layer: the layer.
        unit: the output unit.
        reach: which accumulators there are.
    """

    def __init__(self, layer: DenseLayer, unit: int) -> None:
        dtype = integer_type(layer.input.dtype)
        self.layer, self.unit = layer, unit
        self._low, self._high = dtype.qmin - layer.input_zero_point, dtype.qmax - layer.input_zero_point
        self._weights = layer.weights_values[unit].astype(np.int64) - layer.weights_zero_point
        self._bias = int(layer.bias_values[unit])
        magnitudes = np.abs(self._weights)
        ends = np.stack([self._weights * self._low, self._weights * self._high])
        # Ascending magnitudes: what the weights before one can make up together, in steps of the divisor.
        ascending = np.sort(magnitudes[magnitudes > 0])
        divisor = int(np.gcd.reduce(ascending)) if ascending.size else 0
        spans = np.concatenate([[0], np.cumsum(ascending)[:-1]]) * (self._high - self._low)
        first = ascending[:1] == divisor
        gapless = not ascending.size or bool(first.all() and (ascending[1:] <= spans[1:] + divisor).all())
        self.reach = Reach(
            int(ends.min(axis=0).sum()) + self._bias, int(ends.max(axis=0).sum()) + self._bias, divisor, gapless
        )

    def solve(self, acc: int, rng: np.random.Generator, near: IntArray | None = None) -> IntArray | None:
        """An input whose accumulator at this unit is `acc`, before any wrap.

        Args:
            acc: the accumulator.
            rng: random source.
            near: `[depth]`, an input to stay near to, of the input's type; default: a random one.

        Returns:
            `[depth]` of the input's type. None where none was found: always where there is none, never where
            `reach.gapless` and `reach.allows(acc)`, seldom else.
        """
        if not self.reach.allows(np.asarray(acc)):
            return None
        target = acc - self._bias
        zx = self.layer.input_zero_point
        for attempt in range(1 if self.reach.gapless else _ATTEMPTS):
            if near is not None and attempt == 0:
                start = near.astype(np.int64) - zx
            else:
                start = rng.integers(self._low, self._high + 1, self._weights.size)
            greedy, rest = self._greedy(target, start, rng)
            values = self._make_up(greedy, rest, rng) if rest else greedy
            if values is not None:
                return (values + zx).astype(self.layer.input.dtype.numpy)
        return None

    def is_reachable(self, acc: int) -> bool | None:
        """Whether any input reaches `acc`, decided by writing out all reachable sums. None where that is too much."""
        if not self.reach.allows(np.asarray(acc)):
            return False
        if self.reach.gapless:
            return True
        span = self._high - self._low
        magnitudes = np.sort(np.abs(self._weights[self._weights != 0]))
        bits = int(magnitudes.sum()) * span
        if bits // 8 * len(magnitudes) * span.bit_length() > _EXACT_WORK:
            return None
        # Bit s: the sum low + s is reached. Each value adds 0 .. span times its weight's magnitude.
        sums = 1
        for magnitude in magnitudes:
            done = 0
            while done < span:
                step = min(done + 1, span - done)
                sums |= sums << (int(magnitude) * step)
                done += step
        return bool(sums >> (acc - self.reach.low) & 1)

    def _greedy(self, target: int, start: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, int]:
        """Values near `start` with the sum `target`, and what is left to make up."""
        magnitudes = np.abs(self._weights)
        order = np.argsort(-(magnitudes + rng.random(magnitudes.size) / 2), kind="stable")
        weights = self._weights[order]
        ends = np.stack([weights * self._low, weights * self._high])
        # What the values behind each one can make up.
        least = np.append(np.cumsum(ends.min(axis=0)[::-1])[::-1], 0)[1:]
        most = np.append(np.cumsum(ends.max(axis=0)[::-1])[::-1], 0)[1:]
        values, low, high = start[order], self._low, self._high
        # Values stay as they are as far as those behind them can make up the rest.
        left = target - np.cumsum(weights * values)
        beyond = np.flatnonzero((left < least) | (left > most))
        kept = int(beyond[0]) if beyond.size else len(values)
        rest = int(left[kept - 1]) if kept else target
        tail = zip(weights[kept:].tolist(), least[kept:].tolist(), most[kept:].tolist(), strict=True)
        for k, (w, fewest, largest) in enumerate(tail, kept):
            if w == 0:
                break
            # rest - w * v has to stay within what comes after.
            first, last = rest - largest, rest - fewest
            bounds = (-(-first // w), last // w) if w > 0 else (-(-last // w), first // w)
            v = min(max(int(values[k]), bounds[0]), bounds[1]) if bounds[0] <= bounds[1] else round(rest / w)
            v = min(max(v, low), high)
            values[k] = v
            rest -= w * v
        result = np.empty(start.shape, np.int64)
        result[order] = values
        return result, rest

    def _make_up(self, values: Int64Array, rest: int, rng: np.random.Generator) -> Int64Array | None:
        """Change two values so that the sum grows by `rest`, or None."""
        used = np.flatnonzero(self._weights)
        if used.size > _PAIR_VALUES:
            # The smallest weights are where the last few units can come from.
            smallest = used[np.argsort(np.abs(self._weights[used]))][: _PAIR_VALUES // 2]
            used = np.unique(np.concatenate([smallest, rng.choice(used, _PAIR_VALUES // 2, replace=False)]))
        low = np.maximum(self._low - values[used], -_PAIR_MOVES)
        high = np.minimum(self._high - values[used], _PAIR_MOVES)
        steps = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        who = np.repeat(used, [s.size for s in steps])
        by = np.concatenate(steps)
        gains = by * self._weights[who]
        order = np.argsort(gains, kind="stable")
        at = np.searchsorted(gains[order], rest - gains)
        partner = order[np.minimum(at, order.size - 1)]
        fits = (gains[partner] == rest - gains) & ((who[partner] != who) | (by[partner] == 0))
        hits = np.flatnonzero(fits)
        if not hits.size:
            return None
        one = int(rng.choice(hits))
        other = int(partner[one])
        changed = values.copy()
        changed[who[one]] += by[one]
        if who[other] != who[one]:
            changed[who[other]] += by[other]
        return changed


def variants(layer: DenseLayer, unit: int, x: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Inputs with the same accumulator at one unit, and other accumulators elsewhere.

    Two values are changed against each other, so that their products cancel at this unit; a few such pairs at a time.

    Args:
        layer: the layer.
        unit: the unit whose accumulator stays.
        x: `[depth]`, the input to start from.
        count: how many to make.
        rng: random source.

    Returns:
        `[count, depth]` of the input's type.
    """
    dtype = integer_type(layer.input.dtype)
    w = layer.weights_values[unit].astype(np.int64) - layer.weights_zero_point
    rows = np.repeat(x.astype(np.int64)[None], count, axis=0)
    if layer.depth < 2:
        return rows.astype(dtype.numpy)
    each = np.arange(count)
    for _ in range(3):
        i = rng.integers(0, layer.depth, count)
        j = (i + rng.integers(1, layer.depth, count)) % layer.depth
        divisor = np.maximum(np.gcd(w[i], w[j]), 1)
        # Where a weight is 0 its value is free; where both are, both are.
        step_i = np.where((w[i] == 0) & (w[j] == 0), 1, w[j] // divisor)
        step_j = -w[i] // divisor
        # How often the step fits before a value leaves its type.
        times = np.full(count, 1 << 20)
        back = np.full(count, 1 << 20)
        for k, step in ((i, step_i), (j, step_j)):
            room_up, room_down = dtype.qmax - rows[each, k], rows[each, k] - dtype.qmin
            size = np.maximum(np.abs(step), 1)
            forward = np.where(step > 0, room_up, room_down) // size
            backward = np.where(step > 0, room_down, room_up) // size
            times = np.where(step == 0, times, np.minimum(times, forward))
            back = np.where(step == 0, back, np.minimum(back, backward))
        moved = rng.integers(-back, times + 1)
        rows[each, i] += moved * step_i
        rows[each, j] += moved * step_j
    return rows.astype(dtype.numpy)
