"""Stars and galaxies by the catalogue's half-light radius: completeness and purity, for docs/segmentation.md.

    python benchmarks/point_sources.py

Stars are simulated at DENSER times their density, so that there are enough, and count 1 / DENSER in the purity. The
limit is chosen on the fields of --seeds, and judged on those of --check.
"""

import argparse
import dataclasses
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack

from blendinator import Segmenter
from blendinator.config import SimulationConfig
from blendinator.data.field import FieldSimulator, field_header
from blendinator.data.sources import STAR
from blendinator.model.field import run
from blendinator.model.field.outputs import Outputs

DENSER = 8.0
EDGES = (19.0, 20.0, 21.0, 22.0, 23.0, 24.0)
WANTED = 0.95  # share of the stars below the limit, where it is chosen
BRIGHT = (19.0, 21.0)  # of the stars that give the radius of a point


def measure(segmenter: Segmenter, side: int, seed: int, num_samples: int) -> Table:
    """Objects of a simulated field with `is_star` and `true_magnitude` of their brightest source."""
    settings = SimulationConfig()
    settings = dataclasses.replace(settings, stars=dataclasses.replace(settings.stars, density_scale=DENSER))
    simulator = FieldSimulator(settings)
    sky = simulator.field(side, seed)
    with tempfile.TemporaryDirectory() as folder:
        path, outputs = Path(folder) / "field.fits", Outputs(Path(folder) / "m.fits", Path(folder) / "o.ecsv")
        fits.writeto(path, sky.image, field_header(side, simulator.survey.pixel_scale))
        run.run(segmenter, path, outputs, num_samples=num_samples)
        labels, found = fits.getdata(outputs.maps, "LABELS"), Table.read(outputs.catalogue)
    found = found[found["kind"] == "object"]
    x, y = np.rint(sky.sources.x).astype(int), np.rint(sky.sources.y).astype(int)
    inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < side) & (y < side))
    brightest: dict[int, int] = {}
    for source in inside[np.argsort(-sky.sources.magnitude[inside])]:  # the brightest comes last, and stays
        brightest[int(labels[y[source], x[source]])] = int(source)
    kept = [i for i, number in enumerate(found["id"]) if int(number) in brightest and not found["flags"][i]]
    out, sources = found[kept], [brightest[int(found["id"][i])] for i in kept]
    out["is_star"] = sky.sources.kind[sources] == STAR
    out["true_magnitude"] = sky.sources.magnitude[sources]
    return out


def relative_radius(found: Table) -> np.ndarray:
    """Half-light radii over the median one of the field's stars of 19 to 21 mag, as Gaia would name them; NaN: none."""
    radius = np.ma.filled(np.ma.asarray(found["half_light_radius"], float), np.nan)
    bright = found["is_star"] & (found["true_magnitude"] >= BRIGHT[0]) & (found["true_magnitude"] < BRIGHT[1])
    return radius / np.nanmedian(radius[bright])


def rows(found: Table, limit: float) -> list[str]:
    """Per magnitude: stars and galaxies below the limit, and the purity at the sky's density of stars."""
    point, star = np.asarray(found["relative_radius"]) < limit, np.asarray(found["is_star"])
    lines = []
    for low, high in pairwise(EDGES):
        chosen = np.asarray((found["true_magnitude"] >= low) & (found["true_magnitude"] < high))
        right, wrong = np.sum(point & chosen & star), np.sum(point & chosen & ~star)
        purity = right / DENSER / max(right / DENSER + wrong, 1e-9)
        stars, galaxies = np.sum(chosen & star), np.sum(chosen & ~star)
        lines.append(f"| {low:g}–{high:g} | {right} of {stars} | {wrong} of {galaxies} | {purity:.2f} |")
    return lines


def main() -> None:
    """Prints the limit and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52])
    parser.add_argument("--check", type=int, nargs="+", default=[53, 54, 55, 56])
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--samples", type=int, default=16)
    given = parser.parse_args()
    segmenter, fields = Segmenter.load(), []
    for seeds in (given.seeds, given.check):
        tables = [measure(segmenter, given.side, seed, given.samples) for seed in seeds]
        for one in tables:
            one["relative_radius"] = relative_radius(one)
        fields.append(vstack(tables, metadata_conflicts="silent"))
    faint = fields[0]["is_star"] & (fields[0]["true_magnitude"] >= EDGES[0]) & (fields[0]["true_magnitude"] < EDGES[-1])
    limit = float(np.nanquantile(fields[0]["relative_radius"][faint], WANTED))
    print(f"limit {limit:.3f} of the radius of the field's bright stars")
    print("\n".join(rows(fields[1], limit)))


if __name__ == "__main__":
    main()
