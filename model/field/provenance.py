"""What the results of a segmentation say of how they were made."""

from blendinator.escape import printable
from blendinator.model.client import Segmenter
from blendinator.model.field.reading import Field


def cards(segmenter: Segmenter, field: Field, num_samples: int, seed: int) -> list[tuple]:
    """What the results say of how they were made: (keyword, value, comment), for a FITS header."""
    import astropy
    import numpy
    import tensorflow as tf

    survey = segmenter.survey or {}
    found = [
        ("ORIGIN", "Blendinator", "probabilistic segmentation of blended galaxies"),
        ("MODEL", segmenter.path.name, "version of the model"),
        ("MODELKEY", segmenter.key, "what the model was trained from"),
        ("SURVEY", survey.get("name", ""), "that the model was trained for"),
        ("POPULATN", segmenter.population, "whose odds the probabilities have"),
        ("NSAMPLES", num_samples, "draws behind the maps"),
        ("SEED", seed, "of the draws"),
        ("TILE", segmenter.tile, "pixels per side of a tile's core"),
        ("HALO", segmenter.halo, "pixels of context around a tile"),
        ("EPERUNIT", field.conversion.factor, "electrons per unit of the image"),
        ("SKYSIGMA", field.sky_sigma, "measured sky noise, electrons per pixel"),
        ("NOISESCL", field.noise_scale, "factor on the electrons for the network"),
        ("TFVER", tf.__version__, "TensorFlow"),
        ("NPVER", numpy.__version__, "NumPy"),
        ("APVER", astropy.__version__, "astropy"),
    ]
    if survey:
        found.append(("TRAINSIG", survey["sky_sigma"], "sky noise of the training, electrons per pixel"))
    return found


def history(field: Field, command: str) -> list[str]:
    """The same in lines of text: the command, the conversion, background, noise, and warnings."""
    lines = [
        *([command] if command else []),
        f"field: {field.image.name}",
        f"electrons: {field.conversion.text}",
    ]
    lines.append(
        f"background: mesh of {field.sky.box} pixels, clipped mode, 3 x 3 median, linear between"
        if field.subtract and field.sky is not None
        else "background: not subtracted"
    )
    if field.weight is not None:
        lines.append(f"noise: scaled per pixel to the training's by {field.weight.name} ({field.weight_type})")
    elif field.noise_scale != 1.0:
        lines.append("noise: the whole field scaled to the training's")
    return [printable(line) for line in (*lines, *(f"warning: {text}" for text in field.warnings))]
