"""What a benchmark found, for people and for machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.errors import UnsupportedError
from ...report.blocks import Block, Report, Table, Text
from ...report.one_screen import one_screen

__all__ = ["BenchReport", "BenchRow"]

_MOST_SLOW = 4


@dataclass(frozen=True)
class BenchRow:
    """One contender at one batch.

    Attributes:
        batch: rows in a call.
        name: the contender.
        ours: whether it is LastBit.
        seconds: the median time of one call; scaled where fewer rows were timed.
        timed_rows: rows that were timed.
        to_real: how many times the speed of the real interpreter of the same arithmetic (ours only).
        to_default: how many times the speed of LiteRT's default.
        same: whether the outputs were the real interpreter's, byte for byte (ours only).
    """

    batch: int
    name: str
    ours: bool
    seconds: float
    timed_rows: int
    to_real: float | None
    to_default: float | None
    same: bool | None


@dataclass(frozen=True, eq=False, repr=False)
class BenchReport(Report):
    """The outcome of `lastbit bench`.

    Attributes:
        model: the model's path.
        operations: additions and multiplications of one sample.
        cpu: the CPU's name and features.
        peak: operations per second of the CPU's dot product instruction on one core; None where it was not measured.
        engine: LastBit's engine.
        threads: threads.
        rows: what was timed.
        memory: peak memory of a process with the largest batch, bytes.
        as_reference: contender -> its operators that run as the reference engine does, and what the engine lacks.
        failed: real interpreter that takes the model and then fails on it -> what it says.
    """

    main_table = "rows"

    model: str
    operations: int
    cpu: str
    peak: float | None
    engine: str
    threads: int
    rows: tuple[BenchRow, ...]
    memory: Mapping[str, int]
    as_reference: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 where nothing could be timed."""
        return 0 if self.rows else UnsupportedError.exit_code

    def rate(self, row: BenchRow) -> float:
        """Operations per second."""
        return self.operations * row.batch / row.seconds

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data (schema `lastbit.bench/1`)."""
        return {
            "schema": "lastbit.bench/1",
            "model": self.model,
            "operations": self.operations,
            "cpu": self.cpu,
            "peak_gops": None if self.peak is None else round(self.peak / 1e9, 2),
            "engine": self.engine,
            "threads": self.threads,
            "rows": [
                {
                    "batch": row.batch,
                    "name": row.name,
                    "ours": row.ours,
                    "seconds": row.seconds,
                    "timed_rows": row.timed_rows,
                    "gops": self.rate(row) / 1e9,
                    "times_real": row.to_real,
                    "times_litert_default": row.to_default,
                    "same_outputs": row.same,
                }
                for row in self.rows
            ],
            "peak_memory_bytes": dict(self.memory),
            "failed": dict(self.failed),
            "run_as_reference": {name: dict(why) for name, why in self.as_reference.items()},
        }

    def in_short(self) -> list[str]:
        """What was timed, and LastBit's time for the smallest batch."""
        ours = [row for row in self.rows if row.ours][:1]
        head = f"{self.model}, engine {self.engine}, {len(self.rows)} timings"
        return [head, *(f"{row.name}, batch {row.batch}: {time_text(row.seconds)}" for row in ours)]

    def first_screen(self) -> list[Block]:
        """Whether the outputs are the real interpreters', then times and how many times their speed, by batch."""
        if not self.rows:
            return one_screen([*self._verdict(), *self._failures()])
        batches = list(dict.fromkeys(row.batch for row in self.rows))
        names = list(dict.fromkeys(row.name for row in self.rows))
        cells = {(row.name, row.batch): row for row in self.rows}
        times = [
            [name, *(_cell(cells.get((name, b)), lambda r: time_text(r.seconds)) for b in batches)] for name in names
        ]
        ours = list(dict.fromkeys(row.name for row in self.rows if row.to_real is not None))
        speeds = [[name, *(_cell(cells.get((name, b)), _times_real) for b in batches)] for name in ours]
        columns = [f"batch {batch}" for batch in batches]
        head = f"{self.model}: {self.operations:,} operations a row; engine {self.engine}, threads: {self.threads}"
        slow = [
            Text(f"{name}: {len(why)} operators run as the reference engine does")
            for name, why in _few(self.as_reference)
        ]
        blocks = [
            *self._verdict(),
            Text(head, "dim"),
            Table(("time of a call", *columns), times, right=columns, close=True),
            *(
                [Table(("times as fast as the real one", *columns), speeds, right=columns, close=True)]
                if speeds
                else []
            ),
            *slow,
            *self._failures(),
            Text("GOPS, share of the CPU's peak, memory: -v", "dim"),
        ]
        return one_screen(blocks)

    def _failures(self) -> list[Block]:
        return [
            Text(f"{name} takes the model and fails on it: {why}; it is left out.", "warning")
            for name, why in self.failed.items()
        ]

    def _verdict(self) -> list[Block]:
        """Whether the outputs are those of the real interpreters."""
        if not self.rows:
            told = "NOTHING TIMED: neither LastBit nor a real interpreter that is here runs this model."
            return [Text(f"{told} `lastbit inspect {self.model}` says why.", "bad")]
        compared = [row for row in self.rows if row.same is not None]
        wrong = [row for row in compared if not row.same]
        if not compared:
            return [Text("No real interpreter of these runtimes runs here, so no outputs were compared.", "warning")]
        if wrong:
            which = ", ".join(dict.fromkeys(row.name for row in wrong))
            return [Text(f"OUTPUTS DIFFER from the real interpreter's: {which}", "bad")]
        return [Text("Outputs: byte for byte those of the real interpreters, wherever both were timed.", "good")]

    def blocks(self) -> list[Block]:
        """What a person should read."""
        peak = "" if self.peak is None else f"; its peak on one core: {self.peak / 1e9:.0f} GOPS"
        blocks: list[Block] = [
            Text(f"{self.model}: {self.operations:,} operations a row; engine {self.engine}, threads: {self.threads}"),
            Text(f"{self.cpu}{peak}"),
        ]
        headers = ["batch", "what", "time", "GOPS", "of peak", "x the real one", "x LiteRT default", "same outputs"]
        table: list[list[object]] = []
        for row in self.rows:
            cut = f" ({row.timed_rows} rows timed)" if row.timed_rows != row.batch else ""
            limit = None if self.peak is None else self.rate(row) / (self.peak * self.threads)
            table.append(
                [
                    row.batch,
                    row.name + cut,
                    time_text(row.seconds),
                    f"{self.rate(row) / 1e9:.3g}",
                    "-" if limit is None else f"{100 * limit:.0f} %",
                    "-" if row.to_real is None else f"{row.to_real:.2f}",
                    "-" if row.to_default is None else f"{row.to_default:.2f}",
                    "-" if row.same is None else "yes" if row.same else "NO",
                ]
            )
        blocks.append(Table(headers, table, right=[h for h in headers if h not in ("what", "same outputs")]))
        blocks += self._failures()
        for name, operators in self.as_reference.items():
            blocks += [
                Text(f"{name} runs {label} as the reference engine does: {why}") for label, why in operators.items()
            ]
        if self.memory:
            used = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in self.memory.items())
            blocks.append(Text(f"peak memory of a process with the largest batch: {used}"))
        return blocks


def _cell(row: BenchRow | None, text: Callable[[BenchRow], str]) -> str:
    return "-" if row is None else text(row)


def _times_real(row: BenchRow) -> str:
    return "-" if row.to_real is None else f"{row.to_real:.2f}"


def _few(found: Mapping[str, Mapping[str, str]]) -> list[tuple[str, Mapping[str, str]]]:
    return list(found.items())[:_MOST_SLOW]


def time_text(seconds: float) -> str:
    """A time with three digits.

    >>> time_text(0.00001234), time_text(0.5), time_text(12.0)
    ('12.3 us', '500 ms', '12 s')
    """
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
