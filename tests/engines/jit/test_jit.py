"""The compiled engine's kernels: exact sums, and every requantization form as NumPy has it."""

import re
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lab.cases.hard_numbers import RANGES, hard_accumulators, scale_triples, values
from lastbit.model.types import INT8, INT16, UINT8
from lastbit.rules.requantize.fold import prepare_requantize, with_float_bias
from lastbit.rules.requantize.table import EIGHT_BIT, RULES
from lastbit.rules.requantize.table import INT16 as INT16_RULES
from lastbit.rules.requantize.vector import requantize

numba = pytest.importorskip("numba", reason="needs Numba: pip install '.[fast]'")

from lastbit.engines.jit import cpu as jit_cpu  # noqa: E402  # noqa: E402
from lastbit.engines.jit import forms as jit_forms  # noqa: E402
from lastbit.engines.jit import kernels as jit_kernels  # noqa: E402
from lastbit.engines.jit import matmul as jit_matmul  # noqa: E402
from lastbit.engines.jit import memory as jit_memory  # noqa: E402
from lastbit.engines.jit import pack as jit_pack  # noqa: E402
from lastbit.engines.jit.hybrid_forms import HybridEnding  # noqa: E402
from lastbit.engines.jit.slots import form_slots  # noqa: E402
from lastbit.engines.jit.vectors import ISAS, choose_isa  # noqa: E402  # noqa: E402

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def test_every_32_bit_rule_of_the_tables_has_a_compiled_form():
    for rule in RULES.values():
        slots, code = jit_forms.code_of(rule.requantize, rule.sums.bits == 64)
        assert code is not None
        assert len(slots) > 1


@QUICK
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from(["int8", "uint8", "int16"]),
    st.sampled_from(["int8", "uint8"]),
    st.integers(-128, 255),
    st.sampled_from([32, 64]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@example((1, 300, 300), "uint8", "uint8", 255, 32, True, 0)
@example((300, 300, 1), "int16", "uint8", 0, 64, True, 0)
@example((7, 1, 17), "int8", "int8", -128, 32, True, 0)
def test_sums_are_exact(shape, input_type, weights_type, zero_point, bits, extreme, seed):
    rows, depth, units = shape
    rng = np.random.default_rng(seed)
    x = values(rng, input_type, (rows, depth), extreme)
    w = values(rng, weights_type, (units, depth), extreme)
    bias = rng.integers(-(2**31), 2**31, units)
    packed = jit_matmul.pack(w, weights_zero_point=zero_point, bias=bias, input_type=input_type, acc_bits=bits)
    wanted = x.astype(np.int64) @ (w.astype(np.int64) - zero_point).T + bias
    found = jit_matmul.dot(x, packed)
    assert found.dtype == (np.int64 if bits == 64 else np.int32)
    np.testing.assert_array_equal(found, wanted if bits == 64 else wanted.astype(np.int32))


def test_64_bit_sums_go_beyond_32_bits():
    x, w = np.full((1, 2000), -32768, np.int16), np.full((1, 2000), -128, np.int8)
    assert jit_matmul.dot(x, jit_matmul.pack(w, input_type="int16", acc_bits=64)).item() == 2000 * 32768 * 128


FORM_CASES = [(name, rule, 32) for name, rule in EIGHT_BIT.items()] + [
    (name, rule, 64) for name, rule in INT16_RULES.items() if rule.sums.bits == 64
]


@pytest.mark.parametrize(("name", "rule", "bits"), FORM_CASES, ids=[name for name, _, _ in FORM_CASES])
def test_requantization_is_that_of_numpy(name, rule, bits):
    # Zero weights: the sums are the bias, so that every accumulator can be asked for, one by each unit.
    compared = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        wide = bits == 64 or (name in ("q31-half_up-half_away/dd", "float64-half_away") and seed % 5 == 4)
        dtype = INT16 if wide else (INT8, UINT8)[seed % 2]
        count, units = 13, int(rng.integers(1, 70))
        s_x, s_w, s_y = scale_triples(rng, units, int(rng.integers(0, 6)))
        if seed % 3 == 0:
            s_w = s_w[:1]
        if bits == 64 and (s_w * s_x / s_y >= 2**14).any():
            continue
        s_w = np.tile(s_w, count) if s_w.size > 1 else s_w
        bias = rng.integers(-4000, 4000, count * units)
        params = prepare_requantize(
            rule,
            input_scale=s_x,
            weights_scale=s_w,
            output_scale=s_y,
            output_zero_point=0 if dtype is INT16 else int(rng.choice([dtype.qmin, dtype.qmax, 0, 3])),
            activation=str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])),
            dtype=dtype,
        )
        params = with_float_bias(params, bias, s_x, s_w)
        factor = np.broadcast_to(np.asarray(params.effective_scale, float), count * units)
        acc = hard_accumulators(rng, factor, bits)[None]
        acc_bits = 28 if name == "float32-half_even" and seed % 2 else bits
        slots = form_slots(params, s_x, s_w)
        assert slots is not None or (params.shift > 25).any()
        if slots is None:
            continue
        wanted = requantize((acc << 4).astype(np.int32) >> 4 if acc_bits == 28 else acc, params)["output"]
        start = acc[0] - bias if params.bias is not None else acc[0]
        weights = np.zeros((count * units, 1), np.int8)
        layer = jit_matmul.pack(weights, bias=start, epilogue=jit_matmul.Epilogue(params, slots), acc_bits=acc_bits)
        for rows in (1, 3, 11):
            found = jit_matmul.dense(np.ones((rows, 1), np.int8), layer)
            np.testing.assert_array_equal(found, np.broadcast_to(wanted, found.shape), f"{name}, seed {seed}")
            compared += found.size
    assert compared > 30_000, name


