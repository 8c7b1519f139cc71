"""`blendinator simulate`."""

import dataclasses
from pathlib import Path

import click

from blendinator.config import Config
from blendinator.pipeline.commands._options import config_option, renamed
from blendinator.pipeline.config_checks import read_config

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@config_option
@click.option("--span", type=click.IntRange(1), help="Number of the span; by default the one after the last.")
@click.option(
    "--galaxies", type=FILE, help="Sample galaxies from this file: GalSim-COSMOS or CatSim-style FITS, CSV or ECSV."
)
@renamed("--catalog", "--galaxies")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes of this machine; 0 for one per core. Overrides beam.simulation_workers and beam.pipeline_args.",
)
@click.option("--scene", "scene_id", metavar="SPAN:NUMBER", help="This scene alone, for example 1:4711.")
@click.option("--show", is_flag=True, help="With --scene: write a picture of it.")
@click.option("--field", "side", type=click.IntRange(32, 16384), metavar="SIDE", help="A FITS field of SIDE pixels.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the field.")
@click.option(
    "--output",
    type=FILE,
    help="With --show: the picture, by default scene-SPAN-NUMBER.png. With --field: the FITS file, by default"
    " field.fits; its true sources are written next to it, to field-truth.ecsv.",
)
@renamed("--picture", "--output")
@click.option("--overwrite", is_flag=True, help="Replace a field that exists.")
def simulate(
    config_path: str | None,
    span: int | None,
    galaxies: Path | None,
    workers: int | None,
    scene_id: str | None,
    show: bool,
    side: int | None,
    seed: int,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Simulate a span, one scene or a FITS field.

    A span is a folder of TFRecord files with train, calibration and test scenes and a manifest, below output/data; one
    that was interrupted is completed. The configuration's section `simulation` says what it holds; every scene depends
    on that, the span and its number only. Examples:

    \b
      blendinator simulate                          the next span
      blendinator simulate --span 3 --galaxies my.ecsv
      blendinator simulate --scene 1:4711 --show    one scene with its truth and galaxies
      blendinator simulate --field 2048 --output field.fits
      blendinator segment field.fits --output maps.fits --catalog objects.ecsv --truth field-truth.ecsv
    """
    config = read_config(config_path)
    if galaxies:
        config = dataclasses.replace(config, simulation=dataclasses.replace(config.simulation, catalog=str(galaxies)))
    if show and not scene_id:
        raise click.UsageError("--show needs --scene SPAN:NUMBER")
    if output and not (show or side):
        raise click.UsageError("--output needs --show or --field SIDE; spans are written below output_dir")
    if sum(option is not None for option in (span, scene_id, side)) > 1:
        raise click.UsageError("--span, --scene and --field: give one of them")
    if scene_id:
        _scene(config, scene_id, show, output)
    elif side:
        _field(config, side, seed, output or Path("field.fits"), overwrite)
    else:
        _span(config, span, workers)


def _scene(config: Config, scene_id: str, show: bool, output: Path | None) -> None:
    from blendinator.data.show import describe_record, parse_scene_id, render_record, show_scene

    if not show:
        click.echo(describe_record(render_record(config.simulation, scene_id)))
        return
    where = output or Path("scene-{}-{}.png".format(*parse_scene_id(scene_id)))
    click.echo(describe_record(show_scene(config.simulation, scene_id, where)))
    click.echo(str(where))


def _field(config: Config, side: int, seed: int, output: Path, overwrite: bool) -> None:
    from blendinator.data.field import FieldSimulator
    from blendinator.data.field_file import check_names, write_field

    check_names(output, overwrite)  # before the work
    simulator = FieldSimulator(config.simulation)
    field = simulator.field(side, seed)
    truth = write_field(field, simulator.survey, output, overwrite)
    click.echo(f"{output}: a field of {side} x {side} pixels")
    click.echo(f"{truth}: its {(field.pixels > 0).sum()} sources")


def _span(config: Config, span: int | None, workers: int | None) -> None:
    from rich.console import Console

    from blendinator.data.spans import list_spans, span_dir
    from blendinator.pipeline.console import without_warnings
    from blendinator.pipeline.simulation import simulate as simulate_span

    span = span or max(list_spans(config.data_root), default=0) + 1
    with without_warnings():
        simulate_span(config, span, Console(highlight=False), workers)
    click.echo(str(span_dir(config.data_root, span)))
