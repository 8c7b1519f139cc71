"""One page with the blends that the samples disagree about most: image, P(blended) and a few samples of each."""

from pathlib import Path

import numpy as np

from blendinator.model.client import Segmenter
from blendinator.model.field.reading import Field
from blendinator.model.field.tiling import Tile, padded
from blendinator.model.gallery import CLASS_COLORS, stretch
from blendinator.model.maps import NO_DATA, pad_rows

COUNT = 16  # on a page
SIDE, LARGEST = 48, 192  # pixels: the least side of a cutout, and the largest
SAMPLES_SHOWN = 3
PANEL, GAP, LABEL, HEAD = 1.1, 0.06, 0.24, 0.4  # inches
_BACK, _TEXT = "#0b0e14", "#d8dee9"


def most_uncertain(columns: dict[str, np.ndarray], count: int = COUNT) -> np.ndarray:
    """Rows of the objects whose P(blend) is nearest to 1/2; among equals, the brightest first.

    Args:
      columns: kind, p_blend and flux of a catalogue.
    """
    rows = np.flatnonzero((columns["kind"] == "object") & (columns["p_blend"] > 0) & (columns["p_blend"] < 1))
    order = np.lexsort((-columns["flux"][rows], np.abs(columns["p_blend"][rows] - 0.5)))
    return rows[order[:count]]


def window(
    segmenter: Segmenter, field: Field, x: float, y: float, side: int, num_samples: int, seed: int
) -> tuple[int, int, np.ndarray, dict[str, np.ndarray]]:
    """The maps of a small part of a field, equal to those of the whole: its samples are those of the field.

    Args:
      x, y: the wanted centre, pixels from 0. side: the wanted pixels per side.

    Returns:
      First row and column, image [h, w] in electrons, and the maps by name, see `Maps`.
    """
    factor, halo = segmenter.facts["downsampling"], segmenter.halo
    (top, height), (left, width) = (_span(center, side, length, factor) for center, length in zip((y, x), field.shape))
    below, right = (padded(length, factor) for length in field.shape)
    margins = min(halo, top), min(halo, below - top - height), min(halo, left), min(halo, right - left - width)
    tile = Tile(top, left, height, width, margins)
    rows = tile.rows
    strip = pad_rows(field.network_rows(rows.start, min(rows.stop, field.shape[0])), rows.stop - rows.start, factor)
    [(_, maps)] = segmenter.run(strip, [tile], num_samples, seed)
    image = field.rows(top, min(top + height, field.shape[0]))[:, left : left + width]
    h, w = image.shape
    inner = {name: value[:h, :w] if name == "probabilities" else value[..., :h, :w] for name, value in maps.items()}
    return top, left, image, inner


def save(path: str | Path, segmenter: Segmenter, field: Field, columns: dict, num_samples: int, seed: int) -> None:
    """Writes the page as PNG; the caller sees to it that the file may be written.

    Args:
      columns: of `Cataloguer.finish`.
      num_samples, seed: of the segmentation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = most_uncertain(columns)
    across = 2 + SAMPLES_SHOWN
    lines = max(-(-len(chosen) // 2), 1)
    group = across * (PANEL + GAP) + 3 * GAP
    size = 2 * group, HEAD + lines * (PANEL + LABEL + GAP)
    figure = Figure(figsize=size, dpi=110, facecolor=_BACK)
    FigureCanvasAgg(figure)
    title = f"The {len(chosen)} most uncertain blends: image, P(blended), samples" if len(chosen) else "No blend"
    figure.text(GAP / size[0], 1 - HEAD / 2 / size[1], title, color=_TEXT, fontsize=11, va="center")
    for i, row in enumerate(chosen):
        one = {name: value[row] for name, value in columns.items()}
        side = int(np.clip(3 * one["semimajor"], SIDE, LARGEST))
        top, left, image, maps = window(segmenter, field, one["x"], one["y"], side, num_samples, seed)
        x, y = (i % 2) * group + GAP, size[1] - HEAD - (i // 2 + 1) * (PANEL + LABEL + GAP)
        for j, colors in enumerate(_panels(image, maps, field.sky_sigma)):
            box = x + j * (PANEL + GAP), y + GAP, PANEL, PANEL
            axes = figure.add_axes(tuple(value / size[k % 2] for k, value in enumerate(box)))
            axes.imshow(colors, origin="lower", interpolation="nearest")
            axes.axis("off")
            if j == 0:
                axes.plot(one["x"] - left, one["y"] - top, "+", color="#eceff4", markersize=5, markeredgewidth=0.7)
        figure.text(x / size[0], (y + PANEL + 1.5 * GAP) / size[1], _describe(one), color=_TEXT, fontsize=7.5)
    with open(path, "wb") as file:
        figure.savefig(file, format="png", facecolor=_BACK, metadata={"Software": None})


def _span(center: float, side: int, length: int, factor: int) -> tuple[int, int]:
    """Start and length of a window, multiples of `factor`, within the padded field."""
    whole = padded(length, factor)
    size = min(padded(side, factor), whole)
    start = int(np.clip(round((center - size / 2) / factor) * factor, 0, whole - size))
    return start, size


def _panels(image: np.ndarray, maps: dict[str, np.ndarray], sky_sigma: float) -> list[np.ndarray]:
    from matplotlib import colormaps

    grey = stretch(np.nan_to_num(image), sky_sigma)
    blended = np.nan_to_num(maps["probabilities"][..., 2])
    colors = np.concatenate([CLASS_COLORS, np.full((NO_DATA - 2, 3), 0.35)])
    return [
        np.repeat(grey[..., None], 3, axis=-1),
        colormaps["inferno"](blended)[..., :3],
        *(colors[sample] for sample in maps["samples"][:SAMPLES_SHOWN]),
    ]


def _describe(one: dict) -> str:
    return (
        f"{one['id']}  ({one['x'] + 1:.0f}, {one['y'] + 1:.0f})  P(blend) {one['p_blend']:.2f}  blended"
        f" {one['blended_area_lo68']:.0f} to {one['blended_area_hi68']:.0f} of {one['area']:.0f} px"
    )
