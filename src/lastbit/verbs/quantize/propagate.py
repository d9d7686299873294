"""The MLIR quantizer's propagation: which value gets which scale, from ranges, weights, fixed and shared scales.

States hang on values. A value that already goes through QUANTIZE has a state that does not change. Operations are taken
from the end of a list, and an operation whose neighbour has got a state is put there again.

Source: google-ai-edge/LiteRT tflite/converter/quantization/common/quantization_lib/quantization_driver.cc
(4316de068b09).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .ir import CONSTANT, DEQUANTIZE, QUANTIZE, RETURN, Graph, Op, Value
from .numbers import F32, Parameters, asymmetric_weights, symmetric_weights
from .operators import TRAITS, Traits

__all__ = ["Propagation"]

_BIAS_MAX = (2**31 - 1) // 2
_NONE = Traits()


@dataclass(eq=False)
class _Change:
    """Another scale that a value needs where some operations use it."""

    params: Parameters
    on_output: bool
    users: list[tuple[Op, int]] = field(default_factory=list)


@dataclass(eq=False)
class _State:
    """What is known of one value."""

    params: Parameters | None
    fixed: bool
    changes: list[_Change] = field(default_factory=list)


class Propagation:
    """One run over a graph; `run` adds QUANTIZE and DEQUANTIZE behind every value that has got a scale."""

    def __init__(self, graph: Graph, *, per_tensor: bool, per_tensor_dense: bool) -> None:
        self.graph = graph
        self.per_tensor = per_tensor
        self.per_tensor_dense = per_tensor_dense
        self.states: dict[Value, _State] = {}
        self.operand_states: dict[tuple[Op, int], _State] = {}
        self.result_states: dict[tuple[Op, int], _State] = {}
        self.argument_states: list[tuple[Value, _State]] = []
        self.weights: dict[Op, int | None] = {}
        self.todo: list[Op] = []
        self.done: set[Op] = set()

    def run(self) -> None:
        """Propagate, and put the result into the graph."""
        self._prepare_constants()
        self._make_states()
        if self._propagate():
            self._finish()

    def _weight_axis(self, op: Op, position: int) -> int | None:
        """The axis of a weight's channels; None where the operand is no weight."""
        axis = dict(TRAITS.get(op.name, _NONE).weights).get(position)
        return -1 if axis is not None and op.name == "FULLY_CONNECTED" and self.per_tensor_dense else axis

    def _prepare_constants(self) -> None:
        """Find the weights, and give each user of a bias or a shared scale a constant of its own."""
        for op in list(self.graph.ops):
            if op.name != CONSTANT or not op.results[0].is_float or op.data is None:
                continue
            if not op.data.size or not np.isfinite(op.data.flat[0]):
                continue
            value = op.results[0]
            for user, position in list(value.uses):
                traits = TRAITS.get(user.name, _NONE)
                if not traits.is_bias(position) and not traits.same_scale and user.name != QUANTIZE:
                    axis = self._weight_axis(user, position)
                    self.weights.setdefault(op, None)
                    if axis is not None and self.weights[op] is None:
                        self.weights[op] = axis
                elif len(value.uses) > 1 or len(list(value.uses)) > 1:
                    user.set_operand(position, self._copy(op).results[0])

    def _copy(self, op: Op) -> Op:
        at = self.graph.ops.index(op)
        return self.graph.add(CONSTANT, [], [(op.results[0].tensor, None)], data=op.data, at=at)

    def _state_of(self, value: Value) -> _State:
        if value not in self.states:
            self.states[value] = _State(value.params, value.params is not None)
        return self.states[value]

    def _make_states(self) -> None:
        for argument in self.graph.arguments:
            user = argument.only_user
            value = user.results[0] if user is not None and user.name == QUANTIZE else argument
            self.argument_states.append((argument, self._state_of(value)))
        for op in self.graph.ops:
            if op.name != CONSTANT and op.name not in TRAITS:
                continue
            self.todo.append(op)
            for position, operand in enumerate(op.operands):
                if operand is None:
                    self.operand_states[op, position] = _State(None, False)
                    continue
                source = operand.producer
                if source is not None and source.name == DEQUANTIZE:
                    assert source.operands[0] is not None
                    operand = source.operands[0]
                self.operand_states[op, position] = self._state_of(operand)
            for position, result in enumerate(op.results):
                user = result.only_user
                quantized = user is not None and user.name == QUANTIZE
                value = user.results[0] if quantized and user is not None else result
                self.result_states[op, position] = self._state_of(value)

    def _propagate(self) -> bool:
        changed = False
        while self.todo:
            op = self.todo.pop()
            if op in self.done:
                continue
            self.done.add(op)
            if op.name == CONSTANT:
                if op in self.weights and self.result_states[op, 0].params is None:
                    changed |= self._set_result(op, 0, self._constant(op))
                continue
            traits = TRAITS.get(op.name)
            if traits is None:
                continue
            if traits.same_scale:
                params = self._shared(op)
                if params is None:
                    self.done.discard(op)
                    continue
                for position, operand in enumerate(op.operands):
                    if operand is not None and operand.is_float:
                        changed |= self._set_operand(op, position, params)
                for position, result in enumerate(op.results):
                    if result.is_float:
                        changed |= self._set_result(op, position, params)
            if traits.fixed is not None:
                scale, zero = traits.fixed
                params = Parameters("int8", (scale,), (zero,), -1, -128, 127)
                for position in range(len(op.results)):
                    changed |= self._set_result(op, position, params)
            for position, sources in traits.biases:
                if not self._absent(op, position):
                    changed |= self._set_bias(op, position, sources)
        return changed

    @staticmethod
    def _absent(op: Op, position: int) -> bool:
        return position >= len(op.operands) or op.operands[position] is None

    def _constant(self, op: Op) -> Parameters:
        """The scale of a constant from its values."""
        assert op.data is not None
        axis = self.weights[op]
        if axis is None:
            return asymmetric_weights(op.data)
        return symmetric_weights(op.data, -1 if self.per_tensor else axis)

    def _set_result(self, op: Op, position: int, params: Parameters) -> bool:
        state = self.result_states[op, position]
        if state.params == params:
            return False
        if state.params is not None:
            state.changes.append(_Change(params, False))
            return True
        state.params = params
        self.todo += [user for user, _ in op.results[position].uses]
        return True

    def _set_operand(self, op: Op, position: int, params: Parameters, override: bool = False) -> bool:
        state = self.operand_states[op, position]
        if state.params == params:
            return False
        if state.params is not None and not override:
            for change in state.changes:
                if change.params == params:
                    change.users.append((op, position))
                    return True
            state.changes.append(_Change(params, True, [(op, position)]))
            return True
        state.params = params
        source = op.defining(position)
        if source is not None:
            self.todo.append(source)
        return True

    def _shared(self, op: Op) -> Parameters | None:
        """The one scale of an operator whose inputs and outputs have the same."""
        operands = [self.operand_states[op, i] for i in range(len(op.operands))]
        results = [self.result_states[op, i] for i in range(len(op.results))]
        fixed_in = [s for s in operands if s.fixed]
        free_in = [s for s in operands if not s.fixed and s.params is not None]
        if len(op.operands) == 1 and len(fixed_in) == 1:
            return fixed_in[0].params
        fixed_out = [s for s in results if s.fixed]
        free_out = [s for s in results if not s.fixed and s.params is not None]
        if len(op.results) == 1 and len(fixed_out) == 1:
            return fixed_out[0].params
        if fixed_in or fixed_out:
            return (fixed_in + fixed_out)[0].params
        if len(op.operands) == 1 and len(free_in) == 1:
            return free_in[0].params
        if len(op.results) == 1 and len(free_out) == 1:
            return free_out[0].params
        return (free_in + free_out)[0].params if free_in or free_out else None

    def _set_bias(self, op: Op, position: int, sources: tuple[int, int]) -> bool:
        """The bias's scale; weights with a wider scale where the bias would not fit."""
        state = self.operand_states[op, position]
        params = state.params
        if params is None:
            params = self._bias_params(op, position, sources)
        if params is None:
            self.done.discard(op)
            return False
        bias, weights = op.defining(position), op.defining(sources[1])
        constants = bias is not None and bias.name == CONSTANT and weights is not None and weights.name == CONSTANT
        held = self.operand_states[op, sources[1]].params
        given = self.operand_states[op, sources[0]].params
        if not constants or held is None or given is None or held.bits != 8 or given.bits != 8:
            return self._set_operand(op, position, params)
        assert bias is not None
        assert bias.data is not None
        return self._fit(op, position, sources, params, bias.data)

    def _fit(self, op: Op, position: int, sources: tuple[int, int], params: Parameters, bias: np.ndarray) -> bool:
        """Widen scales until the bias is within half of int32."""
        held = self.operand_states[op, sources[1]].params
        given = self.operand_states[op, sources[0]].params
        assert held is not None
        assert given is not None
        magnitude = np.abs(bias.astype(np.float64)).reshape(-1)
        scale = np.array(params.scale)
        if params.axis < 0:
            top = float(magnitude.max(initial=0))
            with np.errstate(divide="ignore"):
                wide = np.array([not top / scale[0] < _BIAS_MAX])
            new = np.array([top / _BIAS_MAX])
        else:
            wide = magnitude / scale > _BIAS_MAX
            new = magnitude / _BIAS_MAX
        if not wide.any():
            return self._set_operand(op, position, params)
        bias_scale = np.where(wide, new, scale)
        weight_scale = np.where(wide, new / given.scale[0], np.array(held.scale))
        changed = self._set_operand(op, position, replace(params, scale=tuple(bias_scale.tolist())))
        self._own_weights(op, sources[1])
        # A layer of one unit has one scale then, and its weights are rounded as such.
        axis = -1 if params.axis < 0 else held.axis
        wider = replace(held, scale=tuple(weight_scale.tolist()), axis=axis)
        return self._set_operand(op, sources[1], wider, override=True) or changed

    def _own_weights(self, op: Op, position: int) -> None:
        """Weights that other operators use too are copied before their scale changes."""
        source = op.defining(position)
        assert source is not None
        if len(source.results[0].uses) == 1:
            return
        copy = self._copy(source)
        op.set_operand(position, copy.results[0])
        state = self._state_of(copy.results[0])
        self.operand_states[op, position] = self.result_states[copy, 0] = state

    def _bias_params(self, op: Op, position: int, sources: tuple[int, int]) -> Parameters | None:
        """The product of the input's and the weights' scales, rounded to float32 once."""
        given, held = (self.operand_states[op, source].params for source in sources)
        if given is None or held is None:
            return None
        scale = np.ones(max(len(held.scale), len(given.scale)))
        for part in (given, held):
            scale = scale * np.array(part.scale)
        scale = scale.astype(F32).astype(np.float64)
        if not (scale > 0).all():
            return None
        axis = -1 if scale.size == 1 else 0
        return Parameters("int32", tuple(scale.tolist()), (0,) * scale.size, axis, -(2**31), 2**31 - 1)

    def _finish(self) -> None:
        """Put QUANTIZE and DEQUANTIZE behind arguments and results."""
        for argument, state in self.argument_states:
            self._finish_one(argument, state)
        for (op, position), state in self.result_states.items():
            self._finish_one(op.results[position], state)

    def _finish_one(self, value: Value, state: _State) -> None:
        if state.params is None or (state.fixed and not state.changes):
            return
        if not state.fixed:
            at = self.graph.place_after(value)
            quantize = self.graph.quantize(value, state.params, at)
            dequantize = self.graph.dequantize(quantize.results[0], at + 1)
            quantize.removable = True
            value.replace_all(dequantize.results[0])
            quantize.set_operand(0, value)
        if state.changes:
            self._finish_changes(value, state.changes)

    def _finish_changes(self, value: Value, changes: list[_Change]) -> None:
        on_output = changes[0].on_output
        if any(change.on_output != on_output for change in changes):
            return
        user = value.uses[0][0] if value.uses else None
        if (on_output or value.producer is None) and user is not None and user.name == QUANTIZE:
            value = user.results[0]
        at = self.graph.place_after(value)
        if not on_output:
            again = self.graph.quantize(value, changes[0].params, at)
            value.replace_all(again.results[0])
            again.set_operand(0, value)
            return
        dequantize = value.only_user
        if dequantize is None or dequantize.name != DEQUANTIZE:
            return
        take_first = len(dequantize.results[0].uses) <= len(changes)
        for change in changes:
            again = self.graph.quantize(value, change.params, at)
            at += 1
            if take_first:
                dequantize.set_operand(0, again.results[0])
                take_first = False
                continue
            other = self.graph.dequantize(again.results[0], at)
            at += 1
            for op, position in change.users:
                op.set_operand(position, other.results[0])


assert RETURN not in TRAITS
