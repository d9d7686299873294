"""Record what older LiteRT versions print for operators beside dense layers: python -m lab record version_operators.

    python -m lab record version_operators --folder DIR

Writes tests/recorded/operators_versions.npz. DIR holds a virtual environment for each version, made where there is none
(lab/reach/time_machine.py). The smallest models of each variant are kept, and a few of those that a version's delegate
gets wrong.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab.cases.operators import Case
from lab.reach.replay_version import find_target, open_target
from lab.reach.time_machine import LITERT_RUNTIMES, environment, versioned_name
from lab.record.operators import GOLDEN, all_cases, record
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.ops import OPERATORS
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import Oracle

VERSIONS = ("1.4.0", "2.1.6", "2.2.0")
EACH, WRONG, LARGEST = 2, 6, 3000


def chosen(seed: int, scale: float) -> list[Case]:
    """The smallest cases of each variant, and those that the delegate of 2.1.6 gets wrong."""
    groups: dict[tuple[str, str], list[tuple[int, Case]]] = defaultdict(list)
    wrong: list[tuple[int, Case]] = []
    for case in all_cases(seed, scale):
        model = case.model()
        op = model.operators[0]
        size = len(case.content()) + sum(x.nbytes for x in case.values)
        if size > LARGEST:
            continue
        groups[op.name, str(OPERATORS[op.name].variant(model, op))].append((size, case))
        try:
            prepare_operator(model, op, "litert-xnnpack@2.1.6")
        except UnsupportedError as error:
            if error.kind is Refusal.UNDEFINED:
                wrong.append((size, case))
    kept = [case for group in groups.values() for _, case in sorted(group, key=lambda entry: entry[0])[:EACH]]
    kept += [case for _, case in sorted(wrong, key=lambda entry: entry[0])[:WRONG]]
    return list({id(case): case for case in kept}.values())


def oracles(folder: Path) -> Iterator[Oracle]:
    """Every version in every mode, under the name that LastBit has for it."""
    for version in VERSIONS:
        target = find_target([str(environment(folder, f"litert-{version}"))])
        for runtime in LITERT_RUNTIMES:
            oracle = open_target(target, runtime)
            oracle.name = versioned_name(runtime, target)
            yield oracle


def main() -> None:
    """Write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--scale", type=float, default=0.1)
    options = parser.parse_args()
    cases, path = chosen(options.seed, options.scale), GOLDEN / "operators_versions.npz"
    np.savez_compressed(path, **record(cases, oracles(options.folder)))  # type: ignore[arg-type]
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
