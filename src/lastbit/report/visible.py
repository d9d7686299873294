"""Text of unknown origin, made harmless for whoever shows it."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]

# Control and format characters, surrogates, line and paragraph separators.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    r"""Text with control characters as escapes, except for line breaks: names must not steer a terminal or a page.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSEEN else ascii(c)[1:-1] for c in text)
