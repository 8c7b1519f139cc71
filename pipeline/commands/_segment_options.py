"""Options of `blendinator segment` by what they are about; each group is one decorator."""

from pathlib import Path

import click

from blendinator.pipeline.commands._options import group, write_samples_option

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


reading_options = group(
    click.option("--hdu", help="Number, NAME or NAME,VERSION of the HDU; by default the first image. Or FIELD[HDU]."),
    click.option(
        "--unit",
        help="Of the pixels, if BUNIT is missing or wrong: electron, electron/s, adu, adu/s, Jy, uJy, nJy, ...; with"
        " --match-noise or --weight also unknown.",
    ),
    click.option("--gain", type=float, help="Electrons per count; by default the header's."),
    click.option("--exposure-time", type=float, help="Seconds; by default the header's."),
    click.option(
        "--zero-point", type=float, help="AB magnitude of one unit of the image: brings it to the survey's fluxes."
    ),
    click.option("--no-background", is_flag=True, help="The sky is subtracted already."),
    click.option(
        "--background-box",
        type=click.IntRange(16, 4096),
        default=128,
        show_default=True,
        help="Pixels per side of the background's mesh.",
    ),
    click.option(
        "--no-data",
        type=float,
        multiple=True,
        help="A value that stands for no data; by default values that fill much of the image are found (nan: none is).",
    ),
    click.option(
        "--weight",
        type=FILE,
        help="Map of the noise, FILE or FILE[HDU]: scales every pixel to the training's. With many images {name} and"
        " {folder} in it, as in --mask and --truth, stand for those of the image.",
    ),
    click.option("--weight-hdu", help="Its HDU; by default one that is named like such a map, or the first image."),
    click.option(
        "--weight-type",
        type=click.Choice(["rms", "variance", "weight"]),
        default="rms",
        show_default=True,
        help="What it holds; weight is 1 / variance. In the image's unit.",
    ),
    click.option("--mask", type=FILE, help="An image that is not 0 where there is no data: FILE or FILE[HDU]."),
    click.option("--mask-hdu", help="Its HDU; by default one that is named like a mask, or the first image."),
    click.option(
        "--mask-bits",
        help="Bits of the mask that mean no data, by number from 0 or by name from its header's MP_ keywords: 0,3,SAT."
        "  [default: all]",
    ),
    click.option(
        "--match-noise", is_flag=True, help="Scale the field so that its measured noise is that of the training."
    ),
)

output_options = group(
    click.option("--output", type=FILE, help="The maps: a multi-extension FITS file, .fits or .fits.gz."),
    click.option(
        "--output-dir",
        type=FOLDER,
        help="For many images: a folder for the maps, catalogue and record of each, and summary.ecsv. --output,"
        " --catalog, --preview, --regions and --cutouts are then endings, such as .fits.gz.",
    ),
    click.option("--shard", metavar="I/N", help="With --output-dir: the I-th of N parts of the images, I from 1."),
    click.option(
        "--merge",
        is_flag=True,
        help="With --output-dir: join the catalogues in the file catalog, objects of overlapping images once.",
    ),
    click.option("--no-maps", is_flag=True, help="Write no maps: the catalogue alone."),
    write_samples_option,
    click.option(
        "--catalog",
        "catalogue",
        type=FILE,
        help="Write a catalogue of objects and blends: .ecsv, .fits, .vot or .parquet.",
    ),
    click.option("--preview", type=FILE, help="Write a picture: .png, .jpg or .pdf."),
    click.option("--regions", type=FILE, help="Write the objects and blends as regions for DS9: .reg."),
    click.option("--cutouts", type=FILE, help="Write a page of the most uncertain blends: .png."),
    click.option("--overwrite", is_flag=True, help="Replace files that exist."),
)

catalogue_options = group(
    click.option(
        "--threshold",
        type=click.FloatRange(0.01, 0.99),
        default=0.5,
        show_default=True,
        help="Probability from which on pixels form an object or a blend.",
    ),
    click.option(
        "--min-pixels", type=click.IntRange(1), default=3, show_default=True, help="Smallest object in the catalogue."
    ),
    click.option("--truth", type=FILE, help="Table of true galaxies: completeness and purity of the catalogue."),
)
