"""What each operator wants of its tensors: ai-edge-quantizer's first half, from ranges to parameters.

It goes through the operators in order, then through what feeds the graph and what it returns. Ranges change on the way:
an operator that keeps a scale hands on its input's range, one of fixed scale that scale's own.

Source: google-ai-edge/ai-edge-quantizer (0.10.0) params_generator.py and algorithms/utils/common_utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ....model.graph import Operator, Subgraph, Tensor
from ....model.types import Array
from .numbers import (
    Range,
    RankError,
    UseParameters,
    bias_parameters,
    fixed_parameters,
    integers,
    parameters,
    value_range,
)
from .recipe import INPUT, OPERATORS, OUTPUT, WEIGHTED, Operation, Recipe, ScaleOwner

__all__ = ["OUTSIDE", "GivesUp", "TensorUses", "Use", "Wish", "all_uses", "float_range"]

# The number that stands for whatever feeds the graph or takes its outputs.
OUTSIDE = -1


class Wish(Enum):
    """What one operator wants of one tensor."""

    FLOAT = "float32 as it is"
    INTEGERS = "a constant's integers"
    QUANTIZED = "quantized, by a QUANTIZE if need be"
    REAL = "given as integers; whoever wants it as float32 needs a DEQUANTIZE"


class GivesUp(Exception):
    """The quantizer ends with an error; the text says where."""


@dataclass(frozen=True, eq=False)
class Use:
    """One operator's wish.

    Attributes:
        op: the operator's number, OUTSIDE for what is not one.
        wish: what it wants.
        params: how it is quantized; None where it stays float32.
    """

    op: int
    wish: Wish
    params: UseParameters | None = None

    def same(self, other: Use) -> bool:
        """Whether two users can share what is made for one of them."""
        if self.params is None or other.params is None:
            return self.wish is other.wish and self.params is other.params
        return self.wish is other.wish and self.params.same(other.params)


@dataclass(eq=False)
class TensorUses:
    """A tensor's producer, None for a constant or what is fed, and its users in order."""

    producer: Use | None = None
    users: list[Use] = field(default_factory=list)


def all_uses(
    graph: Subgraph, buffers: Sequence[int], ranges: Mapping[int, Range], recipe: Recipe
) -> dict[int, TensorUses]:
    """Tensor index -> its uses, in the order in which tensors are first met.

    Args:
        graph: the float32 graph.
        buffers: each tensor's buffer in the file; constants of one buffer share what was calculated first.
        ranges: tensor index -> (least, greatest), float32 with as many dimensions as the tensor.
        recipe: what is quantized.

    Raises:
        GivesUp: the quantizer cannot go on.
    """
    run = _Uses(graph, buffers, ranges, recipe)
    for op in graph.operators:
        run.visit(op.index, op.name, op, op.inputs, op.outputs)
    run.visit(OUTSIDE, INPUT, None, (), graph.inputs)
    run.visit(OUTSIDE, OUTPUT, None, graph.outputs, ())
    return run.found


