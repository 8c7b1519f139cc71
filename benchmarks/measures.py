"""Fluxes and shapes of objects against the truth of simulated fields: fits the table of intervals, checks coverage.

    python benchmarks/measures.py measure SEED... [--side 2048] [--samples 32] --folder WORK     one file per field
    python benchmarks/measures.py fit SEED... --folder WORK --output blendinator/released/measures.json
    python benchmarks/measures.py check SEED... --folder WORK --table blendinator/released/measures.json

`measure` simulates a field at natural density, segments it with the released model, and keeps what the samples say of
each object and what is true of it; `check` is for other fields than `fit`. The true total flux is that of all sources
that own a pixel and have their center in the object's region. The true shapes are those of the brightest of them alone,
without noise and with the PSF: the half-light radius of all its light, ellipticity and concentration within the pixels
that it owns.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from blendinator.config import SimulationConfig
from blendinator.data.field import FieldSimulator, field_header
from blendinator.model import released
from blendinator.model.field import calibrated, catalogue
from blendinator.model.field.measures import QUANTILES, measure, radius

BRIGHT = 18.0  # magnitude: the brighter are saturated
VISIBLE = 5  # pixels that a source must own to count as one of an object's
MAGNITUDES = (18, 22, 23, 24, 25, 26, 27)
MATCH, MIN_KRON = 3.0, 3.5  # pixels: SEP's detection lies as near; its smallest Kron ellipse
HEAD = "\n| {} | objects | median error | 68 % half-width | in 68 % | in 95 % |\n|---|---|---|---|---|---|"
TRUTH = ("total", "half_light_radius", "ellipticity", "concentration")


class TruthSimulator(FieldSimulator):
    """Keeps what is true of each source, by its magnitude, which tells sources apart."""

    def __init__(self, config):
        super().__init__(config)
        self.truth: dict[float, tuple] = {}

    def render(self, sources, extent, psf, optics, size):
        """See `Simulator.render`."""
        stamps = super().render(sources, extent, psf, optics, size)
        y, x = np.mgrid[:size, :size]
        for i, stamp in enumerate(stamps):
            own = stamp > self.sky_sigma * self.config.truth_threshold
            if own.any():
                center = float(sources.x[i]), float(sources.y[i])
                total = float(stamp.sum(dtype=float))
                order = np.argsort(np.hypot(x - center[0], y - center[1]).ravel(), kind="stable")
                half = radius(np.cumsum(stamp.ravel()[order], dtype=float)[None], np.array([total / 2]))[0]
                light, at = stamp[own].astype(float), (x[own].astype(float), y[own].astype(float))
                shape = measure(light, *at, np.ones((1, len(light)), np.uint8), center)
                values = total, half, shape["ellipticity"][0], shape["concentration"][0]
                self.truth[float(sources.magnitude[i])] = values
        return stamps


def measure_field(seed, options):
    """One field: columns of its objects, and their truth."""
    from astropy.io import fits

    from blendinator.model.client import Segmenter
    from blendinator.model.field.reading import open_field
    from blendinator.model.field.segment import segment

    simulator = TruthSimulator(SimulationConfig())
    simulated = simulator.field(options.side, seed)
    path = options.folder / f"field-{seed}.fits"
    fits.writeto(path, simulated.image, field_header(options.side, simulator.survey.pixel_scale), overwrite=True)
    segmenter = Segmenter.load()
    field = open_field(path, segmenter.survey, segmenter.facts["stamp_size"])
    settings, labels = catalogue.Settings(), np.zeros((options.side, options.side), np.int64)

    def keep(top, part):
        labels[top : top + len(part)] = part

    cataloguer = catalogue.Cataloguer(field.shape, options.samples, settings, field.sigma_rows, labels=keep)
    segment(segmenter, field, [cataloguer], options.samples, 1)
    columns, _ = cataloguer.finish()
    path.unlink()
    distance, nearest = ndimage.distance_transform_edt(cataloguer.ids[labels] == 0, return_indices=True)
    region = np.where(distance <= settings.reach, cataloguer.ids[labels][tuple(nearest)], 0)
    objects = columns["kind"] == "object"
    out = {name: value[objects] for name, value in columns.items() if value.dtype.kind in "fi"}
    out.update(_truth(simulator, simulated, region, out["id"]))
    out.update(sep_fluxes(simulated, out["true_x"], out["true_y"]))
    np.savez_compressed(options.folder / f"measured-{seed}.npz", **out)
    print(f"field {seed}: {len(out['id'])} objects", flush=True)


def _truth(simulator, simulated, region, ids):
    sources, side = simulated.sources, len(region)
    x, y = np.rint(sources.x).astype(int), np.rint(sources.y).astype(int)
    inside = (np.minimum(x, y) >= 0) & (np.maximum(x, y) < side) & (simulated.pixels > 0)
    out = {f"true_{name}": np.full(len(ids), np.nan) for name in TRUTH}
    out |= {"true_sources": np.zeros(len(ids), int), "true_magnitude": np.full(len(ids), np.inf)}
    out |= {name: np.full(len(ids), np.nan) for name in ("true_x", "true_y")}
    total = np.zeros(len(ids))
    for source in np.flatnonzero(inside):
        row = region[y[source], x[source]] - 1
        if row < 0:
            continue
        values = simulator.truth[float(sources.magnitude[source])]
        total[row] += values[0]
        out["true_sources"][row] += simulated.pixels[source] >= VISIBLE
        if sources.magnitude[source] < out["true_magnitude"][row]:
            out["true_magnitude"][row] = sources.magnitude[source]
            out["true_x"][row], out["true_y"][row] = sources.x[source], sources.y[source]
            for name, value in zip(TRUTH[1:], values[1:]):
                out[f"true_{name}"][row] = value
    out["true_total"] = np.where(total > 0, total, np.nan)
    light = np.where(simulated.mask > 0, simulated.noise_free, 0.0)
    owned = np.bincount(region.ravel(), light.ravel(), len(ids) + 1)[1:]
    blended = np.bincount(region.ravel(), np.where(simulated.mask == 2, light, 0.0).ravel(), len(ids) + 1)[1:]
    out["true_blended_flux_fraction"] = np.where(owned > 0, blended / np.maximum(owned, 1e-9), np.nan)
    return out


def sep_fluxes(simulated, x, y):
    """SExtractor's FLUX_AUTO and its error, of the detection nearest to each place; NaN where none is near."""
    import sep

    from blendinator.config import ClassicalConfig
    from blendinator.model import classical

    data = np.nan_to_num(np.asarray(simulated.image, np.float64))
    sep.set_extract_pixstack(10**7)
    data -= sep.Background(data)
    found = classical.extract(data, simulated.sky_sigma, ClassicalConfig())
    found = found[np.isfinite(found["theta"]) & (found["b"] > 0)]  # others, such as bad columns, have no ellipse
    shape = [found[name] for name in ("x", "y", "a", "b", "theta")]
    shape[-1] = np.clip(shape[-1], -np.pi / 2, np.pi / 2)  # float32 rounds the ends outwards
    kron, _ = sep.kron_radius(data, *shape, 6.0)
    scale = np.where(np.isfinite(kron) & (kron > 0), 2.5 * kron, 0)
    scale = np.maximum(scale, MIN_KRON / np.sqrt(found["a"] * found["b"]))
    flux, error, _ = sep.sum_ellipse(data, *shape, scale, err=simulated.sky_sigma, gain=1.0, subpix=5)
    distance, nearest = cKDTree(np.stack(shape[:2], axis=1)).query(np.nan_to_num(np.stack((x, y), axis=1), nan=-99.0))
    near = distance < MATCH
    return {"sep_flux": np.where(near, flux[nearest], np.nan), "sep_error": np.where(near, error[nearest], np.nan)}


