"""`blendinator kubeflow`: compile, try without a cluster, submit, schedule."""

import json

import click

from pipeline.config_loader import load_config

config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False), help="YAML file; without one, the defaults.")
steps_option = click.option("--training-steps", type=click.IntRange(1), help="In place of training.steps.")
parameter_option = click.option(
    "--parameter", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter of the run; may be given several times.")


@click.group()
def kubeflow():
    """The same pipeline on Kubeflow Pipelines v2; see docs/kubeflow.md."""


@kubeflow.command("compile")
@config_option
@click.option("--image", required=True, help="Container image with this package, as the cluster pulls it.")
@click.option("--pipeline-root", required=True, metavar="URI", help="Where Kubeflow keeps artifacts: gs://, s3://, minio://.")
@click.option("--output", default="blendinator.yaml", show_default=True, type=click.Path(dir_okay=False))
@click.option("--spans", default="latest", show_default=True, help="Default of the run's parameter `spans`.")
@click.option("--single-pod", is_flag=True, help="One pod for the whole pipeline, on the mounted volume.")
def compile_command(config_path, image, pipeline_root, output, spans, single_pod):
    """Write the pipeline as a file for Kubeflow; needs no cluster."""
    config = load_config(config_path)
    from pipeline.kubeflow_pipelines import compiler

    compile_it = compiler.compile_single_pod if single_pod else compiler.compile_pipeline
    compiler.write_yaml(compile_it(config, image, pipeline_root, spans), output)
    click.echo(output)


@kubeflow.command("try")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--folder", default="kubeflow-try", show_default=True, type=click.Path(file_okay=False),
              help="For all that the run makes; `volume` in it takes the place of the cluster's volume.")
@parameter_option
@steps_option
@click.option("--types", type=click.Choice(("lost", "general", "kept")), default="lost", show_default=True,
              help="What becomes of the types of artifacts between tasks.")
def try_command(file, folder, pairs, training_steps, types):
    """Run a compiled pipeline on this machine: every task's own command, as a cluster would start it."""
    from pipeline.kubeflow_pipelines.simulator import Simulator

    parameters = parse_parameters(pairs, training_steps)
    if "data_root" in parameters:
        parameters["data_root"] = str(click.Path(resolve_path=True).convert(parameters["data_root"], None, None))
    simulator = Simulator(file, folder, parameters, types, lambda task, status: click.echo(f"{task}: {status}"))
    simulator.run()
    click.echo(str(simulator.folder))


def parse_parameters(pairs, training_steps=None, spans=None):
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
