"""One output element of a hybrid dense layer, step by step: row range, scale, quantized inputs, sums, output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...layers.differences import same_bits
from ...layers.layer_input import layer_input
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array, hex_float
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.dense.layer import DenseLayer
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...ops.products.window_layer import WindowLayer
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.phrases import others_text
from ...rules.hybrid.words import equation
from ...runtimes import RUNTIMES, Runtime
from .element import float_data
from .hybrid_numbers import HybridNumbers, HybridRuntime
from .hybrid_steps import hybrid_steps
from .position import At, output_position
from .screen import screen_blocks
from .screen_kinds import hybrid_in_short

__all__ = ["HybridExplanation", "HybridRuntime", "explain_hybrid"]

_SHOWN = 16  # products that are all shown; of more, half of them at each end

# The steps of a trace in the order in which two runtimes are compared with each other, with what they are called.
_STEP_NAMES = {
    "range_low": "the {}'s smallest value",
    "range_high": "the {}'s largest value",
    "input_scale": "the {}'s scale",
    "input_zero_point": "the {}'s zero point",
    "quantized_input": "the quantized inputs",
    "dot": "the sum of products",
    "acc": "the accumulator",
    "scaled": "the scaled accumulator",
    "with_bias": "the sum with the bias",
    "output": "the activation",
}


@dataclass(frozen=True, eq=False, repr=False)
class HybridExplanation(HybridNumbers, Report):
    """One output element of a hybrid layer, explained. `print(explanation)`, `explanation.json()`.

    Attributes: see `HybridNumbers`.
    """

    def in_short(self) -> list[str]:
        """The element's value, and which runtimes print another one."""
        others = [o.runtime for o in self.others if o.output is not None and repr(o.output) != repr(self.output)]
        return [self.answer, others_text(others), self.source]

    def blocks(self) -> list[Block]:
        """Five sections."""
        return [*self._head(), *self._inputs(), *self._sums(), *self._float_steps(), *self._runtimes()]

    def first_screen(self) -> list[Block]:
        """The value, its numbers in short, and which runtimes print another one."""
        return screen_blocks(hybrid_in_short(self))

    def latex(self) -> str:
        """The float32 steps as one `align*`; it needs `amsmath`."""
        lines = [
            rf"  \mathrm{{{step.name.replace('_', ' ')}}} &= {step.value!r} && \text{{{_latex(step.formula)}}}"
            for step in self.steps
        ]
        rule = _latex(f"{self.runtime.name}, rule {self.prepared.rule}, {self.place}")
        return (
            f"% LastBit, needs \\usepackage{{amsmath}}\n\\begin{{align*}}\n  & \\text{{{rule}}} \\\\\n"
            + " \\\\\n".join(lines)
            + "\n\\end{align*}\n"
        )

    def as_dict(self) -> dict[str, Any]:
        """Every number exactly: integers, floats as decimal and hex."""
        layer = self.prepared.layer
        return {
            "schema": "lastbit.explain.hybrid/1",
            "model": self.source,
            "operator": {"index": layer.operator.index, "name": layer.operator.name},
            "runtime": self.runtime.name,
            "kernel": self.prepared.kernel,
            "rule": self.prepared.rule,
            "equation": equation(self.prepared.arithmetic),
            "granularity": layer.granularity,
            "activation": layer.activation,
            "notes": list(self.prepared.notes),
            "input_source": self.input_source,
            "element": {"row": self.row, "unit": self.unit, "units": layer.units, "place": self.place},
            "input": {
                "values": [_float(v) for v in self.x],
                "zero_point": int(self.trace["input_zero_point"]),
                "inverse": _float(self.trace["input_inverse"]),
                "scaled": [_float(v) for v in self.trace["scaled_input"]],
                "quantized": [int(v) for v in self.trace["quantized_input"]],
            },
            "accumulation": {
                "depth": layer.depth,
                "weights": [int(v) for v in layer.weights_values[self.unit]],
                "weights_used": [int(v) for v in self.prepared.weights_used[self.unit]],
                "products": self.products,
                "dot": int(self.trace["dot"]),
                "weights_sum": int(self.prepared.weights_sum[self.unit]),
                "acc": int(self.trace["acc"]),
            },
            "steps": [{**asdict(step), "value": _float(step.value)} for step in self.steps],
            "output": _float(self.output),
            "runtimes": [
                {**asdict(other), "output": None if other.output is None else _float(other.output)}
                for other in self.others
            ],
        }

    def _head(self) -> list[Block]:
        layer, prepared = self.prepared.layer, self.prepared
        return [
            Heading(f"1. {layer.operator.label}, {self.place}, {self.runtime.name}"),
            Code(
                f"model       {self.source}\n"
                f"weights     {layer.weights.dtype.name} [{layer.units}, {layer.depth}] ([out, in]), "
                f"{layer.weights.label}\n"
                f"runtime     {self.runtime.name}, kernel {prepared.kernel}, rule {prepared.rule}\n"
                f"granularity {layer.granularity}, activation {layer.activation}\n"
                f"input       {self.input_source}"
            ),
            Text(equation(prepared.arithmetic)),
            *(Text(note, "warning") for note in prepared.notes),
        ]

    def _inputs(self) -> list[Block]:
        zero_point = int(self.trace["input_zero_point"])
        depth, products = self.prepared.layer.depth, self.products
        shown = range(depth) if depth <= _SHOWN else [*range(_SHOWN // 2), *range(depth - _SHOWN // 2, depth)]
        used = self.prepared.weights_used[self.unit]
        q, scaled = self.trace["quantized_input"], self.trace["scaled_input"]
        rows: list[Sequence[object]] = [
            (self.tap(k), float(self.x[k]), float(scaled[k]), int(q[k]), int(used[k]), products[k]) for k in shown
        ]
        if len(rows) < depth:
            rest = sum(products) - sum(products[k] for k in shown)
            rows.append((f"{depth - len(rows)} more", "", "", "", "", rest))
        rows.append((f"all {depth}", "", "", "", "", sum(products)))
        windows = isinstance(self.prepared.layer, WindowLayer)
        headers = ("i, j, c" if windows else "k", "x", "x * inverse", "q", "w", "q * w")
        of = f" of the {self.prepared.quantized_together}; padding is the zero point" if windows else ""
        inverse = float(self.trace["input_inverse"])
        return [
            Heading(
                f"2. The {'window' if windows else 'row'}'s quantized inputs: q = round(x * inverse) + "
                f"{_paren(zero_point)}"
            ),
            Code(
                f"range       {float(self.trace['range_low'])!r} to {float(self.trace['range_high'])!r} "
                f"(0 included){of}\n"
                f"inverse     {inverse!r}  ({hex_float(inverse)})\n"
                f"zero point  {zero_point}"
            ),
            Table(headers, rows, right=headers),
        ]

    def _sums(self) -> list[Block]:
        zero_point = int(self.trace["input_zero_point"])
        total = int(self.prepared.weights_sum[self.unit])
        lines = [f"dot = sum(q * w) = {int(self.trace['dot'])}"]
        if self.prepared.nibbles:
            lines[0] = f"dot = sum(q * (w + 7)) = {int(self.trace['dot'])}"
            lines.append(f"acc = dot - 7 * sum(q) = {int(self.trace['acc'])} (the kernel takes it off in float32)")
        else:
            lines.append(
                f"acc = dot - zero point * sum(w) = {int(self.trace['dot'])} - {_paren(zero_point)} * {_paren(total)} "
                f"= {int(self.trace['acc'])}"
            )
        return [Heading("3. The accumulator"), Code("\n".join(lines))]

    def _float_steps(self) -> list[Block]:
        parts = []
        for step in self.steps:
            parts.append(f"{step.name} = {step.formula}\n    {step.numbers}")
            if step.exact:
                parts.append(f"    exact     {step.exact}")
            parts.append(f"    float32   {step.value!r}  ({hex_float(step.value)})")
        return [Heading("4. In float32, rounding by rounding"), Code("\n".join(parts))]

    def _runtimes(self) -> list[Block]:
        rows = []
        for other in self.others:
            if other.output is None:
                rows.append((other.runtime, "-", "does not run it", other.refused))
                continue
            text = f"{other.mismatched} elements differ" if other.mismatched else "equal"
            if other.first_difference:
                text += f"; here first in {other.first_difference}"
            rows.append((other.runtime, repr(other.output), other.rule, text))
        headers = ("runtime", "output", "rule", "whole output")
        return [Heading("5. What every runtime prints for this element"), Table(headers, rows, right=("output",))]


def explain_hybrid(
    model: Model,
    operator: Operator,
    prepared: PreparedHybrid,
    runtime: Runtime,
    x: Any = None,
    *,
    seed: int | None = None,
    at: At | None = None,
) -> HybridExplanation:
    """Explain one output element of a hybrid layer.

    Args:
        model: the model.
        operator: the layer's operator.
        prepared: the layer, prepared for the runtime.
        runtime: the runtime.
        x: the model's or the layer's input, as `lastbit.explain` takes it.
        seed: without x, of normally distributed values at the layer's own input (default 0).
        at: as `lastbit.explain` takes it; default: the first element on which runtimes differ, or (0, 0).

    Raises:
        InputError: there is no such element, or x does not fit.
    """
    layer = prepared.layer
    if x is None:
        values, input_source = _normal_input(layer, 0 if seed is None else seed)
    else:
        values, input_source = layer_input(model, layer, x, runtime)
    matrix = layer.rows(values)
    layers, refused = _in_every_runtime(model, operator, runtime.name)
    layers = {runtime.name: prepared, **layers}
    traces = {name: entry.evaluate([values]) for name, entry in layers.items()}
    outputs = {name: trace["output"].reshape(-1, layer.units) for name, trace in traces.items()}
    ours = outputs[runtime.name]
    differs = np.any([~same_bits(ours, output) for output in outputs.values()], axis=0)
    if at is None:
        row, unit = (int(i) for i in (np.argwhere(differs)[0] if differs.any() else (0, 0)))
    else:
        row, unit = output_position(operator.label, at, traces[runtime.name]["output"].shape)
    elements = {name: _element(trace, layer, row, unit) for name, trace in traces.items()}
    element = elements[runtime.name]
    others = [
        HybridRuntime(name, refused=refused[name])
        if name in refused
        else HybridRuntime(
            name,
            layers[name].rule,
            float(outputs[name][row, unit]),
            int((~same_bits(ours, outputs[name])).sum()),
            _first_difference(element, elements[name], prepared.quantized_together),
        )
        for name in dict.fromkeys((runtime.name, *RUNTIMES))
        if name in refused or name in layers
    ]
    steps = hybrid_steps(prepared, element, unit, bool(matrix.any()))
    return HybridExplanation(
        prepared,
        runtime,
        model.source,
        input_source,
        row,
        unit,
        len(matrix),
        matrix[row][layer.group_of(unit)],
        element,
        tuple(steps),
        tuple(others),
    )


def _in_every_runtime(model: Model, operator: Operator, but: str) -> tuple[dict[str, PreparedHybrid], dict[str, str]]:
    """The layer in every runtime except one, and why the others refuse it."""
    layers, refused = {}, {}
    for name in RUNTIMES:
        if name == but:
            continue
        try:
            other = as_dense(prepare_operator(model, operator, name))
        except UnsupportedError as error:
            refused[name] = "; ".join(error.reasons)
            continue
        if isinstance(other, PreparedHybrid):
            layers[name] = other
    return layers, refused


def _normal_input(layer: DenseLayer, seed: int) -> tuple[Array, str]:
    if seed < 0:
        raise InputError(f"found seed {seed}; wanted 0 or more")
    shape = tuple(max(size, 1) for size in layer.input.shape)
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return values, f"random normal float32 (seed {seed}), put in at the layer's own input, {layer.input.label}"


def _element(trace: Mapping[str, Array], layer: DenseLayer, row: int, unit: int) -> dict[str, Any]:
    """A trace's values for one element: scalars, and the row's inputs scaled and quantized."""
    found: dict[str, Any] = {}
    for name, value in trace.items():
        if name in ("scaled_input", "quantized_input"):
            found[name] = value[row][layer.group_of(unit)]
        elif value.ndim == 1 and name != "output":
            found[name] = value[row]
        else:
            found[name] = value.reshape(-1, layer.units)[row, unit]
    return found


def _first_difference(here: Mapping[str, Any], there: Mapping[str, Any], whole: str) -> str:
    """The first step that is not the same, with its numbers; empty where all are."""
    for name, words in _STEP_NAMES.items():
        text = words.format(whole)
        # The scaled accumulator is not there where one fused multiply-add takes it to the sum with the bias.
        if name not in here or name not in there:
            continue
        a, b = np.asarray(here[name]), np.asarray(there[name])
        if not same_bits(a, b).all():
            return text if a.ndim else f"{text}: {a.item()!r} here, {b.item()!r} there"
    return ""


def _float(value: float) -> dict[str, str]:
    """A float for JSON, infinities and NaN too."""
    if np.isfinite(value):
        return float_data(float(value))
    return {"decimal": str(float(value)), "hex": str(float(value))}


def _paren(value: int) -> str:
    return f"({value})" if value < 0 else str(value)


def _latex(text: str) -> str:
    return "".join({"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#"}.get(c, c) for c in text)
