"""Speed, memory and quality of `blendinator segment` on simulated fields with a pushed model.

    python benchmarks/segment.py speed MODEL [--side 4096] [--samples 16]     Mpx/s, share of the network, limit
    python benchmarks/segment.py tiles MODEL                                  the same by the size of the tiles
    python benchmarks/segment.py memory MODEL [--side 16384] [--samples 16]   peak memory, with catalogue and picture
    python benchmarks/segment.py truth MODEL [--side 4096]                    against the truth; SEP, SExtractor

Each run of the command is a process of its own, as a user would start it; fields are written to a temporary folder
first. SExtractor is used where its program `source-extractor` is installed. `speed` measures the convolution peak by
itself.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from blendinator.config import ClassicalConfig, SimulationConfig
from blendinator.data.field import FieldSimulator, field_header
from blendinator.model import classical
from blendinator.model.field import truth

BLENDINATOR = Path(sys.executable).with_name("blendinator")
SIMULATED = 4096  # largest field that is simulated; larger ones repeat it
VISIBLE = 5  # pixels that a galaxy must own to be counted in `truth`


def write_field(path: Path, side: int, seed: int = 1):
    """Writes a field (electrons, 0.1 arcsec pixels) and returns the simulation; larger fields repeat a smaller one."""
    simulated = FieldSimulator(SimulationConfig()).field(min(side, SIMULATED), seed)
    header = field_header(side, 0.1)
    times = -(-side // len(simulated.image))
    primary = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", side), ("NAXIS2", side)])
    primary.extend(header)
    with fits.StreamingHDU(str(path), primary) as out:
        for _ in range(times):
            for start in range(0, len(simulated.image), 256):
                out.write(np.tile(simulated.image[start : start + 256], (1, times)).astype(">f4"))
    return simulated


def segment(model: str, field: Path, *options) -> tuple[float, float, str]:
    """Runs the command; seconds in all, peak memory in GiB, and what it printed."""
    code = (
        "import resource, subprocess, sys; p = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "print(p.stdout); print(p.stderr, file=sys.stderr);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(p.returncode)"
    )
    start = time.perf_counter()
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            BLENDINATOR,
            "segment",
            field,
            "--model",
            model,
            "--trust-model",
            "--output",
            field.with_name("maps.fits"),
            "--overwrite",
            *map(str, options),
        ],
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise SystemExit(process.stdout + process.stderr)
    *lines, peak = process.stdout.strip().splitlines()
    return time.perf_counter() - start, int(peak) / 1024**2, "\n".join(lines)


def flop_per_pixel(model: str, num_samples: int) -> float:
    """Multiplications and additions of the network's convolutions for one pixel, without margins."""
    # isort: split
    import keras

    from blendinator.config_loader import config_from_dict
    from blendinator.model.network import downsampling
    from blendinator.model.probaunet import ProbaUNet
    from blendinator.model.pushed import find_model

    facts = json.loads((find_model(model) / "assets.extra/blendinator.json").read_text())
    network = ProbaUNet(config_from_dict({"model": facts["config"]["model"]}).model, seed=1)
    total = 0.0
    for part in (network.unet, network.prior_encoder):
        for layer in part.layers if part is not None else ():
            if isinstance(layer, keras.layers.Conv2D):
                digits = "".join(filter(str.isdigit, layer.name.split("_")[0]))
                scale = int(digits or 0) + layer.name.endswith("_reduce")
                total += 2.0 * float(np.prod(layer.kernel.shape)) / 4**scale
    head = sum(float(np.prod(layer.kernel.shape)) for layer in [*network.head.hidden, network.head.to_logits])
    latent = float(np.prod(network.head.from_latent.kernel.shape)) / downsampling(network.config) ** 2
    return total + 2.0 * num_samples * (head + latent)


