"""The numbers that an operator's rule multiplies, shifts and clamps with, in one runtime: as data."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import numpy as np

from ...ops.base import PreparedOperator, RecipeOperator
from ...ops.products.batch_matmul import PreparedProduct
from ...ops.products.convolution import PreparedConvolution
from ...rules.operators.fold import Constants, factor_value, numbers_of, weighted_numbers
from ...rules.operators.forms import (
    Affine,
    Factor,
    Fixed16,
    FloatScaled,
    Rescaled,
    ScaledBack,
    Weighted,
)
from ...rules.operators.rule import Choice, Staged, StagedRule
from ...rules.operators.words import condition_text, equation
from ...rules.requantize.fold import has_multiplier
from ...rules.requantize.words import equation as requantize_equation

__all__ = ["operator_constants"]


def operator_constants(entry: PreparedOperator) -> dict[str, Any] | None:
    """What one runtime folds for an operator that is no dense layer; None where there is nothing to fold.

    Returns:
        With `kind`: `stages` (the parts of the rule, each with its conditions, stages and clamp), `convolution`
        (the parts of the channels, each with effective scale, multiplier, shift and clamp, and the folded bias) or
        `recipe` (the recipe's fields).
    """
    if isinstance(entry, PreparedConvolution):
        return _of_convolution(entry)
    if isinstance(entry, PreparedProduct):
        return _of_product(entry)
    if entry.staged is not None:
        calculator = entry.staged.calculator
        parts = [
            {
                "conditions": [{"condition": text, "met": met} for text, met in conditions],
                **_of_part(leaf, calculator.constants),
            }
            for conditions, leaf in _parts(calculator.rule, ())
        ]
        return {"kind": "stages", "parts": parts}
    return None if entry.recipe is None else _of_recipe(entry.recipe)


Conditions = tuple[tuple[str, bool], ...]


def _parts(rule: StagedRule, before: Conditions) -> list[tuple[Conditions, Staged]]:
    """The parts of a rule, each with the conditions that lead to it, in words, and whether each is met."""
    if isinstance(rule, Staged):
        return [(before, rule)]
    assert isinstance(rule, Choice)
    text = condition_text(rule.when)
    return [*_parts(rule.then, (*before, (text, True))), *_parts(rule.otherwise, (*before, (text, False)))]


def _of_part(rule: Staged, constants: Constants) -> dict[str, Any]:
    stages: list[dict[str, Any]] = []
    for stage in rule.stages:
        match stage:
            case Rescaled() | Fixed16() | ScaledBack():
                multiplier, shift = numbers_of(stage, constants)
                stages.append(
                    {**_factor(stage.step, stage.factor, constants), "multiplier": multiplier, "shift": shift}
                )
            case Weighted():
                one, two, shift = weighted_numbers(stage, constants)
                for factor, name, multiplier in zip(stage.factors, stage.of, (one, two), strict=True):
                    row = _factor(f"{stage.step} of {name}", factor, constants)
                    stages.append({**row, "multiplier": multiplier, "shift": -shift})
            case FloatScaled() | Affine():
                stages.append({**_factor(stage.step, stage.factor, constants), "multiplier": None, "shift": None})
            case _:
                pass
    return {
        "equation": equation(rule),
        "stages": stages,
        "clamp": None if constants.output is None else [constants.low, constants.high],
    }


def _factor(step: str, factor: Factor, constants: Constants) -> dict[str, Any]:
    value = float(factor_value(factor, constants))
    return {"step": step, "factor": value, "factor_hex": value.hex()}


def _of_convolution(entry: PreparedConvolution) -> dict[str, Any]:
    layer = entry.convolution
    assert layer.weights.data is not None
    axis = 3 if layer.operator.name == "DEPTHWISE_CONV_2D" else 0
    weights = np.moveaxis(layer.weights.data, axis, 0).reshape(layer.channels, -1).astype(np.int64)
    zx, zw = layer.input_zero_point, layer.weights_zero_point
    folded = layer.bias_values - zx * weights.sum(axis=1) + weights.shape[1] * zx * zw
    parts = []
    for part in entry.parts:
        params = part.params
        fixed = has_multiplier(params.rule)
        scale = params.effective_scale.astype(np.float64).tolist()
        parts.append(
            {
                "channels": [part.first, part.end],
                "outputs": part.outputs,
                "group": part.group,
                "rule": params.rule.name,
                "equation": requantize_equation(params.rule),
                "effective_scale": {"decimal": scale, "hex": [value.hex() for value in scale]},
                "multiplier": params.multiplier.tolist() if fixed else None,
                "shift": params.shift.tolist() if fixed else None,
                "clamp": [params.activation_min, params.activation_max],
            }
        )
    return {
        "kind": "convolution",
        "parts": parts,
        "bias": layer.bias_values.tolist(),
        "weights_sum": weights.sum(axis=1).tolist(),
        "folded_bias": folded.tolist(),
    }


def _of_product(entry: PreparedProduct) -> dict[str, Any]:
    """Of BATCH_MATMUL: one stage, from the accumulator to the output."""
    params = entry.requant
    fixed, scale = has_multiplier(params.rule), float(params.effective_scale[0])
    stage = {
        "step": "acc_scaled",
        "factor": scale,
        "factor_hex": scale.hex(),
        "multiplier": int(params.multiplier[0]) if fixed else None,
        "shift": int(params.shift[0]) if fixed else None,
    }
    clamp = [params.activation_min, params.activation_max]
    part = {"conditions": [], "equation": requantize_equation(params.rule), "stages": [stage], "clamp": clamp}
    return {"kind": "stages", "parts": [part]}


def _of_recipe(operator: RecipeOperator) -> dict[str, Any]:
    hidden = {field.name for field in fields(operator.recipe) if not field.compare}
    made = {key: _plain(value) for key, value in asdict(operator.recipe).items() if key not in hidden}
    beta = {} if operator.beta is None else {"beta": float(operator.beta)}
    return {"kind": "recipe", "recipe": type(operator.recipe).__name__, "fields": {**made, **beta}}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(" to ".join(pair) for pair in value)
    return list(value) if isinstance(value, tuple) else value