def test_threads_share_rows_and_agree():
    rng = np.random.default_rng(3)
    x, w = values(rng, "int8", (301, 65), False), values(rng, "int8", (33, 65), False)
    packed = jit_matmul.pack(w)
    wanted = x.astype(np.int32) @ w.T.astype(np.int32)
    for threads in (1, 2, 3, 8):
        np.testing.assert_array_equal(jit_matmul.dot(x, packed, threads), wanted)


@pytest.mark.parametrize("units", [12, 16, 33, 130, 700])
def test_threads_share_the_units_of_a_large_layer_and_agree(units, monkeypatch):
    monkeypatch.setattr(jit_pack, "_LARGE_WEIGHTS", 1)
    rng = np.random.default_rng(units)
    x, w = values(rng, "int8", (301, 65), False), values(rng, "int8", (units, 65), False)
    packed = jit_matmul.pack(w)
    wanted = x.astype(np.int32) @ w.T.astype(np.int32)
    for threads in (2, 3, 8):
        chain = jit_matmul.Chain([packed])
        for rows in (1, 2, 47, 301):
            np.testing.assert_array_equal(chain(x[:rows], threads), wanted[:rows])


@numba.njit
def _take_rows(shared, rows, block, step):
    return jit_kernels._take_rows(shared, rows, block, step)


@pytest.mark.parametrize(("rows", "block"), [(1, 120), (23, 12), (48, 120), (1000, 96), (4097, 120), (5000, 24)])
@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_take_every_row_once_and_fewer_towards_the_end(rows, block, threads):
    shared = np.asarray([0, threads], np.int64)
    counts = []
    while True:
        begin, count = _take_rows(jit_memory.address(shared), rows, block, 12)
        if not count:
            break
        assert begin == sum(counts)
        counts.append(count)
    assert sum(counts) == rows
    assert counts == sorted(counts, reverse=True)
    assert max(counts) <= block
    assert all(count % 12 == 0 for count in counts[:-1])


def test_large_outputs_lie_in_memory_that_nobody_holds():
    outputs, shape, kind = jit_memory.Outputs(), (1000, 700), np.dtype(np.float32)
    first = outputs.empty(shape, kind)
    assert (first.shape, first.dtype, first.flags.c_contiguous, first.flags.writeable) == (shape, kind, True, True)
    part = first[5:, 3].reshape(-1, 5)
    raw = memoryview(first)
    second = outputs.empty(shape, kind)
    assert not np.shares_memory(first, second)
    del first, second
    third = outputs.empty(shape, kind)
    assert not np.shares_memory(part, third)
    place = jit_memory.address(third)
    del third, raw
    assert jit_memory.address(outputs.empty((999, 700), kind)) == place
    small = outputs.empty((100, 700), kind)
    assert isinstance(small.base, np.ndarray)
    assert small.base.nbytes == small.nbytes  # the earlier memory would hold too much


