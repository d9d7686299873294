"""Every exact runtime, in one literal table."""

from __future__ import annotations

from ..errors import RuntimeNameError
from .base import Refused, Rule, Runtime
from .litert_builtin_x86 import LITERT_BUILTIN_X86
from .litert_reference import LITERT_REFERENCE
from .litert_xnnpack import LITERT_XNNPACK
from .tflm import TFLM

__all__ = ["ALIASES", "DEFAULT_RUNTIME", "RUNTIMES", "Refused", "Rule", "Runtime", "find_rule", "get_runtime"]

RUNTIMES: dict[str, Runtime] = {
    "litert-xnnpack": LITERT_XNNPACK,
    "litert-builtin-x86": LITERT_BUILTIN_X86,
    "litert-reference": LITERT_REFERENCE,
    "tflm": TFLM,
}

ALIASES = {"litert-builtin": "litert-builtin-x86"}
"""Shorter names that are accepted too."""

DEFAULT_RUNTIME = "litert-xnnpack"
"""What an Interpreter made without options runs."""


def get_runtime(runtime: str | Runtime) -> Runtime:
    """The runtime of this name (a Runtime is returned as it is).

    Raises:
        RuntimeNameError: there is none.
    """
    if isinstance(runtime, Runtime):
        return runtime
    runtime = ALIASES.get(runtime, runtime)
    if runtime not in RUNTIMES:
        raise RuntimeNameError(
            f"unknown runtime {runtime!r}; wanted one of: {', '.join(RUNTIMES)}. `lastbit runtimes` describes them."
        )
    return RUNTIMES[runtime]


def find_rule(runtime: Runtime, operator: str, variant: str, declined: bool) -> Rule | Refused | None:
    """The rule for a variant of an operator: the runtime's own, or its fallback's where its delegate declines.

    Args:
        runtime: the runtime.
        operator: built-in operator name.
        variant: see `Runtime.rules`.
        declined: whether the runtime's delegate declines this very operator (its shape, zero points, options).
    """
    own = None if declined else runtime.rules.get((operator, variant))
    if own is None and runtime.fallback is not None:
        return RUNTIMES[runtime.fallback].rules.get((operator, variant))
    return own
