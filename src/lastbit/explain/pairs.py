"""What becomes of neighbouring products in a kernel that adds them in 16 bits, in words."""

from __future__ import annotations

from .element import Element

__all__ = ["pairs_text"]


def pairs_text(element: Element) -> tuple[str, str]:
    """How many pairs of an element saturate and what that does, and the first one worked out (empty: none does).

    Args:
        element: an element of a layer whose pairs can saturate (`prepared.pairs` is not None).
    """
    pairs, count = element.saturated, element.layer.depth // 2
    given = element.prepared.pairs
    assert given is not None
    how = "This kernel has no dot product instruction: it adds the products of two neighbours in 16 bits (VPMADDUBSW"
    ups = [f"{name} {up:+}" for name, up in (("x", given.input_up), ("w", given.weights_up)) if up]
    how += f", on {' and '.join(ups)})" if ups else ")"
    if not pairs:
        return f"{how}. All {count} sums of two fit here, so acc is the exact sum.", ""
    verbs = ("does", "saturates") if len(pairs) == 1 else ("do", "saturate")
    first = pairs[0]
    products = " + ".join(f"{x} * {f'({w})' if w < 0 else w}" for x, w in zip(first.x, first.w, strict=True))
    return (
        f"{how}. {len(pairs)} of {count} such sums {verbs[0]} not fit and {verbs[1]}: acc is {element.lost:+} off the "
        "exact sum. The first:",
        f"k = {first.place}, {first.place + 1}: {products} = {first.total}, kept as {first.kept}",
    )
