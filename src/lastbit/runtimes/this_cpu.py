"""What an Interpreter made without options runs on this machine's CPU: the runtime where none is named."""

from __future__ import annotations

import platform

from ..model.errors import UnsupportedError
from .litert_xnnpack import LITERT_XNNPACK
from .machine import ARM64, X86_64, Vectors, cpu_text, tells_avx_vnni, widest_vectors

__all__ = ["ON_ARM64", "ON_X86_64", "THIS_CPU", "interpreter_here"]

THIS_CPU = ("auto", "litert", "tflite")
"""The names of what `Interpreter(model)` does on this CPU; the first is the default."""


def _kinds(machines: tuple[str, ...]) -> dict[Vectors, str]:
    return {cpu.vectors[0]: cpu.name for cpu in LITERT_XNNPACK.cpus if cpu.machines == machines}


ON_X86_64 = _kinds(X86_64)
"""Kind of CPU -> the runtime that LiteRT's default delegate follows there; the oldest kind last."""

ON_ARM64 = _kinds(ARM64)
"""The same of ARM64."""


def interpreter_here() -> str:
    """The name of the runtime that `Interpreter(model)` follows on this CPU.

    Raises:
        UnsupportedError: no proven runtime is for this CPU, or the system does not tell what it is. It names the
            nearest ones; none is taken instead.
    """
    kind = widest_vectors()
    if kind == "AVX2" and not tells_avx_vnni():
        kind = None
    known = ON_X86_64 | ON_ARM64
    if kind in known:
        return known[kind]
    family = ON_X86_64 if platform.machine() in X86_64 else ON_ARM64
    nearest = " and ".join(list(reversed(family.values()))[:2])
    raise UnsupportedError(
        f"no runtime is proven for what Interpreter(model) does on this CPU: {cpu_text()}.\n"
        f"Name the runtime that you want. The nearest are {nearest}; `lastbit runtimes` lists all."
    )
