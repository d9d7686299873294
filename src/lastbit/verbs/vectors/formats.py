"""Golden vectors as files: .npz, .json, a C header, $readmemh memories, and raw values.

Every file says which model, runtime and tool it was made for; a raw file has no room for it, so the JSON file names it
by its SHA-256. Files are written whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...layers.step_tables import LayerTables
from ...model.errors import InputError
from ...model.types import Array, decimal_float, hex_float
from ...ops.products.window_layer import WindowLayer
from ...report.json_text import json_text
from ...report.output_files import check_folder as check_output_folder
from ...report.output_files import write_folder
from ...rules.requantize.fold import has_multiplier
from .report import LayerVectors, VectorSet

__all__ = ["FORMATS", "Format", "check_folder", "formats_text", "write_vectors"]

Files = dict[str, bytes]

_C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
}
_PER_LINE = 20
# Outputs of 8 bits; and a file that an editor still opens.
_MOST_STEPS = 255
_MOST_THRESHOLDS = 1 << 18
_PARAMETERS = (
    "input_zero_point",
    "weights_zero_point",
    "output_zero_point",
    "activation_min",
    "activation_max",
    "accumulator_bits",
)
_WINDOW = (
    "input_height", "input_width", "input_channels", "kernel_height", "kernel_width",
    "stride_height", "stride_width", "dilation_height", "dilation_width",
    "padding_top", "padding_bottom", "padding_left", "padding_right", "groups",
)  # fmt: skip
_NUMBERS = (
    "vectors", "depth", "units", *_WINDOW,
    "input_zero_point", "weights_zero_point", "output_zero_point", "activation_min", "activation_max",
)  # fmt: skip
"""The whole numbers of a header, as far as there are such."""


def check_folder(folder: str, formats: Sequence[str]) -> tuple[str, ...]:
    """Refuse a folder or a format that cannot be written, before anything is computed for it; returns the formats.

    Raises:
        InputError: with the reason.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"unknown format {', '.join(unknown)}; wanted some of: {', '.join(FORMATS)}.")
    check_output_folder(folder)
    return tuple(formats)


def write_vectors(report: VectorSet, folder: str, formats: Sequence[str] = ()) -> list[str]:
    """Write the vectors of every layer.

    Args:
        report: the vectors. Its `files` are set to what was written.
        folder: where to; made if it is not there, but not its parents.
        formats: some of `FORMATS`, none for all; with `bin` comes `json`, which says what the raw values are.

    Returns:
        The paths written: `opN.npz`, `opN.json`, `opN.h`, `opN_input.mem`, `opN_input.bin` and so on.

    Raises:
        InputError: an unknown format, a file would replace the model, or the folder cannot be written to; what is
            written and what is not is said.
    """
    formats = check_folder(folder, formats or tuple(FORMATS))
    files: dict[str, bytes] = {}
    for layer in report.layers:
        if len(layer.x):
            files |= _layer_files(report, layer, formats)
    report.files = write_folder(folder, files, keep=[report.model.source])
    return report.files


def _layer_files(report: VectorSet, layer: LayerVectors, formats: Sequence[str]) -> dict[str, bytes]:
    """File name -> content, for one layer."""
    stem = f"op{layer.index}"
    arrays = layer.arrays if layer.tables is None else _arrays(layer, layer.tables)
    about = _about(report, layer)
    files: dict[str, bytes] = {}
    for name in FORMATS:
        if name in formats or (name == "json" and "bin" in formats):  # raw values say nothing of themselves
            files |= FORMATS[name].files(stem, arrays, about, files)
    return files


def _arrays(layer: LayerVectors, tables: LayerTables) -> dict[str, Array]:
    """The numbers, each in the type that the layer has it in."""
    wide = np.int64 if tables.bits == 64 else np.int32
    params = tables.params
    dtype = tables.layer.weights.dtype.numpy
    stored = tables.layer.stored_weights.data
    assert stored is not None
    arrays: dict[str, Array] = {
        "input": layer.x,
        "weights": stored.astype(dtype),
        "bias": tables.layer.bias_values.astype(wide),
        "acc": layer.accs.astype(wide),
        "output": layer.outputs,
    }
    if has_multiplier(params.rule):
        arrays |= {"multiplier": params.multiplier.astype(np.int32), "shift": params.shift.astype(np.int32)}
    steps = _thresholds(tables)
    return arrays if steps is None else {**arrays, "thresholds": steps.astype(wide)}