def read(seeds, folder):
    """The objects of several fields that touch no edge, hold a source, and are not saturated."""
    parts = [dict(np.load(folder / f"measured-{seed}.npz")) for seed in seeds]
    names = set.intersection(*(set(part) for part in parts))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in names}
    good = (rows["flags"] == 0) & (rows["true_sources"] > 0) & (rows["true_magnitude"] > BRIGHT)
    return {"kind": np.full(good.sum(), "object"), **{name: value[good] for name, value in rows.items()}}


def fit(rows, seeds, output):
    """Writes the table."""
    quantities = {}
    for name in calibrated.QUANTITIES:
        chosen = rows["p_blend"] < calibrated.BLEND if name in calibrated.SHAPES else np.ones(len(rows["id"]), bool)
        part = {key: value[chosen] for key, value in rows.items()}
        truth = part["true_total" if name == "total_flux" else f"true_{name}"]
        quantities[name] = calibrated.fit(name, calibrated.measured(part, name), truth)
    table = {
        "format": calibrated.FORMAT,
        "model": (released.card() or {}).get("name", ""),
        "survey": SimulationConfig().survey,
        "fields": [int(seed) for seed in seeds],
        "quantities": quantities,
    }
    output.write_text(json.dumps(_rounded(table), indent=1) + "\n")
    print(f"{output}: {len(rows['id'])} objects")


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def check(rows, table):
    """Prints bias and coverage by magnitude, by number of sources and of separations, as Markdown."""
    found = calibrated.calibrate(rows, table)
    found.update({name: rows[name] for name in rows if name.startswith("blended_flux_fraction")})
    brightness = rows["true_magnitude"]
    groups = {f"{low}–{high}": (brightness >= low) & (brightness < high) for low, high in pairwise(MAGNITUDES)}
    groups |= {"one source": rows["true_sources"] == 1, "two or more": rows["true_sources"] > 1}
    groups |= {"P(blend) ≥ 0.5": rows["p_blend"] >= 0.5, "all": np.ones(len(brightness), bool)}
    for name in [*calibrated.QUANTITIES, "blended_flux_fraction"]:
        truth = rows["true_total" if name == "total_flux" else f"true_{name}"]
        relative = calibrated.QUANTITIES.get(name, False)
        print(HEAD.format(name))
        for label, group in groups.items():
            known = group & np.isfinite(truth) & np.isfinite(found[name])
            if known.sum() < 10:
                continue
            value, true = found[name][known], truth[known]
            error = value / true - 1 if relative else value - true
            ends = {end: found[f"{name}{end}"][known] for end in QUANTILES}
            width = (ends["_hi68"] - ends["_lo68"]) / 2 / (value if relative else 1)
            shares = [np.mean((true >= ends[f"_lo{k}"] - 1e-9) & (true <= ends[f"_hi{k}"] + 1e-9)) for k in (68, 95)]
            print(
                f"| {label} | {known.sum()} | {np.median(error):+.3f} | {np.median(width):.3f} | {shares[0]:.2f} |"
                f" {shares[1]:.2f} |"
            )
    if "sep_flux" in rows:
        _check_sep(rows, groups)


