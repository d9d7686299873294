"""A variant of an operator: what its rule is looked up by beside its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

__all__ = ["INT32_BIAS", "INT32_BIAS_TYPE", "INT64_BIAS", "NO_BIAS", "PER_CHANNEL", "Key", "Variant", "key_of"]

PER_CHANNEL = "per_channel"

# What there is to know of the bias of layers with int16 activations; other types of a bias are `<dtype>_bias`.
INT64_BIAS = "int64_bias"
INT32_BIAS = "int32_bias"
INT32_BIAS_TYPE = "int32_bias_type"
NO_BIAS = "no_bias"

_ZERO_POINT, _GROUPED, _BIAS = "weights_zero_point", "grouped", "_bias"


@dataclass(frozen=True)
class Variant:
    """Element types, and of operators with weights how those are quantized and what the bias is.

    Attributes:
        input: element type of the first input; `absent` where there is none.
        output: element type of the output.
        weights: element type of the weights; empty for operators that have none.
        granularity: `per_tensor`, `per_channel` or `unquantized`: of the weights' scales. Empty without weights.
        weights_zero_point: whether a zero point of the weights that is not 0 makes it a variant of its own.
        grouped: whether a convolution has groups.
        bias: of int16 activations, what is known of the bias (`int64_bias`, `int32_bias`, `int32_bias_type` where
            quantized_bias_type says INT32, `no_bias`); else empty.
    """

    input: str
    output: str
    weights: str = ""
    granularity: str = ""
    weights_zero_point: bool = False
    grouped: bool = False
    bias: str = ""

    def __str__(self) -> str:
        """As users see it, and as files of evidence have it.

        >>> str(Variant("int8", "int8")), str(Variant("int8", "int8", "int8", "per_channel", grouped=True))
        ('int8->int8', 'int8 per_channel grouped')
        """
        if not self.granularity:
            return f"{self.input}->{self.output}"
        same = self.input == self.weights == self.output
        types = self.input if same else f"{self.input} x {self.weights} -> {self.output}"
        marks = (_ZERO_POINT if self.weights_zero_point else "", _GROUPED if self.grouped else "", self.bias)
        return " ".join((types, self.granularity, *filter(None, marks)))

    @staticmethod
    @cache
    def parse(text: str) -> Variant:
        """The variant that prints as this text.

        >>> Variant.parse("int16 x int8 -> int16 per_tensor no_bias").bias
        'no_bias'

        Raises:
            ValueError: none does.
        """
        words = text.split(" ")
        if len(words) == 1:
            given, _arrow, output = text.partition("->")
            found = Variant(given, output)
        else:
            one = words[1] not in ("x", "->")
            given, weights, output = (words[0],) * 3 if one else (words[0], words[2], words[4])
            granularity, *marks = words[1:] if one else words[5:]
            bias = marks[-1] if marks and marks[-1] not in (_ZERO_POINT, _GROUPED) else ""
            found = Variant(given, output, weights, granularity, _ZERO_POINT in marks, _GROUPED in marks, bias)
        if str(found) != text:
            raise ValueError(f"found the variant {text!r}, which none prints as; such as {str(found)!r}")
        return found

    @property
    def per_channel(self) -> bool:
        """Whether the weights have a scale for each unit."""
        return self.granularity == PER_CHANNEL

    @property
    def hybrid(self) -> bool:
        """Whether activations are float32 and weights are integers."""
        return self.input == "float32" and self.weights in ("int8", "uint8", "int4")


Key = tuple[str, Variant]
"""What a runtime's rules are looked up by: the operator's name and its variant."""


def key_of(operator: str, variant: str) -> Key:
    """The key of an operator and a variant that is written as it is printed."""
    return operator, Variant.parse(variant)
