"""`blendinator segment`."""

import functools
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blendinator.errors import ConfigError
from blendinator.escape import printable
from blendinator.pipeline.beam_engine import args_on_shared_files, check_engine
from blendinator.pipeline.commands._options import choose_model, model_options
from blendinator.pipeline.commands._segment_options import catalogue_options, output_options, reading_options
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.console import without_warnings
from blendinator.stack import load_tensorflow_quietly
from blendinator.stores import Place

if TYPE_CHECKING:
    from blendinator.model.client import Segmenter
    from blendinator.model.field.catalogue import Settings


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@output_options
@click.option(
    "--samples",
    "num_samples",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Samples: 16 for maps, 64 or more for 95 % intervals.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the samples.")
@model_options
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help="YAML file: the model's place and, with --output-dir, beam.pipeline_args. Without one, the defaults.",
)
@reading_options
@catalogue_options
@click.option(
    "--tile",
    type=click.IntRange(64, 8192),
    default=1024,
    show_default=True,
    help="Pixels per side of a tile: more take more memory.",
)
def segment(
    images: tuple[str, ...],
    model: Path | None,
    trust_model: bool,
    config_path: str | None,
    output_dir: Path | None,
    tile: int,
    population: str | None,
    no_background: bool,
    background_box: int,
    **given: Any,
) -> None:
    """Segment FITS images of any size with a pushed model.

    One image: a FITS file, gzipped or not, a pipe, or - for standard input. Many, with --output-dir: files, quoted
    patterns, or @LIST for a text file of paths; what is done and unchanged is skipped, and a failure does not stop the
    rest. Writes the most probable class of each pixel, P(galaxy), P(blended), entropy and mutual information; on
    request sample maps, a catalogue with intervals and a picture. docs/segmentation.md has the details. Examples:

    \b
      blendinator segment field.fits --output maps.fits --catalog objects.ecsv --preview maps.png
      blendinator segment field.fits --output maps.fits --unit adu --gain 3.1 --samples 64
      blendinator segment mosaic.fits --output maps.fits --weight rms.fits --write-samples
      blendinator segment 'survey/*.fits' --output-dir results --weight '{folder}/{name}.rms.fits'
      blendinator segment @tiles.txt --output-dir results --shard 3/100 --catalog .parquet --no-maps
    """
    warnings.simplefilter("ignore")
    given |= {"background": not no_background, "box": background_box}
    if output_dir is None:
        _check_one(images, given)
        chosen = choose_model(read_config(config_path), model, trust_model)
        _one(images[0], chosen, tile, population, **given)
    else:
        config = read_config(config_path)
        beam_args = args_on_shared_files(config.beam.pipeline_args)
        check_engine(beam_args, config_path or "configuration")
        chosen = choose_model(config, model, trust_model)
        _many(images, chosen, tile, population, output_dir, beam_args=beam_args, **given)


def _check_one(images: tuple[str, ...], given: dict[str, Any]) -> None:
    if len(images) > 1:
        raise click.UsageError("many images need --output-dir DIR; --output is for one")
    if given["output"] is None and not given["no_maps"]:
        raise click.UsageError("give --output FILE for one image, or --output-dir DIR for many")
    if given["no_maps"] and (given["output"] is not None or given["write_samples"] or given["catalogue"] is None):
        raise click.UsageError("--no-maps needs --catalog, and neither --output nor --write-samples")
    if given["shard"] is not None:
        raise click.UsageError("--shard needs --output-dir DIR")
    if given["merge"]:
        raise click.UsageError("--merge needs --output-dir DIR")


def _one(
    image: str,
    model: Place,
    tile: int,
    population: str | None,
    *,
    output: Path | None,
    catalogue: Path | None,
    preview: Path | None,
    regions: Path | None,
    cutouts: Path | None,
    write_samples: bool,
    overwrite: bool,
    truth: Path | None,
    **given: Any,
) -> None:
    load_tensorflow_quietly()
    from blendinator.model.client import Segmenter, check_draws
    from blendinator.model.field import run, truth as truths
    from blendinator.model.field.outputs import Outputs
    from blendinator.pipeline.commands._segment_progress import FieldProgress

    draws, settings, reading = _split(given)
    check_draws(**draws)
    outputs = Outputs(output, catalogue, preview, write_samples, overwrite, regions, cutouts)
    outputs.check()  # before a model is loaded
    with FieldProgress() as progress:
        result = run.run(
            Segmenter.load(model, tile, population),
            image,
            outputs,
            **draws,
            settings=settings,
            truth_path=truth,
            progress=progress.advance,
            opened=progress.opened,
            command=_command(),
            **reading,
        )
    report = result.report
    click.echo(
        f"{report.pixels / 1e6:.2f} Mpx in {report.seconds:.1f} s: {report.rate:.2f} Mpx/s, "
        f"{report.network / report.seconds:.0%} of the time in the network"
    )
    if report.missing:
        click.echo(f"no data in {report.missing / report.pixels:.2%} of the pixels")
    for path in outputs.places():
        counts = f": {result.rows['object']} objects, {result.rows['blend']} blends" if path == catalogue else ""
        click.echo(printable(str(path)) + counts)
    if result.comparison is not None:
        for line in truths.describe(result.comparison):
            click.echo(line)


