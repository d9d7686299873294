"""A user's own function as the thing to diagnose: it gets what it asks for by parameter name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arith.fixedpoint import quantize_multiplier
from ...model.errors import InputError
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense

__all__ = ["PARAMETERS", "Answer", "Function", "call"]

# fmt: off
PARAMETERS: dict[str, tuple[str, ...]] = {
    "x": ("x", "input", "inputs", "input_data", "q_input", "x_q", "qx", "activations", "input_tensor", "x_int8"),
    "weights": (
        "w", "weights", "weight", "kernel", "filter", "filters", "w_q", "qw", "q_weights", "weight_tensor",
        "weights_tensor", "w_int8",
    ),
    "bias": ("b", "bias", "biases", "bias_q", "qb", "bias_tensor", "bias_int32"),
    "input_scale": (
        "s_x", "sx", "input_scale", "x_scale", "scale_x", "scale_in", "in_scale", "scale_input",
        "scale_inputs",
    ),
    "weights_scale": (
        "s_w", "sw", "weights_scale", "weight_scale", "weights_scales", "weight_scales", "w_scale",
        "w_scales", "scale_w", "scales_w", "scales", "filter_scale", "filter_scales", "kernel_scale",
        "kernel_scales", "scale_weight", "scale_weights",
    ),
    "output_scale": ("s_y", "sy", "output_scale", "y_scale", "scale_y", "scale_out", "out_scale", "scale_output"),
    "input_zero_point": (
        "z_x", "zx", "input_zero_point", "x_zero_point", "zero_point_x", "zp_x", "zp_in", "input_zp",
        "zp_input", "x_zp", "zero_point_in", "zero_point_input",
    ),
    "weights_zero_point": (
        "z_w", "zw", "weights_zero_point", "weight_zero_point", "w_zero_point", "zero_point_w", "zp_w",
        "weights_zp", "weight_zp", "filter_zero_point", "zp_weight", "zp_weights", "w_zp",
        "zero_point_weight", "zero_point_weights",
    ),
    "output_zero_point": (
        "z_y", "zy", "output_zero_point", "y_zero_point", "zero_point_y", "zp_y", "zp_out", "output_zp",
        "zp_output", "y_zp", "zero_point_out", "zero_point_output",
    ),
    "effective_scale": ("m", "effective_scale", "effective_scales", "factor", "real_multiplier", "rescale"),
    "multiplier": ("q", "multiplier", "multipliers", "quantized_multiplier", "m0"),
    "shift": ("shift", "shifts", "exponent", "n"),
    "activation_min": ("lo", "low", "activation_min", "output_min", "qmin", "y_min"),
    "activation_max": ("hi", "high", "activation_max", "output_max", "qmax", "y_max"),
}
# fmt: on
"""What a function can ask for -> the parameter names that it goes by.

x: the layer's input type, `[rows, depth]`; weights: `[out, depth]` as stored; bias: int32 `[out]`, zeros where the
layer has none; scales: float32, weights_scale `[1]` or `[out]`; zero points: Python int; effective_scale: float64
`[1]` or `[out]`, all in float64; multiplier and shift: int32 of the same shape, shift positive = left; activation
bounds: int.
"""

_BY_NAME = {alias: meaning for meaning, aliases in PARAMETERS.items() for alias in aliases}

Answer = tuple[Array, Array | None, Array | None]
"""Output, accumulator, scaled values; the last two None where the function does not give them."""


@dataclass(frozen=True, eq=False)
class Function:
    """A user's function, bound to a layer.

    Attributes:
        name: its name.
        function: the function itself.
        arguments: everything it asks for but x, by its own names.
        x_name: the name of the parameter that x goes to.
        positional: how many parameters are positional-only.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    x_name: str
    positional: tuple[str, ...]

    @classmethod
    def bind(cls, function: Callable[..., Any], prepared: PreparedDense) -> Function:
        """Find out what a function asks for.

        Raises:
            InputError: a required parameter has a name that nothing goes by, or none is for the input.
        """
        name = getattr(function, "__name__", type(function).__name__)
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            raise InputError(f"{name} tells no parameter names; wrap it: lambda x, weights: ...") from None
        values = _values(prepared)
        arguments: dict[str, Any] = {}
        positional: list[str] = []
        x_name = ""
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            meaning = _BY_NAME.get(parameter.name.lower())
            if meaning is None:
                if parameter.default is parameter.empty:
                    raise InputError(
                        f"{name} wants a parameter {parameter.name!r}; known names: "
                        + "; ".join(f"{key}: {', '.join(names)}" for key, names in PARAMETERS.items())
                    )
                continue
            if prepared.layer.given is not None and meaning.endswith("_scale") and meaning != "effective_scale":
                raise InputError(
                    f"{name} wants {parameter.name!r}, and the layer is given by multiplier and shift: it has no scales"
                )
            if meaning == "x":
                x_name = x_name or parameter.name
            else:
                arguments[parameter.name] = values[meaning]
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(parameter.name)
        if not x_name:
            raise InputError(f"{name} has no parameter for the input; wanted one of: {', '.join(PARAMETERS['x'])}")
        return cls(name, function, arguments, x_name, tuple(positional))

    def __call__(self, x: Array) -> Any:
        """Call it with one input; the arrays are copies, so it may change them."""
        given = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in self.arguments.items()
        }
        given[self.x_name] = x.copy()
        first = [given.pop(name) for name in self.positional]
        return self.function(*first, **given)


