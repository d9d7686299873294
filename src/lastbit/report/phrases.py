"""The small texts and table parts that an inspection's overview and its operator view share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from textwrap import fill, shorten
from typing import Any

from ..model.errors import Refusal
from ..runtimes.groups import GROUPS, Group, in_groups
from .blocks import Block, Heading, Table, Text

__all__ = [
    "ROWS",
    "Data",
    "clause",
    "covered_on",
    "cut",
    "families_in_short",
    "families_row",
    "families_text",
    "folded",
    "hex_text",
    "layers_text",
    "left_out",
    "lines_in",
    "merged",
    "name_text",
    "names_text",
    "not_the_same",
    "numbers",
    "others_text",
    "plural",
    "reasons",
    "scale_text",
    "short_hex",
    "span",
    "type_text",
    "zero_point_text",
]

# Rows of a long table that are shown.
ROWS = 40
_WIDTH = 80
_MORE = " (-v)"
_NAME_WIDTH = 22
_MOST_NAMES = 4

Data = Mapping[str, Any]


def name_text(name: str, full: bool = False, width: int = _NAME_WIDTH) -> str:
    """A name of the file, without what would disturb a terminal; long ones without their middle."""
    text = name if name.isprintable() else repr(name)[1:-1]
    if full or len(text) <= width:
        return text
    half = (width - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def type_text(tensor: Data) -> str:
    """Element type and shape: `int8[1,48]`."""
    return f"{tensor['dtype']}[{','.join(map(str, tensor['shape']))}]"


def scale_text(quantization: Data | None) -> str:
    """The one scale, in decimals that read back the same; or how many there are, or what stands instead of it."""
    if quantization is None:
        return "-"
    if quantization["scale"] is None:
        return "multiplier, shift" if "multiplier" in quantization else "not known"
    scales = quantization["scale"]["decimal"]
    return repr(scales[0]) if len(scales) == 1 else f"{len(scales)} along axis {quantization['axis']}"


def hex_text(quantization: Data | None) -> str:
    """The one scale as hexadecimal float; nothing where there are several."""
    scale = None if quantization is None else quantization["scale"]
    scales = [] if scale is None else scale["hex"]
    return short_hex(scales[0]) if len(scales) == 1 else ""


def short_hex(text: str) -> str:
    """Hexadecimal float text without the mantissa's trailing zeros.

    >>> short_hex("0x1.99999a0000000p-4"), short_hex("0x1.0000000000000p-2")
    ('0x1.99999ap-4', '0x1p-2')
    """
    mantissa, _, exponent = text.partition("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def zero_point_text(quantization: Data | None) -> str:
    """The zero point, or the range of several."""
    return "-" if quantization is None else span(quantization["zero_point"])


def span(values: Sequence[int]) -> str:
    """The value that all have, or `low..high`."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}..{high}"


def numbers(values: Sequence[int], limit: int | None = None) -> str:
    """Ascending numbers, neighbours joined; no more than `limit` runs.

    >>> numbers([0, 1, 2, 5, 7, 8]), numbers([0, 1, 2, 5, 7, 8], 2)
    ('0-2, 5, 7-8', '0-2, 5, ...')
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    return ", ".join([*texts[:limit], *(["..."] if limit is not None and len(runs) > limit else [])])


def merged(rows: Iterable[tuple[int, *tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Rows that are alike except for their operator, which comes first, as one row with all the operators.

    >>> merged([(0, "a", "x"), (1, "a", "x"), (2, "b", "x")])
    [('0-1', 'a', 'x'), ('2', 'b', 'x')]
    """
    found: dict[tuple[str, ...], list[int]] = {}
    for index, *rest in rows:
        found.setdefault(tuple(rest), []).append(index)
    return [(numbers(indices, 12), *rest) for rest, indices in found.items()]


