"""HTML for notebooks: one escaped table, used by every `_repr_html_`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_table"]


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
