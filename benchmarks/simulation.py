"""Speed of the simulator: its Fourier renderer beside GalSim's, on the same scenes and one core, and whole spans.

    python benchmarks/simulation.py render        # seconds per scene of each renderer, and how well they agree
    python benchmarks/simulation.py scale 1000 10000 100000   # time, peak memory and bytes per scene of whole spans
    python benchmarks/simulation.py cost          # milliseconds per scene of each stage, by population
    python benchmarks/simulation.py size          # bytes per scene, by what is stored

Times are processor times, so other work on the machine changes them little. GalSim draws every galaxy with `drawImage`,
with its default accuracy; with a PSF x pixel image made once (which needs a PSF that is the same in every scene: so
here the PSF's scatter is off for all); and so with its accuracy relaxed as far as the agreement allows.
"""

import argparse
import dataclasses
import gzip
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import galsim
import numpy as np

from blendinator.config import SimulationConfig
from blendinator.data.galsim_renderer import GalSimRenderer, galaxy_profile
from blendinator.data.population import POPULATIONS
from blendinator.data.records import encode
from blendinator.data.scene import Simulator
from blendinator.data.simulate import simulate_span
from blendinator.data.sources import Sources
from blendinator.data.tfrecords import frame_record

RELAXED = galsim.GSParams(folding_threshold=2e-2, maxk_threshold=5e-3, kvalue_accuracy=1e-4, xvalue_accuracy=1e-4)


class CachedGalSimRenderer:
    """GalSim with PSF and pixel convolved once into an image: only for a PSF that does not change."""

    def __init__(self, psf, gsparams=None, oversampling=4):
        self._scale, self._gsparams = psf.survey.pixel_scale, gsparams
        effective = galsim.Convolve(psf.galsim(psf.fwhm, 0.0, 0.0), galsim.Pixel(self._scale))
        image = effective.drawImage(scale=self._scale / oversampling, method="no_pixel", nx=256, ny=256)
        self._effective = galsim.InterpolatedImage(image, x_interpolant="lanczos5", gsparams=gsparams)

    def render(self, galaxies, flux, extent, fwhm, g1, g2, stamp_size):
        stamps = np.zeros((len(galaxies), stamp_size, stamp_size), np.float32)
        middle = (stamp_size - 1) / 2.0
        for i in range(len(galaxies)):
            profile = galsim.Convolve(galaxy_profile(galaxies, i, float(flux[i]), self._gsparams), self._effective)
            image = galsim.Image(stamps[i], scale=self._scale)
            centre = image.true_center + galsim.PositionD(galaxies.x[i] - middle, galaxies.y[i] - middle)
            profile.drawImage(image=image, center=centre, method="no_pixel")
        return stamps


def render(scenes: int, repeats: int, population: str) -> list[dict]:
    """Median time per scene of each renderer, and its worst pixel and truth flips against GalSim's default."""
    config = SimulationConfig(psf_range=(1.0, 1.0), psf_ellipticity_scatter=0.0, train_populations={population: 1.0})
    simulator = Simulator(config)
    drawn = [simulator.sample(1, number) for number in range(scenes)]
    renderers = {
        "fourier": Simulator(config)._renderer,
        "galsim": GalSimRenderer(simulator.psf),
        "galsim, cached PSF": CachedGalSimRenderer(simulator.psf),
        "galsim, cached PSF, relaxed": CachedGalSimRenderer(simulator.psf, RELAXED),
    }
    seconds = {name: [] for name in renderers}
    images = {
        name: _render_all(renderer, simulator, drawn[:4]) for name, renderer in renderers.items()
    }  # builds tables
    for _ in range(repeats):  # one after the other, so that a slow spell of the machine meets all
        for name, renderer in renderers.items():
            start = time.process_time()
            images[name] = _render_all(renderer, simulator, drawn)
            seconds[name].append(time.process_time() - start)
    reference, threshold = images["galsim"], config.truth_threshold * simulator.sky_sigma
    out = []
    for name in renderers:
        worst, flips = 0.0, 0
        for a, b in zip(images[name], reference):
            worst = max(worst, float(np.abs(a.sum(axis=0) - b.sum(axis=0)).max(initial=0.0)) / simulator.sky_sigma)
            flips += np.count_nonzero(_classes(a, threshold) != _classes(b, threshold))
        middle = statistics.median(seconds[name])
        out.append(
            {
                "renderer": name,
                "scenes_per_second": scenes / middle,
                "spread": (max(seconds[name]) - min(seconds[name])) / middle,
                "worst_pixel_sigma": worst,
                "truth_flips": flips / (scenes * config.stamp_size**2),
            }
        )
    return out


def _render_all(renderer, simulator, drawn, batch=32):
    size, images = simulator.config.stamp_size, []
    for start in range(0, len(drawn), batch):
        scenes = drawn[start : start + batch]
        counts = [len(scene.sources) for scene in scenes]
        galaxies = Sources.concatenate([scene.sources for scene in scenes])
        psf = [np.repeat([getattr(scene, name) for scene in scenes], counts) for name in ("fwhm", "g1", "g2")]
        extent = np.concatenate([scene.extent for scene in scenes])
        stamps = renderer.render(galaxies, simulator.survey.flux(galaxies.magnitude), extent, *psf, size)
        images += np.split(stamps, np.cumsum(counts)[:-1])
    return images


