"""A rule with its constants as an exact table: the accumulators at which the output changes.

Requantization is a step function of the accumulator, so that a short table of integers is all of it: at most 255
thresholds for an 8-bit output where the function is monotone. It is monotone within *pieces*, and a new piece begins
only where a register overflows: where `acc << L` wraps, where a float64 result leaves int32, or where the zero point
is added. `overflow.register_counts` says how often each register has gone round, outermost first; within equal counts
the next count is monotone, and at last the output. So whatever has the same counts and the same output at
two accumulators has them everywhere between, and halving the intervals whose ends differ finds every change and proves
that there is no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.types import Int64Array, IntArray
from .fold import RequantParams
from .overflow import register_counts
from .vector import requantize

__all__ = [
    "MAX_RUNS",
    "StepTable",
    "channel_count",
    "outputs_at",
    "overflows",
    "step_tables",
    "take_channels",
]


MAX_RUNS = 1 << 20
"""Runs of one table beyond which none is made: a huge multiplier makes nearly every accumulator a run of its own."""

# Intervals that are held at one time: bounds the memory of a block of channels.
_BLOCK = 1 << 19


@dataclass(frozen=True, eq=False)
class StepTable:
    """Requantization over a range of accumulators, as runs of equal output. It is complete and exact there.

    Attributes:
        low: first accumulator of the range.
        high: last accumulator of the range, included.
        starts: int64 `[n]`, ascending: the accumulator at which each run begins; the first is `low`.
        values: int64 `[n]`: each run's output. Neighbours differ.
    """

    low: int
    high: int
    starts: Int64Array
    values: Int64Array

    @property
    def ends(self) -> Int64Array:
        """The last accumulator of each run."""
        return np.append(self.starts[1:] - 1, self.high)

    @property
    def thresholds(self) -> Int64Array:
        """The accumulators at which the output differs from that of the accumulator before."""
        return self.starts[1:]

    @property
    def falls(self) -> Int64Array:
        """The thresholds at which the output becomes smaller: a register has overflowed. Empty if monotone."""
        return self.thresholds[np.diff(self.values) < 0]

    @property
    def monotone(self) -> bool:
        """Whether the output never becomes smaller as the accumulator grows."""
        return not self.falls.size

    @property
    def monotone_ranges(self) -> list[tuple[int, int]]:
        """The longest ranges, both ends included, on which the function is monotone; one if it is everywhere."""
        falls = [int(a) for a in self.falls]
        return list(zip([self.low, *falls], [*(a - 1 for a in falls), self.high], strict=True))

    def at(self, accs: IntArray) -> Int64Array:
        """The outputs at accumulators within the range, any shape."""
        return self.values[np.searchsorted(self.starts, accs, "right") - 1]

    def clipped(self, low: int, high: int) -> StepTable:
        """The table on a part of its range.

        >>> table = StepTable(-9, 9, np.asarray([-9, 0, 5]), np.asarray([1, 2, 3]))
        >>> table.clipped(0, 7).starts.tolist(), table.clipped(-1, 4).values.tolist()
        ([0, 5], [1, 2])
        """
        first = int(np.searchsorted(self.starts, low, "right")) - 1
        last = int(np.searchsorted(self.starts, high, "right"))
        starts = self.starts[first:last].copy()
        starts[0] = low
        return StepTable(low, high, starts, self.values[first:last])

    def __len__(self) -> int:
        return len(self.starts)

    def __repr__(self) -> str:
        return f"StepTable({self.low} .. {self.high}: {len(self.starts) - 1} thresholds)"


def channel_count(params: RequantParams) -> int:
    """How many different tables a layer has: 1 where all constants are per-tensor."""
    return max(value.size for value in vars(params).values() if isinstance(value, np.ndarray))


def take_channels(params: RequantParams, channels: IntArray) -> RequantParams:
    """The constants of these channels, one after another, repeated where a channel is named again.

    Per-tensor constants (`[1]`) stay as they are: they hold for every channel.
    """
    taken: dict[str, Any] = {}
    for entry in fields(params):
        value = getattr(params, entry.name)
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.size > 1:
            taken[entry.name] = value[channels]
    return replace(params, **taken)


def outputs_at(params: RequantParams, accs: IntArray, channel: int) -> Int64Array:
    """The rule itself at accumulators of one channel: int64, in accs' shape."""
    flat = np.asarray(accs, np.int64).reshape(-1)
    one = take_channels(params, np.full(flat.shape, channel, np.int64))
    return requantize(flat, one)["output"].astype(np.int64).reshape(np.shape(accs))


