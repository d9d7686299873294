"""Run the few cases that were made to tell two rules apart, where random ones do not, on every runtime.

    python -m lab collect chosen [--runtimes NAME ...] [--command RUNTIME=COMMAND ...] [--hidden RUNTIME ...]

Writes the part `chosen` of lab/evidence/RUNTIME.json: the cases of lab/cases/by_operator/separating.py and of
lab/cases/separating_products.py. --command starts another Python, such as an emulator's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lab.cases import separating_products
from lab.cases.by_operator import separating
from lab.cases.operators import Case
from lab.collect.evidence_files import load_part, store_part
from lab.collect.operators import Made, Outputs, Tally, oracle_of
from lastbit.oracles import Oracle, OracleFailure, installed
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES

HOW = "python -m lab collect chosen"


def chosen_cases() -> Iterator[Case]:
    """The cases that were made to tell rules apart."""
    for family in (separating, separating_products):
        yield from family.operator_cases(0, lambda number: number)


def collected(oracle: Oracle, tally: Tally) -> dict[str, Any]:
    """One runtime's part of its file."""
    with oracle:
        for case in chosen_cases():
            try:
                found: Outputs | str = oracle.run(case.content(), [list(case.values)]).outputs[0]
            except OracleFailure as failure:
                found = failure.reason.splitlines()[0] if failure.reason else failure.kind
            tally.add(case.model(), case.values, found)
        date, fingerprint = datetime.now(UTC).strftime("%Y-%m-%d"), oracle.fingerprint.as_dict()
    return {"fingerprint": fingerprint, "date": date, "how": HOW, "variants": tally.variants()}


def main() -> None:
    """Parse the command line, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", nargs="+", choices=OPERATOR_RUNTIMES, default=OPERATOR_RUNTIMES)
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME=COMMAND", help="of another Python")
    parser.add_argument("--hidden", nargs="+", default=(), choices=OPERATOR_RUNTIMES, help="see lab/reach/hidden")
    options = parser.parse_args()
    commands = dict(text.split("=", 1) for text in options.command)
    made: dict[int, Made] = {}
    entries = load_part("chosen")
    for name in options.runtimes:
        if name not in commands and name not in options.hidden and installed(name) is None:
            continue
        tally = Tally(name, made)
        entries[name] = collected(oracle_of(name, options.hidden, commands), tally)
        if tally.first_mismatch:
            print("FIRST MISMATCH", name, tally.first_mismatch)
        done, bad = (sum(v[what] for v in entries[name]["variants"]) for what in ("outputs", "mismatches"))
        print(f"{name}: {done:,} outputs, {bad} mismatches", flush=True)
    store_part("chosen", entries)


if __name__ == "__main__":
    main()
