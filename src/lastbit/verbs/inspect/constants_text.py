"""The constants of one operator that is no dense layer, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ...report.blocks import Block, Code, Heading, Table, Text
from ...report.phrases import Data, cut, short_hex

__all__ = ["constant_blocks"]

_CHANNELS = 8
_WIDTH = 78


def constant_blocks(constants: Data, full: bool) -> list[Block]:
    """One section for each group of runtimes with the same constants.

    Args:
        constants: runtime -> what `operator_constants` gives, of those that have any.
        full: every channel, or the first ones.
    """
    groups: list[tuple[list[str], Data]] = []
    for name, made in constants.items():
        known = next((names for names, other in groups if other == made), None)
        if known is None:
            groups.append(([name], made))
        else:
            known.append(name)
    blocks: list[Block] = []
    for names, made in groups:
        blocks.append(Heading(f"Constants on {', '.join(names)}"))
        view = {"stages": _stages, "convolution": _convolution, "recipe": _recipe}[made["kind"]]
        blocks += view(made, full)
    convolution = next((made for _, made in groups if made["kind"] == "convolution"), None)
    return blocks if convolution is None else [*blocks, *_biases(convolution, full)]


def _stages(made: Data, full: bool) -> list[Block]:
    parts = made["parts"]
    alike = all((part["stages"], part["clamp"]) == (parts[0]["stages"], parts[0]["clamp"]) for part in parts)
    blocks: list[Block] = []
    for part in parts[:1] if alike else parts:
        if not alike:
            last = part["conditions"][-1]
            blocks.append(Text(textwrap.fill(f"{last['condition'] if last['met'] else 'else'}:", _WIDTH)))
        rows = [
            (
                stage["step"],
                f"{stage['factor']:.9g}",
                short_hex(stage["factor_hex"]),
                "-" if stage["multiplier"] is None else stage["multiplier"],
                "-" if stage["shift"] is None else stage["shift"],
            )
            for stage in part["stages"]
        ]
        if rows:
            headers = ("stage", "factor", "as hex float", "multiplier", "shift")
            blocks.append(Table(headers, rows, right=("factor", "multiplier", "shift")))
        if part["clamp"] is not None:
            blocks.append(Text(f"clamp {part['clamp'][0]}..{part['clamp'][1]}"))
    return blocks


def _convolution(made: Data, full: bool) -> list[Block]:
    blocks: list[Block] = []
    for part in made["parts"]:
        start, stop = part["channels"]
        clamp = f"{part['clamp'][0]}..{part['clamp'][1]}"
        which = {
            "all": f"channels {start} to {stop - 1}",
            "groups": f"outputs of a sample in whole groups of {part['group']}",
            "last": "the last outputs",
        }[part["outputs"]]
        blocks.append(Text(f"{which}: {part['rule']}, clamp {clamp}"))
        scale = part["effective_scale"]
        columns = [[f"{value:.9g}" for value in scale["decimal"]], [short_hex(text) for text in scale["hex"]]]
        headers = ["effective scale", "as hex float"]
        if part["multiplier"] is not None:
            columns += [part["multiplier"], part["shift"]]
            headers += ["multiplier q", "shift"]
        numbers = ["all"] if len(columns[0]) == 1 else list(range(start, stop))
        blocks += _channels(["channel", *headers], [numbers, *columns], full)
    return blocks


def _biases(made: Data, full: bool) -> list[Block]:
    """What the file alone decides: the same on every runtime."""
    columns = [made["bias"], made["weights_sum"], made["folded_bias"]]
    headers = ["channel", "bias", "sum(w)", "folded bias"]
    return [
        Heading("Folded bias = bias - zx*sum(w) + K*zx*zw, for windows without padding"),
        *_channels(headers, [list(range(len(made["bias"]))), *columns], full),
    ]


def _channels(headers: Sequence[str], columns: Sequence[Sequence[object]], full: bool) -> list[Block]:
    rows = list(zip(*columns, strict=True))
    right = tuple(header for header in headers if "hex" not in header)
    hidden = not full and len(rows) > _CHANNELS
    note = [Text(f"the first {_CHANNELS} of {len(rows)} (all: --all-channels)", "dim")] if hidden else []
    return [*note, Table(headers, cut(rows, _CHANNELS, full), right=right)]


def _recipe(made: Data, full: bool) -> list[Block]:
    lines = [
        f"{key}: {', '.join(value) if isinstance(value, list) and value and isinstance(value[0], str) else value}"
        for key, value in made["fields"].items()
    ]
    return [Text(f"Made by LastBit: {made['recipe']}"), Code("\n".join(lines))]
