"""Hybrid dense layers in fast engines, alone and in chains: the bytes of the reference engine, and its refusals."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lastbit
from lastbit.engines.jit.matmul import available
from lastbit.engines.plan import ChainStep, OperatorStep
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant
from lastbit.model.types import INT8
from tests.engines.test_fast import ENGINE, LIMITS, in_one_chain, same
from tests.support.models import ModelBuilder
from tests.support.places import MODELS, needs_shared_models

needs_numba = pytest.mark.skipif(not available(), reason="needs Numba: pip install '.[fast]'")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
FLOAT = DTYPE_BY_NAME["float32"]


def hybrid_rows(rng, depth):
    """Rows that are hard to quantize: infinite, huge, subnormal, zero, one-sided, full of ties."""
    tiny, huge = np.float32(1e-38), np.float32(3e38)
    kinds = [
        rng.normal(size=(6, depth)) * 3,
        rng.choice([np.inf, -np.inf, 1.0, 0.0], (6, depth)),
        rng.choice([huge, -huge, 1.0], (6, depth)),
        rng.choice([tiny, -tiny, 1e-40, -1e-45, 0.0], (6, depth)),
        rng.uniform(1, 2, (3, depth)),
        -rng.uniform(1, 2, (3, depth)),
        rng.integers(-254, 255, (6, depth)) / 2,
        rng.choice([127.0, 63.5, -63.5, 0.49999997, -0.49999997], (6, depth)),
        rng.choice([1e-37, -3e-37, 5e-38], (4, depth)),
        np.zeros((2, depth)),
        np.full((1, depth), -0.0),
    ]
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate(kinds).astype(np.float32)


def hybrid_model(rng, depth, units, weights, asymmetric, activation):
    low, high = LIMITS[weights]
    graph = dense_subgraph(
        rng.integers(low, high + 1, (units, depth)).astype(np.int8),
        input_quant=None,
        weights_quant=quant(rng.choice([1.0, 0.37, 2.0**-126, 2.0**-100, 1e-30], units)),
        output_quant=None,
        bias=rng.choice([0.0, -0.0, 1.0, 2.0**-126, -(2.0**-126), 1e-40, -1e-38, 3e-38], units).astype(np.float32),
        activation=activation,
        input_dtype="float32",
        weights_dtype=weights,
        bias_dtype="float32",
        asymmetric_quantize_inputs=asymmetric,
    )
    return load(write(graph))


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_hybrid_layers_on_hard_rows(engine, weights, asymmetric):
    fast = 0
    for seed, (depth, units, activation) in enumerate(
        [(1, 3, "NONE"), (13, 17, "RELU"), (40, 5, "RELU6"), (8, 4, "NONE")]
    ):
        rng = np.random.default_rng(seed)
        model = hybrid_model(rng, depth, units, weights, asymmetric, activation)
        x = hybrid_rows(rng, depth)
        for runtime in lastbit.RUNTIMES:
            if lastbit.prepare(model, runtime).refusals:
                continue
            for rows in (x, x[:1], x[-3:], np.repeat(x, 5, axis=0)):
                same(model, rows, runtime, engine, threads=2)
            step = lastbit.build(model, runtime, engine=engine).steps[0]
            fast += isinstance(step, ChainStep)
            with pytest.raises(lastbit.InputError, match="found NaN in row 1"):
                lastbit.build(model, runtime, engine=engine)(np.stack([x[0], np.full_like(x[0], np.nan)]))
    assert fast >= 8 or engine == "numpy"


def covered(model):
    return [name for name in lastbit.RUNTIMES if not lastbit.prepare(model, name).refusals]


def joined(graphs, before=(), after=()):
    """Graphs of one operator each, one behind the other; QUANTIZE or DEQUANTIZE before and behind them."""
    tensors, operators = [], []
    for graph in graphs:
        op, moved = graph.operators[0], len(tensors) - 1
        if not tensors:
            tensors, operators = list(graph.tensors), [op]
            continue
        end = operators[-1].outputs[0]
        # Its input is the last one's output.
        place = {i: end if i == op.inputs[0] else i + moved for i in range(len(graph.tensors))}
        tensors += [replace(t, index=place[t.index], name=f"t{place[t.index]}") for t in graph.tensors[1:]]
        inputs = tuple(place[i] if i >= 0 else i for i in op.inputs)
        operators.append(replace(op, inputs=inputs, outputs=(place[op.outputs[0]],)))
    start, end = graphs[0].inputs[0], operators[-1].outputs[0]
    build = ModelBuilder(replace(graphs[0], tensors=tuple(tensors), operators=tuple(operators)))
    for _ in before:
        x = build.like(start, dtype=INT8, quant=quant(0.03, 5))
        build.operator("DEQUANTIZE", [x], [start], version=2, first=True)
        start = x
    for _ in after:
        end = build.operator("QUANTIZE", [end], [build.like(end, dtype=INT8, quant=quant(0.5, 5))])
    return build.model([start], [end])


def layer(rng, depth, units, weights="int8", activation="NONE", **options):
    """A layer whose outputs are about as large as its inputs."""
    low, high = LIMITS[weights]
    per_channel = rng.integers(2)
    scale = rng.uniform(0.5, 2, units if per_channel else 1) * 1.7 / (high * np.sqrt(depth))
    return dense_subgraph(
        options.pop("values", rng.integers(low, high + 1, (units, depth)).astype(np.int8)),
        input_quant=None,
        weights_quant=quant(options.pop("scale", scale)),
        output_quant=None,
        bias=options.pop("bias", rng.normal(size=units).astype(np.float32) if rng.integers(3) else None),
        activation=activation,
        input_dtype="float32",
        weights_dtype=weights,
        bias_dtype="float32",
        **options,
    )


def same_or_refused(model, x, runtime, engine, **options):
    """The reference's bytes, or its words; says whether it was bytes."""
    wanted = ""
    try:
        lastbit.run(model, x, runtime)
    except lastbit.InputError as error:
        wanted = str(error)
    if not wanted:
        same(model, x, runtime, engine, **options)
        return True
    executable = lastbit.build(model, runtime, engine=engine, **options)
    for _ in range(2):  # the second time an input's shape is known
        with pytest.raises(lastbit.InputError) as caught:
            executable(x)
        assert str(caught.value) == wanted
    return False


