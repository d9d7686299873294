"""What reaches a person's terminal: reports, errors and progress; plain text wherever it is no terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from .blocks import Block, Report, Table, print_blocks
from .visible import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Update",
    "print_error",
    "print_report",
    "print_text",
    "progress",
    "say",
    "tolerate_encodings",
]

Update = Callable[[int, int, str], None]
"""Told by whoever works: units done, units in all, what is being done."""

# Nothing that a report prints is folded where neither a terminal nor COLUMNS sets a width.
_PIPE_WIDTH = 200
_LEAST_WIDTH = 20
_SECONDS_BETWEEN_LINES = 5.0


def tolerate_encodings() -> None:
    """Print what a console's encoding lacks (cp1252, ASCII) as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        # Test runners and embedders put other objects here, and a closed stream is None.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(ValueError, OSError):
                reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on stderr: everything that is not the result itself."""
    _write(sys.stderr, visible(text) + "\n")


def print_error(text: str, label: str = "error") -> None:
    """An error on stderr, its label red on a terminal."""
    shown = f"{label}:"
    if _colours(sys.stderr):
        shown = f"\x1b[1;31m{shown}\x1b[0m"
    _write(sys.stderr, f"{shown} {visible(text)}\n")


def print_report(report: Report, as_json: bool, verbose: bool = False) -> None:
    """A report on stdout: JSON alone, or what a person should read; all of it where `verbose`."""
    if as_json:
        print_text(report.json())
        return
    blocks = report.blocks() if verbose else report.first_screen()
    print_blocks([_visible_block(block) for block in blocks], _console(sys.stdout))


def print_text(text: str) -> None:
    """Text on stdout as it is."""
    _write(sys.stdout, text.rstrip("\n") + "\n")


def _visible_block(block: Block) -> Block:
    """The block with `visible` text: rich passes escape sequences through."""
    if isinstance(block, Table):
        rows = [[visible(str(cell)) for cell in row] for row in block.rows]
        return replace(block, rows=rows, title=visible(block.title))
    return replace(block, text=visible(block.text))


@contextlib.contextmanager
def progress(title: str) -> Iterator[Update]:
    """Show how far a long task is, on stderr: a bar on a terminal, elsewhere a line now and then.

    Args:
        title: what is being done.

    Yields:
        The function to call with (done, total, what).
    """
    if not _is_terminal(sys.stderr):
        yield _lines(title)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=visible(f"{title}: {what}" if what else title))

        yield update


def _lines(title: str) -> Update:
    """Progress for logs: nothing within the first second, then a line every few seconds."""
    due = time.monotonic() + 1

    def update(done: int, total: int, what: str) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + _SECONDS_BETWEEN_LINES
            say(f"{title}: {done} of {total}{f', {what}' if what else ''}")

    return update


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would end the process with 1, which says here that something differs.
            raise BrokenPipeError

    terminal = _is_terminal(stream)
    # Under NO_COLOR rich would still print bold and dim; here it means no styles at all.
    styled = terminal and not os.environ.get("NO_COLOR")
    asked = _asked_width()
    return OurConsole(
        file=stream,
        width=None if terminal else asked or _PIPE_WIDTH,
        force_terminal=terminal,
        color_system="auto" if styled else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal and asked is None,
    )


def _asked_width() -> int | None:
    """The width that COLUMNS asks for, where it does."""
    asked = os.environ.get("COLUMNS", "")
    return max(int(asked), _LEAST_WIDTH) if asked.isascii() and asked.isdecimal() and int(asked) else None


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _colours(stream: TextIO | None) -> bool:
    # Old Windows consoles show escape sequences as they are; rich would know, but errors must not need it.
    return (
        _is_terminal(stream)
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
        and (os.name != "nt" or "WT_SESSION" in os.environ)
    )


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()