class _Uses:
    """One walk through a graph."""

    def __init__(self, graph: Subgraph, buffers: Sequence[int], ranges: Mapping[int, Range], recipe: Recipe) -> None:
        self.tensors = graph.tensors
        self.buffers = buffers
        self.ranges = dict(ranges)
        self.recipe = recipe
        self.found: dict[int, TensorUses] = {}
        self.known: dict[tuple[int, int, bool], UseParameters] = {}

    def visit(self, number: int, name: str, op: Operator | None, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """One operator."""
        operation = OPERATORS.get(name)
        if operation is None or not self.recipe.quantizes(name):
            wanted = [Use(number, Wish.FLOAT)] * len(inputs), [Use(number, Wish.FLOAT)] * len(outputs)
        else:
            try:
                wanted = self.wishes(number, name, op, operation, inputs, outputs)
            except RankError:
                where = "what feeds the graph" if op is None else op.label
                raise GivesUp(f"{where}: a constant's dimensions are not those of the scale that it shares") from None
        for index, use in zip(inputs, wanted[0], strict=True):
            if index >= 0:
                self.found.setdefault(index, TensorUses()).users.append(use)
        for index, use in zip(outputs, wanted[1], strict=True):
            self.found.setdefault(index, TensorUses()).producer = use

    def wishes(
        self,
        number: int,
        name: str,
        op: Operator | None,
        operation: Operation,
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> tuple[list[Use], list[Use]]:
        """What an operator wants of its inputs and outputs."""
        given = [Use(number, Wish.FLOAT)] * len(inputs)
        made = [Use(number, Wish.FLOAT)] * len(outputs)
        values = [k for k, i in enumerate(inputs) if i >= 0 and k not in operation.ignored and self.is_float(i)]
        results = [k for k, i in enumerate(outputs) if self.is_float(i)]
        axis = self.axis(op, operation)
        if operation.scales is ScaleOwner.INPUTS and (values or results):
            if len(values) != 1:
                raise GivesUp(f"{name} shares its input's scale and has {len(values)} inputs that are values")
            first = self.own(name, inputs[values[0]], axis)
            given[values[0]] = self.wish(number, inputs[values[0]], first, True)
            for k in results:
                made[k] = self.wish(number, outputs[k], self.with_data(first, outputs[k]), False)
            self.hand_on(inputs[values[0]], first, [outputs[k] for k in results])
            return given, made
        shared = None
        if operation.scales is ScaleOwner.OUTPUTS and (values or results):
            if len(results) != 1:
                raise GivesUp(f"{name} shares its output's scale and has {len(results)} outputs that are values")
            shared = self.own(name, outputs[results[0]], axis)
        for k in values:
            params = self.own(name, inputs[k], axis) if shared is None else self.with_data(shared, inputs[k])
            given[k] = self.wish(number, inputs[k], params, True)
        for k in results:
            params = self.own(name, outputs[k], axis) if shared is None else shared
            made[k] = self.wish(number, outputs[k], params, False)
        if operation.bias is not None:
            self.bias(number, operation.bias, inputs, given)
        if operation.scales is ScaleOwner.FIXED and self.recipe.activations is not None and made and made[0].params:
            params = fixed_parameters(self.recipe.activations, *operation.fixed[self.recipe.activations])
            made[0] = Use(number, made[0].wish, params)
            self.ranges[outputs[0]] = params.range
        return given, made

    def is_float(self, index: int) -> bool:
        """Whether a tensor is float32."""
        return self.tensors[index].dtype.name == "float32"

    def axis(self, op: Operator | None, operation: Operation) -> int | None:
        """The axis of a constant's channels; for products of matrices that of the columns."""
        if op is None or op.name != "BATCH_MATMUL":
            return operation.axis
        return -2 if op.options.get("adj_y") else -1

    def own(self, name: str, index: int, axis: int | None) -> UseParameters | None:
        """A tensor's parameters by its own range, or a constant's by its values."""
        data = self.tensors[index].data
        weights = data is not None and name in WEIGHTED
        bits = self.recipe.weights if weights else self.recipe.activations
        if bits is None:
            return None
        symmetric = weights or bits == 16
        if data is None:
            return parameters(self.ranges[index], bits, symmetric)
        key = (self.buffers[index], bits, weights)
        if key not in self.known:
            # The range goes along the channels for every constant of such an operator, weights or not.
            channels = None if axis is None else axis % data.ndim if axis < 0 else axis
            if channels is not None and channels >= data.ndim:
                raise RankError
            params = parameters(value_range(data, channels), bits, symmetric, channels if weights else None)
            self.known[key] = _with_integers(params, data)
        return self.known[key]

    def with_data(self, params: UseParameters | None, index: int) -> UseParameters | None:
        """Another tensor's parameters, with a constant's integers by them."""
        data = self.tensors[index].data
        bare = None if params is None else _without_integers(params)
        return bare if bare is None or data is None else _with_integers(bare, data)

    def hand_on(self, source: int, params: UseParameters | None, outputs: Sequence[int]) -> None:
        """Outputs have the input's range; a constant's is that of its parameters."""
        if params is None:
            return
        # Only constants have no range yet.
        limits = params.range if self.tensors[source].data is not None else self.ranges[source]
        self.ranges.update(dict.fromkeys(outputs, limits))

    def wish(self, number: int, index: int, params: UseParameters | None, is_input: bool) -> Use:
        """The wish that goes with parameters."""
        constant = self.tensors[index].data is not None
        if self.recipe.activations is None:
            if not (is_input and constant):
                return Use(number, Wish.FLOAT, params)
            return Use(number, Wish.INTEGERS if self.recipe.in_kernel else Wish.REAL, params)
        if not is_input:
            return Use(number, Wish.REAL, params)
        return Use(number, Wish.INTEGERS if constant else Wish.QUANTIZED, params)

    def bias(self, number: int, places: tuple[int, int, int], inputs: Sequence[int], given: list[Use]) -> None:
        """A bias follows from the input and the weights; it stays float32 where the activations do."""
        place, source, weights = places
        if place >= len(inputs) or inputs[place] < 0 or self.recipe.activations is None:
            return
        data, first, second = self.tensors[inputs[place]].data, given[source].params, given[weights].params
        if data is None or first is None or second is None:
            raise GivesUp(f"{self.tensors[inputs[place]].label} is a bias that is computed")
        given[place] = Use(number, Wish.INTEGERS, bias_parameters(data, first, second))


def _with_integers(params: UseParameters, data: Array) -> UseParameters:
    return UseParameters(
        params.bits, params.scale, params.zero_point, params.symmetric, params.axis, integers(data, params)
    )


def _without_integers(params: UseParameters) -> UseParameters:
    if params.data is None:
        return params
    return UseParameters(params.bits, params.scale, params.zero_point, params.symmetric, params.axis)


def float_range(tensor: Tensor, low: np.float32, high: np.float32) -> Range:
    """A calibrated range as the quantizer holds it: float32 with as many dimensions as the tensor."""
    shape = (1,) * len(tensor.shape)
    return np.full(shape, low, np.float32), np.full(shape, high, np.float32)
