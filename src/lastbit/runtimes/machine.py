"""What of a machine decides which kernels an interpreter picks: the CPU and its vector instructions."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

__all__ = [
    "ARM64",
    "X86_64",
    "Vectors",
    "cpu_features",
    "cpu_text",
    "platform_text",
    "tells_avx_vnni",
    "widest_vectors",
]

# As Linux spells them. XNNPACK and ruy choose their 8-bit kernels by these.
_FEATURES = (
    *("ssse3", "sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_fp16"),
    *("amx_tile", "amx_int8"),
    *("neon", "asimd", "fphp", "asimdhp", "asimddp", "i8mm", "sve", "sve2", "sme", "sme2"),
)
_READABLE = {"asimddp": "dotprod"}


def platform_text() -> str:
    """The operating system, the machine type and the Python version.

    >>> platform_text().startswith(platform.system())
    True
    """
    return f"{platform.system()}-{platform.machine()}, Python {platform.python_version()}"


def cpu_text(environment: Mapping[str, str] | None = None) -> str:
    """The CPU's name, its features that select kernels, and `RUY_PATHS` where it is set.

    That variable is LiteRT's own: it takes kernel paths away from the builtin kernels' matrix library. It may be set
    for this process or in the environment given, which an oracle adds to its worker's.
    """
    text = _cpu_text()
    ruy_paths = {**os.environ, **(environment or {})}.get("RUY_PATHS")
    return f"{text}; RUY_PATHS={ruy_paths}" if ruy_paths else text


@cache
def cpu_features() -> frozenset[str]:
    """The CPU's vector instructions, as Linux spells them. Empty where the system does not tell.

    >>> cpu_features() <= cpu_features() | {"avx2"}
    True
    """
    return frozenset(_detected()[1])


X86_64 = ("x86_64", "AMD64")
"""As `platform.machine` calls it on Linux and macOS, and on Windows."""

ARM64 = ("aarch64", "arm64", "ARM64")
"""As `platform.machine` calls it on Linux, macOS and Windows."""

Vectors = Literal[
    "SME2", "SME", "I8MM", "DOTPROD", "NEON-A53", "NEON", "AVX512-VNNI", "AVX512", "AVX-VNNI", "AVX2", "OLDER"
]
"""The kinds of CPUs that runtimes are told apart by, ARM64 and x86-64, the best first; no runtime is for OLDER ones.

XNNPACK has kernels of its own for Cortex-A53 and A35, NEON-A53, and for CPUs with SME2 (Apple M4): neither is proven.
"""

# As Linux lists them ("CPU part") of implementer 0x41. LastBit's own word for them stands among the features.
_A53_PARTS, _A53 = frozenset({"0xd03", "0xd04"}), "cortex_a53"

_NEEDED: dict[Vectors, frozenset[str]] = {
    "SME2": frozenset({"asimd", "i8mm", "sme", "sme2"}),
    "SME": frozenset({"asimd", "i8mm", "sme"}),
    "I8MM": frozenset({"asimd", "i8mm"}),
    "DOTPROD": frozenset({"asimd", "asimddp"}),
    "NEON-A53": frozenset({"asimd", _A53}),
    "NEON": frozenset({"asimd"}),
    "AVX512-VNNI": frozenset({"avx512_vnni"}),
    "AVX512": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    "AVX-VNNI": frozenset({"avx_vnni"}),
    "AVX2": frozenset({"avx2"}),
    "OLDER": frozenset(),
}

# Families and models of Intel's CPUs that have AVX2 and neither AVX512 nor AVX-VNNI: Haswell to Comet Lake.
_INTEL_AVX2 = frozenset(
    f"Family 6 Model {model} " for model in (60, 61, 63, 69, 70, 71, 78, 79, 86, 94, 142, 158, 165, 166)
)


def widest_vectors(features: frozenset[str] | None = None) -> Vectors | None:
    """The kind of this CPU, by what XNNPACK's 8-bit kernels use of it. None where the system does not tell.

    NumPy, which tells where Linux does not, knows nothing of AVX-VNNI: such a CPU then counts as AVX2. Nor does it know
    ARM's i8mm, for which macOS is asked.

    Args:
        features: as Linux spells them; default: this machine's.

    >>> widest_vectors(frozenset({"avx2", "avx_vnni"})), widest_vectors(frozenset({"asimd", "asimddp"}))
    ('AVX-VNNI', 'DOTPROD')
    """
    present = cpu_features() if features is None else features
    return next((kind for kind, needed in _NEEDED.items() if needed <= present), None) if present else None


def tells_avx_vnni(processor: str | None = None) -> bool:
    """Whether an AVX2 CPU without AVX-VNNI among its features is known to have none.

    NumPy, which is asked where there is no /proc, does not look for it. macOS runs on no CPU that has it. Windows names
    the CPU: AMD's and Intel's older ones have none.

    Args:
        processor: what Windows calls it; default: this machine's.

    Source: LLVM's table of Intel's models, llvm/lib/TargetParser/Host.cpp.
    """
    if processor is None:
        if sys.platform != "win32":
            return True
        processor = platform.processor()
    return "AuthenticAMD" in processor or any(model in processor for model in _INTEL_AVX2)


@cache
def _cpu_text() -> str:
    name, present = _detected()
    found = [_READABLE.get(f, f) for f in _FEATURES if f in present]
    name = name or platform.processor() or platform.machine() or "unknown CPU"
    return f"{name} ({' '.join(found) if found else 'vector features unknown'})"


@cache
def _detected() -> tuple[str, set[str]]:
    name, present = _linux() if sys.platform == "linux" else ("", set[str]())
    return name, present or _from_numpy() | _from_macos()


def _linux(path: str = "/proc/cpuinfo") -> tuple[str, set[str]]:
    """The name and the features of the first processor listed."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return "", set()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    name = fields.get("model name", "")
    if not name and "cpu part" in fields:  # 64-bit Arm lists numbers only
        name = f"Arm implementer {fields.get('cpu implementer', '?')} part {fields['cpu part']}"
    features = set(fields.get("flags", fields.get("features", "")).split())
    if fields.get("cpu implementer") == "0x41" and fields.get("cpu part", "").lower() in _A53_PARTS:
        features.add(_A53)
    return name, features


def _from_numpy() -> set[str]:
    """NumPy's own detection, for systems without /proc. It knows fewer features."""
    try:
        detected: dict[str, bool] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    except AttributeError:
        return set()
    spelling = {"fma3": "fma", "sse41": "sse4_1", "avx512vnni": "avx512_vnni", "avx512_vnni": "avx512_vnni"}
    names = (name.lower() for name, present in detected.items() if present)
    return {spelling.get(name, name) for name in names}


def _from_macos() -> set[str]:
    """What macOS tells of ARM's 8-bit products and matrices, by Linux's names; elsewhere nothing.

    Source: Apple, "Determining instruction set characteristics".
    """
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return set()
    by_name = ctypes.CDLL(None).sysctlbyname
    found = {"asimd"}
    features = {
        "asimddp": b"hw.optional.arm.FEAT_DotProd",
        "i8mm": b"hw.optional.arm.FEAT_I8MM",
        "sme": b"hw.optional.arm.FEAT_SME",
        "sme2": b"hw.optional.arm.FEAT_SME2",
    }
    for name, key in features.items():
        value, size = ctypes.c_int32(0), ctypes.c_size_t(4)
        failed = by_name(key, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
        if not failed and value.value == 1:
            found.add(name)
    return found
