"""Where a command's report goes: the terminal, and the files that `--html` and other options name.

A command only calls `print_report`; the group adds the options to it and checks the files before it runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from ..report.blocks import Report

__all__ = ["add_outputs", "print_report", "write_files"]


@dataclass(frozen=True)
class ReportFile:
    """A kind of file that a report is written to.

    Attributes:
        name: of the option, without dashes.
        suffixes: the endings that such a file may have.
        help: of the option.
        content: the file's bytes, of the report, its title and the file's ending; None where there is nothing to write.
        commands: those that have the option; none for all.
        check: refuses it before the command runs, where something is missing.
    """

    name: str
    suffixes: tuple[str, ...]
    help: str
    content: Callable[[Report, str, str], bytes | None]
    commands: tuple[str, ...] = ()
    check: Callable[[], None] = lambda: None


def _html(report: Report, title: str, _suffix: str) -> bytes:
    from .. import __version__

    return report.html(title, f"LastBit {__version__}").encode()


def _junit(report: Report, title: str, _suffix: str) -> bytes:
    from ..report.junit import junit_xml

    return junit_xml(f"lastbit {title}", report.checks()).encode()


def _plot(report: Report, _title: str, suffix: str) -> bytes | None:
    return report.plot().content(suffix) if report.pictures() else None


def _can_plot() -> None:
    from ..report.plot import need_matplotlib

    need_matplotlib()


OUTPUTS = {
    output.name: output
    for output in (
        ReportFile("html", (".html", ".htm"), "Write the report to this .html file: one file, no network.", _html),
        ReportFile(
            "junit",
            (".xml",),
            "Write what was compared to this .xml file, as CI servers read it.",
            _junit,
            ("verify", "compare", "diagnose", "prove"),
        ),
        ReportFile(
            "plot",
            (".png", ".svg", ".pdf"),
            "Draw the report's pictures into this .png, .svg or .pdf file (extra [plot]).",
            _plot,
            ("compare", "diagnose", "thresholds", "evaluate"),
            _can_plot,
        ),
    )
}


def add_outputs(command: click.Command) -> None:
    """Give a command its options for files, and check these files before it runs."""
    callback = command.callback
    if callback is None:
        return

    @functools.wraps(callback)
    def checked(*args: Any, **values: Any) -> Any:
        from ..report.input_arrays import possible_paths
        from ..report.output_files import check_target

        read = possible_paths([text for value in values.values() for text in _texts(value)])
        for output, path in _asked():
            check_target(path, output.suffixes, keep=read)
            output.check()
        return callback(*args, **values)

    command.callback = checked
    command.params += [
        click.Option([f"--{output.name}"], metavar="FILE", expose_value=False, callback=_keep, help=output.help)
        for output in OUTPUTS.values()
        if not output.commands or command.name in output.commands
    ]


def print_report(report: Report, as_json: bool, verbose: bool = False) -> None:
    """Print a report on stdout, and write it to each file that the command line names."""
    from ..report.terminal import print_report as to_terminal

    to_terminal(report, as_json, verbose)  # first: a full disk must not lose it
    write_files(report)


def write_files(report: Report) -> None:
    """Write a report to each file that the command line names."""
    from ..report.output_files import suffix, write_bytes
    from ..report.terminal import say

    context = click.get_current_context()
    title = " ".join(text for text in (context.info_name, context.params.get("model")) if text)
    for output, path in _asked():
        content = output.content(report, title, suffix(path))
        if content is None:
            say(f"nothing is written to {path}: there is nothing to draw")
        else:
            write_bytes(path, content)
            say(f"wrote {path}")


def _keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Remember an option's value without telling the command of it."""
    if value is not None:
        context.meta[f"{__name__}.{option.name}"] = value


def _asked() -> Iterator[tuple[ReportFile, str]]:
    """The files that the command line names."""
    meta = click.get_current_context().meta
    for output in OUTPUTS.values():
        path = meta.get(f"{__name__}.{output.name}")
        if path is not None:
            yield output, path


def _texts(value: Any) -> list[str]:
    """The texts among an option's values: some of them are files that are read."""
    values = value if isinstance(value, tuple) else (value,)
    return [text for text in values if isinstance(text, str)]
