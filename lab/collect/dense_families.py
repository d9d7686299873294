"""The families of dense layers that `lab/collect/dense.py` compares, and which runtimes are compared with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.cases import (
    activations,
    dense,
    dense_8bit,
    dense_float,
    dense_hybrid,
    dense_hybrid_arm64,
    dense_int16,
    dense_libraries,
    dense_pairs,
    versions,
)
from lab.cases.dense import Case
from lastbit.model.graph import Model, Operator
from lastbit.ops.base import PreparedOperator
from lastbit.oracles import ORACLES

__all__ = ["FAMILIES", "Families"]


@dataclass(frozen=True)
class Families:
    """A set of families that belong together.

    Attributes:
        cases: (seed, rounds) -> the cases.
        rivals: (model, operator) -> every rule that could be thought to be the right one, prepared.
        rounds: the default number of rounds: enough for a million outputs per runtime and variant.
        runtimes: those that are compared with it, where their interpreters are there.
    """

    cases: Callable[[int, int], Iterator[Case]]
    rivals: Callable[[Model, Operator], Mapping[str, PreparedOperator]]
    rounds: int
    runtimes: Sequence[str] = tuple(name for name, spec in ORACLES.items() if spec.whole_models)


# On CPUs without VNNI they follow another runtime's rules, but not where no pair of products leaves 16 bits.
SATURATING = ("onnxruntime", "torch-fbgemm")
ARM64 = tuple(name for name in ORACLES if "-arm64" in name)

# Keyed by the name that --families takes.
FAMILIES: dict[str, Families] = {
    "int8": Families(dense.all_cases, dense.rivals, 210),
    "8bit": Families(dense_8bit.all_cases, dense_8bit.rivals, 130),
    "other-runtimes": Families(
        dense_libraries.all_cases,
        dense_libraries.rivals,
        10,
        dense_libraries.RUNTIMES,
    ),
    "spread": Families(dense_libraries.spread_cases, dense_libraries.rivals, 10, ("torch-fbgemm",)),
    "spread-mixed": Families(dense_pairs.spread_cases, dense_libraries.rivals, 10, SATURATING),
    "pairs": Families(dense_pairs.all_cases, dense_pairs.rivals, 60, dense_pairs.RUNTIMES),
    "pairs-many": Families(dense_pairs.many_cases, dense_pairs.no_rivals, 50, dense_pairs.RUNTIMES),
    "pairs-layers": Families(dense_pairs.layer_cases, dense_pairs.rules, 10, dense_pairs.RUNTIMES),
    "bulk": Families(
        dense_libraries.bulk_cases,
        dense_libraries.rivals,
        14,
        dense_libraries.RUNTIMES,
    ),
    "int16": Families(dense_int16.all_cases, dense_int16.rivals, 55),
    "hybrid": Families(dense_hybrid.all_cases, dense_hybrid.rivals, 50),
    "hybrid-arm64": Families(dense_hybrid_arm64.all_cases, dense_hybrid_arm64.rivals, 12, ARM64),
    "float32": Families(dense_float.all_cases, dense_float.rivals, 100),
    "other-runtimes-int16": Families(
        dense_libraries.int16_cases,
        dense_libraries.rivals,
        22,
        dense_libraries.INT16_RUNTIMES,
    ),
    "compact": Families(
        versions.compact_cases,
        versions.rivals_compact,
        2,
        ("litert-builtin-portable", *ARM64),
    ),
    "compact-around": Families(
        versions.compact_around,
        versions.rivals_compact,
        2,
        ("litert-builtin-portable", *ARM64),
    ),
    "rows": Families(versions.rows_cases, versions.rivals_dense, 60),
    "activations": Families(activations.cases, activations.rivals, 100),
}