def _thresholds(tables: LayerTables) -> Array | None:
    """What the rule does, as numbers: output = activation_min + how many thresholds of the unit are at most acc.

    Returns:
        `[tables, activation_max - activation_min]`, ascending; the register's largest number where no accumulator that
        an input reaches gets that far. None for wide outputs, and where a register overflows.
    """
    low, high = tables.params.activation_min, tables.params.activation_max
    end = (1 << (tables.bits - 1)) - 1
    if high - low > _MOST_STEPS or tables.tables_count * (high - low) > _MOST_THRESHOLDS:
        return None
    rows = []
    for table in tables:
        if table is None or not table.monotone or table.values[0] < low:
            return None
        reached = np.searchsorted(table.values, np.arange(low + 1, high + 1))
        starts = np.append(table.starts, end)
        rows.append(starts[reached])
    return np.asarray(rows).reshape(len(rows), high - low)


def _about(report: VectorSet, layer: LayerVectors) -> dict[str, Any]:
    """What the vectors are for, and the layer's constants; scales as decimal and as hexadecimal floats."""
    assert layer.layer is not None
    return {
        "schema": "lastbit.vector_file/1",
        **report.fingerprint,
        "operator": layer.index,
        "rule": layer.rule,
        "equation": layer.equation,
        "units": layer.layer.units,
        "depth": layer.layer.depth,
        "vectors": len(layer.x),
        **(layer.constants if layer.tables is None else _constants(layer.tables)),
        "catches": [{"name": c.name, "kind": c.kind, "vectors": c.vectors, "status": c.status} for c in layer.catches],
        "labels": layer.labels(),
    }


def _constants(tables: LayerTables) -> dict[str, Any]:
    source, params = tables.layer, tables.params
    scales: dict[str, Array] = {"effective_scale": np.asarray(params.effective_scale)}
    if source.given is None:
        scales = {
            "input_scale": np.atleast_1d(source.input_scale),
            "weights_scale": source.weights_scale,
            "output_scale": np.atleast_1d(source.output_scale),
            **scales,
        }
    return {
        **(source.convolution.geometry if isinstance(source, WindowLayer) else {}),
        "accumulator_bits": tables.bits,
        "input_zero_point": source.input_zero_point,
        "weights_zero_point": source.weights_zero_point,
        "output_zero_point": source.output_zero_point,
        "activation_min": params.activation_min,
        "activation_max": params.activation_max,
        **{key: {"decimal": [float(v) for v in s], "hex": [hex_float(v) for v in s]} for key, s in scales.items()},
    }


