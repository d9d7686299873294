"""Every combination of the fields' values in compiled code: the reader `llvm` gives what `vector` gives, or says no."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from lastbit.rules.base import Unsupported
from lastbit.rules.requantize.vector import requantize
from tests.support.every_form import (
    SX,
    UNITS,
    accumulators,
    every_form,
    layer,
    legal_units,
    one_unit,
    rules_of,
    weights_scales,
)

pytest.importorskip("numba")

import llvmlite.binding as llvm
from llvmlite import ir

from lastbit.engines.jit import cpu as jit_cpu
from lastbit.engines.jit import forms as jit_forms
from lastbit.engines.jit.slots import form_scalars, form_slots, slot_bytes
from lastbit.engines.jit.unit import Unit
from lastbit.engines.jit.vectors import I64, POINTER, Vectors

ISA = jit_cpu.host_isa()
FORMS, _ = every_form()


def cases():
    """Each form on 32-bit sums, and on 64-bit sums where it has them."""
    for form in FORMS:
        for bits in (32, 64):
            rule = next((rule for rule in rules_of(form) if rule.sums.bits == bits), None)
            if rule is not None:
                yield rule


def add_function(module, name, rule):
    """`(rows, accumulators [rows, lanes], constants, scalars, out [rows, lanes])`: the form's code in a loop."""
    wide = rule.sums.bits == 64
    slots, code = jit_forms.code_of(rule.requantize, wide)
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64, *[POINTER] * 4]), name)
    rows, accs, constants, scalars, out = fn.args
    b = ir.IRBuilder(fn.append_basic_block())
    head, body, done = (b.append_basic_block() for _ in range(3))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    row = b.phi(I64)
    row.add_incoming(ir.Constant(I64, 0), before)
    b.cbranch(b.icmp_signed("<", row, rows), body, done)
    b.position_at_end(body)
    v = Vectors(b, ISA)
    kind = v.i64 if wide else v.i32
    step = ISA.lanes * (8 if wide else 4)
    at = b.gep(accs, [b.mul(row, ir.Constant(I64, step))], source_etype=ir.IntType(8))
    acc = v.load(kind, at)
    offsets, _ = slot_bytes(slots, ISA.lanes)
    unit = Unit(v, constants, scalars, offsets, narrow=rule.sums.bits < 32)
    to = b.gep(out, [b.mul(row, ir.Constant(I64, 4 * ISA.lanes))], source_etype=ir.IntType(8))
    v.store(code(unit, acc), to)
    row.add_incoming(b.add(row, ir.Constant(I64, 1)), body)
    b.branch(head)
    b.position_at_end(done)
    b.ret_void()


def compiled(rules):
    """Functions by number, compiled for this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = ir.Module()
    module.triple = llvm.get_process_triple()
    for number, rule in enumerate(rules):
        add_function(module, f"f{number}", rule)
    target = llvm.Target.from_triple(module.triple)
    features = llvm.get_host_cpu_features().flatten()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=1)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    return engine


def usable(params):
    """Units whose shift is one that the code has."""
    scales = weights_scales(params.rule.requantize)
    kept = []
    for unit in legal_units(params).tolist():
        if form_slots(one_unit(params, unit), SX, scales[unit : unit + 1]) is not None:
            kept.append(unit)
    return kept


def blocks(values, units, lanes):
    """`[rows, units]` as `[vectors, rows, lanes]`, filled up with the last unit."""
    order = np.resize(np.asarray(units), -(-len(units) // lanes) * lanes)
    return order, np.ascontiguousarray(np.moveaxis(values[:, order].reshape(len(values), -1, lanes), 1, 0))


def outputs_of(engine, number, params, accs):
    """What a compiled form makes of accumulators: `(units, [rows, units])`."""
    wide = params.rule.sums.bits == 64
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 4)(engine.get_function_address(f"f{number}"))
    slots, _ = jit_forms.code_of(params.rule.requantize, wide)
    units = usable(params)
    starts = accs if params.bias is None else accs - params.bias  # such forms add it themselves
    order, inputs = blocks(starts.astype(np.int64 if wide else np.int32), units, ISA.lanes)
    scales = weights_scales(params.rule.requantize)
    scalars = form_scalars(params, params.rule.sums.bits)
    out = np.empty(inputs.shape, np.int32)
    for index, vector in enumerate(inputs):
        parts = [np.zeros(ISA.lanes, slots["bias"])]
        values = [
            form_slots(one_unit(params, u), SX, scales[u : u + 1])
            for u in order[index * ISA.lanes : (index + 1) * ISA.lanes].tolist()
        ]
        for name, kind in list(slots.items())[1:]:
            parts.append(np.concatenate([np.atleast_1d(value[name]) for value in values]).astype(f"<{kind}"))
        constants = np.concatenate([part.view(np.uint8) for part in parts])
        arrays = vector, constants, scalars, out[index]
        function(len(vector), *(array.ctypes.data for array in arrays))
    return order, np.moveaxis(out, 0, 1).reshape(len(accs), -1)


@pytest.mark.parametrize("part", range(4))
def test_compiled_forms_are_the_vector_ones_or_unsupported(part):
    rng = np.random.default_rng(part)
    rules, refused = [], []
    for rule in list(cases())[part::4]:
        try:
            form_slots(one_unit(layer(rule, 0), 0), SX, weights_scales(rule.requantize)[:1])
            rules.append(rule)
        except Unsupported as error:
            refused.append(error)
    assert len(rules) > 80
    assert all((error.reader, error.field) in UNSUPPORTED for error in refused)
    engine = compiled(rules)
    for number, rule in enumerate(rules):
        params = layer(rule, number)
        accs = accumulators(params, rng)
        wanted = requantize(accs, params)["output"].astype(np.int64)
        order, found = outputs_of(engine, number, params, accs)
        assert found.size >= 10_000 or len(set(order.tolist())) < UNITS
        bad = np.argwhere(found != wanted[:, order])
        if bad.size:
            row, column = bad[0]
            unit = order[column]
            pytest.fail(
                f"{rule} unit {unit} acc {accs[row, unit]}: {found[row, column]}, wanted {wanted[row, unit]} "
                f"({len(bad)} differ; {params.dtype.name}, zy {params.output_zero_point}, "
                f"{params.activation_min} .. {params.activation_max}, bias {params.bias is not None})"
            )


UNSUPPORTED = {("llvm", "TwoRoundings.tie"), ("llvm", "OneRounding.result")}


def test_an_accumulator_of_28_bits_is_narrowed_or_unsupported():
    rng = np.random.default_rng(5)
    rules, refused = [], []
    for form in FORMS[::5]:
        rule = next((rule for rule in rules_of(form) if rule.sums.bits == 28), None)
        if rule is None:
            continue
        try:
            form_slots(one_unit(layer(rule, 0), 0), SX, weights_scales(form)[:1])
            rules.append(rule)
        except Unsupported as error:
            refused.append(error)
    assert {error.field for error in refused} <= {"Sums.bits", *(field for _, field in UNSUPPORTED)}
    assert len(rules) > 10
    engine = compiled(rules)
    for number, rule in enumerate(rules):
        params = layer(rule, number)
        accs = accumulators(params, rng)
        wanted = requantize(accs, params)["output"].astype(np.int64)
        above = accs + (rng.integers(-7, 8, accs.shape) << 28)  # what is above the 28 bits is not looked at
        order, found = outputs_of(engine, number, params, above)
        assert np.array_equal(found, wanted[:, order]), rule
