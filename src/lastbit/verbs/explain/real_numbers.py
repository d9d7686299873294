"""The products of a float32 layer's element for people: a row each, and their sum in exact numbers."""

from __future__ import annotations

from ...layers.window_products import RealProducts
from .element import decimal_text

__all__ = ["real_rows", "real_sum_text"]

_DIGITS = 20


def real_rows(made: RealProducts) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Headers, and a row for each product."""
    of_window = len(made.places[0]) == 3 if made.places else True
    headers = ("[row, column, channel]" if of_window else "k", "x", "w", "product")
    rows: list[tuple[object, ...]] = [
        (
            str(list(place)) if of_window else place[0],
            f"{x:.9g}",
            f"{w:.9g}",
            "-" if product is None else f"{float(product):.9g}",
        )
        for place, x, w, product in zip(made.places, made.x, made.weights, made.products, strict=True)
    ]
    return headers, rows


def real_sum_text(made: RealProducts) -> str:
    """The sum in exact numbers, and what the window does not see."""
    padding = f"; {made.padding} taps meet no input value" if made.padding else ""
    if made.exact is None:
        return f"the sum has no exact value: an input or a weight is infinite or no number{padding}"
    bias = "" if made.bias is None else f", with the bias {made.bias:.9g}"
    return f"exact sum{bias}: {decimal_text(made.exact, _DIGITS)}{padding}"
