"""What other versions and CPUs are asked: the families of `collect_evidence`, smaller, and two of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lab.cases import (
    activations,
    dense_8bit,
    dense_float,
    dense_hybrid,
    dense_hybrid_arm64,
    dense_int16,
    dense_libraries,
)
from lab.cases import dense as dense_families
from lab.cases.dense import Case, Kind, Rng
from lastbit.layers.separating_inputs import all_rules, boundary_inputs, critical_accumulators, tie_seeking_inputs
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant
from lastbit.ops.base import PreparedOperator
from lastbit.ops.dense.faulty_kernels import ignores_quantization
from lastbit.ops.dense.fully_connected import RULES, prepare_fully_connected
from lastbit.rules.base import IntegerRule
from lastbit.rules.requantize.forms import Float, OneRounding
from lastbit.rules.requantize.table import INT16
from lastbit.rules.requantize.table import RULES as INTEGER_RULES
from lastbit.runtimes.table_parts import COPIED

PROBES = 1200
Rivals = Callable[[Model, Operator], Mapping[str, PreparedOperator]]


@dataclass(frozen=True)
class VersionCase:
    """A case, and every rule that could be the right one for it."""

    case: Case
    rivals: Rivals


def two_rows(rng: Rng, kind: Kind, scales: str, rows: int, probes: int = PROBES) -> Case:
    """A requantization function printed for several rows at once: other kernels run than for one row."""
    units = 16 if kind.per_channel else 2
    template = dense_families.make_layer(rng, scales, kind, units=units, depth=8, activation="NONE")
    layer = Case("", template, ()).layer
    rules = all_rules(layer)
    channels = range(units) if kind.per_channel else [0]
    accs = [critical_accumulators(rules, c, probes // len(channels), rng) for c in channels]
    weights_scale = layer.weights_scale
    if kind.per_channel:
        weights_scale = np.concatenate([np.full(len(a), weights_scale[c]) for a, c in zip(accs, channels, strict=True)])
    bias = np.concatenate(accs)
    zw = layer.weights_zero_point
    graph = dense_subgraph(
        np.full((bias.size, 8), zw),
        input_quant=quant(layer.input_scale, layer.input_zero_point),
        weights_quant=quant(weights_scale, zw),
        output_quant=quant(layer.output_scale, layer.output_zero_point),
        bias=bias,
        input_shape=(rows, 8),
        input_dtype=kind.input_dtype,
        weights_dtype=kind.weights_dtype,
    )
    fed = graph.tensors[0]
    return Case(f"requantization, {scales} scales, {rows} rows", graph, (np.zeros(fed.shape, fed.dtype.numpy),))


def few_units(rng: Rng, kind: Kind) -> Case:
    """Fewer units or less depth than a matrix-vector kernel takes, and just as many."""
    units, depth = int(rng.integers(2, 6)), int(rng.integers(6, 10))
    bias = rng.integers(-5000, 5000, units)
    rows = int(rng.choice([1, 1, 2]))
    graph = dense_families.make_layer(
        rng, "power_of_two", kind, units=units, depth=depth, bias=bias, input_shape=(rows, depth)
    )
    return dense_families.random_case("few units", dense_families.rescaled(graph, rng, power_of_two=True), rng, 40)


def without_bias(rng: Rng, kind: Kind) -> Case:
    """Layers without a bias, inputs solved for ties: delegates may take these where they leave others."""
    depth, units = int(rng.choice([16, 48, 128])), 16
    scales = str(rng.choice(["power_of_two", "half_integer"]))
    graph = dense_families.make_layer(rng, scales, kind, units=units, depth=depth)
    graph = dense_families.rescaled(graph, rng, power_of_two=True)
    layer = Case("", graph, ()).layer
    solved, _ = tie_seeking_inputs(layer, all_rules(layer), 64, rng)
    rows = np.concatenate([solved, boundary_inputs(layer, rng)])
    return Case("ties without a bias", graph, tuple(row[None] for row in rows))


def leading_dimensions(rng: Rng, kind: Kind) -> Case:
    """Outputs of rank 3 and 4 (keep_num_dims)."""
    units, depth = int(rng.integers(3, 9)), int(rng.integers(3, 12))
    shape = (*(int(v) for v in rng.integers(2, 4, int(rng.integers(2, 4)))), depth)
    bias = rng.integers(-500, 500, units)
    graph = dense_families.make_layer(
        rng, "plain", kind, units=units, depth=depth, bias=bias, input_shape=shape, keep_num_dims=True
    )
    return dense_families.random_case("leading dimensions", dense_families.rescaled(graph, rng), rng, 4)


KINDS: dict[str, tuple[Kind, ...]] = {
    "int8": (dense_families.PER_TENSOR, dense_families.PER_CHANNEL),
    "8bit": dense_8bit.KINDS,
}


def _dense(name: str, seed: int, rounds: int, probes: int) -> Iterator[Case]:
    for number, kind in enumerate(KINDS[name]):
        rng = np.random.default_rng([seed, number, len(name)])
        for _ in range(rounds):
            for case in dense_8bit.cases(rng, 1, kind, probes):
                if "refuse" not in case.family:
                    yield _without_refusals(case)
            for scales in dense_families.SCALE_KINDS:
                yield two_rows(rng, kind, scales, int(rng.choice([2, 2, 5])), probes)
            for _ in range(4):
                yield few_units(rng, kind)
            for _ in range(3):
                yield leading_dimensions(rng, kind)


def _without_refusals(case: Case) -> Case:
    """Zero probes of XNNPACK would be constant where an activation's bounds coincide: such layers get none."""
    op = case.graph.operators[0]
    output = case.graph.tensors[op.outputs[0]]
    assert output.quant is not None
    zero_point = int(output.quant.zero_point[0])
    if op.options["fused_activation_function"] == "NONE" or abs(zero_point) < output.dtype.qmax - 20:  # type: ignore[operator]
        return case
    options = {**op.options, "fused_activation_function": "NONE"}
    return replace(case, graph=replace(case.graph, operators=(replace(op, options=options),)))