def test_outputs_that_are_kept_do_not_change():
    rng = np.random.default_rng(2)
    packed = jit_matmul.pack(values(rng, "int8", (300, 40), False))
    chain = jit_matmul.Chain([packed])
    inputs = [values(rng, "int8", (rows, 40), False) for rows in (1200, 1200, 1100, 1200)]
    found = [(chain(x), chain(x, 2)) for x in inputs]
    del found[1]
    found.append((chain(inputs[1]), chain(inputs[1], 3)))
    for x, pair in zip([inputs[0], *inputs[2:], inputs[1]], found, strict=True):
        for y in pair:
            np.testing.assert_array_equal(y, jit_matmul.dot(x, packed))


def test_other_threads_run_meanwhile():
    # A call of about half a second without the GIL: this thread goes on counting while it runs.
    rng = np.random.default_rng(5)
    x, packed = values(rng, "int8", (6000, 2048), False), jit_matmul.pack(values(rng, "int8", (1024, 2048), False))
    jit_matmul.dot(x[:2], packed)
    steps = []

    def work():
        steps.append("begun")
        jit_matmul.dot(x, packed)
        steps.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    counted = 0
    while len(steps) < 2:
        if steps:
            counted += 1
        time.sleep(0.001)
    thread.join()
    assert counted >= 5


@pytest.mark.parametrize("name", ["avx2", "portable", "plain_unsigned", "plain_signed"])
@pytest.mark.parametrize("input_type", ["int8", "uint8"])
@pytest.mark.parametrize("weights_type", ["int8", "uint8"])
def test_other_kernels_that_this_cpu_can_run_agree(name, input_type, weights_type):
    # plain_...: the tiles, packing, zero points and row sums of AVX512-VNNI and of ARM's dot product.
    if name == "avx2" and not jit_cpu.host_isa().x86:
        pytest.skip("this CPU has no AVX2")
    rng = np.random.default_rng(4)
    for rows, depth, units in ((1, 5, 3), (3, 1, 70), (9, 70, 19), (6, 64, 64), (16, 33, 130)):
        for extreme in (False, True):
            x = values(rng, input_type, (rows, depth), extreme)
            w = values(rng, weights_type, (units, depth), extreme)
            zero_point = int(rng.integers(*RANGES[weights_type]))
            packed = jit_matmul.pack(w, weights_zero_point=zero_point, input_type=input_type, isa=ISAS[name])
            wanted = x.astype(np.int32) @ (w.astype(np.int32) - zero_point).T
            np.testing.assert_array_equal(jit_matmul.dot(x, packed), wanted)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("q31-half_up-half_away/dd", "plain_unsigned"),
        ("float32-half_even", "portable"),
        ("float64-half_away", "portable"),
        ("q31-single-half_up/dd", "portable"),
    ],
)
def test_requantization_in_other_widths(rule, name):
    rule = RULES[rule]
    rng = np.random.default_rng(9)
    units = 150
    s_x, s_w, s_y = np.float32(0.5), (2.0 ** rng.integers(-9, -1, units)).astype(np.float32), np.float32(1)
    params = prepare_requantize(
        rule,
        input_scale=s_x,
        weights_scale=s_w,
        output_scale=s_y,
        output_zero_point=-3,
        activation="NONE",
        dtype=INT8,
    )
    acc = hard_accumulators(rng, np.asarray(params.effective_scale, float), 32)[None]
    wanted = requantize(acc, params)["output"]
    layer = jit_matmul.pack(
        np.zeros((units, 1), np.int8), bias=acc[0], epilogue=jit_matmul.Epilogue(params), isa=ISAS[name]
    )
    for rows in (1, 3, 8):
        found = jit_matmul.dense(np.ones((rows, 1), np.int8), layer)
        np.testing.assert_array_equal(found, np.broadcast_to(wanted, found.shape))


