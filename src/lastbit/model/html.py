"""What shells and notebooks show of a result: a few lines for `repr`, one escaped table for `_repr_html_`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["few_lines", "html_table"]

_REPR_LINES, _REPR_WIDTH = 5, 100


def few_lines(texts: Sequence[str]) -> str:
    r"""Texts as a `repr`: the first is the name of what it is, each further one begins a line; five lines at most.

    >>> few_lines(["Proof: ", "PROVED for 1 layer", "0 differ"])
    'Proof: PROVED for 1 layer\n  0 differ'
    """
    name, first, *rest = texts
    lines: list[str] = []
    for text in (name + first, *rest):
        found = textwrap.wrap(text, _REPR_WIDTH, initial_indent="  " if lines else "", subsequent_indent="  ")
        lines += found
    if len(lines) > _REPR_LINES:
        lines = lines[:_REPR_LINES]
        lines[-1] = lines[-1][: _REPR_WIDTH - 4] + " ..."
    return "\n".join(lines)


def html_table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()
) -> str:
    r"""An HTML table with a caption; every cell is escaped, and columns named in `right` are aligned right.

    >>> print(html_table("c", ["a", "n"], [["<1>", 2]], right=["n"]).replace("><", ">\n<"))
    <table>
    <caption style="text-align:left">c</caption>
    <thead>
    <tr>
    <th style="text-align:left">a</th>
    <th style="text-align:right">n</th>
    </tr>
    </thead>
    <tbody>
    <tr>
    <td style="text-align:left">&lt;1&gt;</td>
    <td style="text-align:right">2</td>
    </tr>
    </tbody>
    </table>
    """
    aligns = ["right" if header in right else "left" for header in headers]

    def line(tag: str, cells: Sequence[object]) -> str:
        return "".join(
            f'<{tag} style="text-align:{align}">{escape(str(cell))}</{tag}>'
            for align, cell in zip(aligns, cells, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f'<table><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{line('th', headers)}</tr></thead><tbody>{body}</tbody></table>"
    )
