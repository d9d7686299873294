"""One output element of a float32 layer or of an operator that is no dense layer: its parts, stages and runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arith.exact import ExactStep
from ...layers.moved_from import moved_from
from ...layers.operator_input import operator_inputs, random_inputs_of
from ...layers.window_products import real_products, window_products
from ...layers.worked_element import conditions_met, element_input, exact_element
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator, Tensor
from ...model.types import Array
from ...ops import OPERATORS
from ...ops.base import PreparedOperator
from ...ops.dense.float32 import PreparedFloat
from ...ops.prepare import prepare_operator
from ...ops.products.convolution import PreparedConvolution
from ...ops.products.float_convolution import PreparedFloatConvolution
from ...report.blocks import Block, Report
from ...report.phrases import others_text
from ...runtimes import RUNTIMES, Runtime
from . import operator_text
from .element import float_data, fraction_data
from .operator_numbers import OperatorElement, OperatorNumbers, OperatorRuntime
from .position import At, element_position
from .screen import screen_blocks
from .screen_kinds import operator_in_short

__all__ = ["OperatorExplanation", "explain_operator"]


@dataclass(frozen=True, eq=False, repr=False)
class OperatorExplanation(OperatorNumbers, Report):
    """One output element of an operator, explained. `print(explanation)`, `explanation.json()`, `explanation.latex()`.

    Attributes: see `OperatorNumbers`.
    """

    def in_short(self) -> list[str]:
        """The element's value, and which runtimes print another one."""
        head = (
            f"{self.prepared.operator.label}, element {list(self.element.index)}, on {self.runtime.name}: {self.output}"
        )
        others = [o.name for o in self.others if o.output is not None and repr(o.output) != repr(self.output)]
        return [head, others_text(others), self.model.source]

    def blocks(self) -> list[Block]:
        """Six sections, from the operator to what other runtimes print."""
        return operator_text.blocks(self)

    def first_screen(self) -> list[Block]:
        """The value, its numbers in short, and which runtimes print another one."""
        return screen_blocks(operator_in_short(self, operator_text.followed(self)))

    def latex(self) -> str:
        """The stages as one `align*`; it needs `amsmath` and nothing else."""
        return operator_text.latex(self)

    def as_dict(self) -> dict[str, Any]:
        """Every number exactly, schema lastbit.explain.operator/1."""
        op, element = self.prepared.operator, self.element
        products = element.products
        return {
            "schema": "lastbit.explain.operator/1",
            "model": self.model.source,
            "operator": {"index": op.index, "name": op.name},
            "runtime": self.runtime.name,
            "kernel": str(self.prepared.kernel),
            "rule": self.prepared.rule,
            "equation": OPERATORS[op.name].rules[self.prepared.rule],
            "notes": list(self.prepared.notes),
            "input_source": self.input_source,
            "element": {"index": list(element.index), "choice": self.choice},
            "quantization": {role: _quantization(tensor) for role, tensor in self.tensors},
            "inputs": [{"tensor": tensor, "value": value} for tensor, value in element.inputs],
            "members": list(element.members),
            "moved_from": None
            if element.moved is None
            else {"tensor": self.prepared.inputs[element.moved[0]], "index": list(element.moved[1])},
            "accumulation": None
            if products is None
            else {
                "input": list(products.x),
                "weights": list(products.weights),
                "padding": products.padding,
                "bias": products.bias,
                "acc": products.acc,
            },
            "real_products": None
            if element.real is None
            else {
                "input": list(element.real.x),
                "weights": list(element.real.weights),
                "padding": element.real.padding,
                "bias": element.real.bias,
                "exact_sum": None if element.real.exact is None else fraction_data(element.real.exact),
            },
            "conditions": [{"condition": text, "met": met} for text, met in element.conditions],
            "steps": [_step_data(step) for step in element.steps],
            "trace": [{"name": name, "value": value} for name, value in element.trace],
            "output": element.output,
            "runtimes": [_runtime_data(other) for other in self.others],
            "output_size": self.size,
            "elements_differing_between_runtimes": self.differing,
        }


def _quantization(tensor: Tensor) -> dict[str, Any]:
    assert tensor.quant is not None
    return {
        "scale": float_data(float(tensor.quant.scale[0])),
        "zero_point": int(tensor.quant.zero_point[0]),
        "scales": int(tensor.quant.scale.size),
    }


