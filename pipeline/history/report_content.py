"""What a run's report shows, gathered from its explanation and artifacts."""

import base64
import json
import platform
from importlib import metadata
from pathlib import Path

from blendinator.config import Config
from blendinator.data import spans as span_files
from blendinator.data.population import CALIBRATED, POPULATIONS
from blendinator.model.live import FACTS_FILE
from blendinator.model.metrics.headlines import HEADLINES
from blendinator.pipeline.history import report_figures as figures
from blendinator.pipeline.history.explain import number

VERSIONS = ("tensorflow", "keras", "tensorflow-probability", "tfx", "apache-beam", "numpy", "scipy")
# How a metric is called for what a method gives: samples, independent pixels or a single map.
MAP_NAMES = {
    "object_completeness": "object_completeness_map",
    "object_purity": "object_purity_map",
    "object_f1": "object_f1_map",
    "ged": "ged_map",
    "energy_score": "energy_score_map",
}
PAGES = (
    ("best", "The scenes whose samples come closest to the truth"),
    ("typical", "Scenes in the middle"),
    ("worst", "The scenes whose samples are farthest from the truth"),
)


def gather(config: Config, explanation: dict) -> dict:
    """Everything that the page shows, from the explanation and the run's artifacts; what is missing is left out."""
    artifacts = {kind: Path(uri) for kind, uri in explanation["artifacts"].items()}
    facts = _json(artifacts.get("Model"), f"Format-Serving/{FACTS_FILE}")
    chosen = _spans(config, artifacts)
    return {
        "name": config.name,
        "explanation": explanation,
        "facts": facts,
        "parameters": _flat(facts.get("config", {})),
        "spans": chosen,
        "statistics": _statistics(artifacts.get("ExampleStatistics")),
        "anomalies": _anomalies(artifacts.get("ExampleAnomalies")),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in VERSIONS},
        "populations": {name: _population(name, explanation) for name in explanation["metrics"]},
        "calibrated_reliability": figures.blended_reliability(explanation["metrics"][CALIBRATED]["curves"])
        if CALIBRATED in explanation["metrics"]
        else "",
        "training": figures.training(facts["history"]) if facts.get("history") else "",
        "pictures": _pictures(artifacts.get("ModelEvaluation")),
    }


def _population(name: str, explanation: dict) -> dict:
    """Tables and figures of one population."""
    entry = explanation["metrics"][name]
    live, classical = ((explanation[key] or {}).get(name) for key in ("live_metrics", "classical_metrics"))
    curves, metrics = entry["curves"], entry["metrics"]
    methods = {"model": entry, "live": live, "classical": classical}
    slices = {series: one["slices"] for series, one in methods.items() if one}
    columns, table = _headline_table(metrics, live, classical)
    return {
        "note": POPULATIONS[name].note if name in POPULATIONS else "",
        "scenes": entry["scenes"],
        "columns": columns,
        "table": table,
        "reliability": figures.reliability(curves),
        "ranks": figures.ranks(curves),
        "coverage": figures.coverage(metrics),
        "objects": figures.completeness_purity(curves, classical and classical["metrics"]),
        "risk": figures.risk_coverage(curves),
        "by_slice": {
            scalar: {metric: figures.by_slice(slices, scalar, metric) for metric in figures.METRIC_LABELS}
            for scalar in entry["slices"]
        },
        "close": _close_pairs(entry, classical),
        "everything": [{"name": key, **one} for key, one in metrics.items()],
    }


def _headline_table(metrics: dict, live: dict | None, classical: dict | None) -> tuple[list[str], list[dict]]:
    columns = ["this model", "independent pixels", "single map"]
    columns += (["live model"] if live else []) + (["SEP"] if classical else [])
    table = []
    for headline in HEADLINES:
        name = headline.name
        single = name if name.startswith(("iou_", "completeness_", "purity_")) else MAP_NAMES.get(name)
        sources = [metrics.get(name), metrics.get(name + "_independent"), metrics.get(single)]
        sources += [live["metrics"].get(name)] if live else []
        # The classical baseline is a single map: of what is defined by samples only its single-map form applies.
        baseline = single if single in ("ged_map", "energy_score_map") else name
        sources += [classical["metrics"].get(baseline)] if classical else []
        table.append(
            {"name": name, "label": headline.label, "better": headline.better, "cells": [_cell(one) for one in sources]}
        )
    return columns, table


def _cell(found: dict | None) -> dict[str, str]:
    if not found or found["value"] is None:
        return {"value": "–", "interval": ""}
    interval = "" if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
    return {"value": f"{found['value']:.3f}", "interval": interval}


