"""Why two quantized models differ: from the files alone, and from the float model with its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...model.errors import LastBitError
from ...model.graph import Model, Tensor
from ...model.tflite import load
from ...report.phrases import plural
from ..quantize.converters import Quantizer
from ..quantize.names import float_tensor
from ..quantize.numbers import activation
from ..quantize.operators import TRAITS
from ..quantize.ranges import Ranges
from ..quantize.requests import Request, is_static, requests_of
from ..quantize.verb import CONVERTERS, Converter, quantize
from .canonical import Pairing
from .differences import FileDifference, What, compare_graphs, ulps

__all__ = [
    "MIN_AND_MAX",
    "MOVING_AVERAGE",
    "NO_RANGES",
    "Origins",
    "Reason",
    "Sides",
    "attribution",
    "converter_reasons",
    "converters_text",
    "file_reasons",
    "range_reasons",
]

MIN_AND_MAX, MOVING_AVERAGE, NO_RANGES = "min and max", "moving average", "none"
# Last bits of ranges that other kernels or another CPU add up: a few ulp, more where sums cancel.
_NEAR_ULPS = 256


@dataclass(frozen=True)
class Reason:
    """One reason for differences.

    Attributes:
        kind: a name for programs.
        text: for people; A is the first model, B the second.
    """

    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Sides:
    """What the rules of reasons look at: two models, how they lie side by side, and what differs."""

    first: Model
    second: Model
    pairing: Pairing
    differences: Sequence[FileDifference]

    def of(self, what: What, *roles: str) -> list[FileDifference]:
        """The differences of one kind, in some roles or all."""
        return [d for d in self.differences if d.what is what and (not roles or d.role in roles)]


def _dense_granularity(sides: Sides) -> Iterator[Reason]:
    dense = {theirs.inputs[1] for _, theirs in sides.pairing.operators if theirs.name == "FULLY_CONNECTED"}
    found = [d for d in sides.of(What.GRANULARITY, "weights") if d.tensors[1] in dense]
    if found:
        one, many = ("A", "B") if found[0].first == "one scale" else ("B", "A")
        newer = [c.version for c in CONVERTERS if c.dense_per_channel and c.name == "tflite"]
        yield Reason(
            "per_tensor_dense",
            f"dense layers have one weights scale in {one} and one for each unit in {many}: TensorFlow's converter "
            f"does the latter from {newer[-1]} on, unless per-channel is disabled for dense layers",
        )


def _methods(sides: Sides) -> Iterator[Reason]:
    static = [is_static(model) for model in (sides.first, sides.second)]
    if static[0] != static[1]:
        texts = ["integers" if one else "float32 (dynamic range, or weights only)" for one in static]
        yield Reason("method", f"activations are {texts[0]} in A and {texts[1]} in B")


def _io_types(sides: Sides) -> Iterator[Reason]:
    if not (is_static(sides.first) and is_static(sides.second)):
        return
    for what, texts in (("inputs", "graph input"), ("outputs", "output")):
        found = [d for d in sides.of(What.TYPE, texts) if "float32" in (d.first, d.second)]
        if found:
            yield Reason("io", f"{what}: {found[0].first} in A, {found[0].second} in B (the option --io)")
            return


def _activation_types(sides: Sides) -> Iterator[Reason]:
    found = [d for d in sides.of(What.TYPE, "output", "input") if {d.first, d.second} == {"int8", "int16"}]
    if found:
        yield Reason("activations", f"activations are {found[0].first} in A and {found[0].second} in B")


def _last_bits(sides: Sides) -> Iterator[Reason]:
    found = sides.of(What.SCALE, "input", "output", "graph input")
    if found and all((d.amount or 0) <= _NEAR_ULPS for d in found):
        most = int(max(d.amount or 0 for d in found))
        yield Reason(
            "last_bits_of_ranges",
            f"{len(found)} activation scales differ by at most {most} ulp: the float kernels that measured the ranges "
            "were other ones (another version, delegate or CPU), or the converter rounds them otherwise",
        )


def _narrower(sides: Sides) -> Iterator[Reason]:
    found = sides.of(What.SCALE, "input", "output", "graph input")
    pairs = [(float(d.first), float(d.second)) for d in found]
    ratios = np.array([b / a for a, b in pairs if 0 < a < np.inf and 0 < b < np.inf])
    far = ratios[np.abs(ratios - 1) > 1e-4]
    if far.size < 2:
        return
    for small, big, values in (("B", "A", far), ("A", "B", 1 / far)):
        if (values < 1).mean() >= 0.9:
            yield Reason(
                "narrower_ranges",
                f"{int((values < 1).sum())} of {far.size} activation scales are smaller in {small} ({values.min():.2f} "
                f"to {values.max():.2f} of {big}'s): less representative data, or a moving average of ranges "
                "(ai-edge-quantizer) instead of min and max. --float and --data decide it",
            )
            return


def _constants_only(sides: Sides) -> Iterator[Reason]:
    data = sides.of(What.DATA, "weights", "bias")
    quiet = not sides.of(What.SCALE) and not sides.of(What.GRANULARITY) and not sides.of(What.TYPE)
    if data and quiet and all(d.amount is not None and d.amount <= 1 for d in data):
        count = sum(d.count for d in data)
        yield Reason(
            "rounding",
            f"all scales are equal, and {count} weights or biases differ by 1: the same ranges, rounded otherwise "
            "(another converter, or another version)",
        )


def _other_weights(sides: Sides) -> Iterator[Reason]:
    other_scales = {d.tensors for d in (*sides.of(What.SCALE), *sides.of(What.GRANULARITY))}
    same = [d for d in sides.of(What.DATA, "weights") if d.tensors not in other_scales]
    data = [d for d in same if d.amount is not None and d.amount > 2]
    if data and sum(d.count for d in data) > 0.2 * sum(d.total for d in data):
        yield Reason("other_weights", "the weights are those of another float model (trained or folded otherwise)")


FILE_RULES: tuple[Callable[[Sides], Iterator[Reason]], ...] = (
    _methods,
    _dense_granularity,
    _io_types,
    _activation_types,
    _last_bits,
    _narrower,
    _constants_only,
    _other_weights,
)


def file_reasons(sides: Sides) -> list[Reason]:
    """What the two files alone say."""
    return [reason for rule in FILE_RULES for reason in rule(sides)]


def converters_text(ways: Sequence[tuple[Converter, bool]]) -> str:
    """Converters, each with whether --per-tensor-dense was on, in few words: `tflite@2.17 to 2.21 or litert@2.3`."""
    texts = []
    for option in (False, True):
        # Oldest first, as versions are read; neighbours of one name make a run.
        names_order = list(dict.fromkeys(one.name for one in CONVERTERS))
        chosen = {CONVERTERS.index(one) for one, had in ways if had == option}
        places = sorted(chosen, key=lambda place: (names_order.index(CONVERTERS[place].name), -place))
        runs: list[list[Converter]] = []
        for place in places:
            one = CONVERTERS[place]
            before = CONVERTERS[place + 1] if place + 1 < len(CONVERTERS) else None
            if runs and runs[-1][-1] is before and before.name == one.name:
                runs[-1].append(one)
            else:
                runs.append([one])
        names = [run[0].label + (f" to {run[-1].version}" if len(run) > 1 else "") for run in runs]
        texts += [name + (" with --per-tensor-dense" if option else "") for name in names]
    return " or ".join(texts)


@dataclass(frozen=True, eq=False)
class Origins:
    """The converters and ranges that come nearest to a file.

    Attributes:
        ways: converters that all write the same here, each with whether the option --per-tensor-dense was on.
        ranges: `min and max` or `moving average`; `none` where only weights are quantized.
        differing: how many differences are left; 0: it is this file.
        tensors: how many tensors were compared.
        method: what is quantized, where it is not weights and activations.
    """

    ways: tuple[tuple[Converter, bool], ...]
    ranges: str
    differing: int
    tensors: int
    method: str = ""

    @property
    def label(self) -> str:
        """`tflite@2.17 to 2.21`."""
        return converters_text(self.ways)

    def text(self, name: str) -> str:
        """The sentence for a model."""
        how = self.method or f"ranges: {self.ranges}"
        if not self.differing:
            return f"{name} is, to the last bit, the file of {self.label}; {how}"
        return (
            f"{name} comes nearest to the file of {self.label}, {how}; "
            f"{plural(self.differing, 'difference')} in {plural(self.tensors, 'tensor')}"
        )


def attribution(model: Model, source: Model, ranges: Mapping[str, Ranges]) -> Origins | None:
    """Which converter, option and ranges make this file of a float model; None where none can quantize it.

    Args:
        model: the quantized file.
        source: the float model.
        ranges: name -> ranges; not used for a file whose activations are float32.
    """
    found: dict[tuple[object, ...], Origins] = {}
    for converter in CONVERTERS:
        for request in requests_of(model):
            for per_tensor_dense in (False, True) if converter.dense_per_channel else (False,):
                for name, limits in ranges.items() if request.ranged else ((NO_RANGES, None),):
                    key = (converter.way, request, per_tensor_dense, name)
                    if key in found:
                        found[key] = replace(found[key], ways=(*found[key].ways, (converter, per_tensor_dense)))
                        continue
                    made = _made(source, limits, converter, per_tensor_dense, request)
                    if made is None:
                        continue
                    pairing, differences = compare_graphs(made.subgraphs[0], model.subgraphs[0])
                    ways = ((converter, per_tensor_dense),)
                    found[key] = Origins(ways, name, len(differences), len(pairing.tensors), request.method)
    if not found:
        return None
    best = min(found.values(), key=lambda one: one.differing)
    alike = [one for one in found.values() if (one.differing, one.ranges) == (best.differing, best.ranges)]
    # The option is only an answer where no converter writes the same without it.
    every = sorted({way for one in alike for way in one.ways}, key=lambda way: CONVERTERS.index(way[0]))
    if best.ranges in (MIN_AND_MAX, MOVING_AVERAGE):
        # A moving average is what ai-edge-quantizer measures, and nobody else.
        own = [way for way in every if (way[0].int8 is Quantizer.AI_EDGE) == (best.ranges == MOVING_AVERAGE)]
        every = own or every
    return replace(best, ways=tuple(way for way in every if not way[1]) or tuple(every))


def _made(
    source: Model, limits: Ranges | None, converter: Converter, per_tensor_dense: bool, request: Request
) -> Model | None:
    try:
        with np.errstate(all="ignore"):
            made = quantize(
                source, ranges=limits, like=converter.label, per_tensor_dense=per_tensor_dense, **request.arguments
            )
    except LastBitError:
        return None
    return load(bytes(made.content))


def converter_reasons(first: Origins | None, second: Origins | None) -> list[Reason]:
    """What is known of the two files' converters, and in which ways these differ."""
    found = [
        Reason("converter" if not one.differing else "nearest_converter", one.text(name))
        for name, one in (("A", first), ("B", second))
        if one is not None
    ]
    if first is None or second is None or first.differing or second.differing:
        return found
    if first.method != second.method:
        names = [one.method or "weights and activations" for one in (first, second)]
        found.append(Reason("method", f"A has {names[0]} quantized, B {names[1]}"))
    elif first.ranges != second.ranges:
        found.append(Reason("ranges", f"A's ranges are by {first.ranges}, B's by {second.ranges}"))
    fields_of = _weights_fields if first.method or second.method else _converter_fields
    fields = [
        [Reason(kind, text) for kind, differs, text in fields_of(ours, theirs) if differs]
        for ours, _ in first.ways
        for theirs, _ in second.ways
    ]
    return found + min(fields, key=len)


