"""The verb `explain`: one output element of a dense layer, with the real numbers of every step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arith.exact import ExactStep
from ...layers.layer_input import dense_operator, layer_input, random_input
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.base import refuse
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.float32 import PreparedFloat
from ...ops.dense.gemv_or_gemm import for_rows
from ...ops.dense.hybrid import PreparedHybrid
from ...ops.prepare import prepare_operator
from ...ops.products.as_dense import as_dense
from ...report.blocks import Block, Report
from ...report.phrases import others_text
from ...runtimes import DEFAULT_RUNTIME, RUNTIMES, Runtime, get_runtime
from ..run.verb import load
from . import latex, text
from .deciding_step import OtherRuntime, RequantSide, find_cause
from .element import Element, float_data, fraction_data, make_element
from .hybrid import HybridExplanation, explain_hybrid
from .operator import OperatorExplanation, explain_operator
from .position import At, output_position
from .screen import screen_blocks
from .screen_kinds import dense_in_short

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Report):
    """One output element, explained. `print(explanation)`, `explanation.latex()`, `explanation.json()`.

    Attributes:
        element: the element's numbers.
        source: the model's path.
        input_source: where the layer's input came from.
        choice: how the element was chosen.
        others: every runtime of LastBit, the explained one included.
        differing: how many elements of the whole output are not the same in all runtimes that run the layer.
        size: how many elements the output has.
    """

    element: Element
    source: str
    input_source: str
    choice: str
    others: tuple[OtherRuntime, ...]
    differing: int
    size: int

    @property
    def output(self) -> int:
        """The element's value, quantized."""
        return self.element.output

    def in_short(self) -> list[str]:
        """The element's value, and which runtimes print another one."""
        head = f"{self.element.label}, on {self.element.runtime.name}: {self.output}"
        others = [other.name for other in self.others if other.output not in (None, self.output)]
        return [head, others_text(others), self.source]

    def blocks(self) -> list[Block]:
        """Eight sections, from the layer to what other runtimes print."""
        head = text.Head(self.source, self.input_source, self.choice)
        return text.explanation_blocks(self.element, head, self.others, self.differing, self.size)

    def first_screen(self) -> list[Block]:
        """The value, its numbers in short, and which runtimes print another one."""
        origin = f"Input: {self.input_source}. Element: {self.choice}."
        return screen_blocks(dense_in_short(self.element, self.source, origin, self.others, self.differing, self.size))

    def latex(self) -> str:
        """The derivation as one `align*` with the numbers put in; it needs `amsmath` and nothing else."""
        return latex.derivation(self.element, self.source)

    def as_dict(self) -> dict[str, Any]:
        """Every number exactly: integers, floats as decimal and hex, fractions as numerator, denominator."""
        element, layer = self.element, self.element.layer
        quant = layer.weights.quant
        assert quant is not None
        channel = element.channel
        names = ("input", "weights", "output")
        zero_points = (layer.input_zero_point, layer.weights_zero_point, layer.output_zero_point)
        return {
            "schema": "lastbit.explain/1",
            "model": self.source,
            "operator": {"index": layer.operator.index, "name": layer.operator.name},
            "runtime": element.runtime.name,
            "kernel": element.prepared.kernel,
            "rule": element.prepared.rule,
            "equation": element.prepared.equation,
            "granularity": layer.granularity,
            "activation": layer.activation,
            "notes": list(element.prepared.notes),
            "input_source": self.input_source,
            "element": {
                "row": element.row,
                "unit": element.unit,
                "rows": element.rows,
                "units": layer.units,
                "choice": self.choice,
            },
            "quantization": {
                name: {"scale": None if element.given else float_data(scale), "zero_point": zero_point}
                for name, scale, zero_point in zip(names, element.scales, zero_points, strict=True)
            },
            "weights_zero_point_stored": int(quant.zero_point[channel]),
            "accumulation": _accumulation_data(element),
            "multiplier": _multiplier_data(element),
            "steps": [_step_data(step) for step in element.steps],
            "activation_min": element.prepared.requant.activation_min,
            "activation_max": element.prepared.requant.activation_max,
            "clamped": element.clamped,
            "output": element.output,
            "output_real": None if element.given else fraction_data(element.real_output),
            "runtimes": [_other_data(other) for other in self.others],
            "output_size": self.size,
            "elements_differing_between_runtimes": self.differing,
        }


