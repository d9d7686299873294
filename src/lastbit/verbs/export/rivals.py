"""Which other rules a self-test catches, and what its requantization is asked alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...model.errors import LastBitError
from ...model.graph import Model, Tensor
from ...model.types import Array, Int64Array
from ...ops import OPERATORS
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.batch_matmul import PreparedProduct
from ...ops.products.convolution import PreparedConvolution
from ...rules.base import IntegerRule
from ...rules.requantize.fold import RequantParams, has_multiplier, prepare_requantize
from ...rules.requantize.table import AROUND_DENSE, COMMON, COMMON_INT16
from ...rules.requantize.vector import requantize

__all__ = ["Kills", "Probe", "candidates", "layer_rivals", "probes_of", "staged_rivals"]

_TIES = 48
_EVERY = 300
_EDGES = 32


@dataclass(frozen=True)
class Probe:
    """An accumulator of one channel and its output.

    Attributes:
        acc: the accumulator.
        channel: counted from the first channel of its constants.
        output: the output.
    """

    acc: int
    channel: int
    output: int


@dataclass
class Kills:
    """Which rivals of an operator were caught.

    Attributes:
        rivals: their names.
        caught: those that some vector or probe prints something else for.
    """

    rivals: set[str] = field(default_factory=set)
    caught: set[str] = field(default_factory=set)


def layer_rivals(entry: PreparedOperator, params: RequantParams) -> dict[str, RequantParams]:
    """The same constants by other rules, and with a bound that is one off: name -> constants."""
    rules = _rules(entry, params)
    found: dict[str, RequantParams] = {}
    for name, rule in rules.items():
        if rule.sums.bits == 64 and params.rule.sums.bits != 64:
            continue
        other = _refolded(entry, params, rule)
        if other is not None and not _same(other, params):
            found[name] = other
    low, high = params.activation_min, params.activation_max
    if low < high:
        found["activation_min + 1"] = replace(params, activation_min=low + 1)
        found["activation_max - 1"] = replace(params, activation_max=high - 1)
    found["output_offset + 1"] = replace(params, output_zero_point=params.output_zero_point + 1)
    return found


def _same(one: RequantParams, other: RequantParams) -> bool:
    """Whether two are one arithmetic: their rules differ in what these constants do not show."""
    numbers = ("effective_scale",) if not has_multiplier(one.rule) else ("multiplier", "shift")
    return (
        one.rule.requantize == other.rule.requantize
        and (one.activation_min, one.activation_max) == (other.activation_min, other.activation_max)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in numbers)
    )


def _rules(entry: PreparedOperator, params: RequantParams) -> Mapping[str, IntegerRule]:
    if isinstance(entry, PreparedConvolution | PreparedProduct):
        return AROUND_DENSE
    return COMMON_INT16 if params.rule.sums.bits == 64 else COMMON


def _refolded(entry: PreparedOperator, params: RequantParams, rule: IntegerRule) -> RequantParams | None:
    """The layer's constants by another rule; None where its scales are not known."""
    tensors: Sequence[Tensor]
    if isinstance(entry, PreparedConvolution):
        layer = entry.convolution
        assert layer.weights.quant is not None
        scales = layer.weights.quant.scale
        part = next(part for part in entry.parts if part.params is params)
        scales = scales[part.first : part.end] if scales.size > 1 else scales
        tensors, activation = (layer.input, layer.output), layer.operator.options.get("fused_activation_function")
    elif isinstance(entry, PreparedProduct):
        scales = np.asarray([entry.scales[1].scale], np.float32)
        tensors, activation = (entry.tensors[0], entry.output_tensor), "NONE"
    elif isinstance(entry, PreparedDense) and entry.layer.given is None:
        scales = entry.layer.weights_scale
        tensors, activation = (entry.layer.input, entry.layer.output), entry.layer.activation
    else:
        return None
    one, two = tensors[0].quant, tensors[1].quant
    assert one is not None
    assert two is not None
    return prepare_requantize(
        rule,
        input_scale=np.float32(one.scale[0]),
        weights_scale=scales,
        output_scale=np.float32(two.scale[0]),
        output_zero_point=params.output_zero_point,
        activation=str(activation or "NONE"),
        dtype=params.dtype,
    )


