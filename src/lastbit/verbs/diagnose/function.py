"""A user's own function as the thing to diagnose: it gets what it asks for by parameter name."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...arith.fixedpoint import quantize_multiplier
from ...model.errors import InputError
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer
from .calling import Answer, Shapes, answered, filled
from .names import PARAMETERS, meanings, nearest, numbered, other_readings

__all__ = ["PARAMETERS", "Answer", "Function", "dense_values", "takes_input_alone"]

_MOST_UNKNOWN = 3
"""Parameters of unknown meaning that are matched by trying."""

_ROWS_TRIED = 3

_NEVER_TRIED = frozenset(("minus_input_zero_point", "minus_weights_zero_point", "right_shift", "total_right_shift"))
"""What a parameter of unknown meaning is not taken for: numbers of others in another form."""

_NEAR, _FAR = 2.0, 6.0
"""Output steps: one meaning of a parameter is taken that comes within the first, where all others are off by more."""

_OF_ROUNDING = 0.6
"""Output steps that an output is off on average at most, if only its rounding is wrong."""

_UNANSWERED = np.array([np.inf])


@dataclass(frozen=True, eq=False)
class Function:
    """A user's function, bound to a layer's numbers.

    Attributes:
        name: its name.
        function: the function itself.
        arguments: everything it asks for but x, by its own names.
        x_name: the name of the parameter that x goes to.
        positional: how many parameters are positional-only.
        guessed: parameters whose meaning was found by trying -> that meaning.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    x_name: str
    positional: tuple[str, ...]
    guessed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def bind(
        cls,
        function: Callable[..., Any],
        values: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
        probe: tuple[Shapes, Array, Array] | None = None,
    ) -> Function:
        """Find out what a function asks for.

        Args:
            function: the function.
            values: what it can be given besides x, by the keys of PARAMETERS.
            params: what its parameters mean where their names do not say it: name -> a key of PARAMETERS.
            probe: for parameters of unknown meaning: the shapes that the function may take, inputs and the right
                output for them, to find out by trying. Without it they are refused.

        Raises:
            InputError: a required parameter has a name that nothing goes by, or none is for the input.
        """
        name = getattr(function, "__name__", type(function).__name__)
        asked = _parameters(function, name)
        known = _given(name, asked, values, params or {})
        required = [p.name for p in asked if p.default is p.empty and p.name not in known]
        if "x" not in known.values() and len(asked) == 1:  # params says that it is another thing
            known[asked[0].name] = "x"
            required = []
        not_named = [m for m in ("x", *values) if m not in known.values()]
        free = [meaning for meaning in not_named if meaning not in _NEVER_TRIED]
        positional = tuple(p.name for p in asked if p.kind is p.POSITIONAL_ONLY)
        made = [cls(name, function, {}, "", positional)._with(known, values)]
        if not required and probe is not None:
            made = [_read_otherwise(made[0], known, params or {}, values, probe)]
        guessed: dict[str, str] = {}
        if required and "x" in free and len(required) == 1:
            guessed = {required[0]: "x"}
            made = [made[0]._with(known | guessed, values)]
        elif required:
            made = _matching(made[0], known, required, free, values, probe)
            if len(made) != 1:
                raise InputError(_unknown_text(name, required, not_named, len(made)))
        if not made[0].x_name:
            raise InputError(f"{name} has no parameter for the input; wanted one of: {', '.join(PARAMETERS['x'])}")
        return replace(made[0], guessed=guessed or made[0].guessed)

    def _with(self, known: Mapping[str, str], values: Mapping[str, Any]) -> Function:
        """Bound to what its parameters mean."""
        x_name = next((name for name, meaning in known.items() if meaning == "x"), "")
        arguments = {name: values[meaning] for name, meaning in known.items() if meaning != "x"}
        return replace(self, x_name=x_name, arguments=arguments)

    def __call__(self, x: Array) -> Any:
        """Call it with one input; the arrays are copies, so it may change them."""
        given = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in self.arguments.items()
        }
        given[self.x_name] = x.copy()
        first = [given.pop(name) for name in self.positional if name in given]
        return self.function(*first, **given)

    @property
    def text(self) -> str:
        """Its name, and what was found out about its parameters."""
        said = ", ".join(f"{name} as {meaning}" for name, meaning in self.guessed.items())
        return f"{self.name} ({said})" if said else self.name


def takes_input_alone(function: Callable[..., Any]) -> bool:
    """Whether a function has one parameter, which can only be the input."""
    try:
        return len(_parameters(function, "")) == 1
    except InputError:
        return False


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise InputError(f"{name} tells no parameter names; wrap it: lambda x, weights: ...") from None
    return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _given(
    name: str, asked: Sequence[inspect.Parameter], values: Mapping[str, Any], params: Mapping[str, str]
) -> dict[str, str]:
    """What the parameters mean, by what was said and by their names."""
    names = [p.name for p in asked]
    if len(names) == 1 and not params:
        return {names[0]: "x"}  # whatever it is called
    for parameter, meaning in params.items():
        if parameter not in names:
            raise InputError(f"params says what {parameter!r} is, and {name} has the parameters {', '.join(names)}")
        if meaning != "x" and meaning not in values:
            raise InputError(f"params says {parameter!r} is {meaning!r}; wanted one of: x, {', '.join(values)}")
    free = [parameter for parameter in names if parameter not in params]
    known = {n: m for n, m in meanings(free).items() if m not in params.values()}
    by_name = dict(params) | known
    for wanted in asked:
        meaning = by_name.get(wanted.name, "x")
        if meaning == "x" or meaning in values:
            continue
        if wanted.default is wanted.empty:
            why = "; it is given by multiplier and shift" if "multiplier" in values else ""
            raise InputError(f"{name} wants {wanted.name!r}, and the layer has no {meaning}{why}")
        del by_name[wanted.name]
    return {parameter: by_name[parameter] for parameter in names if parameter in by_name}


