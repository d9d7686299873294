"""An inspection as a person reads it: the blocks that `inspect`'s data is shown as. Nothing is calculated here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .report import Block, Code, Heading, Table, Text

__all__ = ["inspection_blocks"]

CHANNELS = 8
ROWS = 40
_NAME_WIDTH = 28
_OPERANDS = 3

_PRODUCTS = {
    "dd": "dd: all in float64",
    "fd": "fd: s_x*s_w in float32, then float64",
    "ff": "ff: all in float32",
}

Data = Mapping[str, Any]


def inspection_blocks(data: Data, full: bool) -> list[Block]:
    """The text of an inspection.

    Args:
        data: see `lastbit.inspect.Inspection.data`.
        full: show every row; else the first of long tables, with the number of those left out.
    """
    blocks = _model(data)
    if data["operator"] is None:
        blocks += [*_operators(data, full), *_uncovered(data), *_dense_overview(data), *_tensors(data, full)]
    else:
        blocks += _one_operator(data, full)
    return blocks


# --- small texts ---


def _name(name: str, full: bool = False) -> str:
    """A name of the file, without what would disturb a terminal; long ones without their middle."""
    text = name if name.isprintable() else repr(name)[1:-1]
    if full or len(text) <= _NAME_WIDTH:
        return text
    half = (_NAME_WIDTH - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def _type(tensor: Data) -> str:
    return f"{tensor['dtype']}{tensor['shape']}"


def _scale(quantization: Data | None) -> str:
    if quantization is None:
        return "-"
    scales = quantization["scale"]["decimal"]
    return repr(scales[0]) if len(scales) == 1 else f"{len(scales)} along axis {quantization['axis']}"


def _hex(quantization: Data | None) -> str:
    scales = quantization["scale"]["hex"] if quantization is not None else []
    return _short_hex(scales[0]) if len(scales) == 1 else ""


def _short_hex(text: str) -> str:
    """Hexadecimal float text without the mantissa's trailing zeros.

    >>> _short_hex("0x1.99999a0000000p-4"), _short_hex("0x1.0000000000000p-2")
    ('0x1.99999ap-4', '0x1p-2')
    """
    mantissa, _, exponent = text.partition("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def _zero_point(quantization: Data | None) -> str:
    return "-" if quantization is None else _span(quantization["zero_point"])


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}..{high}"


def _numbers(values: Sequence[int]) -> str:
    """Ascending numbers, neighbours joined.

    >>> _numbers([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _cut(rows: Sequence[Sequence[object]], limit: int, full: bool) -> Sequence[Sequence[object]]:
    return rows if full else rows[:limit]


def _left_out(count: int, limit: int, full: bool, noun: str) -> list[Block]:
    if full or count <= limit:
        return []
    return [Text(f"The first {limit} of {count} {noun}; {count - limit} left out. --all-channels shows all.", "dim")]


# --- the overview ---


def _model(data: Data) -> list[Block]:
    model = data["model"]
    counts = [
        _plural(model["operators"], "operator") + f" ({model['dense']} dense)",
        _plural(model["tensors"], "tensor"),
        _plural(model["subgraphs"], "subgraph"),
    ]
    blocks: list[Block] = [Heading(model["source"])]
    blocks.append(Text(f"{model['bytes']} bytes, sha256 {model['sha256']}", "dim"))
    blocks.append(Text(", ".join(counts)))
    if model["subgraphs"] > 1:
        blocks.append(Text("Only the main subgraph is shown.", "dim"))
    return blocks


def _operators(data: Data, full: bool) -> list[Block]:
    operators = data["operators"]
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}

    def operands(indices: Sequence[int]) -> str:
        shown = indices if full else indices[:_OPERANDS]
        texts = [f"{i} {_type(tensors[i])}" if i >= 0 else "-" for i in shown]
        return ", ".join([*texts, *([f"{len(indices) - len(shown)} more"] if len(shown) < len(indices) else [])])

    blocks: list[Block] = [Heading("Operators")]
    if len(operators) > ROWS and not full:
        kinds = Counter((op["name"], _covered_on(op["coverage"])) for op in operators)
        rows = [(_name(name), count, covered) for (name, covered), count in kinds.most_common()]
        blocks.append(Table(("operator", "count", "covered"), rows, right=("count",)))
    rows = [
        (
            op["index"],
            _name(op["name"]),
            operands(op["inputs"]),
            operands(op["outputs"]),
            _covered_on(op["coverage"]),
        )
        for op in operators
    ]
    headers = ("op", "operator", "inputs", "outputs", "covered")
    blocks.append(Table(headers, _cut(rows, ROWS, full), right=("op",)))
    blocks += _left_out(len(rows), ROWS, full, "operators")
    blocks.append(Text(f"covered: all means {', '.join(data['runtimes'])}", "dim"))
    return blocks


def _covered_on(coverage: Data) -> str:
    on = [name for name, entry in coverage.items() if entry["covered"]]
    if len(on) == len(coverage):
        return "all"
    return ", ".join(on) if on else "none"


def _uncovered(data: Data) -> list[Block]:
    """Reasons, each once, with the operators it holds for."""
    found: dict[str, dict[str, list[int]]] = {}
    for op in data["operators"]:
        for reason in _reasons(op["coverage"]):
            found.setdefault(reason, {}).setdefault(op["name"], []).append(op["index"])
    if not found:
        return []
    rows = [
        (reason, "; ".join(f"{_name(name)} {_numbers(indices)}" for name, indices in kinds.items()))
        for reason, kinds in found.items()
    ]
    return [Heading("Not covered"), Table(("reason", "operators"), rows)]


def _reasons(coverage: Data) -> list[str]:
    """Why an operator is not covered; one reason where all runtimes have the same, but for their names."""
    reasons = {name: entry["reason"] for name, entry in coverage.items() if not entry["covered"]}
    same = {reason.replace(f" on {name}", "") for name, reason in reasons.items()}
    if len(same) == 1 and len(reasons) == len(coverage):
        return sorted(same)
    return [reason if name in reason else f"{name}: {reason}" for name, reason in reasons.items()]


def _dense_overview(data: Data) -> list[Block]:
    if not data["dense"]:
        return []
    rows = []
    for entry in data["dense"]:
        constants = entry.get("constants")
        acc = bits = "-"
        if constants is not None:
            acc = f"{min(constants['acc_min'])}..{max(constants['acc_max'])}"
            bits = f"{constants['acc_bits']}{' OVERFLOWS' if constants['overflows_int32'] else ''}"
        rows.append(
            (
                entry["operator"],
                f"[{entry['units']}, {entry['depth']}]" if entry["units"] is not None else "-",
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
    blocks.append(Table(headers, rows, right=("op", "reachable acc", "acc bits")))
    blocks.append(
        Text("Every constant of a layer: lastbit inspect MODEL --op N (as data, for all layers: --json)", "dim")
    )
    return blocks


def _dense_types(entry: Data) -> str:
    operands = entry["operands"]
    types = [operands[role]["dtype"] for role in ("input", "weights", "output") if operands[role] is not None]
    if len(set(types)) == 1:
        return str(types[0])
    return f"{' x '.join(types[:-1])} -> {types[-1]}"


def _clamps(entry: Data) -> list[str]:
    """The clamp bounds that occur; runtimes differ only where an activation's bound is a tie."""
    covered = (runtime for runtime in entry["runtimes"].values() if "equation" in runtime)
    return list(dict.fromkeys(f"{runtime['activation_min']}..{runtime['activation_max']}" for runtime in covered))


def _tensors(data: Data, full: bool) -> list[Block]:
    rows = [
        (
            tensor["index"],
            _name(tensor["name"], full),
            _type(tensor),
            ", ".join(tensor["roles"]),
            _scale(tensor["quantization"]),
            _zero_point(tensor["quantization"]),
        )
        for tensor in data["tensors"]
    ]
    headers = ("tensor", "name", "type", "role", "scale", "zero point")
    return [
        Heading("Tensors"),
        Table(headers, _cut(rows, ROWS, full), right=("tensor", "zero point")),
        *_left_out(len(rows), ROWS, full, "tensors"),
    ]


# --- one operator in full ---


def _one_operator(data: Data, full: bool) -> list[Block]:
    op = data["operators"][0]
    blocks: list[Block] = [Heading(f"Operator {op['index']} {_name(op['name'])} (version {op['version']})")]
    if op["options"]:
        blocks.append(Text(", ".join(f"{key}: {value}" for key, value in op["options"].items())))
    blocks += _operand_table(data, op)
    dense = data["dense"][0] if data["dense"] else None
    blocks += _coverage_table(op, dense)
    for note in dict.fromkeys(note for entry in op["coverage"].values() for note in entry.get("notes", ())):
        blocks.append(Text(f"Note: {note}", "warning"))
    biases = {dense["operands"]["bias"]["tensor"]} if dense is not None and dense["operands"]["bias"] else set()
    for tensor in data["tensors"]:
        # A bias's scales are not used by any kernel's arithmetic; --json has them.
        if tensor["index"] not in biases:
            blocks += _channel_scales(tensor, full)
    if dense is not None and dense["covered"]:
        blocks += [*_equations(dense), *_multipliers(dense, full), *_accumulators(dense["constants"], full)]
    return blocks


def _operand_table(data: Data, op: Data) -> list[Block]:
    tensors = {tensor["index"]: tensor for tensor in data["tensors"]}
    roles = ("input", "weights", "bias") if op["name"] == "FULLY_CONNECTED" else ()
    rows = []
    for position, index in enumerate(op["inputs"]):
        role = roles[position] if position < len(roles) else f"input {position}"
        rows.append((role, *_operand_row(tensors.get(index))))
    for position, index in enumerate(op["outputs"]):
        role = "output" if len(op["outputs"]) == 1 else f"output {position}"
        rows.append((role, *_operand_row(tensors.get(index))))
    headers = ("", "tensor", "type", "scale", "as hex float", "zero point")
    names = "\n".join(f"{row[0]:8} {row[1]:>4} {_name(str(row[-1]), full=True)}" for row in rows if row[-1])
    table = Table(headers, [row[:-1] for row in rows], right=("tensor", "zero point"))
    return [table, *([Code(names)] if names else [])]


def _operand_row(tensor: Data | None) -> tuple[object, ...]:
    if tensor is None:
        return ("-", "absent", "-", "", "-", "")
    quantization = tensor["quantization"]
    return (
        tensor["index"],
        _type(tensor),
        _scale(quantization),
        _hex(quantization),
        _zero_point(quantization),
        tensor["name"],
    )


def _coverage_table(op: Data, dense: Data | None) -> list[Block]:
    coverage = op["coverage"]
    reasons = _reasons(coverage)
    if _covered_on(coverage) == "none" and len(reasons) == 1:
        return [Text(f"Not covered on any runtime: {reasons[0]}", "warning")]
    rows = []
    for name, entry in coverage.items():
        if not entry["covered"]:
            rows.append((name, "-", f"not covered: {entry['reason']}", "-"))
            continue
        constants = dense["runtimes"][name] if dense is not None else {}
        clamp = f"{constants['activation_min']}..{constants['activation_max']}" if "equation" in constants else "-"
        rows.append((name, entry["kernel"], entry["rule"], clamp))
    return [Table(("runtime", "kernel", "rule", "clamp"), rows)]


def _equations(dense: Data) -> list[Block]:
    """Each rule's equation once; its parts on lines of their own."""
    rules = {entry["rule"]: entry["equation"] for entry in dense["runtimes"].values() if "equation" in entry}
    lines = []
    for rule, equation in rules.items():
        lines += [f"{rule}:", *(f"    {part.strip()}" for part in equation.replace(";  ", ",  ").split(",  "))]
    zero_points = {role: dense["operands"][role]["quantization"]["zero_point"] for role in ("input", "weights")}
    depth = f"K = {dense['depth']}, zx = {zero_points['input'][0]}, zw = {_span(zero_points['weights'])}"
    lines += ["acc = sum_k input*weights - zw*sum_k input + folded bias  (zw*... only where zw is not 0)"]
    lines += [f"folded bias = bias - zx*sum(weights) + K*zx*zw,  {depth}"]
    return [Heading("Arithmetic"), Code("\n".join(lines))]


def _multipliers(dense: Data, full: bool) -> list[Block]:
    """Effective scales, multipliers and shifts: one group for each precision of the scale product."""
    groups: dict[str, list[str]] = {}
    for name, entry in dense["runtimes"].items():
        if "equation" in entry:
            groups.setdefault(entry["scale_product"], []).append(name)
    blocks: list[Block] = [Heading("Effective scale m = s_x*s_w/s_y; as multiplier and shift: q * 2^(shift-31)")]
    headers = ("unit", "effective scale", "as hex float", "multiplier q", "shift")
    for product, names in groups.items():
        # With the same product, those that have a multiplier have the same one.
        entries = sorted((dense["runtimes"][name] for name in names), key=lambda entry: entry["multiplier"] is None)
        scale = entries[0]["effective_scale"]
        fixed = entries[0]["multiplier"] is not None
        columns = [scale["decimal"], [_short_hex(text) for text in scale["hex"]]]
        columns += [entries[0]["multiplier"], entries[0]["shift"]] if fixed else []
        title = f"{_PRODUCTS[product]} ({', '.join(names)})"
        blocks += _unit_table(headers[: 1 + len(columns)], columns, full, title)
    return blocks


def _accumulators(constants: Data, full: bool) -> list[Block]:
    overflows = constants["overflows_int32"]
    span = f"{min(constants['acc_min'])} to {max(constants['acc_max'])}, {constants['acc_bits']} bits"
    if overflows:
        text = f"Reachable accumulators: {span}. CAN OVERFLOW int32 (it wraps) in units {_numbers(overflows)}"
    else:
        text = f"Reachable accumulators over all inputs: {span}; int32 cannot overflow"
    columns = [constants[key] for key in ("bias", "weights_sum", "folded_bias", "acc_min", "acc_max")]
    headers = ("unit", "bias", "sum(weights)", "folded bias", "acc min", "acc max")
    return [
        Heading("Accumulator"),
        Text(text, "bad" if overflows else ""),
        *_unit_table(headers, columns, full),
    ]


def _channel_scales(tensor: Data, full: bool) -> list[Block]:
    quantization = tensor["quantization"]
    if quantization is None or quantization["granularity"] == "per_tensor":
        return []
    scale = quantization["scale"]
    columns = [scale["decimal"], [_short_hex(text) for text in scale["hex"]], quantization["zero_point"]]
    title = f"tensor {tensor['index']}, scales along axis {quantization['axis']}"
    return _unit_table(("unit", "scale", "as hex float", "zero point"), columns, full, title)


def _unit_table(
    headers: Sequence[str], columns: Sequence[Iterable[object]], full: bool, title: str = ""
) -> list[Block]:
    rows = list(zip(*columns, strict=True))
    numbered = [("all" if len(rows) == 1 else unit, *row) for unit, row in enumerate(rows)]
    right = [header for header in headers if "hex" not in header]
    if not full and len(rows) > CHANNELS:
        title = f"{title}{': ' if title else ''}units 0 to {CHANNELS - 1} of {len(rows)} (--all-channels shows all)"
    return [Table(headers, _cut(numbered, CHANNELS, full), title, right)]
