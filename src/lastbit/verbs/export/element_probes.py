"""What functions of one output element are asked alone: where other rules and fused floats print something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...model.types import Array
from ...ops.base import PreparedOperator
from ...rules.operators.fold import affine_offset, factor_value, leaves
from ...rules.operators.forms import Affine, FloatRounded, FloatScaled
from ...rules.operators.rule import Output, RealOutput, Staged
from ...rules.operators.table import STAGED_RULES
from ...rules.operators.vector import Calculator
from .program import ElementFunction
from .rivals import Kills

__all__ = ["ElementProbe", "element_probes"]

_DRAWN = 4096


@dataclass(frozen=True)
class ElementProbe:
    """Arguments and the result.

    Attributes:
        given: the arguments, whole numbers or one float32.
        output: the output: a whole number or a float32.
    """

    given: tuple[int | np.float32, ...]
    output: int | np.float32


def element_probes(
    entry: PreparedOperator, asked: ElementFunction, kills: Kills, rng: np.random.Generator
) -> list[ElementProbe]:
    """The ends of all arguments, and for each rival two places at which it prints something else."""
    given = _candidates(asked, rng)
    wanted = _outputs(asked.leaf, asked, given)
    count = len(wanted)
    chosen = dict.fromkeys([*range(min(4, count)), *rng.integers(count, size=4).tolist()])
    for name, theirs in _rivals(entry, asked, given):
        differs = np.flatnonzero(_bits(theirs) != _bits(wanted))
        if name not in kills.caught and not len(differs):
            kills.rivals.add(name)
        for place in differs[rng.permutation(len(differs))[:2]].tolist():
            kills.rivals.add(name)
            kills.caught.add(name)
            chosen[place] = None
    arrays = list(given.values())
    kind = np.float32 if asked.real else int
    out = np.float32 if wanted.dtype == np.float32 else int
    places = list(chosen)
    return [ElementProbe(tuple(kind(a[i]) for a in arrays), out(wanted[i])) for i in places]


def _bits(values: Array) -> Array:
    return values.view(np.int32) if values.dtype == np.float32 else values


def _outputs(leaf: Staged, asked: ElementFunction, given: Mapping[str, Array]) -> Array:
    return Calculator(leaf, asked.constants)(given, lambda _: True)["output"]


def _candidates(asked: ElementFunction, rng: np.random.Generator) -> dict[str, Array]:
    """Arguments: the ends of all, then what is drawn."""
    if asked.real:
        return {asked.given[0]: _reals(asked, rng)}
    ends = np.meshgrid(*asked.ranges, indexing="ij")
    drawn = [rng.integers(low, high + 1, _DRAWN) for low, high in asked.ranges]
    return {
        name: np.concatenate([end.reshape(-1), some]).astype(np.int64)
        for name, end, some in zip(asked.given, ends, drawn, strict=True)
    }


def _reals(asked: ElementFunction, rng: np.random.Generator) -> Array:
    """Floats at and around ties of the output's grid, far outside of it, and zero."""
    to = asked.constants.output
    assert to is not None
    steps = np.arange(max(to.qmin - to.zero_point, -300) - 2, min(to.qmax - to.zero_point, 300) + 3) + 0.5
    with np.errstate(over="ignore"):
        ties = (steps * np.float64(to.scale)).astype(np.float32)
        around = [ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))]
    some = rng.normal(0, 60 * float(to.scale), 256).astype(np.float32)
    far = np.asarray([0, 3e38, -3e38, 1e9, -1e9], np.float32)
    return np.concatenate([far, *around, some]).astype(np.float32)


def _rivals(entry: PreparedOperator, asked: ElementFunction, given: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """What other rules of the operator print for the same arguments, and what a fused product and sum would."""
    seen = [asked.leaf]
    for name, rule in STAGED_RULES.get(entry.operator.name, {}).items():
        for leaf in leaves(rule):
            if leaf in seen or isinstance(leaf.output, RealOutput) != isinstance(asked.leaf.output, RealOutput):
                continue
            seen.append(leaf)
            try:
                yield name, _outputs(leaf, asked, given)
            except (KeyError, IndexError, AssertionError, ValueError):
                continue  # a rule of other element types, which reads what is not there
    fused = _fused(asked, given)
    if fused is not None:
        yield "fused multiply-add", fused


def _fused(asked: ElementFunction, given: Mapping[str, Array]) -> Array | None:
    """What a compiler makes of a product and a sum if it rounds once; None where there is no such pair.

    A product of two float32 is exact in float64; the sum with a third is, as far as its float32 shows.
    """
    leaf, constants = asked.leaf, asked.constants
    match leaf.output:
        case RealOutput(way="product_plus_offset"):
            side = constants.inputs[0]
            offset = np.float64(np.float32(-side.zero_point) * side.scale)
            return np.asarray(given["input_1"] * np.float64(side.scale) + offset).astype(np.float32)
        case Output(add="nothing"):
            match leaf.stages[-3:]:
                case (FloatScaled(factor=factor), Affine() as affine, FloatRounded(tie="half_even")):
                    scale = np.float64(np.float32(factor_value(factor, constants)))
                    moved = given["total"] * scale + np.float64(affine_offset(affine, constants))
                    return np.rint(moved.astype(np.float32)).clip(constants.low, constants.high).astype(np.int64)
    return None