def _matching(
    bare: Function,
    known: Mapping[str, str],
    required: Sequence[str],
    free: Sequence[str],
    values: Mapping[str, Any],
    probe: tuple[Shapes, Array, Array] | None,
) -> list[Function]:
    """The one meaning of the required parameters with which the output is near the right one; else all that run."""
    if probe is None:
        return []
    by_number = numbered(required)
    if set(by_number) == set(required) and set(by_number.values()) <= set(free):
        tries = [by_number]
    elif len(required) > _MOST_UNKNOWN or math.perm(len(free), len(required)) > 300:
        return []
    else:
        tries = [dict(zip(required, chosen, strict=True)) for chosen in itertools.permutations(free, len(required))]
    outputs = [(guessed, bare._with({**known, **guessed}, values)) for guessed in tries]
    tried = [(replace(function, guessed=guessed), _tried(function, probe)) for guessed, function in outputs]
    made = [(function, output) for function, (output, _) in tried if output is not None]
    distances = [float(np.median(off)) for _, (output, off) in tried if output is not None]
    nearest_first = [made[k] for k in np.argsort(distances, kind="stable")]
    far = [*sorted(distances), np.inf][1] if made else 0.0
    if made and min(distances) <= _NEAR and far >= _FAR:
        return [nearest_first[0][0]]
    if len(tries) == 1:
        return []  # names with a number are believed only where the output comes near
    if made and all(np.array_equal(output, made[0][1]) for _, output in made):
        return [made[0][0]]
    return [function for function, _ in made]


def _tried(function: Function, probe: tuple[Shapes, Array, Array]) -> tuple[Array | None, Array]:
    """What a function answers to the first inputs of a probe, None where it does not; how far each element is off."""
    shapes, rows, right = probe
    rows = filled(shapes, rows[:_ROWS_TRIED])
    right = np.resize(right[:_ROWS_TRIED], (len(rows), right[0].size)).reshape(-1)
    try:
        output = answered(function, shapes, rows, right.size)[0] if function.x_name else np.empty(0)
    except InputError:
        return None, _UNANSWERED
    if output.size != right.size:
        return None, _UNANSWERED
    return output.reshape(-1), np.abs(output.reshape(-1).astype(np.float64) - right)


def _read_otherwise(
    function: Function,
    known: Mapping[str, str],
    params: Mapping[str, str],
    values: Mapping[str, Any],
    probe: tuple[Shapes, Array, Array],
) -> Function:
    """With another reading of names that leave the meaning open, where it comes much nearer than the usual one."""
    readings = other_readings({name: meaning for name, meaning in known.items() if name not in params})
    usual = float(_tried(function, probe)[1].mean()) if readings else 0.0
    if usual <= _OF_ROUNDING:
        return function
    tries = [replace(function._with({**known, **reading}, values), guessed=reading) for reading in readings]
    distances = [float(_tried(made, probe)[1].mean()) for made in tries]
    best = int(np.argmin(distances))
    return tries[best] if distances[best] <= min(_NEAR, usual / 2) else function


def _unknown_text(name: str, required: Sequence[str], free: Sequence[str], fitting: int) -> str:
    by_number = {name: meaning for name, meaning in numbered(required).items() if meaning in free}
    said = {parameter: by_number.get(parameter) or nearest(parameter, free) for parameter in required}
    example = ", ".join(f'"{parameter}": "{meaning}"' for parameter, meaning in said.items())
    what = f"parameter{'s' * (len(required) > 1)} {', '.join(map(repr, required))}"
    several = f" {fitting} meanings of them run without an error." if fitting > 1 else ""
    return (
        f"{name} has the {what}, whose meaning the name does not tell.{several} Say it: params={{{example}}}, "
        "on the command line --param NAME=MEANING. "
        f"A parameter can be: {', '.join(free)}"
    )


def stored_values(layer: DenseLayer) -> Array:
    """The weights as the file has them."""
    assert layer.stored_weights.data is not None
    return layer.stored_weights.data


def dense_values(prepared: PreparedDense) -> dict[str, Any]:
    """What a function of a dense layer can be given, by the keys of PARAMETERS."""
    layer = prepared.layer
    bias = layer.bias_values
    given = layer.given
    factor = float(layer.input_scale) * layer.weights_scale.astype(np.float64) / float(layer.output_scale)
    multiplier, shift = quantize_multiplier(factor) if given is None else (given.multiplier, given.shift)
    scales = {
        "input_scale": layer.input_scale,
        "weights_scale": layer.weights_scale,
        "output_scale": layer.output_scale,
        "bias_scale": layer.input_scale * layer.weights_scale,
    }
    return {
        "weights": stored_values(layer),
        "bias": bias.astype(np.int32 if layer.bias is None else layer.bias.dtype.numpy),
        **(scales if given is None else {}),
        "input_zero_point": layer.input_zero_point,
        "minus_input_zero_point": -layer.input_zero_point,
        "weights_zero_point": layer.weights_zero_point,
        "minus_weights_zero_point": -layer.weights_zero_point,
        "output_zero_point": layer.output_zero_point,
        "effective_scale": factor,
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int32),
        "right_shift": -shift.astype(np.int32),
        "total_right_shift": 31 - shift.astype(np.int32),
        "activation_min": prepared.requant.activation_min,
        "activation_max": prepared.requant.activation_max,
    }
