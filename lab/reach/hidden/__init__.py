"""A real interpreter on this CPU with features hidden from it, so that it picks the kernels of a lesser CPU.

    --hidden RUNTIME ...     of lab/collect/operators.py, lab/record/operators.py and lab/reach/operator_versions.py

The kernels run as they are, at full speed; only the answers of CPUID have fewer bits (hide_features.c). Linux on x86-64
with a CPU whose /proc/cpuinfo lists `cpuid_fault`, and a C compiler. An emulated CPU (lab/reach/emulated) takes a
thousand times as long and needs neither.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from lastbit.oracles import ORACLES, Fingerprint, Oracle
from lastbit.oracles.spec import OracleSpec, fingerprint_of
from lastbit.runtimes.machine import Vectors, cpu_features, cpu_text, widest_vectors

__all__ = ["can_hide", "hidden_spec", "masks", "open_hidden"]

_AVX512 = ("avx512f", "avx512dq", "avx512ifma", "avx512cd", "avx512bw", "avx512vl")
_AVX512_LATER = ("avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bitalg", "avx512_vpopcntdq", "avx512_bf16")
_LATEST = ("avx512_vp2intersect", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16")

HIDDEN: dict[Vectors, tuple[str, ...]] = {
    "AVX512": (*_AVX512_LATER, *_LATEST, "avx_vnni", "avx_ifma", "gfni"),
    "AVX-VNNI": (*_AVX512, *_AVX512_LATER, *_LATEST),
    "AVX2": (*_AVX512, *_AVX512_LATER, *_LATEST, "avx_vnni", "avx_ifma", "gfni"),
}
"""Kind of CPU -> what a better one has beside it, as Linux spells it."""

# Linux's name of a feature -> which of the five masks, and its bit there.
_PLACES = {
    **dict(zip(_AVX512, ((0, bit) for bit in (16, 17, 21, 28, 30, 31)), strict=True)),
    **dict(zip(_AVX512_LATER, ((1, 1), (1, 6), (1, 11), (1, 12), (1, 14), (3, 5)), strict=True)),
    **dict(zip(_LATEST, ((2, 8), (2, 23), (2, 24), (2, 22), (2, 25), (3, 21)), strict=True)),
    "gfni": (1, 8),
    "avx_vnni": (3, 4),
    "avx_ifma": (3, 23),
}
# All of leaf 7.1's EDX: AVX-VNNI-INT8 and what came after it.
_ALL = 0xFFFFFFFF


def masks(kind: Vectors) -> str:
    """The value of HIDE_CPUID for a kind of CPU.

    >>> masks("AVX2")
    'd0230000 5942 3c00100 a00030 ffffffff'
    """
    found = [0, 0, 0, 0, _ALL]
    for feature in HIDDEN[kind]:
        place, bit = _PLACES[feature]
        found[place] |= 1 << bit
    return " ".join(f"{mask:x}" for mask in found)


def can_hide(kind: Vectors) -> bool:
    """Whether this machine can be made to look like one of this kind."""
    if sys.platform != "linux" or "cpuid_fault" not in cpu_features() or kind not in HIDDEN:
        return False
    return widest_vectors(cpu_features() - set(HIDDEN[kind])) == kind


def hidden_spec(runtime: str) -> tuple[OracleSpec, str]:
    """How a runtime's interpreter is started so that it takes this CPU for its own kind, and what that CPU is.

    Raises:
        SystemExit: this CPU has not all that such a CPU has, or cannot hide what it has beside it.
    """
    spec = ORACLES[runtime]
    kind = next((kind for kind in spec.vectors if can_hide(kind)), None)
    if kind is None:
        raise SystemExit(f"{runtime} needs a CPU of the kind {' or '.join(spec.vectors)}; this one cannot look like it")
    environment = {**spec.environment, "LD_PRELOAD": _library(), "HIDE_CPUID": masks(kind)}
    return replace(spec, environment=environment), _cpu_text(kind)


def open_hidden(runtime: str) -> Oracle:
    """The oracle of a runtime whose kind of CPU is a lesser one than this.

    Raises:
        SystemExit: see `hidden_spec`; or the interpreter is not installed.
    """
    spec, cpu = hidden_spec(runtime)
    here = fingerprint_of(replace(spec, vectors=()))
    if here is None:
        raise SystemExit(f"{runtime} needs {spec.distribution}")
    fingerprint = Fingerprint(here.oracle, here.version, here.mode, cpu, here.platform)
    return Oracle(spec, fingerprint=fingerprint, timeout=600)


def _cpu_text(kind: Vectors) -> str:
    """The CPU's name and what it does not hide."""
    name, _, features = cpu_text().partition(" (")
    left = [f for f in features.partition(")")[0].split() if f not in HIDDEN[kind]]
    return f"{name} ({' '.join(left)}), other features hidden from CPUID"


@cache
def _library() -> str:
    """hide_features.c, compiled."""
    target = Path(tempfile.mkdtemp(prefix="lastbit-hidden-")) / "hide_features.so"
    source = Path(__file__).with_name("hide_features.c")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(target), str(source)], check=True)
    return str(target)
