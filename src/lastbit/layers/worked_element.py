"""One output element of any operator, worked out line by line; what `verify` shows of the first bad one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ..arith.exact import ExactStep, low_bits, make_step
from ..model.types import Array, fraction_of
from ..ops.base import PreparedOperator, RecipeOperator, StagedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.products.batch_matmul import PreparedProduct
from ..ops.products.convolution import PreparedConvolution
from ..rules.operators.exact import ElementInput, exact_steps
from ..rules.operators.exact_curves import exact_curve
from ..rules.operators.exact_softmax import exact_softmax
from ..rules.operators.recipes import SoftmaxRecipe
from ..rules.operators.rule import Choice, Condition, NotNegative
from ..rules.operators.words import condition_text
from ..rules.requantize.exact import exact_requantize
from .differences import ends_of, worked_element
from .window_products import window_products

__all__ = ["conditions_met", "element_input", "exact_element", "worked_operator_element"]


def worked_operator_element(
    prepared: PreparedOperator, values: Sequence[Array], index: tuple[int, ...], output: int = 0
) -> list[str]:
    """Every step of the calculation of one output element, a line each.

    What has a slow twin is worked in exact numbers by it, with what each rounding cut off; of other operators every
    named step is shown at this place.

    Args:
        prepared: the operator.
        values: its inputs.
        index: the element's place in the output.
        output: which output.
    """
    if isinstance(prepared, PreparedDense):
        return worked_element(prepared, values[0], index)
    head = f"element {list(index)}, rule {prepared.rule}"
    exact = exact_element(prepared, values, index)
    if exact is not None:
        if isinstance(prepared, PreparedConvolution):
            head += f": acc = {int(prepared.evaluate(values)['acc'][index])}"
        return [head, *map(_line, exact)]
    steps = prepared.evaluate(values)
    name = f"output_{output}" if output else "output"
    shape = steps[name].shape
    lines = [head]
    for value, tensor in zip(values, prepared.inputs, strict=True):
        here = _at(value, index, shape)
        lines.append(f"{f'tensor {tensor}':16} {'-' if here is None else here}")
    for step, value in steps.items():
        here = _at(np.asarray(value), index, shape)
        if here is not None and not (step.startswith("output") and step != name):
            lines.append(f"{step:16} {here}")
    return lines


def exact_element(
    prepared: PreparedOperator, values: Sequence[Array], index: tuple[int, ...]
) -> list[ExactStep] | None:
    """One output element by the slow twin: its steps, the last is `output`; None for an operator that has no twin.

    Args:
        prepared: the operator; not a dense layer.
        values: its inputs.
        index: the element's place in the output.
    """
    if isinstance(prepared, PreparedConvolution):
        return _of_convolution(prepared, values, index)
    if isinstance(prepared, PreparedProduct):
        return _of_product(prepared, values, index)
    if prepared.staged is not None:
        return exact_steps(
            prepared.staged.calculator.rule,
            prepared.staged.calculator.constants,
            element_input(prepared.staged, values, index),
        )
    if prepared.recipe is not None and values:
        return _by_recipe(prepared.recipe, values[0], index)
    return None


def element_input(staged: StagedOperator, values: Sequence[Array], index: tuple[int, ...]) -> ElementInput:
    """What one output element of an operator is made of."""
    given, met = staged.given(values), staged.holds(values)
    members: tuple[int, ...] = ()
    inputs: tuple[int | float, ...] = ()
    if staged.members is not None:
        members = tuple(staged.members(values, index).tolist())
    else:
        inputs = tuple(value[index].item() for value in given.values())

    def holds(when: Condition) -> bool:
        found = met(when)
        return (
            found if isinstance(found, bool) else bool(found[index] if found.ndim == len(index) else found[index[-1]])
        )

    return ElementInput(inputs, members, holds)


def conditions_met(
    staged: StagedOperator, values: Sequence[Array], index: tuple[int, ...]
) -> tuple[tuple[str, bool], ...]:
    """The conditions that decide which rule one output element follows, in words, and whether each is met there."""
    element = element_input(staged, values, index)
    found, rule = [], staged.calculator.rule
    while isinstance(rule, Choice):
        if isinstance(rule.when, NotNegative):
            steps = exact_steps(rule.then, staged.calculator.constants, element)
            met = next(step.value for step in steps if step.name == rule.when.of) >= 0
        else:
            met = element.holds(rule.when)
        found.append((condition_text(rule.when), bool(met)))
        rule = rule.then if met else rule.otherwise
    return tuple(found)


def _by_recipe(operator: RecipeOperator, x: Array, index: tuple[int, ...]) -> list[ExactStep]:
    recipe, constants = operator.recipe, operator.constants
    if isinstance(recipe, SoftmaxRecipe):
        return exact_softmax(recipe, constants, Fraction(float(operator.beta or 0)), x[index[:-1]].tolist(), index[-1])
    return exact_curve(recipe, constants, int(x[index]))


def _of_convolution(prepared: PreparedConvolution, values: Sequence[Array], index: tuple[int, ...]) -> list[ExactStep]:
    layer, channel = prepared.convolution, index[-1]
    assert layer.input.quant is not None
    assert layer.weights.quant is not None
    assert layer.output.quant is not None
    params = prepared.part_at(index).params
    scales, products = layer.weights.quant.scale, window_products(prepared, values, index)
    return exact_requantize(
        params.rule,
        products.acc,
        input_scale=fraction_of(layer.input.quant.scale[0]),
        weights_scale=fraction_of(scales[channel if scales.size > 1 else 0]),
        output_scale=fraction_of(layer.output.quant.scale[0]),
        ends=ends_of(params),
    )


def _of_product(prepared: PreparedProduct, values: Sequence[Array], index: tuple[int, ...]) -> list[ExactStep]:
    row, column = prepared.vectors(values, index)
    total, params = sum(a * b for a, b in zip(row, column, strict=True)), prepared.requant
    acc = low_bits(total, params.rule.sums.bits)
    numbers = " + ".join(f"{a} * ({b})" for a, b in list(zip(row, column, strict=True))[:4])
    numbers += f" + ... ({len(row)} products)" if len(row) > 4 else ""
    one, two, to = prepared.scales
    return [
        make_step("acc", "sum of (x_1 - z_1)(x_2 - z_2)", numbers, acc, total, f"wrap{params.rule.sums.bits}"),
        *exact_requantize(
            params.rule,
            acc,
            input_scale=fraction_of(one.scale),
            weights_scale=fraction_of(two.scale),
            output_scale=fraction_of(to.scale),
            ends=ends_of(params),
        ),
    ]


def _line(step: ExactStep) -> str:
    value = step.value.numerator if step.value.denominator == 1 else repr(float(step.value))
    lost = f"   ({step.effect}; cut off {float(step.cut_off):.6g})" if step.effect else ""
    return f"{step.name:16} {step.formula} = {step.numbers} = {value}{lost}"


def _at(value: Array, index: tuple[int, ...], shape: tuple[int, ...]) -> object:
    """The element of an array that meets this place of the output by broadcasting, or None where none does."""
    try:
        return np.broadcast_to(value, shape)[index].item()
    except (ValueError, IndexError):
        return None