def overflows(params: RequantParams, low: IntArray, high: IntArray) -> npt.NDArray[np.bool_]:
    """For each channel, whether a register overflows between two accumulators, `[out]` each (or `[1]`).

    Where none does, the output is a monotone function of the accumulator from one to the other.
    """
    total = channel_count(params)
    channel = np.arange(total)
    ends = [np.broadcast_to(np.asarray(end, np.int64), total) for end in (low, high)]
    # Each count is monotone where those before it are constant, so equal counts at both ends are constant between.
    first, last = (_marks(params, channel, end)[:-1] for end in ends)
    found: npt.NDArray[np.bool_] = (first != last).any(axis=0)
    return found


def step_tables(
    params: RequantParams, low: IntArray | int, high: IntArray | int, *, max_runs: int = MAX_RUNS
) -> Iterator[StepTable | None]:
    """The exact table of every channel, found by bisection on the rule itself.

    Channels are calculated in blocks, so that the memory is bounded whatever the number of channels and the output's
    width; take what is needed from each table before asking for the next.

    Args:
        params: a rule with its folded constants for `[out]` channels, or `[1]`.
        low: first accumulator of the range, for all channels or `[out]`.
        high: last accumulator, in the same way; at least `low`.
        max_runs: no table is made with more runs than this.

    Yields:
        For each channel its table, or None where overflow makes more runs than `max_runs`.

    >>> from lastbit.rules.requantize.fold import prepare_requantize
    >>> from lastbit.rules.requantize.table import RULES
    >>> from lastbit.model.types import INT8
    >>> half = dict(input_scale=np.float32(1), weights_scale=np.asarray([0.5], np.float32), output_scale=np.float32(1),
    ...             output_zero_point=0, activation="NONE", dtype=INT8)
    >>> for name in ("float64-half_away", "q31-half_up-half_up/dd", "float32-half_even"):
    ...     (table,) = step_tables(prepare_requantize(RULES[name], **half), -6, 6)
    ...     print(table.starts.tolist(), table.values.tolist())  # -1.5 is acc -3, a negative tie
    [-6, -4, -2, 0, 1, 3, 5] [-3, -2, -1, 0, 1, 2, 3]
    [-6, -5, -3, -1, 1, 3, 5] [-3, -2, -1, 0, 1, 2, 3]
    [-6, -5, -2, -1, 2, 3, 6] [-3, -2, -1, 0, 1, 2, 3]
    """
    total = channel_count(params)
    lows = np.broadcast_to(np.asarray(low, np.int64), total)
    highs = np.broadcast_to(np.asarray(high, np.int64), total)
    block = max(_BLOCK // (2 * (params.dtype.qmax - params.dtype.qmin + 1)), 1)
    for first in range(0, total, block):
        channels = np.arange(first, min(first + block, total))
        yield from _block(take_channels(params, channels), lows[channels], highs[channels], max_runs)


def _block(params: RequantParams, low: Int64Array, high: Int64Array, max_runs: int) -> Iterator[StepTable | None]:
    """The tables of a few channels, all intervals of all of them side by side."""
    points = _first_points(params, low, high)
    count, width = points.shape
    channel = np.repeat(np.arange(count), width)
    marks = _marks(params, channel, points.reshape(-1))
    first_values = marks[-1, ::width]
    # An interval: its channel, the accumulator and the marks at both ends.
    inner = np.arange(count * width).reshape(count, width)
    left, right = inner[:, :-1].reshape(-1), inner[:, 1:].reshape(-1)
    flat = points.reshape(-1)
    channel, a, b, at_a, at_b = channel[left], flat[left], flat[right], marks[:, left], marks[:, right]
    found: list[tuple[Int64Array, Int64Array, Int64Array]] = []  # channel, start, value of each run but the first
    crowded = np.zeros(count, bool)
    while True:
        differing = (at_a != at_b).any(axis=0) & ~crowded[channel]
        if not differing.any():
            break
        crowded |= np.bincount(channel[differing], minlength=count) > max_runs
        next_door = differing & (b - a == 1)
        found.append((channel[next_door], b[next_door], at_b[-1, next_door]))
        wide = differing & ~next_door
        channel, a, b, at_a, at_b = channel[wide], a[wide], b[wide], at_a[:, wide], at_b[:, wide]
        middle = a + (b - a) // 2
        at_middle = _marks(params, channel, middle)
        channel = np.concatenate([channel, channel])
        a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
        at_a, at_b = np.concatenate([at_a, at_middle], axis=1), np.concatenate([at_middle, at_b], axis=1)
    yield from _collect(found, first_values, low, high, crowded, max_runs)


def _collect(
    found: list[tuple[Int64Array, Int64Array, Int64Array]],
    first_values: Int64Array,
    low: Int64Array,
    high: Int64Array,
    crowded: npt.NDArray[np.bool_],
    max_runs: int,
) -> Iterator[StepTable | None]:
    """Channel by channel, the runs that were found, in order."""
    count = low.size
    parts = zip(*found, strict=True) if found else ((np.zeros(0, np.int64),),) * 3
    channel, starts, values = (np.concatenate(part) for part in parts)
    order = np.lexsort((starts, channel))
    channel, starts, values = channel[order], starts[order], values[order]
    bounds = np.searchsorted(channel, np.arange(count + 1))
    for c in range(count):
        at = slice(bounds[c], bounds[c + 1])
        all_starts = np.concatenate([low[c : c + 1], starts[at]])
        all_values = np.concatenate([first_values[c : c + 1], values[at]])
        # A piece may begin with the output that the one before it ended with.
        new = np.append(True, np.diff(all_values) != 0)
        if crowded[c] or int(new.sum()) > max_runs:
            yield None
        else:
            yield StepTable(int(low[c]), int(high[c]), all_starts[new], all_values[new])


def _first_points(params: RequantParams, low: Int64Array, high: Int64Array) -> Int64Array:
    """Where to cut the range first: `[channels, points]`, ascending in each row; the ends are the range's.

    A change is expected where the real product is half-way between two outputs. A bad guess costs time only.
    """
    halves = np.arange(params.dtype.qmin, params.dtype.qmax + 1) - params.output_zero_point - 0.5
    factor = np.maximum(np.asarray(params.effective_scale, np.float64), 1e-300)
    with np.errstate(over="ignore"):
        guess = halves / factor[:, None]
    # The largest float64 that an int64 holds is 2^63 - 1024.
    ends = low[:, None].astype(np.float64), np.minimum(high[:, None].astype(np.float64), 2.0**63 - 1024)
    error = 1 + np.minimum(np.abs(guess) * 2.0**-23, 2.0**40)  # a float32 product is off by that much
    guesses = np.concatenate([np.floor(guess - error), np.ceil(guess + error)], axis=1)
    inside = np.clip(guesses, *ends).astype(np.int64)
    # A float64 is not every int64: clip again as integers.
    inside = np.clip(inside, low[:, None], high[:, None])
    return np.sort(np.concatenate([low[:, None], inside, high[:, None]], axis=1), axis=1)


def _marks(params: RequantParams, channel: Int64Array, acc: Int64Array) -> Int64Array:
    """What has to be equal at two accumulators for the output to be the same all the way between them.

    Returns:
        int64 `[marks, n]`: how often each register has gone round, outermost first, and last the output.
    """
    if channel_count(params) > 1:
        params = take_channels(params, channel)
    steps = requantize(acc, params)
    marks = [*register_counts(acc, params, steps), steps["output"].astype(np.int64)]
    return np.stack([np.broadcast_to(mark, acc.shape) for mark in marks]).astype(np.int64)
