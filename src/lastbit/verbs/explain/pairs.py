"""What becomes of products that a kernel adds in 16 bits, in words."""

from __future__ import annotations

from ...rules.base import Pairs
from ...rules.sums.exact import pair_count
from .element import Element

__all__ = ["pairs_text"]


def pairs_text(element: Element, products: Pairs) -> tuple[str, str]:
    """How many pairs of an element do not fit and what that does, and the first one worked out (empty: none).

    Args:
        element: an element of a layer some of whose pairs can leave 16 bits.
        products: which pairs the kernel adds.
    """
    pairs, count = element.overflowing, pair_count(products, element.layer.depth)
    given, words = element.prepared.pairs, element.pairs_words
    assert given is not None
    ups = [f"{name} {up:+}" for name, up in (("x", given.input_up), ("w", given.weights_up)) if up]
    told = [text for text in (words.instruction, f"on {' and '.join(ups)}" if ups else "") if text]
    how = f"This kernel has no dot product instruction: it adds {words.two} in 16 bits"
    how += f" ({', '.join(told)})" if told else ""
    if not pairs:
        return f"{how}. All {count} sums of two fit here, so acc is the exact sum.", ""
    do, overflow = ("does", words.overflows) if len(pairs) == 1 else ("do", words.overflow)
    first = pairs[0]
    added = " + ".join(f"{x} * {f'({w})' if w < 0 else w}" for x, w in zip(first.x, first.w, strict=True))
    return (
        f"{how}. {len(pairs)} of {count} such sums {do} not fit and {overflow}: acc is {element.lost:+} off the "
        "exact sum. The first:",
        f"k = {first.place}, {first.place + products.partner}: {added} = {first.total}, kept as {first.kept}",
    )
