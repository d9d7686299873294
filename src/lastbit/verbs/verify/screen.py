"""The first screen of `verify`: a line for each runtime, and where it starts to differ."""

from __future__ import annotations

from collections.abc import Sequence

from ...report.blocks import Block, Table, Text
from ...report.phrases import clause, folded, lines_in, plural
from .result import RuntimeResult

__all__ = ["screen_blocks"]

_WIDTH = 79


def screen_blocks(results: Sequence[RuntimeResult], missing: Sequence[str], lines: int) -> list[Block]:
    """What was compared on each runtime, the first difference, the first reason for a gap, and what is not here.

    Args:
        results: one for each runtime.
        missing: the runtimes whose interpreters are not here.
        lines: how many lines there are for it. Where they are too few, those that differ or have gaps stand there.
    """
    ordered = sorted(results, key=lambda r: (not r.differs, not r.interpreter_died, r.coverage.complete))
    worst = next((result for result in ordered if result.differs), None)
    if worst is not None:
        below = [Text(clause(line, _WIDTH), "bad") for line in _difference(worst)]
    else:
        below = [Text(clause(line, 2 * _WIDTH), "warning") for line in _reason(ordered)]
    notes = {note for result in results for op in result.operators for note in op.notes}
    more = [
        *([f"{plural(len(notes), 'note')} in -v"] if notes else []),
        *([f"{plural(len(missing), 'runtime')} not here: lastbit doctor"] if missing else []),
    ]
    below.append(Text(". ".join(["Each operator: -v", *more]) + ".", "dim"))
    tail = folded(below)
    rows = max(lines - lines_in(tail) - 1, 1)
    if len(ordered) > rows:
        tail = [Text(f"and {plural(len(ordered) - rows + 1, 'more runtime')}", "dim"), *tail]
        rows -= 1
    headers = ("runtime", "operators", "outputs", "differ")
    return [Table(headers, [_row(result) for result in ordered[:rows]], right=headers[1:], close=True), *tail]


def _row(result: RuntimeResult) -> tuple[object, ...]:
    coverage = result.coverage
    compared = f"{coverage.compared} of {len(coverage.asked)}"
    return result.runtime.name, compared, f"{result.compared:,}", f"{result.mismatches:,}"


def _difference(result: RuntimeResult) -> list[str]:
    """Where one runtime starts to differ, and the first element there."""
    name, first = result.runtime.name, result.first_differing
    if first is None:
        found = [] if result.end_to_end is None else [result.end_to_end]
        where = f"On {name} only the whole model differs, end to end."
    else:
        found = first.comparisons
        where = f"On {name} it starts at operator {first.index} {first.name} (rule {first.rule or '-'})."
    bad = next((comparison for comparison in found if comparison.differs), None)
    if bad is None:
        return [where]
    if bad.first is None:
        return [where, bad.failure or bad.kernel_problem]
    element = bad.first.text(wanted_name=result.fingerprint["oracle"], found_name="LastBit").splitlines()[-1]
    return [where, f"{element} ({bad.what})"]


def _reason(results: Sequence[RuntimeResult]) -> list[str]:
    """Why a runtime died or has a gap: the first reason."""
    for result in results:
        died = result.died or next((c.died for o in result.operators for c in o.comparisons if c.died), "")
        if died:
            return [f"{result.runtime.name}: {died}"]
        for op in result.coverage.missing:
            return [f"Operator {op.index} {op.name} on {result.runtime.name}: {result.coverage.gaps[op.index]}"]
    return []
