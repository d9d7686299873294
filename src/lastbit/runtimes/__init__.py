"""Every exact runtime, in one literal table."""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import RuntimeNameError
from .base import Refusal, Refused, Rule, Runtime
from .cmsis_nn import CMSIS_NN
from .cmsis_nn_single_rounding import CMSIS_NN_SINGLE_ROUNDING
from .litert_builtin_arm64 import LITERT_BUILTIN_ARM64
from .litert_builtin_arm64_neon import LITERT_BUILTIN_ARM64_NEON
from .litert_builtin_portable import LITERT_BUILTIN_PORTABLE
from .litert_builtin_x86 import LITERT_BUILTIN_X86
from .litert_reference import LITERT_REFERENCE
from .litert_reference_arm64 import LITERT_REFERENCE_ARM64
from .litert_reference_arm64_neon import LITERT_REFERENCE_ARM64_NEON
from .litert_xnnpack import LITERT_XNNPACK
from .litert_xnnpack_arm64 import LITERT_XNNPACK_ARM64
from .litert_xnnpack_arm64_dotprod import LITERT_XNNPACK_ARM64_DOTPROD
from .litert_xnnpack_arm64_neon import LITERT_XNNPACK_ARM64_NEON
from .litert_xnnpack_avx2 import LITERT_XNNPACK_AVX2
from .litert_xnnpack_avx512 import LITERT_XNNPACK_AVX512
from .litert_xnnpack_avxvnni import LITERT_XNNPACK_AVXVNNI
from .onnxruntime import ONNXRUNTIME
from .onnxruntime_avx2 import ONNXRUNTIME_AVX2
from .tflm import TFLM
from .this_cpu import THIS_CPU, interpreter_here
from .torch_fbgemm import TORCH_FBGEMM
from .torch_fbgemm_avx2 import TORCH_FBGEMM_AVX2
from .variant import Variant
from .versions import versioned_runtime

__all__ = [
    "ALIASES",
    "DEFAULT_RUNTIME",
    "RUNTIMES",
    "Refusal",
    "Refused",
    "Rule",
    "Runtime",
    "find_rule",
    "get_runtime",
    "goes_by_cpu",
    "interpreter_here",
]

RUNTIMES: dict[str, Runtime] = {
    "litert-xnnpack": LITERT_XNNPACK,
    "litert-xnnpack-avx512": LITERT_XNNPACK_AVX512,
    "litert-xnnpack-avxvnni": LITERT_XNNPACK_AVXVNNI,
    "litert-xnnpack-avx2": LITERT_XNNPACK_AVX2,
    "litert-builtin-x86": LITERT_BUILTIN_X86,
    "litert-reference": LITERT_REFERENCE,
    "litert-builtin-portable": LITERT_BUILTIN_PORTABLE,
    "litert-xnnpack-arm64": LITERT_XNNPACK_ARM64,
    "litert-xnnpack-arm64-dotprod": LITERT_XNNPACK_ARM64_DOTPROD,
    "litert-xnnpack-arm64-neon": LITERT_XNNPACK_ARM64_NEON,
    "litert-builtin-arm64": LITERT_BUILTIN_ARM64,
    "litert-builtin-arm64-neon": LITERT_BUILTIN_ARM64_NEON,
    "litert-reference-arm64": LITERT_REFERENCE_ARM64,
    "litert-reference-arm64-neon": LITERT_REFERENCE_ARM64_NEON,
    "tflm": TFLM,
    "cmsis-nn": CMSIS_NN,
    "cmsis-nn-single-rounding": CMSIS_NN_SINGLE_ROUNDING,
    "onnxruntime": ONNXRUNTIME,
    "onnxruntime-avx2": ONNXRUNTIME_AVX2,
    "torch-fbgemm": TORCH_FBGEMM,
    "torch-fbgemm-avx2": TORCH_FBGEMM_AVX2,
}

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
