"""An image as users of Python have it (arrays, masked arrays, quantities, CCDData), as an array for the network."""

from typing import Any

import numpy as np

from blendinator.errors import DataError


def check_image(image: Any, bands: int) -> np.ndarray:
    """The image as float32 [H, W], or [H, W, C] for C > 1 bands, with NaN where it is masked."""
    allowed = f"an array [H, W, {bands}]" if bands > 1 else "a two-dimensional array"
    unit, mask = getattr(image, "unit", None), getattr(image, "mask", None)
    mask = None if callable(mask) else mask  # a pandas DataFrame has a method of this name
    data = image.data if mask is not None and not isinstance(image, np.ndarray) else getattr(image, "unmasked", image)
    try:
        array = np.ma.getdata(np.asarray(data))
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError) as error:
        raise DataError(f"image: this is not an array of numbers ({error}); allowed: {allowed} of real numbers")
    if bands == 1 and array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
        mask = np.asarray(mask)[..., 0] if np.ndim(mask) == 3 else mask
    fits = array.ndim == 2 if bands == 1 else array.ndim == 3 and array.shape[-1] == bands
    if not fits or not array.size or array.dtype.kind not in "fiub":
        raise DataError(
            f"image: received {array.dtype} of shape {list(array.shape)}; allowed: {allowed} of real numbers"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and no data
        array = array.astype(np.float32) * np.float32(_electrons_per(unit))
    if mask is not None and np.any(mask):
        mask = mask[..., None] if np.ndim(mask) == 2 and bands > 1 else mask
        array = np.where(np.broadcast_to(np.asarray(mask, bool), array.shape), np.float32(np.nan), array)
    if not np.isfinite(array).any():
        raise DataError("image: no pixel is finite. Give an image that holds data.")
    return array


def _electrons_per(unit: Any) -> float:
    """Electrons in one of an image's unit, an astropy unit or None."""
    if unit is None or str(unit) == "":
        return 1.0
    try:
        return float(unit.to("electron"))
    except Exception:  # astropy's classes of errors are not imported here
        raise DataError(
            f"image: received the unit {unit}; allowed: electron. Convert it, for example by the gain, or use"
            " `blendinator segment`, which does."
        )
