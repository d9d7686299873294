"""The first screen of `inspect` for a model: what goes in and out, and which operators are covered, by family."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from ...report.blocks import Block, Heading, Table, Text
from ...report.phrases import (
    Data,
    clause,
    families_in_short,
    families_row,
    folded,
    layers_text,
    lines_in,
    name_text,
    numbers,
    plural,
    scale_text,
    type_text,
    zero_point_text,
)
from ...runtimes.groups import Group

__all__ = [
    "FAMILIES",
    "acc_text",
    "findings",
    "model_line",
    "overflows",
    "overview_screen",
    "short_scale",
]

FAMILIES = tuple(str(group) for group in Group)
_WIDTH = 79
_MOST_ROWS = 13
_MOST_ENDS = 2
_LINES, _LEAST_REASONS = 30, 2
# Letters of a fault, a breach or a note: with its effect, which stands behind its cause.
_FINDING = 190
_MOST_LAYERS = 2


def overview_screen(data: Data) -> list[Block]:
    """The model, its inputs and outputs, its operators with the families they are covered on, and what to know."""
    above: list[Block] = [Heading(model_line(data)), *_ends(data), *_operators(data)]
    below = folded([*_layers(data), *findings(data), Text("More: -v. One operator: --op N. As data: --json.", "dim")])
    left = _LINES - lines_in([*above, *below])
    return [*above, *_uncovered(data, max(left, _LEAST_REASONS)), *below]


def model_line(data: Data) -> str:
    """What file this is, and what it has."""
    model = data["model"]
    size = "not a file" if model["bytes"] is None else f"{model['bytes']:,} bytes"
    inner = f", the main one of {model['subgraphs']} subgraphs" if model["subgraphs"] > 1 else ""
    name = name_text(os.path.basename(model["source"]), width=34)
    kinds = [f"{model['dense']} dense"] if model["dense"] else []
    kinds += [plural(model["convolutions"], "convolution")] if model["convolutions"] else []
    of_these = f" ({', '.join(kinds)})" if kinds else ""
    return f"{name}: {size}, {plural(model['operators'], 'operator')}{of_these}{inner}"


def _ends(data: Data) -> list[Block]:
    """The model's inputs and outputs."""
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}
    rows = [
        (
            role,
            index,
            name_text(tensors[index]["name"], width=18),
            type_text(tensors[index]),
            short_scale(tensors[index]["quantization"]),
            zero_point_text(tensors[index]["quantization"]),
        )
        for role in ("input", "output")
        for index in data["model"][f"{role}s"][:_MOST_ENDS]
        if index in tensors
    ]
    headers = ("", "tensor", "name", "type", "scale", "zero point")
    left = sum(max(len(data["model"][key]) - _MOST_ENDS, 0) for key in ("inputs", "outputs"))
    more = [Text(f"{left} more inputs and outputs.", "dim")] if left else []
    return [Table(headers, rows, right=("tensor", "zero point"), close=True), *more]


def short_scale(quantization: Data | None) -> str:
    """The one scale with the nine digits that tell it from every other float32, or how many there are."""
    if quantization is None or quantization["scale"] is None or len(quantization["scale"]["decimal"]) != 1:
        return scale_text(quantization)
    return f"{quantization['scale']['decimal'][0]:.9g}"


def _operators(data: Data) -> list[Block]:
    """A row for each operator; of long models a row for each kind with the same coverage."""
    operators = data["operators"]
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}

    def cells(op: Data) -> tuple[str, ...]:
        on = [name for name, entry in op["coverage"].items() if entry["covered"]]
        return tuple(families_row(on, data["runtimes"]))

    def made(op: Data) -> str:
        return name_text(type_text(tensors[op["outputs"][0]]), width=18) if op["outputs"] else "-"

    blocks: list[Block] = [Heading("Operators, and the families of runtimes on which each is covered")]
    if len(operators) <= _MOST_ROWS:
        rows = [(op["index"], name_text(op["name"], width=17), made(op), *cells(op)) for op in operators]
        return [*blocks, Table(("op", "operator", "output", *FAMILIES), rows, right=("op",), close=True)]
    kinds = Counter((name_text(op["name"]), *cells(op)) for op in operators).most_common()
    counted = [(count, *kind) for kind, count in kinds[: _MOST_ROWS - 1]]
    blocks.append(Table(("count", "operator", *FAMILIES), counted, right=("count",), close=True))
    left = len(kinds) - len(counted)
    return [*blocks, *([Text(f"{plural(left, 'more kind')}.", "dim")] if left else [])]


