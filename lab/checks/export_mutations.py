"""Change exported C in one place and ask the copy's self-test: it must fail.

    python -m lab check export_mutations [--runtime NAME] [--constants N] [--json FILE] [MODEL ...]

Changed are every rounding, bound, padding, stride, offset and shift of the code and its structures, and N elements of
each kind of constants: a multiplier by 0.1 %, a weight by one, a bias by one step of the output. A line for each kind
says how many copies failed and by what: vectors, single numbers, or sums of constants. Ends with 1 where one passed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lastbit
from lab.checks.verify_models import MODELS
from lab.reach.c_programs import compile_program, selftest_of
from lastbit.verbs.export.report import Export
from lastbit.verbs.export.selftest import MOST_OUTPUTS

__all__ = ["Mutation", "mutations"]

Change = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Mutation:
    """A changed copy.

    Attributes:
        kind: what is changed.
        where: the changed text and its line.
        text: the copy.
    """

    kind: str
    where: str
    text: str


def _more(match: re.Match[str]) -> str:
    """A number before a comment, one larger; at the end of 8 bits one smaller."""
    value = int(match[1])
    return f"{value - 1 if value in (127, 255, 32767) else value + 1}{match[2]}"


PLACES: list[tuple[str, str, Change]] = [
    ("rounding", r" \+ \(INT64_C\(1\) << 30\)", ""),
    ("rounding", r"\(value \+ half\) >> count", "value >> count"),
    ("rounding", r"-\(\(half - value\) >> count\)", "-(-value >> count)"),
    ("rounding", r"value < 0 \? -\(\(half - value\) >> count\) : ", ""),
    ("rounding", r"value \+ \(\(int64_t\)1 << \(count - 1\)\)", "value"),
    ("rounding", r"twice == unit && below % 2 != 0", "twice == unit"),
    ("rounding", r"rest == half && value % 2 != 0", "rest == half"),
    ("rounding", r"rest == half && up\b", "rest == half"),
    ("rounding", r"rest > half \|\| \(rest == half && up\) \? 1 : 0", "0"),
    ("rounding", r"tie == 1 \|\| \(tie == 2 && rest > 0\)", "tie == 2"),
    ("rounding", r"count / 2 - ", "0 - "),
    ("rounding", r" \+ count / 2", ""),
    ("bound", r"(-?\d+)( /\* activation_(?:min|max) \*/)", _more),
    ("padding", r"(-?\d+)(, -?\d+ /\* padding \*/)", _more),
    ("padding", r"(?<=, )(-?\d+)( /\* padding \*/)", _more),
    ("stride", r"(-?\d+)(, -?\d+ /\* strides \*/)", _more),
    ("stride", r"(?<=, )(-?\d+)( /\* strides \*/)", _more),
    ("offset", r"(-?\d+)( /\* (?:input|filter|output)_offset \*/)", _more),
    ("shift", r"(-?\d+)( /\* shift \*/)", _more),
    ("filter", r"(\d+)(, \d+, \d+ /\* filter \*/)", lambda m: f"{int(m[1]) - 1}{m[2]}"),
]
"""(kind, what is looked for in the text, what stands there instead)."""

ARRAYS: list[tuple[str, str, Callable[[int, float], int]]] = [
    ("multiplier", r"(?:multiplier|mantissa)", lambda v, step: round(v * (0.999 if v > 2**30 * 1.9 else 1.001))),
    ("weight", r"filter", lambda v, step: v - 1 if v > 0 else v + 1),
    ("bias", r"bias", lambda v, step: v + round(step)),
]
"""(kind, what an array's name ends with, its changed element from the element and one step of the output in acc)."""


def mutations(report: Export, count: int, rng: np.random.Generator) -> Iterator[Mutation]:
    """Every changed copy of an export."""
    name = report.about.name
    text = report.files[f"{name}.c"]
    # The self-test itself stays as it is; what its checks are made with stands at its beginning.
    end = text.index("static uint32_t selftest_mix")
    for kind, pattern, instead in PLACES:
        for match in re.finditer(pattern, text[:end]):
            changed = match.expand(instead) if isinstance(instead, str) else instead(match)
            line = text.count("\n", 0, match.start()) + 1
            yield Mutation(kind, f"line {line}: {match[0]}", text[: match.start()] + changed + text[match.end() :])
    steps = {
        f"op{piece.entry.operator.index}": 1 / float(piece.probes[0].params.effective_scale.max())
        for piece in report.written.pieces
        if piece.probes
    }
    for kind, stem, change in ARRAYS:
        pattern = rf"static const \w+ ((op\d+)_\w*{stem})\[\d+\] = \{{(.*?)\}};"
        found = list(re.finditer(pattern, text[:end], re.S))
        for number in range(count if found else 0):
            array = found[number % len(found)]
            values = list(re.finditer(r"-?\d+", array[3]))
            place = values[int(rng.integers(len(values)))]
            new = change(int(place[0]), steps.get(array[2], 1.0))
            at = array.start(3) + place.start()
            copy = text[:at] + str(new) + text[at + len(place[0]) :]
            yield Mutation(kind, f"{array[1]}[{values.index(place)}]: {place[0]} becomes {new}", copy)


def check(report: Export, count: int, folder: Path) -> list[dict[str, str | int]]:
    """What the self-test of each changed copy returns."""
    name = report.about.name
    original = report.files[f"{name}.c"]
    test = report.test
    checks = len(test.vectors) * (
        sum(min(slot.elements, MOST_OUTPUTS) for slot in report.written.outputs) + len(test.vectors[0].checksums)
    )
    rows: list[dict[str, str | int]] = []
    for mutation in mutations(report, count, np.random.default_rng(20)):
        report.files[f"{name}.c"] = mutation.text
        said = selftest_of(compile_program(report, folder, flags=("-O1",)))
        by = "passed" if said < 0 else "vectors" if said < checks else "single numbers"
        by = "constants" if said >= checks + test.single_checks else by
        rows.append({"kind": mutation.kind, "where": mutation.where, "returned": said, "by": by})
        if by == "passed":
            print(f"passed: {mutation.kind}, {mutation.where}", flush=True)
    report.files[f"{name}.c"] = original
    return rows


def main() -> None:
    """Parse the command line and change every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="tflm")
    parser.add_argument("--constants", type=int, default=12)
    parser.add_argument("--json", type=Path)
    parser.add_argument("models", nargs="*", default=["mlt_kws_ref"])
    options = parser.parse_args()
    passed, written = 0, []
    for stem in options.models:
        report = lastbit.export(next(MODELS.rglob(f"{stem}.tflite")), options.runtime, name="changed")
        with tempfile.TemporaryDirectory() as folder:
            rows = check(report, options.constants, Path(folder))
        for kind in dict.fromkeys(row["kind"] for row in rows):
            by = Counter(row["by"] for row in rows if row["kind"] == kind)
            failed = sum(by.values()) - by["passed"]
            print(f"{stem:24} {kind:12} {failed} of {sum(by.values())} copies fail: {dict(by)}", flush=True)
        passed += sum(row["by"] == "passed" for row in rows)
        written += [{"model": stem, "runtime": options.runtime, **row} for row in rows]
    if options.json is not None:
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"{len(written)} copies, {passed} pass the self-test")
    sys.exit(1 if passed else 0)


if __name__ == "__main__":
    main()
