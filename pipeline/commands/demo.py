"""`blendinator demo`."""

from pathlib import Path

import click

from blendinator.pipeline.commands._options import announce_released
from blendinator.stack import load_tensorflow_quietly

SIDE, SEED = 512, 1  # pixels, and which sky


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="blendinator-demo",
    show_default=True,
    help="A folder for the field, maps, catalog and picture.",
)
@click.option("--seed", type=click.IntRange(0), default=SEED, show_default=True, help="Which sky.")
def demo(output: Path, seed: int) -> None:
    """Simulate a small field and segment it.

    With the released model; writes the field, its maps, the catalog and a picture.
    """
    load_tensorflow_quietly()

    from astropy.io import fits

    from blendinator.config import SimulationConfig
    from blendinator.data.field import FieldSimulator, field_header
    from blendinator.model.client import Segmenter
    from blendinator.model.field import run
    from blendinator.model.field.outputs import Outputs

    segmenter = Segmenter.load()
    announce_released()
    output.mkdir(parents=True, exist_ok=True)
    simulator = FieldSimulator(SimulationConfig())
    field = output / "field.fits"
    header = field_header(SIDE, simulator.survey.pixel_scale)
    fits.writeto(field, simulator.field(SIDE, seed).image, header, overwrite=True)
    click.echo(f"{field}: a simulated field of {SIDE} x {SIDE} pixels")
    outputs = Outputs(output / "maps.fits", output / "objects.ecsv", output / "maps.png", overwrite=True)
    result = run.run(segmenter, field, outputs)
    for path in (outputs.maps, outputs.catalogue, outputs.preview):
        click.echo(str(path))
    click.echo(f"{result.rows['object']} objects, {result.rows['blend']} blends in {result.report.seconds:.1f} s")
    click.echo(
        "\nNow yours: blendinator segment FIELD.fits --output maps.fits --catalog objects.ecsv --preview maps.png"
    )
