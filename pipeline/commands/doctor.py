"""`blendinator doctor`."""

import dataclasses
import json
import sys

import click

from blendinator.pipeline.commands._options import config_option, json_option
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.tables import columns


@click.command()
@config_option
@json_option
def doctor(config_path: str | None, as_json: bool) -> None:
    """Check machine, libraries and output folder.

    Exit code 0: a run can start, 1: it cannot.
    """
    config = read_config(config_path)
    from blendinator.pipeline.doctor.check import OK, PROBLEM
    from blendinator.pipeline.doctor.examine import examine

    checks = examine(config)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=1))
    else:
        click.echo(
            columns(
                [
                    (
                        check.state,
                        check.name,
                        f"{check.text}. {check.remedy}".strip() if check.state != OK else check.text,
                    )
                    for check in checks
                ]
            )
        )
    sys.exit(any(check.state == PROBLEM for check in checks))
