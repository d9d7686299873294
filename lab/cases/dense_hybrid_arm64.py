"""Families of hybrid dense layers that separate rules on ARM64, where the number of rows chooses the loop; and rivals.

They are those of families_hybrid.py, and layers at the borders between the loops, with pairs of weights of -128.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lab.cases.dense import Case, Rng
from lab.cases.dense_hybrid import (
    FAMILIES,
    KINDS,
    Kind,
    _limit,
    _normal,
    make_layer,
    many_rows,
    some_bias,
    sums_of_weights,
)
from lab.cases.dense_hybrid_rivals import Rival, changed, prepared_for, read, rounded
from lastbit.model.graph import Model, Operator
from lastbit.model.tflite import write
from lastbit.ops.base import PreparedOperator
from lastbit.rules.hybrid.table import (
    FUSED,
    HYBRID_RULES,
    NEON_FOR_NIBBLES,
    NIBBLES_NEON,
    PAIRS,
    UNFUSED,
    UNFUSED_KLEIDIAI,
)

GOLDEN_SEED, GOLDEN_ROUNDS, LARGEST_CASE = 29, 6, 2_600


def loops(rng: Rng, kind: Kind) -> Case:
    """Sizes around which the loop changes: depths of whole sixteens, even units, rows by fours, sixteen and more."""
    depth = int(rng.choice([16, 32, 48, 64, 96, 128, 256]) + rng.choice([0, 0, 0, 0, 8]))
    units = int(rng.choice([2, 4, 6, 8, 10, 12, 16, 18, 32, 34]))
    rows = int(rng.choice([2, 3, 4, 4, 4, 5, 6, 8, 8, 12, 15, 16, 17, 20, 32, 64]))
    activation = str(rng.choice(["NONE", "NONE", "NONE", "RELU"]))
    graph = make_layer(
        rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units), activation=activation
    )
    return Case("around the loops' borders", graph, tuple(_normal(rng, (rows, depth)) for _ in range(2)))


def large(rng: Rng, kind: Kind) -> Case:
    """Units times depth around 128 * 128, from where two rows are padded to four."""
    depth, units = ((128, 128), (128, 126), (256, 64), (256, 62), (640, 26), (640, 24))[int(rng.integers(6))]
    rows = int(rng.choice([1, 2, 3, 5, 7]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units))
    return Case("around 128 x 128 weights", graph, (_normal(rng, (rows, depth)),))


def lowest_pairs(rng: Rng, kind: Kind) -> Case:
    """The lowest weights and inputs, eight columns apart: sums of two products that do not fit 16 bits."""
    limit = _limit(kind)
    depth, units = int(rng.choice([16, 24, 31, 32, 40, 64])), int(rng.choice([2, 3, 4, 8]))
    rows = int(rng.choice([1, 2, 3, 4]))
    weights = rng.integers(1 - limit, limit, (units, depth))
    weights[rng.random(weights.shape) < rng.choice([0.5, 0.9])] = -limit
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, weights=weights, bias=some_bias(rng, units))
    samples = []
    for _ in range(3):
        values = rng.uniform(0, 1, (rows, depth))
        values[rng.random(values.shape) < 0.6] = 0.0  # with nothing below zero, zero becomes -128
        values[:, int(rng.integers(depth))] = 1.0
        samples.append((values * 10.0 ** rng.integers(-3, 3)).astype(np.float32))
    return Case("lowest weights and inputs", graph, tuple(samples))


def tiny_scales(rng: Rng, kind: Kind, activation: str | None = None) -> Case:
    """Weights scales near the smallest normal number, with products that are subnormal or round to it."""
    depth, units, rows = int(rng.choice([1, 8, 16])), int(rng.choice([1, 4, 8])), int(rng.choice([1, 2]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=None, activation=activation)
    tensors = list(graph.tensors)
    assert tensors[1].quant is not None
    count = tensors[1].quant.scale.size
    scales = rng.uniform(1, 2, count) * 2.0 ** rng.integers(-126, -105)
    tensors[1] = replace(tensors[1], quant=replace(tensors[1].quant, scale=scales.astype(np.float32)))
    samples = tuple((rng.normal(size=(rows, depth)) * 2.0**e).astype(np.float32) for e in (-20, -8, -1, 3))
    return Case("tiny weights scales", replace(graph, tensors=tuple(tensors)), samples)


def one_unit(rng: Rng, kind: Kind) -> Case:
    """A single unit: all that a delegate takes of int4 weights with one scale."""
    depth, rows = int(rng.choice([2, 6, 8, 16, 20, 32, 46, 64, 128])), 64
    graph = make_layer(rng, kind, units=1, depth=depth, rows=rows, bias=some_bias(rng, 1), activation="NONE")
    magnitudes = 10.0 ** rng.uniform(-6, 6, (4, rows, 1))
    values = (rng.normal(size=(4, rows, depth)) + rng.normal(size=(4, rows, 1))) * magnitudes
    ties = rng.integers(-128, 127, (rows, depth)) + 0.5
    ties[:, 0], ties[:, -1] = -128, 127
    return Case("one unit", graph, (*values.astype(np.float32), (ties / 16).astype(np.float32)))


def tail_ties(rng: Rng, kind: Kind) -> Case:
    """Ties among the last values of a row, which vector code of eight leaves over."""
    depth, units, rows = int(rng.choice([4, 6, 12, 20])), 4, int(rng.choice([1, 2]))
    graph = make_layer(rng, kind, units=units, depth=depth, rows=rows, bias=some_bias(rng, units), activation="NONE")
    samples = []
    for low, high in ((-127, 127), (-128, 127), (-30, 225)):
        values = rng.integers(low, high, (rows, depth)) + 0.5
        values[:, 0], values[:, 1] = low, high
        samples.append((values * 2.0 ** rng.integers(-6, 3)).astype(np.float32))
    return Case("ties at the end of a row", graph, tuple(samples))


def four_rows(rng: Rng, kind: Kind, depth: int = 16) -> Case:
    """Four rows, of sixteen columns taken at once by dot product instructions, with pairs of the lowest weights."""
    limit, rows = _limit(kind), 4
    units = int(rng.choice([4, 6, 8]))
    weights = rng.integers(1 - limit, limit, (units, depth))
    weights[rng.random(weights.shape) < 0.5] = -limit
    bias, asymmetric = some_bias(rng, units), bool(rng.random() < 0.7)
    graph = make_layer(
        rng,
        kind,
        units=units,
        depth=depth,
        rows=rows,
        weights=weights,
        bias=bias,
        activation="NONE",
        asymmetric=asymmetric,
    )
    values = rng.uniform(0, 1, (2, rows, depth)) * (rng.random((2, rows, depth)) < 0.6)
    return Case(
        "four rows of sixteen columns" if depth == 16 else "four rows, whose depth is filled up",
        graph,
        tuple(values.astype(np.float32)),
    )


ARM64_FAMILIES = (*FAMILIES, loops, lowest_pairs, tiny_scales, tail_ties)


def cases(rng: Rng, rounds: int, kind: Kind) -> Iterator[Case]:
    """`rounds` cases of every family, and now and then a large layer."""
    for number in range(rounds):
        for family in ARM64_FAMILIES:
            yield family(rng, kind)
        if kind == ("int4", False):
            yield one_unit(rng, kind)
        if number % 4 == 1:
            yield large(rng, kind)
        if number % 10 == 0:
            yield sums_of_weights(rng, kind)
        if number % 3 == 2:
            yield many_rows(rng, kind)


def golden_cases() -> Iterator[Case]:
    """A small set."""
    for number, kind in enumerate(KINDS):
        for case in cases(np.random.default_rng([GOLDEN_SEED, number]), GOLDEN_ROUNDS, kind):
            if len(write(case.graph)) + sum(x.nbytes for x in case.samples) <= LARGEST_CASE:
                yield case
        yield from (four_rows(np.random.default_rng([GOLDEN_SEED, number, k]), kind, (16, 16, 31)[k]) for k in range(3))


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """All kinds, one after the other."""
    for number, kind in enumerate(KINDS):
        yield from cases(np.random.default_rng([seed, number]), rounds, kind)
        for k in range(rounds):
            rng = np.random.default_rng([seed, number, k])
            yield four_rows(rng, kind, (16, 31)[k % 2])
            yield tiny_scales(rng, kind, "RELU")  # where a negative result underflows, FMAX makes +0.0 of -0.0


# Rival rules: each changes one thing of a real one.


def _rival_rules(int4: bool) -> Iterator[Rival]:
    own, kleidiai = HYBRID_RULES["hybrid-int8-neon"], HYBRID_RULES["hybrid-kleidiai-unfused"]
    plain = HYBRID_RULES["hybrid-qd8-fma-pairs_of_16_bits"]
    for rule in (own, HYBRID_RULES[f"{own.name}/never_four_rows"], kleidiai, plain):
        yield rule, {}
    yield HYBRID_RULES[f"{own.name}/channel_scales_ignored"], {}
    for name in ("qd8-fma", "int8-unfused", "kleidiai_away-unfused", "kleidiai_away-fused_if_one_row"):
        yield HYBRID_RULES[f"hybrid-{name}"], {}
    yield changed(own, "never_fused", finish=UNFUSED)
    yield changed(own, "no_short_cut", finish=replace(own.finish, zeros="multiplied"))
    if not int4:
        yield changed(own, "without_faults", pairs=None)
        yield changed(plain, "without_faults", pairs=None)
        yield changed(plain, "whole_sixteens", pairs=PAIRS)
    for how in ("half_even", "nudged"):
        yield read(own, how, quantize=rounded(how))
    yield read(kleidiai, "half_even", quantize=rounded("half_even"))
    yield read(plain, "half_away", quantize=rounded("half_away"))
    yield changed(plain, "unfused", finish=UNFUSED_KLEIDIAI)
    yield changed(plain, "x86_flush", finish=FUSED)
    yield changed(kleidiai, "fused", finish=FUSED)
    yield changed(kleidiai, "no_flush", finish=UNFUSED)
    if int4:
        nibbles = HYBRID_RULES["hybrid-int4-nibbles-neon"]
        for rule in (nibbles, HYBRID_RULES[f"{nibbles.name}/never_four_rows"]):
            yield rule, {}
        yield HYBRID_RULES[f"{nibbles.name}/channel_scales_ignored"], {}
        yield HYBRID_RULES["hybrid-int4-nibbles"], {}
        yield changed(nibbles, "x86_packing", nibbles=replace(NIBBLES_NEON, full="vector"))
        unfused = replace(NIBBLES_NEON, fused=False, row_sums="quantized")
        yield changed(nibbles, "x86_finish", nibbles=unfused, finish=UNFUSED)
        yield changed(nibbles, "one_formula", symmetric=NEON_FOR_NIBBLES, asymmetric=NEON_FOR_NIBBLES, nibbles=None)


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """Every rule that could be thought to be a hybrid layer's on ARM64, prepared for it."""
    weights = model.operand(op, 1)
    assert weights is not None
    return prepared_for(model, op, _rival_rules(weights.dtype.name == "int4"))
