"""The table that ends a run."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from blendinator.config import Config
from blendinator.data import spans
from blendinator.pipeline.history import summary

RULE = {
    "kind": "absolute",
    "metric": "iou_galaxy",
    "population": "boosted",
    "slice": "",
    "min": 0.78,
    "max": None,
    "bound": "value",
    "scenes": 100,
    "value": 0.801,
    "candidate": 0.801,
    "live": None,
    "low": 0.79,
    "high": 0.81,
    "passed": True,
    "reason": "passed",
}
FAILED = {
    **RULE,
    "metric": "ece_near_sources",
    "population": "natural",
    "min": None,
    "max": 0.03,
    "value": 0.04,
    "candidate": 0.04,
    "low": None,
    "high": None,
    "passed": False,
    "reason": "0.04 is above 0.03",
}


@pytest.fixture
def config(tmp_path):
    config = dataclasses.replace(Config(), output_dir=str(tmp_path))
    folder = spans.span_dir(config.data_root, 1)
    folder.mkdir(parents=True)
    (folder / spans.MANIFEST).write_text(
        json.dumps(
            {
                "complete": True,
                "format_version": spans.FORMAT_VERSION,
                "files": {},
                "splits": {"train": {"records": 10}, "test": {"records": 4}},
                "class_shares": {"natural": [0.9, 0.0906, 0.0094]},
            }
        )
    )
    return config


def collect(config, monkeypatch, **changes):
    explanation = {
        "run": "2026",
        "pushed": False,
        "version": None,
        "reason": "0.04 is above 0.03",
        "rules": [RULE, FAILED],
        "artifacts": {"ModelEvaluation": "/evaluation"},
        **changes,
    }
    monkeypatch.setattr(summary.explanations, "explain", lambda config: explanation)
    return summary.collect(config, (1,), Path("/reports/report.html"))


def show(config, result):
    output = io.StringIO()
    summary.print_summary(Console(file=output, width=200), config, result, Path("/run.log"), 75.0)
    return output.getvalue()


def test_pushed_model_is_shown_with_its_version(config, tmp_path, monkeypatch):
    (tmp_path / "17").mkdir()
    text = show(config, collect(config, monkeypatch, pushed=True, version=str(tmp_path / "17")))
    for part in (
        f"version   {tmp_path / '17'}",
        "0.801",
        "0.79 to 0.81",
        "at least 0.78",
        "at most 0.03",
        "passed",
        "failed",
        "/evaluation/metrics.json",
        "/evaluation/examples.png",
        "/reports/report.html",
        "/run.log",
        "1 min 15 s",
        "10 train, 4 test scenes; pixels natural: 9.06% galaxy, 0.94% blended",
    ):
        assert part in text
    assert "not pushed" not in text


def test_refused_model_is_shown_with_the_reason(config, monkeypatch):
    assert "not pushed, because 0.04 is above 0.03" in show(config, collect(config, monkeypatch))


def test_version_that_was_removed_is_not_called_pushed(config, tmp_path, monkeypatch):
    result = collect(config, monkeypatch, pushed=True, version=str(tmp_path / "17"))
    assert not result.pushed and result.version_path is None
    assert "version 17, which an earlier run pushed for this model, was removed since" in result.reason


def test_span_is_described_by_counts_and_shares():
    manifest = {"splits": {"train": {"records": 3}}, "class_shares": {"boosted": [0.7, 0.2, 0.1]}}
    assert summary.describe_span(manifest) == "3 train scenes; pixels boosted: 20.00% galaxy, 10.00% blended"


def test_span_whose_manifest_tells_no_shares():
    assert summary.describe_span({"splits": {"train": {"records": 3}}}) == "3 train scenes"
