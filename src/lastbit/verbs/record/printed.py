"""What lastbit_record printed on a board, among whatever else the board prints."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...model.errors import InputError
from .micro import PREFIX

__all__ = ["PrintedRun", "read_printed"]

_BEGIN = re.compile(rf"{PREFIX} begin ([0-9a-f]{{64}}) ([0-9]{{1,6}})$")
_BYTES = re.compile(rf"{PREFIX} ([0-9]{{1,6}}) ([0-9]{{1,6}}) ([0-9]{{1,9}}) ((?:[0-9a-f]{{2}})+)$")
_END = re.compile(rf"{PREFIX} end ([0-9a-f]{{8}})$")
_ERROR = re.compile(rf"{PREFIX} error (.*)$")
_DAMAGED = "characters were lost, or something else was printed in between; print slower or alone, and record it again"


@dataclass(frozen=True)
class PrintedRun:
    """One run of lastbit_record, from its first line to its last.

    Attributes:
        digest: of the model that the recorder was made of, SHA-256.
        samples: for each input tensor index -> its bytes.
    """

    digest: str
    samples: Sequence[Mapping[int, bytes]]


class _Damaged(Exception):
    """What is wrong with a run, in words."""


def read_printed(name: str, content: bytes) -> PrintedRun:
    """Read what a board printed. Of several runs the last one that is whole counts.

    Args:
        name: the file's name, for messages.
        content: its bytes: UTF-8, or UTF-16 as PowerShell writes it.

    Raises:
        InputError: no line is the recorder's, or no run is whole.
    """
    runs: list[list[tuple[int, str]]] = []
    for number, line in _lines(content):
        if _BEGIN.match(line) or not runs:
            runs.append([])
        runs[-1].append((number, line))
    if not runs:
        what = "is empty" if not content else f"is not a recording: no line has {PREFIX!r} in it"
        raise InputError(
            f"{name}: {what}; wanted what record.py writes or lastbit_record prints. "
            "`lastbit record MODEL -o FOLDER` makes what records it."
        )
    problem = ""
    for run in reversed(runs):
        try:
            return _read_run(run)
        except _Damaged as damage:
            problem = problem or str(damage)
    raise InputError(f"{name}: {problem}")


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """The recorder's lines with their numbers, without what a board or a terminal puts in front of them."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if wide else "utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        start = line.find(f"{PREFIX} ")
        if start >= 0:
            yield number, line[start:].rstrip()


def _read_run(lines: Sequence[tuple[int, str]]) -> PrintedRun:
    begun = _BEGIN.match(lines[0][1])
    if failed := _ERROR.match(lines[0][1]):
        raise _Damaged(f"line {lines[0][0]}: the board says: {failed[1]}")
    if begun is None:
        raise _Damaged(
            f"line {lines[0][0]}: found {_short(lines[0][1])}; wanted '{PREFIX} begin ...': the start is missing"
        )
    samples: list[dict[int, bytes]] = [{} for _ in range(int(begun[2]))]
    total = 1
    for number, line in lines[1:]:
        if ended := _END.match(line):
            if int(ended[1], 16) != total:
                raise _Damaged(f"line {number}: the sum over all bytes differs: {_DAMAGED}")
            return PrintedRun(begun[1], samples)
        if failed := _ERROR.match(line):
            raise _Damaged(f"line {number}: the board says: {failed[1]}")
        found = _BYTES.match(line)
        if found is None or int(found[1]) >= len(samples):
            raise _Damaged(f"line {number}: found {_short(line)}: {_DAMAGED}")
        known, values = samples[int(found[1])].get(int(found[2]), b""), bytes.fromhex(found[4])
        if len(known) != int(found[3]):
            raise _Damaged(
                f"line {number}: before it a line of tensor {found[2]}, input {found[1]}, is missing: {_DAMAGED}"
            )
        samples[int(found[1])][int(found[2])] = known + values
        total = zlib.adler32(values, total)
    reached = sum(map(bool, samples))
    raise _Damaged(
        f"the recording ends early, in input {max(reached, 1)} of {len(samples)}: '{PREFIX} end ...' was not printed. "
        "Record it again, to the end"
    )


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
