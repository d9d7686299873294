"""Runtimes that follow the same rules for one model, and what each arithmetic prints for rows of its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...engines import AUTO, choose_engine
from ...engines.executable import Executable
from ...engines.inputs import as_inputs, check_input, match_inputs
from ...model.graph import Model
from ...model.types import Array
from ...ops.prepare import PreparedModel

__all__ = ["InputRows", "SharedArithmetic", "by_sample", "products"]

# Products that one block of rows adds up, about: half a second's work without compiled kernels.
_BLOCK = 2 * 10**8

# Compiled kernels are worth their compilation from so many times the products on that `auto` goes by: convolutions
# have more rules to compile than dense layers.
_LATER = 3


def products(model: Model) -> int:
    """About how many products one sample adds up."""
    total = 0
    for op in model.operators:
        weights = model.operand(op, 1)
        if weights is None or weights.data is None or not op.outputs:
            continue
        output = model.tensors[op.outputs[0]].shape
        if op.name == "DEPTHWISE_CONV_2D" or op.name in ("FULLY_CONNECTED", "CONV_2D"):
            total += weights.data.size * math.prod(output[1:-1])
    return total


@dataclass(frozen=True, eq=False)
class InputRows:
    """The given input, in blocks of samples where samples are rows of one array.

    Attributes:
        blocks: what each run of the model is given: its inputs, in order.
        counts: samples of each block.
        work: products of one sample.
    """

    blocks: list[list[Array]]
    counts: list[int]
    work: int

    @classmethod
    def of(cls, model: Model, x: Any, output_size: int) -> InputRows:
        """Cut an input into blocks, where the model has one input and one sample in it and in its output.

        Args:
            model: the model.
            x: the input, as `lastbit.run` takes it.
            output_size: elements of the output that is compared.

        Raises:
            InputError: an array does not fit.
        """
        values = [check_input(tensor, value) for tensor, value in match_inputs(model, as_inputs(model, x))]
        work = products(model)
        output = model.outputs[0].shape
        if len(values) != 1 or not by_sample(model) or output_size != len(values[0]) * math.prod(output[1:]):
            return cls([values], [max(len(v) for v in values if v.ndim) if any(v.ndim for v in values) else 1], work)
        samples = values[0]
        size = max(_BLOCK // max(work, 1), 2)
        starts = list(range(0, len(samples), size))
        if len(starts) > 1 and len(samples) - starts[-1] == 1:
            del starts[-1]  # a single row is another calculation than several in some kernels
        parts = np.split(samples, starts[1:])
        return cls([[part] for part in parts], [len(part) for part in parts], work)


def by_sample(model: Model) -> bool:
    """Whether a batch is rows of the model's one input: one sample in the file's input and output."""
    tensors = (*model.inputs, model.outputs[0])
    return len(model.inputs) == 1 and all(len(t.shape) > 1 and t.shape[0] == 1 for t in tensors)


@dataclass(eq=False)
class SharedArithmetic:
    """A model in the arithmetic that several runtimes share, and what it printed so far.

    Attributes:
        prepared: the model in the first one's.
        outputs: its first output, block by block.
    """

    prepared: PreparedModel
    outputs: list[Array] = field(default_factory=list)
    _executables: dict[tuple[str, bool], Executable] = field(default_factory=dict)

    def run(self, inputs: Sequence[Array], work: float, *, one_by_one: bool = False) -> Array:
        """The model's first output.

        Args:
            inputs: the model's inputs, in order.
            work: products of all that is to be run like this: what the engine is chosen by.
            one_by_one: whether each sample comes alone.
        """
        key = choose_engine(AUTO, work / _LATER), one_by_one
        if key not in self._executables:
            self._executables[key] = Executable(self.prepared, key[0], one_by_one=one_by_one)
        given = list(inputs)
        return self._executables[key].outputs(given if len(given) > 1 else given[0])[0]

    def next_block(self, rows: InputRows) -> None:
        """Run the block after those that were run."""
        at = len(self.outputs)
        # The first block is every arithmetic's, the others are only some's.
        left = rows.counts[at] if at == 0 else sum(rows.counts[1:])
        self.outputs.append(self.run(rows.blocks[at], float(left) * rows.work))

    @property
    def printed(self) -> Array:
        """All that it printed so far."""
        return self.outputs[0] if len(self.outputs) == 1 else np.concatenate(self.outputs)
