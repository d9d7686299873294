"""What a model's file says, and the integer constants that each runtime makes of its dense layers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.errors import Refusal, UnsupportedError
from ...model.faults import LITERT_REFUSES
from ...model.graph import Model, Operator, Signature, Tensor
from ...model.tflite.reader import load
from ...ops.base import PreparedOperator
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import PreparedLayer
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.convolution import PreparedConvolution
from ...report.blocks import Block, Report
from ...report.json_text import json_text
from ...rules.requantize.fold import has_multiplier, multiplier_q15
from ...runtimes import RUNTIMES, Refused, Runtime, get_runtime
from .constants import operator_constants
from .likeness import likeness
from .operator import operator_blocks
from .operator_screen import operator_screen
from .overview import model_blocks, overview_blocks
from .screen import overview_screen
from .specification import specification_blocks, specification_data

__all__ = ["Inspection", "inspect"]

SCHEMA = "lastbit.inspect/1"
# Larger files are mapped, and no answer but their digest needs all of their bytes.
_HASHED_UP_TO = 1 << 28
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
INT32, INT64 = np.iinfo(np.int32), np.iinfo(np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Report):
    """What `inspect` found. `as_dict()` has everything; the text leaves out what would not be read.

    Attributes:
        data: the report as plain data.
        full: whether the text shows every row of every table.
    """

    main_table = "operators"

    data: dict[str, Any]
    full: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data (schema `lastbit.inspect/1`)."""
        return self.data

    def json(self) -> str:
        """The data as JSON text, each operator, tensor and layer in a line of its own.

        A number in each line, as in other reports, would be a quarter of a million lines for some models.
        """
        parts = []
        for key, value in self.data.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                lines = ",\n    ".join(json_text(entry) for entry in value)
                parts.append(f'  "{key}": [\n    {lines}\n  ]')
            else:
                parts.append(f'  "{key}": {json_text(value)}')
        return "{\n" + ",\n".join(parts) + "\n}"

    def in_short(self) -> list[str]:
        """Which model or operator it is about."""
        model, op = self.data["model"], self.data["operator"]
        if op is not None:
            head = f"operator {op} {self.data['operators'][0]['name']} of {model['source']}"
        else:
            head = f"{model['source']}: {model['operators']} operators, {model['dense']} of them dense layers"
        return [head, *(entry["text"] for entry in self.data["specification"][:3])]

    def first_screen(self) -> list[Block]:
        """The model or the one operator in short; all of it where every row was asked for."""
        if self.full:
            return self.blocks()
        return overview_screen(self.data) if self.data["operator"] is None else operator_screen(self.data)

    def blocks(self) -> list[Block]:
        """An overview of the model, or one operator in full."""
        view = overview_blocks if self.data["operator"] is None else operator_blocks
        return [
            *model_blocks(self.data),
            *specification_blocks(self.data, self.full),
            *view(self.data, self.full),
        ]


def inspect(
    model: str | os.PathLike[str] | bytes | Model,
    op: int | None = None,
    *,
    runtimes: Sequence[str | Runtime] | None = None,
    full: bool = False,
) -> Inspection:
    """Show what a model's file says, and the constants that each runtime folds for its dense layers.

    Args:
        model: a Model, a path or a file's bytes.
        op: index of the one operator to show in full; None for an overview of all.
        runtimes: the runtimes to show; all of them by default.
        full: show every channel, operator and tensor in the text. The data always has all.

    Returns:
        The Inspection. Operators that are not covered are in it too, with what the file says and the reason.

    Raises:
        ModelError: the file is missing, malformed or invalid.
        InputError: there is no such operator.
        RuntimeNameError: there is no such runtime.
    """
    loaded = model if isinstance(model, Model) else load(model)
    chosen = [get_runtime(runtime) for runtime in (RUNTIMES if runtimes is None else runtimes)]
    shown = loaded.operators if op is None else (loaded.operator(op),)
    operators, dense, convolutions, constants = [], [], [], {}
    alike: dict[Hashable, dict[str, Any]] = {}
    for operator in shown:
        kind = likeness(loaded, operator)
        if kind is not None and kind in alike:
            operators.append(_operator(operator, alike[kind]))
            continue
        prepared = {runtime.name: _prepare(loaded, operator, runtime) for runtime in chosen}
        coverage = {name: _coverage(entry) for name, entry in prepared.items()}
        operators.append(_operator(operator, coverage))
        if kind is not None and all(map(_is_of_the_kind, coverage.values())):
            alike[kind] = coverage
        if op is not None:
            folded = {n: operator_constants(e) for n, e in prepared.items() if isinstance(e, PreparedOperator)}
            constants = {name: made for name, made in folded.items() if made is not None}
        if operator.name == "FULLY_CONNECTED":
            dense.append(_dense(loaded, operator, prepared))
        elif operator.name in _CONVOLUTIONS:
            convolutions.append(_convolution(loaded, operator, prepared))
    used = {index for entry in operators for index in (*entry["inputs"], *entry["outputs"])}
    tensors = [tensor for tensor in loaded.tensors if op is None or tensor.index in used]
    data = {
        "schema": SCHEMA,
        "model": _model(loaded),
        "operator": op,
        "runtimes": [runtime.name for runtime in chosen],
        "faults": [
            {"kind": fault.kind.value, "text": fault.text, "refused_by_litert": fault.kind in LITERT_REFUSES}
            for fault in loaded.faults
        ],
        "signatures": [_signature(signature) for signature in loaded.signatures],
        "specification": specification_data(loaded, op, chosen),
        "operators": operators,
        "tensors": [_tensor(loaded, tensor) for tensor in tensors],
        "dense": dense,
        "convolutions": convolutions,
        "constants": constants,
    }
    return Inspection(data, full)


