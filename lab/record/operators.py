"""Record what real interpreters make of the operators around dense layers.

    python -m lab record operators [--seed S] [--scale X]
        [--tape RUNTIME=FILE ...] [--command RUNTIME=COMMAND ...] [--hidden RUNTIME ...] [--only OPERATOR ...]
        [--family NAME] [--name NAME] [--stored-cases]

Writes tests/recorded/operators.NAME.npz, where NAME is what XNNPACK is called on this CPU; with --tape
(lab/reach/tape.py), --command (of another Python) or --hidden (lab/reach/hidden) those runtimes are asked instead, and
NAME is `emulated` or `hidden`. --stored-cases adds what those runtimes print to the file, whose cases stay.
The file has one-operator models with their inputs, each interpreter's outputs, and fingerprints. Of many cases those
are kept, the smallest first, in which two rules of an operator differ, so that the golden file refutes every rival that
the cases refute; and a few of each operator besides. LastBit's own rules choose the cases only: every expected number
is an interpreter's.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain, combinations, islice
from pathlib import Path
from pkgutil import iter_modules

import numpy as np

from lab.cases import by_operator
from lab.cases.conversions import clamps, conversions, reshapes
from lab.cases.convolutions import biases_16, convolutions, far_convolutions, pools, windows
from lab.cases.copies import copies
from lab.cases.elementwise import binaries, power_of_two_sums
from lab.cases.floats import float_binaries, float_convolutions, float_pools, float_reductions, float_unaries
from lab.cases.matrices import far_products, positions, products
from lab.cases.operators import Array, Case
from lab.cases.reductions import reductions
from lab.cases.unary import unaries
from lab.reach.hidden import open_hidden
from lab.reach.replay_version import find_target, open_target
from lab.reach.tape import open_tape
from lab.record.recorded_operators import add_runtime
from lastbit.model.errors import UnsupportedError
from lastbit.ops import OPERATORS
from lastbit.oracles import Oracle, OracleFailure, on_this_machine, open_oracle

RUNTIMES = (on_this_machine("litert-xnnpack"), "litert-builtin-x86", "litert-reference", "tflm")
GOLDEN = Path(__file__).parents[2] / "tests" / "recorded"
SEPARATED = 5  # how often two rules shall part
BESIDES = 3  # cases of each operator that are kept whatever they show


def all_cases(seed: int, scale: float = 1.0) -> Iterator[Case]:
    """Every family of cases: those named here, and those of every file in lab/cases/by_operator."""

    def count(number: int) -> int:
        return max(int(number * scale), 1)

    for dtype in ("int8", "uint8"):
        rng = np.random.default_rng([seed, len(dtype)])
        yield from convolutions(rng, count(250), dtype)
        if dtype == "int8":
            yield from convolutions(rng, count(250), dtype, grouped=True)
        yield from pools(rng, count(300), dtype)
        yield from binaries(rng, ("ADD", "SUB", "MUL"), count(250), dtype)
        yield from binaries(rng, ("MAXIMUM", "MINIMUM"), count(12), dtype)
        yield from reductions(rng, count(300), dtype)
        yield from copies(rng, count(12), dtype)
        yield from unaries(rng, count(40), dtype)
    rng = np.random.default_rng([seed, 99])
    yield from binaries(rng, ("ADD", "SUB"), count(800), "int16")
    yield from binaries(rng, ("MUL", "MAXIMUM"), count(150), "int16")
    yield from pools(rng, count(30), "int16")
    yield from unaries(rng, count(40), "int16")
    for dtype in ("int16", "float32", "int32"):
        yield from copies(rng, count(6), dtype)
    yield from _later_cases(np.random.default_rng([seed, 100]), count)
    rng = np.random.default_rng([seed, 101])
    for dtype in ("int8", "float32"):
        yield from windows(rng, count(120), dtype)
    yield from float_unaries(rng, count(40))
    for info in sorted(iter_modules(by_operator.__path__), key=lambda info: info.name):
        yield from import_module(f"{by_operator.__name__}.{info.name}").operator_cases(seed, count)


def _later_cases(rng: np.random.Generator, count: Callable[[int], int]) -> Iterator[Case]:
    """Families with random numbers of their own, so that the cases above stay as they were recorded."""
    yield from convolutions(rng, count(700), "int16")
    yield from convolutions(rng, count(300), "int16", grouped=True)
    for dtype in ("int8", "uint8"):
        yield from far_convolutions(rng, count(60), dtype)
    yield from far_convolutions(rng, count(40), grouped=True)
    yield from far_products(rng, count(10))
    for dtype in ("int8", "int16"):
        yield from products(rng, count(200), dtype)
    yield from reductions(rng, count(100), "int16")
    for dtype in ("int8", "uint8", "int16", "int32", "float32"):
        yield from positions(rng, count(8), dtype)
    yield from float_binaries(rng, ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), count(60))
    yield from float_unaries(rng, count(40))
    yield from float_pools(rng, count(40))
    yield from float_convolutions(rng, count(60))
    rng = np.random.default_rng([7, len("more")])
    for case in convolutions(rng, count(60), "int16"):
        yield from biases_16(case)
    for dtype in ("int8", "uint8", "int16", "int32", "float32"):
        yield from positions(rng, count(40), dtype)
    yield from binaries(rng, ("MAXIMUM", "MINIMUM"), count(20), "int32")
    yield from binaries(rng, ("MINIMUM",), count(20), "int16")
    for dtype in ("int8", "uint8", "int16", "float32", "int32"):
        yield from copies(rng, count(24), dtype)
    yield from power_of_two_sums(rng, count(60))
    yield from float_reductions(rng, count(60))
    yield from reshapes(rng, count(30))
    yield from clamps(rng, count(30))
    yield from conversions(rng, count(30))


def choose(cases: Iterator[Case]) -> list[Case]:
    """The cases to keep."""
    groups: dict[tuple[str, str], list[tuple[int, Case]]] = defaultdict(list)
    for case in cases:
        model = case.model()
        variant = str(OPERATORS[case.op].variant(model, model.operators[0]))
        size = sum(x.nbytes for x in case.values) + 3 * int(np.prod(case.outputs[0].shape)) + len(case.content()) // 2
        groups[case.op, variant].append((size, case))
    kept = []
    for group in groups.values():
        parted: Counter[tuple[str, str]] = Counter()
        chosen = sorted(group, key=lambda entry: entry[0])
        kept += [case for _, case in chosen[:: max(len(chosen) // (2 * BESIDES), 1)][:BESIDES]]
        for _, case in chosen:
            outputs = _by_rule(case)
            pairs = [
                pair for pair in combinations(sorted(outputs), 2) if not np.array_equal(*(outputs[r] for r in pair))
            ]
            if any(parted[pair] < SEPARATED for pair in pairs):
                parted.update(pairs)
                kept.append(case)
    return list({id(case): case for case in kept}.values())


def _by_rule(case: Case) -> dict[str, Array]:
    model = case.model()
    outputs = {}
    for rule in OPERATORS[case.op].rules:
        try:
            outputs[rule] = OPERATORS[case.op].prepare(model, model.operators[0], rule).evaluate(case.values)["output"]
        except (UnsupportedError, ZeroDivisionError):
            continue
    return outputs


def record(cases: list[Case], oracles: Iterable[Oracle]) -> dict[str, Array]:
    """The arrays of the golden file. Every oracle is closed when it has been asked."""
    outcomes: list[dict[str, str | int]] = [{} for _ in cases]
    results: list[list[bytes]] = [[] for _ in cases]
    fingerprints = {}
    for oracle in oracles:
        with oracle:
            runtime = oracle.name
            fingerprints[runtime] = oracle.fingerprint.as_dict()
            for case, outcome, seen in zip(cases, outcomes, results, strict=True):
                try:
                    run = oracle.run(case.content(), [list(case.values)])
                except OracleFailure as failure:
                    outcome[runtime] = failure.kind
                    continue
                joined = b"".join(np.ascontiguousarray(x).tobytes() for x in run.outputs[0])
                if joined not in seen:
                    seen.append(joined)
                outcome[runtime] = seen.index(joined)
    described, blob = [], bytearray()
    for case, outcome, seen in zip(cases, outcomes, results, strict=True):
        parts = [case.content(), *(np.ascontiguousarray(x).tobytes() for x in case.values), *seen]
        described.append({"inputs": len(case.values), "sizes": [len(p) for p in parts], "outcomes": outcome})
        for part in parts:
            blob += part
    packed = lzma.compress(bytes(blob), preset=9)
    return {
        "fingerprints": np.asarray(json.dumps(fingerprints)),
        "cases": np.asarray(json.dumps(described)),
        "blob": np.frombuffer(packed, np.uint8),
    }


def main() -> None:
    """Write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--scale", type=float, default=1.0, help="how many cases there are to choose from")
    parser.add_argument("--tape", action="append", default=[], metavar="RUNTIME=FILE", help="see lab/reach/tape.py")
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME=COMMAND", help="of another Python")
    parser.add_argument("--only", nargs="+", choices=OPERATORS, default=(), help="these, in a file of their own")
    parser.add_argument(
        "--family", default="", help="a file of lab/cases/by_operator: its cases, in a file of their own"
    )
    parser.add_argument("--hidden", nargs="+", default=(), metavar="RUNTIME", help="see lab/reach/hidden")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="choose from every Nth case only")
    parser.add_argument("--name", default="", help="of the file, in the place of its usual one")
    parser.add_argument("--stored-cases", action="store_true", help="add runtimes to the file of that name, as it is")
    arguments = parser.parse_args()
    tapes, commands = (dict(text.split("=", 1) for text in texts) for texts in (arguments.tape, arguments.command))
    # A machine with another CPU has other kernels; what it recorded stands in a file of its own.
    how = "emulated" if tapes or commands else "hidden" if arguments.hidden else RUNTIMES[0]
    name = arguments.name or ".".join(["operators", how, *arguments.only, *filter(None, [arguments.family])]).lower()
    path = GOLDEN / f"{name}.npz"
    elsewhere = chain(
        (open_tape(name, tape) for name, tape in tapes.items()),
        (open_target(find_target(shlex.split(command)), name) for name, command in commands.items()),
        map(open_hidden, arguments.hidden),
    )
    if arguments.stored_cases:
        for oracle in elsewhere:
            add_runtime(path, oracle)
        return
    every = all_cases(arguments.seed, arguments.scale)
    if arguments.family:
        family = import_module(f"{by_operator.__name__}.{arguments.family}")
        every = family.operator_cases(arguments.seed, lambda number: max(int(number * arguments.scale), 1))
    wanted = (case for case in every if not arguments.only or case.op in arguments.only)
    cases = choose(islice(wanted, 0, None, arguments.every))
    oracles = elsewhere if tapes or commands or arguments.hidden else map(open_oracle, RUNTIMES)
    np.savez_compressed(path, **record(cases, oracles))  # type: ignore[arg-type]
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
