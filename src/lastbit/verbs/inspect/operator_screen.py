"""The first screen of `inspect --op`: operands, rules by family, and the integer constants of the first channels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import (
    Data,
    clause,
    cut,
    families_row,
    folded,
    hex_text,
    lines_in,
    name_text,
    type_text,
    zero_point_text,
)
from .screen import FAMILIES, acc_text, findings, model_line, overflows, short_scale

__all__ = ["operator_screen"]

_WIDTH = 78
_MOST_OPERANDS = 6
_MOST_RULES = 13
_MOST_REASONS = 2
_LINES = 45
# Channels that are shown: the first of these that leaves room for the rest.
_CHANNELS = (8, 7, 6, 5, 4, 2)
# Whose constants and equations are shown where they are covered: with a float32 factor, and with multiplier and shift.
_SHOWN = ("litert-xnnpack", "tflm", "litert-reference")


def operator_screen(data: Data) -> list[Block]:
    """The one operator of an inspection, in short: with as many channels as there is room for."""
    blocks: list[Block] = []
    for channels in _CHANNELS:
        blocks = folded(_blocks(data, channels))
        if lines_in(blocks) <= _LINES:
            break
    return blocks


def _blocks(data: Data, channels: int) -> list[Block]:
    op = data["operators"][0]
    options = ", ".join(f"{key} {value}" for key, value in op["options"].items())
    blocks: list[Block] = [
        Text(model_line(data), "dim"),
        Heading(f"Operator {op['index']} {name_text(op['name'])} (version {op['version']})"),
    ]
    blocks += [Text(clause(options, 2 * _WIDTH))] if options else []
    blocks += [*_operands(data, op), Heading("Rules, and the families of runtimes that follow each")]
    blocks += [*_rules(data, op), *_reasons(op)]
    dense = data["dense"][0] if data["dense"] and data["dense"][0]["covered"] else None
    if dense is not None:
        blocks += [*_equations(dense), *_dense_constants(dense, channels)]
    elif data["constants"]:
        blocks += _constants(data, channels)
    blocks += [*findings(data), Text("Every runtime's name and constants, all channels' scales: -v", "dim")]
    return blocks


def _operands(data: Data, op: Data) -> list[Block]:
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}
    roles = ("input", "weights", "bias") if op["name"] == "FULLY_CONNECTED" else ()
    named = [(roles[i] if i < len(roles) else f"input {i}", index) for i, index in enumerate(op["inputs"])]
    named += [(f"output {i}" if len(op["outputs"]) > 1 else "output", index) for i, index in enumerate(op["outputs"])]
    rows = []
    for role, index in [*named[: _MOST_OPERANDS - 1], *named[_MOST_OPERANDS - 1 :][-1:]]:
        tensor = tensors.get(index)
        if tensor is None:
            rows.append((role, "-", "absent", "-", "", "-"))
            continue
        quantization = tensor["quantization"]
        scale, exact = short_scale(quantization), hex_text(quantization)
        rows.append((role, index, type_text(tensor), scale, exact, zero_point_text(quantization)))
    headers = ("", "tensor", "type", "scale", "as hex float", "zero point")
    return [Table(headers, rows, right=("tensor", "zero point"), close=True)]


def _rules(data: Data, op: Data) -> list[Block]:
    """A row for each rule; the last one is who is not covered."""
    by_rule: dict[str, list[str]] = {}
    for name, entry in op["coverage"].items():
        by_rule.setdefault(entry["rule"] if entry["covered"] else "", []).append(name)
    without = by_rule.pop("", [])
    rows = [(rule, *families_row(names, data["runtimes"])) for rule, names in by_rule.items()]
    left = len(rows) - _MOST_RULES
    rows = rows[:_MOST_RULES]
    if without:
        rows.append(("(not covered)", *families_row(without, data["runtimes"])))
    more = [Text(f"{left} more rules: -v", "dim")] if left > 0 else []
    return [Table(("rule", *FAMILIES), rows, close=True), *more]


def _reasons(op: Data) -> list[Block]:
    """Why it is not covered somewhere: the reasons that most runtimes have."""
    counts: dict[str, int] = {}
    for name, entry in op["coverage"].items():
        if not entry["covered"]:
            reason = entry["reason"].replace(f" on {name}", "")
            counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts, key=lambda reason: -counts[reason])[:_MOST_REASONS]
    return [Text(clause(f"Not covered: {reason}", 2 * _WIDTH), "warning") for reason in ordered]


def _equations(dense: Data) -> list[Block]:
    """The equations of the runtimes that are asked about most, and what acc is."""
    found = {name: dense["runtimes"].get(name, {}).get("equation") for name in _SHOWN}
    zero_points = {role: dense["operands"][role]["quantization"]["zero_point"] for role in ("input", "weights")}
    same = len(set(zero_points["weights"])) == 1
    zw = _minus(zero_points["weights"][0]) if same else " - zw"
    w = f"(w{zw})" if zw else "w"
    lines = [f"acc = sum (x{_minus(zero_points['input'][0])}) {w} + bias;  m = s_x*s_w/s_y"]
    for name, equation in [(name, equation) for name, equation in found.items() if equation][:2]:
        text = f"{name}: {' '.join(equation.split())}"
        lines += textwrap.wrap(text, _WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False)
    return [Code("\n".join(lines))]


def _minus(zero_point: int) -> str:
    """What is subtracted, with its sign; nothing for 0."""
    return f" {'-' if zero_point > 0 else '+'} {abs(zero_point)}" if zero_point else ""


def _dense_constants(dense: Data, channels: int) -> list[Block]:
    constants, runtimes = dense["constants"], dense["runtimes"]
    folded = {name: entry for name, entry in runtimes.items() if "equation" in entry}
    real = _chosen(folded, fixed=False)
    fixed = _chosen(folded, fixed=True)
    weights = dense["operands"]["weights"]["quantization"]["scale"]
    columns: dict[str, Sequence[object]] = {}
    if weights is not None:
        columns["scale of weights"] = [f"{value:.9g}" for value in weights["decimal"]]
    columns["folded bias"] = constants["folded_bias"]
    if real is not None:
        columns["m (float32)" if fixed is not real else "m"] = [
            f"{value:.9g}" for value in folded[real]["effective_scale"]["decimal"]
        ]
    if fixed is not None:
        columns |= {"multiplier": folded[fixed]["multiplier"], "shift": folded[fixed]["shift"]}
    shown = next(iter(folded.values()))
    low, high = min(constants["acc_min"]), max(constants["acc_max"])
    overflow = " OVERFLOWS its register" if _overflows(constants, folded) else ""
    clamp = f"clamp {shown['activation_min']}..{shown['activation_max']}"
    text = f"acc {low}..{high} ({constants['acc_bits']} bits{overflow}), {clamp}, depth {dense['depth']}"
    return [Text(text, "bad" if overflow else ""), *_channels(columns, "unit", channels)]


def _overflows(constants: Data, folded: Data) -> bool:
    narrow = any(entry["acc_bits"] <= 32 for entry in folded.values())
    return bool(constants["overflows_int32" if narrow else "reaches_int64_end"])


def _chosen(folded: Data, fixed: bool) -> str | None:
    """The runtime whose constants are shown: with multiplier and shift, or with a real factor."""
    order = [*(name for name in _SHOWN if name in folded), *folded]
    return next((name for name in order if (folded[name]["multiplier"] is not None) == fixed), None)


def _constants(data: Data, channels: int) -> list[Block]:
    """Constants of an operator that is no dense layer, of one runtime that has them."""
    constants = data["constants"]
    name = next(name for name in ("tflm", *constants) if name in constants)
    made = constants[name]
    if made["kind"] == "convolution":
        return _convolution(data, channels)
    if made["kind"] != "stages":
        return []
    part = made["parts"][0]
    rows = [
        (
            stage["step"],
            f"{stage['factor']:.9g}",
            "-" if stage["multiplier"] is None else stage["multiplier"],
            "-" if stage["shift"] is None else stage["shift"],
        )
        for stage in part["stages"]
    ]
    clamp = "" if part["clamp"] is None else f", clamp {part['clamp'][0]}..{part['clamp'][1]}"
    headers = ("stage", "factor", "multiplier", "shift")
    table: list[Block] = [Table(headers, rows, right=headers[1:], close=True)] if rows else []
    return [Heading(f"Constants on {name}{clamp}"), *table]


def _convolution(data: Data, channels: int) -> list[Block]:
    constants = data["constants"]
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}
    joined = {name: _joined(made["parts"]) for name, made in constants.items()}
    real, fixed = _chosen(joined, fixed=False), _chosen(joined, fixed=True)
    made = next(iter(constants.values()))
    columns: dict[str, Sequence[object]] = {}
    weights = tensors[data["operators"][0]["inputs"][1]]["quantization"]
    if weights is not None and weights["scale"] is not None:
        columns["scale of weights"] = [f"{value:.9g}" for value in weights["scale"]["decimal"]]
    columns["folded bias"] = made["folded_bias"]
    if real is not None:
        columns["m (float32)"] = [f"{value:.9g}" for value in joined[real]["factor"]]
    if fixed is not None:
        columns |= {"multiplier": joined[fixed]["multiplier"], "shift": joined[fixed]["shift"]}
    clamp = made["parts"][0]["clamp"]
    named = fixed or real
    equation = textwrap.wrap(
        f"{named}: {' '.join(constants[named]['parts'][0]['equation'].split())}" if named else "",
        _WIDTH - 2,
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    entry = data["convolutions"][0]
    text = f"{entry['channels']} channels of {entry['taps']} taps{acc_text(entry)}, clamp {clamp[0]}..{clamp[1]}"
    return [
        Code("\n".join(equation)),
        Text(text, "bad" if overflows(entry) else ""),
        *_channels(columns, "channel", channels),
    ]


def _joined(parts: Sequence[Data]) -> dict[str, Any]:
    """The constants of all channels, whatever part of the channels has them."""
    size = max(part["channels"][1] for part in parts)
    found: dict[str, Any] = {"factor": [0.0] * size, "multiplier": [0] * size, "shift": [0] * size}
    for part in parts:
        start, stop = part["channels"]
        for key, values in (("factor", part["effective_scale"]["decimal"]), *((k, part[k]) for k in _FIXED)):
            if values is not None:
                found[key][start:stop] = list(values) * (stop - start) if len(values) == 1 else values
    if any(part["multiplier"] is None for part in parts):
        found |= dict.fromkeys(_FIXED)
    return found


_FIXED = ("multiplier", "shift")


def _channels(columns: dict[str, Sequence[object]], what: str, shown: int) -> list[Block]:
    size = max(map(len, columns.values()))
    full = [list(values) * size if len(values) == 1 else values for values in columns.values()]
    rows = list(zip(range(size), *full, strict=True))
    more = f" 0 to {shown - 1} of {size} (all: --all-channels)" if size > shown else f" 0 to {size - 1}"
    table = Table((what, *columns), cut(rows, shown, False), right=(what, *columns), close=True)
    return [Text(f"{what}s{more}", "dim"), table]