def _plain(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {
        key: {
            "dtype": str(a.dtype),
            "shape": list(a.shape),
            # Floats as text that loses nothing: hexadecimal, "inf" or "nan".
            "values": [hex_float(v) for v in a.reshape(-1)] if a.dtype.kind == "f" else a.reshape(-1).tolist(),
        }
        for key, a in arrays.items()
    }


def _npz(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> bytes:
    """The arrays and, under `about`, the description as JSON text. The same vectors give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in {**arrays, "about": np.asarray(json_text(about))}.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), part.getvalue(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _fingerprint_lines(about: Mapping[str, Any]) -> list[str]:
    confirmed = about["confirmed_by"]
    by = "no real interpreter" if confirmed is None else f"{confirmed['oracle']} {confirmed['version']}"
    lines = [
        f"made by {about['tool']}, seed {about['seed']}",
        f"model {os.path.basename(about['model'])}",
        f"model sha256 {about['model_sha256']}",
        f"operator {about['operator']}, runtime {about['runtime']}, rule {about['rule']}; outputs confirmed by {by}",
    ]
    return [_one_line(line) for line in lines]


def _one_line(text: str) -> str:
    """Nothing that could end a comment or a line: a model's path may hold anything."""
    return (
        re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /").rstrip("\\")
    )


def _mem(key: str, array: Array, about: Mapping[str, Any]) -> bytes:
    """For $readmemh: one value a line, two's complement or IEEE bits, as many hex digits as the type has."""
    bits = array.dtype.itemsize * 8
    array = array.view(np.uint32) if array.dtype.kind == "f" else array
    digits, mask = bits // 4, (1 << bits) - 1
    shape = " x ".join(map(str, array.shape))
    head = [f"// {line}" for line in (*_fingerprint_lines(about), f"{key}: {shape}, {bits} bits, row by row")]
    return ("\n".join([*head, *(f"{int(v) & mask:0{digits}x}" for v in array.reshape(-1))]) + "\n").encode()


def _header(stem: str, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> bytes:
    """A header of C99 and C++11: arrays, constants, and what each vector catches."""
    name = f"lastbit_{stem}"
    lines = ["/*", *(f" * {line}" for line in _fingerprint_lines(about)), f" * {_one_line(about['equation'])}"]
    guard = f"{name.upper()}_H"
    lines += [
        " * What each vector catches stands at the end.",
        " */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdint.h>",
        "",
    ]
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays.values()):
        lines[-1:] = ["#include <math.h>", ""]
    for key in _NUMBERS:
        if key in about:
            lines.append(f"#define {name.upper()}_{key.upper()} ({about[key]})")
    lines.append("")
    for key in ("input_scale", "weights_scale", "output_scale", "effective_scale"):
        if key not in about:
            continue
        real, kind = ("double", np.float64) if key == "effective_scale" else ("float", np.float32)
        values = _c_values(np.asarray(about[key]["decimal"], kind))
        lines += _c_array(f"static const {real} {name}_{key}[{len(values)}]", values)
    for key, array in arrays.items():
        # INT32_MIN and its like are no C literals: the minus sign is applied to a number that is too large.
        lines += _c_array(f"static const {_C_TYPES[str(array.dtype)]} {name}_{key}[{array.size}]", _c_values(array))
    lines += ["/* What each vector catches:"]
    lines += [f" *   {i}: {_one_line(', '.join(names)) or '-'}" for i, names in enumerate(about["labels"])]
    return ("\n".join([*lines, " */", f"#endif /* {guard} */"]) + "\n").encode()


def _c_values(array: Array) -> list[str]:
    if array.dtype.kind == "f":
        # Decimals, since C++11 has no hexadecimal floats.
        special = {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}
        end = "f" if array.dtype == np.float32 else ""
        return [special.get(str(float(v)), f"{decimal_float(v)}{end} /* {hex_float(v)} */") for v in array.reshape(-1)]
    bits = array.dtype.itemsize * 8
    if bits < 32 or array.dtype.kind == "u":
        return [str(v) for v in array.reshape(-1).tolist()]
    least, suffix = -(1 << (bits - 1)), "LL" if bits == 64 else ""
    return [f"({v + 1}{suffix} - 1)" if v == least else f"{v}{suffix}" for v in array.reshape(-1).tolist()]


def _c_array(declaration: str, values: Iterable[str]) -> list[str]:
    listed = list(values)
    rows = [", ".join(listed[i : i + _PER_LINE]) for i in range(0, len(listed), _PER_LINE)]
    return [f"{declaration} = {{", *(f"    {row}," for row in rows), "};", ""]


def _memories(stem: str, arrays: Mapping[str, Array], about: Mapping[str, Any], before: Files) -> Files:
    """One file for each array, and one with the layer's single numbers, whose names stand in its first lines."""
    named = {key: about[key] for key in (*_PARAMETERS, *_WINDOW) if isinstance(about.get(key), int)}
    files = {f"{stem}_{key}.mem": _mem(key, array, about) for key, array in arrays.items()}
    if not named:
        return files
    numbers = np.asarray(list(named.values()), np.int32)
    return files | {f"{stem}_parameters.mem": _mem(f"parameters ({', '.join(named)})", numbers, about)}


def _raw_files(stem: str, arrays: Mapping[str, Array], about: Mapping[str, Any], before: Files) -> Files:
    little = {key: array.astype(array.dtype.newbyteorder("<"), copy=False) for key, array in arrays.items()}
    return {f"{stem}_{key}.bin": np.ascontiguousarray(array).tobytes() for key, array in little.items()}


def _json_file(stem: str, arrays: Mapping[str, Array], about: Mapping[str, Any], before: Files) -> Files:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in before.items()}
    everything = {**about, "arrays": _plain(arrays), "sha256_of_files": digests}
    return {f"{stem}.json": (json_text(everything, indent=1) + "\n").encode()}


@dataclass(frozen=True)
class Format:
    """How vectors are written in one way.

    Attributes:
        words: what it is, where its ending does not say it; else empty.
        files: (stem, arrays, what they are for, files of the formats before) -> file name -> content.
    """

    words: str
    files: Callable[[str, Mapping[str, Array], Mapping[str, Any], Files], Files]


FORMATS: dict[str, Format] = {
    "mem": Format("$readmemh", _memories),
    "bin": Format("", _raw_files),
    "h": Format("C header", lambda stem, arrays, about, _: {f"{stem}.h": _header(stem, arrays, about)}),
    "npz": Format("", lambda stem, arrays, about, _: {f"{stem}.npz": _npz(arrays, about)}),
    "json": Format("", _json_file),
}
"""The formats, by the endings of their files; the last one names the files of the others."""


def formats_text() -> str:
    """The formats for help: `mem ($readmemh), bin, ... or json`."""
    told = [f"{name} ({way.words})" if way.words else name for name, way in FORMATS.items()]
    return f"{', '.join(told[:-1])} or {told[-1]}"
