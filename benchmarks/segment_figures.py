"""The pictures of docs/segmentation.md: a simulated field and the Hubble deep field that scikit-image ships.

    python benchmarks/segment_figures.py MODEL [--hubble hubble_deep_field.jpg]

The JPEG is part of the scikit-image package: skimage/data/hubble_deep_field.jpg. Its noise is correlated (it was
resampled, and JPEG blocks), which the model does not know; white noise of `ADDED` times its own is put on top, and the
sum is scaled to the noise of the training.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from blendinator.config import SimulationConfig
from blendinator.data.field import FieldSimulator
from blendinator.model.client import Segmenter
from blendinator.model.field import run as runs
from blendinator.model.field.background import measure

DOCS = Path(__file__).resolve().parents[1] / "docs" / "images"
SIDE, WIDTH = 1024, 900  # pixels of the simulated field and of the pictures
ADDED = 2.0


def picture(segmenter, image, name: str, title: str, folder: Path, **options):
    """Segments an image and writes its preview to docs/images, in 256 colours."""
    from PIL import Image

    fits.writeto(folder / title, image.astype(np.float32), fits.Header({"BUNIT": "electron"}))
    outputs = runs.Outputs(folder / f"{name}.fits", folder / f"{name}.ecsv", folder / f"{name}.png")
    result = runs.run(segmenter, folder / title, outputs, **options)
    print(title, result.rows, result.warnings)
    page = Image.open(io.BytesIO((folder / f"{name}.png").read_bytes())).convert("RGB")
    page = page.resize((WIDTH, round(page.height * WIDTH / page.width)), Image.LANCZOS)
    page.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(DOCS / f"{name}.png", optimize=True)
    print(name, (DOCS / f"{name}.png").stat().st_size // 1000, "kB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a pushed version")
    parser.add_argument("--hubble", help="hubble_deep_field.jpg of scikit-image")
    options = parser.parse_args()
    segmenter = Segmenter.load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        simulated = FieldSimulator(SimulationConfig()).field(SIDE, 1)
        picture(segmenter, simulated.image, "segment-simulated", "simulated field", Path(folder))
        if options.hubble:
            from PIL import Image

            grey = np.asarray(Image.open(options.hubble).convert("RGB"), np.float32).mean(axis=-1)[::-1]
            sigma = measure(lambda start, stop: grey[start:stop], grey.shape, 128).sky_sigma
            grey = grey + ADDED * sigma * np.random.default_rng(1).standard_normal(grey.shape, np.float32)
            picture(segmenter, grey, "segment-hubble", "Hubble deep field (JPEG)", Path(folder), match_noise=True)


if __name__ == "__main__":
    main()