def _uncovered(data: Data, most: int) -> list[Block]:
    """The reasons for which most operators are not covered, in so many lines."""
    found: dict[str, tuple[set[int], set[str]]] = {}
    for op in data["operators"]:
        for name, entry in op["coverage"].items():
            if not entry["covered"]:
                operators, runtimes = found.setdefault(entry["reason"].replace(f" on {name}", ""), (set(), set()))
                operators.add(op["index"])
                runtimes.add(name)
    ordered = sorted(found.items(), key=lambda item: -len(item[1][0]) * len(item[1][1]))
    blocks: list[Block] = []
    for number, (reason, (operators, runtimes)) in enumerate(ordered):
        families = families_in_short(runtimes, data["runtimes"])
        text = f"Not covered on {families}: {plural(len(operators), 'operator')}: {reason}"
        made = folded([Text(clause(text, 2 * _WIDTH), "warning")])
        last = number == len(ordered) - 1
        if lines_in([*blocks, *made]) > most - (not last) and blocks:
            return [*blocks, Text(f"{plural(len(ordered) - number, 'more reason')}: -v", "warning")]
        blocks += made
    return blocks


def _layers(data: Data) -> list[Block]:
    """Size and accumulators of the first dense layers and convolutions; those that overflow stand first."""
    texts = [
        (entry, f"Dense layer {entry['operator']}: {_size(entry, 'units', 'depth')} {entry['granularity'] or ''}")
        for entry in data["dense"]
    ]
    texts += [
        (entry, f"{entry['name']} {entry['operator']}: {_size(entry, 'channels', 'taps')}")
        for entry in data["convolutions"]
    ]
    texts.sort(key=lambda pair: (not overflows(pair[0]), pair[0]["operator"]))
    blocks: list[Block] = []
    for entry, text in texts[:_MOST_LAYERS]:
        activation = "" if entry["activation"] in (None, "NONE") else f", {entry['activation']}"
        shown = f"{text}{activation}{acc_text(entry)}"
        blocks.append(Text(shown, "bad" if overflows(entry) else ""))
    left = [entry for entry, _ in texts[_MOST_LAYERS:]]
    what = layers_text([entry.get("name", "FULLY_CONNECTED") for entry in left])
    return [*blocks, *([Text(f"{len(left)} more: {what}." if len(left) > 1 else "1 more.", "dim")] if left else [])]


def _size(entry: Data, *keys: str) -> str:
    """`[units,depth]`; of a convolution `[channels,taps]`."""
    return f"[{','.join(str(entry[key]) for key in keys)}]" if entry[keys[0]] is not None else ""


def acc_text(entry: Data) -> str:
    """The accumulators that a layer's weights and inputs can reach, and whether they leave their register."""
    constants = entry.get("constants")
    if constants is None:
        return ""
    low, high = min(constants["acc_min"]), max(constants["acc_max"])
    return f", acc {low}..{high} ({constants['acc_bits']} bits{' OVERFLOWS its register' if overflows(entry) else ''})"


def overflows(entry: Data) -> bool:
    """Whether an accumulator of a layer leaves its register on some runtime."""
    constants = entry.get("constants")
    if constants is None:
        return False
    narrow = any(runtime.get("acc_bits", 64) <= 32 for runtime in entry["runtimes"].values())
    return bool(constants["overflows_int32" if narrow else "reaches_int64_end"])


def findings(data: Data) -> list[Block]:
    """The first fault, breach and note of each kind in a line, with how many more there are."""
    faults = [fault["text"] for fault in data["faults"]]
    refused = any(fault["refused_by_litert"] for fault in data["faults"])
    breaches = [f"operator {entry['operator']} {entry['name']}: {entry['text']}" for entry in data["specification"]]
    about: dict[str, tuple[list[int], dict[str, None]]] = {}
    for op in data["operators"]:
        for name, entry in op["coverage"].items():
            for note in entry.get("notes", ()):
                where, on = about.setdefault(note, ([], {}))
                where += [] if op["index"] in where else [op["index"]]
                on[name] = None
    notes = [f"operator {numbers(where, 4)} on {_few(list(on), data)}: {note}" for note, (where, on) in about.items()]
    return [
        *_line("LiteRT refuses this file" if refused else "Unusual", faults),
        *_line("Against the specification", breaches),
        *_line("Note", notes),
    ]


def _few(names: Sequence[str], data: Data) -> str:
    """Two names, or the families of more."""
    return ", ".join(names) if len(names) < 3 else families_in_short(names, data["runtimes"])


def _line(head: str, texts: Sequence[str]) -> list[Block]:
    if not texts:
        return []
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return [Text(clause(f"{head}: {texts[0]}", _FINDING - len(more)) + more, "warning")]
