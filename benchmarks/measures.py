"""Fluxes and shapes of objects against the truth of simulated fields: fits the table of intervals, checks coverage.

    python benchmarks/measures.py measure SEED... [--side 2048] [--samples 32] --folder WORK     one file per field
    python benchmarks/measures.py fit SEED... --folder WORK --output blendinator/released/measures.json
    python benchmarks/measures.py check SEED... --folder WORK --table blendinator/released/measures.json

`measure` simulates a field at natural density, segments it with the released model, and keeps what the samples say of
each object and what is true of it; `check` is for other fields than `fit`. SEP's fluxes stand beside it, and those of
photutils where it is installed. A source owns the pixels in which its light exceeds the sky noise. The true total flux
is that of all sources that own a pixel and have their center in the object's region. The number of sources counts those
of them that own at least `measures_truth.VISIBLE` pixels, and the blendedness is the share of these sources' total flux
that is not the brightest one's. The true shapes are those of the brightest source alone, without noise and with the
PSF: the half-light radius of all its light, ellipticity and concentration within the pixels that it owns.
"""

import argparse
import json
from pathlib import Path

import measures_baselines  # these three beside this file
import measures_table
import measures_truth
import numpy as np
from scipy import ndimage

from blendinator.config import SimulationConfig
from blendinator.data.field import field_header
from blendinator.model import released
from blendinator.model.field import calibrated, catalogue, sources

BRIGHT = 18.0  # magnitude: the brighter are saturated


def measure_field(seed, options):
    """One field: columns of its objects, and their truth."""
    from astropy.io import fits

    from blendinator.model.client import Segmenter
    from blendinator.model.field.reading import open_field
    from blendinator.model.field.segment import segment

    simulator = measures_truth.TruthSimulator(SimulationConfig())
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
    out.update(measures_truth.of_objects(simulator, simulated, region, len(out["id"])))
    out.update(measures_baselines.fluxes(simulated, region, len(out["id"])))
    np.savez_compressed(options.folder / f"measured-{seed}.npz", **out)
    print(f"field {seed}: {len(out['id'])} objects", flush=True)


def read(seeds, folder):
    """The objects of several fields that touch no edge and are not saturated."""
    parts = [dict(np.load(folder / f"measured-{seed}.npz")) for seed in seeds]
    names = set.intersection(*(set(part) for part in parts))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in names}
    good = (rows["flags"] == 0) & (rows["true_magnitude"] > BRIGHT)
    return {"kind": np.full(good.sum(), "object"), **{name: value[good] for name, value in rows.items()}}


def fit(rows, seeds, output):
    """Writes the table: first the sources of each object, since the shapes are those of objects with one."""
    snr = calibrated.known_snr(rows)
    held, number = rows["true_sources"] > 0, rows["true_sources"]
    entry = sources.fit(rows, snr, number, rows["true_blendedness"])
    rows = {**rows, **sources.calibrate(rows, snr, entry, {})}
    one = held & (rows["p_one"] >= calibrated.ONE)
    quantities = {}
    for name in calibrated.QUANTITIES:
        part = {key: value[one if name in calibrated.SHAPES else held] for key, value in rows.items()}
        truth = part["true_total" if name == "total_flux" else f"true_{name}"]
        quantities[name] = calibrated.fit(name, calibrated.measured(part, name), truth)
    table = {
        "format": calibrated.FORMAT,
        "model": (released.card() or {}).get("name", ""),
        "survey": SimulationConfig().survey,
        "fields": [int(seed) for seed in seeds],
        "sources": entry,
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
        measures_table.check(read(options.seeds, options.folder), calibrated.load(options.table))


if __name__ == "__main__":
    main()
