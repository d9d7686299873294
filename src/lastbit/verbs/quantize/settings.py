"""What a user asks for, as one value: converter, method and types. Combinations that no converter makes are refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ...model.errors import InputError
from .converters import Converter, Quantizer, converter_named

__all__ = ["Method", "Settings", "settings_of"]


class Method(Enum):
    """What becomes integers; the value is its name for people."""

    STATIC = "static"
    DYNAMIC = "dynamic range"
    WEIGHT_ONLY = "weights only"
    FLOAT16 = "float16 weights"


@dataclass(frozen=True)
class Settings:
    """How a model is quantized.

    Attributes:
        converter: whose arithmetic.
        method: what becomes integers.
        activations: `int8` or `int16`; without meaning where activations stay float32.
        weights: `int8`, `int4` or `float16`.
        per_tensor_dense: whether dense layers have one scale.
        io: the types of the graph's inputs and of its outputs.
    """

    converter: Converter
    method: Method
    activations: str
    weights: str
    per_tensor_dense: bool
    io: tuple[str, str]

    @property
    def quantizer(self) -> Quantizer:
        """The program that does the work."""
        if self.converter.int8 is Quantizer.MLIR and self.activations == "int16":
            return Quantizer.OLDER
        return self.converter.int8

    @property
    def label(self) -> str:
        """The converter, and the method where it is not the usual one."""
        if self.method is Method.STATIC:
            return self.converter.label
        return f"{self.converter.label} ({self.method.value}{', int4' if self.weights == 'int4' else ''})"


_IO = {
    ("int8", Quantizer.AI_EDGE): ("int8", "float32"),
    ("int16", Quantizer.AI_EDGE): ("int16", "float32"),
    ("int8", Quantizer.MLIR): ("float32", "int8", "uint8"),
    ("int8", Quantizer.OLDER): ("float32", "int8", "uint8"),
    ("int16", Quantizer.OLDER): ("float32", "int16"),
}


def settings_of(
    like: str,
    *,
    ranged: bool,
    activations: str | None = None,
    weights: str = "int8",
    weight_only: bool = False,
    per_tensor_dense: bool = False,
    io: str | tuple[str, str] | None = None,
) -> Settings:
    """Settings from a user's words.

    Args:
        like: the converter, such as `tflite@2.16`.
        ranged: whether there are data or ranges.
        activations: `int8`, `int16`, or None for int8.
        weights: `int8`, `int4` or `float16`.
        weight_only: kernels take float32, and a DEQUANTIZE stands before each weight.
        per_tensor_dense: one scale for all units of a dense layer.
        io: the type of inputs and outputs, or one for each; None for the converter's own default.

    Raises:
        InputError: no converter makes this.
    """
    converter = converter_named(like)
    if activations not in (None, "int8", "int16"):
        raise InputError(f"activations are {activations!r}, wanted int8 or int16.")
    if weights not in ("int8", "int4", "float16"):
        raise InputError(f"weights are {weights!r}, wanted int8, int4 or float16.")
    method = _method(ranged, weights, weight_only)
    found = Settings(converter, method, activations or "int8", weights, per_tensor_dense, ("float32", "float32"))
    _check_converter(found)
    ends = (io, io) if isinstance(io, str) else io
    if method is Method.STATIC:
        allowed = _IO[found.activations, found.quantizer]
        for end in ends or ():
            if end not in allowed:
                raise InputError(
                    f"io is {end!r}; with activations of {found.activations} wanted one of "
                    f"{', '.join(sorted(allowed))}."
                )
        return replace(found, io=ends or (allowed[0], allowed[0]))
    wrong = [f"io of {end}" for end in ends or () if end != "float32"]
    for what in ([] if activations is None else [f"activations of {activations}"]) + wrong:
        raise InputError(
            f"{what} need data or ranges: without them only weights are quantized, and activations stay float32 "
            f"({method.value})",
            python="; give data= or ranges=.",
            command="; give --data FILE or --ranges FILE.",
        )
    return found


def _method(ranged: bool, weights: str, weight_only: bool) -> Method:
    if ranged and (weight_only or weights == "float16"):
        what = "float16 weights" if weights == "float16" else "weights only"
        raise InputError(f"{what}: activations stay float32, so no data and no ranges are used; leave them out.")
    if weight_only and weights == "float16":
        raise InputError("weights of float16 are weights only already; leave the other option out.")
    if ranged:
        return Method.STATIC
    if weights == "float16":
        return Method.FLOAT16
    return Method.WEIGHT_ONLY if weight_only else Method.DYNAMIC


def _check_converter(found: Settings) -> None:
    """Refuse what this converter does not make, and say which one does."""
    name, kind = found.converter.name, found.converter.int8
    if found.method is not Method.STATIC and kind is Quantizer.OLDER:
        raise InputError(
            f"{name} quantizes with data or ranges only: the wheel's quantizer has nothing for {found.method.value}. "
            "TFLiteConverter (tflite) and ai-edge-quantizer make such files without data.",
        )
    if kind is Quantizer.AI_EDGE:
        if found.method is Method.FLOAT16:
            raise InputError(f"{name}'s float16 is not one of its recipes that LastBit has; tflite makes float16.")
        if found.per_tensor_dense:
            raise InputError(f"{name}'s recipes have a scale for each unit; one scale for dense layers is tflite's.")
        return
    if found.weights == "int4":
        raise InputError(
            f"{name} makes no int4 weights; ai-edge-quantizer does",
            python=': like="ai-edge-quantizer".',
            command=": --like ai-edge-quantizer.",
        )
    if found.method is Method.WEIGHT_ONLY:
        raise InputError(
            f"{name} has no mode of weights only, but dynamic range and float16 weights; ai-edge-quantizer has it",
            python=': like="ai-edge-quantizer".',
            command=": --like ai-edge-quantizer.",
        )
