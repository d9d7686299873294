"""What golden vectors have to tell apart: other runtimes, other rules, and known mistakes, on one layer.

Each rival is wrong code for the layer: from rows of input to outputs. Where its outputs are a function of the
accumulator, the accumulators at which it differs are found exactly, so that inputs can be solved for them, or so that
it is proved that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import INT32_MAX, INT32_MIN
from ...layers.mistakes import Mistake, applicable
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import PREFIX, Accumulated, add_bias, scale_params, wrong_matrix
from ...layers.mistakes.sums import Everything
from ...layers.separating_inputs import all_rules
from ...layers.step_tables import LayerTables, TablePair, has_table, layer_rows
from ...model.errors import UnsupportedError
from ...model.graph import Model
from ...model.types import Int64Array, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.gemv_or_gemm import for_rows
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...rules.base import IntegerRule, Pairs, Whole, requantization_alone
from ...rules.requantize.fold import has_multiplier
from ...rules.requantize.step_tables import overflows
from ...rules.requantize.words import equation
from ...runtimes import RUNTIMES

__all__ = ["Rival", "arithmetic_of", "differs_at", "of_the_accumulator", "reachable", "rivals_of"]

Key = tuple[tuple[tuple[int | None, IntegerRule], ...], int, Whole | Pairs, int]

# Accumulators of a mistake that are held at one time, and beyond how many it is not tried on all of them.
_AT_A_TIME = 1 << 21
_EVERY = 1 << 27
# Ends of runs of one table that are tried first.
_SOME = 2048
# Slots that change only the rule's constants.
_CONSTANTS = ("channels", "members", "digits", "factor", "fixed_point")
# Targets that are kept of one unit.
_TARGETS = 64


@dataclass
class Rival:
    """One wrong way to calculate the layer.

    Attributes:
        name: the rule's, the runtime's or the mistake's name.
        kind: `rule`, `runtime` or `mistake`.
        what: in one line, what it does.
        prepared: for rules and runtimes: the layer prepared for it.
        mistake: for mistakes: it.
        equal: why it gives the same output for every input, else empty: then no vector can catch it.
        targets: `[n, 2]`: units and accumulators at which it differs; all of them or some of each unit.
    """

    name: str
    kind: str
    what: str
    prepared: PreparedDense | None = None
    mistake: Mistake | None = None
    equal: str = ""
    targets: Int64Array = field(default_factory=lambda: np.zeros((0, 2), np.int64))


def arithmetic_of(prepared: PreparedDense) -> Key:
    """What tells the arithmetic of one layer in two runtimes apart: the rule, the register, and what is summed up."""
    rules = tuple((units.start, requantization_alone(part.requant.rule)) for units, part in prepared.parts)
    return rules, prepared.acc_bits, prepared.products, prepared.layer.weights_zero_point


def rivals_of(model: Model, tables: LayerTables, runtime: str, rng: np.random.Generator) -> list[Rival]:
    """Every rival of a layer in a runtime's arithmetic, with the accumulators at which each differs.

    Args:
        model: the model.
        tables: the layer's tables in the runtime's arithmetic.
        runtime: the runtime's name.
        rng: chooses among the accumulators of a unit where there are many.
    """
    found = [*_rules(tables), *_runtimes(model, tables, runtime)]
    known: dict[Key, Rival] = {}
    for rival in found:
        assert rival.prepared is not None
        key = arithmetic_of(rival.prepared)
        if key in known:
            rival.equal, rival.targets = known[key].equal, known[key].targets
            continue
        known[key] = rival
        _compare_tables(tables, rival, rng)
    for mistake in applicable(tables.prepared):
        rival = Rival(mistake.name, "mistake", mistake.why, mistake=mistake)
        rival.equal = _never_overflows(tables, mistake.name)
        if not rival.equal and of_the_accumulator(mistake):
            _compare_function(tables, rival, rng)
        found.append(rival)
    return found


def _rules(tables: LayerTables) -> Iterator[Rival]:
    """Every other rule that could be thought to be the layer's."""
    own = [requantization_alone(part.requant.rule) for _, part in tables.prepared.parts]
    for name, params in all_rules(tables.layer, tables.prepared.rivals).items():
        if own != [requantization_alone(params.rule)]:
            bits = 64 if params.rule.sums.bits == 64 else min(tables.bits, 32)
            yield Rival(name, "rule", equation(params.rule), tables.prepared.following(params, bits))


def _runtimes(model: Model, tables: LayerTables, own: str) -> Iterator[Rival]:
    """Every other runtime that takes the layer."""
    for name, runtime in RUNTIMES.items():
        if name == own:
            continue
        try:
            prepared = as_dense(prepare_operator(model, tables.layer.operator, runtime))
        except UnsupportedError:
            continue
        if isinstance(prepared, PreparedDense) and (has_table(prepared) or prepared.pairs is not None):
            yield Rival(name, "runtime", runtime.title, for_rows(prepared, layer_rows(tables.layer)))


