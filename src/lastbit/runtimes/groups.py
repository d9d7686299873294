"""Runtimes in the five families that people know: short lists say these, and not twenty names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from . import cpus
from .cmsis_nn import CMSIS_NN
from .litert_builtin import LITERT_BUILTIN
from .litert_reference import LITERT_REFERENCE
from .litert_xnnpack import LITERT_XNNPACK
from .machine import ARM64
from .onnxruntime import ONNXRUNTIME
from .tflm import TFLM
from .torch_fbgemm import TORCH_FBGEMM

__all__ = ["GROUPS", "Group", "group_of", "in_groups"]


class Group(StrEnum):
    """A family of runtimes, as it is printed."""

    X86 = "x86"
    ARM64 = "ARM64"
    TFLM = "TFLM"
    CMSIS_NN = "CMSIS-NN"
    LIBRARIES = "libraries"


_LITERT = {**LITERT_XNNPACK.runtimes, **LITERT_BUILTIN.runtimes, **LITERT_REFERENCE.runtimes}
_LITERT_CPUS = [cpu for cpu, _ in cpus() if cpu.name in _LITERT]

GROUPS: dict[Group, tuple[str, ...]] = {
    Group.X86: tuple(cpu.name for cpu in _LITERT_CPUS if cpu.machines != ARM64),
    Group.ARM64: tuple(cpu.name for cpu in _LITERT_CPUS if cpu.machines == ARM64),
    Group.TFLM: tuple(TFLM.runtimes),
    Group.CMSIS_NN: tuple(CMSIS_NN.runtimes),
    Group.LIBRARIES: (*ONNXRUNTIME.runtimes, *TORCH_FBGEMM.runtimes),
}
"""LiteRT on x86-64 (and its portable code), LiteRT on ARM64, TensorFlow Lite Micro, CMSIS-NN, and other libraries."""

_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def group_of(runtime: str) -> Group | None:
    """The family of a runtime, whatever its version; None where the name is not in the tables.

    >>> group_of("litert-xnnpack-arm64@2.0"), group_of("tflm"), group_of("made-up")
    (<Group.ARM64: 'ARM64'>, <Group.TFLM: 'TFLM'>, None)
    """
    return _GROUP_OF.get(runtime.partition("@")[0])


def in_groups(names: Iterable[str], of: Sequence[str]) -> dict[Group, tuple[int, int]]:
    """How many runtimes of each family are among `names`, and how many there are among all that were asked.

    >>> in_groups(["tflm"], ["tflm", "cmsis-nn"])
    {<Group.TFLM: 'TFLM'>: (1, 1), <Group.CMSIS_NN: 'CMSIS-NN'>: (0, 1)}

    Args:
        names: the runtimes that something holds for.
        of: all runtimes that were asked.
    """
    found = set(names)
    members = {group: [name for name in of if group_of(name) is group] for group in Group}
    return {group: (len(found.intersection(own)), len(own)) for group, own in members.items() if own}