def _step_data(step: ExactStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "formula": step.formula,
        "numbers": step.numbers,
        "effect": step.effect,
        "operation": step.operation,
        "exact": fraction_data(step.exact),
        "value": fraction_data(step.value),
        "cut_off": fraction_data(step.cut_off),
    }


def _runtime_data(other: OperatorRuntime) -> dict[str, Any]:
    return {
        "runtime": other.name,
        "rule": other.rule,
        "kernel": other.kernel,
        "refused": other.refused,
        "output": other.output,
        "mismatched_elements": other.mismatched,
        "first_difference": other.first_difference or None,
    }


def explain_operator(
    model: Model, op: Operator, runtime: Runtime, x: Any = None, *, seed: int | None = None, at: At | None = None
) -> OperatorExplanation:
    """Explain one output element of an operator that is no dense layer.

    Args:
        model: the model.
        op: one of its operators.
        runtime: the runtime.
        x: the model's inputs, or the operator's own; see `verb.explain`.
        seed: without x, of random values (default 0).
        at: the element: an index of the output's shape, or one number counted through it.

    Raises:
        InputError: x does not fit, or there is no such element.
        UnsupportedError: the runtime refuses the operator, or LastBit does not cover it.
    """
    entry = prepare_operator(model, op, runtime)
    if entry.writes == ():
        raise InputError(f"{op.label}: it computes no values, so there is nothing to explain")
    if x is None or not entry.inputs:
        values, source = random_inputs_of(model, entry, 0 if seed is None else seed)
    else:
        values, source = operator_inputs(model, entry, x, runtime)
    trace = entry.evaluate(values)
    ours = np.asarray(trace["output"])
    if not ours.size:
        raise InputError(f"{op.label}: the output {list(ours.shape)} has no elements, so there is nothing to explain")
    prepared, outputs, refused = _elsewhere(model, op, runtime, values)
    differs = np.zeros(ours.shape, np.bool_)
    for output in outputs.values():
        differs |= _different(output, ours)
    if at is None:
        index, choice = _instructive(differs, trace)
    else:
        index, choice = element_position(op.label, at, ours.shape), "as asked"
    element = _element(entry, values, trace, index)
    others = [OperatorRuntime(runtime.name, entry.rule, str(entry.kernel), element.output)]
    for name in RUNTIMES:
        if name in refused:
            others.append(OperatorRuntime(name, refused=refused[name]))
        elif name in prepared:
            others.append(_other(element, prepared[name], name, outputs[name], ours, values))
    return OperatorExplanation(
        model, entry, runtime, source, choice, element, tuple(others), int(ours.size), int(differs.sum())
    )


def _elsewhere(
    model: Model, op: Operator, runtime: Runtime, values: Sequence[Array]
) -> tuple[dict[str, PreparedOperator], dict[str, Array], dict[str, str]]:
    """The operator in every other runtime: prepared, its outputs, and why the rest refuses it."""
    prepared, outputs, refused = {}, {}, {}
    for name, other in RUNTIMES.items():
        if name == runtime.name or (other.dense_only and op.name != "FULLY_CONNECTED"):
            continue
        try:
            entry = prepare_operator(model, op, other)
        except UnsupportedError as error:
            refused[name] = "; ".join(error.reasons)
            continue
        prepared[name], outputs[name] = entry, np.asarray(entry.evaluate(values)["output"])
    return prepared, outputs, refused


