"""`blendinator segment`."""

from pathlib import Path

import click

from blendinator.escape import printable
from blendinator.pipeline.commands._options import choose_model, model_option, trust_option, write_samples_option
from blendinator.pipeline.config_checks import read_config
from blendinator.stack import load_tensorflow_quietly

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("field", type=FILE)
@click.option("--output", type=FILE, required=True, help="The maps: a multi-extension FITS file, .fits or .fits.gz.")
@click.option(
    "--samples",
    "num_samples",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Draws: 16 for maps, 64 or more for 95 % intervals.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the draws.")
@model_option
@trust_option
@click.option("--config", "config_path", type=click.Path(dir_okay=False), help="YAML file; without one, the defaults.")
@click.option("--hdu", help="Number, NAME or NAME,VERSION of the HDU; by default the first image. Or FIELD[HDU].")
@click.option(
    "--unit",
    help="Of the pixels, if BUNIT is missing or wrong: electron, electron/s, adu, adu/s, Jy, uJy, nJy, ...; with"
    " --match-noise or --weight also unknown.",
)
@click.option("--gain", type=float, help="Electrons per count; by default the header's.")
@click.option("--exposure-time", type=float, help="Seconds; by default the header's.")
@click.option(
    "--zero-point", type=float, help="AB magnitude of one unit of the image: brings it to the survey's fluxes."
)
@click.option("--no-background", is_flag=True, help="The sky is subtracted already.")
@click.option(
    "--background-box",
    type=click.IntRange(16, 4096),
    default=128,
    show_default=True,
    help="Pixels a side of the background's mesh.",
)
@click.option(
    "--no-data",
    type=float,
    multiple=True,
    help="A value that stands for no data; by default values that fill much of the image are found (nan: none is).",
)
@click.option("--weight", type=FILE, help="Map of the noise, FILE or FILE[HDU]: scales every pixel to the training's.")
@click.option("--weight-hdu", help="Its HDU; by default one that is named like such a map, or the first image.")
@click.option(
    "--weight-type",
    type=click.Choice(["rms", "variance", "weight"]),
    default="rms",
    show_default=True,
    help="What it holds; weight is 1 / variance. In the image's unit.",
)
@click.option("--mask", type=FILE, help="An image that is not 0 where there is no data: FILE or FILE[HDU].")
@click.option("--mask-hdu", help="Its HDU; by default one that is named like a mask, or the first image.")
@click.option(
    "--mask-bits",
    help="Bits of the mask that mean no data, by number from 0 or by name from its header's MP_ keywords: 0,3,SAT."
    "  [default: all]",
)
@click.option("--match-noise", is_flag=True, help="Scale the field so that its measured noise is that of the training.")
@write_samples_option
@click.option(
    "--catalog", "catalogue", type=FILE, help="Write a catalogue of objects and blends: .ecsv, .fits, .vot or .parquet."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.01, 0.99),
    default=0.5,
    show_default=True,
    help="Probability from which on pixels form an object or a blend.",
)
@click.option(
    "--min-pixels", type=click.IntRange(1), default=3, show_default=True, help="Smallest object in the catalogue."
)
@click.option("--truth", type=FILE, help="Table of true galaxies: completeness and purity of the catalogue.")
@click.option("--preview", type=FILE, help="Write a picture: .png, .jpg or .pdf.")
@click.option(
    "--tile",
    type=click.IntRange(64, 8192),
    default=1024,
    show_default=True,
    help="Pixels a side of a tile: more take more memory.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def segment(
    field,
    output,
    num_samples,
    seed,
    model,
    trust_model,
    config_path,
    catalogue,
    threshold,
    min_pixels,
    truth,
    preview,
    no_background,
    background_box,
    write_samples,
    tile,
    overwrite,
    **reading,
):
    """Segment a FITS image of any size with a pushed model.

    FIELD is a FITS file, gzipped or not, a pipe, or - for standard input.
    Writes the most probable class of each pixel, P(galaxy), P(blended), entropy and mutual information, on request
    sample maps, a catalogue with intervals and a picture. docs/segmentation.md has the details. Examples:

    \b
      blendinator segment field.fits --output maps.fits --catalog objects.ecsv --preview maps.png
      blendinator segment field.fits --output maps.fits --unit adu --gain 3.1 --samples 64
      blendinator segment mosaic.fits --output maps.fits --weight rms.fits --write-samples
    """
    import sys
    import warnings

    warnings.simplefilter("ignore")
    model = choose_model(read_config(config_path), model, trust_model)
    load_tensorflow_quietly()

    from blendinator.model.client import Segmenter, check_draws
    from blendinator.model.field import catalogue as catalogues, run, truth as truths
    from blendinator.model.field.outputs import Outputs

    check_draws(num_samples, seed)
    outputs = Outputs(output, catalogue, preview, write_samples, overwrite)
    outputs.check()  # before a model is loaded
    with _Progress() as progress:
        result = run.run(
            Segmenter.load(model, tile),
            field,
            outputs,
            num_samples=num_samples,
            seed=seed,
            settings=catalogues.Settings(threshold, min_pixels),
            truth_path=truth,
            progress=progress.advance,
            opened=progress.start,
            command="blendinator " + " ".join(sys.argv[1:]),
            background=not no_background,
            box=background_box,
            **reading,
        )
    report = result.report
    click.echo(
        f"{report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s: {report.rate:.2f} Mpx/s, "
        f"{report.network / report.seconds:.0%} of the time in the network"
    )
    if report.missing:
        click.echo(f"no data in {report.missing / report.pixels:.2%} of the pixels")
    click.echo(printable(str(output)))
    if catalogue is not None:
        click.echo(printable(str(catalogue)) + f": {result.rows['object']} objects, {result.rows['blend']} blends")
    if result.comparison is not None:
        for line in truths.describe(result.comparison):
            click.echo(line)
    if preview is not None:
        click.echo(printable(str(preview)))


class _Progress:
    """A bar with the rate and the time left, on a terminal; silent elsewhere."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal

    def __enter__(self):
        self._bar.start()
        self._task = self._bar.add_task("reading", total=None, rate="")
        return self

    def __exit__(self, *_):
        self._bar.stop()

    def start(self, field):
        """The field is open: its pixels are what is to be done, and what the user should know is known."""
        for text in field.warnings:
            self._bar.console.print(f"warning: {printable(text)}", markup=False, highlight=False, soft_wrap=True)
        self._bar.reset(self._task, total=field.shape[0] * field.shape[1], description="segmenting")

    def advance(self, pixels):
        """More pixels are done."""
        self._bar.advance(self._task, pixels)
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, rate=f"{speed / 1e6:.2f} Mpx/s" if speed else "")