_QUANTIZERS = {
    Quantizer.MLIR: "the MLIR quantizer",
    Quantizer.OLDER: "the older C++ quantizer",
    Quantizer.AI_EDGE: "ai-edge-quantizer",
}
# What differs, whether it does, and its sentence.
Field = tuple[str, bool, str]


def _quantizers(ours: Converter, theirs: Converter) -> Field:
    text = f"A was made by {_QUANTIZERS[ours.int8]}, B by {_QUANTIZERS[theirs.int8]}"
    return "quantizer", ours.int8 is not theirs.int8, text


def _converter_fields(ours: Converter, theirs: Converter) -> tuple[Field, ...]:
    """Each way in which converters differ that quantize activations."""
    return (
        _quantizers(ours, theirs),
        (
            "moves",
            ours.moves != theirs.moves,
            "one of them makes a SLICE of STRIDED_SLICEs, or treats RESHAPEs beside dense layers otherwise",
        ),
        (
            "vector_code",
            ours.vector_code != theirs.vector_code,
            "one of them rounds weights with one scale as fl(x + 0.5), so values next to a tie go the other way",
        ),
    )


def _weights_fields(ours: Converter, theirs: Converter) -> tuple[Field, ...]:
    """Each way in which converters differ that quantize only weights."""
    names = ", ".join(sorted(ours.dequantized ^ theirs.dequantized))
    return (
        _quantizers(ours, theirs),
        (
            "kernels",
            ours.int8 is theirs.int8 and bool(names),
            f"one of them knows no kernel of {names} for int8 weights, and puts a DEQUANTIZE before",
        ),
    )


