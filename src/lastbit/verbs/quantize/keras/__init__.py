"""Keras files (.keras, .h5) to the float32 .tflite graph that TFLiteConverter makes of them, without TensorFlow."""

from __future__ import annotations

import os
from dataclasses import replace

from ....model.errors import UnsupportedError
from ....model.graph import Model, Operator, Signature, Subgraph, Tensor
from ....model.tflite.writer import write
from ....model.types import FLOAT32, INT32, Array
from .archive import opened
from .arithmetic import Folding, Newton
from .fuse import ConverterFails, fuse
from .graph import Node
from .layers import Network, network
from .lower import lower

__all__ = ["SUFFIXES", "Folding", "Newton", "is_keras", "read_keras"]

SUFFIXES = (".keras", ".h5", ".hdf5")


def is_keras(source: object) -> bool:
    """Whether a path has the ending of a Keras file."""
    return isinstance(source, (str, os.PathLike)) and os.fspath(source).lower().endswith(SUFFIXES)


def read_keras(path: str | os.PathLike[str], folding: Folding | None = None) -> Model:
    """Read a Keras model and lower it to float32 operators as TFLiteConverter does.

    Weights, batch normalization folded into them and biases are the converter's to the last bit, on an Intel CPU.
    A shape that the converter calculates (SHAPE, PACK) is a constant with -1 for the batch here.

    Args:
        path: a .keras file, or an .h5 file of a whole model, of Keras 2 or 3.
        folding: how the converter's version folds constants; the newest one's without it.

    Returns:
        The float32 model; `model.content` is the .tflite file.

    Raises:
        ModelError: the file is missing, damaged or no Keras model.
        UnsupportedError: layers that are not covered; all are listed.
        OracleMissingError: h5py is not installed.
    """
    folding = folding or Folding()
    with opened(path) as file:
        found = network(file.config, file.path)
        nodes, outputs = lower(found, file, folding.newton)
        source = file.path
    try:
        nodes, outputs = fuse(nodes, outputs, folding, is_fixed=found.batch is not None)
    except ConverterFails as error:
        raise UnsupportedError(f"{source}: the converter gives up on this model", [str(error)]) from None
    graph = _subgraph(nodes, outputs, found)
    ends = _named(found.inputs, graph.inputs), _named(found.outputs, graph.outputs)
    signature = Signature("serving_default", 0, *ends)
    content = write(graph, signatures=(signature,))
    return Model((graph,), "LastBit", 3, content, source, signatures=(signature,))


def _named(names: tuple[str, ...], tensors: tuple[int, ...]) -> dict[str, int]:
    """The layers' names -> tensors, as a signature has them; a second one of a name gets a number."""
    found: dict[str, int] = {}
    for number, (name, index) in enumerate(zip(names, tensors, strict=True)):
        found[name if name not in found else f"{name}_{number}"] = index
    return found


def _subgraph(nodes: list[Node], outputs: list[Node], network: Network) -> Subgraph:
    tensors: list[Tensor] = []
    places: dict[Node, int] = {}
    constants: dict[int, int] = {}
    operators: list[Operator] = []
    kept: list[Array] = []  # so that no two constants have one id

    def constant(value: Array | None, name: str) -> int:
        if value is None:
            return -1
        if id(value) not in constants:
            kept.append(value)
            constants[id(value)] = len(tensors)
            dtype = INT32 if value.dtype.kind == "i" else FLOAT32
            tensors.append(Tensor(len(tensors), name, value.shape, value.shape, dtype, None, value))
        return constants[id(value)]

    for node in nodes:
        operands = [places[source] for source in node.inputs]
        operands += [constant(value, f"{node.name}/{number}") for number, value in enumerate(node.constants)]
        places[node] = len(tensors)
        shape = (node.rows * (network.batch or 1), *node.shape)
        signature = shape if network.batch else (-1, *node.shape)
        tensors.append(Tensor(len(tensors), node.name, shape, signature, FLOAT32, None, None))
        if node.op != "INPUT":
            operators.append(Operator(len(operators), node.op, 1, tuple(operands), (places[node],), node.options))
    names = [tensor.name for tensor in tensors]
    tensors = [
        tensor if names.count(tensor.name) == 1 else replace(tensor, name=f"{tensor.name}:{tensor.index}")
        for tensor in tensors
    ]
    fed = {node.name: places[node] for node in nodes if node.op == "INPUT"}
    return Subgraph(
        "main",
        tuple(tensors),
        tuple(operators),
        tuple(fed[name] for name in network.inputs),
        tuple(places[o] for o in outputs),
    )
