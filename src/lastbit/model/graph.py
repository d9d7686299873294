"""The Model: a graph exactly as its file has it. Immutable, and it knows no runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from .errors import InputError, UnsupportedError
from .faults import Fault, FaultKind
from .html import few_lines, html_table
from .types import Array, DType, FileBytes, QuantParams

__all__ = ["Model", "Operator", "Signature", "Subgraph", "Tensor"]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: its index in the subgraph.
        name: its name in the file (need not be unique, may be empty).
        shape: its shape in the file.
        shape_signature: the shape with -1 for dimensions that the file leaves open; `shape` where it says none.
        dtype: its element type.
        quant: scales and zero points, or None.
        data: the constant's values, read-only, in `shape` (int4 unpacked to int8), or None for a tensor that is
            computed or fed.
        is_variable: whether it keeps its value between invocations.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: DType
    quant: QuantParams | None
    data: Array | None
    is_variable: bool = False

    @property
    def label(self) -> str:
        """How errors and tables name this tensor: index and name."""
        return f"tensor {self.index} {self.name!r}"


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a subgraph.

    Attributes:
        index: its position in the file's execution order.
        name: its built-in name such as `FULLY_CONNECTED`, or `CUSTOM(name)`.
        version: the operator version in the file.
        inputs: tensor indices; -1 marks an optional input that is absent.
        outputs: tensor indices.
        options: the built-in options that LastBit reads, by their schema names.
        intermediates: tensor indices of what it calculates inside and notes scales for (LSTM); mostly none.
    """

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | str | tuple[int, ...]] = field(default_factory=dict)
    intermediates: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """How errors and tables name this operator: index and name."""
        return f"operator {self.index} {self.name}"


