"""Options that several commands share."""

import click

config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False), help="YAML file; without one, the defaults.")