def _different(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Where two outputs differ, bit by bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.ones(b.shape, np.bool_)
    if a.dtype.kind == "f":
        bits = np.dtype(f"u{a.dtype.itemsize}")
        different = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
        return np.asarray(different).reshape(b.shape)  # an array without axes gets one above
    return np.asarray(a != b)


def _instructive(differs: npt.NDArray[np.bool_], trace: dict[str, Array]) -> tuple[tuple[int, ...], str]:
    """An element that shows something: not clamped and, if there is one, one on which runtimes differ."""
    output = np.asarray(trace["output"])
    free = np.ones(differs.shape, np.bool_)
    if "with_zero_point" in trace:
        free = np.asarray(trace["with_zero_point"] == output)
    elif output.dtype.kind in "iu":
        ends = np.iinfo(output.dtype)
        free = (output > ends.min) & (output < ends.max)
    for candidates, why in (
        (differs & free, "the first one on which runtimes differ and that is not clamped"),
        (differs, "the first one on which runtimes differ"),
        (
            free & (output != 0),
            "the first one that is not clamped; runtimes agree on the whole output",
        ),
    ):
        if candidates.any():
            return tuple(int(i) for i in np.argwhere(candidates)[0]), why
    return (0,) * differs.ndim, "the first one; runtimes agree on the whole output"


def _element(
    entry: PreparedOperator, values: Sequence[Array], trace: dict[str, Array], index: tuple[int, ...]
) -> OperatorElement:
    steps = exact_element(entry, values, index) or []
    output = np.asarray(trace["output"])
    inputs: tuple[tuple[int, int | float], ...] = ()
    members: tuple[int, ...] = ()
    conditions: tuple[tuple[str, bool], ...] = ()
    products = window_products(entry, values, index) if isinstance(entry, PreparedConvolution) else None
    real = real_products(entry, values, index) if isinstance(entry, PreparedFloatConvolution | PreparedFloat) else None
    if entry.staged is not None:
        made = element_input(entry.staged, values, index)
        members, conditions = made.members, conditions_met(entry.staged, values, index)
        numbers = entry.inputs if len(made.values) == len(entry.inputs) else entry.operator.inputs
        inputs = tuple(zip(numbers, made.values, strict=False))
    elif entry.recipe is not None and values:
        inputs = ((entry.inputs[0], int(values[0][index])),)
        members = tuple(values[0][index[:-1]].tolist()) if entry.recipe.beta is not None else ()
    elif products is None and real is None:
        inputs = _broadcast_values(entry, values, index, output.shape)
    added_up = products is not None or real is not None
    moved = None if steps or added_up else moved_from(entry, values, index)
    shown = []
    for name, value in trace.items():
        here = _at(np.asarray(value), index, output.shape)
        if here is not None:
            shown.append((name, here))
    return OperatorElement(
        index, inputs, members, products, real, conditions, moved, tuple(steps), tuple(shown), output[index].item()
    )


def _broadcast_values(
    entry: PreparedOperator, values: Sequence[Array], index: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, int | float], ...]:
    pairs = ((number, _at(value, index, shape)) for number, value in zip(entry.inputs, values, strict=True))
    return tuple((number, value) for number, value in pairs if value is not None)


def _at(value: Array, index: tuple[int, ...], shape: tuple[int, ...]) -> int | float | None:
    """The element that meets this place of the output by broadcasting, or None where none does."""
    try:
        found = np.broadcast_to(value, shape)[index].item()
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, int | float) else None


def _other(
    element: OperatorElement,
    entry: PreparedOperator,
    name: str,
    output: Array,
    ours: Array,
    values: Sequence[Array],
) -> OperatorRuntime:
    """One runtime beside the explained one; where they differ on the element, with the first step that does."""
    printed = output[element.index].item() if output.shape == ours.shape else None
    mismatched = int(_different(output, ours).sum())
    first = ""
    if repr(printed) != repr(element.output) and element.steps:
        first = _first_difference(element.steps, exact_element(entry, values, element.index) or [])
    return OperatorRuntime(name, entry.rule, str(entry.kernel), printed, mismatched, first)


# Values in steps of the output, which mean the same in every rule.
_IN_OUTPUT_STEPS = ("acc_scaled", "with_zero_point", "output")


def _first_difference(here: Sequence[ExactStep], there: Sequence[ExactStep]) -> str:
    """The first step that means the same in both and whose values differ, with both numbers."""
    named = {step.name: step for step in there}
    for step in here:
        other = named.get(step.name)
        if other is None or other.value == step.value:
            continue
        if step.formula == other.formula or step.name in _IN_OUTPUT_STEPS:
            return f"{step.name}: {_rounding(step)} here, {_rounding(other)} there"
    return ""


def _rounding(step: ExactStep) -> str:
    """A value, and what it was before it was rounded."""
    exact = f" (exact {_number(step.exact)}, {step.effect})" if step.effect else ""
    return _number(step.value) + exact


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else repr(float(value))
