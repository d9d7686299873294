"""Every exception LastBit raises on purpose, on one screen.

A message says what is wrong, where (operator index, tensor name), what was found, what was wanted and what to do.
A mismatch between two results is never an exception: it is a Report.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

__all__ = [
    "DataError",
    "InputError",
    "LastBitError",
    "ModelError",
    "OracleError",
    "OracleMissingError",
    "RealInputError",
    "Refusal",
    "RuntimeNameError",
    "UnsupportedError",
]


class LastBitError(Exception):
    """Root of all of LastBit's errors. `exit_code` is what the command line ends with."""

    exit_code = 2

    def __init__(self, message: str = "", *, python: str = "", command: str = "") -> None:
        """Make the error.

        Args:
            message: what is told everywhere.
            python: what follows for who calls LastBit from Python.
            command: what follows on the command line.
        """
        super().__init__(message + python)
        self._ways = (python, command)

    @property
    def on_command_line(self) -> str:
        """The message with the ways that a command line has."""
        python, command = self._ways
        return str(self).replace(python, command) if python else str(self)


class ModelError(LastBitError):
    """The model file is missing, malformed or invalid."""


class InputError(LastBitError):
    """An input array, file, index or option does not fit the model."""


class DataError(InputError):
    """A row in the middle of a data set cannot be used.

    Attributes:
        report: what was found in the rows before it.
    """

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class RealInputError(InputError):
    """Real values are given for a tensor of integers."""

    def offering_to_quantize(self) -> RealInputError:
        """The same error from a verb that can quantize them itself."""
        return RealInputError(f"{self}, or use ", python="quantize_input=True.", command="--quantize-input.")


class RuntimeNameError(LastBitError):
    """No exact runtime has this name."""


class Refusal(Enum):
    """Why an operator is refused or not covered: what programs decide by. The words beside it are for people.

    Attributes:
        RUNTIME: the runtime refuses it, or crashes on it.
        UNDEFINED: the runtime runs it without a check, and what it prints has no meaning.
        NOT_EXACT: the runtime runs it, and what it prints cannot be stated to the last bit.
        NOT_SETTLED: the runtime runs it, and its arithmetic is unknown.
        NOT_ASKED: the interpreter of this version was not run on it.
        NOT_COVERED: LastBit has no rule or no code for it.
        DENSE_ONLY: LastBit covers single dense layers of this runtime, and no other operator.
    """

    RUNTIME = "refused_by_runtime"
    UNDEFINED = "undefined"
    NOT_EXACT = "not_exact"
    NOT_SETTLED = "not_settled"
    NOT_ASKED = "not_asked"
    NOT_COVERED = "not_covered"
    DENSE_ONLY = "dense_only"


class UnsupportedError(LastBitError):
    """Something in the model is refused by the runtime, or not covered by LastBit yet.

    Attributes:
        reasons: every reason found, one line each, so that a user sees all of them at once.
        kind: what kind of refusal it is.
    """

    exit_code = 3

    def __init__(
        self, message: str, reasons: Sequence[str] = (), kind: Refusal = Refusal.NOT_COVERED, advice: str = ""
    ) -> None:
        self.kind = kind
        self.reasons = tuple(reasons)
        lines = [message, *(f"  - {reason}" for reason in self.reasons if reason not in message)]
        lines += [advice] if advice else []
        super().__init__("\n".join(lines))


class OracleError(LastBitError):
    """A real interpreter refused a model, crashed or took too long while LastBit ran it."""

    exit_code = 4


class OracleMissingError(OracleError):
    """A real interpreter is not installed. The message names the extra that installs it."""
