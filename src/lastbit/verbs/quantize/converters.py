"""Whose arithmetic: each converter and version, as fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ...model.errors import InputError
from .keras.arithmetic import Folding, Newton
from .moves import NEWEST, MoveRules

__all__ = ["CONVERTERS", "Converter", "Quantizer", "converter_named"]


class Quantizer(Enum):
    """The program that turns ranges into a file."""

    MLIR = "MLIR"
    OLDER = "older C++"
    AI_EDGE = "ai-edge-quantizer"


_NEWEST = Folding()
_DROPPING_ZEROS = Folding(earlier=True)
_KEEPING_ZEROS = Folding(drops_zeros=False, earlier=True, joins_padding=False, keeps_dims=False)
_SHARED = replace(_KEEPING_ZEROS, scales_shared=True)
_EMBEDDINGS = frozenset(("EMBEDDING_LOOKUP",))
_FLOAT_IN_INT16 = frozenset(("BATCH_TO_SPACE_ND", "MIRROR_PAD", "SPACE_TO_BATCH_ND"))
_OLD_DEQUANTIZED = _EMBEDDINGS | {"TRANSPOSE_CONV"}


@dataclass(frozen=True)
class Converter:
    """One converter in one version.

    Attributes:
        name: `tflite` (TensorFlow's TFLiteConverter), `litert` (the quantizer in the wheel of ai-edge-litert) or
            `ai-edge-quantizer`.
        version: its release, such as `2.21`.
        int8: which quantizer int8 activations take; int16 ones take the older one in place of MLIR's.
        dense_per_channel: whether dense layers have one scale a unit.
        moves: what becomes of operators that only move values.
        vector_code: whether weights with one scale are rounded by the kernels' vector code: fl(x + 0.5) in groups of 8.
        float_in_int16: operators that the older quantizer leaves in float32 with int16 activations.
        names_bias_type: whether the older quantizer writes the bias's type into the options of the layer.
        dequantized: operators that have a DEQUANTIZE before their int8 weights in dynamic range; newer ones take them.
        folding: how a Keras model's constants are folded before.
    """

    name: str
    version: str
    int8: Quantizer = Quantizer.MLIR
    dense_per_channel: bool = True
    moves: MoveRules = NEWEST
    vector_code: bool = False
    names_bias_type: bool = True
    float_in_int16: frozenset[str] = frozenset()
    dequantized: frozenset[str] = frozenset()
    folding: Folding = _NEWEST

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"

    @property
    def way(self) -> Converter:
        """From ranges to file: converters with one way write the same file of a float .tflite."""
        return replace(self, name="", version="", folding=_NEWEST)


_TO_2_19 = replace(NEWEST, drops_first=True, moves_transposes=False)
_TO_2_18 = replace(_TO_2_19, transposes_second=False)
_TO_2_17 = replace(_TO_2_18, keeps_dims_for_any=False, drops_neutral=False, joins_padding=False)
_TO_2_16 = replace(_TO_2_17, matmul_least=2, folds_first=False, drops_first=False)
_TO_2_15 = replace(_TO_2_16, slices=False, transposes_second=True)
_TO_2_14 = replace(_TO_2_15, reads_more_dims=False, swaps_matmul=False)
_TO_2_13 = replace(_TO_2_15, folds_transposes=False, matmul_least=0, transposes_second=False, swaps_matmul=False)

# The newest of a name comes first: it is what the name alone means.
CONVERTERS: tuple[Converter, ...] = (
    *(Converter("tflite", f"2.{minor}") for minor in (21, 20)),
    Converter("tflite", "2.19", moves=_TO_2_19, folding=_DROPPING_ZEROS),
    Converter("tflite", "2.18", moves=_TO_2_18, folding=_DROPPING_ZEROS),
    Converter("tflite", "2.17", moves=_TO_2_17, dequantized=_EMBEDDINGS, folding=_KEEPING_ZEROS),
    Converter(
        "tflite",
        "2.16",
        dense_per_channel=False,
        moves=_TO_2_16,
        vector_code=True,
        dequantized=_OLD_DEQUANTIZED,
        folding=_KEEPING_ZEROS,
    ),
    *(
        Converter(
            "tflite",
            version,
            dense_per_channel=False,
            moves=moves,
            vector_code=True,
            names_bias_type=version == "2.15",
            float_in_int16=_FLOAT_IN_INT16 if version == "2.12" else frozenset(),
            dequantized=_OLD_DEQUANTIZED,
            folding=folding,
        )
        for version, moves, folding in (
            ("2.15", _TO_2_15, _SHARED),
            ("2.14", _TO_2_14, replace(_SHARED, reads_more_dims=False)),
            ("2.13", _TO_2_13, _SHARED),
            ("2.12", _TO_2_13, replace(_SHARED, newton=Newton.THREE_HALVES)),
        )
    ),
    Converter("litert", "2.3", Quantizer.OLDER),
    Converter("ai-edge-quantizer", "0.10", Quantizer.AI_EDGE),
)


def converter_named(text: str) -> Converter:
    """The converter of `NAME` or `NAME@VERSION`, upper or lower case; a third number of a version is dropped.

    Raises:
        InputError: there is no such converter.

    >>> converter_named("tflite@2.16.1").dense_per_channel
    False
    """
    name, _, version = text.strip().lower().partition("@")
    wanted = ".".join(version.split(".")[:2])
    for converter in CONVERTERS:
        if converter.name == name and wanted in ("", converter.version):
            return converter
    known: dict[str, list[str]] = {}
    for converter in CONVERTERS:
        known.setdefault(converter.name, []).append(converter.version)
    each = "; ".join(f"{one} ({', '.join(f'@{v}' for v in versions)})" for one, versions in known.items())
    raise InputError(f"there is no converter {text!r}; wanted one of: {each}.")