def _prepare(model: Model, op: Operator, runtime: Runtime) -> PreparedOperator | Refused:
    """The prepared operator, or why it is not covered."""
    try:
        return prepare_operator(model, op, runtime)
    except UnsupportedError as error:
        return Refused(error.kind, "; ".join(error.reasons) or str(error))


def _is_of_the_kind(coverage: dict[str, Any]) -> bool:
    """Whether a coverage names no tensor of its operator, as reasons and notes may."""
    return not coverage["notes"] if coverage["covered"] else coverage["kind"] == Refusal.DENSE_ONLY.value


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "key": signature.key,
        "subgraph": signature.subgraph,
        "inputs": dict(signature.inputs),
        "outputs": dict(signature.outputs),
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "source": model.source,
        "description": model.description,
        # A layer given by multiplier and shift is no file; what stands for its content only tells it from others.
        "bytes": len(model.content) if model.subgraphs[0].scales_known else None,
        "sha256": hashlib.sha256(model.content).hexdigest() if len(model.content) <= _HASHED_UP_TO else None,
        "inputs": list(model.subgraphs[0].inputs),
        "outputs": list(model.subgraphs[0].outputs),
        "operators": len(model.operators),
        "dense": len(model.dense_operators),
        "convolutions": sum(op.name in _CONVOLUTIONS for op in model.operators),
        "tensors": len(model.tensors),
        "subgraphs": len(model.subgraphs),
    }


def _operator(op: Operator, coverage: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "index": op.index,
        "name": op.name,
        "version": op.version,
        "inputs": list(op.inputs),
        "outputs": list(op.outputs),
        "options": {key: list(value) if isinstance(value, tuple) else value for key, value in op.options.items()},
        "coverage": dict(coverage),
    }


def _coverage(entry: PreparedOperator | Refused) -> dict[str, Any]:
    if isinstance(entry, Refused):
        return {"covered": False, "kind": entry.kind.value, "reason": entry.reason}
    return {"covered": True, "rule": entry.rule, "kernel": entry.kernel, "notes": list(entry.notes)}


def _tensor(model: Model, tensor: Tensor) -> dict[str, Any]:
    graph = model.subgraphs[0]
    roles = {
        "input": tensor.index in graph.inputs,
        "output": tensor.index in graph.outputs,
        "variable": tensor.is_variable,
        "constant": tensor.data is not None,
    }
    return {
        "index": tensor.index,
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "shape_signature": list(tensor.shape_signature),
        "roles": [role for role, holds in roles.items() if holds],
        "quantization": _quantization(tensor),
    }


def _quantization(tensor: Tensor) -> dict[str, Any] | None:
    quant = tensor.quant
    if quant is None:
        return None
    data = {
        "granularity": quant.granularity,
        "axis": quant.axis,
        "scale": _exact(quant.scale) if quant.known else None,
        "zero_point": quant.zero_point.tolist(),
    }
    if quant.given is not None:
        data |= {"multiplier": quant.given.multiplier.tolist(), "shift": quant.given.shift.tolist()}
    return data


def _exact(values: npt.NDArray[np.floating[Any]]) -> dict[str, list[Any]]:
    """Real numbers, losing nothing: decimals that read back to the same float64, and hexadecimal text."""
    decimal = values.astype(np.float64).tolist()
    return {"decimal": decimal, "hex": [value.hex() for value in decimal]}


