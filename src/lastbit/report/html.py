"""Reports as HTML: a part of a page for notebooks, or one file that needs no network.

Both are made of the blocks that the terminal prints. Whatever comes from a file is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from .parts import Block, Code, Heading, Table, Text
from .visible import visible

__all__ = ["fragment", "page"]

# No punctuation at the end: the sentence around an address has it.
_ADDRESS = re.compile(r"https?://[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]")
# Fewer sections need no list of them.
_LISTED_FROM = 4
# A cell with more characters is not made narrower than a sentence can be read in.
_LONG = 40

# Colours of the page itself; a notebook has its own.
_PAGE_STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --fore: #1f2328; }
body { background: var(--back); color: var(--fore); margin: 0 auto; max-width: 76rem; padding: 1rem; }
body, nav, footer { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.4rem; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
.answer { border-left: 4px solid var(--link); font-size: 1.05rem; padding: 0.2rem 0.8rem; }
nav ul { padding-left: 1.2rem; overflow-wrap: anywhere; }
footer { border-top: 1px solid; margin-top: 2rem; opacity: 0.75; padding-top: 0.5rem; font-size: 0.875rem; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --fore: #e6edf3; } }
@media (max-width: 40rem) { body { padding: 0.75rem; font-size: 15px; } }
"""
_STYLE = """
.lastbit { --good: #116329; --bad: #b3121d; --warning: #8a5300; --mark: #ffe3e0; --line: #8886; --code: #8881;
  --link: #0550ae; }
.lastbit h2, .lastbit h4 { font-size: 1.15rem; margin: 1.75rem 0 0.5rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
.lastbit p { margin: 0.4rem 0; overflow-wrap: anywhere; white-space: pre-line; }
.lastbit .good { color: var(--good); font-weight: 600; }
.lastbit .bad { color: var(--bad); font-weight: 600; }
.lastbit .warning { color: var(--warning); font-weight: 600; }
.lastbit .dim { opacity: 0.75; }
.lastbit a { color: var(--link); }
.lastbit pre { background: var(--code); border-radius: 4px; margin: 0.5rem 0; overflow-x: auto;
  padding: 0.5rem 0.75rem; }
.lastbit pre, .lastbit td, .lastbit .mono
  { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.84rem; }
.lastbit .wide { max-width: 100%; overflow-x: auto; }
.lastbit table { border-collapse: collapse; margin: 0; }
.lastbit figure { margin: 0.8rem 0; }
.lastbit svg { height: auto; max-width: 58rem; min-width: 36rem; width: 100%; }
.lastbit figcaption { font-style: italic; }
.lastbit th, .lastbit td { border-bottom: 1px solid var(--line); padding: 0.2rem 0.7rem; text-align: left;
  vertical-align: top; }
.lastbit th { font-size: 0.84rem; border-bottom-width: 2px; white-space: nowrap; }
.lastbit td { max-width: 40rem; min-width: 1.5rem; overflow-wrap: break-word; white-space: pre-line; }
.lastbit td.long { min-width: 15rem; }
.lastbit td.word { white-space: nowrap; }
.lastbit .right { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.lastbit tr.marked td { background: var(--mark); color: var(--bad); font-weight: 600; }
@media (max-width: 40rem) {
  .lastbit th, .lastbit td { padding: 0.2rem 0.35rem; }
  .lastbit pre, .lastbit td, .lastbit th { font-size: 0.78rem; }
  .lastbit th { white-space: normal; }
}
@media (prefers-color-scheme: dark) {
  .lastbit { --good: #56d364; --bad: #ff9a91; --warning: #e3b341; --mark: #5c1a1e88; --link: #79b8ff; }
}
"""
# A file that was opened asks nobody for anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def fragment(blocks: Sequence[Block]) -> str:
    """Blocks as a part of a page, with its style.

    Args:
        blocks: what `Report.blocks` gives.
    """
    return f'<div class="lastbit"><style>{_STYLE}</style>\n{_body(blocks, whole_page=False)}\n</div>'