CHAINS = [
    ((37, 12, 5), ("int8", "int8"), ("RELU", "NONE")),
    ((5, 70, 33, 9), ("int8", "int8", "int8"), ("RELU6", "RELU", "RELU_N1_TO_1")),
    ((40, 3, 40), ("int4", "int8"), ("NONE", "NONE")),
    ((64, 31, 2, 65), ("int8", "int4", "int4"), ("RELU", "NONE", "RELU6")),
]


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("chain", range(len(CHAINS)))
def test_chains_in_every_runtime(chain, asymmetric, engine):
    widths, kinds, activations = CHAINS[chain]
    rng = np.random.default_rng(chain)
    graphs = [
        layer(rng, depth, units, kind, activation, asymmetric_quantize_inputs=asymmetric)
        for (depth, units), kind, activation in zip(pairwise(widths), kinds, activations, strict=True)
    ]
    model = joined(graphs)
    x = hybrid_rows(rng, widths[0])
    usual = rng.normal(scale=3.0, size=(150, widths[0])).astype(np.float32)
    equal = 0
    for runtime in covered(model):
        for rows in (usual, x, usual[:1], *(x[i : i + 1] for i in range(0, len(x), 7))):
            equal += same_or_refused(model, rows, runtime, engine, threads=2)
        steps = lastbit.build(model, runtime, engine=engine).steps
        if engine == "jit" and "int4" not in kinds and in_one_chain(runtime):
            assert [len(step.entries) for step in steps] == [len(graphs)], runtime
    assert equal >= 8


