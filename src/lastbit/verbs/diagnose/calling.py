"""Calling a user's function on the shape that it takes, and what it answers."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError
from ...model.types import Array

__all__ = ["Answer", "Shapes", "answered", "call", "filled", "located", "numbers_in", "unsteady_text", "ways"]

Answer = tuple[Array, Array | None, Array | None]
"""Output, accumulator, scaled values; the last two None where the function does not give them."""

Shapes = Sequence[tuple[int, ...]]
"""Shapes of one sample that a function may take, without the batch: `(depth,)`, `(height, width, channels)`."""

_TWICE = 3
"""Samples that a function is asked for twice."""

_OURS = Path(__file__).resolve().parents[2]


def call(function: Any, shapes: Shapes, samples: Array, size: int) -> Answer:
    """Call a function on all samples together, or on one after the other, in the shape that it takes.

    A mapping as its answer may have `output`, `acc` and `scaled`.

    Args:
        function: takes one array; `name` says what it is called.
        shapes: the shapes of one sample to try, in this order.
        samples: `[n, ...]`.
        size: how many output elements a sample has.

    Returns:
        What it answers, each of shape `[n, size]` where it has as many elements; else as the function gives it.

    Raises:
        InputError: it raises, or gives something else than numbers.
    """
    answer = answered(function, shapes, samples, len(samples) * size)
    return answer[0], _as_matrix(answer[1], size), _as_matrix(answer[2], size)


def unsteady_text(function: Any, shapes: Shapes, samples: Array, size: int) -> str:
    """That it answers the same inputs in two ways, as random numbers or a state that it keeps do; empty if not."""
    few = filled(shapes, samples[:_TWICE])
    try:
        first, second = (answered(function, shapes, few, len(few) * size)[0] for _ in range(2))
    except InputError:  # it takes more samples at a time
        return ""
    same = first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return "" if same else ", which answers the same input in two ways: a random number, or a state that it keeps?"


def filled(shapes: Shapes, samples: Array) -> Array:
    """Samples, and some of them again, so that each of these shapes of a sample is filled."""
    own = math.prod(samples.shape[1:])
    each = math.lcm(*(max(math.prod(shape) // own, 1) for shape in shapes))
    count = -(-len(samples) // each) * each
    return np.resize(samples, (count, *samples.shape[1:]))


def answered(function: Any, shapes: Shapes, samples: Array, elements: int) -> Answer:
    """The first answer with this many elements; of several shapes that none gives, the first that runs."""
    ran: list[Answer] = []
    failed: list[tuple[str, BaseException]] = []
    with np.errstate(all="ignore"):
        for shape, parts in ways(shapes, samples):
            try:
                answers = [_answer(function, function(part)) for part in parts]
            except InputError:
                raise
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                failed.append((f"{samples.dtype}{list(shape)}", error))
                continue
            answer = answers[0] if len(answers) == 1 else _stacked(answers)
            if answer[0].size == elements:
                return answer
            ran.append(answer)
    if ran:
        return ran[0]
    raise InputError(_failed_text(function.name, failed)) from failed[0][1]


def ways(shapes: Shapes, samples: Array) -> Iterator[tuple[tuple[int, ...], list[Array]]]:
    """Shapes, and the arrays of each: all samples at once, then one by one with and without a batch dimension."""
    whole = [samples.reshape(-1, *shape) for shape in shapes if samples.size % math.prod(shape) == 0]
    for made in whole:
        yield made.shape, [made]
    for made in whole:
        yield made.shape[1:], list(made)
        yield (1, *made.shape[1:]), [part[None] for part in made]


def _stacked(answers: Sequence[Answer]) -> Answer:
    outputs, accs, scaled = zip(*answers, strict=True)
    if len({output.shape for output in outputs}) > 1:
        return answers[0]
    return np.stack(outputs), _all(accs), _all(scaled)


def _all(parts: Sequence[Array | None]) -> Array | None:
    arrays = [part for part in parts if part is not None]
    return np.stack(arrays) if len(arrays) == len(parts) else None


def _as_matrix(values: Array | None, size: int) -> Array | None:
    return values if values is None or values.size % size else values.reshape(-1, size)


def _failed_text(name: str, failed: Sequence[tuple[str, BaseException]]) -> str:
    said: dict[str, list[str]] = {}
    for shape, error in failed:
        said.setdefault(located(error), []).append(shape)
    lines = [f"  {text}, given {' and '.join(shapes)}" for text, shapes in said.items()]
    return "\n".join([f"{name} fails on every shape of its input that was tried:", *lines[:4]])


def located(error: BaseException) -> str:
    """What an exception of a user's code says, with the file and line of that code."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not Path(f.filename).is_relative_to(_OURS)]
    own = [frame for frame in frames if "site-packages" not in frame.filename and not frame.filename.startswith("<")]
    place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {error}"


def _answer(function: Callable[..., Any], given: Any) -> Answer:
    if not isinstance(given, Mapping):
        return numbers_in(_name(function), given), None, None
    if "output" not in given:
        raise InputError(f"{_name(function)} gives a mapping with {', '.join(map(str, given))}; wanted a key 'output'")
    acc, scaled = (
        None if given.get(key) is None else numbers_in(_name(function), given[key]) for key in ("acc", "scaled")
    )
    return numbers_in(_name(function), given["output"]), acc, scaled


def _name(function: Any) -> str:
    return str(function.name)


def numbers_in(name: str, value: Any) -> Array:
    """What a user's function gives, as an array of numbers; what it yields is collected.

    Args:
        name: what the function is called.
        value: what it gives.

    Raises:
        InputError: it gives nothing, several things, or something else than numbers.
    """
    if value is None:
        raise InputError(f"{name} gives None; does it end with `return`?")
    if inspect.iscoroutine(value):
        value.close()
        raise InputError(f"{name} is a coroutine (async def); wanted a plain function")
    if isinstance(value, Iterator):
        value = list(value)
    try:
        array = np.asarray(value)
    except ValueError:  # parts of different shapes
        if isinstance(value, tuple):
            raise InputError(
                f"{name} gives a tuple of {len(value)} values; wanted one array, or a mapping with the key 'output'"
            ) from None
        raise InputError(f"{name} gives rows of different lengths; wanted an array of numbers") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(v, int | np.integer) for v in array.flat):
        try:
            array = array.astype(np.int64)
        except OverflowError:
            raise InputError(f"{name} gives whole numbers that no 64 bits hold; wanted the layer's output") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} gives {array.dtype} values ({type(value).__name__}); wanted an array of numbers")
    return array
