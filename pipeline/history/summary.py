"""The short table that ends a run; `pipeline/history/explain.py` reads the metadata store for it."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blendinator.config import Config
from blendinator.data.spans import read_manifest, span_dir
from blendinator.pipeline.history import explain as explanations

METRICS, PICTURE = "metrics.json", "examples.png"


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Attributes:
      spans: the spans that were used.
      run: name of the run in the metadata store.
      pushed: whether the model was pushed and its version is there.
      reason: why it was or was not.
      version_path: the pushed version, or None.
      rules: the rules of the gate with what was found, as `blendinator.pipeline.history.explain.explain` returns them.
      metrics_path, picture_path: files of the evaluation.
      report_path: the HTML report.
    """

    spans: tuple[int, ...]
    run: str
    pushed: bool
    reason: str
    version_path: Path | None
    rules: list[dict]
    metrics_path: Path
    picture_path: Path
    report_path: Path


def collect(config: Config, spans: tuple[int, ...], report_path: Path) -> RunResult:
    """The outcome of the newest run of the pipeline, which must have ended and been reported on."""
    explanation = explanations.explain(config)
    pushed, reason = explanation["pushed"], explanation["reason"]
    version = Path(explanation["version"]) if pushed else None
    if version is not None and not version.exists():
        pushed = False
        reason = (
            f"version {version.name}, which an earlier run pushed for this model, was removed since; run with "
            "--no-cache to train and push again"
        )
    evaluation = Path(explanation["artifacts"]["ModelEvaluation"])
    return RunResult(
        spans,
        explanation["run"],
        pushed,
        reason,
        version if pushed else None,
        explanation["rules"],
        evaluation / METRICS,
        evaluation / PICTURE,
        report_path,
    )


def print_summary(console: Console, config: Config, result: RunResult, log_path: Path, seconds: float) -> None:
    """Prints the table that ends a run."""
    console.print()
    table = Table(title="Test split", title_justify="left", title_style="bold")
    for name, numbers in (
        ("metric", False),
        ("population", False),
        ("value", True),
        ("95 % interval", True),
        ("required", True),
        ("", False),
    ):
        table.add_column(name, justify="right" if numbers else "left")
    for rule in result.rules:
        table.add_row(
            rule["metric"],
            explanations.where(rule),
            explanations.number(rule["candidate"]),
            explanations.interval_text(rule),
            explanations.required(rule),
            "[green]passed[/]" if rule["passed"] else "[red]failed[/]",
        )
    console.print(table)

    facts = {f"span {span}": describe_span(read_manifest(span_dir(config.data_root, span))) for span in result.spans}
    if result.pushed:
        facts |= {"model": "[green]pushed[/]", "version": escape(str(result.version_path))}
    else:
        facts["model"] = f"[red]not pushed[/], because {escape(result.reason)}"
    facts |= {
        "report": escape(str(result.report_path)),
        "metrics": escape(str(result.metrics_path)),
        "picture": escape(str(result.picture_path)),
        "log": escape(str(log_path)),
        "time": f"{seconds // 60:.0f} min {seconds % 60:.0f} s",
    }
    for name, value in facts.items():
        console.print(f"{name:<8}  {value}", soft_wrap=True)  # unbroken, so that paths can be copied


def describe_span(manifest: dict) -> str:
    """Scenes per split, and the share of galaxy and blended pixels per population."""
    counts = ", ".join(f"{entry['records']} {split}" for split, entry in manifest["splits"].items())
    shares = "; ".join(
        f"{name}: {share[1]:.2%} galaxy, {share[2]:.2%} blended"
        for name, share in sorted(manifest.get("class_shares", {}).items())
    )
    return f"{counts} scenes" + (f"; pixels {shares}" if shares else "")
