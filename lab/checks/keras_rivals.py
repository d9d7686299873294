"""What the optimizer's stack decides: the same rules, each applied as soon as it fits, on real converters' files.

python -m lab check keras_rivals DIR --like tflite@2.21

DIR holds models of lab/cases/keras_models.py (seeds 2000 to 2009 are the deep ones) and the converter's files.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from lab.checks.keras_check import Differs, Pairs, without_quantization
from lastbit import load
from lastbit.verbs.quantize.converters import converter_named
from lastbit.verbs.quantize.keras import read_keras
from lastbit.verbs.quantize.keras.graph import Node
from lastbit.verbs.quantize.keras.worklist import Rewriter

_ROUNDS = 200


def as_soon_as_it_fits(self: Rewriter, *rules: Callable[[Node], bool]) -> None:
    """In the place of `Rewriter.everywhere`: the first operator first, and every constant is calculated at once."""
    for _ in range(_ROUNDS):
        changed = False
        for node in list(self.nodes):
            if node in self.nodes and self.is_dead(node):
                self.erase(node)
                changed = True
            elif node in self.nodes:
                changed |= any(rule(node) for rule in rules)
            self.stack.clear()
            for pending in (own for other in self.nodes for own in other.pending if own is not None):
                pending.folded = True
        if not changed:
            return


def count(folder: Path, like: str) -> tuple[Counter[str], list[str]]:
    """Count models with other operators, and constants that differ."""
    counts: Counter[str] = Counter()
    places = []
    for path in sorted((*folder.glob("*.keras"), *folder.glob("*.h5"))):
        real = without_quantization(load(Path(f"{path.with_suffix('')}.ranges.tflite")))
        counts["models"] += 1
        try:
            found = list(Pairs(read_keras(path, converter_named(like).folding), real).differing())
        except Differs:
            counts["models with other operators"] += 1
            continue
        counts["constants"] += sum(constant for _, constant, _ in found)
        bad = [f"{path.name} {place}: {text}" for place, _, text in found if text]
        counts["constants that differ"] += len(bad)
        places += bad
    return counts, places


def main() -> None:
    """Count with the stack and without it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--like", default="tflite")
    arguments = parser.parse_args()
    print("the stack:", dict(count(arguments.folder, arguments.like)[0]))
    with mock.patch.object(Rewriter, "everywhere", as_soon_as_it_fits):
        counts, places = count(arguments.folder, arguments.like)
    print("as soon as it fits:", dict(counts), *places, sep="\n")


if __name__ == "__main__":
    main()
