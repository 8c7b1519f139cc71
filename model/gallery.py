"""Picture pages: scenes with image, truth, samples, mean and entropy.

Colours are of the Okabe-Ito set, which readers with colour-vision deficiencies can tell apart, and the classes differ
in lightness too, so that a grey print still shows them.
"""

import io

import numpy as np

from blendinator.data.classes import CLASSES
from blendinator.data.population import CALIBRATED, POPULATIONS
from blendinator.data.records import NUM_CLASSES
from blendinator.model.metrics.pixels import entropy

# Background, one source, blended: near-black blue, sky blue, orange.
CLASS_COLORS = np.array([one.color for one in CLASSES])
CLASS_NAMES = tuple(one.label for one in CLASSES)
SAMPLES_SHOWN = 3
ENTROPY_COLORS = "magma"
ASINH_SOFTENING = 2.0  # sky sigmas at which the stretch turns from linear to logarithmic


def stretch(image: np.ndarray, sky_sigma: float, white: float = 1.0) -> np.ndarray:
    """Image [H, W] in electrons to grey levels 0..1: asinh (Lupton et al. 1999), linear up to ASINH_SOFTENING sigmas.

    Black is at -1 sky sigma, white at the quantile `white` of the image, and at least at 20 sky sigmas, so that pure
    noise stays dark.
    """
    scaled = np.arcsinh(np.asarray(image, np.float64) / (ASINH_SOFTENING * sky_sigma))
    low = np.arcsinh(-1 / ASINH_SOFTENING)
    high = max(np.quantile(scaled, white), np.arcsinh(20 / ASINH_SOFTENING))
    return np.clip((scaled - low) / (high - low), 0, 1)


def class_colors(probabilities: np.ndarray) -> np.ndarray:
    """Colours [..., 3] of class probabilities [..., 3]: the classes' colours mixed by probability."""
    return np.clip(probabilities @ CLASS_COLORS, 0, 1)


def choose_scenes(rows: dict[str, np.ndarray], count: int) -> list[str]:
    """Ids of up to `count` scenes, a third of them of the calibrated population, the others in equal parts of the rest.

    Where only the calibrated population is there, or only others are, all are of what is there.

    Within a population they are spread evenly over the error (IoU distance of the most probable map) among the
    scenes that hold something, from the best to the worst, so that the page doesn't flatter the model.
    """
    chosen = []
    present = [population for population in POPULATIONS if (rows["population"] == population).any()]
    others = [population for population in present if population != CALIBRATED]
    calibrated = 0 if CALIBRATED not in present else count // 3 if others else count
    for population in present:
        place = others.index(population) if population in others else 0
        share = (count - calibrated + place) // len(others) if population in others else calibrated
        of_population = rows["population"] == population
        eligible = np.flatnonzero(of_population & (rows["num_galaxies"] >= (1 if population == CALIBRATED else 2)))
        if not len(eligible):
            eligible = np.flatnonzero(of_population)
        order = eligible[np.argsort(rows["distance_truth_map"][eligible], kind="stable")]
        places = np.unique(np.linspace(0.02, 0.98, share) * (len(order) - 1)).round().astype(int) if len(order) else []
        chosen += [str(rows["scene_id"][order[place]]) for place in dict.fromkeys(places)]
    return chosen


