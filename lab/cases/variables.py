"""Models that keep values between calls: a delay line, two handles of one variable, and no first value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab.cases.operators import Array
from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import load, write
from lastbit.model.types import DTYPES, QuantParams

__all__ = ["Stream", "streams"]

_DTYPE = {dtype.name: dtype for dtype in DTYPES.values()}


@dataclass(frozen=True)
class Stream:
    """A model and what it is fed, call by call.

    Attributes:
        name: what it is for.
        content: the file.
        calls: the input of each call.
    """

    name: str
    content: bytes
    calls: tuple[Array, ...]

    def model(self) -> Model:
        """The same, loaded."""
        return load(self.content)


def streams(rng: np.random.Generator, dtype: str, calls: int = 12) -> Iterator[Stream]:
    """A model of each kind with values of this type."""
    for name, first in (("delay", True), ("assigned before it is read", False)):
        yield _stream(rng, name, dtype, calls, first)


def _stream(rng: np.random.Generator, name: str, dtype: str, calls: int, first: bool) -> Stream:
    """X -> what was assigned in the call before, and through a second handle what is assigned now."""
    shape = (1, int(rng.integers(1, 20)))
    quant = None if dtype in ("float32", "int32") else QuantParams(np.float32([0.5]), np.int64([0]))
    handle, kind = _DTYPE["resource"], _DTYPE[dtype]

    def tensor(index: int, label: str, *, data: Array | None = None, resource: bool = False) -> Tensor:
        where = () if resource else shape
        return Tensor(index, label, where, where, handle if resource else kind, None if resource else quant, data)

    def values() -> Array:
        if dtype == "float32":
            return rng.normal(size=shape).astype(np.float32)
        info = np.iinfo(kind.numpy)
        return rng.integers(info.min, info.max, shape, kind.numpy, endpoint=True)

    named = {"container": "", "shared_name": "line"}
    read_before = [Operator(3, "READ_VARIABLE", 1, (1,), (3,), {})] if first else []
    operators = [
        Operator(0, "CALL_ONCE", 1, (), (), {"init_subgraph_index": 1}),
        Operator(1, "VAR_HANDLE", 1, (), (1,), named),
        Operator(2, "VAR_HANDLE", 1, (), (2,), named),
        *read_before,
        Operator(4, "ASSIGN_VARIABLE", 1, (1, 0), (), {}),
        Operator(5, "READ_VARIABLE", 1, (2,), (4,), {}),
    ][0 if first else 1 :]
    main = Subgraph(
        "main",
        (
            tensor(0, "x"),
            tensor(1, "handle", resource=True),
            tensor(2, "again", resource=True),
            tensor(3, "before"),
            tensor(4, "now"),
        ),
        tuple(Operator(i, op.name, 1, op.inputs, op.outputs, op.options) for i, op in enumerate(operators)),
        (0,),
        (3, 4) if first else (4,),
    )
    begin = Subgraph(
        "begin",
        (tensor(0, "handle", resource=True), tensor(1, "first", data=values())),
        (Operator(0, "VAR_HANDLE", 1, (), (0,), named), Operator(1, "ASSIGN_VARIABLE", 1, (0, 1), (), {})),
        (),
        (),
    )
    return Stream(name, write(main, others=[begin] if first else []), tuple(values() for _ in range(calls)))
