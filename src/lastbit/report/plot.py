"""Pictures, drawn with matplotlib: imported here only, and only when something is drawn."""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.errors import InputError
from ..model.extras import install_text
from .pictures import Bars, HeatMap, Picture, Steps
from .visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "Plot", "draw", "inline_svg", "need_matplotlib"]

SUFFIXES = (".png", ".svg", ".pdf")
"""Endings of picture files."""

# Names that fit below one picture; more of them are thinned out.
_MOST_NAMES = 24
_FEW = 10
# Letters that fit below a picture in a line.
_LETTERS_BELOW = 90
# Colours that people who do not see all colours tell apart (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_BAD = "#d55e00"
# Stands for the colour of a page's text until the picture is written.
_INK = "#010203"
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")


@dataclass(frozen=True)
class Plot:
    """Drawn pictures, one below the other. A notebook shows them.

    Attributes:
        figure: matplotlib's figure, to change or to save.
    """

    figure: Figure

    def content(self, suffix: str = ".png") -> bytes:
        """A picture file's bytes.

        Args:
            suffix: its kind: `.png`, `.svg` or `.pdf`.
        """
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name with signs that no font has is drawn with boxes
            # Without a date, so that the same pictures are the same files.
            dated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
            self.figure.savefig(stream, format=suffix[1:], dpi=120, metadata=dated)
        return stream.getvalue()

    def _repr_png_(self) -> bytes:
        return self.content()


def need_matplotlib() -> None:
    """Refuse to draw where matplotlib is missing.

    Raises:
        InputError: it is; the message says how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"pictures need matplotlib, which is not installed (extra [plot]). Install it: {install_text('plot')}"
        ) from error


def draw(pictures: Sequence[Picture]) -> Plot:
    """Draw pictures, one below the other.

    Raises:
        InputError: matplotlib is missing.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    heights = [_height(picture) for picture in pictures]
    figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
    axes = figure.subplots(len(pictures), 1, squeeze=False, height_ratios=heights)[:, 0]
    for picture, place in zip(pictures, axes, strict=True):
        match picture:
            case Bars():
                _bars(place, picture)
            case Steps():
                _steps(place, picture)
            case HeatMap():
                _grid(figure, place, picture)
        # No mathematics: a name of a file may have a dollar sign.
        place.set_title(visible(picture.title), loc="left", fontsize=11, parse_math=False, wrap=True)
        place.set_xlabel(visible(picture.x), parse_math=False)
        place.set_ylabel(visible(picture.y), parse_math=False)
    return Plot(figure)


def inline_svg(pictures: Sequence[Picture]) -> str:
    """Pictures as an SVG element for a page: without a background, lines and letters in the colour of the page's text.

    Returns:
        The element; empty where there is nothing to draw, or matplotlib is missing.
    """
    if not pictures or importlib.util.find_spec("matplotlib") is None:
        return ""
    import matplotlib

    inked = dict.fromkeys(_INKED, _INK)
    clear = dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none")
    written = {"svg.fonttype": "none", "svg.hashsalt": "lastbit", "legend.frameon": False}
    with matplotlib.rc_context(inked | clear | written):
        text = draw(pictures).content(".svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace(_INK, "currentColor").strip()


def _height(picture: Picture) -> float:
    """Inches; a plane is drawn in its own proportions."""
    if not isinstance(picture, HeatMap):
        return 3.6
    rows, columns = picture.values.shape
    return float(np.clip(8.0 * rows / columns, 1.5, 4.5)) + 1.0


def _bars(place: Axes, picture: Bars) -> None:
    positions = np.arange(len(picture.names))
    colours = [_BAD if number in picture.marked else _COLOURS[0] for number in range(len(picture.values))]
    bars = place.bar(positions, picture.values, color=colours, width=0.85, log=picture.log)
    if len(bars) <= _FEW:
        place.bar_label(
            bars, [f"{value:,.3g}" if value % 1 else f"{value:,.0f}" for value in picture.values], fontsize=8
        )
    room = max(0.0, (_FEW - len(bars)) / 2)  # a single bar is not as wide as the picture
    place.set_xlim(-0.6 - room, len(bars) - 0.4 + room)
    if picture.log:
        place.set_ylim(bottom=0.7)  # a bar of one is seen
    shown = positions[:: -(-len(positions) // _MOST_NAMES)]
    names = [visible(picture.names[position]) for position in shown]
    place.set_xticks(shown, names, parse_math=False)
    if max(map(len, names), default=0) * (len(shown) + 2 * room) > _LETTERS_BELOW:
        place.tick_params("x", labelrotation=60, labelsize=8)
        for label in place.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    place.set_axisbelow(True)
    place.grid(axis="y", alpha=0.3)
    place.spines[["top", "right"]].set_visible(False)


def _steps(place: Axes, picture: Steps) -> None:
    styles = ("-", "--", ":", "-.")
    for number, (name, (starts, values)) in enumerate(picture.lines.items()):
        place.step(
            [*(starts - 0.5), picture.end + 0.5],
            [*values, values[-1]],
            where="post",
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=styles[number % len(styles)],
            linewidth=2.2 - 0.5 * number,
            label=visible(name),
        )
    for number, (first, last) in enumerate(picture.marked):
        label = "they differ" if number == 0 else None
        place.axvspan(first - 0.5, last + 0.5, color=_BAD, alpha=0.18, linewidth=0, label=label)
    place.ticklabel_format(axis="x", useOffset=False, style="plain")
    place.locator_params(axis="x", nbins=8, integer=True)
    place.locator_params(axis="y", integer=True)
    place.grid(alpha=0.3)
    place.spines[["top", "right"]].set_visible(False)
    place.legend(loc="best", fontsize=9)


def _grid(figure: Figure, place: Axes, picture: HeatMap) -> None:
    from matplotlib.ticker import MaxNLocator

    values = picture.values
    whole = values.dtype.kind != "f"
    largest = max(1, int(np.abs(values).max(initial=0))) if whole else float(np.abs(values).max(initial=0)) or 1.0
    signed = bool((values < 0).any())
    colours, low = ("RdBu_r", -largest) if signed else ("Oranges", 0)
    image = place.imshow(values, cmap=colours, vmin=low, vmax=largest, aspect="auto", interpolation="nearest")
    for axis, size in ((place.xaxis, values.shape[1]), (place.yaxis, values.shape[0])):
        axis.set_major_locator(MaxNLocator(_MOST_NAMES, integer=True, steps=[1, 2, 5, 10]))
        if size <= _MOST_NAMES:
            axis.set_ticks(range(size))
    figure.colorbar(image, ax=place, label=picture.scale, ticks=MaxNLocator(8, integer=whole))
    if picture.numbered:
        for (row, column), value in np.ndenumerate(values):
            if value:
                colour = "white" if abs(value) > 0.6 * largest else "black"
                place.text(column, row, str(value), ha="center", va="center", color=colour, fontsize=8)
