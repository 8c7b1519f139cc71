"""`blendinator kubeflow`: compile, try without a cluster, submit, schedule."""

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from blendinator.config import Config
from blendinator.pipeline.commands._options import config_option, renamed
from blendinator.pipeline.config_checks import read_config
from blendinator.stack import load_tensorflow_quietly

if TYPE_CHECKING:
    from blendinator.pipeline.kubeflow.client import Cluster

steps_option = click.option("--training-steps", type=click.IntRange(1), help="In place of training.steps.")
parameter_option = click.option(
    "--parameter",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the run; may be given several times.",
)


@click.group()
def kubeflow() -> None:
    """Run the same pipeline on Kubeflow Pipelines v2.

    See docs/kubeflow.md.
    """


@kubeflow.command("compile")
@config_option
@click.option("--image", required=True, help="Container image with this package, as the cluster pulls it.")
@click.option(
    "--pipeline-root", required=True, metavar="URI", help="Where Kubeflow keeps artifacts: gs://, s3://, minio://."
)
@click.option("--output", default="blendinator.yaml", show_default=True, type=click.Path(dir_okay=False))
@click.option("--spans", default="latest", show_default=True, help="Default of the run's parameter `spans`.")
@click.option("--single-pod", is_flag=True, help="One pod for the whole pipeline, on the mounted volume.")
def compile_command(
    config_path: str | None, image: str, pipeline_root: str, output: str, spans: str, single_pod: bool
) -> None:
    """Write the pipeline as a file for Kubeflow; needs no cluster."""
    from blendinator.pipeline.console import without_warnings

    config = read_config(config_path)
    load_tensorflow_quietly()
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    with without_warnings():
        from blendinator.pipeline.kubeflow import compiler

        compile_it = compiler.compile_single_pod if single_pod else compiler.compile_pipeline
        compiler.write_yaml(compile_it(config, image, pipeline_root, spans), output)
    click.echo(output)


@kubeflow.command("try")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--output",
    "folder",
    default="kubeflow-try",
    show_default=True,
    type=click.Path(file_okay=False),
    help="For all that the run makes; `volume` in it takes the place of the cluster's volume.",
)
@parameter_option
@renamed("--folder", "--output")
@steps_option
@click.option(
    "--types",
    type=click.Choice(("lost", "general", "kept")),
    default="lost",
    show_default=True,
    help="What becomes of the types of artifacts between tasks.",
)
def try_command(file: str, folder: str, pairs: tuple[str, ...], training_steps: int | None, types: str) -> None:
    """Run a compiled pipeline on this machine.

    Every task's own command, as a cluster would start it.
    """
    from blendinator.pipeline.kubeflow.simulator import Simulator

    parameters = parse_parameters(pairs, training_steps)
    if "data_root" in parameters and "://" not in str(parameters["data_root"]):
        parameters["data_root"] = str(click.Path(resolve_path=True).convert(parameters["data_root"], None, None))
    simulator = Simulator(file, folder, parameters, types, lambda task, status: click.echo(f"{task}: {status}"))
    simulator.run()
    click.echo(str(simulator.folder))


def cluster_command(command: Callable[..., None]) -> Callable[..., Any]:
    """Gives a command the options that `submit` and `schedule` share, as `cluster`, `config` and `parameters`."""

    @functools.wraps(command)
    def call(
        config_path: str | None,
        pairs: tuple[str, ...],
        training_steps: int | None,
        spans: str | None,
        host: str | None,
        **given: Any,
    ) -> None:
        config = read_config(config_path)
        cluster = connect(host, config)
        command(cluster=cluster, config=config, parameters=parse_parameters(pairs, training_steps, spans), **given)

    options = (
        click.option("--host", help="Address of Kubeflow's API; by default kubeflow.host."),
        click.option("--spans", help="Spans to train on, such as latest:3; by default those of the file."),
        steps_option,
        parameter_option,
        config_option,
        click.argument("file", type=click.Path(dir_okay=False), default="blendinator.yaml"),
    )
    for option in options:
        call = option(call)
    return call


@kubeflow.command("submit")
@cluster_command
def submit_command(file: str, cluster: "Cluster", config: Config, parameters: dict[str, str]) -> None:
    """Upload a compiled pipeline and run it once. The token is read from KUBEFLOW_TOKEN."""
    import time

    name, settings = f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}", config.kubeflow
    run = cluster.submit(file, settings.experiment, name, parameters, settings.service_account)
    click.echo(f"run {run}")


@kubeflow.command("schedule")
@cluster_command
@click.option("--cron", required=True, metavar="EXPRESSION", help="Five fields: '0 3 * * 1' is Mondays at 3.")
def schedule_command(file: str, cluster: "Cluster", config: Config, parameters: dict[str, str], cron: str) -> None:
    """Upload a compiled pipeline and run it on a schedule.

    One run at a time; missed ones are skipped. A schedule of the same name (the configuration's `name`) is replaced.
    Example:

    \b
      blendinator kubeflow schedule --cron '0 3 * * 1' --spans latest:3
    """
    settings = config.kubeflow
    made = cluster.schedule(file, settings.experiment, config.name, cron, parameters, settings.service_account)
    click.echo(f"schedule {made}")


def connect(host: str | None, config: Config) -> "Cluster":
    """Kubeflow's API, with what the environment says of the user."""
    import os

    from blendinator.pipeline.kubeflow.client import COOKIES, TOKEN, Cluster

    return Cluster(
        host or config.kubeflow.host, config.kubeflow.namespace, os.environ.get(TOKEN, ""), os.environ.get(COOKIES, "")
    )


def parse_parameters(
    pairs: tuple[str, ...], training_steps: int | None = None, spans: str | None = None
) -> dict[str, str]:
    """{name: value} of the options --parameter NAME=VALUE, --training-steps and --spans."""
    parameters = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise click.UsageError(f"--parameter {pair}: write NAME=VALUE")
        parameters[name] = value
    if spans:
        parameters["spans"] = spans
    if training_steps:
        parameters["train_args"] = json.dumps({"splits": ["train"], "num_steps": training_steps})
    return parameters
