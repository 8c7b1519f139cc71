"""One picture of a segmented field: the image with contours, the classes, P(blended) and the entropy."""

from pathlib import Path

import numpy as np

from blendinator.model.client import NO_DATA
from blendinator.model.gallery import CLASS_COLORS, CLASS_NAMES, class_colors, stretch

PANEL = 900  # pixels a side to which a large field is averaged
WHITE = 0.998  # quantile of the image that is shown white: a field holds stars and large galaxies
_MISSING = np.array([0.35, 0.35, 0.35])


class Previewer:
    """Collects averaged maps while they go by: a sink of `segment.segment`.

    Args:
      shape: H, W of the field.
    """

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        self.block = max(1, -(-max(shape) // PANEL))  # pixels of the field per pixel of the picture
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

    def save(self, path: str | Path, sky_sigma: float, title: str = "") -> None:
        """Writes the picture.

        Args:
          path: a PNG; the caller sees to it that it may be written.
          sky_sigma: of the image, electrons per pixel, sets the stretch.
          title: above the picture.
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
        height, width = seen.shape
        panel = 5.0
        shape = (2 * panel * min(width / height, 2.0) + 0.4, 2 * panel * min(1.0, 2.0 * height / width) + 1.2)
        figure = Figure(figsize=shape, dpi=110, facecolor="#0b0e14")
        FigureCanvasAgg(figure)
        axes = figure.subplots(
            2, 2, gridspec_kw=dict(hspace=0.09, wspace=0.03, left=0.02, right=0.98, top=0.92, bottom=0.09)
        )
        for ax, (name, colors) in zip(axes.ravel(), panels):
            ax.imshow(np.where(seen[..., None], colors, _MISSING), origin="lower", interpolation="nearest")
            ax.set_title(name, color="#d8dee9", fontsize=12, loc="left", pad=4)
            ax.set_xticks([]), ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set_visible(False)
        for level, color in ((foreground, CLASS_COLORS[1]), (blended, CLASS_COLORS[2])):
            if level.max() > 0.5 > level.min() and min(level.shape) > 1:
                axes[0, 0].contour(level, [0.5], colors=[color], linewidths=0.7)
        figure.legend(
            handles=[
                Patch(facecolor=color, edgecolor="#888", label=name) for name, color in zip(CLASS_NAMES, CLASS_COLORS)
            ],
            loc="lower left",
            bbox_to_anchor=(0.015, 0.012),
            ncol=3,
            frameon=False,
            labelcolor="#d8dee9",
            fontsize=11,
        )
        for left, name, colormap, high in (
            (0.52, "P(blended)", "inferno", 1.0),
            (0.78, "entropy (nats)", "magma", np.log(3)),
        ):
            bar = figure.add_axes((left, 0.045, 0.2, 0.016))
            bar.imshow(np.linspace(0, 1, 256)[None], cmap=colormap, aspect="auto", extent=(0, high, 0, 1))
            bar.set_yticks([])
            bar.tick_params(colors="#d8dee9", labelsize=8)
            bar.set_title(name, color="#d8dee9", fontsize=9, pad=2)
        if title:
            figure.suptitle(title, color="#eceff4", fontsize=14, x=0.02, ha="left", y=0.985)
        figure.savefig(path, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