def rivals_dense(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of the 8-bit families, those by rows and those that ignore a zero point among them."""
    prepared: dict[str, PreparedOperator] = {}
    weights = model.operand(op, 1)
    narrow = weights is not None and weights.dtype.name == "int4"
    for name in RULES:
        rule = INTEGER_RULES.get(name)
        if rule is not None and (_adds_bias(rule) or rule.sums.bits == 64 or (rule.sums.bits == 28 and not narrow)):
            continue
        try:
            prepared[name] = prepare_fully_connected(model, op, name)
        except UnsupportedError:
            continue
    return prepared


def _adds_bias(rule: IntegerRule) -> bool:
    return isinstance(rule.requantize, Float) and rule.requantize.bias != "in_acc"


def _saturates(rule: IntegerRule) -> bool:
    return isinstance(rule.requantize, Float) and rule.requantize.out_of_range == "saturate32"


def _keeps_bit(rule: IntegerRule) -> bool:
    return isinstance(rule.requantize, OneRounding) and rule.requantize.kept_bit


def rivals_int16(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of the int16 family, and those that take the first unit's scale for every unit."""
    weights = model.operand(op, 1)
    assert weights is not None
    assert weights.quant is not None
    several = weights.quant.scale.size > 1
    names = [name for name, rule in INTEGER_RULES.items() if several and rule.scales.weights_scale == "first"]
    names += [name for name, rule in INT16.items() if _saturates(rule)]
    return {**dense_int16.rivals(model, op), **{name: prepare_fully_connected(model, op, name) for name in names}}


def rivals_hybrid(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of hybrid layers, x86-64's and ARM64's."""
    return {**dense_hybrid.rivals(model, op), **dense_hybrid_arm64.rivals(model, op)}


def reshapes(rng: Rng, rounds: int) -> Iterator[Case]:
    """RESHAPE of every element type, by an option and by a constant shape."""
    for dtype in (DTYPE_BY_NAME[name] for name in COPIED):
        for constant in (False, True)[: rounds + 1]:
            values = rng.integers(0, 2, (2, 12)).astype(dtype.numpy)
            params = quant(0.5) if dtype.name in ("int8", "uint8") else None
            shapes = [(2, 12), (4, 6)]
            tensors = [Tensor(0, "input", shapes[0], shapes[0], dtype, params, None)]
            if constant:
                wanted = np.asarray(shapes[1], np.int32)
                tensors.append(Tensor(1, "shape", (2,), (2,), DTYPE_BY_NAME["int32"], None, wanted))
            last = len(tensors)
            tensors.append(Tensor(last, "output", shapes[1], shapes[1], dtype, params, None))
            op = Operator(0, "RESHAPE", 1, tuple(range(last)), (last,), {"new_shape": shapes[1]})
            yield Case("reshape", Subgraph("main", tuple(tensors), (op,), (0,), (last,)), (values,))


def rows_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Layers on both sides of what a matrix-vector kernel takes, of every kind: evidence of rules by rows."""
    for number, kind in enumerate((*KINDS["int8"], *KINDS["8bit"])):
        rng = np.random.default_rng([seed, 200 + number])
        for _ in range(rounds):
            for scales in dense_families.SCALE_KINDS:
                yield two_rows(rng, kind, scales, int(rng.choice([2, 3])))
            for _ in range(4):
                yield few_units(rng, kind)


def without_quantized_output(seed: int, rounds: int, floats: bool) -> Iterator[Case]:
    """Hybrid layers, or float32 ones: enough of each family to tell its rival rules apart."""
    if floats:
        # float16 weights by themselves are refused by every version.
        every = dense_float.all_cases(seed, 4 * rounds)
        yield from (case for case in every if "refuse" not in case.family)
    else:
        yield from dense_hybrid.all_cases(seed, 4 * rounds)


def _inverses(rng: Rng, kind: dense_hybrid.Kind) -> Case:
    """Inputs that 255 over the row's range and the inverse of its rounded scale take to different steps."""
    depth, units, rows = 32, 6, 24
    values = rng.normal(size=(rows, depth)).astype(np.float32)
    for row in values:
        while True:
            row[0], row[1] = -rng.uniform(3, 5), rng.uniform(3, 5)
            exact = np.float32(255) / (row[1] - row[0])
            twice = np.float32(1) / (np.float32(1) / exact)
            near = ((rng.permutation(200) - 99.5) / np.float64(exact)).astype(np.float32)
            near = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])
            parted = near[(np.rint(near * exact) != np.rint(near * twice)) & (near > row[0]) & (near < row[1])]
            if parted.size:
                row[2:6] = np.resize(parted, 4)
                break
    graph = dense_hybrid.make_layer(
        rng, kind, units=units, depth=depth, rows=rows, bias=dense_hybrid.some_bias(rng, units), activation="NONE"
    )
    return Case("inverse of the scale", graph, (values,))


