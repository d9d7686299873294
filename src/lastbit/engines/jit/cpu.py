"""What this machine's CPU has: which kernels run here, and what a function must tell LLVM to be allowed them."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from .vectors import Isa, choose_isa

__all__ = ["allow", "cpu_features", "has_fma", "host_isa"]

# Linux: the entry of the auxiliary vector with the CPU's features, and the bit of the dot product (`asimddp`).
_AT_HWCAP, _HWCAP_ASIMDDP = 16, 1 << 20
# Windows: the dot product's number in `IsProcessorFeaturePresent`.
_PF_ARM_DOT_PRODUCT = 43
_APPLE_DOT_PRODUCT = b"hw.optional.arm.FEAT_DotProd"


def cpu_features(found: dict[str, bool], triple: str, system: str) -> dict[str, bool]:
    """The CPU's features by LLVM's names, with those that LLVM does not look for on ARM.

    LLVM 22 reads a part of /proc/cpuinfo on Linux, asks Windows for a few, and macOS for nothing: `dotprod` and `fma`
    are among the features nowhere. So the operating system is asked for the dot product.

    Args:
        found: what LLVM found (`llvmlite.binding.get_host_cpu_features`).
        triple: LLVM's name of the process: `aarch64-unknown-linux-gnu`, `arm64-apple-darwin24.0`. A process for x86-64
            that such a machine translates has that name, and what LLVM finds for it.
        system: `sys.platform`.

    Returns:
        Feature -> whether it is there.

    Sources: llvm/llvm-project llvm/lib/TargetParser/Host.cpp (commit 40da37f); Linux
    arch/arm64/include/uapi/asm/hwcap.h; Apple, "Determining instruction set characteristics"; Windows SDK winnt.h.
    """
    if not triple.startswith(("aarch64", "arm64")):
        return dict(found)
    ask = {"linux": _linux_dot_product, "darwin": _apple_dot_product, "win32": _windows_dot_product}.get(system)
    # Every 64-bit ARM CPU has vectors and fused multiply-adds.
    features = {**found, "neon": True, "fma": True}
    if ask is not None and not features.get("dotprod"):
        features["dotprod"] = ask()
    return features


def _linux_dot_product() -> bool:
    # The kernel names what all cores of the machine have.
    try:
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return False
    getauxval.restype = ctypes.c_ulong
    getauxval.argtypes = [ctypes.c_ulong]
    return bool(getauxval(_AT_HWCAP) & _HWCAP_ASIMDDP)


def _apple_dot_product() -> bool:
    try:
        by_name = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return False
    value, size = ctypes.c_int32(0), ctypes.c_size_t(4)
    failed = by_name(_APPLE_DOT_PRODUCT, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return not failed and value.value == 1


def _windows_dot_product() -> bool:
    try:
        present = ctypes.CDLL("kernel32").IsProcessorFeaturePresent
    except (OSError, AttributeError):
        return False
    return bool(present(ctypes.c_uint32(_PF_ARM_DOT_PRODUCT)))


@functools.cache
def _host_features() -> dict[str, bool]:
    import llvmlite.binding as llvm

    try:
        found = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # older llvmlite, where LLVM finds nothing
        found = {}
    return cpu_features(found, llvm.get_process_triple(), sys.platform)


def host_isa() -> Isa:
    """The kernels for this machine's CPU."""
    return choose_isa(_host_features())


def has_fma() -> bool:
    """Whether the CPU has a fused multiply-add."""
    return bool(_host_features().get("fma"))


def allow(function: Any, isa: Isa, features: str) -> None:
    """Let LLVM use the instructions of a CPU kind in one function, whatever it compiles the others for.

    Where LLVM does not know the CPU (a new ARM core, a virtual machine, `NUMBA_CPU_NAME=generic`) it would end the
    process at the first of these instructions.

    Args:
        function: an LLVM function that is not inlined.
        isa: the kind.
        features: what the other functions are compiled for (`+neon,-sve`): a list of its own replaces that.
    """
    missing = [f"+{name}" for name in isa.features if f"+{name}" not in features.split(",")]
    if missing:
        words = ",".join([*filter(None, [features]), *missing])
        known = type(function.attributes)
        text = f'"target-features"="{words}"'

        class Attributes(known):  # type: ignore[misc, valid-type]
            """llvmlite's attributes of a function are fixed; LLVM takes any text."""

            _known = known._known | {text}

        function.attributes = Attributes(list(function.attributes))
        function.attributes.add(text)
