"""Every exact runtime, in one literal table."""

from __future__ import annotations

from difflib import get_close_matches

from ..model.errors import RuntimeNameError
from .base import Refusal, Refused, Rule, Runtime
from .cmsis_nn import CMSIS_NN
from .cpu import Cpu, Interpreter, Mode
from .litert_builtin import LITERT_BUILTIN
from .litert_reference import LITERT_REFERENCE
from .litert_xnnpack import LITERT_XNNPACK
from .machine import ARM64, X86_64
from .onnxruntime import ONNXRUNTIME
from .tflm import TFLM
from .this_cpu import THIS_CPU, interpreter_here
from .torch_fbgemm import TORCH_FBGEMM
from .variant import Variant
from .versions import versioned_runtime

__all__ = [
    "ALIASES",
    "DEFAULT_RUNTIME",
    "INTERPRETERS",
    "RUNTIMES",
    "Refusal",
    "Refused",
    "Rule",
    "Runtime",
    "cpus",
    "find_rule",
    "get_runtime",
    "goes_by_cpu",
    "interpreter_here",
]

INTERPRETERS: tuple[Interpreter, ...] = (
    LITERT_XNNPACK,
    LITERT_BUILTIN,
    LITERT_REFERENCE,
    TFLM,
    CMSIS_NN,
    ONNXRUNTIME,
    TORCH_FBGEMM,
)
"""A file each: one interpreter in one mode, with the kinds of CPU that it tells apart."""


def cpus() -> list[tuple[Cpu, Mode]]:
    """Every kind of CPU of every runtime, with how its interpreter is started: x86-64, any, ARM64; then the others."""
    found = [(cpu, cpu.mode or interpreter.mode) for interpreter in INTERPRETERS for cpu in interpreter.cpus]
    of_litert = [entry for entry in found if entry[1].distribution == LITERT_XNNPACK.mode.distribution]
    order = (X86_64, (), ARM64)
    of_litert.sort(key=lambda entry: order.index(entry[0].machines))
    return [*of_litert, *(entry for entry in found if entry not in of_litert)]


_BY_NAME = {name: runtime for interpreter in INTERPRETERS for name, runtime in interpreter.runtimes.items()}

RUNTIMES: dict[str, Runtime] = {cpu.name: _BY_NAME[cpu.name] for cpu, _ in cpus()}
"""Every exact runtime, on every kind of CPU."""

ALIASES = {"litert-builtin": "litert-builtin-x86"}
"""Shorter names that are accepted too."""

DEFAULT_RUNTIME = THIS_CPU[0]
"""What an Interpreter made without options runs on this machine's CPU."""


def goes_by_cpu(runtime: str | Runtime) -> bool:
    """Whether this name means another runtime on another CPU.

    >>> goes_by_cpu("LiteRT"), goes_by_cpu("litert-xnnpack")
    (True, False)
    """
    return isinstance(runtime, str) and _parts(runtime)[0] in THIS_CPU


def get_runtime(runtime: str | Runtime) -> Runtime:
    """The runtime of this name (a Runtime is returned as it is).

    Upper and lower case are the same. `auto`, `litert` and `tflite` are what `Interpreter(model)` does on this CPU.
    After an `@` may stand the version of an interpreter: `litert-reference@1.2`; see `lastbit.runtimes.versions`.

    Raises:
        RuntimeNameError: there is none, or this version of it was never run.
        UnsupportedError: `auto`, and no runtime is proven for this CPU.
    """
    if isinstance(runtime, Runtime):
        return runtime
    if not isinstance(runtime, str):
        raise RuntimeNameError(f"found the runtime {runtime!r}; wanted a name such as 'auto', or a Runtime")
    name, version = _parts(runtime)
    name = interpreter_here() if name in THIS_CPU else ALIASES.get(name, name)
    if name not in RUNTIMES:
        raise RuntimeNameError(_unknown(runtime, name))
    return versioned_runtime(RUNTIMES[name], version) if "@" in runtime else RUNTIMES[name]


def _parts(runtime: str) -> tuple[str, str]:
    """A name and the version after it, as the tables spell them."""
    name, _, version = runtime.strip().lower().partition("@")
    return name, version


def _unknown(given: str, name: str) -> str:
    """What to say of a name that no runtime has."""
    near = get_close_matches(name, [*RUNTIMES, *ALIASES, *THIS_CPU], n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?" if near else ""
    return (
        f"unknown runtime {given!r}.{meant} `lastbit runtimes` lists all names; "
        f"{DEFAULT_RUNTIME} is what Interpreter(model) does on this CPU."
    )


def find_rule(runtime: Runtime, operator: str, variant: Variant, declined: bool) -> Rule | Refused | None:
    """The rule for a variant of an operator: the runtime's own, or its fallback's where its delegate declines.

    Args:
        runtime: the runtime.
        operator: built-in operator name.
        variant: see `Runtime.rules`.
        declined: whether the runtime's delegate declines this very operator (its shape, zero points, options).
    """
    own = None if declined else runtime.rules.get((operator, variant))
    if own is None and runtime.fallback is not None:
        return get_runtime(runtime.fallback).rules.get((operator, variant))
    return own
