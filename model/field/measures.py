"""What is measured of each object in each sample, on the pixels that the sample gives to it."""

import numpy as np

from blendinator.model.field.components import UnionFind
from blendinator.model.field.pixels import PixelStore

NAMES = ("half_light_radius", "ellipticity", "concentration", "blended_flux_fraction")
QUANTILES = {"_lo68": 0.16, "_hi68": 0.84, "_lo95": 0.025, "_hi95": 0.975}
INNER, HALF, OUTER = 0.2, 0.5, 0.8  # fractions of the flux


class Measurer:
    """Measures each object when its last row has gone by.

    Args:
      sets: which numbers of components belong together.
      num_samples: N.
      min_pixels: smallest footprint that is measured.
    """

    def __init__(self, sets: UnionFind, num_samples: int, min_pixels: int) -> None:
        self._store, self._num_samples, self._min_pixels = PixelStore(sets), num_samples, min_pixels
        self._found: dict[int, np.ndarray] = {}

    def add(self, number: np.ndarray, **values: np.ndarray) -> None:
        """Takes pixels of regions: component [P], `flux`, `x`, `y`, `footprint` (bool) [P] and `classes` [P, N]."""
        self._store.add(number, **values)

    def measure(self, open_numbers: np.ndarray) -> None:
        """Measures the components that no further row adds to."""
        for root, of in self._store.finished(open_numbers):
            inside = of["footprint"]
            if inside.sum() < self._min_pixels:
                continue
            x, y, weight = of["x"].astype(float), of["y"].astype(float), np.maximum(of["flux"], 0.0) * inside
            weight = weight if weight.sum() > 0 else inside.astype(float)
            center = (weight @ x / weight.sum(), weight @ y / weight.sum())
            values = measure(of["flux"].astype(float), x, y, of["classes"].T, center)
            self._found[root] = summarise(np.stack([values[name] for name in NAMES]))

    def columns(self, roots: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of the components with these roots: {name, name_lo68, name_hi68, ...}."""
        unknown = np.full((len(NAMES), 1 + len(QUANTILES)), np.nan)
        values = np.array([self._found.get(int(root), unknown) for root in roots]).reshape(-1, *unknown.shape)
        ends = ["", *QUANTILES]
        return {f"{name}{end}": values[:, i, j] for i, name in enumerate(NAMES) for j, end in enumerate(ends)}


def summarise(values: np.ndarray) -> np.ndarray:
    """Median and ends of the central intervals over the samples that give a value: [K, N] -> [K, 5]; NaN for none."""
    known = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    levels = np.array([0.5, *QUANTILES.values()])
    at = levels * np.maximum(count - 1, 0)[:, None]
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    rows = np.arange(len(values))[:, None]
    return known[rows, low] + (at - low) * (known[rows, high] - known[rows, low])


def measure(
    flux: np.ndarray, x: np.ndarray, y: np.ndarray, classes: np.ndarray, center: tuple[float, float]
) -> dict[str, np.ndarray]:
    """Shape and light of one object in each sample; NaN where a sample gives it no flux.

    Args:
      flux: electrons of the pixels of its region [P]. x, y: their positions, pixels [P].
      classes: of the samples there, uint8 [N, P].
      center: x, y.

    Returns:
      By name, float [N]:
        half_light_radius: of the circle around the center that holds half of the flux within the mask, pixels;
        ellipticity: 1 - b/a of the flux-weighted second moments within the sample's mask;
        concentration: 5 log10(r80 / r20) of the flux within the mask;
        blended_flux_fraction: share of the mask's flux that lies in blended pixels.
    """
    member = (classes == 1) | (classes == 2)
    inside = np.where(member, flux, 0.0)
    mask_flux = inside.sum(axis=1)
    good = mask_flux > 0
    safe = np.where(good, mask_flux, np.nan)
    order = np.argsort(np.hypot(x - center[0], y - center[1]), kind="stable")
    growth = np.cumsum(inside[:, order], axis=1)
    r20, r50, r80 = radius(growth, np.multiply.outer((INNER, HALF, OUTER), safe))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "half_light_radius": r50,
            "ellipticity": _ellipticity(np.maximum(inside, 0.0), x - center[0], y - center[1]),
            "concentration": 5 * np.log10(r80 / r20),
            "blended_flux_fraction": np.clip(np.where(classes == 2, flux, 0.0).sum(axis=1) / safe, 0, 1),
        }


def radius(growth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Radius of the circle with the area of the innermost pixels that hold a flux, linear between pixels.

    Args:
      growth: flux of the innermost 1, 2, ... P pixels [N, P].
      wanted: [..., N].

    Returns:
      Pixels [..., N]; NaN where the flux is never reached.
    """
    reached = growth >= wanted[..., None]
    k = reached.argmax(axis=-1)
    rows = np.arange(len(growth))
    at = growth[rows, k]
    below = np.where(k > 0, growth[rows, k - 1], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(at > below, (wanted - below) / (at - below), 0.0)
        return np.where((at >= wanted) & (wanted > 0), np.sqrt((k + part) / np.pi), np.nan)


def _ellipticity(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    moments = weight @ np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=1)
    total = np.where(moments[:, 0] > 0, moments[:, 0], np.nan)
    _, mx, my, xx, xy, yy = (moments / total[:, None]).T
    xx, yy, xy = xx - mx**2 + 1 / 12, yy - my**2 + 1 / 12, xy - mx * my
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return 1 - np.sqrt(np.maximum(mean - half, 0) / (mean + half))