def names_text(names: Sequence[str]) -> str:
    """Some names in words.

    >>> names_text(["a", "b"]), names_text(list("abcdef"))
    ('a and b', 'a, b, c and 3 more')
    """
    shown = list(names) if len(names) <= _MOST_NAMES else [*names[: _MOST_NAMES - 1], f"{len(names) - 3} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def layers_text(names: Iterable[str]) -> str:
    """What layers with these operator names are together, in words.

    >>> layers_text(["CONV_2D", "FULLY_CONNECTED"]), layers_text(["CONV_2D"]), layers_text([])
    ('dense layers and convolutions', 'convolutions', 'dense layers')
    """
    dense = [name == "FULLY_CONNECTED" for name in names]
    return "dense layers" if all(dense) else "dense layers and convolutions" if any(dense) else "convolutions"


def clause(text: str, most: int) -> str:
    """A text, or as many of its clauses as fit, never a part of one; `(-v)` says that there is more.

    >>> clause("it wraps: some outputs are wrong, others are not", 40)
    'it wraps: some outputs are wrong (-v)'
    >>> clause("it wraps", 40)
    'it wraps'
    >>> clause("A sample. Element: the first one that is not clamped", 40)  # a label says nothing alone
    'A sample (-v)'
    """
    if len(text) <= most:
        return text
    ends = [match.start() for match in re.finditer(r"[.,;:](?= )", text[: most - len(_MORE)])]
    if len(ends) > 1 and text[ends[-1]] == ":" and text[ends[-2]] == ".":
        ends.pop()
    return (text[: ends[-1]] if ends else shorten(text, most - len(_MORE), placeholder="")) + _MORE


def folded(blocks: Sequence[Block]) -> list[Block]:
    """Blocks whose paragraphs are at most 80 columns wide wherever they are printed."""
    return [
        replace(block, text=fill(block.text, _WIDTH, break_on_hyphens=False)) if isinstance(block, Text) else block
        for block in blocks
    ]


def lines_in(blocks: Iterable[Block]) -> int:
    """How many lines a terminal shows of headings, code, folded paragraphs and close tables."""
    total = 0
    for block in blocks:
        match block:
            case Table():
                total += len(block.rows) + 1
            case Heading():
                total += 2
            case _:
                total += block.text.count("\n") + 1
    return total


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def cut(rows: Sequence[Sequence[object]], limit: int, full: bool) -> Sequence[Sequence[object]]:
    """The rows that are shown."""
    return rows if full else rows[:limit]


def left_out(count: int, limit: int, full: bool, noun: str) -> list[Block]:
    """Says how many rows `cut` left out, if any."""
    if full or count <= limit:
        return []
    return [Text(f"The first {limit} of {count} {noun}; {count - limit} left out. --all-channels shows all.", "dim")]


def _asked(coverage: Data) -> Data:
    """The coverage without runtimes that are for dense layers only, at other operators."""
    return {name: entry for name, entry in coverage.items() if entry.get("kind") != Refusal.DENSE_ONLY.value}


def covered_on(coverage: Data) -> str:
    """The runtimes that an operator is covered on: `all`, `none`, or families and names."""
    asked = _asked(coverage)
    on = [name for name, entry in asked.items() if entry["covered"]]
    return "all" if len(on) == len(asked) else families_text(on, list(asked)) or "none"


def families_text(names: Sequence[str], of: Sequence[str]) -> str:
    """Runtimes in few words: a family where all of its runtimes are among them, or all except few; else names.

    >>> asked = [*GROUPS[Group.ARM64], *GROUPS[Group.CMSIS_NN], "tflm"]
    >>> families_text([*GROUPS[Group.ARM64][1:], "cmsis-nn"], asked)
    'ARM64 except litert-xnnpack-arm64, cmsis-nn'
    >>> families_text([*GROUPS[Group.CMSIS_NN], "tflm"], asked)
    'tflm, CMSIS-NN'

    Args:
        names: some of the runtimes.
        of: all that were asked. A family of which some were not asked is told by names.
    """
    parts: list[str] = []
    for group, members in GROUPS.items():
        on = [name for name in members if name in names]
        off = [name for name in members if name in of and name not in on]
        whole = len(members) > 1 and set(members) <= set(of)
        if on and whole and len(off) * 2 < len(on):
            parts.append(f"{group} except {', '.join(off)}" if off else group)
        else:
            parts += on
    return ", ".join([*parts, *(name for name in names if all(name not in members for members in GROUPS.values()))])


def families_in_short(names: Iterable[str], of: Sequence[str]) -> str:
    """The families of some runtimes, with how many of each where not all are among them.

    >>> families_in_short(["tflm", "cmsis-nn"], ["tflm", "cmsis-nn", "cmsis-nn-single-rounding"])
    'TFLM, CMSIS-NN 1/2'
    """
    cells = list(zip(Group, families_row(names, of), strict=True))
    if all(cell == "all" for _, cell in cells):
        return "all families"
    return ", ".join(group if cell == "all" else f"{group} {cell}" for group, cell in cells if cell != "-")


def families_row(names: Iterable[str], of: Sequence[str]) -> list[str]:
    """How many runtimes of each of the five families are among some: a cell for each, `-` for none.

    >>> families_row(["tflm", "cmsis-nn"], ["litert-reference", "tflm", "cmsis-nn", "cmsis-nn-single-rounding"])
    ['-', '-', 'all', '1/2', '-']
    """
    counts = in_groups(names, of)
    cells = []
    for group in Group:
        on, total = counts.get(group, (0, 0))
        cells.append("-" if not on else "all" if on == total else f"{on}/{total}")
    return cells


def reasons(coverage: Data) -> list[str]:
    """Why an operator is not covered; one reason where all runtimes have the same, except for their names."""
    asked = _asked(coverage)
    found: dict[str, list[str]] = {}
    for name, entry in asked.items():
        if not entry["covered"]:
            found.setdefault(entry["reason"].replace(f" on {name}", ""), []).append(name)
    if len(found) == 1 and len(*found.values()) == len(asked):
        return list(found)
    return [f"{families_text(names, list(asked))}: {reason}" for reason, names in found.items()]


def others_text(names: Sequence[str]) -> str:
    """Which runtimes print another value for an element, for a reader who sees one line.

    >>> others_text(["tflm"]), others_text([])
    ('another value: tflm', 'no runtime prints another value')
    """
    return f"another value: {', '.join(names)}" if names else "no runtime prints another value"


def not_the_same(differing: int, size: int, what: str) -> str:
    """How many output elements of a layer or operator are not the same in all runtimes that take it."""
    if not differing:
        return f"The same in all of these runtimes: each of the {what}'s {size} output elements."
    return f"Not the same in all runtimes: {differing} of the {what}'s {size} output elements."
