"""What a run did: read from the metadata store and the artifacts, and shown as a short table."""

import json
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.spans import read_manifest, span_dir
from pipeline.config import Config

METRICS, PICTURE, REPORT = "metrics.json", "examples.png", "report.json"


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Attributes:
      spans: the spans that were used.
      pushed: whether the model was pushed.
      reason: why not, or "".
      version_path: the pushed version, or None.
      evaluation: the content of `metrics.json`.
      metrics_path, picture_path: files of the evaluation.
    """

    spans: tuple[int, ...]
    pushed: bool
    reason: str
    version_path: Path | None
    evaluation: dict
    metrics_path: Path
    picture_path: Path


def collect(config: Config, spans: tuple[int, ...]) -> RunResult:
    """Reads the outcome of the newest run of the pipeline from the metadata store and its artifacts."""
    artifacts = latest_artifacts(config)
    evaluation_uri, check_uri = Path(artifacts["ModelEvaluation"].uri), Path(artifacts["InfraBlessing"].uri)
    evaluation = json.loads((evaluation_uri / METRICS).read_text(encoding="utf-8"))
    check = json.loads((check_uri / REPORT).read_text(encoding="utf-8"))
    push = artifacts["PushedModel"].custom_properties
    pushed = push["pushed"].int_value == 1
    path = Path(push["pushed_destination"].string_value) if pushed else None
    reasons = not_pushed_because(evaluation, check)
    if pushed and not path.exists():
        pushed = False
        reasons = [f"version {path.name}, which an earlier run pushed for this model, was removed since; run with "
                   "--no-cache to train and push anew"]
    return RunResult(spans, pushed, "" if pushed else "; ".join(reasons), path if pushed else None, evaluation,
                     evaluation_uri / METRICS, evaluation_uri / PICTURE)


def latest_artifacts(config: Config) -> dict[str, metadata_store_pb2.Artifact]:
    """{type name: artifact} of the newest run; of several of a type, the last one."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(config.metadata_path)
    store = metadata_store.MetadataStore(connection)
    names = {kind.id: kind.name for kind in store.get_artifact_types()}
    run = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    artifacts = sorted(store.get_artifacts_by_context(run.id), key=lambda artifact: artifact.id)
    return {names[artifact.type_id]: artifact for artifact in artifacts}


def not_pushed_because(evaluation: dict, check: dict) -> list[str]:
    """The rules and checks that the model failed, each with what was found."""
    rules = [rule for rule in _rules(evaluation) if not rule["passed"]]
    checks = [entry for entry in check["checks"] if not entry["passed"]]
    reasons = [f"{rule['metric']} ({_where(rule)}): {rule['reason']}" for rule in rules]
    reasons += [f"export check: {entry['name']}: {entry['detail']}" for entry in checks]
    return reasons or ["it was not blessed"]


def print_summary(console: Console, config: Config, result: RunResult, log_path: Path, seconds: float) -> None:
    """Prints the table that ends a run."""
    console.print()
    table = Table(title="Test split", title_justify="left", title_style="bold")
    for name, justify in (("metric", "left"), ("population", "left"), ("value", "right"), ("95 % interval", "right"),
                          ("asked for", "right"), ("", "left")):
        table.add_column(name, justify=justify)
    for rule in _rules(result.evaluation):
        verdict = "[green]passed[/]" if rule["passed"] else "[red]failed[/]"
        interval = f"{_number(rule['low'])} to {_number(rule['high'])}" if rule["low"] is not None else ""
        table.add_row(rule["metric"], _where(rule), _number(rule["value"]), interval, _bound(rule), verdict)
    console.print(table)

    facts = {f"span {span}": describe_span(read_manifest(span_dir(config.data_root, span))) for span in result.spans}
    if result.pushed:
        facts |= {"model": "[green]pushed[/]", "version": escape(str(result.version_path))}
    else:
        facts["model"] = f"[red]not pushed[/], because {escape(result.reason)}"
    facts |= {"metrics": escape(str(result.metrics_path)), "picture": escape(str(result.picture_path)),
              "log": escape(str(log_path)), "time": f"{seconds // 60:.0f} min {seconds % 60:.0f} s"}
    for name, value in facts.items():
        console.print(f"{name:<8}  {value}", soft_wrap=True)  # unbroken, so that paths can be copied


def describe_span(manifest: dict) -> str:
    """Scenes per split, and the share of galaxy and blended pixels per population."""
    counts = ", ".join(f"{entry['records']} {split}" for split, entry in manifest["splits"].items())
    shares = "; ".join(f"{name}: {share[1]:.2%} galaxy, {share[2]:.2%} blended"
                       for name, share in sorted(manifest["class_shares"].items()))
    return f"{counts} scenes; pixels {shares}"


def _rules(evaluation):
    return evaluation["thresholds"] + evaluation.get("relative", [])


def _where(rule):
    return rule["population"] + (f", {rule['slice']}" if rule["slice"] else "")


def _number(value):
    return "not measured" if value is None else f"{value:.4g}"


def _bound(rule):
    if "margin" in rule:
        return f"at most {rule['margin']:g} worse than the live model"
    bounds = [("at least", rule["min"]), ("at most", rule["max"])]
    return " and ".join(f"{text} {value:g}" for text, value in bounds if value is not None)