def _many(
    images: tuple[str, ...],
    model: Place,
    tile: int,
    population: str | None,
    folder: Path,
    *,
    output: Path | None,
    catalogue: Path | None,
    preview: Path | None,
    regions: Path | None,
    cutouts: Path | None,
    write_samples: bool,
    overwrite: bool,
    truth: Path | None,
    shard: str | None,
    merge: bool,
    beam_args: tuple[str, ...],
    **given: Any,
) -> None:
    from blendinator.model.field.batch import inputs, mosaic, record, run, summary
    from blendinator.model.pushed import find_model
    from blendinator.pipeline.commands._segment_progress import FieldProgress

    if merge and shard is not None:
        raise click.UsageError("--merge is for all images: leave --shard out, after the shards have ended")
    every = inputs.expand(images)
    mine = inputs.shard(every, shard)
    formats = run.Formats(
        None if given["no_maps"] else _ending("--output", output, ".fits"),
        _ending("--catalog", catalogue, ".ecsv"),
        _ending("--preview", preview, None),
        write_samples,
        _ending("--regions", regions, None, ".reg"),
        _ending("--cutouts", cutouts, None, ".png"),
    )
    if given["no_maps"] and (output is not None or write_samples):
        raise click.UsageError("--no-maps allows neither --output nor --write-samples")

    path = find_model(model).absolute()  # Beam's workers start in folders of their own
    load = functools.partial(load_model, path, tile, population)
    draws, settings, reading = _split(given)
    job = run.Job(
        load,
        path,
        folder,
        formats,
        **draws,
        settings=settings,
        truth=None if truth is None else str(truth),
        options=reading,
        overwrite=overwrite,
        version=metadata.version("blendinator"),
        population=population or "",
    )
    with FieldProgress(len(mine)) as progress:
        if beam_args:
            with without_warnings():
                from blendinator.pipeline import bulk_segmentation

            bulk_segmentation.segment_images(job, mine, every, beam_args, progress, _command(images))
        else:
            run.segment_images(job, mine, every, progress, _command(images))
    records = summary.read_records(folder, every)
    counts = ", ".join(f"{count} {state}" for state, count in summary.states(records).items())
    click.echo(f"{printable(str(folder / summary.SUMMARY))}: {counts}")
    done = [one for one in records if one["state"] == record.DONE]
    if merge and done:
        joined = mosaic.write(folder, done, formats.catalogue or "", {"run": job.identity()})
        click.echo(printable(str(joined)))
    if text := summary.mixed(records):
        click.echo(f"warning: {printable(text)}", err=True)
    failed = [one["name"] for one in summary.read_records(folder, mine) if one["state"] == record.FAILED]
    if failed:
        click.echo(f"{len(failed)} of {len(mine)} images failed; the summary says why", err=True)
        sys.exit(1)


def load_model(path: Path, tile: int, population: str | None) -> "Segmenter":
    """The `Segmenter`, in this process or a worker's."""
    load_tensorflow_quietly()
    from blendinator.model.client import Segmenter

    return Segmenter.load(path, tile, population)


def _split(given: dict[str, Any]) -> tuple[dict[str, int], "Settings", dict[str, Any]]:
    """The options of the samples, of the catalogue, and of `reading.open_field`."""
    from blendinator.model.field.catalogue import Settings

    given = {name: value for name, value in given.items() if name not in ("no_maps", "shard", "merge")}
    draws = {name: given.pop(name) for name in ("num_samples", "seed")}
    return draws, Settings(given.pop("threshold"), given.pop("min_pixels")), given


def _ending(option: str, given: Path | None, default: str | None, example: str = ".png") -> str | None:
    """With many images, an output is an ending."""
    if given is None:
        return default
    if not str(given).startswith(".") or "/" in str(given):
        raise ConfigError(
            f"{option}: received {given}; allowed with --output-dir: an ending, such as {default or example}. The files"
            " are named after the images."
        )
    return str(given)


def _command(images: Sequence[str] = ()) -> str:
    """The command line for the results' history; with many images, the one that the result is of."""
    words = [word for word in sys.argv[1:] if word not in images]
    return " ".join(["blendinator", *words[:1], *(["{path}"] if images else []), *words[1:]])