def extreme_scenes(rows: dict[str, np.ndarray], count: int) -> dict[str, list[str]]:
    """Ids of `count` scenes each: `best`, `typical` and `worst`, by the mean distance of the samples to the truth.

    Taken among the scenes whose truth holds a blend, or among all where there are too few of those: an empty scene
    would be the best of all.
    """
    eligible = np.flatnonzero(rows["blended_scenes"] > 0)
    if len(eligible) < 3 * count:
        eligible = np.arange(len(rows["scene_id"]))
    order = eligible[np.argsort(rows["distance_truth"][eligible], kind="stable")]
    middle = max((len(order) - count) // 2, 0)
    worst = order[max(len(order) - count, 0) :]
    parts = {"best": order[:count], "typical": order[middle : middle + count], "worst": worst}
    return {name: [str(rows["scene_id"][i]) for i in part] for name, part in parts.items()}


def page(scenes: list[dict], scale: int = 3) -> bytes:
    """A PNG page with one row per scene.

    Args:
      scenes: each with `image` [H, W] and `sky_sigma` in electrons, `mask` [H, W], `samples` [N, H, W],
        `probabilities` [H, W, 3] and `title`; all of one size. At least one.
      scale: pixels of the page per pixel of a scene.

    Returns:
      The file's bytes.
    """
    # The object interface: pyplot keeps state and picks a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = ["image", "truth", *[f"sample {i + 1}" for i in range(SAMPLES_SHOWN)], "mean", "entropy"]
    height, width = np.asarray(scenes[0]["mask"]).shape
    # One array holds all panels: axes of their own would take ten times as long.
    panel, gap, dpi = (height * scale, width * scale), 6, 100
    mosaic = np.ones(((panel[0] + gap) * len(scenes) - gap, (panel[1] + gap) * len(columns) - gap, 3))
    for row, scene in enumerate(scenes):
        for column, content in enumerate(_panels(scene)):
            top, left = row * (panel[0] + gap), column * (panel[1] + gap)
            large = content[::-1].repeat(scale, 0).repeat(scale, 1)  # y upwards
            mosaic[top : top + panel[0], left : left + panel[1]] = large
    left, top, bottom, right = 34, 34, 62, 12
    total = (mosaic.shape[1] + left + right) / dpi, (mosaic.shape[0] + top + bottom) / dpi
    figure = Figure(figsize=total, dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)

    def place(x: float, y: float, w: float, h: float) -> list[float]:  # pixels from the upper left corner
        return [x / dpi / total[0], 1 - (y + h) / dpi / total[1], w / dpi / total[0], h / dpi / total[1]]

    axes = figure.add_axes(place(left, top, mosaic.shape[1], mosaic.shape[0]))
    axes.imshow(mosaic, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for column, name in enumerate(columns):
        axes.text(
            column * (panel[1] + gap) + panel[1] / 2, -8, name, ha="center", va="bottom", fontsize=11, color="#222"
        )
    for row, scene in enumerate(scenes):
        axes.text(
            -8,
            row * (panel[0] + gap) + panel[0] / 2,
            scene["title"],
            parse_math=False,
            ha="right",
            va="center",
            rotation=90,
            fontsize=8.5,
            color="#444",
        )
    figure.legend(
        handles=[
            Patch(facecolor=color, edgecolor="#888", label=name) for color, name in zip(CLASS_COLORS, CLASS_NAMES)
        ],
        loc="center left",
        bbox_to_anchor=place(left - 8, top + mosaic.shape[0] + 32, 0, 0)[:2],
        ncol=3,
        frameon=False,
        fontsize=10,
    )
    bar = figure.add_axes(place(left + 5 * (panel[1] + gap), top + mosaic.shape[0] + 26, 2 * panel[1] + gap, 12))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=ENTROPY_COLORS, aspect="auto", extent=(0, np.log(NUM_CLASSES), 0, 1))
    bar.set_yticks([])
    bar.tick_params(labelsize=8)
    bar.set_title("entropy (nats)", fontsize=9, pad=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panels(scene: dict) -> list[np.ndarray]:
    """Colours [H, W, 3] of each column; white where there are fewer samples than columns for them."""
    from matplotlib import colormaps

    samples = [CLASS_COLORS[np.asarray(sample, int)] for sample in scene["samples"][:SAMPLES_SHOWN]]
    blank = np.ones((*np.asarray(scene["mask"]).shape, 3))
    level = entropy(scene["probabilities"]) / np.log(NUM_CLASSES)
    return [
        np.repeat(stretch(scene["image"], scene["sky_sigma"])[..., None], 3, axis=-1),
        CLASS_COLORS[np.asarray(scene["mask"], int)],
        *samples,
        *[blank] * (SAMPLES_SHOWN - len(samples)),
        class_colors(scene["probabilities"]),
        colormaps[ENTROPY_COLORS](level)[..., :3],
    ]
