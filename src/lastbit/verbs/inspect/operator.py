"""One operator of an inspected model in full; of a dense layer, also what each runtime makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import (
    Data,
    covered_on,
    cut,
    hex_text,
    name_text,
    numbers,
    reasons,
    scale_text,
    short_hex,
    span,
    type_text,
    zero_point_text,
)
from ...rules.requantize.table import CHOICES
from .constants_text import constant_blocks

__all__ = ["operator_blocks"]

CHANNELS = 8
_PRODUCTS = {
    "dd": "dd: all in float64",
    "fd": "fd: s_x*s_w in float32, then float64",
    "ff": "ff: all in float32",
    "given": "given as multiplier and shift",
}


def operator_blocks(data: Data, full: bool) -> list[Block]:
    """The one operator of an inspection; `full` or the first channels."""
    op = data["operators"][0]
    blocks: list[Block] = [Heading(f"Operator {op['index']} {name_text(op['name'])} (version {op['version']})")]
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
        blocks += [*_equations(dense), *_multipliers(dense, full), *_accumulators(dense, full)]
    blocks += constant_blocks(data["constants"], full)
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
    names = "\n".join(f"{row[0]:8} {row[1]:>4} {name_text(str(row[-1]), full=True)}" for row in rows if row[-1])
    table = Table(headers, [row[:-1] for row in rows], right=("tensor", "zero point"))
    return [table, *([Code(names)] if names else [])]


def _operand_row(tensor: Data | None) -> tuple[object, ...]:
    if tensor is None:
        return ("-", "absent", "-", "", "-", "")
    quantization = tensor["quantization"]
    return (
        tensor["index"],
        type_text(tensor),
        scale_text(quantization),
        hex_text(quantization),
        zero_point_text(quantization),
        tensor["name"],
    )


def _coverage_table(op: Data, dense: Data | None) -> list[Block]:
    coverage = op["coverage"]
    why = reasons(coverage)
    if covered_on(coverage) == "none" and len(why) == 1:
        return [Text(f"Not covered on any runtime: {why[0]}", "warning")]
    rows = []
    for name, entry in coverage.items():
        if not entry["covered"]:
            rows.append((name, "-", f"not covered: {entry['reason']}", "-"))
            continue
        constants = dense["runtimes"][name] if dense is not None else {}
        clamp = f"{constants['activation_min']}..{constants['activation_max']}" if "equation" in constants else "-"
        rows.append((name, entry["kernel"], entry["rule"], clamp))
    return [Table(("runtime", "kernel", "rule", "clamp"), rows)]


def _branches(rule: str) -> str:
    """The names of the two rules that a choice chooses from."""
    choice = CHOICES.get(rule)
    return f", which is {choice.then.name} or {choice.otherwise.name}" if choice is not None else ""


def _equations(dense: Data) -> list[Block]:
    """Each rule's equation once; its parts on lines of their own."""
    rules = {entry["rule"]: entry["equation"] for entry in dense["runtimes"].values() if "equation" in entry}
    lines = []
    for rule, equation in rules.items():
        lines += [
            f"{rule}{_branches(rule)}:",
            *(f"    {part.strip()}" for part in equation.replace(";  ", ",  ").split(",  ")),
        ]
    zero_points = {role: dense["operands"][role]["quantization"]["zero_point"] for role in ("input", "weights")}
    depth = f"K = {dense['depth']}, zx = {zero_points['input'][0]}, zw = {span(zero_points['weights'])}"
    lines += ["acc = sum_k input*weights - zw*sum_k input + folded bias  (zw*... only where zw is not 0)"]
    lines += [f"folded bias = bias - zx*sum(weights) + K*zx*zw,  {depth}"]
    return [Heading("Arithmetic"), Code("\n".join(lines))]


