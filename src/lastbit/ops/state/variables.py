"""VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE: values that a model keeps from one call to the next.

A variable's value stands at one tensor: the output of the first VAR_HANDLE that names the variable. READ_VARIABLE
reads it there, ASSIGN_VARIABLE puts a new one there. CALL_ONCE runs before the first call only, so what its subgraph
assigns is where a stream begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.graph import Model, Operator, Subgraph, Tensor
from ...model.types import Array
from ...runtimes.variant import Variant
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup, no_variant

__all__ = [
    "ENTRIES",
    "RULES",
    "assign_variant",
    "initial_state",
    "prepare_assign_variable",
    "prepare_call_once",
    "prepare_read_variable",
    "prepare_var_handle",
]

RULES: dict[str, str] = {"variable": "the variable keeps its value until the next assignment, also between calls"}


def assign_variant(model: Model, op: Operator) -> Variant:
    """The variant of ASSIGN_VARIABLE: the types of the value and of the handle."""
    handle, value = model.operand(op, 0), model.operand(op, 1)
    return Variant("absent" if value is None else value.dtype.name, "absent" if handle is None else handle.dtype.name)


def prepare_var_handle(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare VAR_HANDLE: it names a variable and computes nothing.

    Source: google-ai-edge/LiteRT, tflite/kernels/var_handle.cc; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/var_handle.cc.
    """
    return PreparedOperator(operator=op, rule=rule, inputs=(), evaluate=_nothing, writes=())


def prepare_call_once(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare CALL_ONCE: where its subgraph only assigns constants, they are the variables' first values.

    Raises:
        UnsupportedError: there is no such subgraph, or it does anything else.

    Source: google-ai-edge/LiteRT, tflite/kernels/call_once.cc; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/call_once.cc.
    """
    number = int(op.options.get("init_subgraph_index", 0))  # type: ignore[arg-type]
    if not 0 < number < len(model.subgraphs):
        raise refuse(op, f"there is no subgraph {number} to begin with")
    graph = model.subgraphs[number]
    for inner in graph.operators:
        if inner.name not in ("VAR_HANDLE", "ASSIGN_VARIABLE"):
            raise refuse(op, f"subgraph {number} has {inner.name}; LastBit covers those that assign constants only")
        if inner.name == "ASSIGN_VARIABLE" and _assigned(graph, inner) is None:
            raise refuse(op, f"subgraph {number} assigns what it computes; LastBit covers constants only")
    return PreparedOperator(operator=op, rule=rule, inputs=(), evaluate=_nothing, writes=())


def prepare_read_variable(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare READ_VARIABLE: the variable's value, with the output's shape and type.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: its handle is of no VAR_HANDLE; nothing was assigned before and CALL_ONCE gives no value; or
            a value has another type or shape than the output: LiteRT ends there, and TFLM copies bytes.

    Source: google-ai-edge/LiteRT, tflite/kernels/read_variable.cc; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/read_variable.cc.
    """
    place = _place(model, op)
    names = _names(model.subgraphs[0])
    assigning = [other for other in model.operators if other.name == "ASSIGN_VARIABLE"]
    assigning = [other for other in assigning if names.get(_handle(other)) == names[op.inputs[0]]]
    begun = _first_values(model)
    if place not in begun and all(other.index > op.index for other in assigning):
        raise refuse(op, "the variable is read before it has a value")
    output = model.tensors[op.outputs[0]]
    held = [required_operand(model, other, 1, "value") for other in assigning]
    for tensor in (*held, *([begun[place]] if place in begun else [])):
        if (tensor.dtype, tensor.shape) != (output.dtype, output.shape):
            raise refuse(op, f"the variable holds {_kind(tensor)}, and {_kind(output)} is read from it")

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return {"output": values[0]}

    return PreparedOperator(operator=op, rule=rule, inputs=(place,), evaluate=evaluate)


def prepare_assign_variable(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare ASSIGN_VARIABLE: the variable has this value from now on.

    Returns:
        Steps: `output`, the value, which goes to the variable.

    Raises:
        UnsupportedError: its handle is of no VAR_HANDLE, or the value is absent.

    Source: google-ai-edge/LiteRT, tflite/kernels/assign_variable.cc; tensorflow/tflite-micro,
    tensorflow/lite/micro/kernels/assign_variable.cc.
    """
    place, value = _place(model, op), required_operand(model, op, 1, "value")

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        return {"output": values[0]}

    return PreparedOperator(operator=op, rule=rule, inputs=(value.index,), evaluate=evaluate, writes=(place,))


def initial_state(model: Model) -> dict[int, Array]:
    """Where each variable's value stands -> the value that CALL_ONCE gives it."""
    return {place: tensor.data for place, tensor in _first_values(model).items() if tensor.data is not None}


def _first_values(model: Model) -> dict[int, Tensor]:
    """Where each variable's value stands -> the constant that CALL_ONCE assigns."""
    places = {name: place for place, name in _names(model.subgraphs[0]).items()}
    found = {}
    for op in model.operators:
        number = int(op.options.get("init_subgraph_index", 0))  # type: ignore[arg-type]
        if op.name != "CALL_ONCE" or not 0 < number < len(model.subgraphs):
            continue
        graph = model.subgraphs[number]
        names = _names(graph)
        for inner in graph.operators:
            if inner.name != "ASSIGN_VARIABLE" or _handle(inner) not in names:
                continue
            place, value = places.get(names[_handle(inner)]), _assigned(graph, inner)
            if place is not None and value is not None:
                found[place] = value
    return found


def _names(graph: Subgraph) -> dict[int, tuple[str, str]]:
    """Each handle of a subgraph -> its variable's name; of several handles of one variable the first comes last."""
    handles = [op for op in graph.operators if op.name == "VAR_HANDLE" and op.outputs]
    return {
        op.outputs[0]: (str(op.options.get("container", "")), str(op.options.get("shared_name", "")))
        for op in reversed(handles)
    }


def _place(model: Model, op: Operator) -> int:
    """Where the value of the variable stands that this operator reads or assigns."""
    names: Mapping[int, tuple[str, str]] = _names(model.subgraphs[0])
    handle = _handle(op)
    if handle not in names:
        raise refuse(op, f"tensor {handle} is the handle of no variable")
    return {name: place for place, name in names.items()}[names[handle]]


def _handle(op: Operator) -> int:
    """The tensor of the handle that an operator reads or assigns through; -1 where it has none."""
    return op.inputs[0] if op.inputs else -1


def _assigned(graph: Subgraph, op: Operator) -> Tensor | None:
    """The constant that ASSIGN_VARIABLE assigns; None where it is none."""
    tensor = graph.tensors[op.inputs[1]] if len(op.inputs) > 1 and op.inputs[1] >= 0 else None
    return None if tensor is None or tensor.data is None else tensor


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype.name} {list(tensor.shape)}"


def _nothing(values: Sequence[Array]) -> dict[str, Array]:
    return {}


ENTRIES = {
    "CALL_ONCE": OperatorEntry(
        prepare_call_once, RULES, OperatorGroup.STATE, no_variant, (0, 0), (0, 0), reads_scales=False
    ),
    "VAR_HANDLE": OperatorEntry(prepare_var_handle, RULES, OperatorGroup.STATE, inputs=(0, 0), reads_scales=False),
    "READ_VARIABLE": OperatorEntry(prepare_read_variable, RULES, OperatorGroup.STATE, reads_scales=False),
    "ASSIGN_VARIABLE": OperatorEntry(
        prepare_assign_variable, RULES, OperatorGroup.STATE, assign_variant, (2, 2), (0, 0), reads_scales=False
    ),
}