def _dense(model: Model, op: Operator, prepared: Mapping[str, PreparedOperator | Refused]) -> dict[str, Any]:
    """What the file says of one dense layer, covered or not, and what each runtime makes of it."""
    roles = ("input", "weights", "bias")
    operands = {role: model.operand(op, position) for position, role in enumerate(roles)}
    operands["output"] = model.tensors[op.outputs[0]] if op.outputs else None
    weights = operands["weights"]
    matrix = weights is not None and len(weights.shape) == 2
    entry: dict[str, Any] = {
        "operator": op.index,
        "units": weights.shape[0] if weights is not None and matrix else None,
        "depth": weights.shape[1] if weights is not None and matrix else None,
        "granularity": weights.quant.granularity if weights is not None and weights.quant is not None else None,
        "activation": op.options.get("fused_activation_function"),
        "keep_num_dims": op.options.get("keep_num_dims"),
        "operands": {
            role: None if tensor is None else {"tensor": tensor.index, **_tensor_type(tensor)}
            for role, tensor in operands.items()
        },
        "covered": False,
    }
    folded = [value for value in prepared.values() if isinstance(value, PreparedDense)]
    if folded:
        entry["covered"] = True
        entry["constants"] = _constants(folded[0])
    entry["runtimes"] = {
        name: {**_coverage(value), **(_arithmetic(value) if isinstance(value, PreparedDense) else {})}
        for name, value in prepared.items()
    }
    return entry


def _convolution(model: Model, op: Operator, prepared: Mapping[str, PreparedOperator | Refused]) -> dict[str, Any]:
    """What follows of a convolution's accumulators from the file, and how wide each runtime's are."""
    weights = model.operand(op, 1)
    entries = [entry for entry in prepared.values() if isinstance(entry, PreparedOperator)]
    seen = next((dense.layer for entry in entries if isinstance(dense := as_dense(entry), PreparedLayer)), None)
    windows = {
        name: dense
        for name, entry in prepared.items()
        if isinstance(entry, PreparedConvolution) and isinstance(dense := as_dense(entry), PreparedDense)
    }
    first = next(iter(windows.values()), None)
    return {
        "operator": op.index,
        "name": op.name,
        "channels": None if seen is None else seen.units,
        "taps": None if seen is None else seen.depth,
        "granularity": weights.quant.granularity if weights is not None and weights.quant is not None else None,
        "activation": op.options.get("fused_activation_function"),
        "constants": None if first is None else _constants(first),
        "runtimes": {name: {"acc_bits": dense.acc_bits} for name, dense in windows.items()},
    }


def _tensor_type(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "quantization": _quantization(tensor),
    }


def _constants(dense: PreparedDense) -> dict[str, Any]:
    """What follows from the file alone and is the same on every runtime; lists are `[out]`."""
    layer = dense.layer
    low, high = layer.reachable_acc()
    return {
        "bias": layer.bias_values.tolist(),
        "weights_sum": layer.weights_values.astype(np.int64).sum(axis=1).tolist(),
        "folded_bias": dense.folded_bias.tolist(),
        "acc_min": low.tolist(),
        "acc_max": high.tolist(),
        "acc_bits": max(_bits(int(low.min())), _bits(int(high.max()))),
        "overflows_int32": np.flatnonzero((low < INT32.min) | (high > INT32.max)).tolist(),
        "reaches_int64_end": np.flatnonzero((low == INT64.min) | (high == INT64.max)).tolist(),
    }


def _bits(value: int) -> int:
    """Bits of the two's complement register that holds a value.

    >>> [_bits(value) for value in (0, -1, 127, -128, 128)]
    [1, 1, 8, 8, 9]
    """
    return 1 + (value if value >= 0 else ~value).bit_length()


def _arithmetic(dense: PreparedDense) -> dict[str, Any]:
    """What one runtime's rule makes of the layer; lists are `[1]` (per-tensor) or `[out]`."""
    params = dense.requant
    fixed_point = has_multiplier(params.rule)
    q15 = multiplier_q15(params)
    return {
        "equation": dense.equation,
        "acc_bits": dense.acc_bits,
        "scale_product": params.rule.scales.product,
        "effective_scale": _exact(params.effective_scale),
        "multiplier": params.multiplier.tolist() if fixed_point else None,
        "multiplier_q15": None if q15 is None else q15.tolist(),
        "shift": params.shift.tolist() if fixed_point else None,
        "activation_min": params.activation_min,
        "activation_max": params.activation_max,
    }
