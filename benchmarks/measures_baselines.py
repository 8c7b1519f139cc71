"""Kron fluxes of SEP and photutils on a simulated field, for `measures.py`."""

import importlib.util

import numpy as np
from scipy import ndimage

from blendinator.config import ClassicalConfig
from blendinator.model import classical

MIN_KRON = 3.5  # pixels: SExtractor's smallest Kron ellipse


def fluxes(simulated, region, count):
    """{sep_number, sep_flux, sep_error, photutils_number, ...} of each object [count], of the detections in its region.

    Both get the same image, SEP's background subtracted; photutils only if it is installed.
    """
    import sep

    data = np.nan_to_num(np.asarray(simulated.image, np.float64))
    data -= sep.Background(data)
    out = {}
    for name, found in (("sep", _sep), ("photutils", _photutils)):
        if name == "photutils" and not all(map(importlib.util.find_spec, ("photutils", "skimage"))):
            print("photutils' fluxes are left out: pip install 'photutils<3' scikit-image", flush=True)
            continue
        values = summed(*found(data, simulated.sky_sigma), region, count)
        out |= {f"{name}_{key}": value for key, value in values.items()}
    return out


def summed(x, y, flux, error, region, count):
    """Number, sum of the fluxes, and of the errors in quadrature, of the detections in each object's region [count].

    Flux and error are NaN where there is none.

    Args:
      x, y, flux, error: of the detections [D]. region: row of the object plus 1, 0 for none [H, W].
    """
    column, line = (np.clip(np.rint(v).astype(int), 0, size - 1) for v, size in zip((x, y), region.shape[::-1]))
    row = np.where(np.isfinite(flux) & np.isfinite(error), region[line, column], 0)
    number = np.bincount(row, minlength=count + 1)[1:]
    total, square = (np.bincount(row, np.nan_to_num(v), count + 1)[1:] for v in (flux, np.square(error)))
    known = number > 0
    return {
        "number": number,
        "flux": np.where(known, total, np.nan),
        "error": np.where(known, np.sqrt(square), np.nan),
    }


def _sep(data, sigma):
    """FLUX_AUTO of all detections, the pixels of their neighbours left out: x, y, flux, error."""
    import sep

    sep.set_extract_pixstack(10**7)
    found, owners = classical.extract(data, sigma, ClassicalConfig(), segmentation_map=True)
    good = np.isfinite(found["theta"]) & (found["b"] > 0)  # others, such as bad columns, have no ellipse
    found, masks = found[good], {"segmap": owners, "seg_id": np.flatnonzero(good) + 1}
    shape = [found[name] for name in ("x", "y", "a", "b", "theta")]
    shape[-1] = np.clip(shape[-1], -np.pi / 2, np.pi / 2)  # float32 rounds the ends outwards
    kron, _ = sep.kron_radius(data, *shape, 6.0, **masks)
    scale = np.where(np.isfinite(kron) & (kron > 0), 2.5 * kron, 0)
    scale = np.maximum(scale, MIN_KRON / np.sqrt(found["a"] * found["b"]))
    flux, error, _ = sep.sum_ellipse(data, *shape, scale, err=sigma, gain=1.0, subpix=5, **masks)
    return shape[0], shape[1], flux, error


def _photutils(data, sigma):
    """The same of photutils, with the same filter, threshold and deblending."""
    from photutils.segmentation import SourceCatalog, SourceFinder

    settings = ClassicalConfig()
    smooth = ndimage.convolve(data, classical.FILTER / classical.FILTER.sum())
    finder = SourceFinder(
        settings.min_area, nlevels=settings.deblend_levels, contrast=settings.deblend_contrast, progress_bar=False
    )
    error = np.sqrt(sigma**2 + np.maximum(data, 0.0))
    found = SourceCatalog(data, finder(smooth, settings.threshold * sigma), convolved_data=smooth, error=error)
    return found.xcentroid, found.ycentroid, found.kron_flux, found.kron_fluxerr
