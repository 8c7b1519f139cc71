"""Draws one scene with its truth, each galaxy's outline and its parameters, to a PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.config import SimulationConfig
from blendinator.data.classes import CLASSES
from blendinator.data.records import SCALAR_FEATURES, first_band
from blendinator.data.scene import Simulator, split_start
from blendinator.data.sources import STAR, Sources
from blendinator.data.spans import SPLITS
from blendinator.data.survey import Survey
from blendinator.errors import ConfigError, DataError

MAX_ROWS = 16  # of the table of galaxies


def parse_scene_id(text: str) -> tuple[int, int]:
    """Span and scene number of an id such as "1:4711".

    Raises:
      ConfigError: the text is not such an id.
    """
    span, colon, number = text.partition(":")
    if not (colon and span.isdecimal() and number.isdecimal()):
        raise ConfigError(f"scene: received {text!r}; allowed: <span>:<scene number>, such as 1:4711")
    return int(span), int(number)


def render_record(config: SimulationConfig, scene_id: str) -> dict:
    """A scene again, as the record that `blendinator.data.records.encode` takes; raises as `show_scene`."""
    span, number = parse_scene_id(scene_id)
    return Simulator.configured(config).scenes(span, [number])[0]


def describe_record(record: dict) -> str:
    """The scalars of a record, one per line."""
    return "\n".join(
        f"{name:<21} {record[name]:.4g}" if isinstance(record[name], float) else f"{name:<21} {record[name]}"
        for name in SCALAR_FEATURES
    )


def show_scene(config: SimulationConfig, scene_id: str, path: str | Path) -> dict:
    """Draws a scene again, writes the picture, and returns the record (as `blendinator.data.records.encode` takes it).

    Nothing is read but the configuration: a scene is a function of its settings, span and number.

    Args:
      config: the settings of the span.
      scene_id: "<span>:<scene number>".
      path: the PNG to write.

    Raises:
      ConfigError: the scene id cannot be read.
      DataError: the span has no such scene, or the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    span, number = parse_scene_id(scene_id)
    simulator = Simulator.configured(config)
    scene, stamps = simulator.isolated_images(span, number)
    record = simulator.scenes(span, [number])[0]
    threshold = config.truth_threshold * scene.sky_sigma
    rows = [i for i in np.argsort(scene.sources.magnitude, kind="stable") if (stamps[i] > threshold).any()]

    figure = Figure(figsize=(12.0, 4.6 + 0.24 * min(len(rows), MAX_ROWS)))
    FigureCanvasAgg(figure)
    picture = figure.subfigures(2, 1, height_ratios=(4.3, 0.5 + 0.24 * min(len(rows), MAX_ROWS)))
    panels = picture[0].subplots(
        1, 3, gridspec_kw={"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.86, "wspace": 0.04}
    )
    plot_panels(panels, record, config.truth_threshold, stamps[rows])
    picture[0].suptitle(
        f"Scene {scene_id} ({record['population']}, {_split(config, number)}): {record['num_galaxies']} galaxies, "
        f"{record['num_stars']} stars, "
        f'{record["blended_share"]:.1%} blended, PSF FWHM {scene.fwhm:.3f}", sky {scene.sky_sigma:.1f} e-/pixel'
    )
    axis = picture[1].subplots(gridspec_kw={"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 0.95})
    axis.axis("off")
    if rows:
        table = source_table(scene.sources.take(rows[:MAX_ROWS]), stamps[rows[:MAX_ROWS]], threshold, simulator.survey)
        drawn = axis.table(
            [list(map(str, line)) for line in table[1:]], colLabels=table[0], loc="upper center", cellLoc="right"
        )
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(8)
        if len(rows) > MAX_ROWS:
            axis.set_title(f"and {len(rows) - MAX_ROWS} fainter ones", fontsize=8, y=-0.15)
    else:
        axis.text(0.5, 0.5, "No source exceeds the truth threshold in this scene.", ha="center")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:  # ValueError: an ending that is not a picture format
        raise DataError(
            f"{path}: the picture cannot be written ({error}). Give a path ending in .png in a folder that exists."
        )
    return record


def plot_panels(axes: Sequence[Any], record: dict, truth_threshold: float, stamps: np.ndarray) -> None:
    """Image, the same with each source's truth outline, and the classes, on three matplotlib axes.

    Args:
      truth_threshold: k. stamps: sources that own pixels, each alone [G, S, S] in electrons per pixel.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    image, sky_sigma = first_band(record)
    stretched = np.arcsinh(image / sky_sigma)
    threshold = truth_threshold * sky_sigma
    limits = {"cmap": "gray", "vmin": -1.5, "vmax": max(4.0, float(stretched.max()))}
    axes[0].imshow(stretched, origin="lower", **limits)
    axes[0].set_title("image, asinh(electrons / sky sigma)", fontsize=9)
    axes[1].imshow(stretched, origin="lower", **limits)
    axes[1].set_title(f"outlines where a source exceeds {truth_threshold:g} sigma", fontsize=9)
    for i, stamp in enumerate(stamps):
        color = colormaps["tab10"](i % 10)
        axes[1].contour(stamp, levels=[threshold], colors=[color], linewidths=1.2)
        y, x = np.unravel_index(stamp.argmax(), stamp.shape)
        axes[1].annotate(str(i + 1), (x, y), color=color, fontsize=8, xytext=(3, 3), textcoords="offset points")
    axes[2].imshow(
        record["mask"],
        origin="lower",
        cmap=ListedColormap([one.color for one in CLASSES]),
        vmin=0,
        vmax=2,
        interpolation="nearest",
    )
    axes[2].set_title("truth: background, one source (blue), blended (orange)", fontsize=9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])


def source_table(sources: Sources, stamps: np.ndarray, threshold: float, survey: Survey) -> list[tuple]:
    """Header and one row per source: its parameters and the number of pixels above the threshold."""
    header = (
        "no.",
        "kind",
        "x [px]",
        "y [px]",
        "magnitude",
        "electrons",
        'half-light ["]',
        "bulge / total",
        "axis ratio",
        "angle [deg]",
        "pixels",
    )
    rows: list[tuple] = [header]
    for i in range(len(sources)):
        part = int(np.argmax(sources.flux_fraction[i]))
        shape = (
            f"{sources.half_light[i]:.2f}",
            f"{sources.flux_fraction[i, 1]:.2f}",
            f"{sources.axis_ratio[i, part]:.2f}",
            f"{np.degrees(sources.angle[i, part]) % 180:.0f}",
        )
        is_star = sources.kind[i] == STAR
        rows.append(
            (
                i + 1,
                "star" if is_star else "galaxy",
                f"{sources.x[i]:.1f}",
                f"{sources.y[i]:.1f}",
                f"{sources.magnitude[i]:.2f}",
                f"{survey.flux(sources.magnitude[i]):.0f}",
                *(("",) * len(shape) if is_star else shape),
                int((stamps[i] > threshold).sum()),
            )
        )
    return rows


def _split(config: SimulationConfig, number: int) -> str:
    return next(split for split in reversed(SPLITS) if number >= split_start(config, split))
