"""lastbit diff: two quantized models compared as converters' results are, and why they differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...model.errors import InputError
from ...model.graph import Model
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.one_screen import one_screen
from ...report.phrases import plural
from ..quantize.per_sample import average_ranges
from ..quantize.ranges import ranges_from
from ..quantize.requests import is_static
from ..quantize.verb import Ranges, measure
from ..run.verb import load
from .canonical import Pairing
from .differences import FileDifference, What, compare_graphs
from .why import MIN_AND_MAX, MOVING_AVERAGE, Reason, Sides, attribution, converter_reasons, file_reasons, range_reasons

__all__ = ["ModelDiff", "diff"]

_ROWS = 8
_NAMES = 6
# Scales that are further apart are compared by their ratio.
_MOST_ULPS = 9999


@dataclass(frozen=True, eq=False, repr=False)
class ModelDiff(Report):
    """Two models side by side.

    Attributes:
        first: the first model, A.
        second: the second, B.
        differences: what differs, in the operators' order.
        reasons: why.
        tensors: how many pairs of tensors were compared.
        operators: how many pairs of operators.
        apart: what differs and does not count: names, numbering, versions, the files' bytes.
        full: whether the text shows every difference and `apart`.
    """

    first: Model
    second: Model
    differences: tuple[FileDifference, ...]
    reasons: tuple[Reason, ...]
    tensors: int
    operators: int
    apart: tuple[str, ...]
    full: bool = False

    @property
    def equal(self) -> bool:
        """Whether nothing differs that counts."""
        return not self.differences

    @property
    def exit_code(self) -> int:
        """0 equal, 1 differs."""
        return 0 if self.equal else 1

    def in_short(self) -> list[str]:
        """See `Report`."""
        if self.equal:
            what = f"{plural(self.operators, 'operator')} and {plural(self.tensors, 'tensor')}"
            return [f"EQUAL: {what} have the same types, shapes, scales, zero points and data."]
        tensors = len({d.tensors for d in self.differences if d.tensors != (-1, -1)})
        head = f"DIFFERENT: {tensors} of {plural(self.tensors, 'tensor')}"
        others = sum(d.role == "operator" for d in self.differences)
        return [head + (f", and {plural(others, 'difference')} of operators." if others else "."), *self._counts()]

    def _counts(self) -> list[str]:
        """One line for each kind of difference."""
        lines = []
        for (what, role), count in Counter((d.what, d.role) for d in self.differences).items():
            amounts = [d.amount for d in self.differences if (d.what, d.role) == (what, role) and d.amount is not None]
            most = f", by at most {max(amounts):.9g}" if amounts else ""
            if what is What.SCALE and amounts:
                far = max(amounts)
                most = f", by at most {far:.0f} ulp" if far <= _MOST_ULPS else ", by factors (below)"
            values = ""
            if what is What.DATA:
                found = [d for d in self.differences if (d.what, d.role) == (what, role)]
                values = f" ({sum(d.count for d in found):,} of {sum(d.total for d in found):,} values)"
            if what is What.OPERATORS:
                lines.append(f"{plural(count, 'operator')} in one model only")
            else:
                lines.append(f"{role}: {what.value} differs in {count}{values}{most}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """See `Report`."""
        return {
            "schema": "lastbit.diff/1",
            "a": self.first.source,
            "b": self.second.source,
            "equal": self.equal,
            "operators": self.operators,
            "tensors": self.tensors,
            "differences": [
                {
                    "what": d.what.value,
                    "where": d.where,
                    "role": d.role,
                    "a": d.first,
                    "b": d.second,
                    "amount": d.amount,
                    "unit": "ulp" if d.what is What.SCALE else "steps",
                    "count": d.count,
                    "total": d.total,
                    "tensors": list(d.tensors),
                }
                for d in self.differences
            ],
            "reasons": [{"kind": reason.kind, "text": reason.text} for reason in self.reasons],
            "not_counted": list(self.apart),
        }

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks())

    def blocks(self) -> list[Block]:
        """The verdict, the counts, why, and the first differences."""
        verdict, *counts = self.in_short()
        blocks: list[Block] = [
            Text(verdict, "good" if self.equal else "bad"),
            Text(f"A: {self.first.source}", "dim"),
            Text(f"B: {self.second.source}", "dim"),
        ]
        if counts:
            blocks.append(Code("\n".join(counts)))
        if self.reasons:
            blocks += [Heading("Why"), *(Text(f"- {reason.text}.") for reason in self.reasons)]
        # Biases come last in a short table: their scales follow from the others.
        shown = self.differences if self.full else sorted(self.differences, key=lambda d: d.role == "bias")[:_ROWS]
        if shown:
            rows = [
                (d.where.removeprefix("operator "), d.what.value, *_values(d), _amount(d), f"{d.count} of {d.total}")
                for d in shown
            ]
            blocks.append(Table(("where", "what", "A", "B", "by", "count"), rows))
        if len(shown) < len(self.differences):
            blocks.append(Text(f"{len(self.differences) - len(shown)} more: -v or --json shows all.", "dim"))
        if self.apart and self.full:
            blocks += [Heading("Differs and does not count"), *(Text(f"- {line}.") for line in self.apart)]
        elif self.apart:
            blocks.append(Text("Names, numbering and versions differ, which does not count: -v lists them.", "dim"))
        return blocks


def _values(difference: FileDifference) -> tuple[str, str]:
    """Both sides; scales that are far apart with fewer digits."""
    if difference.what is What.SCALE and (difference.amount or 0) > _MOST_ULPS:
        return f"{float(difference.first):.6g}", f"{float(difference.second):.6g}"
    return difference.first, difference.second


def _amount(difference: FileDifference) -> str:
    if difference.what is What.SCALE and difference.amount is not None:
        if difference.amount > _MOST_ULPS and float(difference.first):
            return f"x {float(difference.second) / float(difference.first):.5g}"
        return f"{int(difference.amount):,} ulp"
    return "" if difference.amount is None else f"{difference.amount:.9g}"


def diff(
    first: str | os.PathLike[str] | bytes | Model,
    second: str | os.PathLike[str] | bytes | Model,
    *,
    float_model: str | os.PathLike[str] | bytes | Model | None = None,
    data: Any = None,
    ranges: Mapping[Any, Any] | Ranges | None = None,
    calibrator: str = "litert",
    full: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> ModelDiff:
    """Compare two models in canonical form: operators in order, and each tensor's type, shape, scales and data.

    Names, numbering, metadata and the order of buffers do not count. With the float model and its representative
    data or ranges, the converter and the ranges that made each of the two are looked for.

    Args:
        first: a Model, a path or a file's bytes; A in the report.
        second: the other; B.
        float_model: the float32 model that both were made of.
        data: its representative samples, as `lastbit.ranges` takes them. Files with float32 activations need none.
        ranges: (least, greatest) of each of its tensors, instead of `data`.
        calibrator: `litert` or `lastbit`, for `data`.
        full: show every difference in the text.
        progress: told samples done and how many there are.

    Returns:
        The ModelDiff; `exit_code` is 0 where nothing differs.

    Raises:
        ModelError: a file is malformed.
        InputError: data or ranges are given without the float model, or do not fit it.
        OracleMissingError: LiteRT is not installed, and `data` is given.
        OracleError: LiteRT cannot run the float model.
        UnsupportedError: LastBit's own float operators do not cover it.
    """
    ours, theirs = load(first), load(second)
    for model in (ours, theirs):
        model.subgraphs[0].require_scales("it has no scales, and diff compares those of two quantized models")
    if float_model is None and (data is not None or ranges is not None):
        raise InputError(
            "data or ranges tell why models differ only with the float model that they are of",
            python="; give float_model=.",
            command="; give --float FILE.",
        )
    if data is not None and ranges is not None:
        raise InputError("data and ranges exclude each other; give one of them.")
    if float_model is not None and data is None and ranges is None and (is_static(ours) or is_static(theirs)):
        raise InputError(
            "the float model alone does not tell its ranges, which activations of integers have",
            python="; give data= or ranges= too.",
            command="; give --data FILE or --ranges FILE too.",
        )
    differences: list[FileDifference] = []
    pairings: list[Pairing] = []
    for one, other in zip(ours.subgraphs, theirs.subgraphs, strict=False):
        pairing, found = compare_graphs(one, other)
        pairings.append(pairing)
        differences += found
    if len(ours.subgraphs) != len(theirs.subgraphs):
        a, b = (str(len(model.subgraphs)) for model in (ours, theirs))
        differences.append(FileDifference(What.OPERATORS, "number of subgraphs", "operator", a, b))
    reasons = file_reasons(Sides(ours, theirs, pairings[0], differences)) if differences else []
    if float_model is not None:
        reasons = _reasons(load(float_model), ours, theirs, reasons, data, ranges, calibrator, progress)
    return ModelDiff(
        ours,
        theirs,
        tuple(differences),
        tuple(reasons),
        sum(len(pairing.tensors) for pairing in pairings),
        sum(len(pairing.operators) for pairing in pairings),
        tuple(_apart(ours, theirs, pairings[0])),
        full,
    )


def _reasons(
    source: Model,
    ours: Model,
    theirs: Model,
    known: list[Reason],
    data: Any,
    ranges: Any,
    calibrator: str,
    progress: Any,
) -> list[Reason]:
    """What the float model adds; what it decides replaces what the files alone suggest."""
    limits: dict[str, Ranges] = {}
    if data is not None:
        limits[MIN_AND_MAX] = measure(source, lambda: data, calibrator)
        limits[MOVING_AVERAGE] = average_ranges(source, data, calibrator, progress)
    elif ranges is not None:
        found = ranges if isinstance(ranges, Ranges) else ranges_from(ranges, source, "ranges")
        limits = {"the ranges given": found}
    found_reasons = converter_reasons(attribution(ours, source, limits), attribution(theirs, source, limits))
    if data is not None:
        for name, model in (("A", ours), ("B", theirs)):
            found_reasons += range_reasons(model, name, source, limits)
        known = [reason for reason in known if reason.kind != "narrower_ranges"]
    return [*known, *found_reasons]


def _apart(ours: Model, theirs: Model, pairing: Pairing) -> list[str]:
    """What differs between the files and does not count."""
    lines = []
    if ours.description != theirs.description:
        lines.append(f"description: {ours.description!r} and {theirs.description!r}")
    names = [(p.first.name, p.second.name) for p in pairing.tensors if p.first is not None and p.second is not None]
    renamed = [pair for pair in dict.fromkeys(names) if pair[0] != pair[1]]
    if renamed:
        shown = "; ".join(f"{a!r} and {b!r}" for a, b in renamed[:_NAMES])
        lines.append(f"{plural(len(renamed), 'name')} of tensors: {shown}" + ("; ..." if len(renamed) > _NAMES else ""))
    moved = sum(
        p.first is not None and p.second is not None and p.first.index != p.second.index for p in pairing.tensors
    )
    if moved:
        lines.append(f"the numbers of {plural(moved, 'tensor')}")
    versions = {(a.name, a.version, b.version) for a, b in pairing.operators if a.version != b.version}
    lines += [f"version of {name}: {a} and {b}" for name, a, b in sorted(versions)]
    signatures = [[s.key for s in model.signatures] for model in (ours, theirs)]
    if signatures[0] != signatures[1]:
        lines.append(f"signatures: {signatures[0]} and {signatures[1]}")
    if len(ours.content) != len(theirs.content):
        lines.append(f"the files' sizes: {len(ours.content):,} and {len(theirs.content):,} bytes")
    return lines