def explain(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any = None,
    *,
    seed: int | None = None,
    op: int | None = None,
    at: At | None = None,
    runtime: str | Runtime = DEFAULT_RUNTIME,
) -> Explanation | HybridExplanation | OperatorExplanation:
    """Explain one output element of an operator: every step's numbers, and who prints another value.

    Args:
        model: a Model, a path or a file's bytes.
        x: the model's input (an array; for several inputs a sequence, or a mapping from tensor index or name)
            if the operators before the layer are covered on the runtime; else the layer's own input. Dtypes
            are the tensors' own, the first dimension may be any batch size. A mapping from the layer's own
            input tensor alone is used there.
        seed: without x, random values over the input type's whole range at the layer's own input, from this
            seed (default 0).
        op: the operator's index; default: the first dense layer, or in a model without any the first operator.
        at: the element: of a dense layer (row, unit); an index of the output's own shape, or one number counted through
            the whole output; default: an element that is not clamped and, if there is one, on which runtimes differ.
        runtime: the exact runtime, or its name.

    Returns:
        The Explanation: a Report, with `latex()` for a derivation to print. A HybridExplanation for a hybrid layer, an
        OperatorExplanation for a float32 layer and any operator that is no dense layer.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: there is no such operator or element, x does not fit, or both x and seed are given.
        UnsupportedError: the runtime refuses the operator, or LastBit does not cover it.
    """
    loaded = load(model)
    chosen = get_runtime(runtime)
    if x is not None and seed is not None:
        raise InputError("found both an input and a seed; give one of them: a seed makes a random input")
    if op is not None or not loaded.dense_operators:
        asked = _operator(loaded, op)
        windows = as_dense(prepare_operator(loaded, asked, chosen))
        if isinstance(windows, PreparedHybrid):
            return explain_hybrid(loaded, asked, windows, chosen, x, seed=seed, at=at)
        if asked.name != "FULLY_CONNECTED":
            return explain_operator(loaded, asked, chosen, x, seed=seed, at=at)
    operator = dense_operator(loaded, op)
    hybrid = prepare_operator(loaded, operator, chosen)
    if isinstance(hybrid, PreparedHybrid):
        return explain_hybrid(loaded, operator, hybrid, chosen, x, seed=seed, at=at)
    if isinstance(hybrid, PreparedFloat):
        return explain_operator(loaded, operator, chosen, x, seed=seed, at=at)
    layers = {chosen.name: _prepare_dense(loaded, operator, chosen)}
    layer = layers[chosen.name].layer
    refused = {}
    for name, other in RUNTIMES.items():
        if name != chosen.name:
            try:
                layers[name] = _prepare_dense(loaded, operator, other)
            except UnsupportedError as error:
                refused[name] = "; ".join(error.reasons)
    if x is None:
        values, input_source = random_input(layer, 0 if seed is None else seed)
    else:
        values, input_source = layer_input(loaded, layer, x, chosen)
    matrix = layer.rows(values)
    layers = {name: for_rows(prepared, matrix.shape[0]) for name, prepared in layers.items()}
    traces = {name: prepared.evaluate([values]) for name, prepared in layers.items()}
    outputs = {name: trace["output"].reshape(-1, layer.units) for name, trace in traces.items()}
    ours = outputs[chosen.name]
    differs = np.any([output != ours for output in outputs.values()], axis=0)
    if at is None:
        row, unit, choice = _instructive(differs, traces[chosen.name])
    else:
        row, unit = output_position(operator.label, at, traces[chosen.name]["output"].shape)
        choice = "as asked"
    element = make_element(chosen, layers[chosen.name], matrix, traces[chosen.name], row, unit)
    others = []
    for name in dict.fromkeys((chosen.name, *RUNTIMES)):
        if name in refused:
            others.append(OtherRuntime(name, refused=refused[name]))
            continue
        mismatched = int((outputs[name] != ours).sum())
        printed, acc = int(outputs[name][row, unit]), int(traces[name]["acc"][row, unit])
        others.append(_other(element, name, layers[name], printed, acc, mismatched))
    return Explanation(element, loaded.source, input_source, choice, tuple(others), int(differs.sum()), int(ours.size))


def _operator(model: Model, index: int | None) -> Operator:
    """The operator with this index; without one, the first."""
    if index is None and not model.operators:
        raise InputError(f"{model.source}: the model has no operators, so there is nothing to explain")
    return model.operator(0 if index is None else index)


def _prepare_dense(model: Model, operator: Operator, runtime: Runtime) -> PreparedDense:
    prepared = prepare_operator(model, operator, runtime)
    if not isinstance(prepared, PreparedDense):
        raise refuse(operator, "explain covers layers that print integers; this one prints real numbers")
    return prepared


def _instructive(differs: npt.NDArray[np.bool_], trace: Mapping[str, Array]) -> tuple[int, int, str]:
    """An element that shows something: not clamped and, if there is one, one on which runtimes differ."""
    free = trace["with_zero_point"] == trace["output"].reshape(differs.shape)
    if "limited" in trace:
        free &= trace["limited"] == trace["product"]
    for candidates, why in (
        (differs & free, "the first one on which runtimes differ and that is not clamped"),
        (differs, "the first one on which runtimes differ"),
        (free & (trace["acc"] != 0), "the first one that is not clamped; runtimes agree on the whole output"),
    ):
        if candidates.any():
            row, unit = np.argwhere(candidates)[0]
            return int(row), int(unit), why
    return 0, 0, "the first one; all are clamped or zero, and runtimes agree on the whole output"


