"""A layer in every runtime's arithmetic, for the search: who runs it, and who calculates it in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import wrong_matrix
from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.gemv_or_gemm import for_rows
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.convolution import PreparedConvolution
from ...ops.products.window_layer import SEVERAL_RULES, WindowLayer
from ...runtimes import RUNTIMES, Runtime
from .kernels import forms_of
from .target import Arithmetic

__all__ = ["arithmetics", "grouped", "prepare_everywhere", "right_output", "that_follow"]

_ROWS_CHECKED = 8
"""Rows on which the right output is calculated both ways, before any mistake is sought."""

_REAL = (
    "it is calculated in float32; diagnose knows mistakes of quantized layers, and of dense layers and convolutions in "
    "float32. "
    "`lastbit run MODEL --runtime NAME` prints this runtime's own output to compare with"
)


def prepare_everywhere(
    model: Model, operator: Operator, asked: Runtime | None
) -> tuple[dict[str, PreparedDense], dict[str, str]]:
    """The layer in every runtime that runs it, and why the others do not; an older version if it is asked for."""
    layers: dict[str, PreparedDense] = {}
    refused: dict[str, str] = {}
    everywhere = RUNTIMES if asked is None else {**RUNTIMES, asked.name: asked}
    for name, runtime in everywhere.items():
        try:
            prepared = as_dense(prepare_operator(model, operator, runtime))
        except UnsupportedError as error:
            refused[name] = "; ".join(error.reasons) or str(error)
            continue
        if isinstance(prepared, PreparedDense):
            layers[name] = prepared
        else:
            several = isinstance(prepared, PreparedConvolution) and len(prepared.parts) > 1
            refused[name] = SEVERAL_RULES if several else _REAL
    wanted = list(refused) if asked is None else [asked.name]
    if not layers or (asked is not None and asked.name not in layers):
        reasons = grouped({name: refused[name] for name in wanted})
        raise UnsupportedError(f"{operator.label} cannot be diagnosed:", reasons)
    return layers, refused


def grouped(refused: Mapping[str, str]) -> list[str]:
    """Runtimes with the same reason in one line.

    >>> grouped({"a": "too wide", "b": "too deep", "c": "too wide"})
    ['a, c: too wide', 'b: too deep']
    """
    names: dict[str, list[str]] = {}
    for name, reason in refused.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(group)}: {reason}" for reason, group in names.items()]


def that_follow(layers: dict[str, PreparedDense], x: Array) -> dict[str, PreparedDense]:
    """Only the runtimes whose right output the pipeline of mistakes reproduces: it must start from what is right."""
    kept = {}
    layer = next(iter(layers.values())).layer
    x = layer.rows(x[:1] if isinstance(layer, WindowLayer) else x)[:_ROWS_CHECKED]
    for name, prepared in layers.items():
        if np.array_equal(wrong_matrix(Case.of(prepared, x), {}), right_output(prepared, x)):
            kept[name] = prepared
    return kept


def right_output(prepared: PreparedDense, x: Array) -> Array:
    """A runtime's own output, `[rows, out]`."""
    return prepared.evaluate([x])["output"].reshape(-1, prepared.layer.units)


def arithmetics(layers: dict[str, PreparedDense], first: str) -> list[Arithmetic]:
    """The runtimes by arithmetic, the first one's at the front."""
    groups: dict[tuple[Any, ...], dict[str, PreparedDense]] = {}
    for name in sorted(layers, key=lambda name: name != first):
        prepared = layers[name]
        rule, requant = prepared.requant.rule, prepared.requant
        forms = forms_of(prepared), forms_of(for_rows(prepared, 1))
        bounds = requant.activation_min, requant.activation_max
        layer = prepared.layer  # as the runtime reads it: some leave out the weights' zero point, or misread a bias
        read = layer.input_zero_point, layer.weights_zero_point, layer.bias_values.tobytes()
        sums = prepared.acc_bits, prepared.products
        key = *forms, rule.scales.product, *sums, *bounds, *read
        groups.setdefault(key, {})[name] = prepared
    return [Arithmetic(next(iter(members.values())), members) for members in groups.values()]
