"""The tables of docs/converter.md: what was compared with each converter, and which version changed what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lastbit.verbs.quantize.converters import CONVERTERS, Converter
from lastbit.verbs.quantize.moves import MoveRules

__all__ = ["changes", "compared", "methods"]

ROOT = Path(__file__).parents[2]


def compared() -> str:
    """Each converter and version: what was compared (tests/recorded/quantize_counts.json)."""
    counted = json.loads((ROOT / "tests" / "recorded" / "quantize_counts.json").read_text(encoding="utf-8"))
    lines = [
        "| converter | activations | models | refused by both | operators | tensors | differ |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for converter in CONVERTERS:
        for activations in ("int8", "int16"):
            found = counted.get(f"{converter.label}/{activations}")
            if found is not None:
                differ = found["differ"] + found.get("operators_differ", 0) + found["other_operators"]
                operators = f"{found['operators']:,}" if found.get("operators") else "-"
                lines.append(
                    f"| `{converter.label}` | {activations} | {found['models']:,} | {found['refused']} | {operators} | "
                    f"{found['tensors']:,} | {differ} |"
                )
    return "\n".join(lines)


def methods() -> str:
    """What was compared of each converter by other methods than int8 and int16 with ranges."""
    counted = json.loads((ROOT / "tests" / "recorded" / "quantize_counts.json").read_text(encoding="utf-8"))
    lines = ["| converter | method | models | tensors | differ | refused by both |", "|---|---|---:|---:|---:|---:|"]
    for converter in CONVERTERS:
        for key, found in counted.items():
            label, _, method = key.partition("/")
            if label == converter.label and method not in ("int8", "int16"):
                lines.append(
                    f"| `{label}` | {method} | {found['models']:,} | {found['tensors']:,} | {found['differ']} | "
                    f"{found['refused']} |"
                )
    return "\n".join(lines)


def changes() -> str:
    """What each field of a converter means, and in which versions of TensorFlow it is how."""
    rows: list[tuple[str, Callable[[Converter], str]]] = [
        ("scales of a dense layer's weights", lambda c: "one a unit" if c.dense_per_channel else "one"),
        ("weights with one scale", lambda c: "vector code" if c.vector_code else "rounded half away"),
        ("STRIDED_SLICE of steps of 1", lambda c: "SLICE" if c.moves.slices else "stays"),
        ("TRANSPOSEs in a row", lambda c: "one" if c.moves.folds_transposes else "both"),
        ("dense layer behind a RESHAPE to fewer dimensions", lambda c: _reads(c.moves.reads_more_dims)),
        ("dense layer of 3 dimensions before a RESHAPE", lambda c: _keeps(c.moves.keeps_dims_for_any)),
        ("BATCH_MATMUL between RESHAPEs, first factor's TRANSPOSE", lambda c: _least(c.moves.matmul_least)),
        ("second factor's TRANSPOSE", lambda c: "into it" if c.moves.transposes_second else "stays"),
        ("TRANSPOSE of x times y transposed", lambda c: "into it" if c.moves.swaps_matmul else "stays"),
        ("sum with zeros, product with ones", lambda c: "dropped" if c.moves.drops_neutral else "stays"),
        ("TRANSPOSE before SQUEEZE, or RESHAPE and TRANSPOSE", lambda c: _moves(c.moves.moves_transposes)),
        ("range of a RESHAPE that changes nothing", lambda c: _range(c.moves)),
        ("PAD before a convolution, as much as SAME adds", lambda c: "into it" if c.moves.joins_padding else "stays"),
        ("MIRROR_PAD, SPACE_TO_BATCH_ND and back (16x8)", lambda c: "float32" if c.float_in_int16 else "int16"),
        ("bias's type named (16x8)", lambda c: "yes" if c.names_bias_type else "no"),
    ]
    lines = ["| what | in which version of TensorFlow |", "|---|---|"]
    versions = [converter for converter in reversed(CONVERTERS) if converter.name == "tflite"]
    for what, value in rows:
        runs: list[tuple[str, list[str]]] = []
        for converter in versions:
            if runs and runs[-1][0] == value(converter):
                runs[-1][1].append(converter.version)
            else:
                runs.append((value(converter), [converter.version]))
        texts = [f"{found} ({had[0] if len(had) == 1 else f'{had[0]} to {had[-1]}'})" for found, had in runs]
        lines.append(f"| {what} | {', '.join(texts)} |")
    return "\n".join(lines)


def _reads(more: bool) -> str:
    return "reads before it" if more else "reads it"


def _keeps(always: bool) -> str:
    return "keeps them" if always else "keeps them if the RESHAPE gives them back"


def _moves(behind: bool) -> str:
    return "goes behind" if behind else "stays"


def _range(moves: MoveRules) -> str:
    if not moves.folds_first:
        return "dropped with it"
    return "stays, and later RESHAPEs are refused" if moves.drops_first else "stays"


def _least(least: int) -> str:
    return {0: "stay", 2: "into it, and refused where dimensions are lost", 3: "into it"}[least]
