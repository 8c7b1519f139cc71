"""From what is measured within a mask to the object's true values, with intervals that hold on simulated fields.

A mask ends where a galaxy sinks below the sky noise, and within it the noise biases every shape. How far the truth lies
from the measured value is a matter of the signal-to-noise ratio S, of the mean surface brightness of the mask, and of
the value itself. A linear regression on simulated fields predicts it, and the quantiles of what it leaves, relative to
its typical size at S and to the width of the interval over the samples, give the intervals: split conformal prediction
(Lei et al. 2018, JASA 113, 1094; Romano et al. 2019, arXiv:1905.03222). A second source in the object moves and widens
them by its probability (`sources.py`). They hold for a sky like the simulated one and on average over its objects.
`benchmarks/measures.py` fits the table and checks its coverage on other fields.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendinator.model import released
from blendinator.model.field import sources

FORMAT = 1
FILE = "measures.json"
# Name -> whether it is positive, so that its logarithm is predicted.
QUANTITIES = {"total_flux": True, "half_light_radius": True, "ellipticity": False, "concentration": False}
SHAPES = ("half_light_radius", "ellipticity", "concentration")  # of one galaxy: they have no meaning for a blend
LEVELS = {"_lo95": 0.025, "_lo68": 0.16, "": 0.5, "_hi68": 0.84, "_hi95": 0.975}
ONE = 0.2  # probability of one source from which on an object has a shape
BLEND = 0.5  # P(blend) from which on it has none, with a table that knows no numbers of sources
NODES = (4.0, 6.0, 9.0, 14.0, 22.0, 40.0, 90.0, 250.0)  # signal-to-noise ratios; nothing is said below the first
WIDTHS = (0.6, 1.6)  # how much an object's samples may narrow or widen its interval


@dataclass(frozen=True)
class Measured:
    """What the samples say of G objects.

    Attributes:
      value: median over the samples [G]; of the flux in the mask for total_flux.
      width: half of the central 68 % interval [G].
      snr: of the flux in the mask [G].
      brightness: mean flux per pixel of the mask over the sky noise [G].
      second: probability of a second source [G]; None where the table knows none.
    """

    value: np.ndarray
    width: np.ndarray
    snr: np.ndarray
    brightness: np.ndarray
    second: np.ndarray | None = None


def measured(columns: dict[str, np.ndarray], name: str, poisson: bool = True) -> Measured:
    """A quantity's `Measured` from the columns of `Cataloguer.finish`, and of `sources.calibrate` where there are any.

    Args:
      poisson: whether the electrons are those counted, so that their noise adds to the sky's.
    """
    source = "flux" if name == "total_flux" else name
    flux, area = columns["flux"], np.maximum(columns["area"], 1.0)
    noise = np.sqrt(area * columns["sky_variance"] + (np.maximum(flux, 0.0) if poisson else 0.0))
    sigma = np.sqrt(np.maximum(columns["sky_variance"], 1e-30))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Measured(
            columns[source],
            (columns[f"{source}_hi68"] - columns[f"{source}_lo68"]) / 2,
            np.where(noise > 0, flux / noise, np.nan),
            flux / area / sigma,
            columns["p_two"] + columns["p_more"] if "p_two" in columns else None,
        )


def known_snr(columns: dict[str, np.ndarray], poisson: bool = True) -> np.ndarray:
    """Signal-to-noise ratio of the flux in the mask [G]; NaN where it is below the first node."""
    snr = measured(columns, "total_flux", poisson).snr
    return np.where(snr >= NODES[0], snr, np.nan)


def fit(name: str, of: Measured, truth: np.ndarray) -> dict:
    """The table's entry of a quantity, from objects whose truth [G] is known.

    Returns:
      `coefficients` of the regression; `spread`: typical size of what it leaves, and `width` of the samples, at
      `NODES`; `quantiles`: {level: at `NODES`} of what it leaves, in units of the spread; where the probability of a
      second source is known, `widening`: the logarithm of the spread where it is 1 over that where it is 0.
    """
    features, target, width, good = _prepared(name, of, of.second is not None)
    wanted = (np.log(np.where(truth > 0, truth, np.nan)) if QUANTITIES[name] else truth) - target
    good &= np.isfinite(wanted)
    features, wanted, width, snr = features[good], wanted[good], width[good], of.snr[good]
    second = None if of.second is None else of.second[good]
    weight, wider, widening = np.ones(len(wanted)), np.ones(len(wanted)), 0.0
    for _ in range(5):  # weights: the inverse of the spread, and less for outliers
        coefficients, *_ = np.linalg.lstsq(features * weight[:, None], wanted * weight, rcond=None)
        left = wanted - features @ coefficients
        spread = _at_nodes(snr, np.abs(left) / wider, 0.68)
        if second is not None:
            size = np.log(np.maximum(np.abs(left) / _between(snr, spread), 1e-3))
            widening = float(np.polyfit(second, size, 1)[0])
            wider = np.exp(widening * second)
        scaled = np.abs(left) / (_between(snr, spread) * wider)
        weight = 1 / (_between(snr, spread) * wider) / np.maximum(1.0, scaled / 2)
    typical = _at_nodes(snr, width, 0.5)
    scaled = left / (_between(snr, spread) * wider * _factor(width, _between(snr, typical)))
    return {
        **({} if second is None else {"widening": widening}),
        "coefficients": coefficients.tolist(),
        "spread": spread.tolist(),
        "width": typical.tolist(),
        "quantiles": {str(level): _at_nodes(snr, scaled, level).tolist() for level in LEVELS.values()},
        "objects": len(wanted),
    }


def apply(name: str, of: Measured, entry: dict) -> dict[str, np.ndarray]:
    """Columns of a quantity: {name, name_lo68, ...} [G]; NaN where nothing is known, or S is below the first node."""
    features, target, width, good = _prepared(name, of, "widening" in entry)
    snr = np.where(good, of.snr, NODES[0])
    center = target + features @ np.asarray(entry["coefficients"])
    scale = _between(snr, entry["spread"]) * _factor(width, _between(snr, entry["width"]))
    if "widening" in entry and of.second is not None:
        scale = scale * np.exp(entry["widening"] * np.where(good, of.second, 0.0))
    out = {}
    for end, level in LEVELS.items():
        value = center + scale * _between(snr, entry["quantiles"][str(level)])
        value = np.exp(value) if QUANTITIES[name] else np.maximum(value, 0.0)
        out[f"{name}{end}"] = np.where(good, np.minimum(value, 1.0) if name == "ellipticity" else value, np.nan)
    return out


def load(path: Path | None = None) -> dict | None:
    """The table that comes with the released model, or None if there is none of this format."""
    path = path or released.FOLDER / FILE
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found.get("format") == FORMAT else None


def calibrate(columns: dict[str, Any], table: dict | None, poisson: bool = True) -> dict[str, Any]:
    """The columns of the catalogue with the calibrated quantities in place of those within the masks.

    Args:
      columns: of `Cataloguer.finish`.
      table: of `load`; None leaves the quantities out.
      poisson: see `measured`.
    """
    raw = [f"{name}{end}" for name in SHAPES for end in LEVELS]
    out = {name: value for name, value in columns.items() if name not in raw}
    if table is None:
        return out
    objects = columns["kind"] == "object"
    one = objects & (columns["p_blend"] < BLEND)
    if "sources" in table:
        found = sources.calibrate(columns, known_snr(columns, poisson), table["sources"], LEVELS)
        out |= {name: np.where(objects, value, np.nan) for name, value in found.items()}
        columns, one = {**columns, **found}, objects & (out["p_one"] >= ONE)
    for name, entry in table["quantities"].items():
        for column, value in apply(name, measured(columns, name, poisson), entry).items():
            out[column] = np.where(one if name in SHAPES else objects, value, np.nan)
    return out


def _prepared(name: str, of: Measured, blended: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features [G, K], what the prediction is added to, the samples' relative width, and where all are known.

    Args:
      blended: whether the probability of a second source is among the features.
    """
    good = np.isfinite(of.value) & np.isfinite(of.snr) & (of.snr >= NODES[0]) & (of.brightness > 0)
    if QUANTITIES[name]:
        good &= of.value > 0
    value, snr = np.where(good, of.value, 1.0), np.where(good, of.snr, NODES[0])
    s, x = np.log(snr), 1 / np.where(good, of.brightness, 1.0)
    columns = [np.ones_like(s), s, s**2, x, x**2, s * x]
    if name != "total_flux":  # the flux itself says nothing beyond the two
        level = np.log(value) if QUANTITIES[name] else value
        columns += [level, level * s, level * x]
    if blended and of.second is not None:
        second = np.where(good, of.second, 0.0)
        columns += [second, second * s]
    with np.errstate(invalid="ignore", divide="ignore"):
        width = np.where(good, of.width / value if QUANTITIES[name] else of.width, 0.0)
    return np.stack(columns, axis=1), np.log(value) if QUANTITIES[name] else value, width, good


def _factor(width: np.ndarray, typical: np.ndarray | float) -> np.ndarray:
    """What an object's samples do to its interval: wider ones widen it, within limits."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.where(typical > 0, width / typical, 1.0), *WIDTHS) ** 0.5


def _at_nodes(snr: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    """Quantiles at the nodes: each of the objects nearer to it than to any other, in the logarithm."""
    nearest = np.abs(np.log(snr)[:, None] - np.log(NODES)).argmin(axis=1)
    return np.array([np.quantile(values[nearest == i], level) for i in range(len(NODES))])


def _between(snr: np.ndarray, at_nodes: np.ndarray | list[float]) -> np.ndarray:
    return np.interp(np.log(snr), np.log(NODES), np.asarray(at_nodes))
