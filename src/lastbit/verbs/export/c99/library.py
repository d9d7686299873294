"""What one C file is made of: helpers, types, functions and constants, each once and under a name of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....model.types import Array
from ..vectors import checksum
from . import text
from .helpers import HELPERS

__all__ = ["ConstantArray", "Library"]


@dataclass(frozen=True)
class ConstantArray:
    """A constant array, as a self-test looks at it.

    Attributes:
        name: the array.
        kind: its element type.
        size: its elements.
        sum: their checksum.
    """

    name: str
    kind: str
    size: int
    sum: int


class Library:
    """The parts of a C file as they are asked for. A part that is there already is not added again.

    Attributes:
        floats: whether something in it calculates with floats.
        constant_bytes: of all arrays.
        sums: array -> its checksum; those of floats have none.
    """

    def __init__(self) -> None:
        self._helpers: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._tables: dict[str, str] = {}
        self._arrays: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self.floats = False
        self.constant_bytes = 0
        self.sums: dict[str, ConstantArray] = {}

    def helper(self, *names: str) -> None:
        """Take helpers with all that they call."""
        for name in names:
            if name in self._helpers:
                continue
            helper = HELPERS[name]
            self.helper(*helper.calls)
            self._helpers[name] = helper.text
            self.floats = self.floats or helper.floats

    def function(self, stem: str, body: str) -> str:
        """Take a function or a type whose text calls itself `@`; returns its name."""
        number = 1
        name = stem
        while self._functions.get(name, body) != body:
            number += 1
            name = f"{stem}_{number}"
        self._functions[name] = body
        return name

    def array(self, name: str, dtype: np.dtype, values: Array) -> str:
        """Take a constant array that functions are given; returns its name."""
        return self._take(self._arrays, name, dtype, values)

    def table(self, name: str, dtype: np.dtype, values: Array) -> str:
        """Take a constant array that functions name, so that it stands before them; returns its name."""
        return self._take(self._tables, name, dtype, values)

    def _take(self, place: dict[str, str], name: str, dtype: np.dtype, values: Array) -> str:
        if name not in place:
            self.constant_bytes += max(values.size, 1) * np.dtype(dtype).itemsize
        kind = np.dtype(dtype)
        if kind.kind != "f":
            self.sums[name] = ConstantArray(name, kind.name, values.size, checksum(values))
        place[name] = text.array(name, dtype, values)
        return name

    def constant(self, name: str, declaration: str) -> str:
        """Take another constant; its declaration calls it `@`."""
        self._constants[name] = declaration.replace("@", name)
        return name

    @property
    def _data(self) -> list[str]:
        return [*self._arrays.values(), *self._constants.values()]

    @property
    def parts(self) -> list[str]:
        """Everything, in an order in which it compiles."""
        functions = (body.replace("@", name) for name, body in self._functions.items())
        return [*self._tables.values(), *self._helpers.values(), *functions, *self._data]
