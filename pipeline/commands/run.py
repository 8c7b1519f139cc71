"""`blendinator run`, `explain` and `report`."""

import dataclasses
import sys

import click

from blendinator.escape import printable
from blendinator.pipeline.commands._options import config_option, json_option, renamed, run_option, verbose_option
from blendinator.pipeline.config_checks import read_config
from blendinator.stack import check_processor


@click.command()
@config_option
@click.option(
    "--spans", default="latest", show_default=True, help="Spans to use: latest, latest:3 or for example 1,3-5."
)
@click.option("--no-cache", is_flag=True, help="Run every step, even when nothing changed.")
@click.option("--cold", is_flag=True, help="Train from random weights, not from the live or the released model's.")
@verbose_option
def run(config_path: str | None, spans: str, no_cache: bool, cold: bool, verbose: bool) -> None:
    """Run the whole pipeline.

    Simulates span 1 first if there is no data. Exit code 0: a model was pushed, or there was nothing to do; 3: the
    model was not good enough to be pushed; 1: the run failed, or another one is in progress.
    """
    config = read_config(config_path)
    if cold:
        warm_start = dataclasses.replace(config.retraining.warm_start, enabled=False)
        config = dataclasses.replace(config, retraining=dataclasses.replace(config.retraining, warm_start=warm_start))
    check_processor()
    from blendinator.pipeline.run import run as run_pipeline

    sys.exit(run_pipeline(config, spans, enable_cache=not no_cache, verbose=verbose))


@click.command()
@config_option
@run_option
@json_option
def explain(config_path: str | None, run_name: str | None, as_json: bool) -> None:
    """Say why a run's model was pushed or not.

    Ends with the exit code of the run: 0 pushed, 3 not good enough, 1 failed.
    """
    config = read_config(config_path)
    import json

    from blendinator.pipeline import exit_codes
    from blendinator.pipeline.history import explain as explanations

    explanation = explanations.explain(config, run_name)
    click.echo(json.dumps(explanation, indent=1) if as_json else printable(explanations.render(explanation)))
    sys.exit(exit_codes.of_explanation(explanation))


@click.command()
@config_option
@run_option
@click.option(
    "--output", "folder", type=click.Path(file_okay=False), help="A folder; by default one below output_dir/reports."
)
@renamed("--folder", "--output")
def report(config_path: str | None, run_name: str | None, folder: str | None) -> None:
    """Write a run's report, HTML and Markdown.

    One self-contained HTML file, and a summary in Markdown.
    """
    config = read_config(config_path)
    from blendinator.pipeline.history.report import write_report

    for path in write_report(config, run_name, folder):
        click.echo(str(path))
