"""How plots look: fit for a column of a paper, for print in grey, and for readers who see few colours.

Series differ by line style and marker as well as by colour; colours are those of Okabe and Ito ("Color
Universal Design", 2008), but for the yellow, which white paper swallows. The font comes with matplotlib.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Final, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLUMN_IN: Final = 3.4
"""The width of a column of a two-column paper, in inches."""

FONT_PT: Final = 8

INK: Final = "#010203"
"""Colour of text and axes. On a page it becomes the colour of the text there, dark or light."""

FAINT: Final = "#808080"

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
_DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
HATCHES: Final = ("", "////", "----", "xxxx", "\\\\\\\\", "++++")

_RC: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_PT,
    "axes.labelsize": FONT_PT,
    "axes.titlesize": FONT_PT,
    "xtick.labelsize": FONT_PT - 1,
    "ytick.labelsize": FONT_PT - 1,
    "legend.fontsize": FONT_PT - 1,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.4,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 3.0,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "kon",  # the same records make the same file
    "text.parse_math": False,  # a name with two dollar signs is a name
}


class Series(NamedTuple):
    """What tells a series apart."""

    colour: str
    dash: Any
    marker: str


def series(number: int) -> Series:
    """The look of the n-th series; after seven they begin again with other markers and dashes."""
    turn = number // len(COLOURS)
    return Series(
        COLOURS[number % len(COLOURS)],
        _DASHES[(number + turn) % len(_DASHES)],
        _MARKERS[(number + 3 * turn) % len(_MARKERS)],
    )


@contextmanager
def drawing() -> Iterator[None]:
    """Within it, figures are drawn in this style, whatever matplotlib's settings are outside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def figure(height_in: float = 2.3, width_in: float = COLUMN_IN) -> tuple[Figure, Axes]:
    made = Figure(figsize=(width_in, height_in), layout="constrained")
    return made, made.add_subplot()


def legend_below(made: Figure, axes: Axes, columns: int = 2) -> None:
    """A legend under the axes, and room for it: inside it would hide what it is about. Grey comes last."""
    known = list(zip(*axes.get_legend_handles_labels(), strict=True))
    if not known:
        return
    known.sort(key=lambda entry: isinstance(entry[0], Line2D) and entry[0].get_color() == FAINT)
    handles, labels = [handle for handle, _ in known], [label for _, label in known]
    width = max(map(len, labels))
    columns = max(1, min(columns, len(labels), 64 // (width + 8)))
    rows = -(-len(labels) // columns)
    made.set_figheight(made.get_figheight() + 0.16 * rows)
    made.legend(handles, labels, loc="outside lower center", ncols=columns)


def log_labels(axis: Axis, low: float, high: float, say: Callable[[float], str]) -> None:
    """Labels in plain words on a logarithmic axis, and enough of them where its ends are close together."""
    decades = math.log10(high / low) if high > low > 0 else 0.0
    axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 3 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: say(value)))
    axis.set_minor_formatter(NullFormatter())


def as_png(made: Figure, dpi: int = 300) -> bytes:
    made.set_facecolor("white")
    return _saved(made, "png", {"Software": None}, dpi=dpi)


def as_svg(made: Figure) -> str:
    """A file by itself: its letters are outlines, so that it needs no font."""
    made.set_facecolor("white")
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        return _saved(made, "svg", {"Date": None}).decode()


def inline_svg(made: Figure, number: int, about: str) -> str:
    """For a page that has other plots: letters are letters, ink is the page's, and names are its own.

    about: what a screen reader says in its place.
    """
    made.patch.set_alpha(0.0)
    for axes in made.axes:
        axes.patch.set_alpha(0.0)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = _saved(made, "svg", {"Date": None}).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for before in (r'(\bid=")', r'((?:xlink:)?href="#)', r"(url\(#)"):
        text = re.sub(before, rf"\g<1>p{number}-", text)
    text = text.replace(INK, "currentColor")
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1sans-serif", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(about, quote=True)}" ', 1)


def _saved(made: Figure, kind: str, metadata: dict[str, str | None], **options: Any) -> bytes:
    body = io.BytesIO()
    made.savefig(body, format=kind, metadata=metadata, **options)
    return body.getvalue()