def inverse_cases(seed: int, rounds: int) -> Iterator[Case]:
    """These for all kinds; not in its `FAMILIES`, whose random numbers golden files depend on."""
    for number, kind in enumerate(dense_hybrid.KINDS):
        rng = np.random.default_rng([seed, number, 7])
        yield from (_inverses(rng, kind) for _ in range(rounds))


# Probes in one case of `compact_cases`: an emulator's time goes into cases, not into outputs.
MANY_PROBES = 24_000


def compact_cases(seed: int, rounds: int) -> Iterator[Case]:
    """For slow interpreters: few cases of every family, and requantization functions printed with many probes each."""
    for number, kind in enumerate((*KINDS["int8"], *KINDS["8bit"])):
        rng = np.random.default_rng([seed, 400 + number])
        for _ in range(3 * rounds):
            yield from dense_8bit.cases(rng, 1, kind, PROBES)
            yield from (few_units(rng, kind) for _ in range(4))
            yield leading_dimensions(rng, kind)
        # One layer has as many functions to print as it has channels.
        for _ in range(rounds if kind.per_channel else 8 * rounds):
            for scales in dense_families.SCALE_KINDS:
                yield dense_families.requantization(rng, kind, scales, MANY_PROBES)
                yield two_rows(rng, kind, scales, 3, MANY_PROBES)
    for number, wide in enumerate((*dense_int16.KINDS, *dense_int16.MISREAD)):
        rng = np.random.default_rng([seed, 500 + number])
        for _ in range(rounds):
            yield from dense_int16.cases(rng, 1, wide, MANY_PROBES // 4)


def compact_around(seed: int, rounds: int) -> Iterator[Case]:
    """The same of the operators around dense layers."""
    yield from activations.cases(seed, 60 * rounds)
    yield from reshapes(np.random.default_rng(seed), rounds)


def rivals_compact(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule of the operator's family but those that are another one by another name for this very layer."""
    return dense_libraries.remembered(model.content, _rivals_compact)


def _rivals_compact(model: Model) -> dict[str, PreparedOperator]:
    op = model.operators[0]
    if op.name != "FULLY_CONNECTED":
        return activations.rivals(model, op)
    types = model.operand(op, 0)
    if types is not None and types.dtype.name == "int16":
        return {name: prepare_fully_connected(model, op, name) for name, rule in INT16.items() if not _keeps_bit(rule)}
    faults = {name for name, rule in INTEGER_RULES.items() if ignores_quantization(rule)}
    return {name: rule for name, rule in rivals_dense(model, op).items() if name not in faults}


@dataclass(frozen=True)
class Families:
    """A set of cases by name."""

    cases: Callable[[int, int, int], Iterable[Case]]
    rivals: Rivals


FAMILIES: dict[str, Families] = {
    "int8": Families(lambda seed, rounds, probes: _dense("int8", seed, rounds, probes), rivals_dense),
    "8bit": Families(lambda seed, rounds, probes: _dense("8bit", seed, rounds, probes), rivals_dense),
    "no-bias": Families(
        lambda seed, rounds, _: (
            without_bias(np.random.default_rng([seed, 300, number, round_]), kind)
            for number, kind in enumerate((*KINDS["int8"], *KINDS["8bit"]))
            for round_ in range(6 * rounds)
        ),
        rivals_dense,
    ),
    "int16": Families(lambda seed, rounds, _: dense_int16.all_cases(seed, 1), rivals_int16),
    "hybrid": Families(lambda seed, rounds, _: without_quantized_output(seed, rounds, floats=False), rivals_hybrid),
    "hybrid-inverse": Families(lambda seed, rounds, _: inverse_cases(seed, 2 * rounds), dense_hybrid.rivals),
    "float": Families(lambda seed, rounds, _: without_quantized_output(seed, rounds, floats=True), dense_float.rivals),
    "activations": Families(lambda seed, rounds, _: activations.cases(seed, 12 * rounds), activations.rivals),
    "reshape": Families(lambda seed, rounds, _: reshapes(np.random.default_rng(seed), rounds), activations.rivals),
}


def cases(names: Iterable[str], seed: int, rounds: int, probes: int = PROBES) -> Iterator[VersionCase]:
    """The cases of some families."""
    for name in names:
        families = FAMILIES[name]
        for case in families.cases(seed, rounds, probes):
            yield VersionCase(lowered(case), families.rivals)


def lowered(case: Case) -> Case:
    """The case with the lowest operator version that says what it needs, so that older interpreters take it."""
    op = case.graph.operators[0]
    if op.name != "FULLY_CONNECTED":
        return case
    types = [case.graph.tensors[i].dtype.name for i in op.inputs[:2]]
    lowest = {"uint8": 1, "int8": 4, "int16": 7, "float32": 1}[types[0]]
    if types[1] != types[0] and types[0] == "float32":
        lowest = 3
    if "int4" in types:
        lowest = 10
    if op.options["quantized_bias_type"] != "float32":
        lowest = 11
    if op.options["keep_num_dims"]:
        lowest = max(lowest, 5)
    changed = replace(op, version=min(lowest, op.version))
    return replace(case, graph=replace(case.graph, operators=(changed,)))
