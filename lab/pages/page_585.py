"""The generated part of docs/585.md: the accumulator that people argue about, worked by the tool itself.

Everything is calculated by LastBit when `lab/pages/update.py` runs; no real interpreter is needed for it.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np

from lastbit.layers.differences import ends_of
from lastbit.layers.solving import UnitSolver
from lastbit.layers.step_tables import LayerTables, layer_rows
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import fraction_of, hex_float
from lastbit.ops.dense.eight_bit import PreparedDense
from lastbit.ops.dense.gemv_or_gemm import for_rows
from lastbit.ops.prepare import prepare
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.compare.verb import compare

__all__ = ["model", "page"]

ACC = 585
SCALES = (0.05296124517917633, 0.024093778803944588, 0.11484327912330627)
WEIGHTS = [[64, -23, 7, 90, -41, 1]]
FIRST, SECOND = "litert-xnnpack", "litert-reference"


def model() -> Model:
    """One unit with the three scales in question, an output zero point of -126, and some weights."""
    sx, sw, sy = SCALES
    graph = dense_subgraph(
        np.asarray(WEIGHTS, np.int8),
        input_quant=quant(sx, -3),
        weights_quant=quant(sw),
        output_quant=quant(sy, -126),
    )
    return load(write(graph))


def page() -> str:
    """The generated part, as Markdown."""
    layer_model = model()
    layer = prepare(layer_model, FIRST).operators[0]
    assert isinstance(layer, PreparedDense)
    return "\n\n".join([_numbers(), _runtimes(layer_model), _steps(layer_model), _tables(layer_model)])


def _numbers() -> str:
    sx, sw, sy = (np.float32(s) for s in SCALES)
    exact = ACC * fraction_of(sx) * fraction_of(sw) / fraction_of(sy)
    tie = Fraction(13, 2)
    side = "below" if exact < tie else "above"
    rows = [f"| `{name}` | {float(s)!r} | `{hex_float(s)}` |" for name, s in (("s_x", sx), ("s_w", sw), ("s_y", sy))]
    return "\n".join(
        [
            "| scale | as a float32, in decimals | exactly |",
            "|---|---|---|",
            *rows,
            "",
            f"    {ACC} * s_x * s_w / s_y = {_digits(exact)}...   in exact arithmetic",
            f"    {side} the tie 6.5 by {float(abs(exact - tie)):.3g}",
        ]
    )


def _digits(value: Fraction) -> str:
    with localcontext() as context:
        context.prec = 24
        return str(Decimal(value.numerator) / Decimal(value.denominator))


def _prepared(layer_model: Model) -> dict[str, PreparedDense]:
    """Every runtime that takes the layer."""
    found = {}
    for name in RUNTIMES:
        entry = prepare(layer_model, name).operators.get(0)
        if isinstance(entry, PreparedDense):
            found[name] = for_rows(entry, layer_rows(entry.layer))
    return found


def _runtimes(layer_model: Model) -> str:
    """What each rule makes of the accumulator, and who follows it."""
    by_rule: dict[str, list[str]] = {}
    outputs = {}
    for name, entry in _prepared(layer_model).items():
        rule = entry.requant.rule.name
        by_rule.setdefault(rule, []).append(f"`{name}`")
        table = LayerTables(entry).table(0)
        assert table is not None
        outputs[rule] = int(table.at(np.asarray(ACC)))
    rows = [f"| {outputs[rule]} | `{rule}` | {', '.join(names)} |" for rule, names in by_rule.items()]
    return "\n".join([f"| acc = {ACC} gives | rule | runtimes |", "|---:|---|---|", *sorted(rows)])


def _steps(layer_model: Model) -> str:
    """The steps of both sides of the argument."""
    prepared = _prepared(layer_model)
    parts = []
    for name in (FIRST, SECOND):
        entry = prepared[name]
        layer = entry.layer
        steps = exact_requantize(
            entry.requant.rule,
            ACC,
            input_scale=fraction_of(layer.input_scale),
            weights_scale=fraction_of(layer.weights_scale[0]),
            output_scale=fraction_of(layer.output_scale),
            ends=ends_of(entry.requant),
        )
        lines = []
        for step in steps:
            value = step.value.numerator if step.value.denominator == 1 else repr(float(step.value))
            lost = f"   ({step.effect}; exact {_digits(step.exact)})" if step.effect else ""
            lines.append(f"    {step.name:16} {step.formula} = {value}{lost}")
        parts += [f"`{name}`, rule `{entry.requant.rule.name}`:", "", *lines, ""]
    return "\n".join(parts).rstrip()


def _tables(layer_model: Model) -> str:
    """The certificate of the two: every accumulator at which they differ."""
    report = compare(layer_model, FIRST, SECOND, oracles=False, samples=0, seed=1)
    (layer,) = report.layers
    (difference,) = layer.differences
    dense = _prepared(layer_model)[FIRST].layer
    x = UnitSolver(dense, 0).solve(ACC, np.random.default_rng(1))
    assert x is not None
    sides = [prepare(layer_model, name).operators[0] for name in (FIRST, SECOND)]
    printed = [int(side.evaluate([x[None]])["output"][0, 0]) for side in sides]
    tables = {name: LayerTables(entry).table(0) for name, entry in _prepared(layer_model).items()}
    rows = []
    for name in (FIRST, SECOND):
        table = tables[name]
        assert table is not None
        near = [i for i in range(len(table)) if abs(int(table.starts[i]) - ACC) < 140]
        runs = ", ".join(f"{table.starts[i]} .. {table.ends[i]} gives {table.values[i]}" for i in near)
        rows.append(f"    {name:18} {runs}")
    listed = [low for low, high, _, _ in difference.rows() if low == high]
    gaps = sorted(set(np.diff(listed).tolist()))
    around = [acc for acc in listed if abs(acc - ACC) < 600]
    return "\n".join(
        [
            f"The two tables around {ACC} (`lastbit thresholds`):",
            "",
            *rows,
            "",
            f"Of the {layer.reachable} accumulators that this layer can reach ({difference.low} .. {difference.high}),",
            f"the two print different outputs at {difference.count} (`lastbit compare --json` lists all).",
            f"Neighbours are {' or '.join(map(str, gaps))} apart; near {ACC} they are {', '.join(map(str, around))}.",
            "",
            f"An input of this layer that reaches {ACC}, found by solving: x = {x.tolist()}.",
            f"For it `{FIRST}` prints {printed[0]} and `{SECOND}` {printed[1]}.",
        ]
    )
