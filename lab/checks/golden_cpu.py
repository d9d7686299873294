"""Ask another kind of CPU the questions of ARM64's golden files, and count what it prints otherwise.

    python -m lab check golden_cpu --like RUNTIME --command 'qemu-aarch64 -cpu max -L ROOT ... python3.13' [--every N]

The files are dense_arm64, dense_arm64_float and operators_arm64 of tests/recorded, with what the newest interpreter
printed on the CPU of RUNTIME. A CPU that prints all the same needs no kind of its own.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from lab.collect.operators import differing
from lab.reach.replay_version import find_target, open_target
from lab.reach.version_golden import FOLDER, decode, unpack
from lab.record.recorded_operators import read_golden
from lastbit.model.graph import Model
from lastbit.model.tflite import load
from lastbit.ops import OPERATORS
from lastbit.oracles import Oracle, OracleFailure
from lastbit.runtimes import RUNTIMES

Question = tuple[bytes, Sequence[np.ndarray], Sequence[np.ndarray] | None]


def dense(file: str, name: str) -> Iterator[Question]:
    """A golden file's models, each with every input and what was printed for it; None where it was refused."""
    listing, arrays = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8")), unpack(FOLDER / f"{file}.npz")
    for number, entry in enumerate(decode(listing["printed"][name], listing["refusals"])):
        found = None if isinstance(entry, str) else arrays[f"{number}/{entry if entry >= 0 else -1 - entry}"]
        for at, x in enumerate(arrays[f"{number}/x"]):
            yield arrays[f"{number}/model"].tobytes(), [x], None if found is None else [found[at]]


def operators(runtime: str) -> Iterator[Question]:
    """The same of operators beside dense layers."""
    for path in sorted(FOLDER.glob("operators_arm64*.npz")):
        for model, inputs, outcomes in read_golden(path)[1]:
            outcome = outcomes[runtime]
            yield model.content, inputs, None if isinstance(outcome, str) else outcome


def count(oracle: Oracle, question: Question, counts: Counter[str]) -> None:
    """Ask one question."""
    content, inputs, wanted = question
    try:
        found = oracle.run(content, [list(inputs)]).outputs[0]
    except OracleFailure:
        counts["refused as well" if wanted is None else "refused here only"] += 1
        return
    if wanted is None:
        counts["refused there only"] += 1
        return
    counts["outputs"] += sum(x.size for x in found)
    if bad := differing(wanted, found):
        counts["differ"] += bad
        counts[f"   {variant(load(content))}"] += bad


def variant(model: Model) -> str:
    """Its operator's name and variant."""
    op = model.operators[0]
    return f"{op.name} {OPERATORS[op.name].variant(model, op)}"


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, choices=[name for name in RUNTIMES if "-arm64" in name])
    parser.add_argument("--command", required=True)
    parser.add_argument("--every", type=int, default=1, help="ask every Nth question only")
    options = parser.parse_args()
    target = find_target(shlex.split(options.command))
    print(target.name, target.cpu, "compared with", options.like)
    name = f"{options.like}@{target.version}"
    with open_target(target, options.like) as oracle:
        for title, questions in (
            ("dense layers", dense("dense_arm64", name)),
            ("dense layers of float32 activations", dense("dense_arm64_float", name)),
            ("other operators", operators(options.like)),
        ):
            counts: Counter[str] = Counter()
            for number, question in enumerate(questions):
                if number % options.every == 0:
                    count(oracle, question, counts)
            print(title, dict(counts), flush=True)


if __name__ == "__main__":
    main()
