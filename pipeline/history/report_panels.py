"""The style of the report's figures: panels side by side, and their SVG text."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches around and between panels. Fixed: matplotlib's automatic layout takes three times as long as the drawing.
MARGINS = {"left": 0.62, "right": 0.12, "bottom": 0.5, "top": 0.3}
GAP, LEGEND = 0.55, 0.22
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999",
    "axes.labelcolor": "#333",
    "xtick.color": "#555",
    "ytick.color": "#555",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "lines.markersize": 4.5,
}


@contextlib.contextmanager
def side_by_side(count: int, width: float, height: float) -> Iterator[tuple["Figure", Sequence["Axes"]]]:
    """A figure and its `count` panels, each `width` x `height` inches; the style holds within the block."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(count * width, height))
        FigureCanvasSVG(figure)
        panel = width - (MARGINS["left"] + MARGINS["right"]) / count - GAP * (count - 1) / count
        figure.subplots_adjust(
            left=MARGINS["left"] / (count * width),
            right=1 - MARGINS["right"] / (count * width),
            bottom=MARGINS["bottom"] / height,
            top=1 - MARGINS["top"] / height,
            wspace=GAP / panel,
        )
        yield figure, figure.subplots(1, count, squeeze=False)[0]


def legend(figure: "Figure", axes: "Axes") -> None:
    """The legend of a panel below the panels, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=8, borderaxespad=0.1)
    height = figure.get_figheight()
    figure.subplots_adjust(bottom=(MARGINS["bottom"] + LEGEND) / height)


def to_svg(figure: "Figure", salt: str) -> str:
    """SVG without its XML header; `salt` keeps ids apart on a page and makes them the same in each run."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": salt}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # The style of the page decides on the font; matplotlib names the one it has measured with.
    return text[text.index("<svg") :].replace("DejaVu Sans", "system-ui").strip()
