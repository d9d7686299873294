"""The first screen of `doctor`: what works here, by family of runtimes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ...report.blocks import Block, Code, Text
from ...report.phrases import folded
from ...runtimes.groups import GROUPS

__all__ = ["screen_blocks"]

_WORKS = "works"
# Of these the command is shown; `-v` shows every one.
_MOST_MISSING = 1
_BROKEN = ("fails", "differs")


def screen_blocks(data: Mapping[str, Any]) -> list[Block]:
    """This CPU's runtime, the core, which real interpreters run, and what to install for more.

    Args:
        data: what `doctor` found.
    """
    here, core = data["this_cpu"], data["core"]
    oracles = {entry["name"]: entry for entry in data["oracles"]}
    works = [name for name, entry in oracles.items() if entry["state"] == _WORKS]
    blocks: list[Block] = [
        Text(here["why_none"], "warning")
        if here["runtime"] is None
        else Text(f"Interpreter(model) on this CPU is {here['runtime']}"),
        Text(f"LastBit {data['lastbit']} {core['detail'].partition(' (')[0]}. {data['platform']}."),
        Text(f"{len(works)} of {len(oracles)} real interpreters run here:"),
        Code("\n".join(line for group, names in GROUPS.items() for line in _lines(group, _family(names, oracles)))),
    ]
    if not core["works"]:
        blocks[1] = Text(f"LastBit {data['lastbit']}: {core['detail']}", "bad")
    for entry in oracles.values():
        if entry["state"] in _BROKEN:
            blocks.append(Text(f"{entry['name']}: {entry['detail']}", "bad"))
    missing = [entry for entry in data["extras"] if entry["status"] == "missing" and entry["available"]]
    here_too = [entry["extra"] for entry in data["extras"] if entry["status"] != "missing"]
    blocks.append(Text(f"Extras here: {', '.join(here_too) or 'none'}"))
    if missing:
        blocks.append(Text(f"Extras not here: {', '.join(entry['extra'] for entry in missing)}"))
    for entry in missing[:_MOST_MISSING]:
        # A command is never folded: it is to be copied.
        blocks += [Text(f"{entry['distribution']} is not installed. If you need it:"), Code(entry["install"])]
    for entry in data["extras"]:
        if entry["status"] == "another version":
            found, proven = entry["installed"], entry["proven"]
            blocks.append(Text(f"{entry['distribution']} {found} is here; proven with {proven}.", "warning"))
    if data["compiled_code"]["problem"]:
        blocks.append(Text(f"Compiled code is not kept: {data['compiled_code']['problem']}", "bad"))
    return folded([*blocks, Text("CPU, versions, folders, each interpreter: -v", "dim")])


def _lines(group: str, text: str) -> list[str]:
    return textwrap.wrap(f"{group:11}{text}", 78, subsequent_indent=11 * " ", break_on_hyphens=False)


def _family(names: Sequence[str], oracles: Mapping[str, Mapping[str, Any]]) -> str:
    """The interpreters of a family that run; where none does, why."""
    own = [oracles[name] for name in names if name in oracles]
    running = [entry["name"] for entry in own if entry["state"] == _WORKS]
    return ", ".join(running) or "; ".join(dict.fromkeys(entry["detail"] for entry in own)) or "-"