def range_reasons(model: Model, name: str, source: Model, ranges: Mapping[str, Ranges]) -> list[Reason]:
    """Whether a file's activation scales are those of min and max, or of a moving average."""
    counts = dict.fromkeys(ranges, 0)
    total = 0
    for tensor, index in _measured(model, source):
        if any(index not in limits for limits in ranges.values()):
            continue
        assert tensor.quant is not None
        both = {rule: limits[index] for rule, limits in ranges.items()}
        dtype = "int16" if tensor.dtype.name == "int16" else "int8"
        near = {
            rule: int(ulps(tensor.quant.scale, np.array(activation(*limits, dtype).scale, np.float32))[0]) <= _NEAR_ULPS
            for rule, limits in both.items()
        }
        total += 1
        for rule, holds in near.items():
            counts[rule] += holds
    if not total:
        return []
    shown = ", ".join(f"{count} by {rule}" for rule, count in counts.items())
    best = max(counts, key=lambda rule: counts[rule])
    text = f"of {total} activation scales of {name}, {shown}"
    if counts[best] < 0.8 * total:
        return [Reason("unknown_ranges", text)]
    instead = "" if best == MIN_AND_MAX else f": {best} instead of {MIN_AND_MAX}"
    return [Reason("ranges_" + best.replace(" ", "_"), text + instead)]


def _measured(model: Model, source: Model) -> Iterator[tuple[Tensor, int]]:
    """Activations whose scale comes from a range of their own, with the float tensor of the same name."""
    for op in model.operators:
        traits = TRAITS.get(op.name)
        if traits is None or traits.same_scale or traits.fixed is not None:
            continue
        for index in op.outputs:
            tensor = model.tensors[index]
            index_in_source = float_tensor(tensor, source)
            if tensor.quant is not None and tensor.quant.scale.size == 1 and index_in_source is not None:
                yield tensor, index_in_source
