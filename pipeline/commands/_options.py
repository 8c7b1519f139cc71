"""Options that several commands share."""

import click

config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False), help="YAML file; without one, the defaults.")
verbose_option = click.option(
    "--verbose", is_flag=True, help="Show what the libraries print, too; it is in the log file in any case.")
