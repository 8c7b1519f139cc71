"""Picture pages: scenes with image, truth, samples, mean and entropy.

Colours are of the Okabe-Ito set, which readers with colour-vision deficiencies can tell apart, and the classes differ
in lightness too, so that a grey print still shows them.
"""

import io

import numpy as np

from model.metrics.pixels import NUM_CLASSES, entropy

# Background, one galaxy, blended: near-black blue, sky blue, orange.
CLASS_COLORS = np.array([[0.055, 0.075, 0.125], [0.337, 0.706, 0.914], [0.902, 0.624, 0.0]])
CLASS_NAMES = ("background", "one galaxy", "blended")
SAMPLES_SHOWN = 3
ASINH_SOFTENING = 2.0  # sky sigmas at which the stretch turns from linear to logarithmic


def stretch(image: np.ndarray, sky_sigma: float) -> np.ndarray:
    """Image [H, W] in electrons to grey levels 0..1: asinh (Lupton et al. 1999) from -1 sky sigma to the maximum.

    The white point is at least 20 sky sigmas, so that pure noise stays dark.
    """
    scaled = np.arcsinh(np.asarray(image, np.float64) / (ASINH_SOFTENING * sky_sigma))
    low = np.arcsinh(-1 / ASINH_SOFTENING)
    high = max(scaled.max(), np.arcsinh(20 / ASINH_SOFTENING))
    return np.clip((scaled - low) / (high - low), 0, 1)


def class_colors(probabilities: np.ndarray) -> np.ndarray:
    """Colours [..., 3] of class probabilities [..., 3]: the classes' colours mixed by probability."""
    return np.clip(probabilities @ CLASS_COLORS, 0, 1)


def choose_scenes(rows: dict[str, np.ndarray], count: int) -> list[str]:
    """Ids of up to `count` scenes, richest in galaxies first: half or more of them boosted, the rest natural.

    Within a population they are spread evenly over the error (IoU distance of the most probable map) among the
    scenes that hold something, from the best to the worst, so that the page doesn't flatter the model.
    """
    chosen = []
    for population, share in (("boosted", count - count // 3), ("natural", count // 3)):
        of_population = rows["population"] == population
        eligible = np.flatnonzero(of_population & (rows["num_galaxies"] >= (2 if population == "boosted" else 1)))
        if not len(eligible):
            eligible = np.flatnonzero(of_population)
        order = eligible[np.argsort(rows["distance_truth_map"][eligible], kind="stable")]
        places = np.unique(np.linspace(0.02, 0.98, share) * (len(order) - 1)).round().astype(int) if len(order) else []
        chosen += [str(rows["scene_id"][order[place]]) for place in dict.fromkeys(places)]
    return chosen


def page(scenes: list[dict], dpi: int = 110) -> bytes:
    """A PNG page with one row per scene.

    Args:
      scenes: each with `image` [H, W] and `sky_sigma` in electrons, `mask` [H, W], `samples` [N, H, W],
        `probabilities` [H, W, 3] and `title`.
      dpi: dots per inch; a panel is 1.45 inches wide.

    Returns:
      The file's bytes.
    """
    # The object interface: pyplot keeps state and picks a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = ["image", "truth", *[f"sample {i + 1}" for i in range(SAMPLES_SHOWN)], "mean", "entropy"]
    panel, top, bottom, left = 1.45, 0.34, 0.62, 0.5
    width, height = left + panel * len(columns) + 0.1, top + panel * len(scenes) + bottom
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    heat = None
    for row, scene in enumerate(scenes):
        panels = [stretch(scene["image"], scene["sky_sigma"]), _colors(scene["mask"])]
        panels += [_colors(sample) for sample in scene["samples"][:SAMPLES_SHOWN]]
        panels += [None] * (2 + SAMPLES_SHOWN - len(panels))
        panels += [class_colors(scene["probabilities"]), entropy(scene["probabilities"])]
        for column, content in enumerate(panels):
            box = [left + column * panel, height - top - (row + 1) * panel, panel * 0.965, panel * 0.965]
            axes = figure.add_axes([box[0] / width, box[1] / height, box[2] / width, box[3] / height])
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if content is None:
                continue
            limits = {"vmin": 0, "vmax": np.log(NUM_CLASSES)} if column == len(panels) - 1 else {"vmin": 0, "vmax": 1}
            shown = axes.imshow(content, cmap="magma" if column == len(panels) - 1 else "gray", origin="lower",
                                interpolation="nearest", **limits)
            if column == len(panels) - 1:
                heat = shown
            if row == 0:
                axes.set_title(columns[column], fontsize=10, pad=5, color="#222")
            if column == 0:
                axes.set_ylabel(scene["title"], fontsize=7.5, color="#444", labelpad=5)
    figure.legend(
        handles=[Patch(facecolor=color, edgecolor="#888", label=name) for color, name in zip(CLASS_COLORS, CLASS_NAMES)],
        loc="lower left", bbox_to_anchor=(left / width, 0.12 / height), ncol=3, frameon=False, fontsize=9,
    )
    if heat is not None:
        bar = figure.add_axes([1 - (2 * panel + 0.1) / width, 0.36 / height, 1.9 * panel / width, 0.1 / height])
        figure.colorbar(heat, cax=bar, orientation="horizontal").ax.tick_params(labelsize=7)
        bar.set_title("entropy (nats)", fontsize=8, pad=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _colors(classes):
    return CLASS_COLORS[np.asarray(classes, int)]