def _values(prepared: PreparedDense) -> dict[str, Any]:
    layer = prepared.layer
    bias = layer.bias_values
    factor = float(layer.input_scale) * layer.weights_scale.astype(np.float64) / float(layer.output_scale)
    given = layer.given
    multiplier, shift = quantize_multiplier(factor) if given is None else (given.multiplier, given.shift)
    return {
        "weights": layer.weights_values,
        "bias": bias.astype(np.int32 if layer.bias is None else layer.bias.dtype.numpy),
        "input_scale": layer.input_scale,
        "weights_scale": layer.weights_scale,
        "output_scale": layer.output_scale,
        "input_zero_point": layer.input_zero_point,
        "weights_zero_point": layer.weights_zero_point,
        "output_zero_point": layer.output_zero_point,
        "effective_scale": factor,
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
        "activation_min": prepared.requant.activation_min,
        "activation_max": prepared.requant.activation_max,
    }


def call(function: Function, rows: Array, units: int) -> Answer:
    """Call a function on a matrix of rows, or row by row if it takes no matrix.

    A mapping as its answer may have `output`, `acc` and `scaled`.

    Args:
        function: the function.
        rows: `[n, depth]`.
        units: how many outputs a row has.

    Raises:
        InputError: it raises, or gives something else than numbers.
    """
    with np.errstate(all="ignore"):
        try:
            answer = _answer(function, function(rows))
            if answer[0].size == len(rows) * units:
                return answer
        except InputError:
            raise
        except Exception as error:
            whole = error
        else:
            whole = InputError(f"its answer has shape {list(answer[0].shape)} for {len(rows)} rows of {units} units")
        try:
            one_by_one = [_answer(function, function(row)) for row in rows]
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{function.name} fails on an input matrix {rows.dtype}{list(rows.shape)} "
                f"({type(whole).__name__}: {whole}) and on a single row ({type(error).__name__}: {error})"
            ) from error
    if any(output.size != units for output, _, _ in one_by_one):
        if isinstance(whole, InputError):
            return answer  # the shape itself is diagnosed
        raise InputError(f"{function.name} fails on an input matrix: {type(whole).__name__}: {whole}") from whole
    outputs, accs, scaled = zip(*one_by_one, strict=True)
    return np.stack(outputs).reshape(-1, units), _all(accs, units), _all(scaled, units)


def _all(parts: tuple[Array | None, ...], units: int) -> Array | None:
    arrays = [part for part in parts if part is not None]
    return np.stack(arrays).reshape(-1, units) if len(arrays) == len(parts) else None


def _answer(function: Function, given: Any) -> Answer:
    if not isinstance(given, Mapping):
        return _numbers(function, given), None, None
    if "output" not in given:
        raise InputError(f"{function.name} gives a mapping with {', '.join(map(str, given))}; wanted a key 'output'")
    acc, scaled = (None if given.get(key) is None else _numbers(function, given[key]) for key in ("acc", "scaled"))
    return _numbers(function, given["output"]), acc, scaled


def _numbers(function: Function, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{function.name} gives {array.dtype} values ({type(value).__name__}); wanted an array of numbers"
        )
    return array
