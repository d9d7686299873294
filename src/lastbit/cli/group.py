"""The command group: `--version`, `--debug`, and the one place where errors become exit codes."""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from ..model.errors import LastBitError
from ..report.terminal import print_error, say, tolerate_encodings
from .outputs import add_outputs

__all__ = ["Commands", "Section"]

INTERRUPTED = 130
INTERNAL = 70
# What a shell shows for a program that SIGPIPE ended. 1 would say that something differs.
BROKEN_PIPE = 141

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_HELP = """\
What a quantized TFLite layer computes on each real runtime, to the last bit.

Results go to stdout (with --json only JSON), messages and progress to stderr.
"""

_EPILOG = """\
\b
Exit codes:
  0    done; or all was compared and is equal
  1    something differs
  2    bad usage, or a bad or missing file
  3    an operator is refused or not covered, or was not compared
  4    a real interpreter is missing or died
  70   a fault of LastBit itself (please report it)
  130  interrupted

\b
Start with:
  lastbit demo                  a question from a forum, answered in a minute
  lastbit inspect model.tflite
  lastbit COMMAND --help

\b
You have no .tflite?
  lastbit.dense(weights, bias, ...) in Python makes one of arrays:
  docs/arrays.md
"""

# What is accepted though it is no longer the name that users see.
_OLD_NAMES = {"whence": "identify"}
_ALL = "--all"


@dataclass(frozen=True)
class Section:
    """The commands for one kind of work, as `--help` lists them.

    Attributes:
        title: what they are for.
        first: those on the first screen.
        more: those that `--help --all` adds.
    """

    title: str
    first: Sequence[click.Command]
    more: Sequence[click.Command] = ()


class Commands(click.Group):
    """A click group that ends every error with one clear message and LastBit's exit code."""

    sections: Sequence[Section] = ()

    @classmethod
    def make(cls, *sections: Section) -> Commands:
        """The group with its commands, listed in help in this order."""
        group = cls("lastbit", help=_HELP, epilog=_EPILOG, context_settings=dict(_SETTINGS))
        group.sections = sections
        group.params += [
            click.Option([_ALL], is_flag=True, expose_value=False, help="With --help: list every command."),
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_show_version,
                help="Show the version and exit.",
            ),
        ]
        for command in (command for section in sections for command in (*section.first, *section.more)):
            command.context_settings = {**_SETTINGS, **command.context_settings}
            if command.help is None and command.callback is not None:
                command.help = _help_in_source(command.callback)
            add_outputs(command)
            group.add_command(command)
        return group

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in their own order, not the alphabet's."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or of the name that it has today."""
        return super().get_command(ctx, _OLD_NAMES.get(cmd_name, cmd_name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; `--help` prints here, before the options after it are parsed."""
        ctx.meta[_ALL] = _ALL in args
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for; all of them with `--all`."""
        widest = max(map(len, self.commands))
        for section in self.sections:
            shown = [*section.first, *(section.more if ctx.meta[_ALL] else ())]
            with formatter.section(section.title):
                limit = formatter.width - widest - 6
                formatter.write_dl([(f"{c.name:{widest}}", c.get_short_help_str(limit)) for c in shown])
        left = sum(len(section.more) for section in self.sections)
        if left and not ctx.meta[_ALL]:
            formatter.write_paragraph()
            formatter.write_text(f"{left} more commands: lastbit --help {_ALL}")

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit."""
        tolerate_encodings()
        # What is not standalone raises and returns, so that the exit code is decided here.
        extra["standalone_mode"] = False
        try:
            result = super().main(*args, **extra)
        except click.ClickException as error:
            # Usage errors: click's own text, which shows the usage line and the option.
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(result if isinstance(result, int) else 0)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the group's own options; `--help` and `--version` print here."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:
            sys.exit(_report(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever it raises becomes a message and an exit code."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()  # a closed pipe must be met here, not when Python ends
            return result
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BaseException as error:
            if ctx.params.get("debug") and not isinstance(error, BrokenPipeError):
                traceback.print_exc()
            ctx.exit(_report(error))


def _help_in_source(function: Callable[..., Any]) -> str | None:
    """A function's docstring as its file has it: `python -OO` strips it from the function. None without the file."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError, ValueError):
        return None
    return ast.get_docstring(definition) if isinstance(definition, ast.FunctionDef) else None


def _report(error: BaseException) -> int:
    """Say what happened; the exit code."""
    match error:
        case LastBitError():
            print_error(error.on_command_line)
            return error.exit_code
        case KeyboardInterrupt():
            if sys.stderr is not None and sys.stderr.isatty():
                say("")  # the terminal has printed ^C
            say("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            _drop_stdout()
            return BROKEN_PIPE
        case MemoryError():
            print_error("there is not enough memory for this")
            return 2
        case OSError():
            # Files that commands read and write have their own messages; this is stdout or a temporary one.
            print_error(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
            return 2
        case SystemExit():
            raise error
    print_error(
        f"{type(error).__name__}: {error}\nThis is a fault of LastBit: please report it with the model, "
        "the command, and what `lastbit --debug ...` prints.",
        label="internal error",
    )
    return INTERNAL


def _drop_stdout() -> None:
    """Let Python's last flush go nowhere; it would complain about the closed pipe."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not a real file: nothing will be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from ..verbs.doctor.verb import lastbit_version

        click.echo(f"lastbit {lastbit_version()}")
        ctx.exit()