def _other(
    element: Element, name: str, prepared: PreparedDense, output: int, acc: int, mismatched: int
) -> OtherRuntime:
    """One runtime beside the explained one; where they differ on the element, with the cause."""
    if output == element.output:
        return OtherRuntime(name, prepared.rule, prepared.kernel, output, mismatched)
    if acc != element.acc:
        return OtherRuntime(
            name, prepared.rule, prepared.kernel, output, mismatched, acc=acc, acc_cause=_acc_cause(element, prepared)
        )
    here, there = (
        RequantSide.of(p.requant, element.unit, _taken_scale(p, element.unit)) for p in (element.prepared, prepared)
    )
    cause = find_cause(element.acc, element.scales, here, there)
    if (int(cause.here[-1]), int(cause.there[-1])) != (element.output, output):
        raise RuntimeError(
            f"{element.label}: {name} prints {output} in the engine and {int(cause.there[-1])} "
            "in exact arithmetic. This is a fault in LastBit, not in your model: "
            "please report it, with the model."
        )
    return OtherRuntime(name, prepared.rule, prepared.kernel, output, mismatched, cause, there)


def _taken_scale(prepared: PreparedDense, unit: int) -> Fraction:
    """The weights scale that a kernel takes for a unit: that of the file, except with a few faults."""
    scales = prepared.layer.weights_scale
    return Fraction(float(scales[unit if scales.size > 1 else 0]))


def _acc_cause(element: Element, prepared: PreparedDense) -> str:
    """Why a kernel's accumulator is another than that of the element's."""
    here, there = element.layer.weights_zero_point, prepared.layer.weights_zero_point
    if here != there:
        return f"the weights' zero point, which is taken to be {here} here, and {there} there"
    sides = {"here": element, "there": replace(element, prepared=prepared)}
    lossy = [_pairs_cause(side, where) for where, side in sides.items() if side.overflowing]
    if lossy and element.prepared.products != prepared.products:
        return ", and ".join(lossy)
    return (
        f"the accumulator's width. The sum {element.total} is kept in {element.prepared.acc_bits} bits here, and in "
        f"{prepared.acc_bits} bits there"
    )


def _pairs_cause(side: Element, where: str) -> str:
    """What becomes of products that a kernel adds in 16 bits."""
    words, count = side.pairs_words, len(side.overflowing)
    return (
        f"{words.products} are added in 16 bits {where}, and {count} such "
        f"{f'sum {words.overflows}' if count == 1 else f'sums {words.overflow}'}, which changes acc by {side.lost:+}"
    )


def _accumulation_data(element: Element) -> dict[str, Any]:
    """The sum of products, and every part of it."""
    return {
        "depth": element.layer.depth,
        "input": list(element.x),
        "weights": list(element.w),
        "products": list(element.products),
        "products_sum": sum(element.products),
        "input_dot_weights": element.dot,
        "input_sum": sum(element.x),
        "weights_sum": sum(element.w),
        "bias": element.bias,
        "folded_bias": element.folded_bias,
        "total": element.total,
        "acc": element.acc,
        "wrapped": element.acc != element.total + element.lost,
        "acc_bits": element.prepared.acc_bits,
        element.pairs_words.count_step: [asdict(pair) for pair in element.overflowing],
        element.pairs_words.lost_step: element.lost,
    }


def _multiplier_data(element: Element) -> dict[str, Any]:
    """What the accumulator is multiplied with; what is made of the scales is None where there are none."""
    pair = element.multiplier_and_shift
    made = pair is not None and not element.given
    return {
        "exact_scale": None if element.given else fraction_data(element.exact_scale),
        "effective_scale": float_data(float(element.step("effective_scale").value)),
        "fraction": fraction_data(element.frexp[0]) if made else None,
        "exponent": element.frexp[1] if made else None,
        "multiplier": None if pair is None else pair[0],
        "shift": None if pair is None else pair[1],
        "real_factor": fraction_data(element.real_factor),
        "relative_error": None if element.given else fraction_data(element.real_factor / element.exact_scale - 1),
    }


def _step_data(step: ExactStep) -> dict[str, Any]:
    return {
        **{key: value for key, value in asdict(step).items() if isinstance(value, str)},
        "exact": fraction_data(step.exact),
        "value": fraction_data(step.value),
        "cut_off": fraction_data(step.cut_off),
    }


def _other_data(other: OtherRuntime) -> dict[str, Any]:
    data: dict[str, Any] = {
        "runtime": other.name,
        "rule": other.rule,
        "kernel": other.kernel,
        "refused": other.refused,
        "output": other.output,
        "mismatched_elements": other.mismatched,
        "acc": other.acc,
        "first_difference": None,
    }
    if other.cause is not None:
        here, there = other.cause.numbers
        data["first_difference"] = {
            "step": other.cause.step,
            "here": fraction_data(here),
            "there": fraction_data(there),
            "tie": other.cause.tie,
        }
    return data
