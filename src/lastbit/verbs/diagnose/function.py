"""A user's own function as the thing to diagnose: it gets what it asks for by parameter name."""

from __future__ import annotations

import difflib
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
from .names import PARAMETERS, could_mean, meanings, numbered, other_readings, suggested

__all__ = ["PARAMETERS", "Answer", "Function", "dense_values", "takes_input_alone"]

_MOST_TRIED = 400
"""Meanings of parameters that are tried."""

_ROWS_TRIED = 3

_NEVER_TRIED = frozenset(("minus_input_zero_point", "minus_weights_zero_point", "right_shift", "total_right_shift"))
"""Meanings that are not tried for a parameter: each is another meaning's number in another form."""

_NEAR, _FAR = 2.0, 6.0
"""Output steps: one meaning of a parameter is taken that comes within the first, where all others are off by more."""

_OF_ROUNDING = 0.6
"""Output steps that an output is off on average at most, if only its rounding is wrong."""

_UNANSWERED = np.array([np.inf])

_STEPS = 50
"""Of real values: steps in the outputs' standard deviation."""


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
        known, absent = _given(name, asked, values, params or {})
        required = [p.name for p in asked if p.default is p.empty and p.name not in known]
        if "x" not in known.values() and len(asked) == 1:  # params says that it is another thing
            known[asked[0].name] = "x"
            required = []
        not_named = [m for m in ("x", *values) if m not in known.values()]
        free = _guessable(not_named, values, probe)
        positional = tuple(p.name for p in asked if p.kind is p.POSITIONAL_ONLY)
        bare = cls(name, function, {}, "", positional)
        made = [bare._with(known, values)]
        if len(required) == 1 and "x" in could_mean(required[0], free):
            made = [replace(bare._with({**known, required[0]: "x"}, values), guessed={required[0]: "x"})]
        elif required:
            made = _Matching(bare, known, required, free, values, probe).found() if probe is not None else []
        elif probe is not None:
            made = [_read_otherwise(made[0], known, params or {}, values, probe)]
        if len(made) != 1 or (absent and not set(absent) <= set(made[0].guessed)):
            unsaid = [parameter for parameter in required if parameter not in absent]
            reasons = [_absent_text(name, absent, values)] if absent else []
            reasons += [_unknown_text(name, unsaid, not_named, len(made))] if unsaid else []
            raise InputError("\n".join(reasons))
        if not made[0].x_name:
            raise InputError(f"{name} has no parameter for the input; wanted one of: {', '.join(PARAMETERS['x'])}")
        return made[0]

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
    """Whether a function has one parameter, which can only be the input; `*args` may be several."""
    try:
        parameters = _parameters(function, "")
    except InputError:
        return False
    return len(parameters) == 1 and parameters[0].name in _names(function)


