"""The command `blendinator`. Heavy imports stand inside the commands, so that --help is immediate."""

import dataclasses
import sys

import click

from blendinator.errors import BlendinatorError
from blendinator.escape import printable
from blendinator.pipeline.commands._options import config_option, verbose_option
from blendinator.pipeline.commands.demo import demo
from blendinator.pipeline.commands.doctor import doctor
from blendinator.pipeline.commands.kubeflow import kubeflow
from blendinator.pipeline.commands.models import lineage, models, rollback
from blendinator.pipeline.commands.predict import predict
from blendinator.pipeline.commands.retrain import prune, retrain, schedule
from blendinator.pipeline.commands.segment import segment
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.interruption import exit_code, terminable

# Those of the extra `pipeline`; segmenting does without.
_PIPELINE_PACKAGES = {
    "apache_beam",
    "google_crc32c",
    "jinja2",
    "ml_metadata",
    "sep",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_probability",
    "tensorflow_transform",
    "tfx",
    "tfx_bsl",
}


class _Group(click.Group):
    """Shows a user's mistake as one message, without a traceback; ends in order on Ctrl-C and SIGTERM."""

    def invoke(self, context):
        try:
            with terminable():
                return super().invoke(context)
        except BlendinatorError as error:
            click.echo(str(error), err=True)
            context.exit(1)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package not in _PIPELINE_PACKAGES:
                raise
            click.echo(
                f"{package} is not installed, which this command needs: pip install 'blendinator[pipeline]', or "
                "`make setup` in a checkout.",
                err=True,
            )
            context.exit(1)
        except OSError as error:  # a path that is not there, or where one may not write
            if error.filename is None:
                raise
            click.echo(
                f"{printable(str(error.filename))}: {error.strerror}. Check the path, its permissions and the "
                "space on its disk.",
                err=True,
            )
            context.exit(1)
        except KeyboardInterrupt as error:
            click.echo("Interrupted.", err=True)
            context.exit(exit_code(error))


def _show_version(context, _, asked):
    if asked:
        from importlib import metadata

        from blendinator.stack import describe

        click.echo(f"blendinator {metadata.version('blendinator')}, stack {describe()}")
        context.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the stack of libraries, and exit.",
)
def main():
    """Blendinator: calibrated maps of where galaxies overlap."""


@main.command()
@config_option
@click.option(
    "--spans", default="latest", show_default=True, help="Spans to use: latest, latest:3 or for example 1,3-5."
)
@click.option("--no-cache", is_flag=True, help="Run every step, even when nothing changed.")
@click.option("--cold", is_flag=True, help="Train from random weights, not from the live or the released model's.")
@verbose_option
def run(config_path, spans, no_cache, cold, verbose):
    """Run the whole pipeline, simulating span 1 first if there is no data."""
    config = read_config(config_path)
    if cold:
        warm_start = dataclasses.replace(config.retraining.warm_start, enabled=False)
        config = dataclasses.replace(config, retraining=dataclasses.replace(config.retraining, warm_start=warm_start))
    from blendinator.pipeline.run import run as run_pipeline

    sys.exit(run_pipeline(config, spans, enable_cache=not no_cache, verbose=verbose))


@main.command()
@config_option
@click.option("--span", type=click.IntRange(1), help="Number of the span; by default the one after the last.")
@click.option(
    "--catalog",
    type=click.Path(dir_okay=False),
    help="Draw galaxies from this file: GalSim-COSMOS or CatSim-style FITS, CSV or ECSV.",
)
@click.option(
    "--workers", type=click.IntRange(0), help="Processes; 0 for one per core. Overrides beam.simulation_workers."
)
@click.option("--scene", "scene_id", metavar="SPAN:NUMBER", help="Draw this scene alone again, for example 1:4711.")
@click.option("--show", is_flag=True, help="With --scene: write a picture of it.")
@click.option(
    "--picture", type=click.Path(dir_okay=False), help="With --show: where to; by default scene-SPAN-NUMBER.png."
)
def simulate(config_path, span, catalog, workers, scene_id, show, picture):
    """Simulate a span, complete one that was interrupted, or show one scene.

    A span is a folder of TFRecord files with train, calibration and test scenes and a manifest, below output/data.
    The configuration's section `simulation` says what is drawn; every scene depends on that, the span and its number
    only. Examples:

    \b
      blendinator simulate                          the next span
      blendinator simulate --span 3 --catalog my.ecsv
      blendinator simulate --scene 1:4711 --show    one scene with its truth and galaxies
    """
    import dataclasses

    config = read_config(config_path)
    if catalog:
        simulation = dataclasses.replace(config.simulation, catalog=catalog)
        config = dataclasses.replace(config, simulation=simulation)
    if (show and not scene_id) or (picture and not show):
        raise click.UsageError("--show needs --scene SPAN:NUMBER, and --picture needs --show")
    if scene_id:
        from blendinator.data.show import describe_record, draw_record, parse_scene_id, show_scene

        if not show:
            click.echo(describe_record(draw_record(config.simulation, scene_id)))
            return
        where = picture or "scene-{}-{}.png".format(*parse_scene_id(scene_id))
        click.echo(describe_record(show_scene(config.simulation, scene_id, where)))
        click.echo(where)
        return
    from rich.console import Console

    from blendinator.data.spans import list_spans, span_dir
    from blendinator.pipeline.console import without_warnings
    from blendinator.pipeline.run import simulate as simulate_span

    span = span or max(list_spans(config.data_root), default=0) + 1
    with without_warnings():
        simulate_span(config, span, Console(highlight=False), workers)
    click.echo(str(span_dir(config.data_root, span)))


run_option = click.option("--run", "run_name", help="Name of a run, or its beginning or end; by default the newest.")


@main.command()
@config_option
@run_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, for other programs.")
def explain(config_path, run_name, as_json):
    """Say why a run's model was pushed or not. Exit code 0: pushed, 3: not pushed."""
    config = read_config(config_path)
    import json

    from blendinator.pipeline.history import explain as explanations

    explanation = explanations.explain(config, run_name)
    click.echo(json.dumps(explanation, indent=1) if as_json else printable(explanations.render(explanation)))
    sys.exit(explanations.EXIT_PUSHED if explanation["pushed"] else explanations.EXIT_NOT_PUSHED)


@main.command()
@config_option
@run_option
@click.option("--folder", type=click.Path(file_okay=False), help="Where to; by default a folder below output_dir.")
def report(config_path, run_name, folder):
    """Write a run's self-contained HTML report and its summary in Markdown."""
    config = read_config(config_path)
    from blendinator.pipeline.history.report import write_report

    for path in write_report(config, run_name, folder):
        click.echo(str(path))


main.add_command(kubeflow)


main.add_command(predict)
main.add_command(segment)
for command in (demo, doctor, retrain, schedule, models, lineage, rollback, prune):
    main.add_command(command)


if __name__ == "__main__":
    main()
