"""Why a model was pushed or not, read from the metadata store and the run's artifacts.

The layout of `explain`'s result is stable: keys may be added, none is renamed or removed within one `format_version`.
"""

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendinator.config import Config
from blendinator.errors import ConfigError, DataError
from blendinator.model.live import FACTS_FILE
from blendinator.pipeline.history.metadata import open_store
from blendinator.pipeline.tables import columns

if TYPE_CHECKING:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, Context

FORMAT_VERSION = 1


def explain(config: Config, run: str | None = None) -> dict:
    """Explains one run of the pipeline.

    Args:
      config: tells where the metadata store is.
      run: name of the run, or the end or beginning of one; the newest run by default.

    Returns:
      A dictionary that JSON can hold:
      - `format_version`, `run` (name), `started` (ISO 8601, UTC), `steps`: list of `name` and `state` (COMPLETE,
        CACHED, FAILED, RUNNING, ...), in their order;
      - `pushed`: whether the model was pushed, `version`: its folder or None, `reason`: a sentence;
      - `artifacts`: type name to folder;
      - `rules`: list of dictionaries with `kind` (absolute or relative), `metric`, `population`, `slice`, `bound`,
        `min` and `max` or `margin`, `value`, `low`, `high` (the metric, or the gain over the live model), `candidate`
        and `live` (values; None without a live model), `scenes`, `passed`, `reason`;
      - `start`: how the training started, see `blendinator.model.warm_start.start`; {} for an earlier version's model;
      - `drift`: list of comparisons with the live model's data, see
        `blendinator.components.drift_gate.drift.compare`; empty where there was nothing to compare with;
      - `export_checks`: list of `name`, `passed`, `detail`;
      - `metrics`: by population, every metric with its interval, and by slice; likewise `live_metrics` and
        `classical_metrics`, or None.

    Raises:
      DataError: there is no metadata store or no run yet.
      ConfigError: no run, or more than one, is called `run`.
    """
    store = open_store(config.metadata_path)
    context = _choose_run(store, run, config.metadata_path)
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    artifacts = {
        _kind(artifact, kinds): artifact
        for artifact in sorted(store.get_artifacts_by_context(context.id), key=lambda artifact: artifact.id)
        if not _is_live(artifact)
    }
    steps = _steps(store, context)
    evaluation = _read_json(artifacts, "ModelEvaluation", "metrics.json")
    checks = _read_json(artifacts, "InfraBlessing", "report.json").get("checks", [])
    rules = _rules(evaluation)
    version = _pushed(artifacts)
    pruned = "ModelEvaluation" in artifacts and not evaluation
    started = datetime.datetime.fromtimestamp(context.create_time_since_epoch / 1000, datetime.timezone.utc)
    return {
        "format_version": FORMAT_VERSION,
        "run": context.name,
        "started": started.isoformat(timespec="seconds"),
        "pushed": version is not None,
        "version": version,
        "reason": _reason(version, steps, rules, checks, pruned),
        "steps": steps,
        "artifacts": {kind: artifact.uri for kind, artifact in artifacts.items()},
        "rules": rules,
        "start": _read_json(artifacts, "Model", f"Format-Serving/{FACTS_FILE}").get("start", {}),
        "drift": _read_json(artifacts, "Drift", "drift.json").get("comparisons", []),
        "export_checks": checks,
        "metrics": evaluation.get("populations"),
        "live_metrics": evaluation.get("live"),
        "classical_metrics": evaluation.get("classical"),
    }


def _kind(artifact: "Artifact", kinds: dict[int, str]) -> str:
    """Type of an artifact; what DriftGate found is called after that, and not as the anomalies of the schema."""
    return "Drift" if "drift" in artifact.custom_properties else kinds[artifact.type_id]


def _is_live(artifact: "Artifact") -> bool:
    """Whether this is the live model, which the run compared with and did not make."""
    return "live" in artifact.custom_properties


def render(explanation: dict) -> str:
    """The explanation as plain text for a terminal."""
    lines = [f"Run {explanation['run']}, started {explanation['started']}"]
    if explanation["pushed"]:
        lines.append(f"Pushed: {explanation['version']}")
    else:
        lines.append("Not pushed")
    lines.append(f"Because {explanation['reason']}")
    lines += [*_start_lines(explanation["start"]), *_drift_lines(explanation["drift"])]
    if explanation["rules"]:
        table = [("", "metric", "where", "value", "95 % interval", "required", "live", "scenes")]
        for rule in explanation["rules"]:
            verdict = "passed" if rule["passed"] else "FAILED"
            table.append(
                (
                    verdict,
                    rule["metric"],
                    where(rule),
                    number(rule["candidate"]),
                    interval_text(rule),
                    required(rule),
                    number(rule["live"]),
                    str(rule["scenes"]),
                )
            )
        lines += ["", columns(table)]
        relative = [rule for rule in explanation["rules"] if rule["kind"] == "relative"]
        if relative:
            lines += ["", "Against the live model the interval is that of the gain (positive: better than live)."]
    failed = [check for check in explanation["export_checks"] if not check["passed"]]
    if explanation["export_checks"]:
        total = len(explanation["export_checks"])
        lines += ["", f"Export: {total - len(failed)} of {total} checks passed"]
        lines += [f"  FAILED {check['name']}: {check['detail']}" for check in failed]
    stopped = [step for step in explanation["steps"] if step["state"] == "FAILED"]
    lines += [f"Stopped in {step['name']}" for step in stopped]
    return "\n".join(lines)


