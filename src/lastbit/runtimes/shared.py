"""Words that several runtimes' tables share."""

from __future__ import annotations

from .base import Refused

__all__ = ["COPIED", "EIGHT_BIT", "FLOAT_FUNCTIONS", "RELUS"]

EIGHT_BIT = ("int8", "uint8")
RELUS = ("RELU", "RELU6", "RELU_N1_TO_1")
COPIED = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")

_INEXACT = Refused("not exact: float exp and tanh are vector polynomials that differ by kernel and CPU")

# Operators on float32 that no runtime calculates in a way that can be stated to the last bit for every CPU.
FLOAT_FUNCTIONS = {(operator, "float32->float32"): _INEXACT for operator in ("SOFTMAX", "LOGISTIC", "TANH")}