@needs_numba
@QUICK
@given(
    st.lists(st.integers(1, 150), min_size=2, max_size=5),
    st.sampled_from(["int8", "int8", "int4"]),
    st.booleans(),
    st.integers(1, 200),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_any_chain(widths, kind, asymmetric, rows, hard, seed):
    rng = np.random.default_rng(seed)
    graphs = [
        layer(rng, *shape, kind, str(rng.choice(["NONE", "RELU", "RELU6"])), asymmetric_quantize_inputs=asymmetric)
        for shape in pairwise(widths)
    ]
    model = joined(graphs)
    x = rng.normal(scale=3.0, size=(rows, widths[0])).astype(np.float32)
    if hard:
        few = hybrid_rows(rng, widths[0])
        x[rng.integers(0, rows, 5)] = few[rng.integers(0, len(few), 5)]
    for runtime in covered(model):
        same_or_refused(model, x, runtime, "jit", threads=int(rng.integers(1, 3)))


@pytest.mark.parametrize("engine", ENGINE)
def test_infinities_and_nan_inside_a_chain_are_refused_in_the_same_words(engine, rng):
    # Outputs of the first layer overflow: infinite, or NaN where they meet a bias of the other sign.
    first = layer(rng, 9, 11, scale=1e30, bias=np.where(np.arange(11) % 2, -np.inf, 1.0).astype(np.float32))
    model = joined([first, layer(rng, 11, 20, activation="RELU")])
    small = rng.normal(size=(120, 9)).astype(np.float32) * np.float32(1e-20)
    large = small * np.float32(1e32)
    infinite = np.where(small > 1e-20, np.float32(np.inf), small)
    refused = 0
    for runtime in covered(model):
        for x in (small, large, infinite, np.concatenate([small, large[:1]]), large[:1]):
            refused += not same_or_refused(model, x, runtime, engine)
    assert refused >= 8


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_batches_of_nothing_but_zeros_keep_a_bias_of_minus_zero(engine, asymmetric, rng):
    # Kernels that do not fuse skip the product then, and +0.0 is not added to the bias.
    bias = np.where(np.arange(6) % 2, -0.0, 1.5).astype(np.float32)
    options = {"asymmetric_quantize_inputs": asymmetric}
    alone = joined([layer(rng, 9, 6, bias=bias, **options)])
    # A first layer whose outputs are all zero, then one with such a bias.
    dead = layer(rng, 9, 6, activation="RELU", bias=np.full(6, -1e6, np.float32), **options)
    behind = joined([dead, layer(rng, 6, 6, bias=bias, **options)])
    zeros = np.zeros((200, 9), np.float32)
    one = zeros.copy()
    one[150, 3] = 1.0
    kept = 0
    for model in (alone, behind):
        for runtime in covered(model):
            for x in (zeros, one, zeros[:1], one[150:151], -zeros[:3], one * np.float32(1e-42)):
                same(model, x, runtime, engine)
                same(model, x, runtime, engine, threads=2)
                kept += bool(np.signbit(lastbit.run(model, x, runtime).output).any())
    assert kept >= 12


@needs_numba
@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-xnnpack-avx2"])
def test_results_near_the_smallest_normal_number(runtime):
    # Products and biases that almost cancel: the sum is within a few roundings of +-2^-126.
    rng = np.random.default_rng(8)
    count, limit = 4000, np.float64(2.0**-126)
    step = np.float32(2.0**-20)
    x = np.float32([[255.0, 0.0]]) * step  # quantized to 127 and -128, the zero point
    exponents = np.where(rng.random(count) < 0.7, rng.uniform(0, 3, count), rng.uniform(0, 30, count))
    scale = (limit / step / 255 * 2.0**exponents).astype(np.float32)
    product = 255.0 * step * scale.astype(np.float64)
    target = rng.choice([-1, 1], count) * limit * (1 + rng.integers(-4, 5, count) * 2.0**-25)
    target = np.where(rng.random(count) < 0.1, 0.0, target)
    bias = (target - product).astype(np.float32)
    bias[::50] = rng.choice([1.0, -1.0, 3.0], len(bias[::50])) * np.float32(limit)
    weights = np.tile(np.int8([1, 0]), (count, 1))
    weights[::50] = 0
    graph = layer(rng, 2, count, values=weights, scale=scale, bias=bias)
    model = joined([graph])
    output = lastbit.run(model, x, runtime).output
    flushed, least = (output == 0).sum(), (np.abs(output) == np.float32(limit)).sum()
    assert flushed > 500
    assert least > 200
    for rows in (1, 7):
        same(model, np.repeat(x, rows, axis=0), runtime, "jit")


@needs_numba
def test_layers_with_a_fault_stay_outside_of_chains(rng):
    faulty = rng.integers(-127, 128, (8, 40)).astype(np.int8)
    faulty[3, 4] = -128
    graphs = [layer(rng, 10, 40), layer(rng, 40, 8, values=faulty), layer(rng, 8, 5), layer(rng, 5, 7)]
    model = joined(graphs)
    x = rng.normal(size=(30, 10)).astype(np.float32)
    kinds = {}
    for runtime in covered(model):
        same(model, x, runtime, "jit")
        kinds[runtime] = [type(step) for step in lastbit.build(model, runtime, engine="jit").steps]
    assert kinds["litert-xnnpack"] == [ChainStep]
    assert kinds["litert-builtin-x86"] == [ChainStep, OperatorStep, ChainStep]


@needs_numba
@pytest.mark.parametrize("asymmetric", [False, True])
def test_sums_of_weights_that_overflow_16_bits(asymmetric, rng):
    # LiteRT's own kernels take the zero point off wrongly there.
    values = np.full((5, 2080), 127, np.int8)
    model = joined([layer(rng, 2080, 5, values=values, asymmetric_quantize_inputs=asymmetric), layer(rng, 5, 4)])
    for runtime in covered(model):
        same(model, rng.uniform(1, 2, (9, 2080)).astype(np.float32), runtime, "jit")
        if in_one_chain(runtime):
            assert len(lastbit.build(model, runtime, engine="jit").steps) == 1


@pytest.mark.parametrize("engine", ENGINE)
def test_between_quantize_and_dequantize(engine, rng):
    model = joined([layer(rng, 13, 9, activation="RELU"), layer(rng, 9, 21)], before=[1], after=[1])
    x = rng.integers(-128, 128, (130, 13)).astype(np.int8)
    assert len(covered(model)) >= 3
    for runtime in covered(model):
        for rows in (x, x[:1]):
            same(model, rows, runtime, engine, threads=2)
        if engine == "jit" and in_one_chain(runtime):
            steps = lastbit.build(model, runtime, engine=engine).steps
            assert [len(step.entries) for step in steps] == [4], runtime


@pytest.mark.parametrize("engine", ENGINE)
@pytest.mark.parametrize("keep", [False, True])
def test_samples_of_several_rows(engine, keep, rng):
    graph = layer(rng, 8, 6, input_shape=(1, 5, 8), keep_num_dims=keep)
    model = joined([graph])
    for runtime in covered(model):
        for rows in (1, 40):
            same(model, rng.normal(size=(rows, 5, 8)).astype(np.float32), runtime, engine)


@needs_numba
@pytest.mark.parametrize(
    ("name", "runtimes"),
    [
        ("portable", ["litert-xnnpack-avx2", "litert-builtin-x86"]),
        ("plain_unsigned", ["litert-xnnpack"]),
        ("plain_signed", ["litert-builtin-x86"]),
    ],
)
def test_kernels_of_other_cpus(name, runtimes):
    from lastbit.engines.jit.hybrid import pack_hybrid
    from lastbit.engines.jit.matmul import Chain
    from lastbit.engines.jit.vectors import ISAS

    compared = 0
    for seed, (depth, units, activation) in enumerate([(3, 70, "RELU6"), (67, 19, "NONE")]):
        rng = np.random.default_rng(seed)
        model = hybrid_model(rng, depth, units, "int8", bool(seed), activation)
        x = hybrid_rows(rng, depth)
        for runtime in runtimes:
            (entry,) = lastbit.prepare(model, runtime).operators.values()
            packed = pack_hybrid(entry, 1, ISAS[name])
            chain = Chain([packed])
            for rows in (x, x[:1], x[2:5]):
                assert chain(rows).tobytes() == entry.evaluate([rows])["output"].tobytes(), runtime
                compared += 1
    assert compared == 6 * len(runtimes)


@needs_shared_models
@needs_numba
def test_the_hybrid_autoencoder_is_one_call(rng):
    model = lastbit.load(MODELS / "mlt_toycar_quant_v01bench.tflite")
    for runtime in filter(in_one_chain, covered(model)):
        steps = lastbit.build(model, runtime, engine="jit").steps
        assert [len(step.entries) for step in steps] == [10], runtime