def _multipliers(dense: Data, full: bool) -> list[Block]:
    """Effective scales, multipliers and shifts: one group for each precision of the scale product."""
    groups: dict[str, list[str]] = {}
    for name, entry in dense["runtimes"].items():
        if "equation" in entry:
            groups.setdefault(entry["scale_product"], []).append(name)
    power = "q * 2^(shift-31)"
    if any(entry.get("multiplier_q15") for entry in dense["runtimes"].values()):
        power += ", or q15 * 2^(shift-15)"
    title = f"Effective scale m = s_x*s_w/s_y; as multiplier and shift: {power}"
    if "given" in groups:
        title = f"Multiplier and shift, as given, and the factor that they are: {power}"
    blocks: list[Block] = [Heading(title)]
    headers = ("unit", "effective scale", "as hex float", "multiplier q", "shift", "q15")
    for product, names in groups.items():
        # With the same product, those that have a multiplier have the same one.
        entries = sorted((dense["runtimes"][name] for name in names), key=lambda entry: entry["multiplier"] is None)
        scale = entries[0]["effective_scale"]
        fixed = entries[0]["multiplier"] is not None
        columns = [scale["decimal"], [short_hex(text) for text in scale["hex"]]]
        columns += [entries[0]["multiplier"], entries[0]["shift"]] if fixed else []
        columns += [entry["multiplier_q15"] for entry in entries if entry["multiplier_q15"] is not None][:1]
        title = f"{_PRODUCTS[product]} ({', '.join(names)})"
        blocks += _unit_table(headers[: 1 + len(columns)], columns, full, title)
    return blocks


def _accumulators(dense: Data, full: bool) -> list[Block]:
    constants = dense["constants"]
    beyond, end = constants["overflows_int32"], constants["reaches_int64_end"]
    span = f"{min(constants['acc_min'])} to {max(constants['acc_max'])}, {constants['acc_bits']} bits"
    covered = {name: entry for name, entry in dense["runtimes"].items() if "equation" in entry}
    narrow = [name for name, entry in covered.items() if entry["acc_bits"] <= 32]
    overflows = beyond if narrow else end
    if overflows:
        which = "int32" if narrow else "int64"
        where = f" on {', '.join(narrow)}" if narrow and len(narrow) < len(covered) else ""
        text = f"Reachable accumulators: {span}. CAN OVERFLOW {which} (it wraps) in units {numbers(overflows)}{where}"
    else:
        register = "int32" if narrow or not beyond else "int64, which every kernel here has,"
        text = f"Reachable accumulators over all inputs: {span}; {register} cannot overflow"
    columns = [constants[key] for key in ("bias", "weights_sum", "folded_bias", "acc_min", "acc_max")]
    headers = ("unit", "bias", "sum(weights)", "folded bias", "acc min", "acc max")
    return [
        Heading("Accumulator"),
        Text(text, "bad" if overflows else ""),
        *_unit_table(headers, columns, full),
    ]


def _channel_scales(tensor: Data, full: bool) -> list[Block]:
    quantization = tensor["quantization"]
    if quantization is None or quantization["scale"] is None or quantization["granularity"] == "per_tensor":
        return []
    scale = quantization["scale"]
    columns = [scale["decimal"], [short_hex(text) for text in scale["hex"]], quantization["zero_point"]]
    title = f"tensor {tensor['index']}, scales along axis {quantization['axis']}"
    return _unit_table(("unit", "scale", "as hex float", "zero point"), columns, full, title)


def _unit_table(
    headers: Sequence[str], columns: Sequence[Iterable[object]], full: bool, title: str = ""
) -> list[Block]:
    rows = list(zip(*columns, strict=True))
    numbered = [("all" if len(rows) == 1 else unit, *row) for unit, row in enumerate(rows)]
    right = [header for header in headers if "hex" not in header]
    if not full and len(rows) > CHANNELS:
        title = f"{title}{', ' if title else ''}units 0 to {CHANNELS - 1} of {len(rows)} (all: --all-channels)"
    # A paragraph, not the table's own title, which would be folded to the table's width.
    return [
        *([Text(title, "dim")] if title else []),
        Table(headers, cut(numbered, CHANNELS, full), "", right),
    ]
