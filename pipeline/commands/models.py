"""`blendinator models`, `lineage` and `rollback`."""

import json

import click

from blendinator.pipeline.commands._options import config_option, json_option
from blendinator.pipeline.config_checks import read_config
from blendinator.pipeline.tables import columns


@click.command()
@config_option
@json_option
def models(config_path: str | None, as_json: bool) -> None:
    """List the pushed versions; * marks the live one.

    With each: its date, its spans and its headline metrics.
    """
    config = read_config(config_path)
    from blendinator.pipeline.history.lineage import list_models

    found = list_models(config)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo(f"{config.serving_dir}: nothing was pushed yet.")
        return
    names = sorted({name for one in found for name in one["metrics"]})
    rows = [("", "version", "pushed", "spans", "start", *names)]
    for one in found:
        start = f"version {one['republishes']} again" if one["republishes"] else one["start"]
        values = [one["metrics"].get(name) for name in names]
        rows.append(
            (
                "*" if one["live"] else "",
                one["version"],
                one["pushed"][:16].replace("T", " "),
                ",".join(map(str, one["spans"])),
                start,
                *("-" if value is None else f"{value:.3f}" for value in values),
            )
        )
    click.echo(columns(rows))


@click.command()
@config_option
@click.argument("version")
@json_option
def lineage(config_path: str | None, version: str, as_json: bool) -> None:
    """Say what made a version.

    Its spans, code, run, start, baseline, metrics and rules, and the files of each step.
    """
    config = read_config(config_path)
    from blendinator.pipeline.history.lineage import lineage as find_lineage

    found = find_lineage(config, version)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    start = found["start"]
    origin = (
        f"warm, from version {start['version']}"
        if start.get("kind") == "warm"
        else (f"cold, because {start['reason']}" if start else "unknown: the version's folder was removed")
    )
    rows = [("version", found["version"] + ("" if found["path"] else " (removed)")), ("pushed", found["pushed"])]
    if found["republishes"]:
        rows.append(("rollback", f"the model of version {found['republishes']} again"))
    rows += [
        ("run", found["run"] or "unknown"),
        ("spans", ", ".join(map(str, found["spans"])) or "unknown"),
        ("data", found["data_fingerprint"] or "unknown"),
        ("code", found["code"] or "unknown"),
        ("start", origin),
        ("compared with", f"version {found['baseline']}" if found["baseline"] else "no live model"),
    ]
    rows += [(name, f"{value:.4g}") for name, value in found["metrics"].items() if value is not None]
    rows += [(f"rule {rule['metric']}", "passed" if rule["passed"] else "failed") for rule in found["rules"]]
    for step in found["steps"]:
        for kind, folder in step["outputs"].items():
            rows.append(
                (
                    f"{step['name']} {step['id']}",
                    f"{kind}: {folder}" + (f"  code {step['code']}" if step["code"] else ""),
                )
            )
    click.echo(columns(rows))


@click.command()
@config_option
@click.argument("version", required=False)
def rollback(config_path: str | None, version: str | None) -> None:
    """Make an earlier version live again.

    VERSION is by default the one before the live model. It is published again under a new, higher number, which a
    server that polls the folder takes up; the live version stays for inspection.
    """
    config = read_config(config_path)
    from blendinator.pipeline.history.lineage import rollback as roll_back

    target = roll_back(config, version)
    click.echo(
        f"live is now version {target.name}: {target}\nThe next run compares its model with this version. With the "
        "same data, configuration and code there is nothing to do; with others it may push a new model again."
    )