def _close_pairs(entry: dict, classical: dict | None) -> list[str]:
    """Sentences on blended IoU and F1 in the bins of separation up to 0.7 arcsec, next to the classical baseline's."""
    lines = []
    for i, one in enumerate(entry["slices"].get("min_separation", [])):
        if one["high"] > 0.7 + 1e-9 or not one["metrics"]:
            continue
        baseline = classical["slices"]["min_separation"][i]["metrics"] if classical else {}
        parts = []
        for name, label in (("iou_blended", "blended IoU"), ("object_f1", "F1 of blends")):
            text = f"{label} {number(one['metrics'][name]['value'])}"
            if baseline.get(name):
                text += f" (SEP: {number(baseline[name]['value'])})"
            parts.append(text)
        lines.append(
            f"Separation {one['low']:g} to {one['high']:g} arcsec, {one['scenes']} scenes: " + ", ".join(parts) + "."
        )
    return lines


def _spans(config: Config, artifacts: dict[str, Path]) -> list[dict]:
    """Manifests of the spans of the run, shortened; spans that are gone are left out."""
    if "Examples" not in artifacts:
        return []
    found = []
    for span in span_files.list_spans(config.data_root):
        folder = span_files.span_dir(config.data_root, span)
        # The ingested files carry the names of their spans' folders.
        if any(artifacts["Examples"].glob(f"Split-*/{folder.name}-*")):
            found.append(span_files.read_manifest(folder) | {"span": span})
    for manifest in found:
        manifest["records"] = sum(split["records"] for split in manifest["splits"].values())
        manifest["settings"] = _flat(manifest.get("simulation", {}))
        manifest["about"] = _about(manifest)
    return found


def _about(manifest: dict) -> list[tuple[str, str]]:
    """What a span's manifest tells, as pairs of a term and a text."""
    scenes = []
    for split, entry in manifest["splits"].items():
        parts = [f"{entry[name]} {name}" for name in POPULATIONS if entry.get(name)]
        scenes.append(f"{entry['records']} {split}" + (f" ({', '.join(parts)})" if parts else ""))
    pixels = [
        f"{name}: {background:.2%} background, {one:.2%} one source, {blended:.3%} blended"
        for name, (background, one, blended) in manifest.get("class_shares", {}).items()
    ]
    facts = {
        "sky_sigma": "sky noise {:.2f} electrons per pixel",
        "pixel_scale": "pixels of {}″",
        "psf_fwhm": "PSF FWHM {}″",
        "zero_point": "zero point {}",
    }
    survey = [text.format(manifest[name]) for name, text in facts.items() if name in manifest]
    versions = [f"{package} {version}" for package, version in manifest.get("versions", {}).items()]
    about = {
        "seed": str(manifest.get("seed", "")),
        "scenes": ", ".join(scenes),
        "pixels": "; ".join(pixels),
        "survey": ", ".join(survey),
        "made with": ", ".join(versions),
    }
    return [(term, text) for term, text in about.items() if text]


def _statistics(folder: Path | None) -> dict[str, list[dict]]:
    """Mean, spread and range of the records' scalars in the train and test split."""
    if folder is None or not folder.exists():
        return {}
    from tensorflow_metadata.proto.v0 import statistics_pb2

    result = {}
    for split in ("train", "test"):
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        if not path.exists():
            continue
        rows = []
        for feature in statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets[0].features:
            numbers = feature.num_stats
            if feature.HasField("num_stats"):
                rows.append(
                    {
                        "name": ".".join(feature.path.step),
                        "missing": numbers.common_stats.num_missing,
                        "mean": numbers.mean,
                        "std": numbers.std_dev,
                        "min": numbers.min,
                        "median": numbers.median,
                        "max": numbers.max,
                    }
                )
        result[split] = sorted(rows, key=lambda row: row["name"])
    return result


def _anomalies(folder: Path | None) -> list[str] | None:
    """Sentences on anomalies by split; empty where none was found, None where the data were not checked."""
    if folder is None or not folder.exists():
        return None
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    lines = []
    for path in sorted(folder.glob("Split-*/SchemaDiff.pb")):
        found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        for name, anomaly in found.anomaly_info.items():
            lines.append(f"{path.parent.name.removeprefix('Split-')}: {name}: {anomaly.description}")
    return lines


def _pictures(folder: Path | None) -> list[dict[str, str]]:
    """The picture pages as data URLs, with their captions."""
    pictures = []
    for name, caption in PAGES:
        path = folder / f"scenes-{name}.png" if folder else None
        if path and path.exists():
            pictures.append(
                {
                    "name": name,
                    "caption": caption,
                    "url": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
                }
            )
    return pictures


def _json(folder: Path | None, name: str) -> dict:
    path = folder / name if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}


def _flat(nested: dict, prefix: str = "") -> list[tuple[str, str]]:
    """{"a": {"b": 1}} to [("a.b", "1")]."""
    rows = []
    for key, value in nested.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, json.dumps(value))]
    return rows


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