def outputs_of(params: RequantParams, acc: Int64Array) -> Array:
    """Outputs of accumulators `[..., channels]`."""
    return requantize(acc, params)["output"].astype(np.int64)


def probes_of(
    entry: PreparedOperator, params: RequantParams, channels: int, kills: Kills, rng: np.random.Generator
) -> list[Probe]:
    """The fewest accumulators that catch every rival which some accumulator near a tie, a bound or an end catches."""
    accs = candidates(params, channels, rng)
    wanted = outputs_of(params, accs)
    chosen: dict[tuple[int, int], None] = {}
    for name, rival in layer_rivals(entry, params).items():
        kills.rivals.add(name)
        differs = np.argwhere(outputs_of(rival, accs) != wanted)
        if not len(differs):
            continue
        kills.caught.add(name)
        for row, channel in differs[rng.permutation(len(differs))[:2]].tolist():
            chosen[row, channel] = None
    for row, channel in ((int(rng.integers(len(accs))), int(rng.integers(channels))) for _ in range(4)):
        chosen[row, channel] = None
    chosen |= dict.fromkeys(_edges(accs, wanted))
    return [Probe(int(accs[r, c]), c, int(wanted[r, c])) for r, c in chosen]


def _edges(accs: Int64Array, wanted: Array) -> list[tuple[int, int]]:
    """For some channels, both sides of the last step: where the smallest error of a multiplier shows first."""
    found = []
    channels = accs.shape[1]
    for channel in range(0, channels, -(-channels // _EDGES)):
        outputs, own = wanted[:, channel], accs[:, channel]
        above = np.flatnonzero(outputs == outputs.max())
        below = np.flatnonzero(outputs < outputs.max())
        found.append((int(above[np.argmin(own[above])]), channel))
        if len(below):
            found.append((int(below[np.argmax(own[below])]), channel))
    return found


def candidates(params: RequantParams, channels: int, rng: np.random.Generator) -> Int64Array:
    """Accumulators `[n, channels]`: near ties, near both bounds, and at the ends of the register."""
    bits = params.rule.sums.bits
    end = (1 << (min(bits, 40) - 1)) - 1
    scale = np.broadcast_to(params.effective_scale.astype(np.float64), (channels,))
    zero = params.output_zero_point
    low, high = params.activation_min - zero, params.activation_max - zero
    every = high - low + 3 <= _EVERY and channels <= _EVERY
    inner = np.arange(low - 1, high + 2) if every else rng.integers(low - 2, high + 3, _TIES)
    steps = np.concatenate([inner, [low - 1, low, low + 1, high - 1, high, high + 1]])
    with np.errstate(all="ignore"):
        ties = (steps[:, None] + 0.5) / scale
        near = np.rint(np.nan_to_num(ties, posinf=end, neginf=-end).clip(-end, end)).astype(np.int64)
    around = np.concatenate([near + k for k in (-1, 0, 1)])
    ends = np.asarray([end, -end - 1, end // 2, -end // 2, 0, 1, -1, (1 << 24) + 1, -(1 << 24) - 1])
    return np.concatenate([around, np.broadcast_to(ends[:, None], (len(ends), channels))]).clip(-end - 1, end)


def staged_rivals(entry: PreparedOperator, model: Model) -> Iterator[tuple[str, PreparedOperator]]:
    """The same operator by other rules that take it."""
    op = entry.operator
    handled = OPERATORS[op.name]
    for name in handled.rules:
        if name != entry.rule:
            try:
                yield name, handled.prepare(model, op, name)
            except LastBitError:
                continue


def differing(rivals: Mapping[str, RequantParams], right: RequantParams, acc: Array) -> Sequence[str]:
    """The rivals that print something else for some of these accumulators."""
    wide = np.asarray(acc, np.int64)
    wanted = outputs_of(right, wide)
    return [name for name, rival in rivals.items() if (outputs_of(rival, wide) != wanted).any()]
