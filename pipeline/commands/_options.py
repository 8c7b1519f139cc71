"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from blendinator.config import Config
from blendinator.errors import ConfigError
from blendinator.model import released
from blendinator.model.live import list_versions
from blendinator.stores import Place, place

Command = TypeVar("Command", bound=Callable[..., Any])  # a function that will be a command, or one already


def group(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False), help="YAML file; without one, the defaults."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for other programs.")
run_option = click.option("--run", "run_name", help="Name of a run, or its beginning or end; by default the newest.")
write_samples_option = click.option("--write-samples", is_flag=True, help="Write the sample maps, too.")
verbose_option = click.option(
    "--verbose", is_flag=True, help="Show what the libraries print, too; it is in the log file in any case."
)
model_options = group(
    click.option(
        "--population",
        help="Whose odds the probabilities have: natural, the density of the sky, by default; boosted for images that"
        " were chosen for their blends.",
    ),
    click.option(
        "--model",
        type=click.Path(path_type=Path),
        help="A pushed version, or the folder of all; by default the newest of output_dir, else the released model.",
    ),
    click.option("--trust-model", is_flag=True, help="Load a --model from outside the configuration's serving folder."),
)


def renamed(old: str, new: str, **options: Any) -> Callable[[Command], Command]:
    """An option's former name, which is not shown and ends the command with a message that names the new one."""

    def refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            raise click.UsageError(f"{old} has been renamed: use {new}", context)

    return click.option(
        old, f"former_{old.strip('-').replace('-', '_')}", hidden=True, expose_value=False, callback=refuse, **options
    )


def announce_released(why: str = "") -> None:
    """Says on standard error that the released model serves."""
    found = released.card()
    if found:
        click.echo(f"model: the released one, {found['name']}{why}", err=True)


def choose_model(config: Config, model: Place | None, trusted: bool) -> Place:
    """The folder of the model to load: `model`, else the newest pushed version, else the released model.

    If it is the released one, standard error says so.

    A SavedModel is a program: its operations read and write files with the rights of whoever loads it. One that this
    configuration's pipeline did not push is loaded only by an explicit choice, with a warning.

    Raises:
      ConfigError: `model` lies outside the serving folder, and is not trusted.
    """
    serving = config.serving_dir.resolve()
    if model is not None:
        model = place(model, "--model")
    if model is None:
        found = None if list_versions(serving) else released.card()
        if found:
            announce_released(f"; nothing was pushed to {serving}")
            return released.unpack()
        return serving
    if serving not in (model.resolve(), *model.resolve().parents):
        if not trusted:
            raise ConfigError(
                f"--model: received {model}, which is not in the serving folder {serving}. A SavedModel is a program"
                " that runs with your rights: give --trust-model if you know where it comes from, or the --config that"
                " it was pushed with."
            )
        click.echo(f"warning: {model} runs with your rights; it was not pushed to {serving}", err=True)
    return model
