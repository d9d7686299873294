"""A Runtime is data: which rule each operator follows, and where that is known from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from ..model.errors import InputError, Refusal
from ..rules.base import Either, IntegerRule
from ..rules.floats.forms import ByUnits, FloatRule
from ..rules.hybrid.forms import HybridRule
from .variant import Key, Variant

__all__ = ["Family", "Refusal", "Refused", "Rule", "Runtime"]


class Family(StrEnum):
    """A family of kernels: code that calculates operators for one or several runtimes; see `lastbit.ops.kernels`."""

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"
    TFLM = "tflm"
    CMSIS_NN = "cmsis_nn"
    ONNXRUNTIME = "onnxruntime"
    FBGEMM = "fbgemm"


@dataclass(frozen=True)
class Rule:
    """How one runtime calculates one variant of one operator.

    Attributes:
        name: the rule's name in the operator's own table.
        kernel: the kernel family that does it.
        arithmetic: a dense layer's rule itself, where no table has a line of that name.
    """

    name: str
    kernel: Family
    arithmetic: IntegerRule | Either | HybridRule | FloatRule | ByUnits | None = None


@dataclass(frozen=True)
class Refused:
    """A variant that the real runtime refuses, or that LastBit cannot state exactly; with the reason in words.

    Attributes:
        kind: what programs decide by.
        reason: what people read; no program reads it.
    """

    kind: Refusal
    reason: str


@dataclass(frozen=True)
class Runtime:
    """The exact model of one interpreter's arithmetic.

    Attributes:
        name: what users type, e.g. `litert-xnnpack`.
        title: one line saying what it is.
        oracle: the distribution whose interpreter it is compared with, with the version proven.
        platform: the CPU family the claim holds for.
        rules: key_of(operator, variant) -> Rule or Refused. See `lastbit.runtimes.variant`.
        sources: repository and path of the kernels read for the rules.
        fallback: the runtime whose kernels do what this one's delegate declines, or None.
        declines: what a version's delegate declines that today's takes: `per_channel_bias` (dense layers with a
            weights scale for each unit and a bias), `one_value` (a fused activation that leaves one value),
            `int4_one_scale` (int4 weights with one scale for several units); or what it fails to prepare:
            `hybrid_one_unit` (hybrid layers of one unit with int8 weights), `hybrid_groups_of_one_scale` (hybrid
            convolutions with groups whose weights have one scale).
        ignores: what this version's delegate takes and ignores, where today's fails: `int4_zero_points` (zero points of
            int4 weights with a scale for each unit), `hybrid_zero_point` (that of int8 weights with one scale, hybrid),
            `input_between_strides` (the input of convolutions with padding SAME whose windows, of more than one tap,
            end before the image does). Also an operator's options that this version does not know, by their names.
        operator_versions: operator -> the largest operator version that this version knows, where it was asked.
        written_in_part: variants of dense layers whose outputs of more than two dimensions this version leaves
            unwritten in part, or crashes on.
        unstated: what kernels do here in a way that is not known: `growing_3x3` (int8 depthwise convolutions with 3 * 3
            taps, whole groups of eight channels and an effective scale of 1 or more, in LiteRT's builtin kernels).
        overflowing: kernel families whose 8-bit layers add two products in 16 bits, which -128 * -128 twice overflows.
    """

    name: str
    title: str
    oracle: str
    platform: str
    rules: Mapping[Key, Rule | Refused] = field(repr=False)
    sources: tuple[str, ...] = ()
    fallback: str | None = None
    declines: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    operator_versions: Mapping[str, int] = field(default_factory=dict)
    written_in_part: frozenset[Variant] = frozenset()
    unstated: frozenset[str] = frozenset()
    overflowing: frozenset[Family] = frozenset()

    def __post_init__(self) -> None:
        wrong = next((key for key in self.rules if not isinstance(key[1], Variant)), None)
        if wrong is not None:
            raise InputError(
                f"runtime {self.name!r}: found the rule's key {wrong!r}; wanted an operator's name and a Variant: "
                "write key_of(operator, text) of lastbit.runtimes.variant"
            )

    @cached_property
    def dense_only(self) -> bool:
        """Whether it is handed single dense layers, and no other operator."""
        return all(operator == "FULLY_CONNECTED" for operator, _ in self.rules)
