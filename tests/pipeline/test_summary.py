"""The table that ends a run."""

import dataclasses
import io
import json
from pathlib import Path

from rich.console import Console

from data import spans
from pipeline.config import Config
from pipeline.summary import RunResult, describe_span, not_pushed_because, print_summary


RULE = {"metric": "iou_galaxy", "population": "boosted", "slice": "", "min": 0.78, "max": None, "bound": "value",
        "scenes": 100, "value": 0.801, "low": 0.79, "high": 0.81, "passed": True, "reason": "kept"}
FAILED = {**RULE, "metric": "ece_near_sources", "population": "natural", "min": None, "max": 0.03, "value": 0.04,
          "low": None, "high": None, "passed": False, "reason": "0.04 is above 0.03"}
GOOD_CHECK = {"checks": [{"name": "signatures", "passed": True, "detail": ""}]}
BAD_CHECK = {"checks": [{"name": "sample: probabilities", "passed": False, "detail": "sums differ from 1"}]}


def test_reasons_name_rule_and_check():
    assert not_pushed_because({"thresholds": [RULE, FAILED]}, BAD_CHECK) == [
        "ece_near_sources (natural): 0.04 is above 0.03",
        "export check: sample: probabilities: sums differ from 1",
    ]


def test_no_rule_is_a_reason_too():
    assert not_pushed_because({"thresholds": []}, GOOD_CHECK) == ["it was not blessed"]


def show(tmp_path, pushed, reason):
    config = dataclasses.replace(Config(), output_dir=str(tmp_path))
    folder = spans.span_dir(config.data_root, 1)
    folder.mkdir(parents=True)
    (folder / spans.MANIFEST).write_text(json.dumps({
        "complete": True, "format_version": spans.FORMAT_VERSION, "files": {},
        "splits": {"train": {"records": 10}, "test": {"records": 4}},
        "class_shares": {"natural": [0.9, 0.0906, 0.0094]}}))
    output = io.StringIO()
    result = RunResult((1,), pushed, reason, Path("/serving/17") if pushed else None,
                       {"thresholds": [RULE, FAILED]}, Path("/m.json"), Path("/p.png"))
    print_summary(Console(file=output, width=200), config, result, Path("/run.log"), 75.0)
    return output.getvalue()


def test_pushed_model_is_shown_with_its_version(tmp_path):
    text = show(tmp_path, True, "")
    assert "/serving/17" in text and "not pushed" not in text
    for part in ("0.801", "0.79 to 0.81", "at least 0.78", "at most 0.03", "passed", "failed", "/m.json", "/p.png",
                 "/run.log", "1 min 15 s", "10 train, 4 test scenes; pixels natural: 9.06% galaxy, 0.94% blended"):
        assert part in text


def test_refused_model_is_shown_with_the_reason(tmp_path):
    assert "not pushed, because 0.04 is above 0.03" in show(tmp_path, False, "0.04 is above 0.03")


def test_span_is_described_by_counts_and_shares():
    manifest = {"splits": {"train": {"records": 3}}, "class_shares": {"boosted": [0.7, 0.2, 0.1]}}
    assert describe_span(manifest) == "3 train scenes; pixels boosted: 20.00% galaxy, 10.00% blended"
