"""One self-contained HTML page per run, which is also the model card, and a Markdown summary."""

from pathlib import Path

from blendinator.config import Config
from blendinator.errors import DataError
from blendinator.escape import code, markdown
from blendinator.pipeline.history import explain as explanations
from blendinator.pipeline.history.report_content import gather
from blendinator.pipeline.history.report_figures import METRIC_LABELS

PAGE, SUMMARY, TEMPLATE = "report.html", "report.md", "report_template.html"


def write_report(config: Config, run: str | None = None, folder: str | Path | None = None) -> tuple[Path, Path]:
    """Writes `report.html` and `report.md` of a run.

    Args:
      config: tells where the metadata store and the spans are.
      run: name of the run; the newest one by default.
      folder: where to; `<output_dir>/reports/<run>` by default.

    Returns:
      The two paths.

    Raises:
      DataError: nothing has run yet, or the run never came to evaluate a model.
      ConfigError: there is no such run.
    """
    explanation = explanations.explain(config, run)
    if not explanation["metrics"]:
        raise DataError(
            f"run {explanation['run']}: it holds no evaluation to report on, because {explanation['reason']}."
        )
    folder = Path(folder or Path(config.output_dir) / "reports" / explanation["run"].replace(":", ""))
    folder.mkdir(parents=True, exist_ok=True)
    content = gather(config, explanation)
    page, summary = folder / PAGE, folder / SUMMARY
    page.write_text(render_html(content), encoding="utf-8")
    summary.write_text(render_markdown(content), encoding="utf-8")
    return page, summary


def render_html(content: dict) -> str:
    """The page; all text from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "number": explanations.number,
        "where": explanations.where,
        "required": explanations.required,
        "interval_text": explanations.interval_text,
        "labels": METRIC_LABELS,
    }
    return environment.get_template(TEMPLATE).render(**content)


def render_markdown(content: dict) -> str:
    """The summary for terminals and code review."""
    explanation = content["explanation"]
    lines = [
        f"# {content['name']}: {'pushed' if explanation['pushed'] else 'not pushed'}",
        "",
        f"Run {code(explanation['run'])}, started {explanation['started']}.",
        "",
        f"{'Pushed to ' + code(str(explanation['version'])) if explanation['pushed'] else 'Not pushed'},"
        f" because {markdown(explanation['reason'])}.",
        "",
        "| | metric | where | value | 95 % interval | required | live |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule in explanation["rules"]:
        lines.append(
            f"| {'passed' if rule['passed'] else '**failed**'} | {markdown(rule['metric'])} |"
            f" {markdown(explanations.where(rule))} |"
            f" {explanations.number(rule['candidate'])} | {explanations.interval_text(rule)} |"
            f" {explanations.required(rule)} | {explanations.number(rule['live'])} |"
        )
    for name, population in content["populations"].items():
        columns = population["columns"]
        lines += [
            "",
            f"## {name} population, {population['scenes']} scenes",
            "",
            "| metric | " + " | ".join(columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for row in population["table"]:
            cells = [
                f"{cell['value']} ({cell['interval']})" if cell["interval"] else cell["value"] for cell in row["cells"]
            ]
            lines.append(f"| {row['label']} {row['better']} | " + " | ".join(cells) + " |")
    spans = [f"span {one['span']} ({one['records']} scenes)" for one in content["spans"]]
    lines += [
        "",
        "Trained on "
        + (", ".join(spans) or "spans that are no longer there")
        + f"; {content['facts'].get('steps', '?')} steps; code"
        f" {code(str(content['facts'].get('code', '?')))}.",
        "",
    ]
    return "\n".join(lines)