def _start_lines(start: dict) -> list[str]:
    if not start:
        return []
    if start["kind"] == "cold":
        return [f"Trained from a cold start, because {start['reason']}"]
    return [
        f"Trained from version {start['version']}, with a normalisation changed by {100 * start['sigma_change']:+.2f} %"
    ]


def _drift_lines(drift: list[dict]) -> list[str]:
    found = [
        f"{one['feature']} ({one['measure']}: {number(one['difference'])}, limit {number(one['limit'])})"
        for one in drift
        if one["drift"]
    ]
    if not drift:
        return []
    return [f"Drift against the live model's data: {', '.join(found) or 'none'}"]


def where(rule: dict) -> str:
    """Population and slice of a rule."""
    return rule["population"] + (f", {rule['slice']}" if rule["slice"] else "")


def required(rule: dict) -> str:
    """The rule's bound in words."""
    if rule["kind"] == "relative":
        text = f"at most {rule['margin']:g} worse than live" if rule["margin"] else "not worse than live"
    else:
        ends = (("at least", rule["min"]), ("at most", rule["max"]))
        text = " and ".join(f"{word} {value:g}" for word, value in ends if value is not None)
    return text + {"value": "", "pessimistic": " (worse end)", "optimistic": " (better end)"}[rule["bound"]]


def interval_text(rule: dict) -> str:
    """The interval of a rule's value or gain."""
    return "" if rule["low"] is None else f"{number(rule['low'])} to {number(rule['high'])}"


def number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"


def _rules(evaluation: dict) -> list[dict]:
    rules = [
        {"kind": "absolute", "candidate": rule["value"], "live": _live_value(evaluation, rule), **rule}
        for rule in evaluation.get("thresholds", [])
    ]
    return rules + [{"kind": "relative", **rule} for rule in evaluation.get("relative", [])]


def _live_value(evaluation: dict, rule: dict) -> float | None:
    """The live model's value of an absolute rule's metric on the whole population."""
    population = (evaluation.get("live") or {}).get(rule["population"], {})
    return None if rule["slice"] else population.get("metrics", {}).get(rule["metric"], {}).get("value")


def _reason(version: str | None, steps: list[dict], rules: list[dict], checks: list[dict], pruned: bool) -> str:
    if version and not Path(version).exists():
        return f"all rules and export checks passed; the version has been removed since: {version}"
    if version and pruned:
        return "all rules and export checks passed; the run's evaluation has been removed since"
    if version:
        return f"all {len(rules)} rules and all {len(checks)} export checks passed"
    failed = [
        f"{rule['metric']} ({where(rule)}): {rule['reason']}, required {required(rule)}"
        for rule in rules
        if not rule["passed"]
    ]
    failed += [f"export check {check['name']}: {check['detail']}" for check in checks if not check["passed"]]
    failed += [f"the run stopped in {step['name']}" for step in steps if step["state"] == "FAILED"]
    unfinished = [step["name"] for step in steps if step["state"] not in ("COMPLETE", "CACHED", "FAILED")]
    interrupted = {step["name"] for step in steps if step["state"] == "CANCELED"}
    failed += [
        f"the run was interrupted in {name}" if name in interrupted else f"{name} has not finished"
        for name in unfinished
    ]
    if not failed and pruned:
        return "a rule or an export check failed; the run's evaluation has been removed since (retraining.keep_runs)"
    return "; ".join(failed) or "the run ended before the model was pushed"


def _pushed(artifacts: dict[str, "Artifact"]) -> str | None:
    """Folder of the version that was pushed, if one was."""
    artifact = artifacts.get("PushedModel")
    if artifact is None or not artifact.custom_properties["pushed"].int_value:
        return None
    return artifact.custom_properties["pushed_destination"].string_value


def _steps(store: "MetadataStore", context: "Context") -> list[dict]:
    from ml_metadata.proto import metadata_store_pb2

    kinds = {kind.id: kind.name for kind in store.get_execution_types()}
    name = metadata_store_pb2.Execution.State.Name
    return [
        {"name": kinds[execution.type_id].rsplit(".", 1)[-1], "state": name(execution.last_known_state)}
        for execution in sorted(store.get_executions_by_context(context.id), key=lambda execution: execution.id)
    ]


def _read_json(artifacts: dict[str, "Artifact"], kind: str, file: str) -> dict[str, Any]:
    """A JSON file of an artifact; {} where the run made no such artifact or it was removed."""
    path = Path(artifacts[kind].uri) / file if kind in artifacts else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}


def _all_runs(store: "MetadataStore") -> list["Context"]:
    return sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)


def _choose_run(store: "MetadataStore", run: str | None, path: Path) -> "Context":
    runs = _all_runs(store)
    if not runs:
        raise DataError(f"{path}: there is no run in the metadata store. Run the pipeline first.")
    if run is None:
        return runs[-1]
    found = [one for one in runs if one.name == run]
    found = found or [one for one in runs if one.name.startswith(run) or one.name.endswith(run)]
    if len(found) != 1:
        names = ", ".join(one.name for one in (found or runs)[-10:])
        raise ConfigError(f"run: received {run!r}, which {len(found)} runs are called; allowed: one of {names}")
    return found[0]