def _classes(stamps, threshold):
    return np.minimum((stamps > threshold).sum(axis=0), 2)


def span(scenes: int, workers: int) -> dict:
    """Simulates one span in this process and its workers, and measures it."""
    config = SimulationConfig()
    share = config.train_scenes + config.calibration_scenes + config.test_scenes
    counts = {
        f"{split}_scenes": max(1, round(getattr(config, f"{split}_scenes") / share * scenes))
        for split in ("calibration", "test")
    }
    config = dataclasses.replace(config, train_scenes=scenes - sum(counts.values()), **counts)
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        manifest = simulate_span(config, folder, 1, workers=workers)
        seconds = time.time() - start
    return {
        "scenes": scenes,
        "workers": workers,
        "seconds": seconds,
        "processor_seconds": sum(
            resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ),
        "peak_mib_per_process": max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1024,
        "bytes_per_scene": sum(entry["bytes"] for entry in manifest["files"].values()) / scenes,
    }


def cost(scenes: int, population: str, batch: int = 32) -> dict:
    """Milliseconds of processor time per scene of each stage; the first batch, which builds tables, is not counted."""
    simulator = Simulator(SimulationConfig(train_populations={population: 1.0}))
    seconds = dict.fromkeys(("sample", "render", "observe and truth", "encode and compress"), 0.0)
    for start in range(0, scenes + batch, batch):
        times = [time.process_time()]
        drawn = [simulator.sample(1, number) for number in range(start, start + batch)]
        times.append(time.process_time())
        counts = [len(scene.sources) for scene in drawn]
        stamps = simulator._render(drawn, counts)
        times.append(time.process_time())
        records = [
            simulator._record(1, scene, part)
            for scene, part in zip(drawn, np.split(stamps, np.cumsum(counts)[:-1]), strict=True)
        ]
        times.append(time.process_time())
        gzip.compress(b"".join(frame_record(encode(record)) for record in records), 1)
        times.append(time.process_time())
        if start:
            seconds = {name: seconds[name] + later - now for name, now, later in zip(seconds, times, times[1:])}
    return {name: 1e3 * value / scenes for name, value in seconds.items()}


def size(scenes: int) -> dict:
    """Bytes per scene after compression: of each kind of pixels alone, unrounded too, and of whole records."""
    simulator = Simulator(SimulationConfig())
    drawn = [scene for start in range(0, scenes, 32) for scene in simulator.scenes(1, range(start, start + 32))]
    noise = np.random.default_rng(1)
    parts = {
        "image": [scene["image"].astype("<f4").tobytes() for scene in drawn],
        "image, not rounded": [
            (scene["image"] + noise.normal(0.0, 0.05, scene["image"].shape)).astype("<f4").tobytes() for scene in drawn
        ],
        "noise_free": [scene["noise_free"].astype("<f4").tobytes() for scene in drawn],
        "mask": [scene["mask"].astype(np.uint8).tobytes() for scene in drawn],
        "record": [encode(scene) for scene in drawn],
    }
    return {name: len(gzip.compress(b"".join(blocks), 1)) / len(drawn) for name, blocks in parts.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("render")
    draw.add_argument("--scenes", type=int, default=60)
    draw.add_argument("--repeats", type=int, default=3)
    scale = commands.add_parser("scale")
    scale.add_argument("scenes", type=int, nargs="+")
    scale.add_argument("--workers", type=int, default=1)
    one = commands.add_parser("span")  # each size in a process of its own: peak memory only ever rises in one
    one.add_argument("scenes", type=int)
    one.add_argument("workers", type=int)
    commands.add_parser("cost").add_argument("--scenes", type=int, default=320)
    commands.add_parser("size").add_argument("--scenes", type=int, default=512)
    args = parser.parse_args()
    if args.command == "span":
        print(json.dumps(span(args.scenes, args.workers)))
    elif args.command == "cost":
        for name in POPULATIONS:
            stages = cost(args.scenes, name)
            print(f"{name}: {sum(stages.values()):.2f} ms per scene")
            for stage, value in stages.items():
                print(f"  {stage:<20} {value:6.2f}")
    elif args.command == "size":
        for name, count in size(args.scenes).items():
            print(f"{name:<20} {count:8.0f} bytes per scene")
    elif args.command == "scale":
        for scenes in args.scenes:
            subprocess.run([sys.executable, __file__, "span", str(scenes), str(args.workers)], check=True)
    else:
        for name in ("boosted", "natural"):
            rows = render(args.scenes, args.repeats, name)
            best = max(row["scenes_per_second"] for row in rows[1:])
            print(
                f"{name}: fourier is {rows[0]['scenes_per_second'] / best:.1f} times as fast as GalSim's best setting"
            )
            for row in rows:
                print(
                    f"  {row['renderer']:<28} {row['scenes_per_second']:7.1f} scenes/s (spread {row['spread']:.0%}), "
                    f"worst pixel {row['worst_pixel_sigma']:.3f} sigma, flips {row['truth_flips']:.4%}"
                )


if __name__ == "__main__":
    main()
