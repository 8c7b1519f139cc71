"""A classical baseline: detection and deblending with SExtractor's library, turned into the same class map."""

import importlib.util
from typing import Any

import numpy as np

from blendinator.config import ClassicalConfig

# SExtractor's default detection filter, default.conv.
FILTER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float64)


def available() -> bool:
    """Whether the package `sep` is installed."""
    return importlib.util.find_spec("sep") is not None


def extract(image: np.ndarray, sky_sigma: float, config: ClassicalConfig, **options: Any) -> Any:
    """Detects and deblends the objects of an image.

    Args:
      image: [H, W] electrons, sky-subtracted.
      sky_sigma: electrons per pixel.
      config: thresholds and deblending.
      options: further arguments of `sep.extract`.

    Returns:
      What `sep.extract` returns: a structured array of objects, with a map of them if that is asked for.
    """
    import sep

    return sep.extract(
        np.ascontiguousarray(image, np.float64),
        config.threshold,
        err=float(sky_sigma),
        minarea=config.min_area,
        filter_kernel=FILTER,
        deblend_nthresh=config.deblend_levels,
        deblend_cont=config.deblend_contrast,
        **options,
    )


def class_map(image: np.ndarray, sky_sigma: float, config: ClassicalConfig) -> np.ndarray:
    """Detects and deblends objects; a pixel's class is the number of ellipses it lies in, at most 2.

    SExtractor (Bertin and Arnouts 1996) describes the extent of an object by the ellipse of its second moments scaled
    by 3 (`ellipse_scale`), which about reaches its limiting isophote.

    Args:
      image: [H, W] electrons, sky-subtracted.
      sky_sigma: electrons per pixel.
      config: thresholds and deblending.

    Returns:
      uint8 [H, W]. A scene that the library gives up on (its deblending has a limit on objects) is all background.
    """
    import sep

    try:
        found = extract(image, sky_sigma, config)
    except Exception as error:
        # sep raises bare Exceptions; only its two documented limits may cost a scene, everything else is a defect.
        if "deblending" not in str(error) and "pixel buffer" not in str(error):
            raise
        found = []
    count = np.zeros(image.shape, np.uint8)
    for item in found:
        inside = np.zeros(image.shape, bool)
        # Second moments of a source a pixel or two wide can vanish: at least half a pixel.
        axes = [max(config.ellipse_scale * item[name], 0.5) for name in ("a", "b")]
        sep.mask_ellipse(inside, [item["x"]], [item["y"]], [axes[0]], [axes[1]], [item["theta"]], r=1.0)
        count += inside
    return np.minimum(count, 2)
