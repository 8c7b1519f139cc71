"""One picture of a segmented field: the image with contours, the classes, P(blended) and the entropy."""

from pathlib import Path

import numpy as np

from blendinator.escape import printable
from blendinator.model.gallery import CLASS_COLORS, CLASS_NAMES, class_colors, stretch
from blendinator.model.maps import NO_DATA

PANEL = 900  # pixels per side to which a large square field is averaged; a long one has up to twice that
LONG, SHORT = 10.0, 0.5  # inches: the longest side of a panel, and the shortest, below which it is stretched
CELL = 2.6  # inches: the least width of a column, for the panels' titles
HEAD, FOOT, LABEL, GAP = 0.55, 0.9, 0.3, 0.15  # inches: title, legend, a panel's title, between panels
LEGEND, BAR = 4.7, 2.0  # inches: width of the legend and of a colour bar
WHITE = 0.998  # quantile of the image that is shown white: a field holds stars and large galaxies
_MISSING = np.array([0.35, 0.35, 0.35])


class Previewer:
    """Collects averaged maps while they go by: a sink of `segment.segment`.

    Args:
      shape: H, W of the field.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        # Pixels of the field per pixel of the picture.
        self.block = max(1, -(-max(shape) // (2 * PANEL)), int(np.ceil(np.sqrt(shape[0] * shape[1]) / PANEL)))
        size = tuple(-(-side // self.block) for side in shape)
        self._sums = {
            name: np.zeros((*size, *extra))
            for name, extra in {"image": (), "probabilities": (3,), "entropy": (), "valid": ()}.items()
        }

    def write(self, top: int, maps: dict[str, np.ndarray]) -> None:
        """Takes the next full rows of the maps, from row `top` on."""
        valid = maps["class_map"] != NO_DATA
        rows = (top + np.arange(len(valid))) // self.block
        for name, total in self._sums.items():
            value = (
                valid
                if name == "valid"
                else np.where(valid.reshape(valid.shape + (1,) * (total.ndim - 2)), np.nan_to_num(maps[name]), 0.0)
            )
            columns = np.add.reduceat(value, np.arange(0, self.shape[1], self.block), axis=1, dtype=np.float64)
            np.add.at(total, rows, columns)

    def save(self, path: str | Path, sky_sigma: float, title: str = "", ending: str = ".png") -> None:
        """Writes the picture.

        Args:
          path: the caller sees to it that it may be written.
          sky_sigma: of the image, electrons per pixel, sets the stretch.
          title: above the picture, as it is: `$` begins no formula.
          ending: .png, .jpg, .jpeg or .pdf, the format.
        """
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

        valid = self._sums["valid"]
        seen = valid > 0
        mean = {
            name: np.where(seen.reshape(seen.shape + (1,) * (total.ndim - 2)), total, np.nan)
            / np.maximum(valid, 1).reshape(seen.shape + (1,) * (total.ndim - 2))
            for name, total in self._sums.items()
        }
        grey = stretch(np.nan_to_num(mean["image"]), sky_sigma / self.block, WHITE)
        foreground = np.nan_to_num(mean["probabilities"][..., 1:].sum(axis=-1))
        blended = np.nan_to_num(mean["probabilities"][..., 2])
        classes = class_colors(np.nan_to_num(mean["probabilities"]))
        panels = [
            ("image, contours at P = 0.5", np.repeat(grey[..., None], 3, axis=-1)),
            ("classes, mixed by probability", classes),
            ("P(blended)", colormaps["inferno"](blended)[..., :3]),
            ("entropy", colormaps["magma"](np.nan_to_num(mean["entropy"]) / np.log(3))[..., :3]),
        ]
        size, boxes, stretched = layout(*seen.shape)
        figure = Figure(figsize=size, dpi=110, facecolor="#0b0e14")
        FigureCanvasAgg(figure)
        inch = lambda left, bottom, wide, high: (left / size[0], bottom / size[1], wide / size[0], high / size[1])
        axes = [figure.add_axes(inch(*box)) for box in boxes]
        for ax, (name, colors) in zip(axes, panels):
            ax.imshow(
                np.where(seen[..., None], colors, _MISSING),
                origin="lower",
                interpolation="nearest",
                aspect="auto" if stretched else "equal",
            )
            ax.set_title(name, color="#d8dee9", fontsize=12, loc="left", pad=4)
            ax.set_xticks([]), ax.set_yticks([]), ax.set_facecolor("none")
            for spine in ax.spines.values():
                spine.set_visible(False)
        for level, color in ((foreground, CLASS_COLORS[1]), (blended, CLASS_COLORS[2])):
            if level.max() > 0.5 > level.min() and min(level.shape) > 1:
                axes[0].contour(level, [0.5], colors=[color], linewidths=0.7)
        figure.legend(
            handles=[
                Patch(facecolor=color, edgecolor="#888", label=name) for name, color in zip(CLASS_NAMES, CLASS_COLORS)
            ],
            loc="center left",
            bbox_to_anchor=(GAP / size[0], 0.4 / size[1]),
            ncol=3,
            borderaxespad=0,
            columnspacing=1.2,
            frameon=False,
            labelcolor="#d8dee9",
            fontsize=11,
        )
        for i, (name, colormap, high) in enumerate(
            (("P(blended)", "inferno", 1.0), ("entropy (nats)", "magma", np.log(3)))
        ):
            bar = figure.add_axes(inch(LEGEND + 2 * GAP + i * (BAR + 3 * GAP), 0.35, BAR, 0.14))
            bar.imshow(np.linspace(0, 1, 256)[None], cmap=colormap, aspect="auto", extent=(0, high, 0, 1))
            bar.set_yticks([])
            bar.tick_params(colors="#d8dee9", labelsize=8)
            bar.set_title(name, color="#d8dee9", fontsize=9, pad=2)
        title += f" ({self.shape[1]} x {self.shape[0]} pixels, not to scale)" if stretched else ""
        if title:
            figure.text(
                GAP / size[0],
                1 - 0.3 / size[1],
                _shortened(printable(title), int(size[0] * 9)),
                color="#eceff4",
                fontsize=14,
                va="center",
                parse_math=False,
            )
        kind = {".jpg": "jpeg"}.get(ending, ending.removeprefix("."))
        metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}}.get(kind)  # the same bytes every time
        with open(path, "wb") as file:
            figure.savefig(file, format=kind, facecolor=figure.get_facecolor(), metadata=metadata)


def layout(height: int, width: int) -> tuple[tuple[float, float], list[tuple[float, float, float, float]], bool]:
    """Places for four panels of this shape, in inches from the lower left.

    Panels of a tall field stand beside each other, those of a wide one above each other, and a panel is drawn to scale
    unless its short side would be less than `SHORT`.

    Returns:
      Size of the figure (width, height); left, bottom, width and height of each panel; whether they are stretched.
    """
    ratio = height / width
    columns = 4 if ratio > 1.6 else 1 if ratio < 1 / 3 else 2
    rows = 4 // columns
    long = LONG if columns != 2 else LONG / 2
    high, wide = (long, max(long / ratio, SHORT)) if ratio > 1 else (max(long * ratio, SHORT), long)
    cell = max(wide, CELL)
    total = max(columns * (cell + GAP) + GAP, LEGEND + 2 * (BAR + 3 * GAP) + GAP)
    cell = (total - GAP) / columns - GAP
    figure = total, HEAD + FOOT + rows * (high + LABEL + GAP)
    boxes = [
        (GAP + column * (cell + GAP), FOOT + (rows - 1 - row) * (high + LABEL + GAP) + GAP, wide, high)
        for row in range(rows)
        for column in range(columns)
    ]
    return figure, boxes, max(ratio, 1 / ratio) * SHORT > long


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 + 1 :]}"