def speed(options, folder):
    """One field; also the ratio to what the convolution peak allows."""
    write_field(folder / "field.fits", options.side)
    rates = []
    for _ in range(options.repeats):
        seconds, peak, text = segment(
            options.model, folder / "field.fits", "--samples", options.samples, "--tile", options.tile
        )
        print(text.splitlines()[0], f"({seconds:.1f} s with start-up, {peak:.2f} GiB)", flush=True)
        rates.append(float(text.split(" Mpx/s")[0].split()[-1]))
    from network_speed import convolution_peak  # beside this file

    flop, peak = flop_per_pixel(options.model, options.samples), convolution_peak()
    limit = peak * 1e3 / flop
    print(
        f"{flop / 1e3:.1f} kFLOP per pixel, convolution peak {peak:.0f} GFLOP/s: at most {limit:.2f} Mpx/s;"
        f" reached {np.median(rates):.2f}, {np.median(rates) / limit:.0%}"
    )
    pixels = 14000 * (3600 / 0.1) ** 2
    hours = pixels / (np.median(rates) * 1e6) / 3600
    print(f"14,000 deg^2 at 0.1 arcsec: {pixels:.2e} pixels, {hours * os.cpu_count():,.0f} core-hours")


def tiles(options, folder):
    """Speed and memory by the size of the tiles."""
    write_field(folder / "field.fits", options.side)
    for tile in (256, 512, 1024, 2048):
        _, peak, text = segment(options.model, folder / "field.fits", "--samples", options.samples, "--tile", tile)
        print(f"tile {tile}: {text.splitlines()[0]}, {peak:.2f} GiB", flush=True)


def memory(options, folder):
    """Peak memory of a large field with everything switched on."""
    write_field(folder / "field.fits", options.side)
    seconds, peak, text = segment(
        options.model,
        folder / "field.fits",
        "--samples",
        options.samples,
        "--tile",
        options.tile,
        "--catalog",
        folder / "field.ecsv",
        "--preview",
        folder / "field.png",
    )
    print(text, f"\n{seconds:.0f} s with start-up, {peak:.2f} GiB")


def compare_truth(options, folder):
    """Completeness, purity and pairs of the model and of two classical baselines on one field, as JSON."""
    simulated = write_field(folder / "field.fits", options.side, seed=options.seed)
    visible = simulated.pixels >= VISIBLE
    galaxies = simulated.sources.take(visible)
    Table({"x": galaxies.x + 1, "y": galaxies.y + 1, "magnitude": galaxies.magnitude}).write(folder / "truth.ecsv")
    print(
        f"field of {options.side} pixels: {len(galaxies)} visible galaxies; shares of the classes:",
        np.bincount(simulated.mask.ravel(), minlength=3) / simulated.mask.size,
    )
    start = time.perf_counter()
    segment(
        options.model,
        folder / "field.fits",
        "--samples",
        options.samples,
        "--catalog",
        folder / "field.ecsv",
        "--truth",
        folder / "truth.ecsv",
        "--preview",
        folder / "field.png",
    )
    results = {
        "Blendinator": (
            Table.read(folder / "field.ecsv").meta["truth"],
            fits.getdata(folder / "maps.fits", "CLASS"),
            time.perf_counter() - start,
        )
    }
    for name, work in {"SEP": with_sep, "SExtractor": with_sextractor}.items():
        start = time.perf_counter()
        found = work(simulated, folder)
        if found is None:
            print(f"{name} is not installed")
            continue
        segments, ellipses = found
        results[name] = (
            classical_truth(segments, galaxies),
            ellipse_classes(ellipses, simulated.mask.shape),
            time.perf_counter() - start,
        )
    for name, (result, classes, seconds) in results.items():
        scores = [
            np.sum((classes == c) & (simulated.mask == c)) / np.sum((classes == c) | (simulated.mask == c))
            for c in (1, 2)
        ]
        print(f"\n{name}: {seconds:.1f} s; IoU galaxy {scores[0]:.3f}, blended {scores[1]:.3f}")
        print("\n".join(truth.describe(result)), flush=True)
    if options.keep:
        for name in ("field.png", "field.ecsv"):
            shutil.copy(folder / name, options.keep)


def with_sep(simulated, _):
    """Segments and ellipses (x, y, a, b, theta) of SExtractor's library with the settings of the evaluation."""
    if not classical.available():
        return None
    import sep

    sep.set_extract_pixstack(10**7)
    sep.set_sub_object_limit(4096)
    image = np.nan_to_num(np.asarray(simulated.image, np.float64))
    image -= sep.Background(image)
    found, segments = classical.extract(image, simulated.sky_sigma, ClassicalConfig(), segmentation_map=True)
    return segments, np.stack([found[name] for name in ("x", "y", "a", "b", "theta")], axis=1)