CPUS = [
    ("avx512vnni", "x86_64-unknown-linux-gnu", "icelake-server", "vpdpbusd", r"\brsp\b|\blea"),
    ("avxvnni", "x86_64-unknown-linux-gnu", "alderlake", "vpdpbusd", r"\brsp\b|\blea"),
    ("avx2", "x86_64-unknown-linux-gnu", "haswell", "vpmaddwd", None),
    ("neon_dot", "aarch64-unknown-linux-gnu", "neoverse-n1", "sdot", r"\[sp"),
]
FORMS_LOOKED_AT = (
    *(RULES[n].requantize for n in ("float32-half_even", "q31-half_up-half_away/dd", "float64-half_away")),
    HybridEnding(True, "value_first"),
)


def machine_code(triple, cpu, build):
    """What `build` adds to a module, for a CPU that need not be this one: it is looked at, not run."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    build(module)
    parsed = llvm.parse_assembly(str(module))
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(parsed, builder)
    return machine.emit_assembly(parsed).splitlines()


TILES = [(*cpu, width) for cpu in CPUS for width in range(1, ISAS[cpu[0]].vectors + 1)]


@pytest.mark.parametrize(
    ("isa", "triple", "cpu", "instruction", "unwanted", "width"), TILES, ids=[f"{case[0]}-{case[-1]}" for case in TILES]
)
def test_the_inner_loop_is_the_cpus_dot_product_and_little_else(isa, triple, cpu, instruction, unwanted, width):
    from lastbit.engines.jit.tile import UNROLL, Shape, build_tile, tile_rows

    rows = tile_rows(ISAS[isa], width)
    forms = FORMS_LOOKED_AT if width == ISAS[isa].vectors else FORMS_LOOKED_AT[:1]
    shapes = [Shape(form, rows, width, output_bytes=4 if isinstance(form, HybridEnding) else 1) for form in forms]
    if ISAS[isa].x86:
        shapes.append(Shape(forms[0], rows, width, windows=True))
    for shape in shapes:
        form = shape.form
        lines = machine_code(triple, cpu, lambda module, shape=shape: build_tile(module, ISAS[isa], shape))
        found = [number for number, line in enumerate(lines) if instruction in line]
        products = UNROLL * rows * width
        if isinstance(form, HybridEnding) and isa == "avx2":
            # Behind the loop, too: the zero points' part.
            assert len(found) > products
            found = found[:products]
        assert len(found) == products, form
        if unwanted is not None:
            # Nothing on the stack, and no addresses of rows calculated anew.
            inside = [line for line in lines[found[0] : found[-1]] if re.search(unwanted, line)]
            assert not inside, (form, inside)


@pytest.mark.parametrize(("isa", "triple", "cpu", "instruction"), [cpu[:4] for cpu in CPUS if ISAS[cpu[0]].x86])
def test_taps_are_interleaved_and_not_put_in_order_again(isa, triple, cpu, instruction):
    from lastbit.engines.jit.taps import TapShape, build_taps

    shape = TapShape(FORMS_LOOKED_AT[0], False)
    lines = machine_code(triple, cpu, lambda module: build_taps(module, ISAS[isa], shape))
    products = sum(instruction in line for line in lines)
    # Each product of a vector takes as many interleavings as halve a group down to one tap.
    assert sum("vpunpck" in line for line in lines) == products * {2: 1, 4: 2}[ISAS[isa].group] > 0
    if ISAS[isa].masks:
        assert not any("vpermb" in line or "vpermd" in line for line in lines)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (["avx512vnni", "avx512f", "avx512vl", "avx512bw", "avx512dq", "avx2"], "avx512vnni"),
        (["avxvnni", "avx2", "fma"], "avxvnni"),
        (["avx512vnni", "avx2", "fma"], "avx2"),
        (["avx2"], "portable"),
        (["dotprod", "neon"], "neon_dot"),
        (["sse4.1"], "portable"),
    ],
)
def test_kernels_are_chosen_by_the_cpus_features(features, name):
    assert choose_isa(dict.fromkeys(features, True)).name == name
