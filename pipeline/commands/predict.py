"""`blendinator predict`."""

from pathlib import Path

import click

from blendinator.pipeline.beam_engine import check_engine
from blendinator.pipeline.commands._options import (
    choose_model,
    model_options,
    renamed,
    write_samples_option,
)
from blendinator.pipeline.config_checks import read_config
from blendinator.stack import load_tensorflow_quietly


@click.command()
@click.argument("records", nargs=-1, required=True)
@click.option("--output", type=click.Path(), required=True, help="A new folder for the predictions.")
@click.option(
    "--samples", "num_samples", type=click.IntRange(1), default=16, show_default=True, help="Samples per record."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of the samples.")
@model_options
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help="YAML file: the model's place, and beam.pipeline_args.",
)
@write_samples_option
@renamed("--no-samples", "no option: sample maps are written only with --write-samples", is_flag=True)
def predict(
    records: tuple[str, ...],
    output: str,
    num_samples: int,
    seed: int,
    population: str | None,
    model: Path | None,
    trust_model: bool,
    config_path: str | None,
    write_samples: bool,
) -> None:
    """Predict TFRecords of stamps, on any Beam runner.

    RECORDS are paths or globs of TFRecord files of tf.Examples with `scene_id` and `image`, such as a span's. Each gets
    a file of predictions with the same ids; account.json counts them. Example:

    \b
      blendinator predict 'output/data/span-0001/test-*' --output predictions
    """
    config = read_config(config_path)
    check_engine(config.beam.pipeline_args, config_path or "configuration")
    folder = choose_model(config, model, trust_model)
    load_tensorflow_quietly()

    from blendinator.pipeline.console import without_warnings

    with without_warnings():
        from blendinator.model.pushed import find_model
        from blendinator.pipeline.bulk_inference import predict as run

        account = run(
            records,
            output,
            find_model(folder),
            num_samples,
            seed,
            write_samples,
            config.beam.pipeline_args,
            population=population,
        )
    click.echo(f"{account['read']} records read, {account['written']} predictions written to {output}")
