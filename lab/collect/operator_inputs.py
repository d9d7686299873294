"""Feed many inputs to few models of each operator, where less was compared than wanted; adds to what is known.

    python -m lab collect inputs [--least N] [--seed S] [--runtimes NAME ...] [--only OPERATOR ...]
        [--command RUNTIME=COMMAND ...] [--hidden RUNTIME ...]

Writes the part `inputs` of lab/evidence/RUNTIME.json: variants of which all parts together have fewer than N outputs;
other variants keep their rows. The models are the largest of those of `collect operators` that the runtimes take, with
a longer first dimension where that is the operator's batch; each gets its own input in many other orders, so that what
separates rules (ties, both ends of a type) stays in it. --command starts another Python, such as an emulator's. Ctrl-C
stores what was compared until then.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lab.cases import activations
from lab.cases.operators import Array, Case, Operand
from lab.collect.evidence_files import PARTS, load_part, store_part
from lab.collect.operators import Made, Tally, made_by_rules, oracle_of, prepared_or_refused
from lab.record.operators import all_cases
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.ops import OPERATORS
from lastbit.oracles import Oracle, OracleFailure, installed
from lastbit.runtimes import RUNTIMES, Rule, find_rule
from lastbit.runtimes.variant import key_of
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES

MODELS = 8  # of each variant
SMALLEST = 4  # what has fewer outputs than this part of the largest model's is left out
BATCH_OUTPUTS = 1250  # of one model with a longer batch
MOST = 10_000  # inputs of one model
MOST_BYTES = 2**25  # of these inputs together: an emulator takes minutes for more
Variant = tuple[str, str]
Known = tuple[bytes, Model, Sequence[Array]]
Asked = tuple[bytes, Model, list[list[Array]]]


def models(seed: int, scale: float, only: Sequence[str]) -> dict[Variant, list[Known]]:
    """Variant of these operators (of all where none is named) -> its models with their inputs."""
    found: dict[Variant, list[Known]] = defaultdict(list)

    def keep(content: bytes, values: Sequence[Array]) -> None:
        op = (model := load(content)).operators[0]
        found[op.name, str(OPERATORS[op.name].variant(model, op))].append((content, model, values))

    for case in all_cases(seed, scale):
        if not only or case.op in only:
            wide = widened(case)
            keep(wide.content(), wide.values)
    for around in activations.cases(seed, max(round(100 * scale), 1)):
        if not only or around.graph.operators[0].name in only:
            keep(write(around.graph), around.samples[:1])
    return dict(sorted(found.items()))


def widened(case: Case) -> Case:
    """The case with a first dimension of so many times its length that it has some 1250 outputs, or as it is.

    As it is where inputs or outputs have no first dimension, or where a rule gives outputs of other shapes then, or the
    reference kernels refuse it: where the first dimension is not one along which an operator does the same again.
    """
    times = BATCH_OUTPUTS // max(sum(int(np.prod(made.shape)) for made in case.outputs), 1)
    shapes = [*(x.shape for x in case.values), *(made.shape for made in case.outputs)]
    if times < 2 or not case.values or () in shapes:
        return case
    wide = replace(
        case,
        inputs=[_longer(o, times) if o is not None and o.data is None else o for o in case.inputs],
        outputs=[_longer(operand, times) for operand in case.outputs],
        values=[np.concatenate([x] * times) for x in case.values],
    )
    try:
        made = list(made_by_rules(wide.model(), wide.values).values())
    except (ValueError, IndexError):
        return case
    wanted = [operand.shape for operand in wide.outputs]
    fits = made and all([x.shape for x in outputs] == wanted for outputs in made)
    return wide if fits and takes("litert-reference", wide.model()) else case


def takes(runtime: str, model: Model) -> bool:
    """Whether a runtime calculates the operator of a case."""
    return not isinstance(prepared_or_refused(model, runtime), UnsupportedError)


def _longer(operand: Operand, times: int) -> Operand:
    return replace(operand, shape=(operand.shape[0] * times, *operand.shape[1:]))


def outputs_of(model: Model) -> int:
    """How many outputs one run has."""
    return sum(int(np.prod(model.tensors[i].shape)) for i in model.operators[0].outputs)


def chosen(known: Sequence[Known], names: Sequence[str]) -> list[Known]:
    """Of the models of a variant that all these runtimes take, those with the most outputs; of all where there is none.

    In the order in which they are asked: those with large inputs first, so that others can have what these leave out.
    """
    taken = [entry for entry in known if all(takes(name, entry[1]) for name in names)] or known
    largest = sorted(taken, key=lambda entry: -outputs_of(entry[1]))[:MODELS]
    enough = [entry for entry in largest if outputs_of(entry[1]) * SMALLEST >= outputs_of(largest[0][1])]
    return sorted(enough, key=lambda entry: -_bytes_of(entry[2]))


def questions(known: Sequence[Known], least: int, rng: np.random.Generator) -> Iterator[Asked]:
    """Each of these models with so many inputs that all outputs together are `least` or more."""
    for number, (content, model, values) in enumerate(known):
        outputs = max(outputs_of(model), 1)
        wanted = -(-least // ((len(known) - number) * outputs))
        count = max(min(wanted, MOST, MOST_BYTES // max(_bytes_of(values), 1)), 1)
        least = max(least - count * outputs, 0)
        yield content, model, [[shuffled(x, rng) for x in values] for _ in range(count)]


def _bytes_of(values: Sequence[Array]) -> int:
    return sum(x.nbytes for x in values)


def shuffled(x: Array, rng: np.random.Generator) -> Array:
    """The same values in another order; of a single value, any value of its type."""
    if x.dtype in (np.int32, np.int64) and x.ndim == 1:
        return x  # a shape
    if x.size > 1:
        return rng.permutation(x.reshape(-1)).reshape(x.shape)
    if x.dtype.kind == "f":
        return rng.normal(size=x.shape).astype(x.dtype)
    if x.dtype.kind == "b":
        return rng.random(x.shape) < 0.5
    info = np.iinfo(x.dtype)
    return rng.integers(info.min, info.max, x.shape, x.dtype, endpoint=True)


def compared(parts: Sequence[Mapping[str, Any]], runtime: str) -> dict[Variant, int]:
    """Outputs that a runtime's evidence has of each variant."""
    counts: dict[Variant, int] = defaultdict(int)
    for part in parts:
        for entry in part.get(runtime, {"variants": []})["variants"]:
            counts[entry["operator"], entry["variant"]] += entry["outputs"]
    return counts


