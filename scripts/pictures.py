"""Makes the pictures of README.md and docs/ again with the released model and the defaults: `make pictures`.

    python scripts/pictures.py [NAME ...]     gallery segment hubble simulations; by default all
        --hubble hubble_deep_field.jpg        of the scikit-image package (skimage/data); without it, hubble is left out
        --folder docs/images

The noise of the Hubble JPEG is correlated (it was resampled, and JPEG blocks); white noise of `ADDED` times its own is
put on top, and the sum is scaled to the noise of the training.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import simulation_figures
from astropy.io import fits
from PIL import Image

from blendinator.config import SimulationConfig
from blendinator.data.field import FieldSimulator
from blendinator.data.records import first_band
from blendinator.data.scene import Simulator
from blendinator.model import gallery
from blendinator.model.client import Segmenter
from blendinator.model.field import run as runs
from blendinator.model.field.background import measure
from blendinator.model.metrics.scenes import scene_statistics
from blendinator.stack import load_tensorflow_quietly

DOCS = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 1100  # pixels of a picture, at most
FIELD = 1024  # pixels per side of the simulated field
SCENES = 60  # scenes of each population from which the gallery's are taken
PLACES = {"boosted": (0.1, 0.5, 0.9), "natural": (0.5,)}  # of those, by their error: 0 the best, 1 the worst
BLENDED, OWNED, FULL = 12, 100, 0.7  # least truly blended pixels of a boosted scene, and of any source; largest share
SPAN = 900  # of the gallery's scenes: a number that no run is likely to train on
ADDED = 2.0


def shrink(path: Path) -> None:
    """Brings a PNG to at most WIDTH pixels and 256 colours."""
    page = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    if page.width > WIDTH:
        page = page.resize((WIDTH, round(page.height * WIDTH / page.width)), Image.Resampling.LANCZOS)
    page.quantize(256, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {page.width} x {page.height}, {path.stat().st_size // 1000} kB")


def save_gallery(path: Path) -> None:
    """A few scenes that hold something and some sky, from well to badly segmented, at their populations' odds."""
    rows = []
    for population, places in PLACES.items():
        segmenter = Segmenter.load(population=population)
        config = SimulationConfig(train_populations={population: 1.0})
        found = []
        for number, scene in enumerate(Simulator(config).scenes(SPAN, range(SCENES))):
            blended, owned = (scene["mask"] == 2).sum(), (scene["mask"] > 0).sum()
            if owned < OWNED or owned > FULL * scene["mask"].size or (population == "boosted" and blended < BLENDED):
                continue
            maps = segmenter.sample(scene["image"], num_samples=16, seed=1)
            arrays = (np.asarray(one)[None] for one in (scene["mask"], maps.samples, maps.probabilities))
            error = scene_statistics(*arrays, np.array([str(number)]))["distance_truth_map"][0]
            title = f"{population} {number}"
            drawn = {"samples": maps.samples, "probabilities": maps.probabilities, "title": title}
            drawn["image"], _ = first_band(scene)
            found.append((error, number, {**scene, **drawn}))
        found.sort(key=lambda one: one[:2])
        rows += [found[round(place * (len(found) - 1))][2] for place in places]
    path.write_bytes(gallery.page(rows, scale=2))


def save_previews(segmenter: Segmenter, image: np.ndarray, title: str, options: dict, **pages: Path) -> None:
    """Segments an image with `reading.open_field`'s options, and writes its `preview` and page of `cutouts`."""
    with tempfile.TemporaryDirectory() as folder:
        fits.writeto(Path(folder) / title, image.astype(np.float32), fits.Header({"BUNIT": "electron"}))
        outputs = runs.Outputs(Path(folder) / "maps.fits", Path(folder) / "objects.ecsv", overwrite=True, **pages)
        result = runs.run(segmenter, Path(folder) / title, outputs, **options)
        print(title, result.rows, *result.warnings)


def save_hubble(segmenter: Segmenter, jpeg: Path, path: Path) -> None:
    """The Hubble deep field, grey, with white noise."""
    grey = np.asarray(Image.open(jpeg).convert("RGB"), np.float32).mean(axis=-1)[::-1]
    sigma = measure(lambda start, stop: grey[start:stop], grey.shape, 128).sky_sigma
    grey = grey + ADDED * sigma * np.random.default_rng(1).standard_normal(grey.shape, np.float32)
    save_previews(segmenter, grey, "Hubble deep field (JPEG)", {"match_noise": True}, preview=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("gallery", "segment", "hubble", "simulations")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--hubble", type=Path)
    parser.add_argument("--folder", type=Path, default=DOCS)
    options = parser.parse_args()
    wanted = options.names or [name for name in names if name != "hubble" or options.hubble]
    if unknown := set(wanted) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: not a picture; allowed: {', '.join(names)}")
    if "hubble" in wanted and not options.hubble:
        parser.error("hubble needs --hubble hubble_deep_field.jpg")
    load_tensorflow_quietly()
    folder, segmenter = options.folder, Segmenter.load()
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    if "gallery" in wanted:
        made.append("gallery.png")
        save_gallery(folder / "gallery.png")
    if "segment" in wanted:
        made += ["segment-simulated.png", "segment-cutouts.png"]
        image = FieldSimulator(SimulationConfig()).field(FIELD, 1).image
        preview, cutouts = (folder / name for name in made[-2:])
        save_previews(segmenter, image, "field.fits", {"num_samples": 64}, preview=preview, cutouts=cutouts)
    if "hubble" in wanted:
        made.append("segment-hubble.png")
        save_hubble(segmenter, options.hubble, folder / "segment-hubble.png")
    if "simulations" in wanted:
        made += simulation_figures.save_all(folder)
    for name in made:
        shrink(folder / name)


if __name__ == "__main__":
    main()
