"""What is known of one explained output element of an operator that is no dense layer, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ...arith.exact import ExactStep
from ...layers.window_products import RealProducts, WindowProducts
from ...model.graph import Model, Tensor
from ...ops.base import PreparedOperator
from ...ops.products.convolution import PreparedConvolution
from ...runtimes import Runtime

__all__ = ["OperatorElement", "OperatorNumbers", "OperatorRuntime"]


@dataclass(frozen=True)
class OperatorRuntime:
    """What one runtime prints for the element.

    Attributes:
        name: the runtime.
        rule: its rule, empty where it refuses.
        kernel: the kernel family.
        output: the value; None where it refuses.
        mismatched: how many elements of the whole output differ from the explained runtime's.
        first_difference: the first step that differs, in words; empty where none does.
        refused: why it does not run the operator.
    """

    name: str
    rule: str = ""
    kernel: str = ""
    output: int | float | None = None
    mismatched: int = 0
    first_difference: str = ""
    refused: str = ""


@dataclass(frozen=True, eq=False)
class OperatorElement:
    """The numbers of one output element.

    Attributes:
        index: its place in the output.
        inputs: the inputs' elements that meet there, by the input tensor's index; empty for reductions.
        members: of a reduction, a window or a row: the elements that are made into one.
        products: of a convolution of integers, what it adds up.
        real: of a float32 layer, what it adds up.
        conditions: of a rule that is a choice: its conditions in words, and whether each is met here.
        moved: of an operator that moves values: the input tensor and the place in it.
        steps: every step in exact numbers; empty for operators that have no slow twin.
        trace: the named steps that were calculated, at this place.
        output: the value.
    """

    index: tuple[int, ...]
    inputs: tuple[tuple[int, int | float], ...]
    members: tuple[int, ...]
    products: WindowProducts | None
    real: RealProducts | None
    conditions: tuple[tuple[str, bool], ...]
    moved: tuple[int, tuple[int, ...]] | None
    steps: tuple[ExactStep, ...]
    trace: tuple[tuple[str, int | float], ...]
    output: int | float


@dataclass(frozen=True, eq=False, repr=False)
class OperatorNumbers:
    """One output element of an operator, and what every runtime makes of it.

    Attributes:
        model: the model.
        prepared: the operator, prepared for the runtime.
        runtime: the runtime.
        input_source: where the operator's inputs came from.
        choice: how the element was chosen.
        element: its numbers.
        others: every runtime, the explained one included.
        size: how many elements the output has.
        differing: how many of them are not the same in all runtimes.
    """

    model: Model
    prepared: PreparedOperator
    runtime: Runtime
    input_source: str
    choice: str
    element: OperatorElement
    others: tuple[OperatorRuntime, ...]
    size: int
    differing: int

    @property
    def output(self) -> int | float:
        """The element's value."""
        return self.element.output

    @property
    def tensors(self) -> list[tuple[str, Tensor]]:
        """The operator's tensors with their roles, those with a quantization."""
        op = self.prepared.operator
        inputs = [self.model.tensors[i] for i in op.inputs if i >= 0]
        roles = ["input"] if len(inputs) == 1 else [f"input {n}" for n in range(1, len(inputs) + 1)]
        if isinstance(self.prepared, PreparedConvolution):
            roles = ["input", "weights"]
            inputs = [self.prepared.convolution.input, self.prepared.convolution.weights]
        pairs = list(zip(roles, inputs, strict=False))
        pairs += [("output", self.model.tensors[index]) for index in op.outputs[:1]]
        return [(role, tensor) for role, tensor in pairs if tensor.quant is not None and tensor.quant.scale.size]