def collect(names: Sequence[str], oracles: Mapping[str, Oracle], options: argparse.Namespace) -> dict[str, Tally]:
    """Ask every runtime that has less of a variant than wanted."""
    parts = [load_part(part) for part in PARTS]
    counts = {name: compared(parts, name) for name in names}
    made: dict[int, Made] = {}
    tallies = {name: Tally(name, made) for name in names}
    number = 0
    for key, known in models(options.seed, options.scale, options.only).items():
        wanted = [
            name
            for name in names
            if counts[name][key] < options.least and isinstance(_rule(name, key), Rule) and key[0] != "FULLY_CONNECTED"
        ]
        print(*key, len(wanted), file=sys.stderr)
        rng = np.random.default_rng([options.seed, *key[0].encode(), *key[1].encode()])
        try:
            for content, model, inputs in questions(chosen(known, wanted), options.least, rng) if wanted else ():
                for name in wanted:
                    _ask(tallies[name], oracles[name], (content, model, inputs), number)
                number += len(inputs)
                made.clear()
        except KeyboardInterrupt:
            break
    return tallies


def added(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A runtime's entry with the new variants; those that were not asked again keep what is said of them."""
    again = {(v["operator"], v["variant"]) for v in new["variants"]}
    own = {what: known[what] for what in ("fingerprint", "date", "how")}
    kept = [{**own, **v} for v in known["variants"] if (v["operator"], v["variant"]) not in again]
    return {**new, "variants": sorted([*kept, *new["variants"]], key=lambda v: (v["operator"], v["variant"]))}


def _rule(name: str, key: Variant) -> Any:
    return find_rule(RUNTIMES[name], *key_of(*key), declined=False)


def _ask(tally: Tally, oracle: Oracle, asked: Asked, number: int) -> None:
    """One model with all its inputs; of an interpreter that refuses it, the first one counts."""
    content, model, inputs = asked
    try:
        found: Sequence[Any] = oracle.run(content, inputs).outputs
    except OracleFailure as failure:
        found = [failure.reason.splitlines()[0] if failure.reason else failure.kind]
    for at, outputs in enumerate(found):
        tally.number = number + at
        tally.add(model, inputs[at], outputs)


def main() -> None:
    """Parse the command line, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=int, default=20_000)
    parser.add_argument("--scale", type=float, default=0.15, help="how many models there are to choose from")
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--runtimes", nargs="+", choices=OPERATOR_RUNTIMES, default=OPERATOR_RUNTIMES)
    parser.add_argument("--only", nargs="+", choices=OPERATORS, default=())
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME=COMMAND", help="of another Python")
    parser.add_argument("--hidden", nargs="+", default=(), choices=OPERATOR_RUNTIMES, help="see lab/reach/hidden")
    options = parser.parse_args()
    commands = dict(text.split("=", 1) for text in options.command)
    names = [n for n in options.runtimes if n in commands or n in options.hidden or installed(n) is not None]
    oracles = {name: oracle_of(name, options.hidden, commands) for name in names}
    tallies = collect(names, oracles, options)
    how = f"python -m lab collect inputs --seed {options.seed} --least {options.least}"
    entries = load_part("inputs")
    for name, tally in tallies.items():
        oracles[name].close()
        if tally.first_mismatch:
            print("FIRST MISMATCH", name, tally.first_mismatch)
        variants = tally.variants()
        done, bad = (sum(v[what] for v in variants) for what in ("outputs", "mismatches"))
        print(f"{name}: {len(variants)} variants, {done:,} outputs, {bad} mismatches")
        date, fingerprint = datetime.now(UTC).strftime("%Y-%m-%d"), oracles[name].fingerprint.as_dict()
        new = {"fingerprint": fingerprint, "date": date, "how": how, "variants": variants}
        entries[name] = added(entries[name], new) if name in entries else new
    store_part("inputs", entries)


if __name__ == "__main__":
    main()
