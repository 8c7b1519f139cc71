"""`blendinator retrain`, `schedule` and `prune`."""

import sys

import click

from blendinator.pipeline.commands._options import config_option, verbose_option
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.tables import columns, megabytes
from blendinator.stack import check_processor


@click.command()
@config_option
@verbose_option
def retrain(config_path: str | None, verbose: bool) -> None:
    """Simulate a new span, run and prune, unattended.

    The section `retraining` of the configuration says what of it is done; see docs/retraining.md. Exit codes as of
    `run`. Every run adds a line to logs/runs.jsonl in the output folder.
    """
    config = read_config(config_path)
    check_processor()
    from blendinator.pipeline.retrain import retrain as retrain_once

    sys.exit(retrain_once(config, verbose))


@click.command()
@config_option
@click.option("--cron", required=True, metavar="EXPRESSION", help="Five fields, such as '0 3 * * 1'.")
@click.option("--kind", type=click.Choice(["systemd", "crontab"]), help="By default systemd where it runs.")
@click.option("--install", is_flag=True, help="Apply it, after showing it.")
def schedule(config_path: str | None, cron: str, kind: str | None, install: bool) -> None:
    """Run `retrain` on a schedule: systemd or cron.

    Shows a systemd timer or a crontab entry, and with --install applies it.
    """
    config = read_config(config_path)
    from pathlib import Path

    from blendinator.pipeline import schedule as schedules

    kind, words, folder = kind or schedules.default_kind(), schedules.command(config_path), str(Path.cwd())
    if kind == "systemd":
        units = schedules.systemd_units(config.name, cron, words, folder)
        for name, text in units.items():
            click.echo(f"# {schedules.UNITS}/{name}\n{text}")
        if install:
            schedules.install_systemd(units)
    else:
        line = schedules.crontab_line(config.name, cron, words, folder)
        click.echo(line)
        if install:
            schedules.install_crontab(config.name, line)
    click.echo("Installed." if install else "Nothing was changed; --install applies it.")


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="List what would be removed.")
def prune(config_path: str | None, dry_run: bool) -> None:
    """Remove old spans, runs and versions.

    The section `retraining` of the configuration says what is kept.
    """
    config = read_config(config_path)
    from blendinator import lock
    from blendinator.pipeline.history import retention

    if dry_run:
        expired = retention.plan(config)
    else:
        with lock.exclusive(config.output_dir, "prune"):
            expired = retention.prune(config)
    if expired:
        click.echo(columns([(one.kind, megabytes(one.bytes), str(one.path)) for one in expired]))
    total = megabytes(sum(one.bytes for one in expired))
    click.echo(f"{len(expired)} items, {total}, " + ("would be removed." if dry_run else "were removed."))
