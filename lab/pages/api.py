"""The generated parts of docs/api.md: what is public in Python, on the command line and in JSON."""

from __future__ import annotations

import inspect
import json

import click

import lastbit
import lastbit.testing
from lab.pages.json_documents import SCHEMAS
from lastbit.cli import main

_WIDTH = 100


def functions() -> str:
    """Each public function: signature and the first sentence of its docstring."""
    named = [(f"lastbit.{name}", getattr(lastbit, name)) for name in lastbit.__all__]
    named += [(f"lastbit.testing.{name}", getattr(lastbit.testing, name)) for name in lastbit.testing.__all__]
    found = [(name, value) for name, value in named if inspect.isfunction(value)]
    return "\n\n".join(f"```python\n{_signature(name, value)}\n```\n{_first_sentence(value)}" for name, value in found)


def _signature(name: str, function: object) -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    parameters, result = _plain(signature), f" -> {signature.return_annotation}"
    text = f"{name}({', '.join(parameters)}){result}"
    if len(text) <= _WIDTH:
        return text
    return f"{name}(\n" + "".join(f"    {entry},\n" for entry in parameters) + f"){result}"


def _plain(signature: inspect.Signature) -> list[str]:
    """Each parameter as it stands in a definition, with `*` where those begin that are given by name only."""
    found: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in found:
            found.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        found.append(f"{parameter.name}: {parameter.annotation}{default}".replace("'", '"'))
    return found


def classes() -> str:
    """Each public class: its first sentence, and the names that stand on it."""
    lines = ["| class | what it is | names |", "|---|---|---|"]
    for name in lastbit.__all__:
        value = getattr(lastbit, name)
        if inspect.isclass(value):
            names = ", ".join(f"`{entry}`" for entry in _public_names(value))
            lines.append(f"| `lastbit.{name}` | {_first_sentence(value)} | {names} |")
    return "\n".join(lines)


def _public_names(kind: type) -> list[str]:
    fields = getattr(kind, "__dataclass_fields__", {})
    inherited = set(dir(Exception)) if issubclass(kind, Exception) else set()
    return [entry for entry in sorted({*dir(kind), *fields} - inherited) if not entry.startswith("_")]


def commands() -> str:
    """Each command with its options' names."""
    lines = ["| command | arguments and options |", "|---|---|"]
    for name, command in main.commands.items():
        entries = [_shown(parameter, command) for parameter in command.params]
        lines.append(f"| `{name}` | {', '.join(f'`{entry}`' for entry in entries)} |")
    return "\n".join(lines)


def _shown(parameter: click.Parameter, command: click.Command) -> str:
    if isinstance(parameter, click.Option):
        return " or ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len))
    return parameter.make_metavar(click.Context(command))


def json_kinds() -> str:
    """Each kind of JSON document: its schema's file and the keys of its first level."""
    lines = ["| `schema` | keys | JSON Schema |", "|---|---|---|"]
    for path in sorted(SCHEMAS.glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        keys = ", ".join(f"`{key}`" for key in schema["properties"] if key != "schema")
        lines.append(f"| `{schema['title']}` | {keys} | [{path.name}](schemas/{path.name}) |")
    return "\n".join(lines)


def _first_sentence(value: object) -> str:
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."