@dataclass(frozen=True, eq=False)
class Subgraph:
    """One subgraph: tensors, operators in execution order, and which tensors are fed and returned."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def scales_known(self) -> bool:
        """Whether every scale is a real one: a layer given by multiplier and shift has none."""
        return all(tensor.quant is None or tensor.quant.known for tensor in self.tensors)

    def require_scales(
        self, why: str = "no .tflite file can hold it, so no real interpreter can run it. Give the scales"
    ) -> None:
        """Refuse what needs real scales, which a layer given by multiplier and shift does not have.

        Args:
            why: what cannot be done without them; by default what needs a .tflite file.

        Raises:
            UnsupportedError: the scales are not known.
        """
        if not self.scales_known:
            raise UnsupportedError(f"the layer is given by multiplier and shift: {why}")


@dataclass(frozen=True)
class Signature:
    """One signature: names for inputs and outputs of a subgraph, which need not be the tensors' own.

    Attributes:
        key: its name, such as `serving_default`.
        subgraph: the subgraph's index.
        inputs: name -> tensor index.
        outputs: name -> tensor index.
    """

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Model:
    """A .tflite model as its file has it.

    The main subgraph's parts are reached directly: `model.tensors`, `model.operators`, `model.inputs`,
    `model.outputs`. Other subgraphs (of control flow and resources) are listed in `subgraphs`.

    Attributes:
        subgraphs: at least one; the first is the main one.
        description: the file's own description.
        version: the schema version (3).
        content: the file's bytes, unchanged; a large file's are mapped, not read.
        source: the path it was read from, or `<bytes>`.
        faults: what is wrong with the file that some runtime runs all the same.
        signatures: the file's signatures, in its order.
    """

    subgraphs: tuple[Subgraph, ...]
    description: str
    version: int
    content: FileBytes = field(repr=False)
    source: str = "<bytes>"
    faults: tuple[Fault, ...] = ()
    signatures: tuple[Signature, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The main subgraph's tensors."""
        return self.subgraphs[0].tensors

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The main subgraph's operators, in execution order."""
        return self.subgraphs[0].operators

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that are fed."""
        return tuple(self.tensors[i] for i in self.subgraphs[0].inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors that are returned."""
        return tuple(self.tensors[i] for i in self.subgraphs[0].outputs)

    @property
    def first_input(self) -> Tensor:
        """The first (usually only) input.

        Raises:
            InputError: the model has none.
        """
        if not self.inputs:
            raise InputError(f"{self.source}: the model has no inputs, so there is nothing to feed.")
        return self.inputs[0]

    @property
    def first_output(self) -> Tensor:
        """The first (usually only) output.

        Raises:
            InputError: the model has none.
        """
        if not self.outputs:
            raise InputError(f"{self.source}: the model has no outputs, so there is nothing to compare or count.")
        return self.outputs[0]

    @property
    def dense_operators(self) -> tuple[Operator, ...]:
        """The FULLY_CONNECTED operators of the main subgraph, in execution order."""
        return tuple(op for op in self.operators if op.name == "FULLY_CONNECTED")

    def with_signature(self, key: str) -> Model:
        """The same model with one of its signatures alone, by whose names inputs and outputs are then called.

        Raises:
            InputError: there is no such signature, or it is of another subgraph than the main one.
        """
        chosen = next((signature for signature in self.signatures if signature.key == key), None)
        keys = ", ".join(repr(signature.key) for signature in self.signatures) or "none"
        if chosen is None:
            raise InputError(f"{self.source}: there is no signature {key!r}; the model has: {keys}.")
        if chosen.subgraph != 0:
            raise InputError(
                f"{self.source}: the signature {key!r} runs subgraph {chosen.subgraph}; LastBit runs the main one. "
                f"The model's signatures are: {keys}."
            )
        return replace(self, signatures=(chosen,))

    @cached_property
    def signature_names(self) -> Mapping[int, str]:
        """Tensor index -> its name in the main subgraph's signature. Empty where there are several signatures."""
        main = [signature for signature in self.signatures if signature.subgraph == 0]
        if len(main) != 1:
            return {}
        return {index: name for part in (main[0].outputs, main[0].inputs) for name, index in part.items()}

    def input_named(self, key: str) -> Tensor | None:
        """The input of this name: its tensor's, the signature's, or its index as text. None where there is none.

        Raises:
            InputError: several inputs have this name.
        """
        named = [tensor for tensor in self.inputs if tensor.name == key]
        if len(named) > 1:
            labels = ", ".join(map(self.input_label, self.inputs))
            raise InputError(f"{len(named)} inputs of {self.source} are named {key!r}; use the index: {labels}.")
        others = [
            tensor for tensor in self.inputs if key in (self.signature_names.get(tensor.index), str(tensor.index))
        ]
        return next(iter((*named, *others)), None)

    def input_label(self, tensor: Tensor) -> str:
        """How errors name an input: index, name, and the signature's name where it has another."""
        name = self.signature_names.get(tensor.index, tensor.name)
        return tensor.label + (f" (signature: {name!r})" if name != tensor.name else "")

    @cached_property
    def fed_or_computed(self) -> frozenset[int]:
        """The main subgraph's tensors that are inputs or that an operator writes."""
        graph = self.subgraphs[0]
        return frozenset(graph.inputs).union(*(op.outputs for op in graph.operators))

    @cached_property
    def writers(self) -> Mapping[int, Operator]:
        """Tensor index -> the last operator of the main subgraph that writes it."""
        return {index: op for op in self.operators for index in op.outputs}

    @cached_property
    def constant_outputs(self) -> Mapping[int, Array]:
        """Tensor index -> value, for the outputs whose values are in the file."""
        return {
            tensor.index: tensor.data
            for tensor in self.outputs
            if tensor.data is not None and tensor.index not in self.fed_or_computed
        }

    @cached_property
    def first_faults(self) -> Mapping[FaultKind, Fault]:
        """For each kind of fault that the file has, the first one."""
        return {fault.kind: fault for fault in reversed(self.faults)}

    @cached_property
    def faults_of_tensors(self) -> Mapping[int, tuple[Fault, ...]]:
        """Tensor index -> the faults that are about it."""
        found: dict[int, tuple[Fault, ...]] = {}
        for fault in self.faults:
            if fault.tensor is not None and fault.operator is None:
                found[fault.tensor] = (*found.get(fault.tensor, ()), fault)
        return found

    @cached_property
    def faults_of_operators(self) -> Mapping[int, tuple[Fault, ...]]:
        """Operator index -> the faults that are about it."""
        found: dict[int, tuple[Fault, ...]] = {}
        for fault in self.faults:
            if fault.operator is not None:
                found[fault.operator] = (*found.get(fault.operator, ()), fault)
        return found

    def operator(self, index: int) -> Operator:
        """The operator with this index.

        Raises:
            InputError: there is no such operator.
        """
        if not 0 <= index < len(self.operators):
            raise InputError(
                f"{self.source}: there is no operator {index}; the model has operators 0 to {len(self.operators) - 1}. "
                "`lastbit inspect` lists them."
            )
        return self.operators[index]

    def operand(self, op: Operator, position: int) -> Tensor | None:
        """The tensor at an input position of an operator, or None where it is absent."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            return None
        return self.tensors[op.inputs[position]]

    def __repr__(self) -> str:
        counts = f"{len(self.operators)} operators, {len(self.tensors)} tensors, {len(self.dense_operators)} dense"
        return few_lines(["Model(", f"{self.source!r}, {counts})"])

    def _repr_html_(self) -> str:
        rows = [
            (
                op.index,
                op.name,
                ", ".join(self._shape_text(i) for i in op.inputs),
                ", ".join(self._shape_text(i) for i in op.outputs),
            )
            for op in self.operators
        ]
        return html_table(repr(self), ("#", "operator", "inputs", "outputs"), rows)

    def _shape_text(self, index: int) -> str:
        if index < 0:
            return "-"
        tensor = self.tensors[index]
        return f"{tensor.index}: {tensor.dtype.name}{list(tensor.shape)}"
