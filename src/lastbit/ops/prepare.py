"""Model + Runtime -> PreparedModel: every constant folded, and everything that can be refused refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..model.errors import Refusal, UnsupportedError
from ..model.graph import Model, Operator, Tensor
from ..model.html import few_lines
from ..model.types import Array
from ..runtimes import Refused, Rule, Runtime, find_rule, get_runtime
from ..runtimes.variant import Variant
from . import OPERATORS
from .base import PreparedOperator, refuse
from .dense.fully_connected import prepare_fully_connected
from .kernels import DELEGATE, KERNELS, check_kernel
from .state.variables import initial_state
from .validity import check_operands, check_structure

__all__ = ["DENSE_ONLY", "PreparedModel", "choose_rule", "missing_outputs", "prepare", "prepare_operator"]

SCALES_UNKNOWN = "the layer is given by multiplier and shift: its scales are not known"

DENSE_ONLY = "this runtime is covered for single dense layers only"


@dataclass(frozen=True, eq=False, repr=False)
class PreparedModel:
    """A model ready to run in one runtime's arithmetic.

    Attributes:
        model: the model.
        runtime: the runtime.
        operators: operator index -> prepared operator, for those that are covered.
        refused: operator index -> why it is refused or not covered: kind and words.
        missing_outputs: tensor index -> why the graph output has no value, whatever operators run.
        constants: tensor index -> value in the file, of outputs and of what covered operators take as a value.
        state: tensor index -> value before the first call, of the variables that the model keeps between calls.
    """

    model: Model
    runtime: Runtime
    operators: Mapping[int, PreparedOperator]
    refused: Mapping[int, Refused]
    missing_outputs: Mapping[int, str] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    state: Mapping[int, Array] = field(default_factory=dict)

    @property
    def keeps_state(self) -> bool:
        """Whether a call depends on those before it."""
        return any(op.name == "ASSIGN_VARIABLE" for op in self.model.operators)

    @property
    def refusals(self) -> dict[int, str]:
        """Operator index -> why it is refused or not covered, in words."""
        return {index: refused.reason for index, refused in self.refused.items()}

    def __repr__(self) -> str:
        ready, total = len(self.operators), len(self.model.operators)
        return few_lines(
            ["PreparedModel(", f"{self.model.source!r}, {self.runtime.name}, {ready} of {total} operators covered)"]
        )

    def require_all(self) -> None:
        """Raise one UnsupportedError that lists every operator refused or not covered, if there is any."""
        if self.refused:
            raise UnsupportedError(
                f"{self.model.source}: {len(self.refusals)} of {len(self.model.operators)} operators "
                f"are not covered on {self.runtime.name}:",
                [f"{self.model.operators[i].label}: {reason}" for i, reason in self.refusals.items()],
            )
        if self.missing_outputs:
            raise UnsupportedError(
                f"{self.model.source}: the model has outputs without a value:", list(self.missing_outputs.values())
            )


def prepare(model: Model, runtime: str | Runtime) -> PreparedModel:
    """Fold every operator's constants for one runtime.

    Operators that the runtime refuses or LastBit does not cover are gathered in `refused`; call `require_all` to
    turn them into one error.

    Args:
        model: the model.
        runtime: an exact runtime or its name.

    Raises:
        RuntimeNameError: no runtime has this name.
    """
    chosen = get_runtime(runtime)
    operators: dict[int, PreparedOperator] = {}
    refused: dict[int, Refused] = {}
    for op in model.operators:
        try:
            operators[op.index] = prepare_operator(model, op, chosen)
        except UnsupportedError as error:
            refused[op.index] = Refused(error.kind, "; ".join(error.reasons) or str(error))
    values = {
        index: value
        for entry in operators.values()
        for index in entry.inputs
        if index not in model.fed_or_computed and (value := model.tensors[index].data) is not None
    }
    constants = {**model.constant_outputs, **values}
    return PreparedModel(model, chosen, operators, refused, missing_outputs(model), constants, initial_state(model))


def missing_outputs(model: Model) -> dict[int, str]:
    """Tensor index -> why this output of the model has no value, whatever operators run."""
    return {
        tensor.index: f"output {tensor.label}: {_why_missing(tensor)}"
        for tensor in model.outputs
        if tensor.dtype.numpy is None
        or (tensor.index not in model.fed_or_computed and tensor.index not in model.constant_outputs)
    }


def _why_missing(tensor: Tensor) -> str:
    if tensor.dtype.numpy is None:
        return f"is {tensor.dtype.name}, which no array holds"
    if tensor.is_variable:
        return "is a variable that no operator writes; LastBit keeps no state between calls"
    return "no operator writes it, and its values are not in the file"


def prepare_operator(model: Model, op: Operator, runtime: str | Runtime) -> PreparedOperator:
    """Fold one operator's constants for one runtime.

    Raises:
        UnsupportedError: the runtime refuses it or LastBit does not cover it.
    """
    chosen = get_runtime(runtime)
    rule, variant = _rule_and_variant(model, op, chosen)
    kernel = KERNELS[rule.kernel]
    check_operands(model, op, kernel.file, OPERATORS[op.name])
    if rule.arithmetic is not None:
        if op.name != "FULLY_CONNECTED":
            raise refuse(op, f"the rule {rule.name} has no line in a table, which dense layers alone may have")
        prepared = prepare_fully_connected(model, op, rule.arithmetic)
    else:
        prepared = OPERATORS[op.name].prepare(model, op, rule.name)
    check_kernel(prepared, kernel, variant, chosen)
    notes = (*prepared.notes, *kernel.notes(prepared))
    if not model.subgraphs[0].scales_known:
        notes = (*notes, SCALES_UNKNOWN)
    return replace(prepared, kernel=kernel.family, notes=notes)


def choose_rule(model: Model, op: Operator, runtime: Runtime) -> Rule:
    """The rule by which this runtime calculates this operator, after what its delegate declines.

    Raises:
        UnsupportedError: the runtime refuses the operator's variant or LastBit does not cover it.
    """
    return _rule_and_variant(model, op, runtime)[0]


def _as_known(op: Operator, runtime: Runtime) -> Operator:
    """The operator without the options that this version of a runtime does not know."""
    options = {name: value for name, value in op.options.items() if name not in runtime.ignores}
    return op if len(options) == len(op.options) else replace(op, options=options)


def _rule_and_variant(model: Model, op: Operator, runtime: Runtime) -> tuple[Rule, Variant]:
    entry = OPERATORS.get(op.name)
    if entry is None:
        raise refuse(op, "this operator is not covered yet")
    if runtime.dense_only and op.name != "FULLY_CONNECTED":
        raise refuse(op, DENSE_ONLY, Refusal.DENSE_ONLY)
    check_structure(model, op, entry)
    variant = entry.variant(model, _as_known(op, runtime))
    declined = runtime.fallback is not None and DELEGATE.why_declined(model, op, runtime) is not None
    rule = find_rule(runtime, op.name, variant, declined)
    if rule is None:
        raise refuse(op, f"the variant {variant} is not covered yet")
    if isinstance(rule, Refused):
        raise refuse(op, f"{variant}: {rule.reason}", rule.kind)
    return rule, variant
