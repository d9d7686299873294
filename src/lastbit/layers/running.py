"""One dense layer of a model, alone: fed with chosen rows, in LastBit's arithmetic and in a real interpreter."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import low_bits
from ..arith.matmul import pack_weights
from ..model.errors import InputError
from ..model.graph import Model, Operator, Subgraph, Tensor
from ..model.tflite.writer import extract_operator, write
from ..model.types import Array, IntArray, IntegerType, integer_type
from ..ops import OPERATORS
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.layer import DenseLayer
from ..ops.products.window_layer import WindowLayer, sums
from ..oracles import Oracle
from .window_images import images_of, inner_places, single_windows, without_padding

__all__ = [
    "LayerSums",
    "accumulators",
    "cut_out",
    "filled",
    "random_inputs",
    "random_rows",
    "rows_in_oracle",
    "rows_in_rule",
]


def cut_out(model: Model, layer: DenseLayer, rows: int) -> Subgraph:
    """The layer as a graph of its own, with a leading dimension that takes about this many rows in one call."""
    inner = math.prod(layer.input.shape[1:-1]) if layer.input.shape[-1:] == (layer.depth,) else 1
    try:
        return extract_operator(model, layer.operator, batch=max(math.ceil(rows / inner), 1))
    except InputError:
        # The input is flattened across its last dimension, and this batch gives no whole number of rows.
        return extract_operator(model, layer.operator, batch=layer.depth)


def filled(tensor: Tensor, depth: int, rows: Array) -> list[Array]:
    """Rows as inputs of one tensor's shape; the last input is filled up with the first rows again."""
    per_input = math.prod(tensor.shape) // depth
    inputs = math.ceil(len(rows) / per_input)
    cycled = np.resize(rows, (inputs * per_input, depth))
    return [chunk.reshape(tensor.shape) for chunk in np.split(cycled, inputs)]


def rows_in_oracle(oracle: Oracle, model: Model, layer: DenseLayer, rows: IntArray, at_once: int) -> Array:
    """What a real interpreter makes of rows of a layer's input.

    Args:
        oracle: the interpreter.
        model: the model.
        layer: one of its layers.
        rows: `[n, depth]` of the input's type.
        at_once: about how many rows go into one call.

    Returns:
        `[n, out]`.

    Raises:
        OracleFailure: it does not run the layer.
    """
    if isinstance(layer, WindowLayer):
        return _windows_in_oracle(oracle, model, layer, rows)
    graph = cut_out(model, layer, at_once)
    samples = filled(graph.tensors[0], layer.depth, rows)
    run = oracle.run(write(graph), [[x] for x in samples], label=layer.operator.label)
    return np.concatenate([outputs[0].reshape(-1, layer.units) for outputs in run.outputs])[: len(rows)]


def _windows_in_oracle(oracle: Oracle, model: Model, layer: WindowLayer, rows: IntArray) -> Array:
    """The same of windows of a convolution, in images of the model's own size or, where none fits, of one window."""
    found = images_of(layer, rows) if inner_places(layer) else None
    images, places = single_windows(layer, rows) if found is None else found
    graph = extract_operator(model, layer.operator, batch=len(images))
    graph = without_padding(graph, images.shape) if found is None else graph
    run = oracle.run(write(graph), [[images]], label=layer.operator.label)
    return run.outputs[0][0][places]


class LayerSums:
    """A layer's sums of products, with its weights laid out once for many calls.

    Args:
        prepared: the layer.
    """

    def __init__(self, prepared: PreparedDense) -> None:
        self._layer, self._bits, self._folded = prepared.layer, prepared.acc_bits, prepared.folded_bias
        self._pairs = prepared.pairs
        dtype = integer_type(self._layer.input.dtype)
        self._packed = pack_weights(self._layer.weights_values, largest_input=max(-dtype.qmin, dtype.qmax))

    def totals(self, rows: IntArray) -> npt.NDArray[np.int64]:
        """The sums with the bias, before any wrap: rows `[n, depth]` or `[n, groups * depth]` -> int64 `[n, out]`."""
        if rows.shape[1] != self._layer.depth:  # a window for each group
            return sums(self._layer, rows) + self._layer.bias_values
        total = self._packed.dot(rows) + self._folded
        if self._layer.weights_zero_point:
            total -= self._layer.weights_zero_point * rows.astype(np.int64).sum(axis=1, keepdims=True)
        return total if self._pairs is None else total + self._pairs.lost(rows)[0]

    def accumulators(self, rows: IntArray) -> npt.NDArray[np.int64]:
        """The same as the kernel's register holds them."""
        return low_bits(self.totals(rows), self._bits)


def accumulators(prepared: PreparedDense, rows: IntArray) -> npt.NDArray[np.int64]:
    """The accumulators of rows, int64 `[n, out]`, as the kernel's register holds them.

    Args:
        prepared: the layer.
        rows: `[n, depth]` of the input's type.
    """
    return LayerSums(prepared).accumulators(rows)


def rows_in_rule(prepared: PreparedDense, rows: IntArray) -> tuple[npt.NDArray[np.int64], Array]:
    """The accumulators and the outputs of rows, both `[n, out]`.

    Args:
        prepared: the layer, for the number of rows in a call that matters.
        rows: `[n, depth]` of the input's type.
    """
    accs = accumulators(prepared, rows)
    return accs, prepared.outputs_of(accs)


def random_rows(layer: DenseLayer, count: int, rng: np.random.Generator) -> IntArray:
    """Rows drawn evenly from the whole range of the input's type: `[count, depth]`."""
    dtype = integer_type(layer.input.dtype)
    drawn: IntArray = rng.integers(dtype.qmin, dtype.qmax, (count, layer.depth), dtype.numpy, endpoint=True)
    return drawn


def random_inputs(model: Model, rng: np.random.Generator) -> list[Array]:
    """Random inputs of a model: integers over their whole type, real values over the range that is then quantized."""
    return [_random_values(model, tensor, rng) for tensor in model.inputs]


def _role(op: Operator, tensor: Tensor) -> str:
    entry = OPERATORS.get(op.name)
    return "input" if entry is None else entry.role(op.inputs.index(tensor.index))


def _random_values(model: Model, tensor: Tensor, rng: np.random.Generator) -> Array:
    dtype = tensor.dtype
    for op in model.operators:
        if tensor.index in op.inputs and _role(op, tensor) == "output shape":
            return np.asarray(model.tensors[op.outputs[0]].shape, dtype.numpy)  # no other one makes sense
    if isinstance(dtype, IntegerType):
        return rng.integers(dtype.qmin, dtype.qmax, tensor.shape, dtype.numpy, endpoint=True)
    if dtype.name != "float32":
        return np.zeros(tensor.shape, dtype.numpy)
    low, high = -1.0, 1.0
    for op in model.operators:
        if op.name != "QUANTIZE" or op.inputs[:1] != (tensor.index,) or not op.outputs:
            continue
        output = model.tensors[op.outputs[0]]
        if output.quant is not None:
            scale, zero_point = float(output.quant.scale[0]), int(output.quant.zero_point[0])
            # A little beyond what the quantized type can hold, so that it saturates at times.
            kind = integer_type(output.dtype)
            low, high = (1.1 * scale * (q - zero_point) for q in (kind.qmin, kind.qmax))
    return rng.uniform(low, high, tensor.shape).astype(np.float32)
