"""A user's function of a model without weights: it gets the inputs, and the scales and zero points that it asks for."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...model.errors import InputError
from ...model.graph import Model, Tensor
from .function import check_params
from .names import role_of, suggested, words_of

__all__ = ["with_numbers"]

_OUTPUT = {"y", "out", "output", "res", "result", "o"}
_INPUT = {"x", "in", "input"}
_ORDER = (("a", "first", "lhs", "left", "one"), ("b", "second", "rhs", "right", "two"))
"""Words that name the first and the second input."""


def with_numbers(model: Model, function: Callable[..., Any], params: Mapping[str, str] | None) -> Callable[..., Any]:
    """A function of the model's inputs alone from one that asks for scales and zero points too.

    The first of its parameters that name no scale and no zero point are the inputs, in order. The others go by a number
    (`s1`, `z2`; the one after the inputs' is the output's), by an input's parameter (`a`, `a_scale`) or by common words
    (`scale_out`). What is left goes together where it is one parameter and one number.

    Args:
        model: a model without weights.
        function: the function.
        params: what parameters mean where their names do not say it.

    Raises:
        InputError: the meaning of a parameter is not clear, or there are more or fewer inputs than in the model.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        asked = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise InputError(f"{name} tells no parameter names; wrap it: lambda x: ...") from None
    if len(asked) <= 1:
        return function
    numbers = _numbers(model)
    inputs = ["x"] if len(model.inputs) == 1 else [f"x{k}" for k in range(1, len(model.inputs) + 1)]
    said = dict(params or {})
    check_params(name, [p.name for p in asked], said, (*inputs, *numbers))
    known = said | _by_name([p.name for p in asked if p.name not in said], inputs, numbers, said)
    unknown = [p.name for p in asked if p.name not in known and p.default is p.empty]
    missing = [meaning for meaning in inputs if meaning not in known.values()]
    if unknown or missing:
        free = [meaning for meaning in (*inputs, *numbers) if meaning not in known.values()]
        example = ", ".join(f'"{p}": "{m}"' for p, m in suggested(unknown or [asked[0].name], free).items())
        needs = f"; the model has {len(inputs)} input{'s' * (len(inputs) > 1)}, {', '.join(inputs)}" if missing else ""
        what = ", ".join(map(repr, unknown)) or "no parameter for an input"
        raise InputError(
            f"{name} has {what}: what that means is not clear{needs}. Say it: params={{{example}}}, on the command "
            f"line --param NAME=MEANING. A parameter can be: {', '.join((*inputs, *numbers))}"
        )
    return _bound(function, known, inputs, numbers)


def _bound(
    function: Callable[..., Any], known: Mapping[str, str], inputs: Sequence[str], numbers: Mapping[str, Any]
) -> Callable[..., Any]:
    of_input = {meaning: parameter for parameter, meaning in known.items() if meaning in inputs}
    given = {parameter: numbers[meaning] for parameter, meaning in known.items() if meaning in numbers}

    @functools.wraps(function)
    def bound(*arrays: Any) -> Any:
        values = {of_input[meaning]: array for meaning, array in zip(inputs, arrays, strict=True)} | given
        order = inspect.signature(function).parameters.values()
        first = [values.pop(p.name) for p in order if p.kind is p.POSITIONAL_ONLY and p.name in values]
        return function(*first, **values)

    del bound.__wrapped__  # its parameters are the inputs alone
    return bound


def _numbers(model: Model) -> dict[str, Any]:
    """What a function can ask for beside the inputs: meaning -> value."""
    several = len(model.inputs) > 1
    tensors = [(f"_{k}" if several else "", "input", tensor) for k, tensor in enumerate(model.inputs, 1)]
    found: dict[str, Any] = {}
    for end, whose, tensor in (*tensors, ("", "output", model.outputs[0])):
        found |= {f"{whose}_{role}{end}": value for role, value in _of_tensor(tensor).items()}
    return found


def _of_tensor(tensor: Tensor) -> dict[str, Any]:
    if tensor.quant is None:
        return {}
    return {"scale": tensor.quant.scale[0], "zero_point": int(tensor.quant.zero_point[0])}


def _by_name(
    names: Sequence[str], inputs: Sequence[str], numbers: Mapping[str, Any], said: Mapping[str, str]
) -> dict[str, str]:
    """What parameters mean by their names; those that are not clear are left out."""
    left = [meaning for meaning in inputs if meaning not in said.values()]
    roles = {name: _role_and_words(name) for name in names}
    plain = [name for name, (role, _) in roles.items() if role is None]
    found = dict(zip(plain, left, strict=False)) if len(plain) >= len(left) else {}  # the inputs come first
    own = {word: int(m[1:] or 1) for name, m in found.items() for word in words_of(name)}
    for name, (role, words) in roles.items():
        number = None if role is None else _tensor_of(name, words, own, len(inputs))
        if number is None:
            continue
        whose = "output" if number > len(inputs) else "input"
        meaning = f"{whose}_{role}" + (f"_{number}" if whose == "input" and len(inputs) > 1 else "")
        if meaning in numbers and meaning not in (*found.values(), *said.values()):
            found[name] = meaning
    unknown = [name for name in names if name not in found]
    free = [meaning for meaning in (*inputs, *numbers) if meaning not in (*found.values(), *said.values())]
    return found | (dict(zip(unknown, free, strict=True)) if len(unknown) == len(free) == 1 else {})


def _role_and_words(name: str) -> tuple[str | None, list[str]]:
    """Scale or zero point, and the words of a name; `sx` and `zpy` are two words each."""
    glued = re.fullmatch(r"(s|z|zp)([a-z])", name)
    return (role_of(glued[1]), [glued[2]]) if glued else (role_of(name), words_of(name))


def _tensor_of(name: str, words: Sequence[str], own: Mapping[str, int], inputs: int) -> int | None:
    """Which tensor a scale's or zero point's name speaks of: 1 for the first input; the output follows the inputs."""
    digits = [int(c) for c in name if c.isdigit()]
    if digits:
        return digits[-1] if 1 <= digits[-1] <= inputs + 1 else None
    by_parameter = {own[word] for word in words if word in own}
    if len(by_parameter) == 1:
        return by_parameter.pop()
    if _OUTPUT & set(words):
        return inputs + 1
    if inputs == 1:
        return 1 if _INPUT & set(words) else None
    by_order = {k for k, known in enumerate(_ORDER, 1) if set(known) & set(words)}
    return by_order.pop() if len(by_order) == 1 else None