def _check_sep(rows, groups):
    """The same for SEP's Kron fluxes, whose intervals are one and two of its errors; of the objects that it has."""
    flux, error, truth = rows["sep_flux"], rows["sep_error"], rows["true_total"]
    print(HEAD.format("FLUX_AUTO of SEP"))
    for label, group in groups.items():
        known = group & np.isfinite(flux) & np.isfinite(truth) & (flux > 0)
        if known.sum() >= 10:
            off = np.abs(flux - truth)[known]
            print(
                f"| {label} | {known.sum()} | {np.median((flux / truth)[known]) - 1:+.3f} |"
                f" {np.median((error / flux)[known]):.3f} | {np.mean(off < error[known]):.2f} |"
                f" {np.mean(off < 1.96 * error[known]):.2f} |"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "fit", "check"))
    parser.add_argument("seeds", type=int, nargs="+", help="of the fields")
    parser.add_argument("--side", type=int, default=2048, help="pixels")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--folder", type=Path, required=True, help="for the measured fields")
    parser.add_argument("--output", type=Path, help="fit: the table")
    parser.add_argument("--table", type=Path, help="check: the table")
    options = parser.parse_args()
    if options.what == "measure":
        for seed in options.seeds:
            measure_field(seed, options)
    elif options.what == "fit":
        fit(read(options.seeds, options.folder), options.seeds, options.output)
    else:
        check(read(options.seeds, options.folder), calibrated.load(options.table))


if __name__ == "__main__":
    main()