def _compare_tables(tables: LayerTables, rival: Rival, rng: np.random.Generator) -> None:
    """Where another rule's table differs from the right one, or that it does not."""
    assert rival.prepared is not None
    pair = TablePair(tables, LayerTables(rival.prepared))
    targets: list[tuple[int, int]] = []
    decided = True
    for unit in range(tables.layer.units):
        found = pair.differing(unit)
        decided &= found is not None
        for part in found or ():
            kept = np.arange(len(part))
            if kept.size > _TARGETS:
                kept = np.unique(rng.integers(0, kept.size, _TARGETS))
            low, high = (end[kept].tolist() for end in part.ends)
            targets += [(unit, acc) for acc in dict.fromkeys([*low, *high])]
    rival.targets = np.asarray(targets, np.int64).reshape(-1, 2)
    if decided and not targets:
        same = arithmetic_of(rival.prepared)[0] == arithmetic_of(tables.prepared)[0]
        rival.equal = "the same rule" if same else "its table is equal on the reachable range: proved"


def _compare_function(tables: LayerTables, rival: Rival, rng: np.random.Generator) -> None:
    """Where a mistake that is a function of the accumulator shows, or the proof that it does nowhere.

    Some ends of runs of equal output are tried first. Where both sides are monotone, all of them are a proof: equal at
    both ends of a run, they are equal inside it. Else every reachable accumulator is tried, where those are not too
    many.
    """
    low, high = tables.ranges  # of each table: one column for all units where there is one scale
    if rival.mistake is not None and rival.mistake.slot in PREFIX:
        low, high = reachable(tables)  # the bias is each unit's own
    points = [_run_ends(tables, index, rng, _SOME) for index in range(low.size)]
    between = rng.integers(low, high + 1, (64, low.size))
    if _try(tables, rival, [*_columns(points), between], low, high, rng):
        return
    if _both_monotone(tables, rival):
        made = [_run_ends(tables, index, rng) for index in range(tables.tables_count)]
        points = made * low.size if len(made) == 1 else made  # one table's ends are held once
        if all(p.size for p in points) and sum(p.size for p in points) <= _EVERY:
            if not _try(tables, rival, _columns(points), low, high, rng):
                rival.equal = "both are monotone, and equal at both ends of every step: proved"
            return
    longest = int((high - low).max()) + 1
    if longest * low.size > _EVERY:
        return
    step = max(_AT_A_TIME // low.size, 1)
    every = (low + np.arange(first, min(first + step, longest))[:, None] for first in range(0, longest, step))
    if not _try(tables, rival, every, low, high, rng):
        rival.equal = "it gives the same output at every reachable accumulator: proved"


def _run_ends(tables: LayerTables, index: int, rng: np.random.Generator, most: int | None = None) -> Int64Array:
    """Both ends of all runs of a table, or of some; empty where there is no table."""
    table = tables.table(index)
    if table is None:
        return np.zeros(0, np.int64)
    starts = table.starts
    if most is not None and starts.size > most:
        starts = rng.choice(starts, most, replace=False)
    return np.concatenate([starts, starts - 1, [table.low, table.high]])


def _columns(points: Sequence[Int64Array]) -> Iterator[Int64Array]:
    """Points of each table as pieces of a matrix `[n, tables]`; those that are over are repeated."""
    width = max(p.size for p in points)
    step = max(_AT_A_TIME // len(points), 1)
    for first in range(0, width, step):
        wanted = np.arange(first, min(first + step, width))
        yield np.stack([p[wanted % p.size] if p.size else np.zeros(wanted.size, np.int64) for p in points], axis=1)


def _try(
    tables: LayerTables,
    rival: Rival,
    pieces: Iterable[Int64Array],
    low: Int64Array,
    high: Int64Array,
    rng: np.random.Generator,
) -> bool:
    """Whether the mistake shows at any of these accumulators, each cut to its table's range."""
    for accs in pieces:
        _find(tables, rival, np.clip(accs, low, high), rng)
        if rival.targets.size:
            return True
    return False


def _both_monotone(tables: LayerTables, rival: Rival) -> bool:
    """Whether the right rule and a mistake are known to be monotone functions of the accumulator in its range."""
    mistake = rival.mistake
    assert mistake is not None
    low, high = (np.asarray([f(end)]) for f, end in zip((np.min, np.max), tables.ranges, strict=True))
    if overflows(tables.params, low, high).any():
        return False
    if mistake.name.startswith("sum_saturates") or mistake.name == "sum_in_float32":
        return True
    if mistake.slot == "activation":
        return True  # other bounds of the same values
    if mistake.slot in _CONSTANTS:
        params = scale_params(_empty_case(tables), Everything(), {mistake.slot: mistake})
        return not overflows(params, low, high).any()
    if mistake.slot != "rounding":
        return False
    if not has_multiplier(tables.params.rule):
        return True
    # Wrong code shifts the accumulator left within 32 bits even where the right rule has more of them.
    left = np.clip(tables.params.shift, 0, 31)
    return bool(((low << left >= INT32_MIN) & (high << left <= INT32_MAX)).all())


def _empty_case(tables: LayerTables) -> Case:
    layer = tables.layer
    return Case.of(tables.prepared, np.zeros((1, layer.depth), layer.input.dtype.numpy))


def differs_at(tables: LayerTables, rival: Rival, accs: Int64Array) -> npt.NDArray[np.bool_]:
    """Where a mistake that is a function of the accumulator shows: accumulators `[n, tables or out]` -> the same shape.

    Where the accumulators have one column for all units and the mistake is another one at each, `[n, out]`.
    """
    assert rival.mistake is not None
    case = _empty_case(tables)
    start = Accumulated(accs)
    if rival.mistake.slot == "bias":
        start = add_bias(case, Everything(), accs - case.bias, rival.mistake)
    elif rival.mistake.slot == "product":
        sums = rival.mistake.function(case, _Given(accs - case.bias), case.x, 0, case.w, 0)
        start = add_bias(case, Everything(), sums, None)
    wrong = wrong_matrix(case, {rival.mistake.slot: rival.mistake}, start)
    found: npt.NDArray[np.bool_] = wrong != tables.prepared.outputs_of(accs).astype(np.int64)
    return found


def _find(tables: LayerTables, rival: Rival, accs: Int64Array, rng: np.random.Generator) -> None:
    """Keep some of the accumulators `[n, tables]` at which the mistake shows, each with a unit that may reach it."""
    wrong = differs_at(tables, rival, accs)
    at, column = np.nonzero(wrong)
    kept = rng.permutation(at.size)[: _TARGETS * 16]
    found = accs[at[kept], column[kept] if accs.shape[1] > 1 else 0]
    units = tables.layer.units
    unit = column[kept] if wrong.shape[1] == units else rng.integers(0, units, found.size)
    low, high = reachable(tables)
    inside = (found >= low[unit]) & (found <= high[unit])
    rival.targets = np.stack([unit[inside], found[inside]], axis=1)


def of_the_accumulator(mistake: Mistake) -> bool:
    """Whether what a mistake makes of a unit depends on nothing of the input but the accumulator."""
    if mistake.slot in PREFIX:
        return mistake.slot == "bias" or mistake.of_the_sum
    return mistake.slot != "layout"


class _Given(Everything):
    """Stands for the input of mistakes that change only the finished sum: that sum is given."""

    def __init__(self, sums: Int64Array) -> None:
        self.sums = sums

    def dot(self, x: Int64Array, w: Int64Array) -> Int64Array:
        """The sum itself."""
        return self.sums

    def sum_w(self, w: Int64Array) -> Int64Array:
        """Nothing is to be subtracted from it."""
        return np.zeros(1, np.int64)


# Mistakes of a register that is too narrow: what it holds, and its bits.
_NARROW = re.compile("(sum|product|product_pairs|each_product|each_centred_product)_(?:wraps?|saturates?)_int([0-9]+)")


def _never_overflows(tables: LayerTables, name: str) -> str:
    """Why a register that is too narrow holds all there is on this layer; empty where it does not."""
    narrow = _NARROW.fullmatch(name)
    if narrow is None:
        return ""
    what, bits = narrow[1], int(narrow[2])
    layer = tables.layer
    given = integer_type(layer.input.dtype)
    x = np.asarray([given.qmin, given.qmax])
    w = layer.weights_values.astype(np.int64)
    if what in ("sum", "each_centred_product"):
        x, w = x - layer.input_zero_point, w - layer.weights_zero_point
    elif what == "product_pairs":
        x = x - x[0]  # the instruction wants uint8
    ends = np.stack([w * end for end in x.tolist()])
    low, high = ends.min(axis=0), ends.max(axis=0)
    if what == "product_pairs":
        low, high = (end[:, : end.shape[1] // 2 * 2].reshape(len(w), -1, 2).sum(axis=2) for end in (low, high))
    elif not what.startswith("each"):
        low, high = low.sum(axis=1), high.sum(axis=1)
    half = 1 << (bits - 1)
    if low.min(initial=0) < -half or high.max(initial=0) >= half:
        return ""
    return f"nothing leaves {bits} bits here: proved"


def reachable(tables: LayerTables) -> tuple[Int64Array, Int64Array]:
    """Each unit's smallest and largest accumulator."""
    spans = [tables.intervals(unit) for unit in range(tables.layer.units)]
    return np.asarray([s[0][0] for s in spans]), np.asarray([s[-1][1] for s in spans])
