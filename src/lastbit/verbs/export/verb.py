"""export: a layer or a whole model as C that prints what a runtime prints."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model
from ...ops.prepare import PreparedModel, prepare
from ...report.phrases import plural
from ...runtimes import DEFAULT_RUNTIME, Runtime
from ..doctor.verb import lastbit_version
from ..run.verb import load
from .c99.file import About, header, source, write_pieces
from .c99.text import C_TYPES, has_array, identifier
from .program import Plan, plan
from .report import Export
from .selftest import self_test

__all__ = ["LANGUAGES", "export"]

LANGUAGES = ("c99",)
"""What a program can be written in."""

OF_STATE = ("VAR_HANDLE", "CALL_ONCE", "READ_VARIABLE", "ASSIGN_VARIABLE")
"""Operators of a model's state."""

Progress = Callable[[int, int, str], None]


def export(
    model: str | os.PathLike[str] | bytes | Model,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    op: int | None = None,
    language: str = "c99",
    name: str = "",
    progress: Progress | None = None,
) -> Export:
    """Write a model, or one of its operators, as code that gives what a runtime gives, to the last bit.

    Args:
        model: a Model, a path or a file's bytes.
        runtime: whose arithmetic.
        op: only this operator; default: the whole model.
        language: one of `LANGUAGES`.
        name: what functions and files are called; default: after the model's file, and the operator.
        progress: called with (steps done, steps in total, what is done next).

    Returns:
        The Export; `files` are its texts by name, and nothing is on the disk yet.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: no such operator or language.
        UnsupportedError: operators that the runtime refuses, or that C does not have: all of them at once.
    """
    if language not in LANGUAGES:
        raise InputError(f"there is no language {language!r}; wanted: {', '.join(LANGUAGES)}")
    loaded = load(model)
    prepared = prepare(loaded, runtime)
    if op is not None:
        loaded.operator(op)
    if op is not None and op in prepared.refused:
        raise _refusal(prepared, [f"{loaded.operators[op].label}: {prepared.refused[op].reason}"])
    if op is not None and loaded.operators[op].name in OF_STATE:
        reason = "what a model keeps from run to run is written with the whole model only"
        raise _refusal(prepared, [f"{loaded.operators[op].label}: {reason}"])
    laid_out = plan(prepared, op)
    written = write_pieces(laid_out)
    lacking = {index: refused.reason for index, refused in prepared.refused.items() if op is None}
    lacking |= written.lacking
    problems = [f"{loaded.operators[index].label}: {lacking[index]}" for index in sorted(lacking)]
    told = {i for index in lacking for i in (*loaded.operators[index].inputs, *loaded.operators[index].outputs)}
    problems += _types_without_code(laid_out, told)
    if problems:
        raise _refusal(prepared, problems)
    about = About(
        name=_name(loaded, op, name),
        tool=f"lastbit {lastbit_version()}",
        digest=hashlib.sha256(loaded.content).hexdigest(),
        runtime=prepared.runtime.name,
        what=plural(len(loaded.operators), "operator") if op is None else loaded.operator(op).label,
    )
    test = self_test(laid_out, written.pieces, written.inputs, written.outputs, progress)
    files = {f"{about.name}.h": header(written, about, test), f"{about.name}.c": source(written, about, test)}
    return Export(loaded, prepared.runtime, about, written, test, files)


def _types_without_code(laid_out: Plan, told: set[int]) -> list[str]:
    """Inputs and outputs of element types that C has no self-test for, and what no operator calculates.

    Args:
        laid_out: the program.
        told: tensors of operators that are refused themselves.
    """
    slots = [slot for index, slot in laid_out.slots.items() if index not in told]
    known = {
        "input": ("int8", "uint8", "int16", "int32", "float32"),
        "output": ("int8", "uint8", "int16", "int32", "int64", "float32"),
    }
    found = [
        f"{slot.tensor.label}, an {kind}, is {slot.dtype.name}; C has {', '.join(known[kind])}"
        for slot in slots
        if (kind := slot.place.kind) in known and slot.dtype.name not in known[kind]
    ]
    found += [
        f"{slot.tensor.label} is {slot.dtype.name}, which C has no array of"
        for slot in slots
        if slot.place.kind in ("arena", "state") and slot.dtype.name not in C_TYPES
    ]
    tensors = laid_out.model.tensors
    read = {i for entry in laid_out.entries for i in entry.inputs}
    values = {i: value for i, value in laid_out.constants.items() if i in read} | dict(laid_out.state)
    found += [
        f"{tensors[i].label} is {value.dtype.name}, or has infinite values or NaN; C has no such constants"
        for i, value in values.items()
        if i not in told and not has_array(value)
    ]
    return found + [
        f"{tensors[i].label}, an output, is calculated by no operator" for i in laid_out.unwritten if i not in told
    ]


def _refusal(prepared: PreparedModel, problems: Sequence[str]) -> UnsupportedError:
    """The error that lists everything that keeps a model from being written."""
    model = prepared.model
    return UnsupportedError(
        f"{model.source}: cannot be written as C for {prepared.runtime.name}, for {len(problems)} reasons:"
        if len(problems) > 1
        else f"{model.source}: cannot be written as C for {prepared.runtime.name}:",
        problems,
    )


def _name(model: Model, op: int | None, name: str) -> str:
    if name:
        made = identifier(name)
        if made != name:
            raise InputError(f"{name!r} is not a name for functions and files here; {made!r} would be")
        return name
    stem = identifier(os.path.splitext(os.path.basename(model.source))[0])
    return stem if op is None else f"{stem}_op{op}"
