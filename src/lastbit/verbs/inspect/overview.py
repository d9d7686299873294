"""The overview of an inspected model: operators, what is not covered, dense layers, tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...model.errors import Refusal
from ...report.blocks import Block, Heading, Table, Text
from ...report.phrases import (
    ROWS,
    Data,
    covered_on,
    cut,
    left_out,
    name_text,
    numbers,
    plural,
    reasons,
    scale_text,
    type_text,
    zero_point_text,
)
from .screen import overflows

__all__ = ["model_blocks", "overview_blocks"]

_OPERANDS = 3
_RUNS = 4
_FAULTS = 3


def overview_blocks(data: Data, full: bool) -> list[Block]:
    """All operators, dense layers and tensors of an inspection, `full` or the first of long tables."""
    return [
        *_operators(data, full),
        *_uncovered(data, full),
        *_notes(data, full),
        *_dense_overview(data, full),
        *_convolutions_overview(data, full),
        *_tensors(data, full),
    ]


def model_blocks(data: Data) -> list[Block]:
    """What file this is, and what it has."""
    model = data["model"]
    counts = [
        plural(model["operators"], "operator") + f" ({model['dense']} dense)",
        plural(model["tensors"], "tensor"),
        plural(model["subgraphs"], "subgraph"),
    ]
    blocks: list[Block] = [Heading(model["source"])]
    digest = model["sha256"] or "of all of it not calculated: the file is large"
    size = "not a file" if model["bytes"] is None else f"{model['bytes']} bytes"
    blocks.append(Text(f"{size}, sha256 {digest}", "dim"))
    blocks.append(Text(", ".join(counts)))
    if model["subgraphs"] > 1:
        blocks.append(Text("Only the main subgraph is shown.", "dim"))
    return [*blocks, *_faults(data), *_signatures(data)]


def _faults(data: Data) -> list[Block]:
    """What is wrong with the file, as far as somebody refuses or misreads it."""
    blocks: list[Block] = []
    for refused in (True, False):
        found = [fault["text"] for fault in data["faults"] if fault["refused_by_litert"] == refused]
        if found:
            more = f"; and {len(found) - _FAULTS} more like it" if len(found) > _FAULTS else ""
            head = "LiteRT refuses this file" if refused else "Unusual"
            blocks.append(Text(f"{head}: {'; '.join(found[:_FAULTS])}{more}.", "warning"))
    return blocks


def _signatures(data: Data) -> list[Block]:
    """The names by which the file's signatures call inputs and outputs."""
    tensors = {tensor["index"]: tensor["name"] for tensor in data["tensors"]}
    rows = [
        (name_text(signature["key"]), role, name_text(name), index, name_text(tensors.get(index, "")))
        for signature in data["signatures"]
        if signature["subgraph"] == 0
        for role in ("inputs", "outputs")
        for name, index in signature[role].items()
    ]
    headers = ("signature", "role", "name", "tensor", "tensor's name")
    return [Heading("Signatures"), Table(headers, rows, right=("tensor",))] if rows else []


def _operators(data: Data, full: bool) -> list[Block]:
    operators = data["operators"]
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}

    def operands(indices: Sequence[int]) -> str:
        shown = indices if full else indices[:_OPERANDS]
        texts = [f"{i}:{type_text(tensors[i])}" if i >= 0 else "-" for i in shown]
        return ", ".join([*texts, *([f"{len(indices) - len(shown)} more"] if len(shown) < len(indices) else [])])

    blocks: list[Block] = [Heading("Operators")]
    if len(operators) > ROWS and not full:
        kinds = Counter((op["name"], covered_on(op["coverage"])) for op in operators)
        counts = [(name_text(name), count, covered) for (name, covered), count in kinds.most_common()]
        blocks.append(Table(("operator", "count", "covered"), counts, right=("count",)))
    rows = [
        (
            op["index"],
            name_text(op["name"]),
            operands(op["inputs"]),
            operands(op["outputs"]),
            covered_on(op["coverage"]),
        )
        for op in operators
    ]
    headers = ("op", "operator", "inputs", "outputs", "covered")
    blocks.append(Table(headers, cut(rows, ROWS, full), right=("op",)))
    blocks += left_out(len(rows), ROWS, full, "operators")
    coverage = [(name, entry.get("kind")) for op in operators for name, entry in op["coverage"].items()]
    dense_only = {name for name, kind in coverage if kind == Refusal.DENSE_ONLY.value}
    several = [name for name in data["runtimes"] if name not in dense_only]
    blocks.append(Text(f"covered: all means {', '.join(several)}", "dim"))
    if dense_only:
        only = [name for name in data["runtimes"] if name in dense_only]
        blocks.append(Text(f"and at dense layers, which alone are covered there: {', '.join(only)}", "dim"))
    return blocks