def page(blocks: Sequence[Block], title: str, answer: str = "", footer: str = "", picture: str = "") -> str:
    """Blocks as a whole page: one file, no network, light and dark as the browser is.

    Args:
        blocks: what `Report.blocks` gives.
        title: the page's title; also its first line.
        answer: what stands before everything else, unless the blocks begin with it.
        footer: a last line, such as who made the page.
        picture: an SVG element that stands after the blocks; it is no text, so it must be of our own making.
    """
    if picture:
        blocks = [*blocks, Heading("Pictures")]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{_PAGE_STYLE}{_STYLE}</style>",
            "</head>",
            '<body class="lastbit">',
            f"<h1>{_text(title)}</h1>",
            *([] if _is_told(answer, blocks) else [f'<p class="answer">{_linked(answer)}</p>']),
            *_contents(blocks),
            f"<main>\n{_body(blocks, whole_page=True)}",
            *([f'<figure class="wide">{picture}</figure>'] if picture else []),
            "</main>",
            *([f"<footer>{_text(footer)}</footer>"] if footer else []),
            "</body>",
            "</html>",
            "",
        ]
    )


def _is_told(answer: str, blocks: Sequence[Block]) -> bool:
    return any(block.text.startswith(answer) for block in blocks[:3] if isinstance(block, Heading | Text))


def _contents(blocks: Sequence[Block]) -> Iterator[str]:
    """A list of links to the sections of a long page."""
    titles = [block.text for block in blocks if isinstance(block, Heading)]
    if len(titles) >= _LISTED_FROM:
        links = (f'<li><a href="#s{number}">{_text(title)}</a></li>' for number, title in enumerate(titles))
        yield f"<nav><ul>{''.join(links)}</ul></nav>"


def _body(blocks: Sequence[Block], whole_page: bool) -> str:
    """The blocks; sections of a part of a page are small ones, and nothing links to them."""
    parts, section = [], 0
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f'<h2 id="s{section}">{_text(text)}</h2>' if whole_page else f"<h4>{_text(text)}</h4>")
                section += 1
            case Text(text, style):
                parts.append(f'<p class="{style}">{_linked(text)}</p>' if style else f"<p>{_linked(text)}</p>")
            case Code(text):
                parts.append(f"<pre>{_linked(text)}</pre>")
            case Table():
                parts.append(_table(block))
    return "\n".join(parts)


def _table(table: Table) -> str:
    sides = [["right"] if header in table.right else [] for header in table.headers]

    def cell(tag: str, classes: list[str], text: str) -> str:
        size = "long" if len(text) > _LONG else "" if " " in text else "word"
        found = " ".join([*classes, *([size] if tag == "td" and size else [])])
        opened = f'<{tag} class="{found}">' if found else f"<{tag}>"
        return f"{opened}{_linked(text)}</{tag}>"

    def line(tag: str, cells: Sequence[object]) -> str:
        return "".join(cell(tag, side, str(value)) for side, value in zip(sides, cells, strict=True))

    rows = [
        f'<tr class="marked">{line("td", row)}</tr>' if number in table.marked else f"<tr>{line('td', row)}</tr>"
        for number, row in enumerate(table.rows)
    ]
    caption = f"<figcaption>{_linked(table.title)}</figcaption>" if table.title else ""
    head = f"<thead><tr>{line('th', table.headers)}</tr></thead>"
    body = "\n".join(rows)
    return f'<figure>{caption}<div class="wide"><table>{head}<tbody>\n{body}\n</tbody></table></div></figure>'


def _text(text: str) -> str:
    """Text that cannot be markup, nor turn the text around it."""
    return escape(visible(text))


def _linked(text: str) -> str:
    """The same, with a link at each web address."""
    text = visible(text)
    parts, end = [], 0
    for found in _ADDRESS.finditer(text):
        address = escape(found.group())
        parts += [escape(text[end : found.start()]), f'<a href="{address}" rel="noopener noreferrer">{address}</a>']
        end = found.end()
    return "".join([*parts, escape(text[end:])])