def _names(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters, `*args` and `**kwargs` left out."""
    found = inspect.signature(function).parameters.values()
    return [p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise InputError(f"{name} tells no parameter names; wrap it: lambda x, weights: ...") from None
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if named:
        return named
    # `*args` alone, as a decorator or np.vectorize gives it: the first of them can only be the input.
    return [p.replace(kind=p.POSITIONAL_ONLY) for p in parameters if p.kind is p.VAR_POSITIONAL]


def _given(
    name: str, asked: Sequence[inspect.Parameter], values: Mapping[str, Any], params: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What the parameters mean, by what was said and by their names; and what the layer does not have of that."""
    names = [p.name for p in asked]
    if len(names) == 1 and not params:
        return {names[0]: "x"}, {}  # whatever it is called
    check_params(name, names, params, ("x", *values))
    free = [parameter for parameter in names if parameter not in params]
    by_name = dict(params) | {n: m for n, m in meanings(free).items() if m not in params.values()}
    has = {parameter: by_name[parameter] for parameter in names if by_name.get(parameter, "") in ("x", *values)}
    required = {p.name for p in asked if p.default is p.empty}
    return has, {n: by_name[n] for n in names if n in by_name and n not in has and n in required}


def check_params(name: str, parameters: Sequence[str], params: Mapping[str, str], known: Sequence[str]) -> None:
    """Check what a user says of a function's parameters.

    Raises:
        InputError: the function has no such parameter, or there is no such meaning.
    """
    for parameter, meaning in params.items():
        if parameter not in parameters:
            more = _did_you_mean(parameter, parameters)
            raise InputError(
                f"params says what {parameter!r} is, and {name} has the parameters {', '.join(parameters)}{more}"
            )
        if meaning not in known:
            more = _did_you_mean(meaning, known)
            raise InputError(f"params says {parameter!r} is {meaning!r}; wanted one of: {', '.join(known)}{more}")


def _did_you_mean(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, 1)
    return f". Did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True, eq=False)
class _Matching:
    """The meaning of parameters whose names do not tell it, found by trying.

    Attributes:
        bare: the function, not bound to anything.
        known: what its other parameters mean.
        required: the parameters in question.
        free: what they may mean.
        values: what each meaning stands for.
        probe: the shapes that the function may take, inputs and the right output for them.
    """

    bare: Function
    known: Mapping[str, str]
    required: Sequence[str]
    free: Sequence[str]
    values: Mapping[str, Any]
    probe: tuple[Shapes, Array, Array]

    def found(self) -> list[Function]:
        """The one meaning of them all with which the output is near the right one; else all that run."""
        by_number = numbered(self.required)
        if set(by_number) == set(self.required) and set(by_number.values()) <= set(self.free):
            made, near = self._run([by_number])
            return near[:1]  # names with a number are believed only where the output comes near
        # The input comes first mostly.
        first = {self.required[0]: "x"} if "x" in could_mean(self.required[0], self.free) else {}
        for fixed in ([first] if first else []) + [{}]:
            tries = self._tries(fixed)
            made, near = self._run(tries)
            if near:
                return near[:1]
            if made and not fixed and len(tries) > 1 and _same([output for _, output in made]):
                return [made[0][0]]
        return [function for function, _ in made]

    def _tries(self, fixed: Mapping[str, str]) -> list[dict[str, str]]:
        """Everything that they may mean, no two the same; nothing where that is too much."""
        meanings_of = [
            [fixed[name]] if name in fixed else could_mean(name, [m for m in self.free if m not in fixed.values()])
            for name in self.required
        ]
        if math.prod(map(len, meanings_of)) > _MOST_TRIED:
            return []
        return [
            dict(zip(self.required, chosen, strict=True))
            for chosen in itertools.product(*meanings_of)
            if len(set(chosen)) == len(chosen)
        ]

    def _run(self, tries: Sequence[Mapping[str, str]]) -> tuple[list[tuple[Function, Array]], list[Function]]:
        """The functions that run with what they print, and those that are near the right output as no others are."""
        made: list[tuple[Function, Array]] = []
        away: list[float] = []
        for guessed in tries:
            function = replace(self.bare._with({**self.known, **guessed}, self.values), guessed=guessed)
            output, off = _tried(function, self.probe)
            if output is not None:
                made.append((function, output))
                away.append(float(np.median(off)))
        near = [entry for entry, distance in zip(made, away, strict=True) if distance <= _NEAR]
        apart = all(distance <= _NEAR or not distance < _FAR for distance in away)
        return made, [function for function, _ in near] if apart and _same([output for _, output in near]) else []


def _guessable(free: Sequence[str], values: Mapping[str, Any], probe: tuple[Shapes, Array, Array] | None) -> list[str]:
    """What may be found out by trying: where values are real, a bound or a zero point of 0 changes nothing."""
    real = probe is not None and probe[2].dtype.kind == "f"
    return [m for m in free if m not in _NEVER_TRIED and (not real or m == "x" or isinstance(values[m], np.ndarray))]


def _same(outputs: Sequence[Array]) -> bool:
    return all(np.array_equal(output, outputs[0]) for output in outputs)


def _tried(function: Function, probe: tuple[Shapes, Array, Array]) -> tuple[Array | None, Array]:
    """What a function answers to the first inputs of a probe, None where it does not; how many steps each is off."""
    shapes, rows, right = probe
    rows = filled(shapes, rows[:_ROWS_TRIED])
    right = np.resize(right[:_ROWS_TRIED], (len(rows), right[0].size)).reshape(-1)
    try:
        output = answered(function, shapes, rows, right.size)[0] if function.x_name else np.empty(0)
    except InputError:
        return None, _UNANSWERED
    if output.size != right.size:
        return None, _UNANSWERED
    step = (float(right.std()) / _STEPS or 1.0) if right.dtype.kind == "f" else 1.0
    return output.reshape(-1), np.abs(output.reshape(-1).astype(np.float64) - right) / step


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
    said = suggested(required, free)
    example = ", ".join(f'"{parameter}": "{meaning}"' for parameter, meaning in said.items())
    what = f"parameter{'s' * (len(required) > 1)} {', '.join(map(repr, required))}"
    several = f" {fitting} meanings of them run without an error." if fitting > 1 else ""
    return (
        f"{name} has the {what}, whose meaning the name does not tell.{several} Say it: params={{{example}}}, "
        "on the command line --param NAME=MEANING. "
        f"A parameter can be: {', '.join(free)}"
    )


def _absent_text(name: str, absent: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """That a function asks for what the layer does not have, and why it has not."""
    parameter, meaning = next(iter(absent.items()))
    if "multiplier" in values:
        why = "; it is given by multiplier and shift"
    elif meaning in ("input_scale", "input_zero_point", "minus_input_zero_point"):
        why = ": its input is float32, so calculate it from x in the function"
    else:
        why = ": its output is float32"
    return (
        f"{name} wants {parameter!r}, and the layer has no {meaning}{why}. If {parameter!r} is another thing, say "
        f'which: params={{"{parameter}": MEANING}}, on the command line --param {parameter}=MEANING. '
        f"A parameter can be: x, {', '.join(values)}"
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