def _uncovered(data: Data, full: bool) -> list[Block]:
    """Which operators are not covered, and why."""
    found: dict[str, dict[str, list[int]]] = {}
    for op in data["operators"]:
        for reason in reasons(op["coverage"]):
            found.setdefault(reason, {}).setdefault(op["name"], []).append(op["index"])
    if not found:
        return []
    rows = [
        (name_text(name), len(indices), numbers(indices, None if full else _RUNS), reason)
        for reason, kinds in found.items()
        for name, indices in kinds.items()
    ]
    return [Heading("Not covered"), Table(("operator", "count", "which", "why"), rows, right=("count",))]


def _notes(data: Data, full: bool) -> list[Block]:
    """Every warning once, with the operators and runtimes that it is about."""
    found: dict[str, dict[int, list[str]]] = {}
    for op in data["operators"]:
        for name, entry in op["coverage"].items():
            for note in entry.get("notes", ()):
                found.setdefault(note, {}).setdefault(op["index"], []).append(name)
    blocks: list[Block] = [Heading("Notes")] if found else []
    for note, where in found.items():
        names = ", ".join(dict.fromkeys(name for on in where.values() for name in on))
        which = numbers(list(where), None if full else _RUNS)
        blocks.append(Text(f"operator {which} on {names}: {note}", "warning"))
    return blocks


def _convolutions_overview(data: Data, full: bool) -> list[Block]:
    rows = []
    for entry in data["convolutions"]:
        constants = entry["constants"]
        acc = "-" if constants is None else f"{min(constants['acc_min'])}..{max(constants['acc_max'])}"
        bits = "-" if constants is None else f"{constants['acc_bits']}{' OVERFLOWS' if overflows(entry) else ''}"
        sizes = [entry[key] if entry[key] is not None else "-" for key in ("channels", "taps", "granularity")]
        rows.append((entry["operator"], entry["name"], *sizes, entry["activation"] or "-", acc, bits))
    if not rows:
        return []
    headers = ("op", "operator", "channels", "taps", "granularity", "activation", "reachable acc", "acc bits")
    right = ("op", "channels", "taps", "reachable acc", "acc bits")
    table = Table(headers, cut(rows, ROWS, full), right=right)
    return [Heading("Convolutions"), table, *left_out(len(rows), ROWS, full, "convolutions")]


def _dense_overview(data: Data, full: bool) -> list[Block]:
    if not data["dense"]:
        return []
    rows = []
    for entry in data["dense"]:
        constants = entry.get("constants")
        acc = bits = "-"
        if constants is not None:
            acc = f"{min(constants['acc_min'])}..{max(constants['acc_max'])}"
            bits = f"{constants['acc_bits']}{' OVERFLOWS' if overflows(entry) else ''}"
        rows.append(
            (
                entry["operator"],
                f"[{entry['units']},{entry['depth']}]" if entry["units"] is not None else "-",
                _dense_types(entry),
                entry["granularity"] or "-",
                entry["activation"],
                " or ".join(_clamps(entry)) or "-",
                acc,
                bits,
            )
        )
    headers = ("op", "weights", "types", "granularity", "activation", "clamp", "reachable acc", "acc bits")
    blocks: list[Block] = [Heading("Dense layers")]
    blocks.append(Table(headers, cut(rows, ROWS, full), right=("op", "reachable acc", "acc bits")))
    blocks += left_out(len(rows), ROWS, full, "dense layers")
    blocks.append(
        Text("Every constant of a layer: lastbit inspect MODEL --op N (as data, for all layers: --json)", "dim")
    )
    return blocks


def _dense_types(entry: Data) -> str:
    operands = entry["operands"]
    source, weights, output = (
        operands[role]["dtype"] if operands[role] is not None else "absent" for role in ("input", "weights", "output")
    )
    text = source if source == weights else f"{source} x {weights}"
    return text if source == output else f"{text} -> {output}"


def _clamps(entry: Data) -> list[str]:
    """The clamp bounds that occur; runtimes differ only where an activation's bound is a tie."""
    covered = (runtime for runtime in entry["runtimes"].values() if "equation" in runtime)
    return list(dict.fromkeys(f"{runtime['activation_min']}..{runtime['activation_max']}" for runtime in covered))


def _tensors(data: Data, full: bool) -> list[Block]:
    rows = [
        (
            tensor["index"],
            name_text(tensor["name"], full),
            type_text(tensor),
            ", ".join(tensor["roles"]).replace("constant", "const"),
            scale_text(tensor["quantization"]),
            zero_point_text(tensor["quantization"]),
        )
        for tensor in data["tensors"]
    ]
    headers = ("tensor", "name", "type", "role", "scale", "zero point")
    return [
        Heading("Tensors"),
        Table(headers, cut(rows, ROWS, full), right=("tensor", "zero point")),
        *left_out(len(rows), ROWS, full, "tensors"),
    ]
