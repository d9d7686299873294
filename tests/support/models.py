"""Models that tests make: a dense layer that many begin with, and a builder for every other graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant
from lastbit.model.types import QuantParams


class ModelBuilder:
    """A graph made step by step. Tensors are named by their index, operators are counted in the order of their steps.

    Args:
        base: a graph whose tensors and operators stand there already.
    """

    def __init__(self, base: Subgraph | None = None) -> None:
        self.tensors: list[Tensor] = list(base.tensors) if base else []
        self.operators: list[Operator] = list(base.operators) if base else []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        quantization: QuantParams | None = None,
        data: Any = None,
        name: str | None = None,
    ) -> int:
        """Add a tensor; data make it a constant of this element type."""
        index, kind, size = len(self.tensors), DTYPE_BY_NAME[dtype], tuple(shape)
        values = None if data is None else np.asarray(data, kind.numpy).reshape(size)
        self.tensors.append(Tensor(index, name or f"t{index}", size, size, kind, quantization, values))
        return index

    def constant(self, data: Any, dtype: str, quantization: QuantParams | None = None, name: str | None = None) -> int:
        """Add a constant of the data's shape."""
        return self.tensor(np.shape(data), dtype, quantization, data, name)

    def like(self, index: int, **changed: Any) -> int:
        """Add a tensor like another one, except for the fields named here."""
        new = len(self.tensors)
        self.tensors.append(replace(self.tensors[index], **{"name": f"t{new}", "data": None, **changed, "index": new}))
        return new

    def operator(
        self,
        name: str,
        inputs: Iterable[int],
        outputs: Iterable[int],
        *,
        version: int = 1,
        first: bool = False,
        **options: Any,
    ) -> int:
        """Add an operator behind the others, or before them; its first output."""
        made = Operator(0, name, version, tuple(inputs), tuple(outputs), options)
        self.operators.insert(0 if first else len(self.operators), made)
        return made.outputs[0]

    def graph(self, inputs: Iterable[int], outputs: Iterable[int]) -> Subgraph:
        """What was added, fed and read at these tensors."""
        operators = tuple(replace(op, index=index) for index, op in enumerate(self.operators))
        return Subgraph("main", tuple(self.tensors), operators, tuple(inputs), tuple(outputs))

    def content(self, inputs: Iterable[int], outputs: Iterable[int]) -> bytes:
        """The same as a .tflite file."""
        return write(self.graph(inputs, outputs))

    def model(self, inputs: Iterable[int], outputs: Iterable[int]) -> Model:
        """The same, loaded from its file."""
        return load(self.content(inputs, outputs))


def make_dense_model(units=5, depth=7, seed=0, per_channel=False, bias=True, **options):
    """A small dense model with random weights, as a loaded Model."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.002, 0.01, units) if per_channel else [0.005]
    graph = dense_subgraph(
        rng.integers(-127, 128, (units, depth)).astype(np.int8),
        input_quant=quant(0.02, 3),
        weights_quant=quant(scales),
        output_quant=quant(options.pop("output_scale", 0.02), -5),
        bias=rng.integers(-2000, 2000, units) if bias else None,
        **options,
    )
    return load(write(graph))
