"""What is known of one operator and variant in one runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Cell", "Status"]

Status = Literal["exact", "refused", "not yet"]


@dataclass(frozen=True)
class Cell:
    """One operator, variant and runtime.

    Attributes:
        status: `exact` (compared with the interpreter, nothing differed), `refused` (the runtime itself refuses it) or
            `not yet` (LastBit has no rule, or no evidence for it, or cannot state it exactly).
        rule: the rule, else empty.
        kernel: the kernel family that computes it, else empty.
        reason: why it is not exact, else empty.
        outputs: outputs compared.
        mismatches: those that differed.
    """

    status: Status
    rule: str = ""
    kernel: str = ""
    reason: str = ""
    outputs: int = 0
    mismatches: int = 0