def with_sextractor(simulated, folder):
    """The same with the program, its background and the same settings."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    if program is None:
        return None
    settings = ClassicalConfig()
    (folder / "sex.param").write_text("X_IMAGE\nY_IMAGE\nA_IMAGE\nB_IMAGE\nTHETA_IMAGE\n")
    (folder / "sex.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    flags = {
        "CATALOG_NAME": "sex.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": "sex.param",
        "FILTER_NAME": "sex.conv",
        "DETECT_THRESH": settings.threshold,
        "DETECT_MINAREA": settings.min_area,
        "DEBLEND_NTHRESH": settings.deblend_levels,
        "DEBLEND_MINCONT": settings.deblend_contrast,
        "CLEAN": "N",
        "CHECKIMAGE_TYPE": "SEGMENTATION",
        "CHECKIMAGE_NAME": "seg.fits",
        "VERBOSE_TYPE": "QUIET",
        "MEMORY_PIXSTACK": 3000000,
        "MEMORY_OBJSTACK": 30000,
    }
    command = [program, "field.fits", "-c", "/dev/null"]
    for key, value in flags.items():
        command += [f"-{key}", str(value)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    table = Table.read(folder / "sex.fits")
    ellipses = [
        table["X_IMAGE"] - 1,
        table["Y_IMAGE"] - 1,
        table["A_IMAGE"],
        table["B_IMAGE"],
        np.radians(table["THETA_IMAGE"]),
    ]
    return fits.getdata(folder / "seg.fits"), np.stack(ellipses, axis=1)


def classical_truth(segments, galaxies):
    """`truth.compare` for a segmentation map with a number for each deblended object."""
    xy = np.stack((galaxies.x, galaxies.y), axis=1)
    inside = ((xy > -0.5) & (xy < np.array(segments.shape[::-1]) - 0.5)).all(axis=1)
    column, row = np.rint(np.where(inside[:, None], xy, 0)).astype(int).T
    count = int(segments.max())
    columns = {
        "kind": np.full(count, "object"),
        "p_blend": np.zeros(count),
        "footprint": np.bincount(segments.ravel(), minlength=count + 1)[1:],
    }
    return truth.compare(columns, segments[row, column].astype(int) - 1, xy, galaxies.magnitude, segments.shape, 0.1)


def ellipse_classes(ellipses, shape):
    """Number of ellipses that each pixel lies in, at most 2, as in `blendinator.model.classical`."""
    scale, count = ClassicalConfig().ellipse_scale, np.zeros(shape, np.uint8)
    for x, y, a, b, theta in ellipses:
        a, b = (max(scale * axis, 0.5) for axis in (a, b))
        left, top = (max(int(center - a) - 1, 0) for center in (x, y))
        rows, columns = np.mgrid[top : min(int(y + a) + 2, shape[0]), left : min(int(x + a) + 2, shape[1])]
        along = (columns - x) * np.cos(theta) + (rows - y) * np.sin(theta)
        across = (rows - y) * np.cos(theta) - (columns - x) * np.sin(theta)
        count[top : top + len(rows), left : left + rows.shape[1]] += (along / a) ** 2 + (across / b) ** 2 <= 1
    return np.minimum(count, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "tiles", "memory", "truth"))
    parser.add_argument("model", help="folder of a pushed version")
    parser.add_argument("--side", type=int, help="pixels; 4096, for memory 16384")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the simulated field, for truth")
    parser.add_argument("--keep", help="folder for truth's picture and catalogue")
    options = parser.parse_args()
    options.side = options.side or (16384 if options.what == "memory" else 4096)
    options.model = os.path.abspath(options.model)
    work = {"speed": speed, "tiles": tiles, "memory": memory, "truth": compare_truth}[options.what]
    with tempfile.TemporaryDirectory() as folder:
        work(options, Path(folder))


if __name__ == "__main__":
    main()
